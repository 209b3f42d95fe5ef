"""Memory of large results, used again: fresh pages from the system cost as much as filling them several times over.

memory = ReusedMemory(shape, dtype)
tensor = memory.take()        # its memory is free again when nothing refers to it: no view, storage or array either
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

LARGE = 1 << 20
"""Bytes from which it pays; the C library keeps smaller blocks itself."""
KEPT = 3
"""Blocks remembered: the result of a call is often dropped only after the next call has returned."""

_references = torch._C._storage_Use_Count  # pyright: ignore[reportAttributeAccessIssue]


class _Block:
    """Memory, and what its counts of references are while nobody else has any."""

    __slots__ = ("_address", "_alone", "_storage", "_tensor")

    def __init__(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        with torch.inference_mode(False):
            self._tensor = torch.empty(shape, dtype=dtype, device="cpu")
        self._storage = self._tensor.untyped_storage()
        self._address = self._storage._cdata
        self._alone = self._state()

    def _state(self) -> tuple[int, int, int]:
        """References from tensors, and of Python, to the storage, and its size: somebody may have resized it."""
        return _references(self._address), sys.getrefcount(self._storage), self._storage.nbytes()

    def is_free(self) -> bool:
        return self._state() == self._alone

    def lend(self) -> torch.Tensor:
        return self._tensor.data


class ReusedMemory:
    """Hands out uninitialised tensors of one shape and dtype."""

    def __init__(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        self._shape, self._dtype = tuple(shape), dtype
        self._blocks: list[_Block] = []

    def take(self) -> torch.Tensor:
        """A tensor of its own."""
        busy: list[_Block] = []
        found = None
        while found is None and self._blocks:
            try:
                block = self._blocks.pop(0)  # so that no other thread looks at it meanwhile
            except IndexError:
                break
            if block.is_free():
                found = block
            else:
                busy.append(block)
        found = found or _Block(self._shape, self._dtype)
        tensor = found.lend()
        self._blocks[:0] = busy
        self._blocks.append(found)
        del self._blocks[:-KEPT]
        return tensor
