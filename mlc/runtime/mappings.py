"""What the address space of this process consists of (Linux), and the C library's functions that change it.

    mappings()                 # [Mapping(start, end, "rw-p", 4392592, "/usr/lib/…"), …] in order
    written_pages(start, end)  # of private mappings: pages that are memory, not the file's

Tests: tests/runtime/test_offload.py
"""

from __future__ import annotations

import ctypes
import mmap
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

PAGE = mmap.PAGESIZE

_PRESENT, _SWAPPED, _OF_FILE = 63, 62, 61
"""Bits of a page's word in /proc/self/pagemap."""


@dataclass(frozen=True)
class Mapping:
    """Addresses from `start` to `end`; `inode` is 0 where there is no file, `path` is what it was called last."""

    start: int
    end: int
    access: str
    inode: int
    path: str

    @property
    def is_private(self) -> bool:
        """Whether what is written there stays in this process."""
        return self.access.endswith("p")

    @property
    def is_writable(self) -> bool:
        """Whether it can be read and written."""
        return self.access.startswith("rw")


def mappings() -> list[Mapping]:
    """All mappings, by address."""
    found: list[Mapping] = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, access, _, _, inode, *path = line.split(maxsplit=5)
        start, _, end = addresses.partition("-")
        found.append(Mapping(int(start, 16), int(end, 16), access, int(inode), path[0] if path else ""))
    return found


def written_pages(start: int, end: int) -> int:
    """How many pages between two addresses are memory of this process, present or swapped out; all of them where the
    system does not say."""
    count = (end - start) // PAGE
    try:
        with open("/proc/self/pagemap", "rb") as f:
            words = np.frombuffer(os.pread(f.fileno(), count * 8, start // PAGE * 8), np.uint64)
    except OSError:
        return count
    if len(words) < count:
        return count
    there = (words >> np.uint64(_PRESENT)) | (words >> np.uint64(_SWAPPED))
    return int(np.count_nonzero(there & ~(words >> np.uint64(_OF_FILE)) & np.uint64(1)))


@cache
def libc() -> ctypes.CDLL:
    """The C library, with the types of what is called of it."""
    found = ctypes.CDLL(None, use_errno=True)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for name, result, arguments in (
        ("mmap", pointer, (pointer, size, number, number, number, ctypes.c_long)),
        ("mremap", pointer, (pointer, size, size, number, pointer)),
        ("munmap", number, (pointer, size)),
        ("madvise", number, (pointer, size, number)),
        ("memcmp", number, (pointer, pointer, size)),
        ("malloc_trim", number, (size,)),
    ):
        function = getattr(found, name, None)
        if function is not None:
            function.restype, function.argtypes = result, arguments
    return found
