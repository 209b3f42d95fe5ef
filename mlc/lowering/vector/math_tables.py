"""f32 functions with tables of 16 values in a register, for machines that look up its lanes (`MathBuilder.lookup`).

    exp(x) = 2**n * 2**(j/16) * e**r,  r in [-0.022, 0.022]    a polynomial of degree 3 instead of 6
    tanh(x), erf(x)                    one polynomial for each of 16 pieces: no exp, no division

At most 2 ULP, as in `math_single`. Polynomials of pieces interpolate at Chebyshev nodes, worked out in f64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

import numpy as np

from mlc.lowering.vector.math_builder import MathBuilder, Val
from mlc.lowering.vector.math_single import LN2_HI, LN2_LO, LOG2E, UP

SIZE = 16
# (e**r - 1 - r) / r**2 on [-ln2/32, ln2/32]: error 2**-27.7 of e**r
EXP = (0.50000979, 0.16666879)
ERF_STEP = 17 / 64  # pieces of erf, around multiples of it
TANH_SHIFT = 0.625  # pieces of tanh are quarters of binades of |x| + TANH_SHIFT


def _exp_parts(m: MathBuilder, x: Val, factor: float = 1.0) -> tuple[Val, Val]:
    """k and q with exp(factor * x) = 2**(k/16) * (1 + q)."""
    n, k = m.round(x, factor * LOG2E * SIZE)
    r = m.fma(n, -LN2_LO / SIZE / factor, m.fma(n, -LN2_HI / SIZE / factor, x))
    q = r * m.poly(r, [a * factor**p for p, a in enumerate((1.0, *EXP), 1)])
    return k, q


@cache
def _powers() -> tuple[float, ...]:
    """2**(j/16 - 1), less what the low bits j of a shifted k add to them."""
    values = np.array([2.0 ** (j / SIZE - 1) for j in range(SIZE)], np.float32)
    return tuple((values.view(np.int32) - (np.arange(SIZE, dtype=np.int32) << 19)).view(np.float32).tolist())


def _power(m: MathBuilder, k: Val, shifted: Val) -> Val:
    """2**(k/16 - 1), for a normal result. `shifted`: k at the place of exponents and four bits more."""
    return m.from_bits(m.bits(m.lookup(_powers(), k)).int("addi", shifted))


def exp(m: MathBuilder, x: Val) -> Val:
    """In two steps below 2**-100, so that denormals are rounded once."""
    k, q = _exp_parts(m, m.clamp(x, -104.0, 89.0))
    shifted = k.int("shli", 19)
    rest = shifted.int("addi", 100 << 23).int("minsi", 0).int("andi", -1 << 23)
    power = _power(m, k, shifted.int("subi", rest))
    return m.fma(power, q, power) * m.from_bits(rest.int("addi", 128 << 23))


def exp_below_one(m: MathBuilder, x: Val, high: float = 0.0) -> Val:
    """exp of what is at most `high`, which is at most 0: scaled by 2**64, so that denormals are rounded once."""
    k, q = _exp_parts(m, m.clamp(x, -104.0, high))
    power = _power(m, k, k.int("shli", 19).int("addi", (UP + 1) << 23))
    return m.fma(power, q, power) * 2.0**-UP


def one_plus_exp(m: MathBuilder, x: Val, factor: float = 1.0) -> Val:
    """1 + exp(factor * x), `factor` a power of two of either sign; it is part of the constants."""
    low, high = sorted((-86.0 / factor, 89.0 / factor))
    k, q = _exp_parts(m, m.clamp(x, low, high), factor)
    half = _power(m, k, k.int("shli", 19))
    sum_half = m.fma(half, q, half + 0.5)
    return sum_half + sum_half


@cache
def _pieces(
    f: Callable[[float], float], spans: tuple[tuple[float, float, float], ...], degree: int
) -> tuple[tuple[float, ...], ...]:
    """Per power: coefficients of polynomials in x - anchor that are `f` on spans (low, high, anchor)."""
    columns = [
        _interpolated(lambda d, a=anchor: f(a + d), low - anchor, high - anchor, degree) for low, high, anchor in spans
    ]
    return tuple(zip(*columns, strict=True))


def _interpolated(f: Callable[[float], float], low: float, high: float, degree: int) -> list[float]:
    """The polynomial that is `f` at the Chebyshev nodes of an interval; by divided differences."""
    nodes = [
        (low + high) / 2 + (high - low) / 2 * math.cos(math.pi * (i + 0.5) / (degree + 1)) for i in range(degree + 1)
    ]
    table = [f(x) for x in nodes]
    for step in range(1, degree + 1):
        for i in range(degree, step - 1, -1):
            table[i] = (table[i] - table[i - 1]) / (nodes[i] - nodes[i - step])
    result = [table[degree]]
    for i in range(degree - 1, -1, -1):
        shifted = [0.0, *result]
        result = [s - nodes[i] * r for s, r in zip(shifted, [*result, 0.0], strict=True)]
        result[0] += table[i]
    return result


def _piece(m: MathBuilder, d: Val, tables: Sequence[Sequence[float]], index: Val) -> Val:
    *rest, last = tables
    total = m.lookup(last, index)
    for table in reversed(rest):
        total = m.fma(total, d, m.lookup(table, index))
    return total


@cache
def _erf_pieces() -> tuple[tuple[float, ...], ...]:
    centres = [ERF_STEP * i for i in range(SIZE)]
    return _pieces(math.erf, tuple((c - ERF_STEP / 2, c + ERF_STEP / 2, c) for c in centres), 5)


def one_plus_erf(m: MathBuilder, x: Val) -> Val:
    """1 + erf(x): right to a bit of the sum."""
    a = abs(x)
    t = a.is_("ogt", 4.0).pick(4.0, a)
    n, i = m.round(t, 1 / ERF_STEP)
    return m.copysign(_piece(m, m.fma(n, -ERF_STEP, t), _erf_pieces(), i), x) + 1.0


@cache
def _tanh_pieces() -> tuple[tuple[float, ...], ...]:
    """In the order of the third to sixth bit of the exponent and mantissa of |x| + TANH_SHIFT."""
    first = int(np.float32(TANH_SHIFT).view(np.int32)) >> 21
    edges = np.array([(first + i) << 21 for i in range(SIZE + 1)], np.int32).view(np.float32).astype(float) - TANH_SHIFT
    spans = [(float(low), float(high), float(low)) for low, high in pairwise(edges)]
    turn = first % SIZE
    ordered = [spans[(i - turn) % SIZE] for i in range(SIZE)]
    rest = _pieces(_tanh_slope, tuple((0.0, h, 0.0) for _, h, _ in spans[:1]), 5)
    tables = [list(c) for c in _pieces(math.tanh, tuple(ordered), 6)]
    for power, table in enumerate(tables):
        table[turn] = 0.0 if power == 0 else rest[power - 1][0]
    return tuple(tuple(t) for t in tables)


def _tanh_slope(x: float) -> float:
    return math.tanh(x) / x


def tanh(m: MathBuilder, x: Val) -> Val:
    """Pieces start at edges that |x| is exactly apart from; the first is a multiple of |x|, so small values are
    right."""
    a = abs(x)
    c = a.is_("ogt", 9.25).pick(9.25, a)
    bits = m.bits(c + TANH_SHIFT)
    edge = m.from_bits(bits.int("andi", -1 << 21)) - TANH_SHIFT
    return m.copysign(_piece(m, c - edge, _tanh_pieces(), bits.int("shrui", 21)), x)


TABLES: dict[str, Callable[[MathBuilder, Val], Val]] = {"math.exp": exp, "math.tanh": tanh}
ONE_PLUS_TABLES: dict[str, Callable[[MathBuilder, Val], Val]] = {
    "math.exp": one_plus_exp,
    "math.erf": one_plus_erf,
}
