"""Hashes of code on disk: what tells one state of a compiler from another, without importing any of it.

digest(Path(mlc.__file__).parent)     ->  "5d41402abc4b2a76b9719d911017c592"

Tests: tests/repo/test_fingerprint.py
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path

CODE = (".py", ".so", ".pyd", ".dylib", ".dll", ".ll")
"""Suffixes of what runs while a model is compiled, or becomes part of it (`libx.so.1` has one too)."""


@cache
def digest(root: Path) -> str:
    """Hash of the code at or below `root`, by name, size and time."""
    h = hashlib.blake2b(platform.python_version().encode(), digest_size=16)
    for path in sorted(_code_below(root)) if root.is_dir() else [root]:
        stat = path.stat()
        h.update(f"{path.relative_to(root.parent)} {stat.st_size} {stat.st_mtime_ns}".encode())
    return h.hexdigest()


def _code_below(root: Path) -> Iterator[Path]:
    """Files of code, not those of an environment or a tool that keeps itself in the folder."""
    for folder, inner, names in os.walk(root):
        inner[:] = [n for n in inner if not n.startswith(".") and n not in ("__pycache__", "site-packages")]
        yield from (Path(folder, n) for n in names if any(s in CODE for s in Path(n).suffixes))
