"""Running error bound: each float carries the IEEE value and a bound on its distance from the exact real result.

Two programs that are equal over the reals must then differ by at most the sum of their bounds, whatever their order of
additions or contraction to fma. The bound grows as the standard model says: |fl(x op y) - (x op y)| <= u |fl(x op y)|
+ eta per inexact op, plus what the operands' bounds make of it. `ambiguous` is set when a comparison or a conversion to
int could have gone either way within the bounds, or when the bits of an inexact number are looked at; the run then says
nothing.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np
from xdsl.dialects.builtin import BFloat16Type, f64
from xdsl.ir import Attribute

from mlc.interp.domains.ieee import IeeeDomain
from mlc.ir.values import dtype_of, element_type, float_bytes, is_float

Value = Any

_STEP = {"floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "roundeven": np.rint, "round": np.rint}


class _FloatType(NamedTuple):
    """What is asked about a float type at every op: the dtype of its values with bounds, how it rounds, its size."""

    record: np.dtype[Any]
    unit: float
    """Roundoff."""
    least: float
    """Half the smallest denormal."""
    bits: int


_SEEN: dict[type[Attribute], _FloatType] = {}


def _facts(t: Attribute) -> _FloatType:
    """Of a float type, or of the one that a shaped type has as its elements."""
    kind = type(element_type(t))
    return _SEEN.get(kind) or _SEEN.setdefault(kind, _facts_of(t))


def _facts_of(t: Attribute) -> _FloatType:
    base = dtype_of(t)
    info = np.finfo(base)
    u, eta = float(info.eps) / 2, float(info.smallest_subnormal) / 2 or 5e-324
    if isinstance(element_type(t), BFloat16Type):
        u, eta = 2.0**-8, 2.0**-134
    return _FloatType(np.dtype([("v", base), ("e", np.float64)]), u, eta, float_bytes(t) * 8)


def _exact_sum(a: Any, b: Any, out: Any) -> Any:
    """Where a + b is the float it was rounded to (two-sum in float64)."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    s = x + y
    back = s - x
    return ((x - (s - back)) + (y - back) == 0) & (s == out)


