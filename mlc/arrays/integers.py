"""Integers that fill their numpy dtype: arithmetic that wraps around."""

from __future__ import annotations

from typing import Any

import numpy as np

INT2: dict[str, np.ufunc] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}


def int2(name: str, a: Any, b: Any) -> Any:
    """One of `INT2`."""
    return INT2[name](a, b)


def as_dtype(dtype: str, a: Any) -> Any:
    """Extended by sign, or without the high bits."""
    return np.asarray(a).astype(dtype)[()]
