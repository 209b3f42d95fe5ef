"""Methods of dataclasses, compiled once per machine: Python keeps the bytecode of modules, not of what they generate.

xDSL and mlc define some 450 dataclasses. Python writes their methods as source text and compiles it at every import,
which was 0.15 of the 0.4 s that `mlc.compile` needs to be there. Importing this module puts a function in the place of
the `exec` that the standard library's module calls; it keeps the code of each text in a file beside the package's own
bytecode, if Python would keep that (`PYTHONDONTWRITEBYTECODE`) and where (`PYTHONPYCACHEPREFIX`). Codes are found by
their text, so none can be out of date; another version of Python has another file. Other packages' dataclasses are made
as ever, and so are mlc's as long as neither xDSL nor torch is there: a saved model needs few.
Test: tests/ir/test_dataclass_code.py
"""

from __future__ import annotations

import atexit
import dataclasses
import importlib.util
import marshal
import os
import sys
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

_PACKAGES = frozenset({"mlc", "xdsl"})
_WITH_MANY = frozenset({"torch", "xdsl"})
_kept: dict[bytes, bytes] | None = None
_new: dict[bytes, bytes] = {}


def _install() -> None:
    """From now on, in this process."""
    if not hasattr(dataclasses, "exec"):
        setattr(dataclasses, "exec", _exec)  # noqa: B010 - found before the builtin of that name
        atexit.register(_write)


def _exec(source: Any, globals: dict[str, Any], locals: Any = None, /) -> None:
    package = str(globals.get("__name__", "")).partition(".")[0]
    many = package in _PACKAGES and not _WITH_MANY.isdisjoint(sys.modules)
    exec(_code_of(source) if many else source, globals, locals)


def _code_of(text: str) -> Any:
    global _kept
    if _kept is None:
        _kept = _read()
    key = blake2b(text.encode(), digest_size=16).digest()
    found = _kept.get(key)
    if found is not None:
        return marshal.loads(found)
    code = compile(text, "<string>", "exec", dont_inherit=True)  # as `exec` does, not with this module's annotations
    _kept[key] = _new[key] = marshal.dumps(code)
    return code


def _file() -> Path:
    return Path(importlib.util.cache_from_source(__file__)).with_suffix(".dataclasses")


def _read() -> dict[bytes, bytes]:
    with suppress(OSError, ValueError, EOFError, TypeError, NotImplementedError):
        data = _file().read_bytes()
        if data.startswith(importlib.util.MAGIC_NUMBER):
            return marshal.loads(data[len(importlib.util.MAGIC_NUMBER) :])
    return {}


def _write() -> None:
    """What is new goes into the file, beside what other processes have put there meanwhile."""
    if not _new or sys.dont_write_bytecode:
        return
    with suppress(OSError, NotImplementedError):
        file = _file()
        part = file.with_name(f"{file.name}.{os.getpid()}")
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(importlib.util.MAGIC_NUMBER + marshal.dumps({**_read(), **_new}))
        part.replace(file)


_install()
