"""Special functions, computed in f64 whatever the dtype: error functions and their inverses, gamma, Bessel I.

Series of Chebyshev polynomials are evaluated by Clenshaw's recurrence. Their coefficients were fitted to the functions
in 60 digits, up to the last one above 1e-17:

    erfcx(x) / t          over t = 2 / (2 + x) in 0..1, for x >= 0
    exp(-x) I0(x)         over x in 0..8               sqrt(x) exp(-x) I0(x)   over 8 / x in 0..1
    exp(-x) I1(x) / x     over x in 0..8               sqrt(x) exp(-x) I1(x)   over 8 / x in 0..1

The gamma functions shift their argument to 10 and more, where Stirling's series holds.
"""

from __future__ import annotations

import math as pymath
from collections.abc import Callable, Sequence

from xdsl.dialects import arith, math
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dtypes import F64, I16, I32, I64
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor

# fmt: off
_ERFCX = (
    0.5770337386164697, 0.3554369212704985, 0.06509515882878653, 0.003671142395836639, -0.0011128447433526325,
    -0.0001607582991537808, 3.278031574173137e-05, 5.442441645505016e-06, -1.5154665553171482e-06,
    -1.4297608181169865e-07, 8.234608827419493e-08, -1.2962846852306563e-09, -4.154721631015199e-09,
    6.347058278362811e-10, 1.4320822712256225e-10, -6.160390105204585e-11, 2.0612138554721698e-12,
    3.5714931488477042e-12, -8.586422843251796e-13, -6.14560021379063e-14, 7.418725748596617e-14,
    -1.2895042755032325e-14, -2.358726385710632e-15, 1.5729349381685912e-15, -2.2782966239546465e-16,
    -6.31233045075643e-17, 3.5916763531814925e-17,
)
_I0_SMALL = (
    0.33839763720473803, -0.3046826723431984, 0.17162090152220877, -0.09490109704804764, 0.04930528423967071,
    -0.02373741480589947, 0.010546460394594998, -0.004324309995050576, 0.0016394756169413357, -0.0005763755745385824,
    0.00018850288509584165, -5.754195010082104e-05, 1.6448448070728896e-05, -4.4167383584587505e-06,
    1.1173875391201037e-06, -2.670793853940612e-07, 6.046995022541919e-08, -1.300025009986248e-08,
    2.6598237246823866e-09, -5.189795601635263e-10, 9.675809035373237e-11, -1.726826291441556e-11,
    2.95505266312964e-12, -4.856446783111929e-13, 7.676185498604936e-14, -1.1685332877993451e-14,
    1.715391285555133e-15, -2.431279846547955e-16, 3.3307945188222384e-17, -4.4153416464793395e-18,
)
_I0_LARGE = (
    0.4022452055070544, 0.0033691164782556943, 6.889758346916825e-05, 2.8913705208347567e-06, 2.0489185894690638e-07,
    2.266668990498178e-08, 3.3962320257083865e-09, 4.94060238822497e-10, 1.1889147107846439e-11,
    -3.1499165279632416e-11, -1.3215811840447713e-11, -1.7941785315068062e-12, 7.180124451383666e-13,
    3.8527783827421426e-13, 1.54008621752141e-14, -4.150569347287222e-14, -9.554846698828307e-15,
    3.8116806693526224e-15, 1.7725601330565263e-15, -3.425485619677219e-16, -2.8276239805165836e-16,
    3.461222867697461e-17, 4.46562142029676e-17, -4.830504485944182e-18, -7.233180487874754e-18,
)
_I1_SMALL = (
    0.12629359322181682, -0.17641651835783406, 0.1026436586898471, -0.05294598120809499, 0.024726449030626516,
    -0.010564084894626197, 0.004156422944312888, -0.0015135724506312532, 0.0005122859561685758,
    -0.00016176081582589674, 4.781565107550054e-05, -1.3273163656039436e-05, 3.4702513081376785e-06,
    -8.568720264695455e-07, 2.0032947535521353e-07, -4.445059128796328e-08, 9.381537386495773e-09,
    -1.8872497517228294e-09, 3.625590281552117e-10, -6.663489723502027e-11, 1.1736186298890901e-11,
    -1.9839743977649436e-12, 3.223793365945575e-13, -5.042185504727912e-14, 7.600684294735408e-15,
    -1.1055969477353862e-15, 1.5536319577362005e-16, -2.111421214358166e-17, 2.7779141127610464e-18,
)
_I1_LARGE = (
    0.38928811750914005, -0.009761097491361469, -0.00011058893876262371, -3.882564808877691e-06,
    -2.512236237870209e-07, -2.6314688468895196e-08, -3.835380385964237e-09, -5.589743462196584e-10,
    -1.8974958123505413e-11, 3.2526035830154884e-11, 1.4125807436613782e-11, 2.0356285441470896e-12,
    -7.198551776245908e-13, -4.0835511110921974e-13, -2.1015418427726643e-14, 4.272440016711951e-14,
    1.0420276984128802e-14, -3.8144030724370075e-15, -1.8803547755107825e-15, 3.3082023109209285e-16,
    2.96262899764595e-16, -3.209525921993424e-17, -4.6503053684893586e-17, 4.414348323071708e-18,
    7.517296310842105e-18,
)
# fmt: on
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
_SHIFTS = 10

