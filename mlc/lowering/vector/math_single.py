"""f32 functions in f32 arithmetic: range reduction, a polynomial, reconstruction; at most 2 ULP.

    exp(x) = 2**n * e**r,  n = round(x / ln 2),  r = x - n ln 2 in [-0.35, 0.35]

Coefficients are minimax fits of relative error (Remez exchange in 160-bit arithmetic), rounded to f32. Constants `HI`
have so few bits that their product with a small integer is exact, so no formula depends on a fused multiply-add.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from xdsl.dialects.builtin import f32

from mlc.lowering.vector.math_builder import MathBuilder, Val

LOG2E = 1.4426950408889634
UP = 64  # powers of two that exp of numbers below zero is scaled up by: -104 is at least 2**-151
LN2_HI, LN2_LO = 0.693359375, -2.1219444005469057e-4
LOG10_2_HI, LOG10_2_LO = 0.30102539062, 4.6050389811952113e-6

# (e**r - 1 - r) / r**2 on [-ln2/2, ln2/2]: error 2**-28 of e**r
EXP = (0.4999999403953552, 0.16666515171527863, 0.04166845604777336, 0.008369418792426586, 0.0013813144760206342)
# the same, error 2**-31 of e**r - 1
EXPM1 = (
    0.5, 0.1666666567325592, 0.04166634753346443, 0.008333391509950161, 0.001394165214151144, 0.00019845958740916103,
)  # fmt: skip
# the same on [-0.174, 0.521], for tanh
TANH = (
    0.5, 0.1666666567325592, 0.04166697710752487, 0.008333184756338596, 0.0013795529957860708, 0.00022850271489005536,
)  # fmt: skip
# (2**r - 1) / r on [-1/2, 1/2]
EXP2 = (
    0.6931471824645996, 0.24022650718688965, 0.055504102259874344, 0.009618034586310387, 0.0013333950191736221,
    0.0001546802232041955, 1.5195027117442805e-05,
)  # fmt: skip
# the same with an error of 2**-28 of 2**r
EXP2_SHORT = (
    0.6931471824645996, 0.24022647738456726, 0.05550359562039375, 0.009618500247597694, 0.0013390975072979927,
    0.00015328801237046719,
)  # fmt: skip
# (log(1 + f) - f) / f**2 on [sqrt(1/2) - 1, sqrt(2) - 1]
LOG = (
    -0.49999988079071045, 0.33333325386047363, -0.25001582503318787, 0.2000197321176529, -0.16609083116054535,
    0.14181825518608093, -0.13242988288402557, 0.1290443390607834, -0.07621777802705765,
)  # fmt: skip
# erf(x) / x - 1 in x**2, |x| < 0.95
ERF = (
    0.12837916612625122, -0.37612631916999817, 0.11283660650253296, -0.026857705786824226, 0.005196952261030674,
    -0.0008097703685052693, 8.185093611245975e-05,
)  # fmt: skip
# log(erfc(x)) on [0.9, 4]
ERFC = (
    0.00016920380585361272, -1.1294883489608765, -0.6334008574485779, -0.10822036862373352, 0.02508060447871685,
    -0.004156250040978193, 0.0004313924873713404, -2.0828520064242184e-05,
)  # fmt: skip
# log2(erfc(x)) / x on [0, 4]: error 2**-25.9 of erfc, not of its logarithm
ERFC_WHOLE = (
    -1.6279085874557495, -0.9184163808822632, -0.1484815925359726, 0.02825363352894783, -0.0007745656184852123,
    -0.001489487593062222, 0.00044552411418408155, -4.5360913645708933e-05,
)  # fmt: skip


def _reduce(m: MathBuilder, x: Val) -> tuple[Val, Val]:
    """n and r with x = n ln 2 + r."""
    n, i = m.round(x, LOG2E)
    return i, _remainder(m, x, n)


def _remainder(m: MathBuilder, x: Val, n: Val, factor: float = 1.0) -> Val:
    """(factor * x - n ln 2) / factor."""
    return m.fma(n, -LN2_LO / factor, m.fma(n, -LN2_HI / factor, x))


def _exp_small(m: MathBuilder, x: Val) -> Val:
    """exp of |x| < 87."""
    n, power = m.round_to_power(x, LOG2E)
    return m.poly(_remainder(m, x, n), (1.0, 1.0, *EXP)) * power


def _scale(m: MathBuilder, y: Val, i: Val) -> Val:
    """y * 2**i in two steps, so that denormals and the largest numbers come out right."""
    half = i.int("shrsi", 1)
    return y * m.power_of_two(half) * m.power_of_two(i.int("subi", half))


def exp(m: MathBuilder, x: Val) -> Val:
    i, r = _reduce(m, m.clamp(x, -104.0, 89.0))
    return _scale(m, m.poly(r, (1.0, 1.0, *EXP)), i)


def exp_below_one(m: MathBuilder, x: Val, high: float = 0.0) -> Val:
    """exp of what is at most `high`, which is at most 0: in one step, scaled by 2**64 so that denormals are rounded
    once."""
    x = m.clamp(x, -104.0, high)
    n, power = m.round_to_power(x, LOG2E, UP)
    return m.poly(_remainder(m, x, n), (1.0, 1.0, *EXP)) * power * 2.0**-UP


def one_plus_exp(m: MathBuilder, x: Val, factor: float = 1.0) -> Val:
    """1 + exp(factor * x), `factor` a power of two of either sign; it is part of the constants.

    Nothing below 2**-100 is told apart beside one, which saves a second scaling.
    """
    low, high = sorted((-86.0 / factor, 89.0 / factor))
    c = m.clamp(x, low, high)
    n, half = m.round_to_power(c, factor * LOG2E, -1)
    r = _remainder(m, c, n, factor)
    p = m.poly(r, [2.0 * a * factor**k for k, a in enumerate((1.0, 1.0, *EXP))])
    return m.fma(p, half, 1.0)


def exp2(m: MathBuilder, x: Val) -> Val:
    x = m.clamp(x, -151.0, 129.0)
    n, i = m.round(x)
    r = x - n
    return _scale(m, m.fma(r, m.poly(r, EXP2), 1.0), i)


def expm1(m: MathBuilder, x: Val) -> Val:
    c = m.clamp(x, -30.0, 89.0)
    i, r = _reduce(m, c)
    q = m.fma(r * r, m.poly(r, EXPM1), r)
    s = m.power_of_two(i.int("minsi", 127))
    y = m.fma(s, q, s - 1.0)
    y = i.int_is("sgt", 127).pick(m.fma(s, q, s) * 2.0, y)
    return abs(x).is_("olt", 2.0**-25).pick(x, y)


def _split(m: MathBuilder, x: Val) -> tuple[Val, Val]:
    """e and f with x = 2**e * (1 + f), 1 + f in [sqrt(1/2), sqrt(2)), for positive normal x."""
    low = 0x3F3504F3
    shifted = m.bits(x).int("subi", low)
    mantissa = shifted.int("andi", 0x7FFFFF).int("addi", low)
    return shifted.int("shrsi", 23), m.from_bits(mantissa) - 1.0


def _log_parts(m: MathBuilder, x: Val) -> tuple[Val, Val, Val]:
    """e, f, and log(1 + f) - f, for positive x, denormals included."""
    tiny = x.is_("olt", 2.0**-126)
    i, f = _split(m, tiny.pick(x * 2.0**23, x))
    e = m.to_float(i, f32) - tiny.pick(23.0, m.const(0.0, x.kind))
    return e, f, f * f * m.poly(f, LOG)


def _log_ends(m: MathBuilder, x: Val, y: Val) -> Val:
    """0 -> -inf, inf -> inf, negative and NaN -> NaN."""
    y = x.is_("oeq", math.inf).pick(math.inf, y)
    y = x.is_("oeq", 0.0).pick(-math.inf, y)
    return x.is_("oge", 0.0).pick(y, math.nan)


def log(m: MathBuilder, x: Val) -> Val:
    e, f, tail = _log_parts(m, x)
    return _log_ends(m, x, m.fma(e, LN2_HI, f + m.fma(e, LN2_LO, tail)))


def log2(m: MathBuilder, x: Val) -> Val:
    e, f, tail = _log_parts(m, x)
    high, low = 1.442626953125, LOG2E - 1.442626953125
    return _log_ends(m, x, e + m.fma(f, high, m.fma(f, low, tail * LOG2E)))


def log10(m: MathBuilder, x: Val) -> Val:
    e, f, tail = _log_parts(m, x)
    high = 0.434326171875
    low = 0.4342944819032518 - high
    body = m.fma(f, high, m.fma(f, low, m.fma(tail, 0.4342944819032518, e * LOG10_2_LO)))
    return _log_ends(m, x, m.fma(e, LOG10_2_HI, body))


def log1p(m: MathBuilder, x: Val) -> Val:
    u = x + 1.0
    i, f = _split(m, u)
    lost = x.is_("oge", 1.0).pick(1.0 - (u - x), x - (u - 1.0))
    scale = m.from_bits((m.const(127, i.kind)).int("subi", i).int("maxsi", 0).int("shli", 23))
    f = m.fma(lost, scale, f)
    e = m.to_float(i, f32)
    y = m.fma(e, LN2_HI, f + m.fma(e, LN2_LO, f * f * m.poly(f, LOG)))
    return x.is_("oeq", 0.0).pick(x, _log_ends(m, u, y))


def tanh(m: MathBuilder, x: Val) -> Val:
    """(e**2a - 1) / (e**2a + 1): with e**2a - 1 right in relative terms, so is the quotient, however small.

    n is rounded a quarter down, so that e**2a - 1 = 2**n (e**r - 1) + (2**n - 1) hardly cancels where n is 1. For small
    arguments, where it counts, the quotient is corrected by what was rounded off the divisor.
    """
    a = abs(x)
    c = a.is_("ogt", 10.0).pick(10.0, a) * 2.0
    n, s = m.round_to_power(m.fma(c, LOG2E, -0.25))
    r = _remainder(m, c, n)
    y = m.fma(s, m.fma(r * r, m.poly(r, TANH), r), s - 1.0)
    d = y + 2.0
    t = y / d
    lost = y.is_("olt", 1.0).pick(y - (d - 2.0), m.const(0.0, x.kind))
    return m.copysign(m.fma(t * -0.5, lost, t), x)


def erf(m: MathBuilder, x: Val) -> Val:
    a = abs(x)
    z = x * x
    small = m.fma(x, m.poly(z, ERF), x)
    large = 1.0 - _exp_small(m, m.poly(a.is_("ogt", 4.0).pick(4.0, a), ERFC))
    return m.copysign(a.is_("olt", 0.92).pick(small, large), x)


def one_plus_erf(m: MathBuilder, x: Val) -> Val:
    """1 + erf(x): right to a bit of the sum everywhere, so one formula does for all x. erfc is a power of two."""
    a = abs(x)
    t = a.is_("ogt", 4.0).pick(4.0, a)
    u = t * m.poly(t, ERFC_WHOLE)
    n, power = m.round_to_power(u)
    erfc = m.poly(u - n, (1.0, *EXP2_SHORT))
    return m.copysign(m.fma(erfc, -power, 1.0), x) + 1.0


def one_plus_tanh(m: MathBuilder, x: Val) -> Val:
    """1 + tanh(x) = 2 / (1 + exp(-2x))."""
    return 2.0 / one_plus_exp(m, x, -2.0)


def rsqrt(m: MathBuilder, x: Val) -> Val:
    return 1.0 / m.sqrt(x)


SINGLE: dict[str, Callable[[MathBuilder, Val], Val]] = {
    "math.exp": exp,
    "math.exp2": exp2,
    "math.expm1": expm1,
    "math.log": log,
    "math.log2": log2,
    "math.log10": log10,
    "math.log1p": log1p,
    "math.tanh": tanh,
    "math.erf": erf,
    "math.rsqrt": rsqrt,
}
BELOW_ONE: Callable[..., Val] = exp_below_one
ONE_PLUS: dict[str, Callable[[MathBuilder, Val], Val]] = {
    "math.exp": one_plus_exp,
    "math.erf": one_plus_erf,
    "math.tanh": one_plus_tanh,
}
"""1 + f(x) by shorter formulas, for functions of which only that is used, as in a sigmoid and in GELU."""
