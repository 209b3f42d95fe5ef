"""Stored tapes: those that once led to a find, replayed by tests and campaigns ever after."""

from __future__ import annotations

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"


def tapes_of(name: str) -> list[bytes]:
    """Tapes stored for a pass, in the order of their names."""
    return [bytes.fromhex(p.read_text()) for p in sorted(FOLDER.glob(f"{name}@*.tape"))]


def save_tape(name: str, data: bytes) -> Path:
    """Store a tape under the hash of its bytes."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}@{hashlib.blake2b(data, digest_size=6).hexdigest()}.tape"
    path.write_text(data.hex())
    return path
