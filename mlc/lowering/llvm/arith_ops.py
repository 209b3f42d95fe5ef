"""arith -> llvm instructions, with MLIR's exact semantics on scalars and vectors.

    arith.maximumf  ->  llvm.intr.maximum      NaN wins, -0 < +0
    arith.maxnumf   ->  llvm.intr.maxnum       NaN loses
    arith.floordivsi -> sdiv corrected by the remainder's sign

Index values stay linear forms (see `linear`) as long as they are added, subtracted or scaled by constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import llvm
from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    UnitAttr,
    VectorType,
    i1,
)
from xdsl.ir import Attribute, Operation, SSAValue

from mlc.dialects.llvm import ops as llvm_ops
from mlc.dialects.llvm.intrinsics import INTRINSICS
from mlc.errors import UnsupportedError
from mlc.lowering.llvm.attributes import flag_names, plain_values
from mlc.lowering.llvm.builder import FunctionBuilder
from mlc.lowering.llvm.floats import is_float, through_float32
from mlc.lowering.llvm.linear import Linear
from mlc.lowering.llvm.registry import Converter, converts
from mlc.lowering.llvm.types import element_bits, scalar_type, vector_parts

NO_OVERFLOW: dict[str, Attribute] = {"overflowFlags": IntegerAttr(0, 32)}


def element_of(ty: Attribute) -> Attribute:
    """Scalar type of a scalar or vector type."""
    return ty.element_type if isinstance(ty, VectorType) else ty


def part_type(ty: Attribute) -> Attribute:
    """llvm type of each 1-D part of a scalar or vector type."""
    return vector_parts(ty)[1] if isinstance(ty, VectorType) else scalar_type(ty)


def with_element(ty: Attribute, element: Attribute) -> Attribute:
    """`ty` with another element type."""
    return VectorType(element, ty.get_shape()) if isinstance(ty, VectorType) else element


def set_parts(b: FunctionBuilder, result: SSAValue, values: Sequence[SSAValue]) -> None:
    """Bind a result to its 1-D parts."""
    b.values[result] = tuple(values) if len(values) > 1 else values[0]


def elementwise(b: FunctionBuilder, op: Operation, fn: Callable[..., SSAValue], result: int = 0) -> None:
    """Apply `fn` to the matching 1-D parts of all operands."""
    columns = [b.parts(v) for v in op.operands]
    width = max(len(c) for c in columns)
    columns = [c if len(c) == width else c * width for c in columns]  # a scalar condition selects whole vectors
    set_parts(b, op.results[result], [fn(*row) for row in zip(*columns, strict=True)])


def fastmath(op: Operation) -> dict[str, Attribute]:
    """The op's fast-math flags, as given and no others."""
    flags = op.properties.get("fastmath") or op.attributes.get("fastmath")
    if flags is None:
        return {"fastmathFlags": NO_FASTMATH}
    data = getattr(flags, "data", ())
    return {"fastmathFlags": llvm.FastMathAttr(tuple(data)) if data else NO_FASTMATH}


NO_FASTMATH = llvm.FastMathAttr(None)


# Constants


@converts("arith.constant", "llvm.mlir.constant")
def constant(b: FunctionBuilder, op: Operation) -> None:
    value, ty = op.properties["value"], op.results[0].type
    if isinstance(value, DenseResourceAttr):
        raise UnsupportedError("a constant held in the weight store cannot be inside a kernel: pass it as an argument")
    if isinstance(ty, IndexType) and isinstance(value, IntegerAttr):
        b.values[op.results[0]] = Linear(value.value.data)
    elif isinstance(ty, VectorType) and isinstance(value, DenseIntOrFPElementsAttr):
        set_parts(b, op.results[0], _dense_parts(b, value, ty))
    elif isinstance(value, IntegerAttr):
        b.values[op.results[0]] = b.int_const(value.value.data, element_bits(ty))
    elif isinstance(value, FloatAttr):
        b.values[op.results[0]] = b.constant(value, ty)
    else:
        raise UnsupportedError(f"constant of type {ty} cannot be converted to the llvm dialect")


