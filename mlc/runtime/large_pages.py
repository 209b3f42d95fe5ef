"""Constants side by side in memory of large pages: with pages of 4096 bytes, a model that reads megabytes of weights
once per call waits for the processor to find out where each of them lies.

    [a of 100 KB, b of 8 MB, c of 2 MB]   -->   a and c copied one behind the other, b as it is
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence

import numpy as np

from mlc.runtime.executable import ALIGNMENT

PAGE = 2 << 20
LARGE = 4 << 20
"""Bytes of an array from which on numpy itself asks for large pages."""


def on_large_pages(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The same arrays, small ones that own their memory moved to memory of large pages where there are such pages and
    enough to fill one."""
    moved = [i for i, a in enumerate(arrays) if 0 < a.nbytes < LARGE and _owns(a)]
    offsets = dict(zip(moved, _offsets([arrays[i].nbytes for i in moved]), strict=False))
    found = list(arrays)
    if not moved:
        return found
    size = offsets[moved[-1]] + arrays[moved[-1]].nbytes
    if size < PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return found
    memory = mmap.mmap(-1, size + PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    region = np.frombuffer(memory, np.uint8)
    region = region[-region.ctypes.data % PAGE :]
    for i in moved:
        array = found[i]
        copy = region[offsets[i] : offsets[i] + array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        copy.flags.writeable = array.flags.writeable
        found[i] = copy
    return found


def _offsets(sizes: Sequence[int]) -> list[int]:
    """Where things of these sizes begin, each at a boundary."""
    found: list[int] = []
    at = 0
    for size in sizes:
        found.append(at)
        at += -(-size // ALIGNMENT) * ALIGNMENT
    return found


def _owns(array: np.ndarray) -> bool:
    """Whether an array lies in memory of numpy's, not of a tensor, of a file or of a buffer."""
    base = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    return bool(base.flags.owndata)
