"""math -> LLVM intrinsics, or libm where LLVM has none.

    math.sqrt %v : vector<16xf32>   -->   llvm.intr.sqrt(%v)
    math.erf %x : f32               -->   llvm.call @erff(%x)

After `expand-math` only the cheap ones are left; transcendental ones still work here, one libm call per element.
"""

from __future__ import annotations

from xdsl.dialects import llvm
from xdsl.dialects.builtin import Float32Type, Float64Type, IntegerAttr, IntegerType, VectorType, f64, i1
from xdsl.ir import Operation, SSAValue

from mlc.dialects.llvm import ops as llvm_ops
from mlc.dialects.llvm.intrinsics import INTRINSICS
from mlc.errors import UnsupportedError
from mlc.lowering.llvm.arith_ops import element_of, elementwise, fastmath
from mlc.lowering.llvm.builder import FunctionBuilder
from mlc.lowering.llvm.floats import convert_float, is_float, through_float32
from mlc.lowering.llvm.registry import converts

_INTRINSIC: dict[str, type[Operation]] = {
    "math.absf": llvm.FAbsOp,
    "math.sqrt": llvm.FSqrtOp,
    "math.floor": llvm.FFloorOp,
    "math.ceil": llvm.FCeilOp,
    "math.trunc": INTRINSICS["trunc"],
    "math.round": INTRINSICS["round"],
    "math.roundeven": INTRINSICS["roundeven"],
    "math.copysign": llvm.FCopySignOp,
    "math.fma": llvm.FMAOp,
    "math.exp": llvm.FExpOp,
    "math.exp2": llvm.FExp2Op,
    "math.log": llvm.FLogOp,
    "math.log2": llvm.FLog2Op,
    "math.log10": INTRINSICS["log10"],
    "math.sin": llvm.FSinOp,
    "math.cos": llvm.FCosOp,
    "math.powf": llvm.FPowOp,
}

LIBM = (
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cosh", "erf", "erfc", "expm1", "log1p", "sinh",
    "tan", "tanh",
)  # fmt: skip
"""Ops of the math dialect that become calls; f32 takes the name with an `f`."""


@converts(*_INTRINSIC)
def intrinsic(b: FunctionBuilder, op: Operation) -> None:
    cls, properties = _INTRINSIC[op.name], fastmath(op)
    elementwise(b, op, through_float32(b, lambda *args: b.emit(cls, args, args[0].type, properties)))


@converts("math.rsqrt")
def rsqrt(b: FunctionBuilder, op: Operation) -> None:
    """In f64 and rounded once: two roundings in f32 would differ from the op's meaning (expand-math is for speed)."""
    properties = fastmath(op)

    def one(x: SSAValue) -> SSAValue:
        wide = convert_float(b, x, f64)
        root = b.emit(llvm.FSqrtOp, (wide,), wide.type, properties)
        quotient = b.emit(llvm.FDivOp, (b.splat(1.0, wide.type), root), wide.type, properties)
        return convert_float(b, quotient, element_of(x.type))

    elementwise(b, op, one)


@converts("math.clampf")
def clampf(b: FunctionBuilder, op: Operation) -> None:
    properties = fastmath(op)

    def one(x: SSAValue, low: SSAValue, high: SSAValue) -> SSAValue:
        above = b.emit(INTRINSICS["maximum"], (x, low), x.type, properties)
        return b.emit(INTRINSICS["minimum"], (above, high), x.type, properties)

    elementwise(b, op, through_float32(b, one))


@converts(*(f"math.{name}" for name in LIBM))
def libm(b: FunctionBuilder, op: Operation) -> None:
    name = op.name.removeprefix("math.")
    elementwise(b, op, through_float32(b, lambda *args: _per_element(b, name, args)))


def _per_element(b: FunctionBuilder, name: str, args: tuple[SSAValue, ...]) -> SSAValue:
    ty = args[0].type
    if not isinstance(ty, VectorType):
        return _call(b, name, args)
    result = b.emit(llvm_ops.PoisonOp, (), ty)
    for lane in range(ty.get_shape()[0]):
        at = b.int_const(lane)
        scalars = tuple(b.emit(llvm_ops.ExtractElementOp, (v, at), ty.element_type) for v in args)
        result = b.emit(llvm.InsertElementOp, (result, _call(b, name, scalars), at), ty)
    return result


def _call(b: FunctionBuilder, name: str, args: tuple[SSAValue, ...]) -> SSAValue:
    ty = args[0].type
    if not isinstance(ty, Float32Type | Float64Type):
        raise UnsupportedError(f"math.{name} of {ty}")
    symbol = name + "f" if isinstance(ty, Float32Type) else name
    return b.call(symbol, args, [a.type for a in args], ty)


