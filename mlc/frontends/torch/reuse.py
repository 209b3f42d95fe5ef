"""Memory of large results, used again: fresh pages from the system cost as much as filling them several times over.

memory = ReusedMemory(shape, dtype)
array = memory.take()        # goes back to `memory` when the last reference to this object ends
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

LARGE = 1 << 20
"""Bytes from which it pays; the C library keeps smaller blocks itself."""
KEPT = 2
"""Blocks kept: the result of a call is often dropped only after the next call has returned."""


class ReusedMemory:
    """Hands out uninitialised arrays of one shape and dtype.

    Only for arrays that stay inside an object which owns them (as `torch.from_numpy` does): numpy lets a slice refer
    past the array it was taken from, and such a slice would not keep the memory from being used again.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        self._shape, self._dtype = tuple(shape), dtype
        self._free: list[np.ndarray] = []
        self._lent: dict[int, tuple[weakref.ref[np.ndarray], np.ndarray]] = {}  # by the id of the reference

    def take(self) -> np.ndarray:
        """An array of its own."""
        try:
            block = self._free.pop()
        except IndexError:
            block = np.empty(self._shape, self._dtype)
        array = block.view()
        ref = weakref.ref(array, self._back)
        self._lent[id(ref)] = (ref, block)
        return array

    def _back(self, ref: weakref.ref[np.ndarray]) -> None:
        _, block = self._lent.pop(id(ref))
        if len(self._free) < KEPT:
            self._free.append(block)