def _dense_parts(b: FunctionBuilder, value: DenseIntOrFPElementsAttr, ty: VectorType) -> list[SSAValue]:
    count, part = vector_parts(ty)
    width = part.get_shape()[0]
    if value.is_splat():
        return [b.splat(plain_values(value)[0], part)] * count
    values = plain_values(value)
    rows = [values[i * width : (i + 1) * width] for i in range(count)]
    return [b.dense(row, part) for row in rows]  # pyright: ignore[reportArgumentType, reportCallIssue]


@converts("ub.poison")
def poison(b: FunctionBuilder, op: Operation) -> None:
    ty = op.results[0].type
    count = vector_parts(ty)[0] if isinstance(ty, VectorType) else 1
    set_parts(b, op.results[0], [b.emit(llvm_ops.PoisonOp, (), part_type(ty)) for _ in range(count)])


# Index arithmetic kept linear, integer arithmetic


def _overflow(op: Operation) -> dict[str, Attribute]:
    names = flag_names(op.properties.get("overflowFlags"))
    if not names:
        return NO_OVERFLOW
    return {"overflowFlags": IntegerAttr(("nsw" in names) + 2 * ("nuw" in names), 32)}


_Properties = Callable[[Operation], dict[str, Attribute]]


def _binary(cls: type[Operation], props: _Properties) -> Converter:
    def convert(b: FunctionBuilder, op: Operation) -> None:
        if _folded(b, op):
            return
        properties = props(op)
        elementwise(b, op, lambda x, y: b.emit(cls, (x, y), x.type, properties))
        _propagate_nonneg(b, op)

    return convert


def _propagate_nonneg(b: FunctionBuilder, op: Operation) -> None:
    result = b.lowered(op.results[0])
    if op.name in _KEEPS_NONNEG and isinstance(op.results[0].type, IndexType) and isinstance(result, SSAValue):
        _nonneg_if(b, result, op.operands)


def _nonneg_if(b: FunctionBuilder, result: SSAValue, operands: Sequence[SSAValue]) -> None:
    if all(b.is_nonneg(b.linear(v)) for v in operands):
        b.nonneg.add(result)


_KEEPS_NONNEG = frozenset(
    f"arith.{name}"
    for name in (
        *("minsi", "minui", "maxsi", "maxui", "divsi", "divui", "remsi", "remui", "shrsi", "shrui", "andi", "ori"),
        *("floordivsi", "ceildivsi"),
    )
)

