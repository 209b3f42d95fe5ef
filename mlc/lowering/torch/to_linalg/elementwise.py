"""Elementwise ops of one tensor: activations, math functions, predicates, casts."""

from __future__ import annotations

import math as pymath
from collections.abc import Callable, Sequence

from xdsl.dialects import arith, math
from xdsl.ir import Operation, SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dtypes import BOOL, DType
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import Operand, elementwise, rounded
from mlc.lowering.torch.to_linalg.tensor import Number, Scalar, Tensor

Unary = Callable[[Body, SSAValue, DType], SSAValue]


def _math(cls: type[Operation]) -> Unary:
    return lambda b, x, t: b.op(cls, x)


def _whole(cls: type[Operation]) -> Unary:
    """Rounding functions leave integers alone."""
    return lambda b, x, t: b.op(cls, x) if t.is_float else x


def _sign(b: Body, x: SSAValue, t: DType) -> SSAValue:
    if t.is_bool:
        return x
    zero, one = b.const(0, t), b.const(1, t)
    if t.kind == "u":
        return b.select(b.compare("gt", x, zero, t), one, zero)
    negative = b.select(b.compare("lt", x, zero, t), b.const(-1, t), zero)
    return b.select(b.compare("gt", x, zero, t), one, negative)


def clamp_low(b: Body, x: SSAValue, low: SSAValue, t: DType) -> SSAValue:
    """max(x, low) that keeps NaN and is one machine instruction."""
    return b.select(b.compare("lt", x, low, t), low, x)


def clamp_high(b: Body, x: SSAValue, high: SSAValue, t: DType) -> SSAValue:
    """min(x, high) that keeps NaN and is one machine instruction."""
    return b.select(b.compare("gt", x, high, t), high, x)


def _relu(b: Body, x: SSAValue, t: DType) -> SSAValue:
    return clamp_low(b, x, b.const(0, t), t)


def _relu6_part(b: Body, x: SSAValue, t: DType) -> SSAValue:
    """clamp(x + 3, 0, 6)"""
    shifted = b.add(x, b.const(3.0, t), t)
    return clamp_high(b, clamp_low(b, shifted, b.const(0.0, t), t), b.const(6.0, t), t)


def _hardsigmoid(b: Body, x: SSAValue, t: DType) -> SSAValue:
    return b.divf(_relu6_part(b, x, t), b.const(6.0, t))


def _hardswish(b: Body, x: SSAValue, t: DType) -> SSAValue:
    return b.divf(b.mul(x, _relu6_part(b, x, t), t), b.const(6.0, t))


def _silu(b: Body, x: SSAValue, t: DType) -> SSAValue:
    one = b.const(1.0, t)
    return b.divf(x, b.add(one, b.op(math.ExpOp, b.neg(x, t)), t))


def log1p_exp(b: Body, x: SSAValue) -> SSAValue:
    """log(1 + exp(x))"""
    return b.op(math.Log1pOp, b.op(math.ExpOp, x))


def _mish(b: Body, x: SSAValue, t: DType) -> SSAValue:
    return b.mul(x, b.op(math.TanhOp, log1p_exp(b, x)), t)


def _log_sigmoid(b: Body, x: SSAValue, t: DType) -> SSAValue:
    low = clamp_high(b, x, b.const(0.0, t), t)
    return b.sub(low, log1p_exp(b, b.neg(b.abs(x, t), t)), t)


def _reciprocal(b: Body, x: SSAValue, t: DType) -> SSAValue:
    return b.divf(b.const(1.0, t), x)


def _rsqrt(b: Body, x: SSAValue, t: DType) -> SSAValue:
    return b.divf(b.const(1.0, t), b.op(math.SqrtOp, x))


def _bitwise_not(b: Body, x: SSAValue, t: DType) -> SSAValue:
    return b.op(arith.XOrIOp, x, b.const(True if t.is_bool else -1, t))


def _square(b: Body, x: SSAValue, t: DType) -> SSAValue:
    return b.mul(x, x, t)


def _frac(b: Body, x: SSAValue, t: DType) -> SSAValue:
    return b.sub(x, b.op(math.TruncOp, x), t)


