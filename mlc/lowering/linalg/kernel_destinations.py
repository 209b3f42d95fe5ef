"""Where the results of kernels are written in the calling function.

    %c = tensor.concat dim(1) %a, %b          %d0 = tensor.empty()
                                              %s0 = tensor.extract_slice %d0[0, 0] …   // kernel of %a writes here
                                       -->    %d1 = tensor.insert_slice %a' into %d0[0, 0] …
                                              %s1 = tensor.extract_slice %d1[0, 3] …   // kernel of %b writes here
                                              %d2 = tensor.insert_slice %b' into %d1[0, 3] …

`concat` and `pad` become chains of `insert_slice` into one destination (of padding, only the border is filled). A
source made by a kernel is written straight into its slice, and who else wants it reads the slice; any other source is
copied there by a copy kernel. Concatenations that begin with the inputs of an earlier one share its destination.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, DenseArrayBase, IndexType, IntegerAttr, TensorType, i64
from xdsl.dialects.linalg.ops import FillOp
from xdsl.ir import Block, BlockArgument, Operation, OpResult, SSAValue

from mlc.lowering.linalg.build import At, groups_of
from mlc.lowering.linalg.kernel_outline import identity_copy
from mlc.lowering.linalg.structure import shape_of

CHAIN = "mlc.chain"  # while the pass runs: insert_slices with one number fill one destination without overlap


SPELLED_OUT = {
    "spell-out-concat": "tensor.concat -> insertions into one destination",
    "spell-out-pad": "tensor.pad -> fills and an insertion",
    "spell-out-splat": "tensor.splat -> linalg.fill",
    "spell-out-elements": "tensor.from_elements -> fills or insertions",
}
"""Rules of `Destinations.spell_out`."""


class Destinations:
    """Spells out the destinations of one block's pads and concatenations as chains of insertions."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.chains = 0

    def spell_out(self) -> Counter[str]:
        """Turn splat, from_elements, pad and concat into fills and insertions; one empty and fill per use.

        Returns how often each rule fired.
        """
        block = self.block
        fired: Counter[str] = Counter()
        for concats in _families([op for op in block.ops if isinstance(op, tensor.ConcatOp)]):
            self._concat(concats)
            fired["spell-out-concat"] += len(concats)
        for op in list(block.ops):
            match op:
                case tensor.SplatOp():
                    _replace(op, _splat(op))
                    fired["spell-out-splat"] += 1
                case tensor.FromElementsOp():
                    _replace(op, _from_elements(op))
                    fired["spell-out-elements"] += 1
                case tensor.PadOp() if _constant_padding(op):
                    _replace(op, self._pad(op))
                    fired["spell-out-pad"] += 1
                case _:
                    pass
        for op in list(block.ops):
            if isinstance(op, tensor.InsertSliceOp) and CHAIN not in op.attributes:
                _own_destination(op, block)
        for kind in (FillOp, tensor.EmptyOp):
            for op in list(block.ops):
                if isinstance(op, kind):
                    _one_per_use(op, block)
        return fired

    def _chain(self) -> IntegerAttr:
        self.chains += 1
        return IntegerAttr(self.chains, i64)

    def _concat(self, concats: Sequence[tensor.ConcatOp]) -> None:
        """One destination for the last of `concats`; those before it are its beginnings, read as slices of it."""
        whole = concats[-1]
        dim = whole.dim.value.data
        if len(whole.inputs) == 1:
            _replace(whole, whole.inputs[0])
            return
        chain = self._chain()
        at = At(concats[0])
        shape = shape_of(whole.result)
        sizes: list[int | SSAValue] = list(shape)
        if DYNAMIC_INDEX in shape:
            first = at.sizes(whole.inputs[0])
            total = _sum(at, [at.sizes(v)[dim] for v in whole.inputs])
            sizes = [n if n != DYNAMIC_INDEX else (total if d == dim else first[d]) for d, n in enumerate(shape)]
        value = at.empty(sizes, whole.result.type.element_type)
        offset: int | SSAValue = 0
        done = 0
        for concat in concats:
            at = At(concat)
            for source in list(concat.inputs)[done:]:
                start: list[int | SSAValue] = [0] * len(shape)
                start[dim] = offset
                extent = at.sizes(source)
                value = _insert(at, source, value, start, extent, chain)
                offset = _sum(at, [offset, extent[dim]])
            done = len(concat.inputs)
            if concat is whole:
                _replace(concat, value)
            else:
                view = slice_at(value, [0] * len(shape), list(shape_of(concat.result)))
                view.attributes[CHAIN] = chain
                _replace(concat, at.add(view).result)

    def _pad(self, op: tensor.PadOp) -> SSAValue:
        at = At(op)
        last = op.region.block.last_op
        assert last is not None
        fill = last.operands[0]
        low, high = op.static_low.get_values(), op.static_high.get_values()
        if not any(low) and not any(high):
            return op.source
        chain = self._chain()
        ty = op.result.type
        static = DYNAMIC_INDEX not in (*low, *high, *shape_of(op.source))
        if static and 2 * math.prod(shape_of(op.source)) > math.prod(ty.get_shape()):
            value = at.empty(list(ty.get_shape()), ty.element_type)
            for offsets, extent in _borders(shape_of(op.source), low, high):
                piece = at.fill(fill, at.empty(extent, ty.element_type))
                value = _insert(at, piece, value, offsets, extent, chain)
            return _insert(at, op.source, value, low, shape_of(op.source), chain)
        source_sizes = at.sizes(op.source)
        lows, highs = _mixed(low, op.low), _mixed(high, op.high)
        sizes = [_sum(at, parts) for parts in zip(source_sizes, lows, highs, strict=True)]
        filled = at.fill(fill, at.empty(sizes, ty.element_type))
        return _insert(at, op.source, filled, lows, source_sizes, chain)


