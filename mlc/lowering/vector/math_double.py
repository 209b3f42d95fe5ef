"""f32 functions worked out in f64, where the textbook formula is accurate enough, and rounded once.

    sinh(x) = (e**x - e**-x) / 2 in f64: relative error 2**-52 / |x|, below 2**-30 for |x| > 2**-20; smaller x: x itself

For functions that are rare or need more precision inside (pow, trigonometric range reduction). The f64 kernels are
good to about 2**-45, which is what f32 results need, not to the last bit of an f64.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from xdsl.dialects.builtin import f64

from mlc.lowering.vector.math_builder import MathBuilder, Val

LN2 = math.log(2.0)
LN2_HI = 0.6931471803691238  # 33 bits
LN2_LO = 1.9082149292705877e-10
# pi/2 in parts of 33 bits: products with |n| < 2**20 are exact
PIO2_1, PIO2_2, PIO2_3 = 1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21

EXP = (
    0.49999999999637534, 0.166666666673142, 0.04166666697990193, 0.008333333080557927, 0.0013888808064196705,
    0.00019841549996347214, 2.488236903558737e-05, 2.749173895657467e-06,
)  # fmt: skip
# (log((1 + s) / (1 - s)) - 2 s) / s**3 in s**2
LOG = (
    0.6666666666658254, 0.40000000054847756, 0.28571416676739514, 0.22223406013299496, 0.18122474487441043,
    0.16834475894308149,
)  # fmt: skip
SIN = (
    -0.1666666666666663, 0.008333333333322005, -0.0001984126982949548, 2.7557313587615523e-06, -2.5050742307459087e-08,
    1.5895904721029902e-10,
)  # fmt: skip
COS = (
    0.041666666666595825, -0.001388888887751994, 2.4801580667164656e-05, -2.755551584179925e-07,
    2.0644652029756277e-09,
)  # fmt: skip
# (atan(t) - t) / t**3 in t**2, |t| < tan(pi/8)
ATAN = (
    -0.333333333332538, 0.19999999981382238, -0.1428571278157605, 0.11111051332242645, -0.09089558048680482,
    0.07673706388987583, -0.06506451435313819, 0.05024815295967275, -0.025300849811050137,
)  # fmt: skip

# 2/pi in words of 32 bits, after one word of zeros
TWO_OVER_PI = (
    0x00000000, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB, 0xDEBBC561,
)  # fmt: skip


def _exp(m: MathBuilder, x: Val) -> Val:
    """e**x for |x| < 700."""
    n, i = m.round(x * (1 / LN2))
    r = (x - n * LN2_HI) - n * LN2_LO
    return (m.fma(r * r, m.poly(r, EXP), r) + 1.0) * m.power_of_two(i)


def _log(m: MathBuilder, x: Val) -> Val:
    """log of a positive normal f64; 0 -> -inf, inf -> inf, negative and NaN -> NaN."""
    low = 0x3FE6A09E667F3BCD
    shifted = m.bits(x).int("subi", low)
    f = m.from_bits(shifted.int("andi", (1 << 52) - 1).int("addi", low)) - 1.0
    e = m.to_float(shifted.int("shrsi", 52), f64)
    s = f / (f + 2.0)
    z = s * s
    y = e * LN2_HI + (s * 2.0 + (z * s * m.poly(z, LOG) + e * LN2_LO))
    y = x.is_("oeq", math.inf).pick(math.inf, y)
    y = x.is_("oeq", 0.0).pick(-math.inf, y)
    return x.is_("oge", 0.0).pick(y, math.nan)


def _atan(m: MathBuilder, numerator: Val, denominator: Val) -> Val:
    """atan(numerator / denominator) of numbers >= 0, not both 0 or both inf."""
    n, d = numerator, denominator
    high = n.is_("ogt", d * 2.414213562373095)
    middle = n.is_("ogt", d * 0.4142135623730951)
    top = high.pick(-d, middle.pick(n - d, n))
    bottom = high.pick(n, middle.pick(n + d, d))
    start = high.pick(math.pi / 2, middle.pick(m.const(math.pi / 4, n.kind), 0.0))
    t = top / bottom
    z = t * t
    return start + m.fma(t * z, m.poly(z, ATAN), t)


def _small(m: MathBuilder, x: Val, y: Val) -> Val:
    """`x` itself where |x| < 2**-20: odd functions with slope one, and the sign of zero."""
    return abs(x).is_("olt", 2.0**-20).pick(x, y)


def sinh(m: MathBuilder, x: Val) -> Val:
    e = _exp(m, m.clamp(x, -100.0, 100.0))
    return _small(m, x, (e - 1.0 / e) * 0.5)


def cosh(m: MathBuilder, x: Val) -> Val:
    e = _exp(m, m.clamp(x, -100.0, 100.0))
    return (e + 1.0 / e) * 0.5


def asinh(m: MathBuilder, x: Val) -> Val:
    a = abs(x)
    return _small(m, x, m.copysign(_log(m, a + m.sqrt(m.fma(a, a, 1.0))), x))


def acosh(m: MathBuilder, x: Val) -> Val:
    return x.is_("oge", 1.0).pick(_log(m, x + m.sqrt((x - 1.0) * (x + 1.0))), math.nan)


def atanh(m: MathBuilder, x: Val) -> Val:
    return _small(m, x, _log(m, (1.0 + x) / (1.0 - x)) * 0.5)


def atan(m: MathBuilder, x: Val) -> Val:
    a = abs(x)
    return m.copysign(_small(m, a, _atan(m, a, m.const(1.0, a.kind))), x)


def asin(m: MathBuilder, x: Val) -> Val:
    a = abs(x)
    return m.copysign(_small(m, a, _atan(m, a, m.sqrt((1.0 - a) * (1.0 + a)))), x)


def acos(m: MathBuilder, x: Val) -> Val:
    a = abs(x)
    y = _atan(m, m.sqrt((1.0 - a) * (1.0 + a)), a)
    return x.is_("olt", 0.0).pick(math.pi - y, y)


def atan2(m: MathBuilder, y: Val, x: Val) -> Val:
    a, b = abs(y), abs(x)
    both = a.is_("oeq", b)  # 0/0 and inf/inf have an answer: that of 0/1 and 1/1
    zero = a.is_("oeq", 0.0)
    one = m.const(1.0, a.kind)
    numerator = both.pick(zero.pick(a, one), a)
    angle = _atan(m, numerator, both.pick(one, b))
    negative = m.bits(x).int_is("slt", 0)
    return m.copysign(negative.pick(math.pi - angle, angle), y)


def cbrt(m: MathBuilder, x: Val) -> Val:
    a = abs(x)
    y = _exp(m, m.clamp(_log(m, a), -700.0, 700.0) * (1 / 3))
    return m.copysign(a.is_("oeq", 0.0).pick(0.0, a.is_("oeq", math.inf).pick(math.inf, y)), x)


def pow(m: MathBuilder, x: Val, y: Val) -> Val:
    a = abs(x)
    r = _exp(m, m.clamp(_log(m, a) * y, -200.0, 200.0))
    half = y * 0.5
    whole = m.floor(y).is_("oeq", y)
    odd = whole.int("andi", m.floor(half).is_("one", half))
    r = odd.pick(m.copysign(r, x), r)
    finite = abs(x).is_("olt", math.inf).int("andi", x.is_("olt", 0.0))
    bad = finite.int("andi", m.floor(y).is_("one", y))
    r = bad.pick(math.nan, r)
    r = a.is_("oeq", 1.0).int("andi", abs(y).is_("oeq", math.inf)).pick(1.0, r)
    r = x.is_("uno", y).pick(math.nan, r)
    return x.is_("oeq", 1.0).int("ori", y.is_("oeq", 0.0)).pick(1.0, r)


def _quadrant(m: MathBuilder, x: Val) -> tuple[Val, Val]:
    """q and r with x = q pi/2 + r, |r| <= pi/4; q modulo 4. NaN for inf and NaN."""
    n, q = m.round(m.clamp(x, -(2.0**21), 2.0**21) * (2 / math.pi))
    r = ((x - n * PIO2_1) - n * PIO2_2) - n * PIO2_3
    big = abs(x).is_("oge", 2.0**20)
    q, r = m.where_any(big, lambda: _large(m, x, big, q, r), [q, r])
    return q, abs(x).is_("olt", math.inf).pick(r, math.nan)


def _large(m: MathBuilder, x: Val, big: Val, q: Val, r: Val) -> list[Val]:
    """The same for |x| >= 2**20, an f32 number: multiply its 24-bit integer by the 96 bits of 2/pi that matter."""
    bits = m.bits(abs(x))
    mantissa = bits.int("andi", (1 << 52) - 1).int("ori", 1 << 52).int("shrui", 29)
    shift = bits.int("shrui", 52).int("subi", 1023 + 23 - 30)  # x = mantissa * 2**(shift - 30)
    word, within = shift.int("shrui", 5), shift.int("andi", 31)
    words: list[Val] = []
    for k in range(4):
        w = m.const(0, bits.kind)
        for j in range(len(TWO_OVER_PI) - 4):
            w = word.int_is("eq", j).pick(m.const(TWO_OVER_PI[j + k], bits.kind), w)
        words.append(w)
    back = m.const(32, bits.kind).int("subi", within)
    window = [
        words[k].int("shli", within).int("ori", words[k + 1].int("shrui", back)).int("andi", 0xFFFFFFFF)
        for k in range(3)
    ]
    low = mantissa.int("muli", window[2]).int("shrui", 32)
    high = window[0].int("shli", 32).int("ori", window[1])
    turn = mantissa.int("muli", high).int("addi", low)  # units of 2**-62 quadrants, modulo 4 quadrants
    count = turn.int("addi", 1 << 61).int("shrsi", 62)
    rest = turn.int("subi", count.int("shli", 62))
    angle = m.to_float(rest, f64) * (math.pi / 2 * 2.0**-62)
    negative = x.is_("olt", 0.0)
    count = negative.pick(m.const(0, count.kind).int("subi", count), count)
    angle = negative.pick(-angle, angle)
    return [big.pick(count, q), big.pick(angle, r)]


def _sin_cos(m: MathBuilder, r: Val) -> tuple[Val, Val]:
    z = r * r
    sin = m.fma(r * z, m.poly(z, SIN), r)
    cos = m.fma(z * z, m.poly(z, COS), m.fma(z, -0.5, 1.0))
    return sin, cos


def _turned(m: MathBuilder, x: Val, quarter: int) -> Val:
    """sin(x + quarter * pi/2)."""
    q, r = _quadrant(m, x)
    s, c = _sin_cos(m, r)
    q = q.int("addi", quarter)
    y = q.int("andi", 1).int_is("ne", 0).pick(c, s)
    return q.int("andi", 2).int_is("ne", 0).pick(-y, y)


def sin(m: MathBuilder, x: Val) -> Val:
    return _small(m, x, _turned(m, x, 0))


def cos(m: MathBuilder, x: Val) -> Val:
    return _turned(m, x, 1)


def tan(m: MathBuilder, x: Val) -> Val:
    q, r = _quadrant(m, x)
    s, c = _sin_cos(m, r)
    odd = q.int("andi", 1).int_is("ne", 0)
    return _small(m, x, odd.pick(-c, s) / odd.pick(s, c))


DOUBLE: dict[str, Callable[..., Val]] = {
    "math.sinh": sinh,
    "math.cosh": cosh,
    "math.asinh": asinh,
    "math.acosh": acosh,
    "math.atanh": atanh,
    "math.asin": asin,
    "math.acos": acos,
    "math.atan": atan,
    "math.atan2": atan2,
    "math.cbrt": cbrt,
    "math.powf": pow,
    "math.sin": sin,
    "math.cos": cos,
    "math.tan": tan,
}
