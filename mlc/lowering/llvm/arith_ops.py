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
    Float32Type,
    Float64Type,
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
from mlc.lowering.llvm.builder import FunctionBuilder
from mlc.lowering.llvm.floats import convert_float, is_float, through_float32
from mlc.lowering.llvm.linear import Linear
from mlc.lowering.llvm.registry import converts
from mlc.lowering.llvm.types import element_bits, scalar_type, vector_parts

NO_OVERFLOW = {"overflowFlags": IntegerAttr(0, 32)}
_F32, _F64 = Float32Type(), Float64Type()


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
        return {"fastmathFlags": _NO_FASTMATH}
    data = getattr(flags, "data", ())
    return {"fastmathFlags": llvm.FastMathAttr(tuple(data)) if data else _NO_FASTMATH}


_NO_FASTMATH = llvm.FastMathAttr(None)


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
        first = next(iter(value.iter_values()))
        return [b.splat(first, part)] * count
    values = list(value.get_values())
    rows = [values[i * width : (i + 1) * width] for i in range(count)]
    return [b.constant(DenseIntOrFPElementsAttr.from_list(part, row), part) for row in rows]  # pyright: ignore[reportArgumentType, reportCallIssue]


@converts("ub.poison")
def poison(b: FunctionBuilder, op: Operation) -> None:
    ty = op.results[0].type
    count = vector_parts(ty)[0] if isinstance(ty, VectorType) else 1
    set_parts(b, op.results[0], [b.emit(llvm_ops.PoisonOp, (), part_type(ty)) for _ in range(count)])


# Index arithmetic kept linear, integer arithmetic


def _overflow(op: Operation) -> dict[str, Attribute]:
    flags = op.properties.get("overflowFlags")
    names = {str(f) for f in getattr(flags, "data", ())}
    return {"overflowFlags": IntegerAttr(("nsw" in names) + 2 * ("nuw" in names), 32)}


def _binary(cls: type[Operation], props: Callable[[Operation], dict[str, Attribute]]) -> Callable[[FunctionBuilder, Operation], None]:
    def convert(b: FunctionBuilder, op: Operation) -> None:
        properties = props(op)
        elementwise(b, op, lambda x, y: b.emit(cls, (x, y), x.type, properties))
        _propagate_nonneg(b, op)

    return convert


def _propagate_nonneg(b: FunctionBuilder, op: Operation) -> None:
    result = b.lowered(op.results[0])
    if op.name in _KEEPS_NONNEG and isinstance(op.results[0].type, IndexType) and isinstance(result, SSAValue):
        linear = [b.linear(v) for v in op.operands]
        if all(b.is_nonneg(form) for form in linear):
            b.nonneg.add(result)


_KEEPS_NONNEG = {
    f"{dialect}.{name}"
    for dialect, names in {
        "arith": ("minsi", "minui", "maxsi", "maxui", "divsi", "divui", "remsi", "remui", "shrsi", "shrui", "andi", "ori"),
        "index": ("mins", "minu", "maxs", "maxu", "divs", "divu", "rems", "remu", "shrs", "shru", "and", "or"),
    }.items()
    for name in names
}


def _none(_: Operation) -> dict[str, Attribute]:
    return {}


def _exact(op: Operation) -> dict[str, Attribute]:
    return {"isExact": UnitAttr()} if "isExact" in op.properties else {}


_PLAIN: dict[str, tuple[type[Operation], Callable[[Operation], dict[str, Attribute]]]] = {
    "divsi divs": (llvm.SDivOp, _exact),
    "divui divu": (llvm.UDivOp, _exact),
    "remsi rems": (llvm.SRemOp, _none),
    "remui remu": (llvm.URemOp, _none),
    "andi and": (llvm.AndOp, _none),
    "ori or": (llvm.OrOp, _none),
    "xori xor": (llvm.XOrOp, _none),
    "shli shl": (llvm.ShlOp, _overflow),
    "shrsi shrs": (llvm.AShrOp, _exact),
    "shrui shru": (llvm.LShrOp, _exact),
    "minsi mins": (INTRINSICS["smin"], _none),
    "maxsi maxs": (INTRINSICS["smax"], _none),
    "minui minu": (INTRINSICS["umin"], _none),
    "maxui maxu": (INTRINSICS["umax"], _none),
}

