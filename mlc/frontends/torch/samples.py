"""Two elements of a weight, read from memory at every call: they tell of writes that bypass its version counter.

weight.data.mul_(0.9), fused optimizers, weight.numpy()[:] = 2   -->   other bits in one of them

The largest and the smallest element that is not zero: what scales, shifts, clamps, prunes or replaces a whole weight
changes one of the two. Single rows written behind PyTorch's back are not seen.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import torch

_WIDTH = 1 << 12
_SMALL = 16
_INTEGERS: dict[int, Any] = {1: ctypes.c_int8, 2: ctypes.c_int16, 4: ctypes.c_int32, 8: ctypes.c_int64}


def samples(tensor: torch.Tensor) -> list[Any]:
    """Views of elements in memory: their `value` is that of the bits. Keep the tensor alive as long as them."""
    if not tensor.numel() or not tensor.data_ptr() or not tensor.is_contiguous():
        return []
    size = min(tensor.element_size(), 8)
    return [
        _INTEGERS[size].from_address(tensor.data_ptr() + at * tensor.element_size())
        for at in dict.fromkeys(_telling(tensor))
    ]


def array_samples(array: np.ndarray) -> list[Any]:
    """The same of a numpy array; all elements of a small one."""
    if not array.size or not array.flags.c_contiguous or array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        return []
    flat = np.abs(array.reshape(-1)[:_WIDTH].astype(np.float64))
    places = range(array.size)
    if array.size > _SMALL:
        places = dict.fromkeys((int(flat.argmax()), int(np.where(flat == 0, np.inf, flat).argmin()), array.size - 1))
    cell = _INTEGERS[array.dtype.itemsize]
    return [cell.from_address(array.ctypes.data + at * array.dtype.itemsize) for at in places]


@torch.no_grad()
def _telling(tensor: torch.Tensor) -> list[int]:
    """Positions of the elements that are looked at, among the first ones of a large tensor."""
    flat = tensor.detach().view(-1)[:_WIDTH]
    if not (flat.is_floating_point() or flat.is_complex()):
        return [0, len(flat) - 1]
    sizes = flat.abs()
    smallest = torch.where(sizes == 0, float("inf"), sizes.double())
    return [int(sizes.argmax()), int(smallest.argmin())]
