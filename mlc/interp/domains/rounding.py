"""Correctly rounded fused multiply-add on numpy arrays.

For narrow types the product is exact in float64; the sum is rounded *to odd* in float64, which makes the second
rounding (to the type) correct. float64 itself goes through exact rationals.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from mlc.arrays.bfloat16 import round_bf16


def add_to_odd(p: np.ndarray, c: np.ndarray) -> np.ndarray:
    """p + c in float64, rounded to odd: truncated, with the last bit set when inexact."""
    s = p + c
    bb = s - p
    err = (p - (s - bb)) + (c - bb)
    bits = np.asarray(s).view(np.int64)
    off = (err != 0) & np.isfinite(s) & ((bits & 1) == 0)
    step = np.where((err > 0) == (s > 0), 1, -1)
    return np.where(off, bits + step, bits).view(np.float64)


def fma_narrow(a: Any, b: Any, c: Any, dtype: np.dtype[Any], *, bf16: bool = False) -> Any:
    """a * b + c for float32, float16 or bf16 (carried in float32), rounded once."""
    x, y, z = (np.asarray(v, dtype=np.float64) for v in (a, b, c))
    s = add_to_odd(x * y, z)
    if not bf16:
        return s.astype(dtype)[()]
    return round_bf16(_f32_to_odd(s))


def _f32_to_odd(s: np.ndarray) -> np.ndarray:
    f = s.astype(np.float32)
    back = f.astype(np.float64)
    bits = np.asarray(f).view(np.int32)
    off = (back != s) & np.isfinite(f) & ((bits & 1) == 0)
    step = np.where(np.abs(s) > np.abs(back), 1, -1).astype(np.int32)
    return np.where(off, bits + step, bits).astype(np.int32).view(np.float32)


def _fma1(a: float, b: float, c: float) -> float:
    if np.isinf(c) and np.isfinite(a) and np.isfinite(b):
        return c
    if not (np.isfinite(a) and np.isfinite(b) and np.isfinite(c)):
        return float(np.float64(a) * np.float64(b) + np.float64(c))
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:
        return float(np.float64(a) * np.float64(b) + np.float64(c)) if a == 0 or b == 0 else 0.0 + 0.0
    try:
        return float(exact)
    except OverflowError:
        return float("inf") if exact > 0 else float("-inf")


_FMA = np.frompyfunc(_fma1, 3, 1)


def fma_f64(a: Any, b: Any, c: Any) -> Any:
    """a * b + c for float64, rounded once."""
    return np.asarray(_FMA(a, b, c), dtype=np.float64)[()]
