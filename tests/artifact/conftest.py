"""Fixtures: one disk cache, and one process without torch that loads what a test saved."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

Calls = Sequence[tuple[tuple[Any, ...], dict[str, Any]]]


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One disk cache for all tests of saved models."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def _child(cache_dir: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "CHILD_CACHE": str(cache_dir)}
    path = Path(__file__).with_name("child.py")
    child = subprocess.Popen(
        [sys.executable, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert child.stdin is not None
    yield child
    child.stdin.close()
    child.wait(30)


@pytest.fixture
def without_torch(_child: subprocess.Popen[str], tmp_path: Path) -> Callable[[Path, Calls], Any]:
    """Loads a saved model in the child and calls it: the list of the results, or (error's class, text)."""

    def run(model: Path, calls: Calls) -> Any:
        given, answers = tmp_path / "calls.pickle", tmp_path / "answers.pickle"
        given.write_bytes(pickle.dumps([(arrays(a), arrays(k)) for a, k in calls]))
        assert _child.stdin is not None and _child.stdout is not None
        _child.stdin.write(f"{model} {given} {answers}\n")
        _child.stdin.flush()
        assert _child.stdout.readline() == "done\n"
        return pickle.loads(answers.read_bytes())

    return run


def arrays(value: Any) -> Any:
    """Tensors as arrays, and objects of classes as the child's `plain` has them."""
    if isinstance(value, torch.Tensor):
        value = value.detach()
        return (value.view(torch.uint16) if value.dtype is torch.bfloat16 else value).numpy().copy()
    if hasattr(value, "__dataclass_fields__"):
        fields = {k: getattr(value, k) for k in value.__dataclass_fields__}
        return {"class": type(value).__name__, **{k: arrays(v) for k, v in fields.items() if v is not None}}
    fields = getattr(value, "_fields", None) or getattr(value, "__match_args__", ())
    if isinstance(value, tuple) and fields:
        return {"class": type(value).__name__, **{k: arrays(getattr(value, k)) for k in fields}}
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, tuple | list):
        return tuple(map(arrays, value)) if isinstance(value, tuple) else list(map(arrays, value))
    return {k: arrays(v) for k, v in value.items()} if isinstance(value, dict) else value


def assert_same(got: Any, wanted: Any) -> None:
    """Equal to the last bit, in the same containers."""
    assert type(got) is type(wanted), (type(got), type(wanted))
    if isinstance(wanted, np.ndarray):
        assert got.dtype == wanted.dtype and got.shape == wanted.shape
        assert got.tobytes() == wanted.tobytes()
    elif isinstance(wanted, dict):
        assert list(got) == list(wanted)
        for key in wanted:
            assert_same(got[key], wanted[key])
    elif isinstance(wanted, tuple | list):
        assert len(got) == len(wanted)
        for a, b in zip(got, wanted, strict=True):
            assert_same(a, b)
    else:
        assert got == wanted
