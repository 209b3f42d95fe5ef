"""A second load takes code and packed weights from the cache, without the compiler, and gives the same results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mlc
from mlc.artifact import ready
from mlc.options import Options
from mlc.runtime.artifact.contents import read_contents
from mlc.runtime.artifact.file import ArtifactFile
from mlc.runtime.cache import DiskCache
from tests.artifact.test_save import Block

X = np.linspace(-1, 1, 3 * 16 * 16, dtype=np.float32).reshape(1, 3, 16, 16)
CODE = """
import sys
import numpy as np
import mlc
loaded = mlc.load(sys.argv[1], cache_dir=sys.argv[2])
np.save(sys.argv[4], loaded(np.load(sys.argv[3])))
print(" ".join(m for m in ("xdsl", "torch", "mlc.interp", "mlc.driver") if m in sys.modules))
print(len(loaded.ir("torch")))
"""


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path, np.ndarray]:
    """A saved model, an empty cache, and the compiled model's result."""
    torch.manual_seed(0)
    compiled = mlc.compile(Block().eval(), (torch.from_numpy(X),), cache_dir=tmp_path / "first")
    compiled.save(tmp_path / "m.mlc")
    return tmp_path / "m.mlc", tmp_path / "cache", compiled(X)


def load_and_run(path: Path, cache: Path) -> tuple[list[str], np.ndarray]:
    """In a process of its own: what it imported to get the result, and that."""
    given, answer = path.with_name("x.npy"), path.with_name("y.npy")
    np.save(given, X)
    arguments = [sys.executable, "-c", CODE, *map(str, (path, cache, given, answer))]
    out = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.splitlines()
    assert int(out[1]) > 100
    return out[0].split(), np.load(answer)


def test_the_second_load_needs_no_compiler(saved: tuple[Path, Path, np.ndarray]):
    path, cache, wanted = saved
    first, result = load_and_run(path, cache)
    assert first == ["xdsl", "mlc.interp", "mlc.driver"] and np.array_equal(result, wanted)
    second, result = load_and_run(path, cache)
    assert second == [] and np.array_equal(result, wanted)


def test_threads_of_a_model_from_the_cache(saved: tuple[Path, Path, np.ndarray]):
    path, cache, wanted = saved
    mlc.load(path, cache_dir=cache)
    loaded = mlc.load(path, num_threads=2, cache_dir=cache)
    assert np.array_equal(loaded(X), wanted)
    with mlc.num_threads(1):
        assert np.array_equal(loaded(X), wanted)


def _where(path: Path, cache: Path) -> tuple[Path, Path]:
    """The entries of a saved model in a cache."""
    code, arrays = ready._keys(read_contents(ArtifactFile(path)))
    return DiskCache(cache).path(code), DiskCache(cache).path(arrays)


@pytest.mark.parametrize("entry", [0, 1])
@pytest.mark.parametrize("how", ["gone", "cut", "changed", "of another model"])
def test_entries_that_are_no_good_are_made_again(entry: int, how: str, saved: tuple[Path, Path, np.ndarray]):
    path, cache, wanted = saved
    mlc.load(path, cache_dir=cache)
    contents = read_contents(ArtifactFile(path))
    assert ready.read(contents, Options(cache_dir=cache)) is not None
    target = _where(path, cache)[entry]
    raw = bytearray(target.read_bytes())
    if how == "gone":
        target.unlink()
    elif how == "cut":
        target.write_bytes(raw[:-8])
    elif how == "changed":
        raw[-5] ^= 1
        target.write_bytes(raw)
    else:
        other = path.with_name("other.mlc")
        mlc.compile(Block().eval(), (torch.from_numpy(X),), cache_dir=cache).save(other)
        mlc.load(other, cache_dir=cache)
        target.write_bytes(_where(other, cache)[entry].read_bytes())
    assert ready.read(contents, Options(cache_dir=cache)) is None
    assert np.array_equal(mlc.load(path, cache_dir=cache)(X), wanted)
    assert ready.read(contents, Options(cache_dir=cache)) is not None


def test_other_weights_are_another_model(saved: tuple[Path, Path, np.ndarray]):
    path, cache, wanted = saved
    mlc.load(path, cache_dir=cache)
    compiled = mlc.compile(Block().eval(), (torch.from_numpy(X),), cache_dir=cache)
    compiled.save(path)
    assert np.array_equal(mlc.load(path, cache_dir=cache)(X), compiled(X))
    assert not np.array_equal(compiled(X), wanted)


def test_no_cache_and_other_targets(saved: tuple[Path, Path, np.ndarray]):
    path, cache, wanted = saved
    contents = read_contents(ArtifactFile(path))
    mlc.load(path, cache_dir=cache)
    assert ready.read(contents, Options(cache_dir="")) is None
    assert ready.read(contents, Options(cache_dir=cache, target="x86-64-sse2")) is None
    assert np.array_equal(mlc.load(path, cache_dir="")(X), wanted)
    assert np.allclose(mlc.load(path, cache_dir=cache, target="x86-64-sse2")(X), wanted, atol=1e-4)


def test_what_it_keeps_counts_towards_the_cache(saved: tuple[Path, Path, np.ndarray]):
    path, cache, _ = saved
    mlc.load(path, cache_dir=cache)
    code, arrays = _where(path, cache)
    held = DiskCache(cache)
    assert held.info().bytes >= code.stat().st_size + arrays.stat().st_size > 0
    held.clear()
    assert not code.exists() and not arrays.exists()
