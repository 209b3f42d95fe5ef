"""GF(2^31 - 1): exact algebra, to see whether two programs compute the same polynomial.

A float is a residue in centred form, -(p-1)/2 .. (p-1)/2, in an int64. Every finite float has one (a dyadic rational
m * 2^e is m * 2^e mod p), and + - * / are the field's: reordered, tiled, fused or contracted sums agree exactly, a
term dropped or taken twice does not (up to chance 2^-31). What is no algebra (exp, sqrt, floor, truncf) is an
uninterpreted function: a fixed hash of its operand. Order is that of the centred integers, so min, max, abs and
comparisons behave as usual.
Infinities and NaN are three extra values; NaN swallows, and inf times anything is NaN.
"""

from __future__ import annotations

import zlib
from math import prod
from typing import Any

import numpy as np
from xdsl.dialects.builtin import FixedBitwidthType
from xdsl.ir import Attribute

from mlc.arrays.floats import compare as ieee_compare
from mlc.ir.values import dtype_of, element_type, is_float

P = 2**31 - 1
HALF = P // 2
INF = 1 << 40
NAN = 1 << 41

Value = Any


def centred(x: Any) -> Any:
    """Any int64 as its residue nearest zero."""
    r = np.remainder(x, P)
    return np.where(r > HALF, r - P, r)


def special(x: Any) -> Any:
    """Which values are infinite or NaN."""
    return np.abs(x) > HALF


def from_float(value: Any) -> np.ndarray:
    """Floats as residues, exactly."""
    x = np.asarray(value, dtype=np.float64)
    finite = np.isfinite(x)
    mantissa, exponent = np.frexp(np.where(finite, x, 0.0))
    whole = centred(np.ldexp(mantissa, 53).astype(np.int64))
    power = np.left_shift(np.int64(1), np.remainder(exponent.astype(np.int64) - 53, 31))
    out = centred(whole * centred(power))
    out = np.where(np.isnan(x), NAN, np.where(np.isposinf(x), INF, np.where(np.isneginf(x), -INF, out)))
    return out.astype(np.int64)


def to_float(value: Any) -> np.ndarray:
    """Residues as float64 integers, infinities and NaN as such."""
    x = np.asarray(value)
    out = np.where(x == NAN, np.nan, np.where(x == INF, np.inf, np.where(x == -INF, -np.inf, x.astype(np.float64))))
    return np.asarray(out, dtype=np.float64)


def hashed(name: str, *operands: Any) -> Any:
    """An uninterpreted function: the same residue for the same operands, unrelated ones otherwise."""
    h = np.uint64(zlib.crc32(name.encode()) + 0x9E3779B97F4A7C15)
    state: Any = h
    for x in operands:
        z = (np.asarray(x).astype(np.int64).view(np.uint64) + state) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = z ^ (z >> np.uint64(31))
    return centred((np.asarray(state) >> np.uint64(2)).astype(np.int64))


def _inverse(x: Any) -> Any:
    result = np.ones_like(np.asarray(x))
    base = np.asarray(x)
    e = P - 2
    while e:
        if e & 1:
            result = centred(result * base)
        base = centred(base * base)
        e >>= 1
    return result


def _nan_if(mask: Any, value: Any) -> Any:
    return np.where(mask, NAN, value) if np.any(mask) else value


