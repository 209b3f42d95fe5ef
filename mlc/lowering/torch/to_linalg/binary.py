"""Elementwise ops of two or more operands: arithmetic, comparisons, logic, selection."""

from __future__ import annotations

import math as pymath
from collections.abc import Callable

from xdsl.dialects import arith, math
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dtypes import BOOL, DType, promote
from mlc.lowering.torch.to_linalg.elementwise import as_divisor, as_elements, cast
from mlc.lowering.torch.to_linalg.promotion import result_type
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import Operand, elementwise
from mlc.lowering.torch.to_linalg.tensor import Number, Scalar, Tensor

Binary = Callable[[Body, SSAValue, SSAValue, DType], SSAValue]


def binary(c: Conversion, name: str, a: Operand, b: Operand, dtype: DType | None = None) -> Tensor:
    """add, sub, mul, div, maximum, minimum or logaddexp of two operands, for lowerings made of several."""
    t = dtype or result_type([a, b])
    fn = scalar_binary(name)
    return elementwise(c, [a, b], t, lambda body, x, y: fn(body, x, y, t.compute))


def scalar_binary(name: str) -> Binary:
    """The same on single elements."""
    return _logaddexp if name == "logaddexp" else _SIMPLE[name]


_SIMPLE: dict[str, Binary] = {
    "add": lambda b, x, y, t: b.add(x, y, t),
    "sub": lambda b, x, y, t: b.sub(x, y, t),
    "mul": lambda b, x, y, t: b.mul(x, y, t),
    "div": lambda b, x, y, t: b.divf(x, y),
    "maximum": lambda b, x, y, t: b.maximum(x, y, t),
    "minimum": lambda b, x, y, t: b.minimum(x, y, t),
}


@lowers("aten.add.Tensor", "aten.add.Scalar")
def add(c: Conversion, a: Operand, b: Operand, alpha: Number | Scalar = 1) -> Tensor:
    return _add_scaled(c, a, b, alpha, "add")


@lowers("aten.sub.Tensor", "aten.sub.Scalar")
def sub(c: Conversion, a: Operand, b: Operand, alpha: Number | Scalar = 1) -> Tensor:
    return _add_scaled(c, a, b, alpha, "sub")


@lowers("aten.rsub.Tensor", "aten.rsub.Scalar")
def rsub(c: Conversion, a: Operand, b: Operand, alpha: Number | Scalar = 1) -> Tensor:
    return _add_scaled(c, b, a, alpha, "sub")


def _add_scaled(c: Conversion, a: Operand, b: Operand, alpha: Operand, name: str) -> Tensor:
    t = c.out.compute
    fn = _SIMPLE[name]
    a, b, alpha = as_elements(c, [a, b, alpha], c.out)
    if isinstance(alpha, bool | int | float) and alpha == 1:
        return elementwise(c, [a, b], c.out, lambda body, x, y: fn(body, x, y, t))
    return elementwise(c, [a, b, alpha], c.out, lambda body, x, y, k: fn(body, x, body.mul(y, k, t), t))


@lowers("aten.mul.Tensor", "aten.mul.Scalar")
def mul(c: Conversion, a: Operand, b: Operand) -> Tensor:
    """A number on the right is not rounded to a half type first."""
    (a,), b = as_elements(c, [a], c.out), as_divisor(c, b, c.out)
    return elementwise(c, [a, b], c.out, lambda body, x, y: body.mul(x, y, c.out.compute))


@lowers(
    "aten.bitwise_and.Tensor",
    "aten.bitwise_and.Scalar",
    "aten.bitwise_and.Scalar_Tensor",
    "aten.__and__.Tensor",
    "aten.__and__.Scalar",
)
def bitwise_and(c: Conversion, a: Operand, b: Operand) -> Tensor:
    return elementwise(c, [a, b], c.out, lambda body, x, y: body.op(arith.AndIOp, x, y))


