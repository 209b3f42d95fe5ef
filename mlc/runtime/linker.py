"""Object code -> callable addresses in this process, without LLVM: a static linker for what our code generator emits.

    library = link([read_object(data), …])
    address = library.address("mlc_forward")

    one mapping:   code, stubs for calls of libraries | constants, table of addresses | data, zeros
                   read and execute                   | read                          | read and write

Sections are laid out one behind the other, names are looked up in the objects and then in the libraries of the process,
relocations are applied, and only then does code become executable. Everything that an object says about itself is
checked: a damaged one is an ArtifactError. What is whole but not for this linker (another system or processor,
thread-local data, constructors, a relocation it does not know) is Unlinkable, and left to LLVM's own linker.
Tests: tests/runtime/test_linker.py
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from mlc.errors import ArtifactError, UsageError
from mlc.runtime import elf
from mlc.runtime.elf import ObjectFile, Section, Symbol, damaged
from mlc.runtime.pages import PAGE, Pages

ADDRESS_TABLE = "_GLOBAL_OFFSET_TABLE_"
"""A name that objects want when they use the table of addresses; it is nobody's."""

_LARGEST = 1 << 30  # bytes of a mapping: every distance in it fits 32 bits
_STUB = struct.Struct("<Hixx")  # jmp *table(%rip)
_JUMP, _JUMP_BYTES = 0x25FF, 6

_ABSOLUTE_64, _DISTANCE_64, _DISTANCE_32, _CALL, _UNSIGNED_32, _SIGNED_32 = 1, 24, 2, 4, 10, 11
_TABLE_DISTANCE_32 = frozenset((9, 41, 42))
_FORMATS = {
    **dict.fromkeys((_DISTANCE_32, _CALL, _SIGNED_32, *_TABLE_DISTANCE_32), struct.Struct("<i")),
    _ABSOLUTE_64: struct.Struct("<Q"),
    _DISTANCE_64: struct.Struct("<q"),
    _UNSIGNED_32: struct.Struct("<I"),
}
"""Relocations by their number in the ABI of x86-64, and what they write."""


class Unlinkable(Exception):
    """Sound, as far as it was looked at, but not for this linker."""


class Library(Protocol):
    """Loaded code: addresses by symbol."""

    def address(self, symbol: str) -> int:
        """Address of `symbol`; raises when it is not there."""
        ...

    def find(self, symbol: str) -> int | None:
        """Address of `symbol`, or None."""
        ...


class LinkedLibrary:
    """Linked code. It stays mapped as long as this object is kept alive by you."""

    def __init__(self, pages: Pages, symbols: dict[str, int]) -> None:
        self._pages = pages
        self._symbols = symbols

    def address(self, symbol: str) -> int:
        """Address of a function or global; UsageError when the code has none of that name."""
        found = self.find(symbol)
        if found is None:
            raise UsageError(f"no symbol '{symbol}' in the compiled code")
        return found

    def find(self, symbol: str) -> int | None:
        """Address of a function or global, or None."""
        return self._symbols.get(symbol)


def process_symbol(name: str) -> int | None:
    """Address of a function or variable in the libraries of this process."""
    try:
        return ctypes.cast(ctypes.CDLL(None)[name], ctypes.c_void_p).value
    except AttributeError:
        return None


def link(objects: Sequence[ObjectFile], resolve: Callable[[str], int | None] = process_symbol) -> LinkedLibrary:
    """Link objects with each other and with what `resolve` finds. ArtifactError for damaged ones and for names that
    nobody has; Unlinkable."""
    if sys.platform != "linux" or elf.MACHINES.get(platform.machine().lower()) != elf.X86_64:
        raise Unlinkable("another system or processor")
    linker = _Linker(objects, resolve)
    try:
        pages = Pages(linker.size)
        symbols = linker.write(pages.bytes, pages.address)
        pages.protect(linker.code_end, linker.constants_end)
    except OSError as e:
        raise Unlinkable(f"no memory for code: {e}") from None
    return LinkedLibrary(pages, symbols)


_Target = str | tuple[int, Symbol]
"""What a relocation is about: a global name, or a symbol of one object."""


@dataclass(frozen=True)
class _Use:
    """A relocation: at which offset of the mapping, what kind, of what."""

    offset: int
    kind: int
    target: _Target
    addend: int


