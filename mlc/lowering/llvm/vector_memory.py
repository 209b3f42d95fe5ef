"""vector loads, stores, gathers and transfers -> LLVM loads and stores, masked where lanes may lie outside.

%v = vector.load %m[%i, %j] : memref<?x64xf32>, vector<16xf32>   -->   gep, llvm.load {alignment = 4}
"""

from __future__ import annotations

from typing import cast

from xdsl.dialects import llvm
from xdsl.dialects.builtin import (
    IntegerAttr,
    IntegerType,
    MemRefType,
    UnitAttr,
    VectorType,
    i32,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue

from mlc.dialects.llvm.intrinsics import MaskedGatherOp, MaskedLoadOp, MaskedScatterOp, MaskedStoreOp
from mlc.errors import UnsupportedError
from mlc.lowering.llvm.arith_ops import NO_OVERFLOW, set_parts
from mlc.lowering.llvm.attributes import i32_array, int_array
from mlc.lowering.llvm.builder import FunctionBuilder, MemRefValue, memory_type
from mlc.lowering.llvm.linear import Linear
from mlc.lowering.llvm.memref_ops import from_memory, memory_access, to_memory
from mlc.lowering.llvm.registry import converts
from mlc.lowering.llvm.types import PTR, element_bytes, vector_parts
from mlc.lowering.llvm.vectors import lane_mask, splat_value, vector_of


def _row_offsets(ref: MemRefValue, ty: VectorType, b: FunctionBuilder) -> list[Linear]:
    """Element offsets of the vector's 1-D rows; the trailing dimensions of the memref are walked."""
    lead = ty.get_shape()[:-1]
    strides = ref.strides[len(ref.strides) - ty.get_num_dims() : -1] if lead else ()
    offsets = [Linear()]
    for size, stride in zip(lead, strides, strict=True):
        offsets = [o.plus(b.product(stride, Linear(i))) for o in offsets for i in range(size)]
    return offsets


def _require_unit_stride(ref: MemRefValue, op: Operation) -> None:
    if ref.strides and ref.strides[-1] != Linear(1):
        raise UnsupportedError(f"'{op.name}' of a memref whose last dimension is not contiguous")


@converts("vector.load")
def load(b: FunctionBuilder, op: Operation) -> None:
    ref, ty = b.memref(op.operands[0]), vector_of(op.results[0].type)
    _require_unit_stride(ref, op)
    base = b.element_index(ref, op.operands[1:])
    _, part = vector_parts(ty)
    memory = VectorType(memory_type(ref.element), part.get_shape())
    properties = memory_access(ref.element)
    rows = [
        from_memory(b, b.emit(llvm.LoadOp, (b.address(ref, base.plus(o)),), memory, properties), ref.element)
        for o in _row_offsets(ref, ty, b)
    ]
    set_parts(b, op.results[0], rows)


@converts("vector.store")
def store(b: FunctionBuilder, op: Operation) -> None:
    ref, ty = b.memref(op.operands[1]), vector_of(op.operands[0].type)
    _require_unit_stride(ref, op)
    base = b.element_index(ref, op.operands[2:])
    properties = memory_access(ref.element)
    nontemporal = op.properties.get("nontemporal")
    if isinstance(nontemporal, IntegerAttr) and nontemporal.value.data:
        properties = {**properties, "nontemporal": UnitAttr()}
    for row, offset in zip(b.parts(op.operands[0]), _row_offsets(ref, ty, b), strict=True):
        b.effect(llvm.StoreOp, (to_memory(b, row, ref.element), b.address(ref, base.plus(offset))), properties)


def _alignment(ref: MemRefValue) -> dict[str, Attribute]:
    return {"alignment": IntegerAttr(element_bytes(ref.element), i32)}


@converts("vector.maskedload")
def masked_load(b: FunctionBuilder, op: Operation) -> None:
    ref = b.memref(op.operands[0])
    _require_unit_stride(ref, op)
    *indices, mask, pass_thru = op.operands[1:]
    set_parts(
        b, op.results[0], [_masked_read(b, ref, b.element_index(ref, indices), b.value(mask), b.value(pass_thru))]
    )


def _masked_read(b: FunctionBuilder, ref: MemRefValue, at: Linear, mask: SSAValue, pass_thru: SSAValue) -> SSAValue:
    other = to_memory(b, pass_thru, ref.element)
    value = b.emit(MaskedLoadOp, (b.address(ref, at), mask, other), other.type, _alignment(ref))
    return from_memory(b, value, ref.element)


@converts("vector.maskedstore")
def masked_store(b: FunctionBuilder, op: Operation) -> None:
    ref = b.memref(op.operands[0])
    _require_unit_stride(ref, op)
    *indices, mask, value = op.operands[1:]
    pointer = b.address(ref, b.element_index(ref, indices))
    b.effect(MaskedStoreOp, (to_memory(b, b.value(value), ref.element), pointer, b.value(mask)), _alignment(ref))


@converts("vector.gather")
def gather(b: FunctionBuilder, op: Operation) -> None:
    ref = b.memref(op.operands[0])
    *indices, index_vector, mask, pass_thru = op.operands[1:]
    at = b.element_index(ref, indices)
    rows: list[SSAValue] = []
    for index, m, p in zip(b.parts(index_vector), b.parts(mask), b.parts(pass_thru), strict=True):
        other = to_memory(b, p, ref.element)
        pointers = _pointers(b, ref, at, index)
        rows.append(
            from_memory(b, b.emit(MaskedGatherOp, (pointers, m, other), other.type, _alignment(ref)), ref.element)
        )
    set_parts(b, op.results[0], rows)


@converts("vector.scatter")
def scatter(b: FunctionBuilder, op: Operation) -> None:
    ref = b.memref(op.operands[0])
    *indices, index_vector, mask, value = op.operands[1:]
    at = b.element_index(ref, indices)
    for index, m, v in zip(b.parts(index_vector), b.parts(mask), b.parts(value), strict=True):
        pointers = _pointers(b, ref, at, index)
        b.effect(MaskedScatterOp, (to_memory(b, v, ref.element), pointers, m), _alignment(ref))


def _pointers(b: FunctionBuilder, ref: MemRefValue, at: Linear, index: SSAValue) -> SSAValue:
    """Addresses of `ref[at + index[k] * innermost stride]`, one per lane."""
    base = b.address(ref, at)
    lanes = vector_of(index.type).get_shape()[0]
    stride = ref.strides[-1] if ref.strides else Linear(1)
    if stride != Linear(1):
        wide = VectorType(i64, [lanes])
        if index.type != wide:
            index = b.emit(llvm.SExtOp, (index,), wide)
        index = b.emit(llvm.MulOp, (index, splat_value(b, b.materialize(stride), wide)), wide, NO_OVERFLOW)
    properties = {
        "elem_type": memory_type(ref.element),
        "rawConstantIndices": i32_array(llvm.GEP_USE_SSA_VAL),
        "noWrapFlags": IntegerAttr(0, 32),
    }
    return b.emit(llvm.GEPOp, (base, index), VectorType(PTR, [lanes]), properties)


def _transfer(b: FunctionBuilder, op: Operation, ref: MemRefValue, ty: VectorType, rank: int) -> tuple[bool, int]:
    """Checks that a transfer is along the innermost dimensions in order; whether it needs a mask, and leading rank."""
    permutation = op.properties["permutation_map"].data  # pyright: ignore[reportAttributeAccessIssue]
    dims = [getattr(r, "position", None) for r in permutation.results]
    if dims != list(range(rank - ty.get_num_dims(), rank)):
        raise UnsupportedError(f"'{op.name}' with permutation map {permutation}")
    _require_unit_stride(ref, op)
    in_bounds = int_array(op, "in_bounds")
    if not all(in_bounds[:-1]):
        raise UnsupportedError(f"'{op.name}' out of bounds in a leading dimension")
    return bool(in_bounds) and not in_bounds[-1], rank - ty.get_num_dims()


def _tail_mask(b: FunctionBuilder, ref: MemRefValue, innermost: SSAValue, part: VectorType) -> SSAValue:
    left = ref.sizes[-1].plus(b.linear(innermost).times(-1))
    return lane_mask(b, left, VectorType(IntegerType(1), part.get_shape()))


@converts("vector.transfer_read")
def transfer_read(b: FunctionBuilder, op: Operation) -> None:
    ref, ty = b.memref(op.operands[0]), vector_of(op.results[0].type)
    rank = cast(MemRefType, op.operands[0].type).get_num_dims()
    masked, _ = _transfer(b, op, ref, ty, rank)
    indices, padding = op.operands[1 : 1 + rank], op.operands[1 + rank]
    explicit = b.parts(op.operands[2 + rank]) if len(op.operands) > 2 + rank else None
    _, part = vector_parts(ty)
    base = b.element_index(ref, indices)
    other = splat_value(b, b.value(padding), part)
    tail = _tail_mask(b, ref, indices[-1], part) if masked else None
    rows: list[SSAValue] = []
    for i, offset in enumerate(_row_offsets(ref, ty, b)):
        mask = _both(b, tail, explicit[i] if explicit is not None else None)
        if mask is not None:
            rows.append(_masked_read(b, ref, base.plus(offset), mask, other))
            continue
        memory = VectorType(memory_type(ref.element), part.get_shape())
        value = b.emit(llvm.LoadOp, (b.address(ref, base.plus(offset)),), memory, memory_access(ref.element))
        rows.append(from_memory(b, value, ref.element))
    set_parts(b, op.results[0], rows)


def _both(b: FunctionBuilder, x: SSAValue | None, y: SSAValue | None) -> SSAValue | None:
    if x is None or y is None:
        return x if y is None else y
    return b.emit(llvm.AndOp, (x, y), x.type)


@converts("vector.transfer_write")
def transfer_write(b: FunctionBuilder, op: Operation) -> None:
    value, ty = op.operands[0], vector_of(op.operands[0].type)
    ref = b.memref(op.operands[1])
    rank = cast(MemRefType, op.operands[1].type).get_num_dims()
    masked, _ = _transfer(b, op, ref, ty, rank)
    indices = op.operands[2 : 2 + rank]
    explicit = b.parts(op.operands[2 + rank]) if len(op.operands) > 2 + rank else None
    _, part = vector_parts(ty)
    base = b.element_index(ref, indices)
    tail = _tail_mask(b, ref, indices[-1], part) if masked else None
    for i, (row, offset) in enumerate(zip(b.parts(value), _row_offsets(ref, ty, b), strict=True)):
        pointer, stored = b.address(ref, base.plus(offset)), to_memory(b, row, ref.element)
        mask = _both(b, tail, explicit[i] if explicit is not None else None)
        if mask is not None:
            b.effect(MaskedStoreOp, (stored, pointer, mask), _alignment(ref))
        else:
            b.effect(llvm.StoreOp, (stored, pointer), memory_access(ref.element))
