"""A look at an ELF object file before LLVM sees it: is it whole, is it for this machine, what does it want.

LLVM ends the process on some malformed objects, and its linker reports a missing symbol only on standard error.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from mlc.errors import ArtifactError

_MACHINES = {"x86_64": 62, "amd64": 62, "aarch64": 183, "arm64": 183}
_SYMBOL_TABLE, _NO_BITS = 2, 8


@dataclass(frozen=True)
class ObjectSymbols:
    """Global names an object defines, and those it needs from elsewhere."""

    defined: frozenset[str]
    undefined: frozenset[str]


def read_symbols(data: bytes) -> ObjectSymbols:
    """Symbols of a relocatable ELF64 file; ArtifactError when it is damaged or for another machine."""
    try:
        return _read(data)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as e:
        raise ArtifactError(f"damaged object file: {e}", hint="compile the model again") from None


def _read(data: bytes) -> ObjectSymbols:
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    kind, machine = struct.unpack_from("<HH", data, 16)
    if kind != 1:
        raise ValueError("not relocatable")
    if machine != _MACHINES.get(platform.machine().lower()):
        raise ArtifactError("the object file is for another kind of machine", hint="compile the model on this one")
    (at,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    if size != 64 or count == 0:
        raise ValueError("no section headers")
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, at + i * size) for i in range(count)]
    for section in sections:
        if section[1] != _NO_BITS and section[4] + section[5] > len(data):
            raise ValueError("a section lies outside the file")
    defined: set[str] = set()
    undefined: set[str] = set()
    for section in sections:
        if section[1] != _SYMBOL_TABLE:
            continue
        names = sections[section[6]]
        strings = data[names[4] : names[4] + names[5]]
        for k in range(1, section[5] // 24):
            name, info, _, index = struct.unpack_from("<IBBH", data, section[4] + 24 * k)
            if info >> 4 == 0:  # local
                continue
            text = strings[name : strings.index(b"\0", name)].decode()
            (undefined if index == 0 else defined).add(text)
    return ObjectSymbols(frozenset(defined), frozenset(undefined))


def missing_symbols(objects: Sequence[ObjectSymbols]) -> list[str]:
    """What the objects want and none of them has, sorted."""
    defined = frozenset().union(*(o.defined for o in objects))
    return sorted(frozenset().union(*(o.undefined for o in objects)) - defined)