_FOLDS: dict[str, Callable[[int, int], int]] = {
    "arith.minsi": min,
    "arith.maxsi": max,
    "arith.floordivsi": lambda x, y: x // y,
    "arith.ceildivsi": lambda x, y: -(-x // y),
}
"""Index arithmetic done here when both sides are known, so that loop bounds are known too."""


def _folded(b: FunctionBuilder, op: Operation) -> bool:
    """Bind the result of an index op on constants."""
    fold = _FOLDS.get(op.name)
    if fold is None or not isinstance(op.results[0].type, IndexType):
        return False
    x, y = (b.linear(v) for v in op.operands)
    if x.terms or y.terms or (y.const == 0 and "div" in op.name):
        return False
    b.values[op.results[0]] = Linear(fold(x.const, y.const))
    return True


def _none(_: Operation) -> dict[str, Attribute]:
    return {}


def _exact(op: Operation) -> dict[str, Attribute]:
    return {"isExact": UnitAttr()} if "isExact" in op.properties else {}


_PLAIN: dict[str, tuple[type[Operation], _Properties]] = {
    "divsi": (llvm.SDivOp, _exact),
    "divui": (llvm.UDivOp, _exact),
    "remsi": (llvm.SRemOp, _none),
    "remui": (llvm.URemOp, _none),
    "andi": (llvm.AndOp, _none),
    "ori": (llvm.OrOp, _none),
    "xori": (llvm.XOrOp, _none),
    "shli": (llvm.ShlOp, _overflow),
    "shrsi": (llvm.AShrOp, _exact),
    "shrui": (llvm.LShrOp, _exact),
    "minsi": (INTRINSICS["smin"], _none),
    "maxsi": (INTRINSICS["smax"], _none),
    "minui": (INTRINSICS["umin"], _none),
    "maxui": (INTRINSICS["umax"], _none),
}

for _name, (_cls, _props) in _PLAIN.items():
    converts(f"arith.{_name}")(_binary(_cls, _props))


@converts("arith.addi")
def addi(b: FunctionBuilder, op: Operation) -> None:
    if isinstance(op.results[0].type, IndexType):
        b.values[op.results[0]] = b.linear(op.operands[0]).plus(b.linear(op.operands[1]))
    else:
        _binary(llvm.AddOp, _overflow)(b, op)


@converts("arith.subi")
def subi(b: FunctionBuilder, op: Operation) -> None:
    if isinstance(op.results[0].type, IndexType):
        b.values[op.results[0]] = b.linear(op.operands[0]).plus(b.linear(op.operands[1]).times(-1))
    else:
        _binary(llvm.SubOp, _overflow)(b, op)


@converts("arith.muli")
def muli(b: FunctionBuilder, op: Operation) -> None:
    if isinstance(op.results[0].type, IndexType):
        b.values[op.results[0]] = b.product(b.linear(op.operands[0]), b.linear(op.operands[1]))
    else:
        _binary(llvm.MulOp, _overflow)(b, op)


@converts("arith.floordivsi")
def floordivsi(b: FunctionBuilder, op: Operation) -> None:
    if _folded(b, op):
        return

    def one(x: SSAValue, y: SSAValue) -> SSAValue:
        quotient = b.emit(llvm.SDivOp, (x, y), x.type)
        return b.emit(llvm.SubOp, (quotient, _as_int(b, _inexact(b, x, y, negative=True), x.type)), x.type, NO_OVERFLOW)

    elementwise(b, op, one)
    _propagate_nonneg(b, op)


@converts("arith.ceildivsi")
def ceildivsi(b: FunctionBuilder, op: Operation) -> None:
    if _folded(b, op):
        return

    def one(x: SSAValue, y: SSAValue) -> SSAValue:
        quotient = b.emit(llvm.SDivOp, (x, y), x.type)
        return b.emit(
            llvm.AddOp, (quotient, _as_int(b, _inexact(b, x, y, negative=False), x.type)), x.type, NO_OVERFLOW
        )

    elementwise(b, op, one)
    _propagate_nonneg(b, op)


@converts("arith.ceildivui")
def ceildivui(b: FunctionBuilder, op: Operation) -> None:
    def one(x: SSAValue, y: SSAValue) -> SSAValue:
        quotient = b.emit(llvm.UDivOp, (x, y), x.type)
        remainder = b.emit(llvm.URemOp, (x, y), x.type)
        more = icmp(b, "ne", remainder, b.zero(x.type))
        return b.emit(llvm.AddOp, (quotient, _as_int(b, more, x.type)), x.type, NO_OVERFLOW)

    elementwise(b, op, one)


def _inexact(b: FunctionBuilder, x: SSAValue, y: SSAValue, *, negative: bool) -> SSAValue:
    """Whether x / y leaves a remainder and the true quotient is negative (or not)."""
    zero = b.zero(x.type)
    remainder = b.emit(llvm.SRemOp, (x, y), x.type)
    rest = icmp(b, "ne", remainder, zero)
    signs = icmp(b, "slt" if negative else "sge", b.emit(llvm.XOrOp, (x, y), x.type), zero)
    return b.emit(llvm.AndOp, (rest, signs), rest.type)


def _as_int(b: FunctionBuilder, flag: SSAValue, ty: Attribute) -> SSAValue:
    return flag if flag.type == ty else b.emit(llvm.ZExtOp, (flag,), ty)


def icmp(b: FunctionBuilder, predicate: str, x: SSAValue, y: SSAValue) -> SSAValue:
    """Integer comparison by predicate name."""
    number = llvm.ALL_ICMP_FLAGS.index(llvm.ICmpPredicateFlag(predicate))
    return b.emit(llvm.ICmpOp, (x, y), with_element(x.type, i1), {"predicate": IntegerAttr(number, 64)})


@converts("arith.addui_extended", "arith.mulsi_extended", "arith.mului_extended")
def extended(b: FunctionBuilder, op: Operation) -> None:
    if op.name == "arith.addui_extended":

        def add(x: SSAValue, y: SSAValue) -> SSAValue:
            return b.emit(llvm.AddOp, (x, y), x.type, NO_OVERFLOW)

        elementwise(b, op, add)
        sums, first = b.parts(op.results[0]), b.parts(op.operands[0])
        set_parts(b, op.results[1], [icmp(b, "ult", s, x) for s, x in zip(sums, first, strict=True)])
        return
    grow = llvm.SExtOp if op.name == "arith.mulsi_extended" else llvm.ZExtOp
    low: list[SSAValue] = []
    high: list[SSAValue] = []
    for x, y in zip(b.parts(op.operands[0]), b.parts(op.operands[1]), strict=True):
        bits = element_bits(element_of(x.type))
        wide = with_element(x.type, IntegerType(2 * bits))
        product = b.emit(llvm.MulOp, (b.emit(grow, (x,), wide), b.emit(grow, (y,), wide)), wide, NO_OVERFLOW)
        low.append(b.emit(llvm.TruncOp, (product,), x.type))
        high.append(b.emit(llvm.TruncOp, (b.emit(llvm.LShrOp, (product, b.splat(bits, wide)), wide),), x.type))
    set_parts(b, op.results[0], low)
    set_parts(b, op.results[1], high)


# Comparison, selection


@converts("arith.cmpi")
def cmpi(b: FunctionBuilder, op: Operation) -> None:
    given = op.properties["predicate"]
    assert isinstance(given, IntegerAttr)
    predicate = IntegerAttr(given.value.data, 64)
    elementwise(b, op, lambda x, y: b.emit(llvm.ICmpOp, (x, y), with_element(x.type, i1), {"predicate": predicate}))


@converts("arith.cmpf")
def cmpf(b: FunctionBuilder, op: Operation) -> None:
    given = op.properties["predicate"]
    assert isinstance(given, IntegerAttr)
    properties = {"predicate": IntegerAttr(given.value.data, 64), **fastmath(op)}
    elementwise(b, op, lambda x, y: b.emit(llvm_ops.FCmpOp, (x, y), with_element(x.type, i1), properties))


@converts("arith.select")
def select(b: FunctionBuilder, op: Operation) -> None:
    low = [b.lowered(v) for v in op.operands[1:]]
    if any(not isinstance(v, SSAValue | Linear | tuple) for v in low):
        raise UnsupportedError("arith.select of memrefs cannot be converted to the llvm dialect")
    properties = fastmath(op) if is_float(element_of(op.results[0].type)) else {"fastmathFlags": NO_FASTMATH}
    elementwise(b, op, lambda c, x, y: b.emit(llvm_ops.SelectOp, (c, x, y), x.type, properties))
    result = b.lowered(op.results[0])
    if isinstance(op.results[0].type, IndexType) and isinstance(result, SSAValue):
        _nonneg_if(b, result, op.operands[1:])


# Float arithmetic

_FLOAT_BINARY: dict[str, type[Operation]] = {
    "arith.addf": llvm.FAddOp,
    "arith.subf": llvm.FSubOp,
    "arith.mulf": llvm.FMulOp,
    "arith.divf": llvm.FDivOp,
    "arith.remf": llvm.FRemOp,
    "arith.maximumf": INTRINSICS["maximum"],
    "arith.minimumf": INTRINSICS["minimum"],
    "arith.maxnumf": llvm.VectorFMaxOp,
    "arith.minnumf": llvm.VectorFMinOp,
}


@converts(*_FLOAT_BINARY)
def float_binary(b: FunctionBuilder, op: Operation) -> None:
    cls, properties = _FLOAT_BINARY[op.name], fastmath(op)
    elementwise(b, op, through_float32(b, lambda x, y: b.emit(cls, (x, y), x.type, properties)))


@converts("arith.negf")
def negf(b: FunctionBuilder, op: Operation) -> None:
    properties = fastmath(op)
    elementwise(b, op, lambda x: b.emit(llvm.FNegOp, (x,), x.type, properties))
