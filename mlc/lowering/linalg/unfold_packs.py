"""`linalg.pack` and `linalg.unpack` as views and one transposing copy.

    %p = linalg.pack %x inner_dims_pos = [1] inner_tiles = [16] : tensor<1x64x8x8xf32> -> tensor<1x4x8x8x16xf32>
      -->
    %v = tensor.expand_shape %x [[0], [1, 2], [3], [4]] : tensor<1x4x16x8x8xf32>
    %p = linalg.generic (transposing copy) ins(%v) : tensor<1x4x8x8x16xf32>

A partial last tile adds a `tensor.pad` before a pack, a `tensor.extract_slice` after an unpack.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, TensorType
from xdsl.ir import Block, Region, SSAValue

from mlc.dialects.linalg.relayout_ops import PackOp, UnPackOp
from mlc.lowering.linalg.build import At, element_type
from mlc.lowering.linalg.reshapes import collapse_view, move_units, only_units_move
from mlc.lowering.linalg.structure import dims_map, identity_map, shape_of


def is_foldable(op: PackOp | UnPackOp) -> bool:
    """Whether tiles and tiled dimensions are static."""
    unpacked = op.source if isinstance(op, PackOp) else op.dest
    shape = shape_of(unpacked)
    return DYNAMIC_INDEX not in op.tiles and all(shape[p] != DYNAMIC_INDEX for p in op.positions)


def _split(op: PackOp | UnPackOp, rank: int) -> tuple[list[tuple[int, ...]], list[int]]:
    """Groups that split tiled dimensions in two, and the order of the split dimensions in the packed form."""
    groups: list[tuple[int, ...]] = []
    n = 0
    for d in range(rank):
        width = 2 if d in op.positions else 1
        groups.append(tuple(range(n, n + width)))
        n += width
    outer = [groups[d][0] for d in op.permutation(rank)]
    return groups, [*outer, *(groups[p][1] for p in op.positions)]


def transposed_copy(at: At, value: SSAValue, permutation: Sequence[int]) -> SSAValue:
    """`value` with its dimensions in another order, by an elementwise generic (a view when only units move)."""
    rank = len(permutation)
    if only_units_move(shape_of(value), permutation):
        return move_units(at, value, [shape_of(value)[p] for p in permutation])
    if list(permutation) == list(range(rank)):
        return value
    shape = shape_of(value)
    if 1 in shape and DYNAMIC_INDEX not in shape:
        wide = [d for d in range(rank) if shape[d] != 1]
        core = transposed_copy(
            at, move_units(at, value, [shape[d] for d in wide]), [wide.index(p) for p in permutation if p in wide]
        )
        return move_units(at, core, [shape[p] for p in permutation])
    sizes = at.sizes(value)
    out = at.empty([sizes[p] for p in permutation], element_type(value))
    position = [list(permutation).index(d) for d in range(rank)]
    return at.generic(
        [(value, dims_map(rank, tuple(position)))], [(out, identity_map(rank))], "p" * rank, lambda body, x, _: x
    )


def unfold_pack(op: PackOp) -> SSAValue:
    """The packed value by pad, expand and a transposing copy."""
    at = At(op)
    value = op.source
    sizes = at.sizes(value)
    tile = dict(zip(op.positions, op.tiles, strict=True))
    high = [-n % tile[d] if d in tile and isinstance(n, int) else 0 for d, n in enumerate(sizes)]
    if any(high):
        assert op.padding_value is not None
        value = _pad(at, value, high, op.padding_value)
        sizes = [n + h if isinstance(n, int) else n for n, h in zip(sizes, high, strict=True)]
    groups, order = _split(op, len(sizes))
    split: list[int | SSAValue] = []
    for d, n in enumerate(sizes):
        split += [n // tile[d], tile[d]] if d in tile and isinstance(n, int) else [n]
    return transposed_copy(at, at.expand(value, groups, split), order)


def unfold_unpack(op: UnPackOp) -> SSAValue:
    """The plain value by a transposing copy, collapse and a slice."""
    at = At(op)
    rank = len(shape_of(op.dest))
    groups, order = _split(op, rank)
    inverse = [order.index(d) for d in range(len(order))]
    value = collapse_view(at, transposed_copy(at, op.source, inverse), groups)
    wanted = shape_of(op.dest)
    if shape_of(value) == wanted:
        return value
    sizes = [w if w != DYNAMIC_INDEX else s for w, s in zip(wanted, at.sizes(value), strict=True)]
    slice_ = tensor.ExtractSliceOp(value, [0] * rank, sizes, [1] * rank, op.dest.type)
    return at.add(slice_).result


def _pad(at: At, value: SSAValue, high: Sequence[int], fill: SSAValue) -> SSAValue:
    block = Block(arg_types=[IndexType()] * len(high))
    end = tensor.YieldOp(fill)
    end.location = at.location
    block.add_op(end)
    shape = [n if n == DYNAMIC_INDEX else n + h for n, h in zip(shape_of(value), high, strict=True)]
    ty = TensorType(element_type(value), shape)
    return at.add(tensor.PadOp(value, [], [], Region(block), [0] * len(high), list(high), ty)).result
