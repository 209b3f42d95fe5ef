"""Division in all its roundings, remainders, powers."""

from __future__ import annotations

from xdsl.dialects import arith, math
from xdsl.ir import SSAValue

from mlc.dialects.arith.float_ops import RemfOp
from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dtypes import F16, DType
from mlc.lowering.torch.to_linalg.elementwise import as_divisor, as_elements, cast
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import Operand, elementwise
from mlc.lowering.torch.to_linalg.tensor import Number, Tensor


@lowers("aten.div.Tensor", "aten.div.Scalar")
def div(c: Conversion, a: Operand, b: Operand) -> Tensor:
    """A number that divides is not rounded to a half type first; one that is divided is. So with the roundings."""
    (a,), b = as_elements(c, [a], c.out), as_divisor(c, b, c.out)
    return elementwise(c, [a, b], c.out, lambda body, x, y: body.divf(x, y))


@lowers("prims.div")
def primitive_div(c: Conversion, a: Operand, b: Operand) -> Tensor:
    """Integers are cut to integers."""
    return div(c, a, b) if c.out.is_float else _rounded_div(c, a, b, floor=False)


@lowers("aten.div.Tensor_mode", "aten.div.Scalar_mode")
def div_mode(c: Conversion, a: Operand, b: Operand, mode: str | None) -> Tensor:
    if mode is None:
        return div(c, a, b)
    return _rounded_div(c, a, b, floor=mode == "floor")


@lowers("aten.floor_divide", "aten.floor_divide.Scalar", "aten.__floordiv__.Tensor")
def floor_divide(c: Conversion, a: Operand, b: Operand) -> Tensor:
    return _rounded_div(c, a, b, floor=True)


def _rounded_div(c: Conversion, a: Operand, b: Operand, *, floor: bool) -> Tensor:
    t = c.out.compute
    (a,), b = as_elements(c, [a], c.out), as_divisor(c, b, c.out)

    def fn(body: Body, x: SSAValue, y: SSAValue) -> SSAValue:
        if t.is_float:
            if floor:
                return _floor_div_float(body, x, y, t)
            return body.op(math.TruncOp, body.divf(x, y))
        y, minus = _checked_divisor(c, body, b, y, t)
        quotient = body.truncated_div(x, y, t)
        if floor and t.kind == "i":
            rest = body.sub(x, body.mul(quotient, y, t), t)
            quotient = body.select(_signs_differ(body, rest, y, t), body.sub(quotient, body.const(1, t), t), quotient)
        return quotient if minus is None else body.select(minus, body.neg(x, t), quotient)

    return elementwise(c, [a, b], c.out, fn)


def _checked_divisor(
    c: Conversion, body: Body, given: Operand, y: SSAValue, t: DType
) -> tuple[SSAValue, SSAValue | None]:
    """`y` made safe to divide by: zero fails as in eager; -1 (which overflows) is replaced by 1 and told apart."""
    if isinstance(given, int) and given % (1 << t.bits) not in (0, (1 << t.bits) - 1):  # as the type holds it
        return y, None
    body.check(body.compare("ne", y, body.const(0, t), t), c.message("division by zero"))
    if t.kind != "i":
        return y, None
    minus = body.compare("eq", y, body.const(-1, t), t)
    return body.select(minus, body.const(1, t), y), minus


def _signs_differ(body: Body, rest: SSAValue, y: SSAValue, t: DType) -> SSAValue:
    """Whether `rest` is not zero and of another sign than `y`."""
    zero = body.const(0, t)
    other = body.op(arith.XOrIOp, body.compare("lt", rest, zero, t), body.compare("lt", y, zero, t))
    return body.logical_and(body.compare("ne", rest, zero, t), other)


def _floor_div_float(body: Body, x: SSAValue, y: SSAValue, t: DType) -> SSAValue:
    """Python's floor division of floats, as ATen computes it."""
    zero, one = body.const(0.0, t), body.const(1.0, t)
    mod = body.op(RemfOp, x, y)
    quotient = body.divf(body.sub(x, mod, t), y)
    quotient = body.select(_signs_differ(body, mod, y, t), body.sub(quotient, one, t), quotient)
    whole = body.op(math.FloorOp, quotient)
    far = body.compare("gt", body.sub(quotient, whole, t), body.const(0.5, t), t)
    whole = body.select(far, body.add(whole, one, t), whole)
    plain = body.divf(x, y)
    signed_zero = body.op(math.CopySignOp, zero, plain)
    result = body.select(body.compare("ne", quotient, zero, t), whole, signed_zero)
    return body.select(body.compare("eq", y, zero, t), plain, result)


