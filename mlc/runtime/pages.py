"""Memory for code: written first, then made executable; never both.

    pages = Pages(nbytes)                 # zeros, for reading and writing
    pages.bytes[0:4] = code
    pages.protect(code_end, constants_end)  # [0, code_end) runs, [code_end, constants_end) is read, the rest stays

Tests: tests/runtime/test_linker.py
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref

PAGE = mmap.PAGESIZE

_PRIVATE_ZEROS = 0x22
"""MAP_PRIVATE | MAP_ANONYMOUS of Linux."""


class Pages:
    """A mapping of its own, given back when this object is gone; at the end of the process it stays, as other threads
    may still run what is in it. OSError where the system refuses."""

    def __init__(self, nbytes: int) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.mmap.restype = ctypes.c_void_p
        self._libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
        self._libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self._libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
        address = self._libc.mmap(None, nbytes, mmap.PROT_READ | mmap.PROT_WRITE, _PRIVATE_ZEROS, -1, 0)
        if address == ctypes.c_void_p(-1).value:
            raise _failure()
        self.address: int = address
        self.bytes = memoryview((ctypes.c_char * nbytes).from_address(address)).cast("B")
        weakref.finalize(self, self._libc.munmap, address, nbytes).atexit = False

    def protect(self, code_end: int, constants_end: int) -> None:
        """Both at a page's end. From here on `bytes` is gone."""
        self.bytes.release()
        self._allow(0, code_end, mmap.PROT_READ | mmap.PROT_EXEC)
        self._allow(code_end, constants_end, mmap.PROT_READ)

    def _allow(self, start: int, end: int, what: int) -> None:
        if end > start and self._libc.mprotect(self.address + start, end - start, what):
            raise _failure()


def _failure() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
