"""bf16 as numpy has it: in float32 arrays, whose lower half is zero, or as its bits in arrays of uint16."""

from __future__ import annotations

from typing import Any

import numpy as np


def round_bf16(a: Any) -> Any:
    """float32 values rounded to the nearest bf16 (ties to even), kept in float32."""
    x = np.ascontiguousarray(a, dtype=np.float32)
    bits = x.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    out = np.where(np.isnan(x), x, rounded.view(np.float32))
    return out.reshape(np.shape(a))[()]


def bf16_bits(a: np.ndarray) -> np.ndarray:
    """The bits of bf16 values that are carried in float32."""
    return (np.ascontiguousarray(a, np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def from_bf16_bits(bits: np.ndarray) -> np.ndarray:
    """The numbers behind the bits, in float32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
