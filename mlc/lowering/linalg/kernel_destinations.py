"""Where the results of kernels are written in the calling function.

    %c = tensor.concat dim(1) %a, %b          %d0 = tensor.empty()
                                              %s0 = tensor.extract_slice %d0[0, 0] …   // kernel of %a writes here
                                       -->    %d1 = tensor.insert_slice %a' into %d0[0, 0] …
                                              %s1 = tensor.extract_slice %d1[0, 3] …   // kernel of %b writes here
                                              %d2 = tensor.insert_slice %b' into %d1[0, 3] …

`concat` and `pad` become chains of `insert_slice` into one destination. A source made by one kernel and used nowhere
else is written straight into its slice; any other source is copied there by a copy kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, DenseArrayBase, TensorType, UnitAttr, i64
from xdsl.dialects.linalg.ops import FillOp
from xdsl.ir import Block, BlockArgument, Operation, OpResult, SSAValue

from mlc.lowering.linalg.build import At
from mlc.lowering.linalg.kernel_outline import identity_copy
from mlc.lowering.linalg.structure import shape_of, users

DISJOINT = "mlc.disjoint"  # marks, while the pass runs, insert_slices of one chain that do not overlap


def spell_out_destinations(block: Block) -> None:
    """Turn splat, from_elements, pad and concat of `block` into fills and insertions; one empty and fill per use."""
    for op in list(block.ops):
        match op:
            case tensor.SplatOp():
                _replace(op, _splat(op))
            case tensor.FromElementsOp():
                _replace(op, _from_elements(op))
            case tensor.PadOp() if _constant_padding(op):
                _replace(op, _pad(op))
            case tensor.ConcatOp():
                _replace(op, _concat(op))
            case _:
                pass
    for op in list(block.ops):
        if isinstance(op, tensor.InsertSliceOp):
            _own_destination(op, block)
    for kind in (FillOp, tensor.EmptyOp):
        for op in list(block.ops):
            if isinstance(op, kind):
                _one_per_use(op, block)


def _replace(op: Operation, value: SSAValue) -> None:
    value.name_hint = op.results[0].name_hint
    op.results[0].replace_all_uses_with(value)
    op.detach()
    op.erase()


def _splat(op: tensor.SplatOp) -> SSAValue:
    at = At(op)
    return at.fill(op.input, at.add(tensor.EmptyOp(list(op.dynamicSizes), op.result.type)).tensor)


def _from_elements(op: tensor.FromElementsOp) -> SSAValue:
    at = At(op)
    shape = shape_of(op.result)
    value = at.add(tensor.EmptyOp([], op.result.type)).tensor
    if len(op.elements) == 1:
        return at.fill(op.elements[0], value)
    for n, element in enumerate(op.elements):
        indices: list[SSAValue] = []
        for size in reversed(shape):
            n, i = divmod(n, size)
            indices.insert(0, at.index(i))
        value = at.add(tensor.InsertOp(element, value, indices)).result
    return value


def _constant_padding(op: tensor.PadOp) -> bool:
    last = op.region.block.last_op
    return last is not None and op.region.block.first_op is last and not isinstance(last.operands[0], BlockArgument)


def _pad(op: tensor.PadOp) -> SSAValue:
    at = At(op)
    low = op.static_low.get_values()
    high = op.static_high.get_values()
    if not any(low) and not any(high):
        return op.source
    last = op.region.block.last_op
    assert last is not None
    source_sizes = at.sizes(op.source)
    lows = _mixed(low, op.low)
    highs = _mixed(high, op.high)
    sizes: list[int | SSAValue] = []
    for n, below, above in zip(source_sizes, lows, highs, strict=True):
        if isinstance(n, int) and isinstance(below, int) and isinstance(above, int):
            sizes.append(n + below + above)
        else:
            total = at.add(arith.AddiOp(_as_value(at, n), _as_value(at, below))).result
            sizes.append(at.add(arith.AddiOp(total, _as_value(at, above))).result)
    ty = op.result.type
    filled = at.fill(last.operands[0], at.empty(sizes, ty.element_type))
    return _insert(at, op.source, filled, lows, source_sizes)


def _as_value(at: At, size: int | SSAValue) -> SSAValue:
    return at.index(size) if isinstance(size, int) else size


def _mixed(static: Sequence[int], dynamic: Sequence[SSAValue]) -> list[int | SSAValue]:
    rest = iter(dynamic)
    return [next(rest) if s == DYNAMIC_INDEX else s for s in static]


def _concat(op: tensor.ConcatOp) -> SSAValue:
    at = At(op)
    dim = op.dim.value.data
    if len(op.inputs) == 1:
        return op.inputs[0]
    sizes = at.sizes(op.inputs[0])
    parts = [at.sizes(v)[dim] for v in op.inputs]
    total: int | SSAValue = 0
    offsets: list[int | SSAValue] = []
    for part in parts:
        offsets.append(total)
        if isinstance(part, int) and isinstance(total, int):
            total = total + part
        else:
            total = at.add(arith.AddiOp(_as_value(at, total), _as_value(at, part))).result
    shape = shape_of(op.result)
    sizes[dim] = total
    sizes = [n if n != DYNAMIC_INDEX else s for n, s in zip(shape, sizes, strict=True)]
    value = at.empty(sizes, op.result.type.element_type)
    for source, offset, part in zip(op.inputs, offsets, parts, strict=True):
        start: list[int | SSAValue] = [0] * len(shape)
        start[dim] = offset
        extent = [*at.sizes(source)]
        extent[dim] = part
        value = _insert(at, source, value, start, extent)
    return value


def _insert(
    at: At, source: SSAValue, dest: SSAValue, offsets: Sequence[int | SSAValue], sizes: Sequence[int | SSAValue]
) -> SSAValue:
    rank = len(offsets)
    op = tensor.InsertSliceOp.build(
        operands=[source, dest, _dynamic(offsets), _dynamic(sizes), []],
        properties={
            "static_offsets": _static(offsets),
            "static_sizes": _static(sizes),
            "static_strides": DenseArrayBase.from_list(i64, [1] * rank),
        },
        result_types=[dest.type],
    )
    op.attributes[DISJOINT] = UnitAttr()
    return at.add(op).result


def _dynamic(values: Sequence[int | SSAValue]) -> list[SSAValue]:
    return [v for v in values if isinstance(v, SSAValue)]


def _static(values: Sequence[int | SSAValue]) -> DenseArrayBase:
    return DenseArrayBase.from_list(i64, [v if isinstance(v, int) else DYNAMIC_INDEX for v in values])


def _own_destination(op: tensor.InsertSliceOp, block: Block) -> None:
    """Insert into a copy unless nothing else ever reads the destination."""
    dest = op.dest
    fresh = isinstance(dest, OpResult) and (
        isinstance(dest.op, (tensor.EmptyOp, FillOp))
        or (len(list(dest.uses)) == 1 and not isinstance(dest.op, (arith.ConstantOp, *_ALIASES)))
    )
    if isinstance(dest, BlockArgument):
        parent = block.parent_op()
        fresh = dest.has_one_use() and parent is not None and parent.name.startswith("scf.")
    if not fresh:
        at = At(op)
        op.operands[1] = at.add(identity_copy(dest, at.empty_like(dest), at.location)).results[0]


_ALIASES = (tensor.ExpandShapeOp, tensor.CollapseShapeOp, tensor.CastOp, tensor.ExtractSliceOp)


def _one_per_use(op: Operation, block: Block) -> None:
    """Give every use of an empty or filled tensor a tensor of its own, just before its user."""
    uses = list(op.results[0].uses)
    for i, use in enumerate(uses):
        user = block.find_ancestor_op_in_block(use.operation)
        if user is None or (i == 0 and len(uses) == 1):
            continue
        if use.operation is not user or i == 0:
            continue
        copy = op.clone()
        copy.results[0].name_hint = op.results[0].name_hint
        block.insert_op_before(copy, user)
        use.operation.operands[use.index] = copy.results[0]


def slice_of(op: tensor.InsertSliceOp, dest: SSAValue) -> tensor.ExtractSliceOp:
    """The slice of `dest` that `op` writes."""
    assert isinstance(op.source.type, TensorType)
    return tensor.ExtractSliceOp.build(
        operands=[dest, list(op.offsets), list(op.sizes), list(op.strides)],
        properties={
            "static_offsets": op.static_offsets,
            "static_sizes": op.static_sizes,
            "static_strides": op.static_strides,
        },
        result_types=[op.source.type],
    )


def chains(block: Block) -> list[list[tensor.InsertSliceOp]]:
    """Runs of `insert_slice` where each inserts into the one before and nothing else reads in between."""
    found: list[list[tensor.InsertSliceOp]] = []
    ends: dict[SSAValue, list[tensor.InsertSliceOp]] = {}
    for op in block.ops:
        if not isinstance(op, tensor.InsertSliceOp):
            continue
        chain = ends.pop(op.dest, None) if len(users(op.dest, block)) == 1 else None
        if chain is None or (DISJOINT in op.attributes) != (DISJOINT in chain[-1].attributes):
            chain = []
            found.append(chain)
        chain.append(op)
        ends[op.result] = chain
    return found