Special = Callable[["_F64", SSAValue], SSAValue]


class _F64:
    """Arithmetic on f64 values of a body; Python numbers are constants."""

    def __init__(self, body: Body) -> None:
        self.body = body

    def value(self, x: SSAValue | float) -> SSAValue:
        return x if isinstance(x, SSAValue) else self.body.const(x, F64)

    def add(self, a: SSAValue | float, b: SSAValue | float) -> SSAValue:
        return self.body.add(self.value(a), self.value(b), F64)

    def sub(self, a: SSAValue | float, b: SSAValue | float) -> SSAValue:
        return self.body.sub(self.value(a), self.value(b), F64)

    def mul(self, a: SSAValue | float, b: SSAValue | float) -> SSAValue:
        return self.body.mul(self.value(a), self.value(b), F64)

    def div(self, a: SSAValue | float, b: SSAValue | float) -> SSAValue:
        return self.body.divf(self.value(a), self.value(b))

    def neg(self, a: SSAValue) -> SSAValue:
        return self.body.neg(a, F64)

    def abs(self, a: SSAValue) -> SSAValue:
        return self.body.abs(a, F64)

    def min(self, a: SSAValue | float, b: SSAValue | float) -> SSAValue:
        """NaN stays."""
        return self.body.minimum(self.value(a), self.value(b), F64)

    def max(self, a: SSAValue | float, b: SSAValue | float) -> SSAValue:
        """NaN stays."""
        return self.body.maximum(self.value(a), self.value(b), F64)

    def exp(self, a: SSAValue) -> SSAValue:
        return self.body.op(math.ExpOp, a)

    def log(self, a: SSAValue) -> SSAValue:
        return self.body.op(math.LogOp, a)

    def sqrt(self, a: SSAValue) -> SSAValue:
        return self.body.op(math.SqrtOp, a)

    def with_sign(self, a: SSAValue, sign: SSAValue) -> SSAValue:
        return self.body.op(math.CopySignOp, a, sign)

    def where(self, kind: str, a: SSAValue, b: SSAValue | float, yes: SSAValue | float, no: SSAValue) -> SSAValue:
        """`a <kind> b ? yes : no`."""
        return self.body.select(self.body.compare(kind, a, self.value(b), F64), self.value(yes), no)

    def horner(self, x: SSAValue, coefficients: Sequence[float]) -> SSAValue:
        """Polynomial with the constant term first."""
        out = self.value(coefficients[-1])
        for k in reversed(coefficients[:-1]):
            out = self.add(self.mul(out, x), k)
        return out

    def chebyshev(self, u: SSAValue, coefficients: Sequence[float]) -> SSAValue:
        """Sum of c_k T_k(u)."""
        twice = self.add(u, u)
        after, out = self.value(0.0), self.value(0.0)
        for k in reversed(coefficients[1:]):
            out, after = self.add(self.sub(self.mul(twice, out), after), k), out
        return self.add(self.sub(self.mul(u, out), after), coefficients[0])


