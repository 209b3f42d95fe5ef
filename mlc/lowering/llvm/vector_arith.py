"""vector arithmetic of its own: fma, reductions, masks, bit casts; instructions of x86.

    vector.reduction <add>, %v   -->   llvm.intr.vector.reduce.fadd(-0.0, %v)

A float add or mul reduction goes from lane 0 upwards unless its fast-math flags allow reassociation, as in MLIR.
"""

from __future__ import annotations

from xdsl.dialects import llvm
from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type, IntegerAttr, VectorType, i1, i32
from xdsl.ir import Operation, SSAValue

from mlc.dialects.llvm.intrinsics import DOT_BF16, DOT_UI8, INTRINSICS, PERMVAR, PERMVAR_TWO
from mlc.lowering.llvm.arith_ops import NO_OVERFLOW, elementwise, fastmath, part_type, set_parts
from mlc.lowering.llvm.attributes import enum_name, int_array
from mlc.lowering.llvm.builder import FunctionBuilder
from mlc.lowering.llvm.floats import convert_float, is_float, through_float32
from mlc.lowering.llvm.intrinsic_calls import call_intrinsic
from mlc.lowering.llvm.linear import Linear
from mlc.lowering.llvm.registry import converts
from mlc.lowering.llvm.types import vector_parts
from mlc.lowering.llvm.vectors import indices_of, iota, lane_mask, shuffled, splat_value, vector_of

_FAST = {"fastmathFlags": llvm.FastMathAttr(None)}


@converts("vector.bitcast")
def bitcast(b: FunctionBuilder, op: Operation) -> None:
    part = part_type(op.results[0].type)
    elementwise(b, op, lambda x: x if x.type == part else b.emit(llvm.BitcastOp, (x,), part))


