"""Numbers as they are stored: literals in text, weights in the store, bits of bf16."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlc.arrays.bfloat16 import from_bf16_bits


def literal(dtype: str, shape: Sequence[int], data: str) -> np.ndarray:
    """An array of the bytes that `data` says in hexadecimal; one element stands for all."""
    flat = np.frombuffer(bytes.fromhex(data), np.dtype(dtype))
    return np.broadcast_to(flat[0], tuple(shape)) if flat.size == 1 else flat.reshape(shape)


def carried(data: np.ndarray, dtype: np.dtype[np.generic] | str, *, bf16: bool) -> np.ndarray:
    """What the weight store holds, in the dtype that its elements are computed in: bits of bf16 become wider, others
    are named anew."""
    if bf16 and data.dtype.itemsize == 2:
        return from_bf16_bits(np.ascontiguousarray(data).view(np.uint16))
    return data if data.dtype == dtype else data.view(dtype)