@lowers(
    "aten.bitwise_or.Tensor",
    "aten.bitwise_or.Scalar",
    "aten.bitwise_or.Scalar_Tensor",
    "aten.__or__.Tensor",
    "aten.__or__.Scalar",
)
def bitwise_or(c: Conversion, a: Operand, b: Operand) -> Tensor:
    return elementwise(c, [a, b], c.out, lambda body, x, y: body.op(arith.OrIOp, x, y))


@lowers(
    "aten.bitwise_xor.Tensor",
    "aten.bitwise_xor.Scalar",
    "aten.bitwise_xor.Scalar_Tensor",
    "aten.__xor__.Tensor",
    "aten.__xor__.Scalar",
)
def bitwise_xor(c: Conversion, a: Operand, b: Operand) -> Tensor:
    return elementwise(c, [a, b], c.out, lambda body, x, y: body.op(arith.XOrIOp, x, y))


@lowers(
    "aten.bitwise_left_shift.Tensor",
    "aten.bitwise_left_shift.Tensor_Scalar",
    "aten.bitwise_left_shift.Scalar_Tensor",
    "aten.__lshift__.Tensor",
    "aten.__lshift__.Scalar",
)
def left_shift(c: Conversion, a: Operand, b: Operand) -> Tensor:
    return _shift(c, a, b, left=True)


@lowers(
    "aten.bitwise_right_shift.Tensor",
    "aten.bitwise_right_shift.Tensor_Scalar",
    "aten.bitwise_right_shift.Scalar_Tensor",
    "aten.__rshift__.Tensor",
    "aten.__rshift__.Scalar",
)
def right_shift(c: Conversion, a: Operand, b: Operand) -> Tensor:
    return _shift(c, a, b, left=False)


def _shift(c: Conversion, a: Operand, b: Operand, *, left: bool) -> Tensor:
    """Shifts by the width or more (or by less than zero) give 0, or the sign for a right shift, as in ATen."""
    t = c.out

    def fn(body: Body, x: SSAValue, y: SSAValue) -> SSAValue:
        inside = body.emit(arith.CmpiOp(y, body.const(t.bits, t), "ult")).results[0]
        zero = body.const(0, t)
        amount = body.select(inside, y, zero)
        if left:
            return body.select(inside, body.op(arith.ShLIOp, x, amount), zero)
        shift = arith.ShRSIOp if t.kind == "i" else arith.ShRUIOp
        beyond = body.op(shift, x, body.const(t.bits - 1, t)) if t.kind == "i" else zero
        return body.select(inside, body.op(shift, x, amount), beyond)

    return elementwise(c, [a, b], t, fn)


# -- comparison and logic ----------------------------------------------------------------------------------------


def _comparison(kind: str) -> None:
    def lower(c: Conversion, a: Operand, b: Operand) -> Tensor:
        t = result_type([a, b])
        k = t.compute
        given = as_elements(c, [a, b], t)
        return elementwise(c, given, BOOL, lambda body, x, y: body.compare(kind, x, y, k), compute=k, returns=BOOL)

    lowers(f"aten.{kind}.Tensor", f"aten.{kind}.Scalar")(lower)


for _kind in ("eq", "ne", "lt", "le", "gt", "ge"):
    _comparison(_kind)


def _logic(name: str, op: type[arith.AndIOp | arith.OrIOp | arith.XOrIOp]) -> None:
    def lower(c: Conversion, a: Tensor, b: Tensor) -> Tensor:
        return elementwise(c, [a, b], BOOL, lambda body, x, y: body.op(op, x, y), compute=BOOL)

    lowers(f"aten.{name}")(lower)


_logic("logical_and", arith.AndIOp)
_logic("logical_or", arith.OrIOp)
_logic("logical_xor", arith.XOrIOp)


# -- floats ------------------------------------------------------------------------------------------------------


def _float_binary(names: tuple[str, ...], fn: Binary) -> None:
    def lower(c: Conversion, a: Operand, b: Operand) -> Tensor:
        given = as_elements(c, [a, b], c.out)
        return elementwise(c, given, c.out, lambda body, x, y: fn(body, x, y, c.out.compute))

    lowers(*names)(lower)