class BoundDomain:
    """Floats are records of value `v` (the type's dtype) and bound `e` (float64)."""

    name = "bound"

    def __init__(self) -> None:
        self.ambiguous = False
        self.narrowest = 0
        """Rounding to types of fewer bits adds nothing to the bounds: a program that should not use them is caught."""
        self.rounds_to_integers = False
        """Whether roundeven stands for a rounding of its operand, to a grid, rather than for a step function."""
        self._ieee = IeeeDomain()

    def dtype(self, t: Attribute) -> np.dtype[Any]:
        return _facts(t).record if is_float(t) else dtype_of(t)

    def _make(self, v: Any, e: Any, t: Attribute) -> Value:
        shape, other = np.shape(v), np.shape(e)
        if shape != other and other:
            shape = np.broadcast_shapes(shape, other)
        out = np.empty(shape, dtype=_facts(t).record)
        out["v"] = v
        bounds = out["e"]
        np.multiply(e, 1 + 1e-12, out=bounds)
        unknown = np.isnan(bounds)
        if unknown.any():
            bounds[unknown] = np.inf
        return out[()]

    def _rounded(self, v: Any, e: Any, t: Attribute, exact: Any = False) -> Value:
        return self._make(v, e + self._rounding(v, t, exact), t)

    def _rounding(self, v: Any, t: Attribute, exact: Any = False) -> Any:
        """At most how much was rounded away where `v` came out, unless it is exact."""
        facts = _facts(t)
        if facts.bits < self.narrowest:
            return 0.0
        local = facts.unit * np.abs(np.asarray(v, dtype=np.float64)) + facts.least
        return local if exact is False else np.where(exact, 0.0, local)

    def constant(self, value: Any, t: Attribute) -> Value:
        out = self._make(np.asarray(value), 0.0, t)
        return out

    def to_ieee(self, value: Value, t: Attribute) -> np.ndarray:
        return np.asarray(value["v"])

    def looked_at(self, value: Value) -> np.ndarray:
        if np.any(np.asarray(value["e"]) > 0):
            self.ambiguous = True
        return np.asarray(value["v"])

    def float1(self, name: str, a: Value, t: Attribute) -> Value:
        v, e = np.asarray(a["v"]), np.asarray(a["e"])
        out = self._ieee.float1(name, v, t)
        x = v.astype(np.float64)
        if name in ("neg", "abs"):
            return self._make(out, e, t)
        if name == "roundeven" and self.rounds_to_integers:
            return self._make(out, e + np.abs(np.asarray(out, dtype=np.float64) - x), t)
        if name in _STEP:
            step = _STEP[name]
            low, high = np.nextafter(x - e, -np.inf), np.nextafter(x + e, np.inf)
            return self._make(out, np.where(e == 0, 0.0, step(high) - step(low)), t)
        if name in ("sin", "cos"):
            return self._rounded(out, np.minimum(e, 2.0), t)
        here = np.asarray(self._ieee.float1(name, x, f64), dtype=np.float64)
        low = np.asarray(self._ieee.float1(name, x - e, f64), dtype=np.float64)
        high = np.asarray(self._ieee.float1(name, x + e, f64), dtype=np.float64)
        spread = np.maximum(np.abs(high - here), np.abs(low - here))
        if name == "cosh":
            spread = e * np.sinh(np.abs(x) + e)
        # the power of minus infinity is zero, of which nothing is rounded away
        exact = x == -np.inf if name in ("exp", "exp2") else np.False_
        return self._rounded(out, np.where((e == 0) | exact, 0.0, spread), t, exact)

    def float2(self, name: str, a: Value, b: Value, t: Attribute) -> Value:
        v, w = a["v"], b["v"]
        e, f = np.asarray(a["e"]), np.asarray(b["e"])
        out = self._ieee.float2(name, v, w, t)
        if name in ("add", "sub"):
            exact = _exact_sum(v, w if name == "add" else np.negative(w), out)
            if not np.isfinite(out).all():  # what is infinite stays so, whatever else is a little off
                exact = exact | np.isinf(v) | np.isinf(w)
            return self._rounded(out, e + f, t, exact)
        x, y = np.asarray(v, dtype=np.float64), np.asarray(w, dtype=np.float64)
        product, x, y = x * y if name == "mul" else None, np.abs(x), np.abs(y)
        match name:
            case "mul":
                exact = (product == out) & (np.asarray(out).dtype.itemsize < 8)
                return self._rounded(out, x * f + y * e + e * f, t, exact)
            case "div":
                near = y - f
                return self._rounded(out, np.where(near > 0, (x * f + y * e) / (y * near), np.inf), t)
            case "max" | "min" | "maxnum" | "minnum":
                return self._make(out, np.maximum(e, f), t)
            case "copysign":
                return self._make(out, np.where(f < y, e, np.inf), t)
            case _:
                return self._rounded(out, np.where((e == 0) & (f == 0), 0.0, np.inf), t)

    def fma(self, a: Value, b: Value, c: Value, t: Attribute) -> Value:
        x, y = np.abs(np.asarray(a["v"], dtype=np.float64)), np.abs(np.asarray(b["v"], dtype=np.float64))
        e = x * b["e"] + y * a["e"] + a["e"] * b["e"] + c["e"]
        return self._rounded(self._ieee.fma(a["v"], b["v"], c["v"], t), e, t)

    def compare(self, predicate: str, a: Value, b: Value, t: Attribute) -> Value:
        gap = np.abs(np.asarray(a["v"], dtype=np.float64) - np.asarray(b["v"], dtype=np.float64))
        slack = np.asarray(a["e"]) + np.asarray(b["e"])
        if np.any((slack > 0) & ~(gap > slack)):
            self.ambiguous = True
        return self._ieee.compare(predicate, a["v"], b["v"], t)

    def convert(self, a: Value, source: Attribute, target: Attribute) -> Value:
        out = self._ieee.convert(a["v"], source, target)
        same = np.asarray(out, dtype=np.float64) == np.asarray(a["v"], dtype=np.float64)
        return self._rounded(out, np.asarray(a["e"]), target, same)

    def from_int(self, a: Value, target: Attribute) -> Value:
        out = self._ieee.from_int(a, target)
        exact = np.asarray(out, dtype=np.float64) == np.asarray(a, dtype=np.float64)
        return self._rounded(out, 0.0, target, exact)

    def to_int(self, a: Value, source: Attribute, target: np.dtype[Any]) -> tuple[Value, Value]:
        x, e = np.asarray(a["v"], dtype=np.float64), np.asarray(a["e"])
        if np.any(np.trunc(x - e) != np.trunc(x + e)):
            self.ambiguous = True
        return self._ieee.to_int(a["v"], source, target)

    def sum(self, a: Value, axes: tuple[int, ...], t: Attribute, init: Value | None = None) -> Value:
        keep = [d for d in range(np.ndim(a)) if d not in axes]
        x = np.transpose(a, [*axes, *keep]).reshape(
            (prod(np.shape(a)[d] for d in axes), *(np.shape(a)[d] for d in keep))
        )
        acc: Any = self.constant(np.zeros(x.shape[1:], dtype=dtype_of(t)), t) if init is None else init
        for term in x:
            acc = self.float2("add", acc, term, t)
        return acc

    def inline(self, name: str, t: Attribute) -> str | None:
        return None