# -- error functions ---------------------------------------------------------------------------------------------


def _erfcx_positive(f: _F64, x: SSAValue) -> SSAValue:
    """exp(x * x) * erfc(x) for x >= 0."""
    t = f.div(2.0, f.add(x, 2.0))
    return f.mul(t, f.chebyshev(f.sub(f.add(t, t), 1.0), _ERFCX))


def _erfc(f: _F64, x: SSAValue) -> SSAValue:
    size = f.min(f.abs(x), 30.0)  # beyond, erfc underflows; exp(-inf) times 0 would be NaN
    tail = f.mul(f.exp(f.neg(f.mul(size, size))), _erfcx_positive(f, size))
    return f.where("lt", x, 0.0, f.sub(2.0, tail), tail)


def _erfcx(f: _F64, x: SSAValue) -> SSAValue:
    positive = _erfcx_positive(f, f.abs(x))
    negative = f.sub(f.mul(2.0, f.exp(f.mul(x, x))), positive)
    return f.where("lt", x, 0.0, negative, positive)


def _inverse_near_zero(f: _F64, y: SSAValue) -> SSAValue:
    """The x with erf(x) = y, for |y| up to 0.75: its series, then Newton's steps on erf."""
    square = f.mul(y, y)
    x = f.mul(y, f.horner(square, (0.886226925452758, 0.2320136665346544, 0.12755617530559793, 0.08655212924154752)))
    for _ in range(4):
        slope = f.mul(2.0 / pymath.sqrt(pymath.pi), f.exp(f.neg(f.mul(x, x))))
        x = f.sub(x, f.div(f.sub(f.body.op(math.ErfOp, x), y), slope))
    return x


def _inverse_tail(f: _F64, q: SSAValue) -> SSAValue:
    """The x >= 0 with erfc(x) = q, for q up to 0.25: Newton's steps on log(erfc)."""
    wanted = f.log(q)
    x = f.sqrt(f.neg(f.add(wanted, 0.5)))
    for _ in range(6):
        scaled = _erfcx_positive(f, x)
        slope = f.div(-2.0 / pymath.sqrt(pymath.pi), scaled)
        gap = f.sub(f.sub(f.log(scaled), f.mul(x, x)), wanted)
        x = f.sub(x, f.div(gap, slope))
    return f.where("eq", q, 0.0, pymath.inf, x)


def _erfinv(f: _F64, y: SSAValue) -> SSAValue:
    size = f.abs(y)
    central = _inverse_near_zero(f, f.min(size, 0.75))
    tail = _inverse_tail(f, f.sub(1.0, f.max(size, 0.75)))
    out = f.with_sign(f.where("le", size, 0.75, central, tail), y)
    return f.where("gt", size, 1.0, pymath.nan, f.where("eq", y, 0.0, y, out))


def _ndtri(f: _F64, p: SSAValue) -> SSAValue:
    """Quantiles of the normal distribution."""
    q = f.add(p, p)
    rest = f.min(q, f.sub(2.0, q))  # what lies beyond, on the nearer side
    central = f.mul(-1.0, f.with_sign(_inverse_near_zero(f, f.sub(1.0, f.max(rest, 0.25))), f.sub(1.0, q)))
    tail = f.neg(f.with_sign(_inverse_tail(f, f.min(rest, 0.25)), f.sub(1.0, q)))
    out = f.mul(pymath.sqrt(2.0), f.where("lt", rest, 0.25, tail, central))
    return f.where("lt", rest, 0.0, pymath.nan, out)


# -- gamma -------------------------------------------------------------------------------------------------------