def _scaled(factor: float) -> Unary:
    return lambda b, x, t: b.mul(x, b.const(factor, t), t)


def _logit(b: Body, x: SSAValue, t: DType) -> SSAValue:
    return b.op(math.LogOp, b.divf(x, b.sub(b.const(1.0, t), x, t)))


def _sinc(b: Body, x: SSAValue, t: DType) -> SSAValue:
    """sin(pi x) / (pi x)"""
    angle = b.mul(b.const(pymath.pi, t), x, t)
    return b.select(_zero(b, x, t), b.const(1.0, t), b.divf(b.op(math.SinOp, angle), angle))


def _angle(b: Body, x: SSAValue, t: DType) -> SSAValue:
    turned = b.select(b.compare("lt", x, b.const(0.0, t), t), b.const(pymath.pi, t), b.const(0.0, t))
    return b.select(b.is_nan(x, t), x, turned)


# name without "aten." -> scalar function; computed in the result's type
_UNARY: dict[str, Unary] = {
    "relu": _relu,
    "relu6": lambda b, x, t: clamp_high(b, _relu(b, x, t), b.const(6, t), t),
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "silu": _silu,
    "mish": _mish,
    "log_sigmoid": _log_sigmoid,
    "sigmoid": lambda b, x, t: b.sigmoid(x, t),
    "tanh": _math(math.TanhOp),
    "exp": _math(math.ExpOp),
    "exp2": _math(math.Exp2Op),
    "expm1": _math(math.ExpM1Op),
    "log": _math(math.LogOp),
    "log2": _math(math.Log2Op),
    "log10": _math(math.Log10Op),
    "log1p": _math(math.Log1pOp),
    "sqrt": _math(math.SqrtOp),
    "rsqrt": _rsqrt,
    "reciprocal": _reciprocal,
    "sin": _math(math.SinOp),
    "cos": _math(math.CosOp),
    "tan": _math(math.TanOp),
    "asin": _math(math.AsinOp),
    "acos": _math(math.AcosOp),
    "atan": _math(math.AtanOp),
    "sinh": _math(math.SinhOp),
    "cosh": _math(math.CoshOp),
    "asinh": _math(math.AsinhOp),
    "acosh": _math(math.AcoshOp),
    "atanh": _math(math.AtanhOp),
    "erf": _math(math.ErfOp),
    "floor": _whole(math.FloorOp),
    "ceil": _whole(math.CeilOp),
    "round": _whole(math.RoundEvenOp),
    "trunc": _whole(math.TruncOp),
    "fix": _whole(math.TruncOp),
    "frac": _frac,
    "neg": lambda b, x, t: b.neg(x, t),
    "abs": lambda b, x, t: b.abs(x, t),
    "sign": _sign,
    "sgn": _sign,
    "square": _square,
    "bitwise_not": _bitwise_not,
    "rad2deg": _scaled(180.0 / pymath.pi),
    "deg2rad": _scaled(pymath.pi / 180.0),
    "positive": lambda b, x, t: x,
    "real": lambda b, x, t: x,
    "conj": lambda b, x, t: x,
    "_conj": lambda b, x, t: x,
    "angle": _angle,
    "sinc": _sinc,
}


def _lower_unary(name: str, fn: Unary) -> None:
    def lower(c: Conversion, x: Tensor) -> Tensor:
        t = c.out
        return elementwise(c, [x], t, lambda b, v: fn(b, v, t.compute))

    lowers(f"aten.{name}")(lower)


for _name, _fn in _UNARY.items():
    _lower_unary(_name, _fn)


def unary(c: Conversion, name: str, x: Tensor) -> Tensor:
    """The op `aten.<name>` on a float tensor, for lowerings made of several."""
    fn = _UNARY[name]
    return elementwise(c, [x], x.dtype, lambda b, v: fn(b, v, x.dtype.compute))