@converts("vector.interleave")
def interleave(b: FunctionBuilder, op: Operation) -> None:
    def one(x: SSAValue, y: SSAValue) -> SSAValue:
        n = vector_of(x.type).get_shape()[0]
        return shuffled(b, x, y, [k // 2 + n * (k % 2) for k in range(2 * n)])

    elementwise(b, op, one)


@converts("vector.step")
def step(b: FunctionBuilder, op: Operation) -> None:
    b.values[op.results[0]] = iota(b, vector_of(op.results[0].type).get_shape()[0])


@converts("vector.fma")
def fma(b: FunctionBuilder, op: Operation) -> None:
    elementwise(b, op, through_float32(b, lambda x, y, z: b.emit(llvm.FMAOp, (x, y, z), x.type, _FAST)))


@converts("x86vector.avx512.dot", "x86vector.avx512.dot.ui8")
def dot(b: FunctionBuilder, op: Operation) -> None:
    args = [b.value(v) for v in op.operands]
    ty = vector_of(args[0].type)
    name = DOT_BF16 if op.name == "x86vector.avx512.dot" else DOT_UI8
    set_parts(b, op.results[0], [call_intrinsic(b, name.format(bits=32 * ty.get_shape()[0]), args, ty)])


@converts("linalg_ext.bf16_parts")
def bf16_parts(b: FunctionBuilder, op: Operation) -> None:
    left = [b.value(v) for v in op.operands]
    wide = vector_of(left[0].type)
    ints = VectorType(i32, wide.get_shape())
    for result in op.results:
        bits = [b.emit(llvm.BitcastOp, (x,), ints) for x in left]
        if result is not op.results[-1]:  # the last part has no more bits than it can hold
            bits = [b.emit(llvm.AddOp, (x, b.splat(0x8000, ints)), ints, NO_OVERFLOW) for x in bits]
        leading = [b.emit(llvm.AndOp, (x, b.splat(0xFFFF0000 - (1 << 32), ints)), ints) for x in bits]
        low = b.emit(llvm.LShrOp, (leading[0], b.splat(16, ints)), ints)
        set_parts(b, result, [b.emit(llvm.BitcastOp, (b.emit(llvm.OrOp, (low, leading[1]), ints),), result.type)])
        if result is not op.results[-1]:
            parts = [b.emit(llvm.BitcastOp, (x,), wide) for x in leading]
            left = [b.emit(llvm.FSubOp, pair, wide, _FAST) for pair in zip(left, parts, strict=True)]


@converts("x86vector.avx512.permvar")
def permvar(b: FunctionBuilder, op: Operation) -> None:
    table, index = (b.value(v) for v in op.operands)
    lanes = vector_of(index.type).get_shape()[0]
    if lanes == 16:
        set_parts(b, op.results[0], [call_intrinsic(b, PERMVAR, (table, index), table.type)])
        return
    low, high = (shuffled(b, table, table, list(range(first, first + 8))) for first in (0, 8))
    if lanes == 4:
        index = shuffled(b, index, index, [0, 1, 2, 3] * 2)
    result = call_intrinsic(b, PERMVAR_TWO.format(bits=256), (low, index, high), low.type)
    set_parts(b, op.results[0], [result if lanes == 8 else shuffled(b, result, result, [0, 1, 2, 3])])


_REDUCE_INT = {
    "add": ("add", llvm.AddOp), "mul": ("mul", llvm.MulOp), "and": ("and", llvm.AndOp), "or": ("or", llvm.OrOp),
    "xor": ("xor", llvm.XOrOp), "minui": ("umin", INTRINSICS["umin"]), "minsi": ("smin", INTRINSICS["smin"]),
    "maxui": ("umax", INTRINSICS["umax"]), "maxsi": ("smax", INTRINSICS["smax"]),
}  # fmt: skip
_REDUCE_FLOAT = {
    "minnumf": ("fmin", llvm.VectorFMinOp), "maxnumf": ("fmax", llvm.VectorFMaxOp),
    "minimumf": ("fminimum", INTRINSICS["minimum"]), "maximumf": ("fmaximum", INTRINSICS["maximum"]),
}  # fmt: skip


@converts("vector.reduction")
def reduction(b: FunctionBuilder, op: Operation) -> None:
    kind = enum_name(op, "kind")
    vector = b.value(op.operands[0])
    acc = b.value(op.operands[1]) if len(op.operands) > 1 else None
    element = vector_of(vector.type).element_type
    flags = fastmath(op)
    if not is_float(element):
        name, cls = _REDUCE_INT[kind]
        result = b.emit(INTRINSICS[f"vector.reduce.{name}"], (vector,), element)
        if acc is not None:
            properties = NO_OVERFLOW if kind in ("add", "mul") else {}
            result = b.emit(cls, (acc, result), element, properties)
        b.values[op.results[0]] = result
        return
    narrow = element
    if isinstance(narrow, BFloat16Type | Float16Type):
        wide = Float32Type()
        vector = convert_float(b, vector, wide)
        acc = None if acc is None else convert_float(b, acc, wide)
        element = wide
    if kind in ("add", "mul"):
        cls = llvm.VectorReduceFAddOp if kind == "add" else llvm.VectorReduceFMulOp
        # -0 and 1 are the neutral starts.
        start = acc if acc is not None else b.splat(-0.0 if kind == "add" else 1.0, element)
        result = b.emit(cls, (start, vector), element, flags)
    else:
        name, combine = _REDUCE_FLOAT[kind]
        result = b.emit(INTRINSICS[f"vector.reduce.{name}"], (vector,), element, flags)
        if acc is not None:
            result = b.emit(combine, (acc, result), element, flags)
    b.values[op.results[0]] = convert_float(b, result, narrow)


@converts("vector.create_mask", "vector.constant_mask")
def create_mask(b: FunctionBuilder, op: Operation) -> None:
    ty = vector_of(op.results[0].type)
    if op.name == "vector.create_mask":
        limits = [b.linear(v) for v in op.operands]
    else:
        limits = [Linear(v) for v in int_array(op, "mask_dim_sizes")]
    count, part = vector_parts(ty)
    row = lane_mask(b, limits[-1] if limits else Linear(1), part)
    lead = ty.get_shape()[:-1]
    rows: list[SSAValue] = []
    for index in indices_of(lead):
        keep = row
        for i, limit in zip(index, limits, strict=False):
            inside = b.emit(llvm.ICmpOp, (b.int_const(i), b.materialize(limit)), i1, {"predicate": IntegerAttr(2, 64)})
            keep = b.emit(llvm.AndOp, (keep, splat_value(b, inside, part)), part)
        rows.append(keep)
    assert len(rows) == count
    set_parts(b, op.results[0], rows)