def _lgamma_positive(f: _F64, x: SSAValue) -> SSAValue:
    product, y = f.value(1.0), x
    for _ in range(_SHIFTS):
        near = f.body.compare("lt", y, f.value(10.0), F64)
        product = f.body.select(near, f.mul(product, y), product)
        y = f.body.select(near, f.add(y, 1.0), y)
    inverse = f.div(1.0, y)
    series = f.horner(f.mul(inverse, inverse), [b / ((2 * k + 2) * (2 * k + 1)) for k, b in enumerate(_BERNOULLI)])
    stirling = f.sub(f.mul(f.sub(y, 0.5), f.log(y)), f.sub(y, 0.5 * pymath.log(2 * pymath.pi)))
    out = f.sub(f.add(stirling, f.mul(inverse, series)), f.log(product))
    for root in (1.0, 2.0):
        out = f.where("eq", x, root, 0.0, out)
    return f.where("eq", x, pymath.inf, pymath.inf, out)


def _from_whole(f: _F64, x: SSAValue) -> SSAValue:
    """x minus the nearest whole number, whose sign is that of x where it is zero."""
    return f.with_sign(f.abs(f.sub(x, f.body.op(math.RoundEvenOp, x))), f.sub(x, f.body.op(math.RoundEvenOp, x)))


def _lgamma(f: _F64, x: SSAValue) -> SSAValue:
    size = f.abs(x)
    positive = _lgamma_positive(f, size)
    wave = f.abs(f.body.op(math.SinOp, f.mul(pymath.pi, _from_whole(f, x))))
    mirrored = f.sub(f.log(f.div(pymath.pi, f.mul(size, wave))), positive)
    out = f.where("lt", x, 0.0, mirrored, positive)
    return f.where("eq", size, pymath.inf, pymath.inf, out)


def _digamma_positive(f: _F64, x: SSAValue) -> SSAValue:
    total, y = f.value(0.0), x
    for _ in range(_SHIFTS):
        near = f.body.compare("lt", y, f.value(10.0), F64)
        total = f.body.select(near, f.add(total, f.div(1.0, y)), total)
        y = f.body.select(near, f.add(y, 1.0), y)
    inverse = f.div(1.0, y)
    square = f.mul(inverse, inverse)
    series = f.mul(square, f.horner(square, [b / (2 * k + 2) for k, b in enumerate(_BERNOULLI)]))
    return f.sub(f.sub(f.log(y), f.add(f.mul(0.5, inverse), series)), total)


def _digamma(f: _F64, x: SSAValue) -> SSAValue:
    mirrored = f.sub(
        _digamma_positive(f, f.sub(1.0, x)),
        f.div(pymath.pi, f.body.op(math.TanOp, f.mul(pymath.pi, _from_whole(f, x)))),
    )
    whole = f.where("eq", f.body.op(math.FloorOp, x), x, pymath.nan, mirrored)
    out = f.where("lt", x, 0.0, whole, _digamma_positive(f, x))
    return f.where("eq", x, 0.0, f.with_sign(f.value(pymath.inf), f.neg(x)), out)


# -- Bessel functions --------------------------------------------------------------------------------------------


def _bessel(f: _F64, x: SSAValue, small: Sequence[float], large: Sequence[float], order: int) -> SSAValue:
    """exp(-|x|) I(|x|)."""
    size = f.abs(x)
    near = f.min(size, 8.0)
    inner = f.chebyshev(f.sub(f.mul(near, 0.25), 1.0), small)
    inner = f.mul(inner, near) if order else inner
    far = f.max(size, 8.0)
    outer = f.div(f.chebyshev(f.sub(f.div(16.0, far), 1.0), large), f.sqrt(far))
    out = f.where("le", size, 8.0, inner, outer)
    return f.where("lt", x, 0.0, f.neg(out), out) if order else out


def _i0e(f: _F64, x: SSAValue) -> SSAValue:
    return _bessel(f, x, _I0_SMALL, _I0_LARGE, 0)


def _i1e(f: _F64, x: SSAValue) -> SSAValue:
    return _bessel(f, x, _I1_SMALL, _I1_LARGE, 1)


