"""A file's digest: of every byte, hashed once while the file is unchanged, never trusted for what is stored."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mlc
from mlc.artifact import ready, seen
from mlc.options import Options
from mlc.runtime.artifact.contents import read_contents
from mlc.runtime.artifact.file import ArtifactFile, write_artifact
from mlc.runtime.cache import DiskCache

X = np.ones((64, 64), np.float32)


def forged(data: bytes, wanted: int) -> bytes:
    """`data` with other last four bytes, so that its CRC-32 is `wanted`: CRC is linear."""
    head = data[:-4]
    base = zlib.crc32(head + bytes(4))
    basis: dict[int, tuple[int, int]] = {}
    for bit in range(32):
        column, mask = zlib.crc32(head + (1 << bit).to_bytes(4, "little")) ^ base, 1 << bit
        while column.bit_length() in basis:
            other, others = basis[column.bit_length()]
            column, mask = column ^ other, mask ^ others
        basis[column.bit_length()] = column, mask
    rest, last = base ^ wanted, 0
    while rest:
        column, mask = basis[rest.bit_length()]
        rest, last = rest ^ column, last ^ mask
    return head + last.to_bytes(4, "little")


@pytest.fixture
def twins(tmp_path: Path) -> tuple[Path, Path, np.ndarray]:
    """A saved model, one that has all checksums of it and other weights, and the results of the first."""
    torch.manual_seed(0)
    good, evil = tmp_path / "good.mlc", tmp_path / "evil.mlc"
    compiled = mlc.compile(nn.Linear(64, 64).eval(), (torch.from_numpy(X),), cache_dir=tmp_path / "first")
    compiled.save(good)
    file = ArtifactFile(good)
    raw = good.read_bytes()
    parts = [raw[offset : offset + count] for offset, count, _ in file._parts]
    number = file.index["arrays"][file.index["versions"][0]["weights"]["weight"]][0]
    weight = np.full((64, 64), 7, np.float32).tobytes()
    parts[number] = forged(weight, zlib.crc32(parts[number]))
    write_artifact(evil, {k: v for k, v in file.index.items() if k != "parts"}, parts)
    assert ArtifactFile(evil).index == file.index and evil.stat().st_size == good.stat().st_size
    return good, evil, compiled(X)


def settle(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file be old enough to be remembered."""
    later = path.stat().st_ctime + 10
    monkeypatch.setattr(seen.time, "time", lambda: later)


@pytest.mark.parametrize("settled", [True, False])
def test_a_file_of_the_same_checksums_is_another(
    settled: bool, twins: tuple[Path, Path, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    good, evil, wanted = twins
    if settled:
        settle(evil, monkeypatch)
    for _ in range(2):
        assert mlc.load(evil, cache_dir=tmp_path / "cache")(X)[0, 0] > 400
        assert np.array_equal(mlc.load(good, cache_dir=tmp_path / "cache")(X), wanted)


def test_an_unchanged_file_is_hashed_once(
    twins: tuple[Path, Path, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    good, evil, _ = twins
    cache = DiskCache(tmp_path / "cache")
    seen.remember(ArtifactFile(good), cache)
    assert seen.opened(good, cache).hashed  # too young
    settle(evil, monkeypatch)
    first = seen.opened(good, cache)
    seen.remember(first, cache)
    again = seen.opened(good, cache)
    assert first.hashed and not again.hashed and again.digest == first.digest == ArtifactFile(good).digest
    assert seen.opened(good, None).hashed and seen.opened(good, DiskCache(tmp_path / "other")).hashed
    os.utime(good, ns=(good.stat().st_atime_ns, good.stat().st_mtime_ns))  # the time of the inode alone
    assert seen.opened(good, cache).hashed
    stamps = good.stat().st_atime_ns, good.stat().st_mtime_ns
    seen.remember(seen.opened(good, cache), cache)
    good.write_bytes(evil.read_bytes())
    os.utime(good, ns=stamps)
    assert seen.opened(good, cache).digest == ArtifactFile(evil).digest != first.digest


def test_a_file_that_changed_meanwhile_is_not_remembered(
    twins: tuple[Path, Path, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    good, evil, _ = twins
    settle(evil, monkeypatch)
    cache = DiskCache(tmp_path / "cache")
    file = seen.opened(good, cache)
    os.replace(evil, good)
    assert not file.is_unchanged()
    seen.remember(file, cache)
    assert cache.get(file.state) is None
    good.unlink()
    assert not file.is_unchanged()


def test_nothing_is_stored_under_a_digest_that_is_only_known(
    twins: tuple[Path, Path, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The state of one file with the digest of the other, as somebody could have it who writes without a trace."""
    good, evil, wanted = twins
    settle(evil, monkeypatch)
    cache = DiskCache(tmp_path / "cache")
    cache.put(ArtifactFile(evil).state, ArtifactFile(good).digest.encode())
    assert seen.opened(evil, cache).digest == ArtifactFile(good).digest
    assert mlc.load(evil, cache_dir=cache.directory)(X)[0, 0] > 400
    options = Options(cache_dir=cache.directory)
    assert ready.read(read_contents(ArtifactFile(good)), options) is None
    assert ready.read(read_contents(ArtifactFile(evil)), options) is not None
    assert np.array_equal(mlc.load(good, cache_dir=cache.directory)(X), wanted)