def _ignoring_nan(lower: bool) -> Binary:
    def fn(body: Body, x: SSAValue, y: SSAValue, t: DType) -> SSAValue:
        if not t.is_float:
            return body.minimum(x, y, t) if lower else body.maximum(x, y, t)
        both = body.minimum(x, y, t) if lower else body.maximum(x, y, t)
        return body.select(body.is_nan(x, t), y, body.select(body.is_nan(y, t), x, both))

    return fn


def _xlogy(body: Body, x: SSAValue, y: SSAValue, t: DType) -> SSAValue:
    product = body.mul(x, body.op(math.LogOp, y), t)
    result = body.select(body.compare("eq", x, body.const(0.0, t), t), body.const(0.0, t), product)
    return body.select(body.is_nan(y, t), y, result)


def _logaddexp(body: Body, x: SSAValue, y: SSAValue, t: DType) -> SSAValue:
    high = body.maximum(x, y, t)
    gap = body.neg(body.abs(body.sub(x, y, t), t), t)
    total = body.add(high, body.op(math.Log1pOp, body.op(math.ExpOp, gap)), t)
    same_inf = body.logical_and(
        body.compare("eq", body.abs(x, t), body.const(pymath.inf, t), t), body.compare("eq", x, y, t)
    )
    return body.select(same_inf, x, total)


def _hypot(body: Body, x: SSAValue, y: SSAValue, t: DType) -> SSAValue:
    """Scaled by the larger side, so that squares do not overflow; infinity wins over NaN."""
    a, b = body.abs(x, t), body.abs(y, t)
    inf, zero = body.const(pymath.inf, t), body.const(0.0, t)
    high, low = body.maximum(a, b, t), body.minimum(a, b, t)
    ratio = body.divf(low, body.select(body.compare("eq", high, zero, t), body.const(1.0, t), high))
    length = body.mul(high, body.op(math.SqrtOp, body.add(body.const(1.0, t), body.mul(ratio, ratio, t), t)), t)
    infinite = body.logical_or(body.compare("eq", a, inf, t), body.compare("eq", b, inf, t))
    return body.select(infinite, inf, length)


_float_binary(("aten.maximum", "aten.max.other"), _SIMPLE["maximum"])
_float_binary(("aten.minimum", "aten.min.other"), _SIMPLE["minimum"])
_float_binary(("aten.fmax",), _ignoring_nan(False))
_float_binary(("aten.fmin",), _ignoring_nan(True))
_float_binary(("aten.atan2",), lambda b, x, y, t: b.op(math.Atan2Op, x, y))
_float_binary(("aten.copysign.Tensor", "aten.copysign.Scalar"), lambda b, x, y, t: b.op(math.CopySignOp, x, y))
_float_binary(("aten.xlogy.Tensor", "aten.xlogy.Scalar_Self", "aten.xlogy.Scalar_Other"), _xlogy)
_float_binary(("aten.logaddexp",), _logaddexp)
_float_binary(("aten.hypot",), _hypot)


@lowers("aten.ldexp.Tensor")
def ldexp(c: Conversion, a: Tensor, b: Tensor) -> Tensor:
    t = c.out.compute
    return elementwise(c, [a, b], c.out, lambda body, x, y: body.mul(x, body.op(math.PowFOp, body.const(2.0, t), y), t))


@lowers("aten.lerp.Scalar", "aten.lerp.Tensor")
def lerp(c: Conversion, start: Tensor, end: Tensor, weight: Operand) -> Tensor:
    t = c.out.compute

    def fn(body: Body, a: SSAValue, b: SSAValue, w: SSAValue) -> SSAValue:
        gap = body.sub(b, a, t)
        near = body.add(a, body.mul(w, gap, t), t)
        far = body.sub(b, body.mul(gap, body.sub(body.const(1.0, t), w, t), t), t)
        return body.select(body.compare("lt", body.abs(w, t), body.const(0.5, t), t), near, far)

    return elementwise(c, [start, end, weight], c.out, fn)


