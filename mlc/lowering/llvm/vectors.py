"""What the vector converters share: splats, shuffles, lane masks, and numbering the rows of a vector."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from xdsl.dialects import llvm
from xdsl.dialects.builtin import IntegerAttr, VectorType, i32, i64
from xdsl.ir import Attribute, SSAValue

from mlc.dialects.llvm import ops as llvm_ops
from mlc.dialects.llvm.intrinsics import INTRINSICS
from mlc.lowering.llvm.attributes import i32_array
from mlc.lowering.llvm.builder import FunctionBuilder
from mlc.lowering.llvm.linear import Linear


def vector_of(ty: Attribute) -> VectorType:
    """`ty`, known to be a vector."""
    assert isinstance(ty, VectorType)
    return ty


def splat_value(b: FunctionBuilder, scalar: SSAValue, ty: VectorType) -> SSAValue:
    owner = scalar.owner
    if isinstance(owner, llvm.ConstantOp):
        value = owner.value
        data = getattr(getattr(value, "value", None), "data", None)
        if isinstance(data, int | float) and data == data:
            return b.splat(data, ty)
    poison = b.emit(llvm_ops.PoisonOp, (), ty)
    first = b.emit(llvm.InsertElementOp, (poison, scalar, b.int_const(0)), ty)
    lanes = ty.get_shape()[0]
    if lanes == 1:
        return first
    return shuffled(b, first, poison, [0] * lanes)


def shuffled(b: FunctionBuilder, left: SSAValue, right: SSAValue, mask: Sequence[int]) -> SSAValue:
    source = vector_of(left.type)
    if right.type == left.type and list(mask) == list(range(source.get_shape()[0])):
        return left
    properties = {"mask": i32_array(*mask)}
    return b.emit(llvm.ShuffleVectorOp, (left, right), _widened(source, len(mask)), properties)


@lru_cache(maxsize=4096)
def _widened(ty: VectorType, lanes: int) -> VectorType:
    return VectorType(ty.element_type, [lanes])


def indices_of(shape: Sequence[int]) -> list[tuple[int, ...]]:
    out: list[tuple[int, ...]] = [()]
    for size in shape:
        out = [(*index, i) for index in out for i in range(size)]
    return out


def flat_index(index: Sequence[int], shape: Sequence[int]) -> int:
    flat = 0
    for i, size in zip(index, shape, strict=True):
        flat = flat * size + i
    return flat


def iota(b: FunctionBuilder, lanes: int) -> SSAValue:
    """0, 1, 2, … as i64."""
    ty = VectorType(i64, [lanes])
    return b.dense(list(range(lanes)), ty)


def lane_mask(b: FunctionBuilder, limit: Linear, part: VectorType) -> SSAValue:
    """Lanes below `limit`; compared in 32 bits, where lanes are cheap, after clamping to the lane count."""
    lanes = part.get_shape()[0]
    if not limit.terms:
        flags = [int(i < limit.const) for i in range(lanes)]
        return b.dense(flags, part)
    value = b.pure(INTRINSICS["smax"], (b.materialize(limit), b.int_const(0)), i64)
    value = b.pure(INTRINSICS["smin"], (value, b.int_const(lanes)), i64)
    narrow = b.pure(llvm.TruncOp, (value,), i32)
    wide = VectorType(i32, [lanes])
    lane_numbers = b.dense(list(range(lanes)), wide)
    return b.emit(llvm.ICmpOp, (lane_numbers, splat_value(b, narrow, wide)), part, {"predicate": IntegerAttr(2, 64)})