def _predicate(name: str, of_float: Unary, of_whole: bool | Unary) -> None:
    def lower(c: Conversion, x: Tensor) -> Tensor:
        if x.dtype.is_float:
            t = x.dtype.compute
            return elementwise(c, [x], BOOL, lambda b, v: of_float(b, v, t), compute=t, returns=BOOL)
        if isinstance(of_whole, bool):
            return c.full(x.shape, BOOL, of_whole)
        fn = of_whole
        return elementwise(c, [x], BOOL, lambda b, v: fn(b, v, x.dtype), compute=x.dtype, returns=BOOL)

    lowers(f"aten.{name}")(lower)


def _infinite(b: Body, x: SSAValue, t: DType) -> SSAValue:
    return b.compare("eq", b.abs(x, t), b.const(pymath.inf, t), t)


def _zero(b: Body, x: SSAValue, t: DType) -> SSAValue:
    return b.compare("eq", x, b.const(0, t), t)


def _sign_bit(b: Body, x: SSAValue, t: DType) -> SSAValue:
    one = b.op(math.CopySignOp, b.const(1.0, t), x)
    return b.compare("lt", one, b.const(0.0, t), t)


_predicate("isnan", lambda b, x, t: b.is_nan(x, t), False)
_predicate("isinf", _infinite, False)
_predicate("isfinite", lambda b, x, t: b.compare("lt", b.abs(x, t), b.const(pymath.inf, t), t), True)
_predicate("isposinf", lambda b, x, t: b.compare("eq", x, b.const(pymath.inf, t), t), False)
_predicate("isneginf", lambda b, x, t: b.compare("eq", x, b.const(-pymath.inf, t), t), False)
_predicate("logical_not", _zero, _zero)
_predicate(
    "signbit",
    _sign_bit,
    lambda b, x, t: b.const(False, BOOL) if t.kind in "ub" else b.compare("lt", x, b.const(0, t), t),
)


@lowers("aten.hardtanh")
def hardtanh(c: Conversion, x: Tensor, low: Number = -1, high: Number = 1) -> Tensor:
    return clamp(c, x, low, high)


@lowers("aten.clamp")
def clamp(c: Conversion, x: Tensor, low: Number | None = None, high: Number | None = None) -> Tensor:
    t = c.out.compute
    if any(isinstance(v, float) and pymath.isnan(v) for v in (low, high)):
        return c.full(x.shape, c.out, pymath.nan)
    bounds = [v for v in (low, high) if v is not None]

    def fn(b: Body, v: SSAValue, *given: SSAValue) -> SSAValue:
        rest = list(given)
        if low is not None:
            v = clamp_low(b, v, rest.pop(0), t)
        return clamp_high(b, v, rest.pop(0), t) if high is not None else v

    return elementwise(c, [x, *bounds], c.out, fn)


@lowers("aten.clamp_min")
def clamp_min(c: Conversion, x: Tensor, low: Number) -> Tensor:
    return clamp(c, x, low, None)


@lowers("aten.clamp_max")
def clamp_max(c: Conversion, x: Tensor, high: Number) -> Tensor:
    return clamp(c, x, None, high)


@lowers("aten.round.decimals")
def round_decimals(c: Conversion, x: Tensor, decimals: int) -> Tensor:
    t = c.out.compute
    if not t.is_float:
        return x
    power = 10.0 ** abs(decimals)

    def fn(b: Body, v: SSAValue) -> SSAValue:
        p = b.const(power, t)
        up = b.mul(v, p, t) if decimals >= 0 else b.divf(v, p)
        whole = b.op(math.RoundEvenOp, up)
        return b.divf(whole, p) if decimals >= 0 else b.mul(whole, p, t)

    return elementwise(c, [x], c.out, fn)


@lowers("aten.logit")
def logit(c: Conversion, x: Tensor, eps: Number | None = None) -> Tensor:
    """The bounds are rounded to the dtype: 1 - 1e-6 is 1 in bfloat16, whose logit is infinite."""
    t = c.out.compute

    def fn(b: Body, v: SSAValue) -> SSAValue:
        if eps is not None and float(eps) >= 0:
            low = rounded(float(eps), c.out)
            v = clamp_high(b, clamp_low(b, v, b.const(low, t), t), b.const(rounded(1.0 - low, c.out), t), t)
        return _logit(b, v, t)

    return elementwise(c, [x], c.out, fn)


