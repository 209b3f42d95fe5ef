"""A process without torch that loads saved models and calls them: `import torch` raises there.

Reads lines `MODEL CALLS ANSWERS` (files) and answers each with a line. CALLS is a pickle of the calls, a list of
(args, kwargs) with arrays; ANSWERS becomes one of the results, with records as dicts under their class's name, or of
the error's class name and text.
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

sys.modules["torch"] = None  # pyright: ignore[reportArgumentType]

import numpy as np  # noqa: E402

import mlc  # noqa: E402
from mlc.runtime.artifact.trees import Record  # noqa: E402


def plain(value: Any) -> Any:
    """Results without classes of mlc or of named tuples."""
    if isinstance(value, Record):
        return {"class": value._name, **{k: plain(v) for k, v in value.items()}}
    fields = getattr(value, "_fields", None)
    if isinstance(value, tuple) and fields:
        return {"class": type(value).__name__, **{k: plain(getattr(value, k)) for k in fields}}
    if isinstance(value, tuple | list):
        return type(value)(map(plain, value))
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value  # a buffer changes with the next call


def main() -> None:
    """See the module."""
    for line in sys.stdin:
        model, calls, answers = line.split()
        try:
            loaded = mlc.load(model, cache_dir=os.environ["CHILD_CACHE"])
            found = [plain(loaded(*args, **kwargs)) for args, kwargs in pickle.loads(Path(calls).read_bytes())]
        except mlc.MlcError as error:
            found = (type(error).__name__, str(error))
        Path(answers).write_bytes(pickle.dumps(found))
        print("done", flush=True)


if __name__ == "__main__":
    main()
