"""Floats as numpy has them: each op rounded once to its type, as the IR says.

    float2("add", a, b, "bf16")  -->  the float32 sum, rounded to bf16

`kind` is f16, bf16, f32 or f64. bf16 is carried in float32 arrays and rounded after each op.
Tests: tests/interp/test_domains.py
"""

from __future__ import annotations

import math
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from mlc.arrays.bfloat16 import round_bf16
from mlc.errors import ExecutionError

Value = Any

DTYPES: dict[str, np.dtype[Any]] = {
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(np.float32),
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
}
"""What carries each."""

_ERF = np.frompyfunc(math.erf, 1, 1)
_ERFC = np.frompyfunc(math.erfc, 1, 1)


def erf(x: Any) -> Any:
    """math.erf over an array, in float64."""
    return np.asarray(_ERF(np.asarray(x, dtype=np.float64)), dtype=np.float64)[()]


def round_half_away(x: Any) -> Any:
    """C's `round`: halves away from zero, exact for every float, sign of zero kept."""
    t = np.trunc(x)
    up = np.abs(x - t) >= 0.5
    return np.copysign(np.where(up, np.abs(t) + np.asarray(1, dtype=np.asarray(x).dtype), np.abs(t)), x)[()]


# Computed in the type itself: exact or correctly rounded by numpy.
EXACT1: dict[str, Callable[[Any], Any]] = {
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "ceil": np.ceil,
    "floor": np.floor,
    "trunc": np.trunc,
    "roundeven": np.rint,
    "round": round_half_away,
}

# Computed in float64 and rounded once to the type.
APPROX1: dict[str, Callable[[Any], Any]] = {
    "rsqrt": lambda x: 1.0 / np.sqrt(x),
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": erf,
    "cbrt": np.cbrt,
    "erfc": lambda x: np.asarray(_ERFC(np.asarray(x)), dtype=np.float64),
}


def _extreme(ufunc: Callable[[Any, Any], Any], of_zeros: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """numpy's, which does not say what it makes of two zeros: there `of_zeros` says."""

    def of(a: Any, b: Any) -> Any:
        found = ufunc(a, b)
        if any(not np.any(x == 0) for x in sorted((a, b), key=np.size)):
            return found
        return np.where((a == 0) & (b == 0), of_zeros(a, b), found)[()]

    return of


def _lesser_zero(a: Any, b: Any) -> Any:
    return np.negative(np.add(np.negative(a), np.negative(b)))


maximum = _extreme(np.maximum, np.add)
"""IEEE 754-2019 maximum: NaN if any is NaN, +0 above -0."""
minimum = _extreme(np.minimum, _lesser_zero)
"""IEEE 754-2019 minimum: NaN if any is NaN, -0 below +0."""
maxnum = _extreme(np.fmax, np.add)
"""The other operand if one is NaN; of two zeros +0."""
minnum = _extreme(np.fmin, _lesser_zero)
"""The other operand if one is NaN; of two zeros -0."""


LARGEST = {"max": np.maximum, "min": np.minimum, "maxnum": np.fmax, "minnum": np.fmin}
"""What numpy has for the extremes, but for the sign of zeros."""


def largest(name: str, terms: np.ndarray) -> Any:
    """Of the terms along the first dimension the one that is left when they are combined by one of `LARGEST`."""
    found = LARGEST[name].reduce(terms, axis=0)
    if not np.any(found == 0):
        return found
    sign = np.signbit(terms) & (terms == 0)
    least = name.startswith("min")
    negative = np.any(sign, axis=0) if least else ~np.any(~sign & (terms == 0), axis=0)
    return np.where(found == 0, np.where(negative, -found.dtype.type(0), found.dtype.type(0)), found)


EXACT2: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "rem": np.fmod,
    "max": maximum,
    "min": minimum,
    "maxnum": maxnum,
    "minnum": minnum,
    "copysign": np.copysign,
}


def power(x: Any, y: Any) -> Any:
    """C's pow. numpy may take the square root for an exponent of one half, which differs at -inf and at -0."""
    return np.where((y == 0.5) & ((x == 0) | np.isinf(x)), np.abs(x), np.power(x, y))


APPROX2: dict[str, Callable[[Any, Any], Any]] = {"pow": power, "atan2": np.arctan2}

FLOAT1 = (*EXACT1, *APPROX1)
FLOAT2 = (*EXACT2, *APPROX2)