@lowers("aten.addcmul")
def addcmul(c: Conversion, x: Tensor, a: Tensor, b: Tensor, value: Number = 1) -> Tensor:
    t = c.out.compute
    return elementwise(
        c,
        [x, a, b, value],
        c.out,
        lambda body, v, p, q, k: body.add(v, body.mul(p if value == 1 else body.mul(k, p, t), q, t), t),
    )


@lowers("aten.addcdiv")
def addcdiv(c: Conversion, x: Tensor, a: Tensor, b: Tensor, value: Number = 1) -> Tensor:
    t = c.out.compute
    return elementwise(
        c,
        [x, a, b, value],
        c.out,
        lambda body, v, p, q, k: body.add(v, body.divf(p if value == 1 else body.mul(k, p, t), q), t),
    )


@lowers("aten.prelu", "aten._prelu_kernel")
def prelu(c: Conversion, x: Tensor, weight: Tensor) -> Tensor:
    t = c.out.compute
    if weight.rank == 1 and x.rank > 1:
        weight = c.viewed(weight, (*weight.shape, *(1,) * (x.rank - 2)))
    return elementwise(
        c,
        [x, weight],
        c.out,
        lambda body, v, w: body.select(body.compare("gt", v, body.const(0.0, t), t), v, body.mul(w, v, t)),
        shape=x.shape,
    )


# -- selection ---------------------------------------------------------------------------------------------------


@lowers("aten.where.self", "aten.where.ScalarSelf", "aten.where.ScalarOther", "aten.where.Scalar")
def where(c: Conversion, condition: Tensor, a: Operand, b: Operand) -> Tensor:
    return select(c, condition, a, b, c.out)


def select(c: Conversion, condition: Tensor, a: Operand, b: Operand, dtype: DType) -> Tensor:
    """`condition ? a : b`, both converted to `dtype`."""
    if condition.dtype != BOOL:
        condition = cast(c, condition, BOOL)

    def fn(body: Body, k: SSAValue, x: SSAValue, y: SSAValue) -> SSAValue:
        return body.select(k, x, y)

    return elementwise(c, [condition, a, b], dtype, fn, compute=dtype, own=(0,))


@lowers("aten.masked_fill.Scalar", "aten.masked_fill.Tensor")
def masked_fill(c: Conversion, x: Tensor, mask: Tensor, value: Operand) -> Tensor:
    return select(c, mask, value, x, c.out)


@lowers("aten.clamp.Tensor", "aten.clamp_min.Tensor", "aten.clamp_max.Tensor")
def clamp_tensor(c: Conversion, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    assert c.operation is not None
    if c.operation.name.endswith("clamp_max.Tensor"):
        low, high = None, low
    t = c.out.compute

    def fn(body: Body, v: SSAValue, *bounds: SSAValue) -> SSAValue:
        rest = list(bounds)
        if low is not None:
            v = body.maximum(v, rest.pop(0), t)
        return body.minimum(v, rest.pop(0), t) if high is not None else v

    return elementwise(c, [x, *(b for b in (low, high) if b is not None)], c.out, fn)


@lowers("aten.isclose")
def isclose(
    c: Conversion, a: Tensor, b: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    t = promote(a.dtype, b.dtype).compute

    def fn(body: Body, x: SSAValue, y: SSAValue) -> SSAValue:
        close = body.compare("eq", x, y, t)
        if t.is_float:
            bound = body.add(body.const(atol, t), body.mul(body.const(rtol, t), body.abs(y, t), t), t)
            gap = body.abs(body.sub(x, y, t), t)
            near = body.logical_and(
                body.compare("le", gap, bound, t), body.compare("lt", gap, body.const(pymath.inf, t), t)
            )
            close = body.logical_or(close, near)
            if equal_nan:
                close = body.logical_or(close, body.logical_and(body.is_nan(x, t), body.is_nan(y, t)))
        return close

    return elementwise(c, [a, b], BOOL, fn, compute=t, returns=BOOL)
