"""Copies and pickles of a loaded model are loaded again from its file; paths and sizes that are none."""

from __future__ import annotations

import copy
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mlc
from mlc.errors import ArtifactError, LimitError, UsageError
from mlc.runtime.artifact.file import ArtifactFile, write_artifact

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
COPIES: list[Callable[[Any], Any]] = [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
CODE = """
import pickle, sys
import numpy as np
loaded = pickle.load(open(sys.argv[1], "rb"))
np.save(sys.argv[3], loaded(np.load(sys.argv[2])))
assert "torch" not in sys.modules
"""


class Counter(nn.Module):
    """Keeps how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.layer(x) * self.calls


@pytest.fixture
def path(tmp_path: Path, cache_dir: Path) -> Path:
    """A saved model that keeps something between calls."""
    torch.manual_seed(0)
    mlc.compile(Counter().eval(), (torch.from_numpy(X),), cache_dir=cache_dir).save(tmp_path / "m.mlc")
    return tmp_path / "m.mlc"


@pytest.mark.parametrize("make", COPIES)
def test_a_copy_goes_on_from_what_the_model_keeps(make: Callable[[Any], Any], path: Path, cache_dir: Path):
    loaded = mlc.load(path, cache_dir=cache_dir)
    first = loaded(X)
    copied = make(loaded)
    assert np.allclose(copied(X), 2 * first) and np.allclose(copied(X), 3 * first)
    assert np.allclose(loaded(X), 2 * first)
    assert repr(copied) == repr(loaded) and copied.ir() == loaded.ir()


def test_a_pickle_in_another_process(path: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    loaded = mlc.load(path.name, cache_dir=cache_dir)
    wanted = [loaded(X), loaded(X), loaded(X)][2]
    loaded = mlc.load(path.name, cache_dir=cache_dir)
    _ = loaded(X), loaded(X)
    data, given, answer = (tmp_path / n for n in ("m.pickle", "x.npy", "y.npy"))
    data.write_bytes(pickle.dumps(loaded))
    np.save(given, X)
    subprocess.run([sys.executable, "-c", CODE, *map(str, (data, given, answer))], check=True, cwd="/")
    assert np.array_equal(np.load(answer), wanted)


def test_a_file_that_changed_or_is_gone(path: Path, cache_dir: Path):
    loaded = mlc.load(path, cache_dir=cache_dir)
    data = pickle.dumps(loaded)
    mlc.compile(Counter().eval(), (torch.from_numpy(X),), cache_dir=cache_dir).save(path)
    for again in (lambda: copy.deepcopy(loaded), lambda: pickle.loads(data)):
        with pytest.raises(ArtifactError, match="another file than when the model was copied or pickled"):
            again()
    path.unlink()
    for again in (lambda: copy.deepcopy(loaded), lambda: pickle.loads(data)):
        with pytest.raises(UsageError, match="cannot read"):
            again()
    assert loaded(X).shape == (3, 4)


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "~nobody of this name/m.mlc"])
def test_paths_that_are_none(path: str):
    with pytest.raises(UsageError):
        mlc.load(path)


class Large(nn.Module):
    """Its sizes are easily found in a text."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.expand(97, 89) + 1).cumsum(0)


def test_a_result_that_fits_no_memory(tmp_path: Path, cache_dir: Path):
    """The file says that it has 2^40 elements: it is loaded, and the call is refused."""
    path = tmp_path / "m.mlc"
    mlc.compile(Large().eval(), (torch.zeros(1, 1),), cache_dir=cache_dir).save(path)
    file, raw = ArtifactFile(path), path.read_bytes()
    parts = [raw[offset : offset + count] for offset, count, _ in file._parts]
    number = file.index["versions"][0]["text"]
    parts[number] = re.sub(rb"\b(97|89)\b", b"1048576", parts[number])
    index = json.loads(re.sub(r"\b(97|89)\b", "1048576", json.dumps(file.index)))
    del index["parts"]
    write_artifact(path, index, parts)
    loaded = mlc.load(path, cache_dir=cache_dir)
    assert loaded.outputs[0].shape == (1 << 20, 1 << 20)
    with pytest.raises(LimitError, match="there is no memory for result 0"):
        loaded(np.zeros((1, 1), np.float32))