for _names, (_cls, _props) in _PLAIN.items():
    _arith, _index = _names.split()
    converts(f"arith.{_arith}", f"index.{_index}")(_binary(_cls, _props))


@converts("arith.addi", "index.add")
def addi(b: FunctionBuilder, op: Operation) -> None:
    if isinstance(op.results[0].type, IndexType):
        b.values[op.results[0]] = b.linear(op.operands[0]).plus(b.linear(op.operands[1]))
    else:
        _binary(llvm.AddOp, _overflow)(b, op)


@converts("arith.subi", "index.sub")
def subi(b: FunctionBuilder, op: Operation) -> None:
    if isinstance(op.results[0].type, IndexType):
        b.values[op.results[0]] = b.linear(op.operands[0]).plus(b.linear(op.operands[1]).times(-1))
    else:
        _binary(llvm.SubOp, _overflow)(b, op)


@converts("arith.muli", "index.mul")
def muli(b: FunctionBuilder, op: Operation) -> None:
    if isinstance(op.results[0].type, IndexType):
        b.values[op.results[0]] = b.product(b.linear(op.operands[0]), b.linear(op.operands[1]))
    else:
        _binary(llvm.MulOp, _overflow)(b, op)


@converts("index.constant")
def index_constant(b: FunctionBuilder, op: Operation) -> None:
    value = op.properties["value"]
    assert isinstance(value, IntegerAttr)
    b.values[op.results[0]] = Linear(value.value.data)


@converts("arith.floordivsi", "index.floordivs")
def floordivsi(b: FunctionBuilder, op: Operation) -> None:
    def one(x: SSAValue, y: SSAValue) -> SSAValue:
        quotient = b.emit(llvm.SDivOp, (x, y), x.type)
        return b.emit(llvm.SubOp, (quotient, _as_int(b, _inexact(b, x, y, negative=True), x.type)), x.type, NO_OVERFLOW)

    elementwise(b, op, one)
    _propagate_nonneg(b, op)


@converts("arith.ceildivsi", "index.ceildivs")
def ceildivsi(b: FunctionBuilder, op: Operation) -> None:
    def one(x: SSAValue, y: SSAValue) -> SSAValue:
        quotient = b.emit(llvm.SDivOp, (x, y), x.type)
        return b.emit(llvm.AddOp, (quotient, _as_int(b, _inexact(b, x, y, negative=False), x.type)), x.type, NO_OVERFLOW)

    elementwise(b, op, one)


@converts("arith.ceildivui", "index.ceildivu")
def ceildivui(b: FunctionBuilder, op: Operation) -> None:
    def one(x: SSAValue, y: SSAValue) -> SSAValue:
        quotient = b.emit(llvm.UDivOp, (x, y), x.type)
        remainder = b.emit(llvm.URemOp, (x, y), x.type)
        more = _icmp(b, "ne", remainder, b.zero(x.type))
        return b.emit(llvm.AddOp, (quotient, _as_int(b, more, x.type)), x.type, NO_OVERFLOW)

    elementwise(b, op, one)


def _inexact(b: FunctionBuilder, x: SSAValue, y: SSAValue, *, negative: bool) -> SSAValue:
    """Whether x / y leaves a remainder and the true quotient is negative (or not)."""
    zero = b.zero(x.type)
    remainder = b.emit(llvm.SRemOp, (x, y), x.type)
    rest = _icmp(b, "ne", remainder, zero)
    signs = _icmp(b, "slt" if negative else "sge", b.emit(llvm.XOrOp, (x, y), x.type), zero)
    return b.emit(llvm.AndOp, (rest, signs), rest.type)


def _as_int(b: FunctionBuilder, flag: SSAValue, ty: Attribute) -> SSAValue:
    return flag if flag.type == ty else b.emit(llvm.ZExtOp, (flag,), ty)


def _icmp(b: FunctionBuilder, predicate: str, x: SSAValue, y: SSAValue) -> SSAValue:
    number = llvm.ALL_ICMP_FLAGS.index(llvm.ICmpPredicateFlag(predicate))
    return b.emit(llvm.ICmpOp, (x, y), with_element(x.type, i1), {"predicate": IntegerAttr(number, 64)})


