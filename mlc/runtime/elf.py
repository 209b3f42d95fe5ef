"""Relocatable ELF object files, read and checked: no offset, index or size in what comes back points outside.

    object_file = read_object(data)
    object_file.defined, object_file.undefined        # global names
    object_file.sections, .symbols, .relocations      # what a linker wants (mlc/runtime/linker.py)

Tests: tests/runtime/test_linker.py
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from mlc.errors import ArtifactError

X86_64, AARCH64 = 62, 183
MACHINES = {"x86_64": X86_64, "amd64": X86_64, "aarch64": AARCH64, "arm64": AARCH64}

CONTENTS, SYMBOL_TABLE, RELOCATIONS, NOTE, NO_BITS, UNWINDING = 1, 2, 4, 7, 8, 0x70000001
OTHER_RELOCATIONS = frozenset((9, 19))
"""Types of sections."""
WRITE, ALLOCATED, EXECUTABLE, THREAD_LOCAL = 1, 2, 4, 1 << 10
"""Flags of sections."""
LOCAL, WEAK = 0, 2
"""Bindings of symbols."""
SECTION = 3
"""Up to this type a symbol is a place in a section."""
UNDEFINED, RESERVED = 0, 0xFF00
"""Sections of symbols: none, and from here on others than the file's own."""

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")


@dataclass(frozen=True)
class Section:
    """`data` is empty for a section that only has a size (zeros)."""

    type: int
    flags: int
    size: int
    align: int
    link: int
    info: int
    data: memoryview


@dataclass(frozen=True)
class Symbol:
    """`value` is an offset in the section of that index, at most its size."""

    name: str
    binding: int
    type: int
    section: int
    value: int


@dataclass(frozen=True)
class ObjectFile:
    """A whole object file."""

    sections: Sequence[Section]
    symbols: Sequence[Symbol]

    @cached_property
    def defined(self) -> frozenset[str]:
        """Global names it has."""
        return frozenset(s.name for s in self.symbols if s.binding != LOCAL and s.section != UNDEFINED)

    @cached_property
    def undefined(self) -> frozenset[str]:
        """Global names it wants from elsewhere."""
        return frozenset(s.name for s in self.symbols if s.binding != LOCAL and s.section == UNDEFINED)

    def relocations(self, section: Section) -> Iterator[tuple[int, int, Symbol, int]]:
        """Offset, type, symbol and addend of each entry of a section of relocations; the offset is not checked."""
        if section.size % _RELOCATION.size:
            raise damaged("a table of relocations is cut off")
        for offset, info, addend in _RELOCATION.iter_unpack(section.data):
            number = info >> 32
            if number >= len(self.symbols):
                raise damaged(f"a relocation for symbol {number}, of {len(self.symbols)}")
            yield offset, info & 0xFFFFFFFF, self.symbols[number], addend


def read_object(data: bytes) -> ObjectFile:
    """A relocatable ELF64 file for this kind of machine; ArtifactError when it is damaged or for another."""
    try:
        return _read(data)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as e:
        raise damaged(str(e)) from None


def missing_symbols(objects: Sequence[ObjectFile]) -> list[str]:
    """What the objects want and none of them has, sorted."""
    defined = frozenset().union(*(o.defined for o in objects))
    return sorted(frozenset().union(*(o.undefined for o in objects)) - defined)


def damaged(what: str) -> ArtifactError:
    """The error of a file that is not what it should be."""
    return ArtifactError(f"damaged object file: {what}", hint="compile the model again")


def _read(data: bytes) -> ObjectFile:
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    kind, machine = struct.unpack_from("<HH", data, 16)
    if kind != 1:
        raise ValueError("not relocatable")
    if machine != MACHINES.get(platform.machine().lower()):
        raise ArtifactError("the object file is for another kind of machine", hint="compile the model on this one")
    (at,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    if size != _SECTION.size or count == 0:
        raise ValueError("no section headers")
    if at + size * count > len(data):
        raise ValueError("the section headers lie outside the file")
    whole = memoryview(data)
    sections = [_section(whole, _SECTION.unpack_from(data, at + i * size), count) for i in range(count)]
    tables = [s for s in sections if s.type == SYMBOL_TABLE]
    if len(tables) > 1:
        raise ValueError("more than one table of symbols")
    symbols = list(_symbols(sections, tables[0])) if tables else []
    for section in sections:
        if section.type == RELOCATIONS and (not tables or sections[section.link] is not tables[0]):
            raise ValueError("relocations without the table of symbols")
    return ObjectFile(sections, symbols)


def _section(whole: memoryview, header: tuple[int, ...], count: int) -> Section:
    _, kind, flags, _, offset, size, link, info, align, _ = header
    data = whole[0:0]
    if kind not in (0, NO_BITS):
        if offset + size > len(whole):
            raise ValueError("a section lies outside the file")
        data = whole[offset : offset + size]
    if align & (align - 1):
        raise ValueError(f"a section is aligned to {align} bytes")
    if link >= count or (kind == RELOCATIONS and info >= count):
        raise ValueError("a section refers to one that is not there")
    return Section(kind, flags, size, max(1, align), link, info, data)


def _symbols(sections: Sequence[Section], table: Section) -> Iterator[Symbol]:
    strings = bytes(sections[table.link].data)
    if table.size % _SYMBOL.size:
        raise ValueError("the table of symbols is cut off")
    for name, info, _, index, value, _ in _SYMBOL.iter_unpack(table.data):
        if UNDEFINED < index < RESERVED and (index >= len(sections) or value > sections[index].size):
            raise ValueError("a symbol lies outside its section")
        text = strings[name : strings.index(b"\0", name)].decode()
        yield Symbol(text, info >> 4, info & 15, index, value)
