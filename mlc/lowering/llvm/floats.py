"""Float widths: exact conversions, and 16-bit arithmetic by way of f32.

LLVM would call compiler-rt for f64 -> f16 (not there in a JIT), and convert to bf16 with an instruction that flushes
denormals where the target has one; so rounding to 16 bits is spelled out here, in integers where needed.

    arith.addf %a, %b : bf16   -->   fadd in f32 of the widened operands, rounded once to bf16
"""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects import llvm
from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    IntegerAttr,
    VectorType,
    i1,
    i16,
    i32,
)
from xdsl.ir import Attribute, SSAValue

from mlc.dialects.llvm import ops as llvm_ops
from mlc.lowering.llvm.builder import FunctionBuilder

_NO_OVERFLOW = {"overflowFlags": IntegerAttr(0, 32)}
_FAST = {"fastmathFlags": llvm.FastMathAttr(None)}
_UNO, _OGT, _ONE = 14, 2, 6


def is_float(ty: Attribute) -> bool:
    """Whether `ty` is one of the float types handled here."""
    return isinstance(ty, BFloat16Type | Float16Type | Float32Type | Float64Type)


def _like(ty: Attribute, element: Attribute) -> Attribute:
    return VectorType(element, ty.get_shape()) if isinstance(ty, VectorType) else element


def _element(ty: Attribute) -> Attribute:
    return ty.element_type if isinstance(ty, VectorType) else ty


def through_float32(b: FunctionBuilder, fn: Callable[..., SSAValue]) -> Callable[..., SSAValue]:
    """`fn`, computed in f32 when its arguments are 16-bit floats."""

    def wrapped(*args: SSAValue) -> SSAValue:
        element = _element(args[0].type)
        if not isinstance(element, BFloat16Type | Float16Type):
            return fn(*args)
        wide = [convert_float(b, x, Float32Type()) for x in args]
        return convert_float(b, fn(*wide), element)

    return wrapped


def convert_float(b: FunctionBuilder, x: SSAValue, target: Attribute) -> SSAValue:
    """`x` in another float type, rounded once to nearest even."""
    source = _element(x.type)
    if source == target:
        return x
    ty = _like(x.type, target)
    match source, target:
        case (BFloat16Type(), Float16Type()) | (Float16Type(), BFloat16Type()):
            return convert_float(b, convert_float(b, x, Float32Type()), target)
        case (Float64Type(), BFloat16Type() | Float16Type()):
            return convert_float(b, _round_to_odd(b, x), target)
        case (Float32Type(), BFloat16Type()):
            return _float32_to_bfloat16(b, x)
        case (BFloat16Type(), Float32Type()):
            return _bfloat16_to_float32(b, x)
        case (BFloat16Type(), Float64Type()):
            return b.emit(llvm.FPExtOp, (_bfloat16_to_float32(b, x),), ty)
        case (Float64Type(), Float32Type()) | (Float32Type(), Float16Type()):
            return b.emit(llvm.FPTruncOp, (x,), ty)
        case _:
            return b.emit(llvm.FPExtOp, (x,), ty)


def _bfloat16_to_float32(b: FunctionBuilder, x: SSAValue) -> SSAValue:
    """The bits followed by zeros. As an `fpext`, LLVM would narrow the arithmetic around it to bf16, and flush."""
    ints = _like(x.type, i32)
    bits = b.emit(llvm.ZExtOp, (b.emit(llvm.BitcastOp, (x,), _like(x.type, i16)),), ints)
    high = b.emit(llvm.ShlOp, (bits, b.splat(16, ints)), ints, _NO_OVERFLOW)
    return b.emit(llvm.BitcastOp, (high,), _like(x.type, Float32Type()))


def _float32_to_bfloat16(b: FunctionBuilder, x: SSAValue) -> SSAValue:
    """Upper half of the bits, rounded to nearest even; a NaN stays a quiet NaN."""
    ints = _like(x.type, i32)
    bits = b.emit(llvm.BitcastOp, (x,), ints)
    odd = b.emit(llvm.AndOp, (b.emit(llvm.LShrOp, (bits, b.splat(16, ints)), ints), b.splat(1, ints)), ints)
    rounded = b.emit(llvm.AddOp, (bits, b.splat(0x7FFF, ints)), ints, _NO_OVERFLOW)
    rounded = b.emit(llvm.AddOp, (rounded, odd), ints, _NO_OVERFLOW)
    quiet = b.emit(llvm.OrOp, (bits, b.splat(0x400000, ints)), ints)
    nan = b.emit(llvm_ops.FCmpOp, (x, x), _like(x.type, i1), {"predicate": IntegerAttr(_UNO, 64), **_FAST})
    chosen = b.emit(llvm_ops.SelectOp, (nan, quiet, rounded), ints, _FAST)
    half = b.emit(llvm.TruncOp, (b.emit(llvm.LShrOp, (chosen, b.splat(16, ints)), ints),), _like(x.type, i16))
    return b.emit(llvm.BitcastOp, (half,), _like(x.type, BFloat16Type()))


def _round_to_odd(b: FunctionBuilder, x: SSAValue) -> SSAValue:
    """f64 -> f32 towards zero with the last bit set when inexact: a second rounding then equals a single one."""
    f32, ints, bools = _like(x.type, Float32Type()), _like(x.type, i32), _like(x.type, i1)
    near = b.emit(llvm.FPTruncOp, (x,), f32)
    back = b.emit(llvm.FPExtOp, (near,), x.type)
    bits = b.emit(llvm.BitcastOp, (near,), ints)
    one_predicate = {"predicate": IntegerAttr(_ONE, 64), **_FAST}
    inexact = b.emit(llvm_ops.FCmpOp, (back, x), bools, one_predicate)
    greater = {"predicate": IntegerAttr(_OGT, 64), **_FAST}
    away = b.emit(
        llvm_ops.FCmpOp,
        (b.emit(llvm.FAbsOp, (back,), x.type, _FAST), b.emit(llvm.FAbsOp, (x,), x.type, _FAST)),
        bools,
        greater,
    )
    step = b.emit(llvm.ZExtOp, (away,), ints)
    truncated = b.emit(llvm.SubOp, (bits, step), ints, _NO_OVERFLOW)
    odd = b.emit(llvm.OrOp, (truncated, b.emit(llvm.ZExtOp, (inexact,), ints)), ints)
    return b.emit(llvm.BitcastOp, (odd,), f32)