def compare(predicate: str, a: Any, b: Any) -> Any:
    """The sixteen predicates of `arith.cmpf` on numpy floats."""
    if predicate in ("true", "false"):
        return np.full(np.broadcast_shapes(np.shape(a), np.shape(b)), predicate == "true")[()]
    unordered = np.isnan(a) | np.isnan(b)
    if predicate == "ord":
        return ~unordered
    if predicate == "uno":
        return unordered
    kind = predicate[1:]
    match kind:
        case "eq":
            holds = np.equal(a, b)
        case "ne":
            holds = np.not_equal(a, b)
        case "gt":
            holds = np.greater(a, b)
        case "ge":
            holds = np.greater_equal(a, b)
        case "lt":
            holds = np.less(a, b)
        case "le":
            holds = np.less_equal(a, b)
        case _:
            raise ValueError(f"unknown predicate {predicate}")
    return (holds | unordered) if predicate[0] == "u" else (holds & ~unordered)


MANY = 4096  # elements, from which it pays to look at all of them first


def to_int_checked(a: Any, target: np.dtype[Any]) -> tuple[Any, Any]:
    """Truncate floats to ints; the mask says which do not fit (NaN and overflow), those come back as 0."""
    if target.kind == "b":
        low, high = 0.0, 2.0
    else:
        info = np.iinfo(target)
        low, high = (
            float(info.min),
            float(info.max) + 1.0 if info.bits < 64 else 2.0 ** (63 if target.kind == "i" else 64),
        )
    if np.size(a) >= MANY and target.kind != "b" and low <= np.min(a) and np.max(a) < high:  # weights: no copies
        return np.asarray(a).astype(target), np.zeros(np.shape(a), np.bool_)
    t = np.trunc(np.asarray(a, dtype=np.float64))
    bad = ~((t >= low) & (t < high))
    return np.where(bad, 0.0, t).astype(target)[()], bad


def round_to(kind: str, x: Any) -> Value:
    """Numbers rounded to nearest even."""
    return round_bf16(x) if kind == "bf16" else np.asarray(x).astype(DTYPES[kind], copy=False)[()]


def float1(name: str, kind: str, a: Value) -> Value:
    """One of `FLOAT1`."""
    if name in EXACT1:
        return round_to(kind, EXACT1[name](a))
    return round_to(kind, APPROX1[name](np.asarray(a, dtype=np.float64)))


def float2(name: str, kind: str, a: Value, b: Value) -> Value:
    """One of `FLOAT2`."""
    if name in EXACT2:
        return round_to(kind, EXACT2[name](a, b))
    return round_to(kind, APPROX2[name](np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)))


def from_int(kind: str, a: Value) -> Value:
    """Integers rounded to nearest even."""
    x = np.asarray(a)
    if kind == "bf16" or (kind == "f16" and x.dtype.itemsize > 2):
        return round_to(kind, _odd_float(x))
    return x.astype(DTYPES[kind])[()]


def to_int(dtype: str, a: Value) -> Value:
    """Towards zero; ExecutionError where one does not fit."""
    value, bad = to_int_checked(a, np.dtype(dtype))
    if np.any(bad):
        raise ExecutionError(f"'arith.fptosi': a float does not fit {np.dtype(dtype)}")
    return value


def add_up(kind: str, a: Value, axes: tuple[int, ...], init: Value | None = None) -> Value:
    """Sum over `axes`, one term after the other in row-major order, rounded at each step, from `init` or 0."""
    keep = [d for d in range(np.ndim(a)) if d not in axes]
    shape = tuple(int(np.shape(a)[d]) for d in keep)
    x = np.transpose(a, [*keep, *axes]).reshape((*shape, prod(np.shape(a)[d] for d in axes)))
    dtype = DTYPES[kind]
    start = np.broadcast_to(np.asarray(0 if init is None else init, dtype=dtype), shape)
    if kind in ("bf16", "f16"):
        acc = start
        for k in range(x.shape[len(shape)]):
            acc = float2("add", kind, acc, x[..., k])
        return acc
    terms = np.concatenate([start[..., None], x], axis=-1)
    return np.add.accumulate(terms, axis=-1, dtype=dtype)[..., -1]


def _odd_float(x: np.ndarray) -> np.ndarray:
    """Ints as float32 rounded to odd, so that a second rounding to 16 bits is correct."""
    f = x.astype(np.float64).astype(np.float32)
    back = f.astype(np.float64)
    exact = x.astype(np.float64)
    bits = f.view(np.int32)
    even = (bits & 1) == 0
    off = (back != exact) & even & np.isfinite(f)
    step = np.where(np.abs(exact) > np.abs(back), 1, -1).astype(np.int32)
    return np.where(off, bits + step, bits).astype(np.int32).view(np.float32)