@converts("arith.addui_extended", "arith.mulsi_extended", "arith.mului_extended")
def extended(b: FunctionBuilder, op: Operation) -> None:
    if op.name == "arith.addui_extended":
        def add(x: SSAValue, y: SSAValue) -> SSAValue:
            return b.emit(llvm.AddOp, (x, y), x.type, NO_OVERFLOW)

        elementwise(b, op, add)
        sums, first = b.parts(op.results[0]), b.parts(op.operands[0])
        set_parts(b, op.results[1], [_icmp(b, "ult", s, x) for s, x in zip(sums, first, strict=True)])
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


@converts("arith.cmpi", "index.cmp")
def cmpi(b: FunctionBuilder, op: Operation) -> None:
    if op.name == "index.cmp":
        name = str(getattr(op.properties["pred"], "data", ""))
        predicate = IntegerAttr(llvm.ALL_ICMP_FLAGS.index(llvm.ICmpPredicateFlag(name)), 64)
    else:
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
    properties = fastmath(op) if is_float(element_of(op.results[0].type)) else {"fastmathFlags": _NO_FASTMATH}
    elementwise(b, op, lambda c, x, y: b.emit(llvm_ops.SelectOp, (c, x, y), x.type, properties))
    result = b.lowered(op.results[0])
    if isinstance(op.results[0].type, IndexType) and isinstance(result, SSAValue):
        if all(b.is_nonneg(b.linear(v)) for v in op.operands[1:]):
            b.nonneg.add(result)


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


# Conversions


@converts("arith.extsi", "arith.extui", "arith.trunci")
def resize_int(b: FunctionBuilder, op: Operation) -> None:
    cls = {"arith.extsi": llvm.SExtOp, "arith.extui": llvm.ZExtOp, "arith.trunci": llvm.TruncOp}[op.name]
    ty = part_type(op.results[0].type)
    elementwise(b, op, lambda x: b.emit(cls, (x,), ty))


@converts("arith.index_cast", "arith.index_castui", "index.casts", "index.castu")
def index_cast(b: FunctionBuilder, op: Operation) -> None:
    ty = part_type(op.results[0].type)
    bits = element_bits(element_of(ty))
    unsigned = op.name in ("arith.index_castui", "index.castu")

    def one(x: SSAValue) -> SSAValue:
        have = element_bits(element_of(x.type))
        if have == bits:
            return x
        if have > bits:
            return b.emit(llvm.TruncOp, (x,), ty)
        wide = b.emit(llvm.ZExtOp if unsigned else llvm.SExtOp, (x,), ty)
        if unsigned:
            b.nonneg.add(wide)
        return wide

    elementwise(b, op, one)


@converts("arith.sitofp", "arith.uitofp")
def int_to_float(b: FunctionBuilder, op: Operation) -> None:
    cls = llvm.SIToFPOp if op.name == "arith.sitofp" else llvm_ops.UIToFPOp
    ty = part_type(op.results[0].type)
    target = element_of(ty)

    def one(x: SSAValue) -> SSAValue:
        if element_bits(target) > 16:
            return b.emit(cls, (x,), ty)
        # Through a float that holds the integer without harm: f64 has 53 bits and 16-bit floats need 11.
        wide = b.emit(cls, (_odd_int(b, x, signed=cls is llvm.SIToFPOp),), with_element(ty, _F64))
        return convert_float(b, wide, target)

    elementwise(b, op, one)


