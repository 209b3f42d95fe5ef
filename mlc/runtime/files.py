"""Files that are written whole or not at all: to a temporary file beside the target, then renamed over it."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def unwritable(path: Path) -> str | None:
    """Why no file can be written at `path`, as far as can be told without writing; for callers with long work to do."""
    if path.is_dir():
        return "it is a directory"
    if not path.parent.is_dir():
        return f"there is no directory '{path.parent}'"
    if not os.access(path if path.exists() and not path.is_file() else path.parent, os.W_OK):
        return "permission denied"
    return None


def write_whole(path: Path, data: bytes | Iterable[Any], *, private: bool = False) -> None:
    """Write `data` (bytes, or buffers one after the other) to `path`; a reader sees the old file or all of the new one.

    Raises OSError. Its mode is that of the old file, else what the umask gives; or nobody else may read it (`private`).
    """
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    fd = os.open(temporary, flags, 0o600 if private else 0o666)
    try:
        with os.fdopen(fd, "wb") as f:
            for piece in (data,) if isinstance(data, bytes) else data:
                f.write(piece)
        if not private and path.exists():
            os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