class FieldDomain:
    """Floats are residues modulo 2^31 - 1."""

    name = "field"

    def dtype(self, t: Attribute) -> np.dtype[Any]:
        return np.dtype(np.int64) if is_float(t) else dtype_of(t)

    def constant(self, value: Any, t: Attribute) -> Value:
        out = from_float(value)
        return out if out.ndim else out[()]

    def to_ieee(self, value: Value, t: Attribute) -> np.ndarray:
        return to_float(value)

    def _add(self, a: Any, b: Any) -> Any:
        out = centred(np.add(a, b))
        odd = special(a) | special(b)
        if not np.any(odd):
            return out
        nan = (a == NAN) | (b == NAN) | (special(a) & special(b) & (a != b))
        infinite = np.where(special(a), a, b)
        return np.where(nan, NAN, np.where(odd, infinite, out))

    def _mul(self, a: Any, b: Any) -> Any:
        odd = special(a) | special(b)
        if not np.any(odd):
            return centred(np.multiply(a, b))
        product = centred(np.multiply(np.where(odd, 0, a), np.where(odd, 0, b)))
        return np.where(odd, NAN, product)

    def _neg(self, a: Any) -> Any:
        return np.where(a == NAN, NAN, np.negative(a))

    def looked_at(self, value: Value) -> np.ndarray:
        raise TypeError("residues have no bits")

    def float1(self, name: str, a: Value, t: Attribute) -> Value:
        if name == "neg":
            return self._neg(a)[()]
        if name == "abs":
            return np.abs(a)
        out = hashed(name, a)
        if name in ("exp", "exp2"):
            out = np.where(a == -INF, 0, np.where(a == INF, INF, np.where(a == 0, 1, out)))
        return _nan_if(a == NAN, out)[()]

    def float2(self, name: str, a: Value, b: Value, t: Attribute) -> Value:
        match name:
            case "add":
                return self._add(a, b)[()]
            case "sub":
                return self._add(a, self._neg(b))[()]
            case "mul":
                return self._mul(a, b)[()]
            case "div":
                bad = special(a) | special(b) | (b == 0)
                quotient = centred(np.where(bad, 0, a) * _inverse(np.where(bad, 1, b)))
                zero = ~special(a) & special(b) & (b != NAN)
                return np.where(zero, 0, np.where(bad, NAN, quotient))[()]
            case "max":
                return np.maximum(a, b)
            case "min":
                return _nan_if((a == NAN) | (b == NAN), np.minimum(a, b))
            case "maxnum":
                return np.where(a == NAN, b, np.where(b == NAN, a, np.maximum(a, b)))[()]
            case "minnum":
                return np.minimum(a, b)
            case "copysign":
                return np.where((b < 0) == (a < 0), a, self._neg(a))[()]
            case _:
                return _nan_if((a == NAN) | (b == NAN), hashed(name, a, b))[()]

    def fma(self, a: Value, b: Value, c: Value, t: Attribute) -> Value:
        return self._add(self._mul(a, b), c)[()]

    def compare(self, predicate: str, a: Value, b: Value, t: Attribute) -> Value:
        return ieee_compare(predicate, to_float(a), to_float(b))

    def convert(self, a: Value, source: Attribute, target: Attribute) -> Value:
        s, d = element_type(source), element_type(target)
        assert isinstance(s, FixedBitwidthType) and isinstance(d, FixedBitwidthType)
        if d.bitwidth >= s.bitwidth:
            return a
        return np.where(special(a), a, hashed(f"truncf{d.bitwidth}", a))[()]

    def from_int(self, a: Value, target: Attribute) -> Value:
        x = np.asarray(a)
        if x.dtype == np.uint64:
            return centred((x % np.uint64(P)).astype(np.int64))[()]
        return centred(x.astype(np.int64))[()]

    def to_int(self, a: Value, source: Attribute, target: np.dtype[Any]) -> tuple[Value, Value]:
        small = np.abs(a) <= 100
        return np.where(small, a, hashed("to_int", a) & 63).astype(target)[()], special(a)

    def sum(self, a: Value, axes: tuple[int, ...], t: Attribute, init: Value | None = None) -> Value:
        if not np.any(special(a)) and (init is None or not np.any(special(init))):
            total = centred(np.sum(a, axis=axes, dtype=np.int64))
            return total[()] if init is None else self._add(total, init)[()]
        keep = [d for d in range(np.ndim(a)) if d not in axes]
        x = np.transpose(a, [*axes, *keep]).reshape(
            (prod(np.shape(a)[d] for d in axes), *(np.shape(a)[d] for d in keep))
        )
        acc: Any = np.zeros(x.shape[1:], dtype=np.int64) if init is None else init
        for term in x:
            acc = self._add(acc, term)
        return np.asarray(acc)[()]

    def inline(self, name: str, t: Attribute) -> str | None:
        return None
