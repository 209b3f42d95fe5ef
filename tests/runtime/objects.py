"""Object files of a few bytes, made by hand: a section of each kind, and what symbols and relocations a test wants."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

TEXT, CONSTANTS, DATA, ZEROS = 1, 2, 3, 4
"""Numbers of the sections."""
RELOCATIONS, SYMBOLS, STRINGS = 5, 6, 7
GLOBAL, WEAK = 1, 2
CODE_BYTES = b"\xb8\x2a\x00\x00\x00\xc3"
"""mov $42, %eax; ret"""


@dataclass(frozen=True)
class Name:
    """A symbol. `section` 0: wanted from elsewhere."""

    text: str
    section: int = 0
    value: int = 0
    binding: int = GLOBAL
    type: int = 0


@dataclass(frozen=True)
class Fixup:
    """A relocation in the section of data, for the symbol of that number (from 1)."""

    offset: int
    kind: int
    symbol: int
    addend: int = 0


def make_object(
    names: Sequence[Name] = (),
    fixups: Sequence[Fixup] = (),
    *,
    code: bytes = CODE_BYTES,
    zeros: int = 64,
    align: int = 16,
    data_flags: int = 3,
    data_type: int = 1,
    table_type: int = 4,
) -> bytes:
    """The file; `data_flags` and `data_type` are those of the section of data, which has 64 bytes."""
    strings, symbols = b"\0", struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0)
    for name in names:
        symbols += struct.pack("<IBBHQQ", len(strings), name.binding << 4 | name.type, 0, name.section, name.value, 0)
        strings += name.text.encode() + b"\0"
    table = b"".join(struct.pack("<QQq", f.offset, f.symbol << 32 | f.kind, f.addend) for f in fixups)
    contents = [b"", code, b"constants of 16 ", bytes(64), b"", table, symbols, strings]
    # type, flags, size, link, info, align
    rows = [
        (0, 0, 0, 0, 0, 0),
        (1, 6, len(code), 0, 0, 16),
        (1, 2, 16, 0, 0, 16),
        (data_type, data_flags, 64, 0, 0, align),
        (8, 3, zeros, 0, 0, 16),
        (table_type, 0, len(table), SYMBOLS, DATA, 8),
        (2, 0, len(symbols), STRINGS, 1, 8),
        (3, 0, len(strings), 0, 0, 1),
    ]
    body, headers = b"", b""
    for (kind, flags, size, link, info, alignment), content in zip(rows, contents, strict=True):
        headers += struct.pack("<IIQQQQIIQQ", 0, kind, flags, 0, 64 + len(body), size, link, info, alignment, 0)
        body += content
    start = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQ", 1, 62, 1, 0, 0, 64 + len(body))
    return start + struct.pack("<IHHHHHH", 0, 64, 0, 0, 64, len(rows), STRINGS) + body + headers