def _families(concats: Sequence[tensor.ConcatOp]) -> list[list[tensor.ConcatOp]]:
    """Static concatenations where each begins with all inputs of the one before; others alone."""
    families: list[list[tensor.ConcatOp]] = []
    for concat in concats:
        for family in families:
            last = family[-1]
            n = len(last.inputs)
            if (
                last.dim == concat.dim
                and n < len(concat.inputs)
                and n > 1
                and list(concat.inputs)[:n] == list(last.inputs)
                and DYNAMIC_INDEX not in shape_of(concat.result)
            ):
                family.append(concat)
                break
        else:
            families.append([concat])
    return families


def _borders(shape: Sequence[int], low: Sequence[int], high: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Offsets and sizes of the slices around the middle of a padded tensor; they do not overlap."""
    full = [a + n + b for n, a, b in zip(shape, low, high, strict=True)]
    found: list[tuple[list[int], list[int]]] = []
    for d in range(len(shape)):
        for start, width in ((0, low[d]), (low[d] + shape[d], high[d])):
            if width:
                offsets = [*low[:d], start, *([0] * (len(shape) - d - 1))]
                found.append((offsets, [*shape[:d], width, *full[d + 1 :]]))
    return found


def _sum(at: At, parts: Sequence[int | SSAValue]) -> int | SSAValue:
    known = sum(p for p in parts if isinstance(p, int))
    unknown = [p for p in parts if isinstance(p, SSAValue)]
    if not unknown:
        return known
    total = unknown[0]
    for p in (*unknown[1:], *([at.index(known)] if known else [])):
        total = at.add(arith.AddiOp(total, p)).result
    return total


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
    if len(op.elements) == 1 and not isinstance(op.result.type.element_type, IndexType):  # linalg.fill takes no index
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


def _mixed(static: Sequence[int], dynamic: Sequence[SSAValue]) -> list[int | SSAValue]:
    rest = iter(dynamic)
    return [next(rest) if s == DYNAMIC_INDEX else s for s in static]


def _insert(
    at: At,
    source: SSAValue,
    dest: SSAValue,
    offsets: Sequence[int | SSAValue],
    sizes: Sequence[int | SSAValue],
    chain: IntegerAttr,
) -> SSAValue:
    op = tensor.InsertSliceOp.build(
        operands=[_without_units(source), dest, _dynamic(offsets), _dynamic(sizes), []],
        properties={
            "static_offsets": _static(offsets),
            "static_sizes": _static(sizes),
            "static_strides": DenseArrayBase.from_list(i64, [1] * len(offsets)),
        },
        result_types=[dest.type],
    )
    op.attributes[CHAIN] = chain
    return at.add(op).result


def _without_units(source: SSAValue) -> SSAValue:
    """What `source` expands by dimensions of size one alone: a slice may drop those."""
    if isinstance(source, OpResult) and isinstance(source.op, tensor.ExpandShapeOp) and source.has_one_use():
        shape = shape_of(source)
        if all(sum(shape[d] != 1 for d in g) <= 1 for g in groups_of(source.op)) and DYNAMIC_INDEX not in shape:
            return source.op.src
    return source


def slice_at(
    source: SSAValue, offsets: Sequence[int | SSAValue], sizes: Sequence[int | SSAValue]
) -> tensor.ExtractSliceOp:
    """A slice with unit strides."""
    assert isinstance(source.type, TensorType)
    static = [n if isinstance(n, int) else DYNAMIC_INDEX for n in sizes]
    ty = TensorType(source.type.element_type, static)
    return tensor.ExtractSliceOp(source, offsets, sizes, [1] * len(offsets), ty)


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
