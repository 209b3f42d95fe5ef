"""arith conversions -> llvm casts, made to mean what PyTorch's CPU kernels do where LLVM leaves them undefined.

arith.fptosi %x : f32 to i32   -->   (-2^31 <= x < 2^31) ? fptosi(x) : -2^31
arith.truncf %x : f64 to bf16  -->   one rounding, spelled out (see `floats`)
"""

from __future__ import annotations

from xdsl.dialects import llvm
from xdsl.dialects.builtin import Float32Type, Float64Type, IntegerAttr, IntegerType, i1
from xdsl.ir import Operation, SSAValue

from mlc.dialects.llvm import ops as llvm_ops
from mlc.lowering.llvm.arith_ops import (
    NO_FASTMATH,
    NO_OVERFLOW,
    element_of,
    elementwise,
    icmp,
    part_type,
    with_element,
)
from mlc.lowering.llvm.builder import FunctionBuilder
from mlc.lowering.llvm.floats import convert_float
from mlc.lowering.llvm.registry import converts
from mlc.lowering.llvm.types import element_bits

_F32, _F64 = Float32Type(), Float64Type()


@converts("arith.extsi", "arith.extui", "arith.trunci")
def resize_int(b: FunctionBuilder, op: Operation) -> None:
    cls = {"arith.extsi": llvm.SExtOp, "arith.extui": llvm.ZExtOp, "arith.trunci": llvm.TruncOp}[op.name]
    ty = part_type(op.results[0].type)
    elementwise(b, op, lambda x: b.emit(cls, (x,), ty))


@converts("arith.index_cast", "arith.index_castui")
def index_cast(b: FunctionBuilder, op: Operation) -> None:
    ty = part_type(op.results[0].type)
    bits = element_bits(element_of(ty))
    unsigned = op.name == "arith.index_castui"

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
    sticky = b.emit(llvm.ZExtOp, (icmp(b, "ne", rest, b.zero(x.type)),), x.type)
    shifted = b.emit(llvm.ShlOp, (sticky, b.splat(11, x.type)), x.type, NO_OVERFLOW)
    cleared = b.emit(llvm.AndOp, (x, b.splat(~low, x.type)), x.type)
    large = b.emit(llvm.OrOp, (cleared, shifted), x.type)
    limit = 1 << 52
    if signed:
        biased = b.emit(llvm.AddOp, (x, b.splat(limit, x.type)), x.type, NO_OVERFLOW)
        small = icmp(b, "ult", biased, b.splat(2 * limit, x.type))
    else:
        small = icmp(b, "ult", x, b.splat(limit, x.type))
    return b.emit(llvm_ops.SelectOp, (small, x, large), x.type, {"fastmathFlags": NO_FASTMATH})


@converts("arith.fptosi", "arith.fptoui")
def float_to_int(b: FunctionBuilder, op: Operation) -> None:
    """Defined everywhere, as PyTorch's CPU kernels behave on x86: out of range and NaN give the "indefinite" integer
    (the sign bit alone) of the conversion width: 32 bits for signed results up to 32 bits, 64 otherwise; narrower
    results are its low bits. An unsigned result keeps the low bits of the 64-bit two's complement of a negative value.
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
    properties = {"predicate": IntegerAttr(predicate, 64), "fastmathFlags": NO_FASTMATH}
    return b.emit(llvm_ops.FCmpOp, (x, y), with_element(x.type, i1), properties)


_OGE, _OLT = 3, 4


def _indefinite(b: FunctionBuilder, x: SSAValue, width: int) -> SSAValue:
    ty = with_element(x.type, IntegerType(width))
    limit = float(1 << (width - 1))
    above = _fcmp(b, _OGE, x, b.splat(-limit, x.type))
    below = _fcmp(b, _OLT, x, b.splat(limit, x.type))
    fits = b.emit(llvm.AndOp, (above, below), above.type)
    value = b.emit(llvm_ops.FPToSIOp, (x,), ty)
    properties = {"fastmathFlags": NO_FASTMATH}
    return b.emit(llvm_ops.SelectOp, (fits, value, b.splat(-(1 << (width - 1)), ty)), ty, properties)


def _to_uint64(b: FunctionBuilder, x: SSAValue) -> SSAValue:
    """Values from 2^63 on are converted less 2^63 and get the top bit back."""
    half = b.splat(float(1 << 63), x.type)
    low = _indefinite(b, x, 64)
    shifted = b.emit(llvm.FSubOp, (x, half), x.type, {"fastmathFlags": NO_FASTMATH})
    high = b.emit(llvm.XOrOp, (_indefinite(b, shifted, 64), b.splat(-(1 << 63), low.type)), low.type)
    large = _fcmp(b, _OGE, x, half)
    return b.emit(llvm_ops.SelectOp, (large, high, low), low.type, {"fastmathFlags": NO_FASTMATH})


@converts("arith.extf", "arith.truncf")
def resize_float(b: FunctionBuilder, op: Operation) -> None:
    target = element_of(op.results[0].type)
    elementwise(b, op, lambda x: convert_float(b, x, target))


@converts("arith.bitcast")
def bitcast(b: FunctionBuilder, op: Operation) -> None:
    ty = part_type(op.results[0].type)
    elementwise(b, op, lambda x: x if x.type == ty else b.emit(llvm.BitcastOp, (x,), ty))
