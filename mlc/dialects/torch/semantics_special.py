"""Meaning of special functions, in float64 by series and Newton's method."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mlc.dialects.torch.numpy_values import Call, aten, wide

_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)


def _lgamma(x: float) -> float:
    if math.isinf(x) or (x <= 0 and x == math.floor(x)):
        return math.inf
    return math.lgamma(x)


def _digamma(x: float) -> float:
    if x == 0:
        return -math.copysign(math.inf, x)
    if x < 0:
        part = math.fmod(x, 1.0) if math.isfinite(x) else 0.0
        return math.nan if part == 0 else _digamma(1 - x) - math.pi / math.tan(math.pi * part)
    if math.isnan(x) or math.isinf(x):
        return x
    total = 0.0
    while x < 12:
        total += 1 / x
        x += 1
    series = sum(b / ((2 * k + 2) * x ** (2 * k + 2)) for k, b in enumerate(_BERNOULLI))
    return math.log(x) - 0.5 / x - series - total


def _erfcx(x: float) -> float:
    """exp(x * x) * erfc(x): the product where it is accurate, the continued fraction beyond."""
    if math.isnan(x) or math.isinf(x):
        return x if x != math.inf else 0.0
    if x < 5:
        return math.exp(x * x) * math.erfc(x) if x > -26 else math.inf
    tail = 0.0
    for k in range(60, 0, -1):
        tail = k / 2 / (x + tail)
    return 1 / (math.sqrt(math.pi) * (x + tail))


def _tail(q: float) -> float:
    """The x >= 0 with erfc(x) = q."""
    if q == 0:
        return math.inf
    x = math.sqrt(max(0.0, -math.log(q)))
    for _ in range(60):
        scaled = _erfcx(x)
        step = (math.log(scaled) - x * x - math.log(q)) * scaled * math.sqrt(math.pi) / 2
        x += step
        if abs(step) < 1e-17 * abs(x):
            break
    return x


def _erfinv(y: float) -> float:
    if not abs(y) <= 1:
        return math.nan
    if abs(y) > 0.75:
        return math.copysign(_tail(1 - abs(y)), y)
    x = y * math.sqrt(math.pi) / 2
    for _ in range(8):
        x -= (math.erf(x) - y) * math.sqrt(math.pi) / 2 * math.exp(x * x)
    return x


def _ndtri(p: float) -> float:
    if not 0 <= p <= 1:
        return math.nan
    if 0.125 < p < 0.875:
        return -math.sqrt(2) * _erfinv(1 - 2 * p)
    return math.sqrt(2) * (-_tail(2 * p) if p < 0.5 else _tail(2 - 2 * p))


def _scaled_bessel(x: float, order: int) -> float:
    """exp(-|x|) I(x): the power series in logarithms, or the asymptotic one."""
    size = abs(x)
    if math.isnan(x) or size == math.inf:
        return x if math.isnan(x) else math.copysign(0.0, x) if order else 0.0
    if size > 30:
        total, term = 1.0, 1.0
        for k in range(1, 30):
            term *= -(4 * order - (2 * k - 1) ** 2) / (k * 8 * size)
            total += term
        out = total / math.sqrt(2 * math.pi * size)
    else:
        term = (size / 2) ** order * math.exp(-size)
        out = term
        for k in range(1, 120):
            term *= (size / 2) ** 2 / (k * (k + order))
            out += term
    return math.copysign(out, x) if order else out


def _bessel(x: float, order: int) -> float:
    if math.isinf(x):
        return math.nan  # as PyTorch has it: infinity times zero
    try:
        half = math.exp(abs(x) / 2)
    except OverflowError:
        return math.copysign(math.inf, x) if order else math.inf
    return half * _scaled_bessel(x, order) * half


_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "digamma": _digamma,
    "erfinv": _erfinv,
    "i0": lambda x: _bessel(x, 0),
    "lgamma": _lgamma,
    "special_erfcx": _erfcx,
    "special_i0e": lambda x: _scaled_bessel(x, 0),
    "special_i1": lambda x: _bessel(x, 1),
    "special_i1e": lambda x: _scaled_bessel(x, 1),
    "special_ndtri": _ndtri,
}


def _register(name: str, fn: Callable[[float], float]) -> None:
    each = np.frompyfunc(fn, 1, 1)
    aten(name)(lambda _c, x: np.asarray(each(wide(x)), dtype=np.float64))


for _name, _fn in _FUNCTIONS.items():
    _register(_name, _fn)


@aten("frexp.Tensor")
def frexp(_c: Call, x: np.ndarray) -> Any:
    """Mantissa and exponent; exponent 0 of what is not finite."""
    mantissa, exponent = np.frexp(wide(x))
    return mantissa, np.where(np.isfinite(x), exponent, 0).astype(np.int32)