class _Linker:
    """Lays everything out, by offsets in the mapping; then writes it, where the mapping is."""

    def __init__(self, objects: Sequence[ObjectFile], resolve: Callable[[str], int | None]) -> None:
        self.size = 0
        self._objects = objects
        self._placed: dict[tuple[int, int], int] = {}  # by numbers of object and section
        loaded = {(n, i): s for n, code in enumerate(objects) for i, s in enumerate(code.sections) if _is_loaded(s)}
        self._imported = _imported(objects, resolve)
        uses = [(key, use) for key, section in loaded.items() for use in _uses(key, section, objects[key[0]])]
        if any(u.kind in (_DISTANCE_32, _DISTANCE_64) and u.target in self._imported for _, u in uses):
            raise Unlinkable("a name of a library that cannot be called directly")
        self._place({k: s for k, s in loaded.items() if s.flags & elf.EXECUTABLE})
        called = {u.target: None for _, u in uses if u.kind == _CALL and u.target in self._imported}
        self._stubs = {name: self._take(_STUB.size, 8) for name in called}
        self.code_end = self._turn_page()
        self._place({k: s for k, s in loaded.items() if not s.flags & (elf.EXECUTABLE | elf.WRITE)})
        in_table = {**called, **{u.target: None for _, u in uses if u.kind in _TABLE_DISTANCE_32}}
        self._table = {target: self._take(8, 8) for target in in_table}
        self.constants_end = self._turn_page()
        self._place({k: s for k, s in loaded.items() if s.flags & elf.WRITE})
        self._turn_page()
        self._uses = [replace(use, offset=self._placed[key] + use.offset) for key, use in uses]
        self._globals = self._defined()

    def write(self, memory: memoryview, base: int) -> dict[str, int]:
        """Contents, stubs, table and relocations. Returns the addresses of the global names."""
        for (number, index), at in self._placed.items():
            data = self._objects[number].sections[index].data
            memory[at : at + len(data)] = data
        for target, at in self._table.items():
            struct.pack_into("<Q", memory, at, self._address(target, base))
        for name, at in self._stubs.items():
            _STUB.pack_into(memory, at, _JUMP, self._table[name] - at - _JUMP_BYTES)
        for use in self._uses:
            value = self._value(use, base)
            try:
                _FORMATS[use.kind].pack_into(memory, use.offset, value)
            except struct.error:
                raise damaged("a relocation out of range") from None
        return {name: base + at for name, at in self._globals.items()}

    def _value(self, use: _Use, base: int) -> int:
        if use.kind == _ABSOLUTE_64:
            return (self._address(use.target, base) + use.addend) % 2**64
        if use.kind in (_UNSIGNED_32, _SIGNED_32):
            return self._address(use.target, base) + use.addend
        if use.kind in _TABLE_DISTANCE_32:
            return self._table[use.target] + use.addend - use.offset
        if use.kind == _CALL and isinstance(use.target, str) and use.target in self._stubs:
            return self._stubs[use.target] + use.addend - use.offset
        return self._address(use.target, base) + use.addend - base - use.offset

    def _address(self, target: _Target, base: int) -> int:
        if isinstance(target, str):
            return base + self._globals[target] if target in self._globals else self._imported[target]
        number, symbol = target
        return base + self._offset(number, symbol)

    def _offset(self, number: int, symbol: Symbol) -> int:
        at = self._placed.get((number, symbol.section))
        if at is None:
            raise damaged(f"the symbol '{symbol.name}' is in no section that is loaded")
        return at + symbol.value

    def _defined(self) -> dict[str, int]:
        """Offsets of the global names; of several weak ones the first."""
        strong: dict[str, int] = {}
        weak: dict[str, int] = {}
        for number, code in enumerate(self._objects):
            for symbol in code.symbols:
                if symbol.binding == elf.LOCAL or symbol.section == elf.UNDEFINED:
                    continue
                _check_symbol(symbol)
                at = self._offset(number, symbol)
                if symbol.binding == elf.WEAK:
                    weak.setdefault(symbol.name, at)
                elif strong.setdefault(symbol.name, at) != at:
                    raise ArtifactError(f"the compiled code cannot be linked: two definitions of '{symbol.name}'")
        return {**weak, **strong}

    def _place(self, sections: Mapping[tuple[int, int], Section]) -> None:
        for key, section in sections.items():
            self._placed[key] = self._take(section.size, section.align)

    def _take(self, nbytes: int, align: int) -> int:
        """Where so many bytes are to be."""
        if align > PAGE:
            raise Unlinkable(f"a section is aligned to {align} bytes")
        at = -(-self.size // align) * align
        self.size = at + nbytes
        if self.size > _LARGEST:
            raise damaged("more than 1 GB of code and data")
        return at

    def _turn_page(self) -> int:
        return self._take(0, PAGE)


def _is_loaded(section: Section) -> bool:
    """Whether code can see it. Tables for unwinding and notes it cannot."""
    if not section.flags & elf.ALLOCATED or section.type in (elf.NOTE, elf.UNWINDING):
        return False
    if section.type not in (elf.CONTENTS, elf.NO_BITS) or section.flags & elf.THREAD_LOCAL:
        raise Unlinkable(f"a section of type {section.type} and flags {section.flags}")
    if section.flags & elf.EXECUTABLE and section.flags & elf.WRITE:
        raise Unlinkable("code that can be written")
    return True


def _imported(objects: Sequence[ObjectFile], resolve: Callable[[str], int | None]) -> dict[str, int]:
    """Addresses of names that the objects want and do not have."""
    found = {name: resolve(name) for name in elf.missing_symbols(objects) if name != ADDRESS_TABLE}
    unknown = [name for name, address in found.items() if address is None]
    if unknown:
        raise ArtifactError(f"the compiled code needs symbols that nobody defines: {', '.join(unknown)}")
    return {name: address for name, address in found.items() if address is not None}


def _uses(key: tuple[int, int], section: Section, code: ObjectFile) -> Iterator[_Use]:
    """The relocations of a section, with offsets in it."""
    number, index = key
    for table in code.sections:
        if table.type == elf.RELOCATIONS and table.info == index:
            for offset, kind, symbol, addend in code.relocations(table):
                if kind not in _FORMATS:
                    raise Unlinkable(f"a relocation of type {kind}")
                if offset + _FORMATS[kind].size > len(section.data):
                    raise damaged("a relocation lies outside its section")
                _check_symbol(symbol)
                yield _Use(offset, kind, symbol.name if symbol.binding != elf.LOCAL else (number, symbol), addend)
        elif table.type in elf.OTHER_RELOCATIONS and table.info == index:
            raise Unlinkable("relocations of another form")


def _check_symbol(symbol: Symbol) -> None:
    if symbol.type > elf.SECTION or symbol.section >= elf.RESERVED or symbol.binding > elf.WEAK:
        raise Unlinkable(f"the symbol '{symbol.name}' of type {symbol.type}")
    if symbol.name == ADDRESS_TABLE:
        raise Unlinkable("the address of the table of addresses")
