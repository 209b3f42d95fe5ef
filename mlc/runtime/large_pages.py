"""Constants side by side in memory of large pages: with pages of 4096 bytes, a model that reads megabytes of weights
once per call waits for the processor to find out where each of them lies, and so does who first writes them.

    a of 100 KB, b of 8 MB, c of 2 MB, d a transposed view of 9 MB  -->  a, c, d copied one behind the other, b stays

They are taken one by one and copied at most once, so that memory in which one was computed serves the next.
Tests: tests/runtime/test_large_pages.py
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable

import numpy as np

from mlc.runtime.executable import ALIGNMENT, aligned, is_aligned

PAGE = 2 << 20
LARGE = 4 << 20
"""Bytes of an array from which on numpy itself asks for large pages."""
CHUNK = 64 << 20
"""Address space taken at once; of it only what is used becomes memory."""


def on_large_pages(arrays: Iterable[np.ndarray]) -> list[np.ndarray]:
    """The same arrays, contiguous at 64-byte boundaries: small ones that own their memory, and those that must be
    copied anyway, in memory of large pages where there are such pages and enough to fill one."""
    found: list[np.ndarray] = []
    waiting: list[int] = []  # until together they fill a page
    size = 0
    region = _Region()
    for array in arrays:
        stays = is_aligned(array) and (array.nbytes >= LARGE or not array.nbytes or not _owns(array))
        found.append(array)
        if not stays:
            waiting.append(len(found) - 1)
            size += array.nbytes
        if size >= PAGE:
            for i in waiting:
                found[i] = region.copied(found[i])
            waiting.clear()
        del array  # its memory serves the next one
    return [aligned(a) for a in found]


class _Region:
    """Memory that is given out from front to back, and stays while an array lies in it."""

    def __init__(self) -> None:
        self._free = np.empty(0, np.uint8)

    def copied(self, array: np.ndarray) -> np.ndarray:
        """A contiguous copy in this memory; `array` itself where there is none."""
        size = -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        if size > self._free.nbytes and not self._grow(size):
            return array
        copy = self._free[: array.nbytes].view(array.dtype).reshape(array.shape)
        self._free = self._free[size:]
        copy[...] = array
        copy.flags.writeable = array.flags.writeable
        return copy

    def _grow(self, size: int) -> bool:
        if not hasattr(mmap, "MADV_HUGEPAGE"):
            return False
        try:
            memory = mmap.mmap(-1, max(CHUNK, size) + PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:  # no memory, or a kernel without large pages
            return False
        region = np.frombuffer(memory, np.uint8)
        self._free = region[-region.ctypes.data % PAGE :]
        return True


def _owns(array: np.ndarray) -> bool:
    """Whether an array lies in memory of numpy's, not of a tensor, of a file or of a buffer."""
    base = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    return bool(base.flags.owndata)
