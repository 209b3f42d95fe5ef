"""`write_whole`: modes, and nothing left behind."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlc.runtime.files import write_whole


@pytest.fixture
def umask() -> Iterator[int]:
    """The process's umask, 0o027 meanwhile."""
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_mode_is_that_of_the_umask_the_old_file_or_private(tmp_path: Path, umask: int):
    path = tmp_path / "page.html"
    write_whole(path, b"one")
    assert _mode(path) == 0o666 & ~umask
    path.chmod(0o644)
    write_whole(path, b"two")
    assert _mode(path) == 0o644 and path.read_bytes() == b"two"
    write_whole(path, b"three", private=True)
    assert _mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_put_in_place_leaves_nothing(tmp_path: Path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_whole(tmp_path / "taken", b"data")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]