def _grown(f: _F64, x: SSAValue, scaled: SSAValue) -> SSAValue:
    """Without the factor exp(-|x|), in two halves, so that it overflows where the product does (NaN at infinity)."""
    half = f.exp(f.mul(0.5, f.abs(x)))
    return f.mul(f.mul(half, scaled), half)


def _i0(f: _F64, x: SSAValue) -> SSAValue:
    return _grown(f, x, _i0e(f, x))


def _i1(f: _F64, x: SSAValue) -> SSAValue:
    return _grown(f, x, _i1e(f, x))


# -- registration ------------------------------------------------------------------------------------------------


def _register(name: str, fn: Special) -> None:
    def lower(c: Conversion, x: Tensor) -> Tensor:
        return elementwise(c, [x], c.out, lambda b, v: fn(_F64(b), v), compute=F64, returns=F64)

    lowers(name)(lower)


_register("aten.erfc", _erfc)
_register("aten.special_erfcx", _erfcx)
_register("aten.erfinv", _erfinv)
_register("aten.special_ndtri", _ndtri)
_register("aten.lgamma", _lgamma)
_register("aten.digamma", _digamma)
_register("aten.i0", _i0)
_register("aten.special_i0e", _i0e)
_register("aten.special_i1", _i1)
_register("aten.special_i1e", _i1e)


# -- bits --------------------------------------------------------------------------------------------------------


@lowers("aten.frexp.Tensor")
def frexp(c: Conversion, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mantissa in 0.5..1 and exponent; zeros and what is not finite keep their value, with exponent 0."""

    def parts(b: Body, v: SSAValue) -> tuple[SSAValue, SSAValue]:
        f = _F64(b)
        tiny = b.compare("lt", f.abs(v), f.value(2.0**-1000), F64)
        scaled = b.select(tiny, f.mul(v, 2.0**60), v)
        bits = b.op(arith.BitcastOp, scaled, I64.mlir)
        field = b.op(arith.AndIOp, b.op(arith.ShRUIOp, bits, b.const(52, I64)), b.const(0x7FF, I64))
        exponent = b.sub(field, b.select(tiny, b.const(1022 + 60, I64), b.const(1022, I64)), I64)
        cleared = b.op(arith.AndIOp, bits, b.const(~(0x7FF << 52), I64))
        mantissa = b.op(arith.BitcastOp, b.op(arith.OrIOp, cleared, b.const(1022 << 52, I64)), F64.mlir)
        zero = b.compare("eq", v, f.value(0.0), F64)
        odd = b.logical_or(zero, b.logical_not(b.compare("lt", f.abs(v), f.value(pymath.inf), F64)))
        return b.select(odd, v, mantissa), b.select(odd, b.const(0, I64), exponent)

    mantissa = elementwise(c, [x], c.out, lambda b, v: parts(b, v)[0], compute=F64, returns=F64)
    exponent = elementwise(c, [x], c.out_type(1), lambda b, v: parts(b, v)[1], compute=F64, returns=I64)
    return mantissa, exponent


@lowers("aten.nextafter")
def nextafter(c: Conversion, x: Tensor, y: Tensor) -> Tensor:
    """The neighbour of x on the side of y, by counting in the bits."""
    t = c.out
    whole = {64: I64, 32: I32, 16: I16}[t.bits]

    def neighbour(b: Body, v: SSAValue, w: SSAValue) -> SSAValue:
        bits, one, zero = b.op(arith.BitcastOp, v, whole.mlir), b.const(1, whole), b.const(0.0, t)
        smallest = b.op(math.CopySignOp, b.op(arith.BitcastOp, one, t.mlir), w)
        outward = b.op(arith.XOrIOp, b.compare("lt", v, w, t), b.compare("lt", v, zero, t))
        moved = b.select(outward, b.add(bits, one, whole), b.sub(bits, one, whole))
        out = b.select(b.compare("eq", v, zero, t), smallest, b.op(arith.BitcastOp, moved, t.mlir))
        out = b.select(b.compare("eq", v, w, t), w, out)
        return b.select(b.compare("uno", v, w, t), b.add(v, w, t), out)

    return elementwise(c, [x, y], t, neighbour, compute=t, returns=t)