@lowers("aten.nan_to_num")
def nan_to_num(
    c: Conversion, x: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    t = x.dtype
    if not t.is_float:
        return x
    biggest = {
        "f64": 1.7976931348623157e308,
        "f32": 3.4028234663852886e38,
        "f16": 65504.0,
        "bf16": 3.3895313892515355e38,
    }[t.name]
    low = -biggest if neginf is None else neginf
    high = biggest if posinf is None else posinf

    def fn(b: Body, v: SSAValue) -> SSAValue:
        k = t.compute
        out = b.select(b.is_nan(v, k), b.const(nan or 0.0, k), v)
        out = b.select(b.compare("eq", v, b.const(pymath.inf, k), k), b.const(high, k), out)
        return b.select(b.compare("eq", v, b.const(-pymath.inf, k), k), b.const(low, k), out)

    return elementwise(c, [x], t, fn)


def cast(c: Conversion, x: Tensor, dtype: DType) -> Tensor:
    """`x.to(dtype)`; nothing when it has that type."""
    if x.dtype == dtype:
        return x
    if x.splat is not None:
        return c.full(x.shape, dtype, x.splat if not dtype.is_int else int(x.splat))
    return elementwise(c, [x], dtype, lambda b, v: v, compute=x.dtype, returns=x.dtype)


def as_elements(c: Conversion, operands: Sequence[Operand], dtype: DType) -> list[Operand]:
    """Numbers, 0-d tensors and integers beside a half tensor as elements of `dtype`: most of ATen's kernels compute in
    float32 but read every operand in the common type, so that `x == 0.3` asks whether x is 0.3 rounded to it."""
    if dtype.compute == dtype:
        return list(operands)
    return [_as_element(c, x, dtype) for x in operands]


def in_half(c: Conversion, x: Tensor, dtype: DType) -> Tensor:
    """`x` in the half type that a `dtype` argument asks for: eager converts before it sums. Nothing for other types."""
    return cast(c, x, dtype) if dtype.compute != dtype else x


def as_divisor(c: Conversion, x: Operand, dtype: DType) -> Operand:
    """The second operand of a product or quotient: numbers and 0-d tensors keep their digits there."""
    return _as_element(c, x, dtype) if dtype.compute != dtype and isinstance(x, Tensor) and x.rank else x


def _as_element(c: Conversion, x: Operand, dtype: DType) -> Operand:
    if isinstance(x, Tensor):
        return cast(c, x, dtype) if x.rank == 0 or not x.dtype.is_float else x
    if not isinstance(x, Scalar):
        return rounded(x, dtype)
    return Scalar(c.cast_scalar(Scalar(c.cast_scalar(x, dtype), dtype), dtype.compute), dtype.compute)


@lowers(
    "aten.to.dtype", "aten.to.dtype_layout", "aten.to.device", "aten.to.other", "aten._to_copy", "aten.to.prim_Device"
)
def to(c: Conversion, x: Tensor, *_: object) -> Tensor:
    return cast(c, x, c.out)


@lowers("prims.convert_element_type", "aten.type_as")
def convert_element_type(c: Conversion, x: Tensor, *_: object) -> Tensor:
    return cast(c, x, c.out)


@lowers(
    "aten.clone", "aten.contiguous", "aten.detach", "aten.alias", "aten.lift_fresh_copy", "aten.lift_fresh",
    "aten.resolve_conj", "aten.resolve_neg", "aten.dropout", "aten.feature_dropout", "aten.alpha_dropout",
    "aten.detach_copy", "aten.alias_copy", "prims.view_of",
)  # fmt: skip
def identity(c: Conversion, x: Tensor, *rest: object) -> Tensor:
    if c.operation is not None and "dropout" in c.operation.name and rest[1] is True and rest[0] != 0:
        raise c.refuse("dropout in training mode draws random numbers", hint="call model.eval() first")
    return x


@lowers("aten.native_dropout")
def native_dropout(c: Conversion, x: Tensor, p: Number, train: bool | None) -> tuple[Tensor, Tensor]:
    if train and p != 0:
        raise c.refuse("dropout in training mode draws random numbers", hint="call model.eval() first")
    return x, c.full(x.shape, BOOL, True)
