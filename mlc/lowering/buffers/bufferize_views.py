"""Tensor ops that only look at memory another way: slices, reshapes, casts, and insertions.

tensor.extract_slice   -->  memref.subview
tensor.expand_shape    -->  memref.expand_shape
tensor.collapse_shape  -->  memref.collapse_shape, of a dense copy where the strides do not allow it
tensor.insert_slice    -->  nothing, when the source was computed in the destination's box; a copy into it otherwise
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import memref, tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    I64,
    ArrayAttr,
    DenseArrayBase,
    MemRefType,
    NoneAttr,
    StridedLayoutAttr,
    TensorType,
)
from xdsl.ir import Operation, SSAValue

from mlc.dialects.memref.syntax import CastOp
from mlc.lowering.buffers.alias_analysis import sliced
from mlc.lowering.buffers.extents import dims_of, kept_dims
from mlc.lowering.buffers.function_bufferizer import PASS, FunctionBufferizer, rule
from mlc.lowering.buffers.views import View, collapsed_strides, expanded_strides, reshaped_view, same_place


def _mixed(static: DenseArrayBase[I64], dynamic: Sequence[SSAValue]) -> list[SSAValue | int]:
    rest = iter(dynamic)
    return [next(rest) if s == DYNAMIC_INDEX else s for s in static.get_values()]


def subview(
    b: FunctionBufferizer, source: SSAValue, op: tensor.ExtractSliceOp | tensor.InsertSliceOp, small: TensorType
) -> SSAValue:
    """The box that `op` names, of the memref `source`, in the rank of `small`."""
    assert isinstance(source.type, MemRefType)
    offsets, sizes = _mixed(op.static_offsets, op.offsets), _mixed(op.static_sizes, op.sizes)
    strides = _mixed(op.static_strides, op.strides)
    full = memref.SubviewOp.infer_result_type(source.type, offsets, sizes, strides)
    kept = kept_dims(op.static_sizes.get_values(), small.get_shape())
    layout = full.layout
    assert isinstance(layout, StridedLayoutAttr)
    all_strides = layout.get_strides()
    result = MemRefType(
        full.element_type,
        [full.get_shape()[d] for d in kept],
        StridedLayoutAttr([all_strides[d] for d in kept], layout.get_offset()),
    )
    return b.emit(memref.SubviewOp.get(source, offsets, sizes, strides, result))


@rule("tensor.extract_slice")
def _extract_slice(b: FunctionBufferizer, op: Operation) -> None:
    assert isinstance(op, tensor.ExtractSliceOp) and isinstance(op.result.type, TensorType)
    view = sliced(b.analysis.places[op.source], op)
    buffer = subview(b, b.memrefs[op.source], op, op.result.type)
    b.bind(op.result, buffer, view, undefined=op.source in b.analysis.undefined)
    b.drop(op)


@rule("tensor.insert_slice")
def _insert_slice(b: FunctionBufferizer, op: Operation) -> None:
    assert isinstance(op, tensor.InsertSliceOp) and isinstance(op.source.type, TensorType)
    source = b.analysis.places[op.source]
    buffer, view = b.memrefs[op.dest], b.analysis.places[op.dest]
    box = sliced(view, op)
    if not same_place(source, box):
        reason = b.analysis.conflict(op, 1, box)
        if reason is not None:
            b.module.ctx.remarks.missed(PASS, op, "inserted into a copy of the destination", reason=reason)
            old = buffer
            buffer, view = b.allocate(op.dest.type, dims_of(op.dest))
            if op.dest not in b.analysis.undefined:
                b.copy(old, buffer)
        else:
            b.module.ctx.remarks.missed(PASS, op, "copied into place", reason="the source has memory of its own")
        b.copy(b.memrefs[op.source], subview(b, buffer, op, op.source.type))
    b.bind(op.result, buffer, view)
    b.drop(op)


def _groups(reassociation: ArrayAttr) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(d.value.data for d in group) for group in reassociation)  # pyright: ignore


def _layout(strides: Sequence[int | None], like: MemRefType) -> StridedLayoutAttr | NoneAttr:
    if isinstance(like.layout, NoneAttr):
        return NoneAttr()
    return StridedLayoutAttr(list(strides), like.get_offset())


@rule("tensor.expand_shape")
def _expand_shape(b: FunctionBufferizer, op: Operation) -> None:
    assert isinstance(op, tensor.ExpandShapeOp) and isinstance(op.result.type, TensorType)
    source = b.type_of(op.src)
    groups = _groups(op.reassociation)
    shape = op.result.type.get_shape()
    strides = source.get_strides()
    assert strides is not None
    layout = _layout(expanded_strides(shape, strides, groups), source)
    result = MemRefType(source.element_type, shape, layout)
    new = memref.ExpandShapeOp.build(
        operands=[b.memrefs[op.src], list(op.dynamic_output_shape)],
        result_types=[result],
        properties={"reassociation": op.reassociation, "static_output_shape": op.static_output_shape},
    )
    view = reshaped_view(b.analysis.places[op.src], result, dims_of(op.result), ("expand", groups))
    b.bind(op.result, b.emit(new), view, undefined=op.src in b.analysis.undefined)
    b.drop(op)


@rule("tensor.collapse_shape")
def _collapse_shape(b: FunctionBufferizer, op: Operation) -> None:
    assert isinstance(op, tensor.CollapseShapeOp) and isinstance(op.result.type, TensorType)
    buffer, view = b.memrefs[op.src], b.analysis.places[op.src]
    source = b.type_of(op.src)
    groups = _groups(op.reassociation)
    layout = _collapsed_layout(source, groups)
    undefined = op.src in b.analysis.undefined
    if layout is None:
        b.module.ctx.remarks.missed(PASS, op, "reshaped in a copy", reason="the source is not contiguous")
        old = buffer
        buffer, view = b.allocate(op.src.type, dims_of(op.src))
        if not undefined:
            b.copy(old, buffer)
        layout = NoneAttr()
    result = MemRefType(source.element_type, op.result.type.get_shape(), layout)
    new = memref.CollapseShapeOp.build(
        operands=[buffer], result_types=[result], properties={"reassociation": op.reassociation}
    )
    after = reshaped_view(view, result, dims_of(op.result), ("collapse", groups))
    b.bind(op.result, b.emit(new), after, undefined=undefined)
    b.drop(op)


def _collapsed_layout(source: MemRefType, groups: Sequence[Sequence[int]]) -> StridedLayoutAttr | NoneAttr | None:
    if isinstance(source.layout, NoneAttr):
        return NoneAttr()
    strides = source.get_strides()
    assert strides is not None
    if not groups:
        return StridedLayoutAttr([], source.get_offset())
    found = collapsed_strides(source.get_shape(), strides, groups)
    return None if found is None else StridedLayoutAttr(list(found), source.get_offset())


@rule("tensor.cast")
def _cast(b: FunctionBufferizer, op: Operation) -> None:
    assert isinstance(op, tensor.CastOp) and isinstance(op.dest.type, TensorType)
    source = b.type_of(op.source)
    shape = op.dest.type.get_shape()
    result = MemRefType(source.element_type, shape, source.layout)
    view = b.analysis.places[op.source]
    cast = View(view.root, view.offsets, view.sizes, view.dims, dims_of(op.dest), view.linear, view.steps)
    undefined = op.source in b.analysis.undefined
    b.bind(
        op.dest, b.emit(CastOp.build(operands=[b.memrefs[op.source]], result_types=[result])), cast, undefined=undefined
    )
    b.drop(op)
