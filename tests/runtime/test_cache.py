"""The disk cache: bounded by whoever writes, private keys that are replaced when damaged, nothing of others touched."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mlc.errors import UsageError
from mlc.runtime import cache as cache_module
from mlc.runtime.cache import DiskCache, cache_at, default_directory

LIMIT = 1_000_000


def key_of(i: int) -> str:
    return hashlib.blake2b(str(i).encode(), digest_size=16).hexdigest()


def test_many_short_lived_writers_stay_within_the_bound(tmp_path: Path):
    for i in range(100):  # a process writes a few entries and goes
        DiskCache(tmp_path, limit=LIMIT).put(key_of(i), b"x" * 100_000)
        assert DiskCache(tmp_path).info().bytes < 2 * LIMIT
    assert DiskCache(tmp_path).get(key_of(99)) is not None or DiskCache(tmp_path).info().bytes <= LIMIT


def test_small_entries_are_trimmed_too(tmp_path: Path):
    for i in range(1000):
        DiskCache(tmp_path, limit=LIMIT).put(key_of(i), b"x" * 10_000)
    assert DiskCache(tmp_path).info().bytes < 2 * LIMIT


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 33])
def test_a_damaged_key_is_replaced(damage: bytes, tmp_path: Path):
    DiskCache(tmp_path).put(key_of(0), b"lost")
    (tmp_path / "key").write_bytes(damage)
    DiskCache(tmp_path).put(key_of(1), b"kept")
    assert DiskCache(tmp_path).get(key_of(1)) == b"kept"
    assert DiskCache(tmp_path).get(key_of(0)) is None


def test_a_full_disk_leaves_no_temporary_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module.os, "link", full)
    DiskCache(tmp_path).put(key_of(0), b"lost")
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == []


def test_an_empty_variable_counts_as_unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLC_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "mlc"
    monkeypatch.setenv("MLC_CACHE_DIR", str(tmp_path / "own"))
    assert default_directory() == tmp_path / "own"


@pytest.mark.parametrize("directory", [None, "given"])
def test_the_bound_is_the_environments(directory: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLC_CACHE_DIR", str(tmp_path / "own"))
    for text, limit in (("", 2 << 30), ("1M", 1_000_000), ("4096", 4096)):
        monkeypatch.setenv("MLC_CACHE_SIZE", text)
        cache = cache_at(directory)
        assert cache is not None and cache.limit == limit
    for i in range(10):
        cache.put(key_of(i), bytes(1000))
    assert cache.info().bytes <= 2 * 4096
    monkeypatch.setenv("MLC_CACHE_SIZE", "1e9")
    assert cache_at("") is None, "nobody asks for a size"
    with pytest.raises(UsageError, match="MLC_CACHE_SIZE is '1e9'"):
        cache_at(directory)


def test_what_keeps_nothing_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (file := tmp_path / "file").write_text("mine")
    for place in (file, file / "below"):
        assert DiskCache(place).keeps_nothing() == f"'{file}' is not a directory"
    assert DiskCache(tmp_path / "new" / "one").cannot_be() is None and not (tmp_path / "new").exists()
    assert DiskCache(tmp_path / "new" / "one").keeps_nothing() is None and (tmp_path / "new" / "one" / "key").exists()

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache_module.tempfile, "mkstemp", denied)
    assert DiskCache(tmp_path / "other").keeps_nothing() == f"'{tmp_path / 'other'}': Permission denied"
    assert DiskCache(tmp_path / "new" / "one").keeps_nothing() is None, "it has a key: entries can be read"


def test_clearing_leaves_files_of_others_alone(tmp_path: Path):
    DiskCache(tmp_path).put(key_of(0), b"x")
    for other in (tmp_path / "ab" / "notes.txt", tmp_path / "cd" / "ef01"):
        other.parent.mkdir()
        other.write_text("mine")
    DiskCache(tmp_path).clear()
    assert DiskCache(tmp_path).info().entries == 0
    assert (tmp_path / "ab" / "notes.txt").exists() and (tmp_path / "cd" / "ef01").exists()