@converts("math.fpowi")
def fpowi(b: FunctionBuilder, op: Operation) -> None:
    """`pow` of the exponent as a float: LLVM's `powi` leaves the order of its products, and so the result, open."""
    properties = fastmath(op)

    def one(x: SSAValue, n: SSAValue) -> SSAValue:
        power = b.emit(llvm.SIToFPOp, (n,), x.type)
        return b.emit(llvm.FPowOp, (x, power), x.type, properties)

    if not isinstance(element_of(op.results[0].type), Float32Type | Float64Type):
        raise UnsupportedError(f"math.fpowi of {op.results[0].type}")
    elementwise(b, op, one)


@converts("math.isnan", "math.isinf", "math.isfinite", "math.isnormal")
def classify(b: FunctionBuilder, op: Operation) -> None:
    no_flags = {"fastmathFlags": llvm.FastMathAttr(None)}

    def one(x: SSAValue) -> SSAValue:
        bools = VectorType(i1, x.type.get_shape()) if isinstance(x.type, VectorType) else i1

        def compare(predicate: int, left: SSAValue, right: SSAValue) -> SSAValue:
            return b.emit(llvm_ops.FCmpOp, (left, right), bools, {"predicate": IntegerAttr(predicate, 64), **no_flags})

        if op.name == "math.isnan":
            return compare(14, x, x)
        magnitude = b.emit(llvm.FAbsOp, (x,), x.type, no_flags)
        infinity = b.splat(float("inf"), x.type)
        if op.name == "math.isinf":
            return compare(1, magnitude, infinity)
        finite = compare(4, magnitude, infinity)
        if op.name == "math.isfinite":
            return finite
        smallest = 2.0**-1022 if isinstance(element_of(x.type), Float64Type) else 2.0**-126
        return b.emit(llvm.AndOp, (finite, compare(3, magnitude, b.splat(smallest, x.type))), bools)

    if not is_float(element_of(op.operands[0].type)):
        raise UnsupportedError(f"{op.name} of {op.operands[0].type}")
    elementwise(b, op, one)


@converts("math.absi", "math.ctpop", "math.ctlz", "math.cttz")
def integer_intrinsic(b: FunctionBuilder, op: Operation) -> None:
    name = {"math.absi": "abs"}.get(op.name, op.name.removeprefix("math."))
    no = IntegerAttr(0, i1)
    properties = {"abs": {"is_int_min_poison": no}, "ctlz": {"is_zero_poison": no}, "cttz": {"is_zero_poison": no}}
    elementwise(b, op, lambda x: b.emit(INTRINSICS[name], (x,), x.type, properties.get(name, {})))


@converts("math.ipowi")
def ipowi(b: FunctionBuilder, op: Operation) -> None:
    """Repeated squaring over the exponent's bits; a negative exponent gives 0, or +-1 for bases +-1."""

    def one(x: SSAValue, n: SSAValue) -> SSAValue:
        element = element_of(x.type)
        assert isinstance(element, IntegerType)
        fast = {"fastmathFlags": llvm.FastMathAttr(None)}
        flags = {"overflowFlags": IntegerAttr(0, 32)}
        bools = VectorType(i1, x.type.get_shape()) if isinstance(x.type, VectorType) else i1
        zero, unit = b.zero(x.type), b.splat(1, x.type)

        def compare(predicate: int, left: SSAValue, right: SSAValue) -> SSAValue:
            return b.emit(llvm.ICmpOp, (left, right), bools, {"predicate": IntegerAttr(predicate, 64)})

        def choose(cond: SSAValue, yes: SSAValue, no: SSAValue) -> SSAValue:
            return b.emit(llvm_ops.SelectOp, (cond, yes, no), x.type, fast)

        result, power = unit, x
        for bit in range(element.width.data - 1):
            mask = b.emit(llvm.AndOp, (n, b.splat(1 << bit, x.type)), x.type)
            result = choose(compare(1, mask, zero), b.emit(llvm.MulOp, (result, power), x.type, flags), result)
            power = b.emit(llvm.MulOp, (power, power), x.type, flags)
        odd = compare(1, b.emit(llvm.AndOp, (n, unit), x.type), zero)
        minus = b.splat(-1, x.type)
        inverse = choose(compare(0, x, unit), unit, choose(compare(0, x, minus), choose(odd, minus, unit), zero))
        return choose(compare(2, n, zero), inverse, result)

    elementwise(b, op, one)
