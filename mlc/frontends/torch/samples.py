"""Memory of weights and arrays that is read again at every call: it tells of writes that bypass the version counter.

weight.data.mul_(0.9), fused optimizers, weight.numpy()[:] = 2   -->   other bytes in what is looked at

Of up to `_FEW` elements, wherever they lie, that is all of them. Of more it is the largest and the smallest one that is
not zero, with those beside them: what scales, shifts, clamps, prunes or replaces a whole weight changes one of the
two. Single rows written behind PyTorch's back are not seen. All that is looked at is gathered at once, by addresses.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

Run = tuple[int, int]
"""Address and length in bytes of a gapless stretch of memory."""

_FEW = 64
_BESIDE = 8
_AMONG = 1 << 12
"""Of a large tensor, the elements among which the largest and the smallest are looked for."""

_WORD = 8
# all memory there is, from the second word on (numpy takes the address 0 for none), as words and as bytes
_WORDS = np.ctypeslib.as_array((ctypes.c_uint64 * (sys.maxsize // _WORD**2)).from_address(_WORD))
_BYTES = np.ctypeslib.as_array((ctypes.c_uint8 * (sys.maxsize // _WORD)).from_address(_WORD))


def samples(tensor: torch.Tensor) -> list[Run]:
    """What is looked at of a tensor. Keep its memory alive as long as you read there."""
    if tensor.layout is not torch.strided or not tensor.numel() or not tensor.data_ptr():
        return []
    size = tensor.element_size()
    is_float = tensor.is_floating_point() or tensor.is_complex()
    return _looked_at(tensor.data_ptr(), tensor.shape, [s * size for s in tensor.stride()], size, is_float=is_float)


def array_samples(array: np.ndarray) -> list[Run]:
    """The same of a numpy array; objects count as their addresses."""
    if not array.nbytes:
        return []
    is_float = array.dtype.kind in "fc"
    return _looked_at(array.ctypes.data, array.shape, array.strides, array.itemsize, is_float=is_float)


def read(runs: Iterable[Run]) -> list[bytes]:
    """What is there now."""
    return [ctypes.string_at(at, length) for at, length in runs]


def gathers(runs: Iterable[Run]) -> list[tuple[Callable[[Any], np.ndarray], np.ndarray]]:
    """The same memory as lookups, for all runs together: functions with what to call them on."""
    words: list[int] = []
    octets: list[int] = []
    for at, length in runs:
        first, last = -(-at // _WORD), (at + length) // _WORD
        if last > first:
            words += range(first, last)
            octets += (*range(at, first * _WORD), *range(last * _WORD, at + length))
        else:
            octets += range(at, at + length)
    found = [(look, np.array(words, np.int64) - 1), (_BYTES.take, np.array(octets, np.int64) - _WORD)]
    return [(take, places) for take, places in found if len(places)]


def places_of(addresses: Sequence[int]) -> np.ndarray:
    """Where the words at some addresses are in all memory, for `look`. The addresses are multiples of eight."""
    return np.array(addresses, np.int64) // _WORD - 1


def addresses_of(places: np.ndarray) -> np.ndarray:
    """The addresses that `look` looks at."""
    return (places + 1) * _WORD


look: Callable[[np.ndarray], np.ndarray] = _WORDS.take
"""The words at these places."""


def _looked_at(address: int, shape: Sequence[int], strides: Sequence[int], size: int, *, is_float: bool) -> list[Run]:
    count = 1
    dense = True
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        dense = dense and (n == 1 or s == count * size)
        count *= n
    among = np.arange(min(count, _AMONG))
    if dense:
        places = address + among * size
    else:
        axes = np.unravel_index(among, tuple(shape))
        places = address + sum((i * s for i, s in zip(axes, strides, strict=True)), np.zeros(len(among), np.int64))
    if count > _FEW:
        places = places[_telling(places, size, is_float=is_float)]
    runs: list[Run] = []
    for at in sorted({*places.tolist()}):
        if runs and sum(runs[-1]) == at:
            runs[-1] = runs[-1][0], runs[-1][1] + size
        else:
            runs.append((at, size))
    return runs


def _telling(places: np.ndarray, size: int, *, is_float: bool) -> np.ndarray:
    """Numbers of the largest element and of the smallest that is not zero, and of those beside them."""
    width = next(w for w in (8, 4, 2, 1) if size % w == 0)
    bits = _BYTES[(places - _WORD)[:, None] + np.arange(width)].view(f"u{width}")[:, 0]
    if is_float and size == width:
        bits = bits & np.array((1 << 8 * width - 1) - 1, bits.dtype)  # without the sign, in the order of magnitudes
    chosen = np.array([bits.argmax(), np.where(bits == 0, bits.max(), bits).argmin()])
    beside = chosen[:, None] // _BESIDE * _BESIDE + np.arange(_BESIDE)
    return np.minimum(beside, len(places) - 1).ravel()