def _odd_int(b: FunctionBuilder, x: SSAValue, *, signed: bool) -> SSAValue:
    """`x` with at most 53 significant bits that rounds to 16-bit floats as `x` does (lost bits are kept sticky)."""
    bits = element_bits(element_of(x.type))
    if bits <= 53:
        return x
    low = (1 << 11) - 1
    rest = b.emit(llvm.AndOp, (x, b.splat(low, x.type)), x.type)
    sticky = b.emit(llvm.ZExtOp, (_icmp(b, "ne", rest, b.zero(x.type)),), x.type)
    shifted = b.emit(llvm.ShlOp, (sticky, b.splat(11, x.type)), x.type, NO_OVERFLOW)
    cleared = b.emit(llvm.AndOp, (x, b.splat(~low, x.type)), x.type)
    large = b.emit(llvm.OrOp, (cleared, shifted), x.type)
    limit = 1 << 52
    if signed:
        biased = b.emit(llvm.AddOp, (x, b.splat(limit, x.type)), x.type, NO_OVERFLOW)
        small = _icmp(b, "ult", biased, b.splat(2 * limit, x.type))
    else:
        small = _icmp(b, "ult", x, b.splat(limit, x.type))
    return b.emit(llvm_ops.SelectOp, (small, x, large), x.type, {"fastmathFlags": _NO_FASTMATH})


@converts("arith.fptosi", "arith.fptoui")
def float_to_int(b: FunctionBuilder, op: Operation) -> None:
    """Defined everywhere, as PyTorch's CPU kernels behave on x86: out of range and NaN give the "indefinite" integer
    (the sign bit alone) of the conversion width: 32 bits for signed results up to 32 bits, 64 otherwise; narrower results are its low
    bits. An unsigned result keeps the 64-bit two's complement of a negative value; up to 2^64 for 64 bits.
    """
    target = element_of(op.results[0].type)
    bits = element_bits(target)
    signed = op.name == "arith.fptosi"

    def one(x: SSAValue) -> SSAValue:
        if element_bits(element_of(x.type)) == 16:
            x = convert_float(b, x, _F32)
        if not signed and bits == 64:
            return _to_uint64(b, x)
        width = 32 if signed and bits <= 32 else max(64, bits)
        value = _indefinite(b, x, width)
        return value if bits == width else b.emit(llvm.TruncOp, (value,), with_element(x.type, IntegerType(bits)))

    elementwise(b, op, one)


def _fcmp(b: FunctionBuilder, predicate: int, x: SSAValue, y: SSAValue) -> SSAValue:
    properties = {"predicate": IntegerAttr(predicate, 64), "fastmathFlags": _NO_FASTMATH}
    return b.emit(llvm_ops.FCmpOp, (x, y), with_element(x.type, i1), properties)


_OGE, _OLT = 3, 4


def _indefinite(b: FunctionBuilder, x: SSAValue, width: int) -> SSAValue:
    ty = with_element(x.type, IntegerType(width))
    limit = float(1 << (width - 1))
    above = _fcmp(b, _OGE, x, b.splat(-limit, x.type))
    below = _fcmp(b, _OLT, x, b.splat(limit, x.type))
    fits = b.emit(llvm.AndOp, (above, below), above.type)
    value = b.emit(llvm_ops.FPToSIOp, (x,), ty)
    properties = {"fastmathFlags": _NO_FASTMATH}
    return b.emit(llvm_ops.SelectOp, (fits, value, b.splat(-(1 << (width - 1)), ty)), ty, properties)


def _to_uint64(b: FunctionBuilder, x: SSAValue) -> SSAValue:
    """Values from 2^63 on are converted less 2^63 and get the top bit back."""
    half = b.splat(float(1 << 63), x.type)
    low = _indefinite(b, x, 64)
    shifted = b.emit(llvm.FSubOp, (x, half), x.type, {"fastmathFlags": _NO_FASTMATH})
    high = b.emit(llvm.XOrOp, (_indefinite(b, shifted, 64), b.splat(-(1 << 63), low.type)), low.type)
    large = _fcmp(b, _OGE, x, half)
    return b.emit(llvm_ops.SelectOp, (large, high, low), low.type, {"fastmathFlags": _NO_FASTMATH})


@converts("arith.extf", "arith.truncf")
def resize_float(b: FunctionBuilder, op: Operation) -> None:
    target = element_of(op.results[0].type)
    elementwise(b, op, lambda x: convert_float(b, x, target))


@converts("arith.bitcast")
def bitcast(b: FunctionBuilder, op: Operation) -> None:
    ty = part_type(op.results[0].type)
    elementwise(b, op, lambda x: x if x.type == ty else b.emit(llvm.BitcastOp, (x,), ty))