@lowers("aten.remainder.Tensor", "aten.remainder.Scalar", "aten.remainder.Scalar_Tensor")
def remainder(c: Conversion, a: Operand, b: Operand) -> Tensor:
    return _remainder(c, a, b, python=True)


@lowers("aten.fmod.Tensor", "aten.fmod.Scalar")
def fmod(c: Conversion, a: Operand, b: Operand) -> Tensor:
    return _remainder(c, a, b, python=False)


def _remainder(c: Conversion, a: Operand, b: Operand, *, python: bool) -> Tensor:
    t = c.out.compute
    a, b = as_elements(c, [a, b], c.out)

    def fn(body: Body, x: SSAValue, y: SSAValue) -> SSAValue:
        if t.is_float:
            rest = body.op(RemfOp, x, y)
        else:
            y, _ = _checked_divisor(c, body, b, y, t)
            rest = body.op(arith.RemSIOp if t.kind == "i" else arith.RemUIOp, x, y)
        if not python or t.kind == "u":
            return rest
        return body.select(_signs_differ(body, rest, y, t), body.add(rest, y, t), rest)

    return elementwise(c, [a, b], c.out, fn)


# -- powers ------------------------------------------------------------------------------------------------------


@lowers("aten.pow.Tensor_Scalar", "aten.pow.Tensor_Tensor", "aten.pow.Scalar")
def power(c: Conversion, a: Operand, b: Operand) -> Tensor:
    t = c.out.compute
    if isinstance(b, Tensor) and b.splat is not None and b.rank == 0:
        b = b.splat
    a, b = as_elements(c, [a, b], c.out)
    if isinstance(b, bool | int | float) and isinstance(a, Tensor):
        if b == 0:
            return c.full(a.shape, c.out, 1)
        if b == 1:
            return cast(c, a, c.out)
        if not t.is_float and float(b) < 0:
            raise c.refuse("integers to a negative power are not allowed")
        exponent = b
        roots = c.out != F16  # eager takes powers of float16: pow(-inf, 0.5) is inf, sqrt(-inf) is NaN
        return elementwise(c, [a], c.out, lambda body, x: _fixed_power(body, x, exponent, t, roots=roots))
    if not t.is_float:
        return elementwise(c, [a, b], c.out, lambda body, x, y: _whole_power(body, x, y, t))
    return elementwise(c, [a, b], c.out, lambda body, x, y: body.op(math.PowFOp, x, y))


def _fixed_power(body: Body, x: SSAValue, exponent: Number, t: DType, *, roots: bool) -> SSAValue:
    if t.is_float:
        square = body.mul(x, x, t) if exponent in (2, 3, -2) else x
        match float(exponent):
            case 2.0:
                return square
            case 3.0:
                return body.mul(square, x, t)
            case -2.0:
                return body.divf(body.const(1.0, t), square)
            case 0.5 if roots:
                return body.op(math.SqrtOp, x)
            case -0.5 if roots:
                return body.divf(body.const(1.0, t), body.op(math.SqrtOp, x))
            case -1.0:
                return body.divf(body.const(1.0, t), x)
            case _:
                return body.op(math.PowFOp, x, body.const(exponent, t))
    result: SSAValue | None = None
    n, factor = int(exponent), x
    while n:
        if n & 1:
            result = factor if result is None else body.mul(result, factor, t)
        n >>= 1
        if n:
            factor = body.mul(factor, factor, t)
    assert result is not None
    return result


def _whole_power(body: Body, x: SSAValue, y: SSAValue, t: DType) -> SSAValue:
    """Integer power by squaring over all bits; a negative exponent gives 1/x cut to an integer: 1, -1 or 0."""
    zero, one = body.const(0, t), body.const(1, t)
    result, factor = one, x
    for bit in range(t.bits - (t.kind == "i")):
        wanted = body.compare("ne", body.op(arith.AndIOp, y, body.const(1 << bit, t)), zero, t)
        result = body.select(wanted, body.mul(result, factor, t), result)
        factor = body.mul(factor, factor, t)
    if t.kind != "i":
        return result
    odd = body.compare("ne", body.op(arith.AndIOp, y, one), zero, t)
    minus = body.const(-1, t)
    of_minus = body.select(odd, minus, one)
    inverse = body.select(body.compare("eq", x, minus, t), of_minus, zero)
    inverse = body.select(body.compare("eq", x, one, t), one, inverse)
    return body.select(body.compare("lt", y, zero, t), inverse, result)
