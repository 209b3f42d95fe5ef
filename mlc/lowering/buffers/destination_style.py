"""Give every op that makes a tensor a destination: the first step of `bufferize`, on tensors.

    %p = tensor.pad %x low[0, 1] high[0, 1] { yield %z }      %e = tensor.empty : tensor<2x6xf32>
                                                         -->  %f = linalg.fill ins(%z) outs(%e)
                                                              %p = tensor.insert_slice %x into %f[0, 1] [2, 4] [1, 1]

`tensor.pad`, `concat`, `splat`, `from_elements`, `linalg.pack` and `linalg.unpack` become fills, insertions
and generics that write over a `tensor.empty`; dense splat constants inside kernels become fills. Afterwards tensors are
only made by `tensor.empty`, by constants and by ops that write over a tensor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    AffineMapAttr,
    ArrayAttr,
    DenseIntOrFPElementsAttr,
    IndexType,
    TensorType,
)
from xdsl.dialects.func import FuncOp
from xdsl.dialects.linalg import ops as linalg
from xdsl.dialects.linalg.attrs import IteratorTypeAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineExpr, AffineMap

from mlc.dialects.linalg.relayout_ops import PackOp, UnPackOp
from mlc.errors import UnsupportedError
from mlc.ir.locations import format_location, with_location
from mlc.lowering.buffers.destinations import erase
from mlc.lowering.buffers.extents import Extent, Materializer, combine, dims_of, mixed_extents


class Writer:
    """Inserts ops before `anchor`, with its location."""

    def __init__(self, anchor: Operation) -> None:
        self.anchor = anchor
        self.extent = Materializer(self.insert, self._dim)

    def insert(self, op: Operation) -> None:
        """Put `op` before the anchor."""
        with_location(op, self.anchor.location)
        block = self.anchor.parent
        assert block is not None
        block.insert_op_before(op, self.anchor)

    def __call__(self, op: Operation) -> SSAValue:
        self.insert(op)
        return op.results[0]

    def _dim(self, value: SSAValue, dim: int) -> SSAValue:
        return self(tensor.DimOp(value, self.extent(dim)))

    def sizes(self, extents: Sequence[Extent]) -> list[SSAValue | int]:
        """Extents as static ints or index values."""
        return [e if isinstance(e, int) else self.extent(e) for e in extents]

    def empty(self, element: Attribute, extents: Sequence[Extent], shape: Sequence[int]) -> SSAValue:
        """A `tensor.empty` of type `shape`, its dynamic sizes taken from `extents`."""
        dynamic = [self.extent(e) for e, d in zip(extents, shape, strict=True) if d == DYNAMIC_INDEX]
        return self(tensor.EmptyOp(dynamic, TensorType(element, shape)))

    def insert_slice(
        self, source: SSAValue, dest: SSAValue, offsets: Sequence[Extent], sizes: Sequence[Extent]
    ) -> SSAValue:
        """`source` written into `dest` at `offsets`."""
        offset, size = self.sizes(offsets), self.sizes(sizes)
        return self(
            tensor.InsertSliceOp.get(
                source,
                dest,
                [s if isinstance(s, int) else DYNAMIC_INDEX for s in size],
                [o if isinstance(o, int) else DYNAMIC_INDEX for o in offset],
                [1] * len(size),
                [o for o in offset if not isinstance(o, int)],
                [s for s in size if not isinstance(s, int)],
            )
        )

    def slice(self, source: SSAValue, offsets: Sequence[Extent], sizes: Sequence[Extent]) -> SSAValue:
        """The box of `source` at `offsets`."""
        assert isinstance(source.type, TensorType)
        size = self.sizes(sizes)
        shape = [s if isinstance(s, int) else DYNAMIC_INDEX for s in size]
        result = TensorType(source.type.element_type, shape)
        return self(tensor.ExtractSliceOp(source, self.sizes(offsets), size, [1] * len(size), result))


def copying_generic(source: SSAValue, dest: SSAValue, source_map: AffineMap, dest_map: AffineMap) -> linalg.GenericOp:
    """A generic that moves elements from `source` to `dest`, each indexed by its map, over all-parallel loops."""
    element: Any = source.type.element_type  # pyright: ignore[reportAttributeAccessIssue]
    body = Block(arg_types=[element, element])
    body.add_op(linalg.YieldOp(body.args[0]))
    parallel = [IteratorTypeAttr.parallel()] * dest_map.num_dims
    maps = ArrayAttr([AffineMapAttr(source_map), AffineMapAttr(dest_map)])
    results = (dest.type,) if isinstance(dest.type, TensorType) else ()
    return linalg.GenericOp([source], [dest], Region(body), maps, parallel, results)


def _pad(op: Operation, w: Writer) -> SSAValue:
    assert isinstance(op, tensor.PadOp)
    body = op.region.block
    last = body.last_op
    assert last is not None
    value = last.operands[0]
    result = op.result.type
    assert isinstance(result, TensorType)
    source_sizes = dims_of(op.source)
    low = mixed_extents(op.static_low.get_values(), op.low)
    high = mixed_extents(op.static_high.get_values(), op.high)
    total = [
        combine("arith.addi", combine("arith.addi", lo, n), hi)
        for lo, n, hi in zip(low, source_sizes, high, strict=True)
    ]
    if any(isinstance(p, int) and p < 0 for p in (*low, *high)):
        raise UnsupportedError("tensor.pad with negative padding", where=format_location(op.location) or None)
    empty = w.empty(result.element_type, total, result.get_shape())
    if (isinstance(value.owner, Operation) and value.owner.parent is body) or value.owner is body:
        filled = _generate(op, empty, w)
    else:
        filled = w(linalg.FillOp([value], [empty], [result]))
    return w.insert_slice(op.source, filled, low, source_sizes)


def _generate(op: Operation, empty: SSAValue, w: Writer) -> SSAValue:
    """The body of a pad run at each index, as a generic over `empty`."""
    result = empty.type
    assert isinstance(result, TensorType)
    source = op.regions[0].block
    rank = len(result.get_shape())
    block = Block(arg_types=[result.element_type])
    mapper: dict[SSAValue, SSAValue] = {}
    for i, arg in enumerate(source.args):
        index = linalg.IndexOp(i)
        block.add_op(index)
        mapper[arg] = index.result
    for inner in source.ops:
        if inner is source.last_op:
            block.add_op(linalg.YieldOp(mapper.get(inner.operands[0], inner.operands[0])))
        else:
            block.add_op(inner.clone(mapper))
    parallel = [IteratorTypeAttr.parallel()] * rank
    maps = ArrayAttr([AffineMapAttr(AffineMap.identity(rank))])
    return w(linalg.GenericOp([], [empty], Region(block), maps, parallel, [result]))


def _concat(op: Operation, w: Writer) -> SSAValue:
    assert isinstance(op, tensor.ConcatOp)
    dim = op.dim.value.data
    result = op.result.type
    assert isinstance(result, TensorType)
    sizes = [dims_of(v) for v in op.inputs]
    total: Extent = 0
    offsets: list[Extent] = []
    for s in sizes:
        offsets.append(total)
        total = combine("arith.addi", total, s[dim])
    shape = [total if i == dim else d for i, d in enumerate(sizes[0])]
    value = w.empty(result.element_type, shape, result.get_shape())
    for source, offset, size in zip(op.inputs, offsets, sizes, strict=True):
        at: list[Extent] = [offset if i == dim else 0 for i in range(len(shape))]
        value = w.insert_slice(source, value, at, size)
    return value


def _splat(op: Operation, w: Writer) -> SSAValue:
    result = op.results[0].type
    assert isinstance(result, TensorType)
    rest = iter(op.operands[1:])
    extents: list[Extent] = [next(rest) if d == DYNAMIC_INDEX else d for d in result.get_shape()]
    empty = w.empty(result.element_type, extents, result.get_shape())
    return w(linalg.FillOp([op.operands[0]], [empty], [result]))


def _from_elements(op: Operation, w: Writer) -> SSAValue:
    result = op.results[0].type
    assert isinstance(result, TensorType)
    shape = result.get_shape()
    value = w.empty(result.element_type, shape, shape)
    for flat, element in enumerate(op.operands):
        index: list[int] = []
        for size in reversed(shape):
            index.insert(0, flat % size)
            flat //= size
        value = w(tensor.InsertOp(element, value, [w.extent(i) for i in index]))
    return value


def _tile_maps(op: PackOp | UnPackOp, rank: int) -> tuple[AffineMap, AffineMap]:
    """Maps of the unpacked and packed tensor over the packed index space."""
    perm = op.permutation(rank)
    n = rank + len(op.positions)
    exprs: list[AffineExpr] = [AffineDimExpr(perm.index(d)) for d in range(rank)]
    for i, (pos, tile) in enumerate(zip(op.positions, op.tiles, strict=True)):
        exprs[pos] = exprs[pos] * tile + AffineDimExpr(rank + i)
    return AffineMap(n, 0, tuple(exprs)), AffineMap.identity(n)


def _tile_boxes(op: PackOp | UnPackOp, shape: Sequence[int]) -> list[list[tuple[int, int, int]]]:
    """For each box of whole or partial tiles: (offset, size, tile) per unpacked dimension; tile 0: not tiled."""
    tiles = dict(zip(op.positions, op.tiles, strict=True))
    boxes: list[list[tuple[int, int, int]]] = [[]]
    for d, size in enumerate(shape):
        tile = tiles.get(d, 0)
        parts = [(0, size, 0)]
        if tile:
            full = size // tile * tile
            parts = [(0, full, tile)] if full else []
            if size % tile:
                parts.append((full, size % tile, tile))
        boxes = [[*box, part] for box in boxes for part in parts]
    return boxes


def _packed_box(op: PackOp | UnPackOp, box: list[tuple[int, int, int]]) -> tuple[list[int], list[int]]:
    """Offsets and sizes in the packed tensor of a box of `_tile_boxes`."""
    perm = op.permutation(len(box))
    offsets, sizes = [], []
    for d in perm:
        offset, size, tile = box[d]
        offsets.append(offset // tile if tile else offset)
        sizes.append(-(-size // tile) if tile else size)
    for pos, tile in zip(op.positions, op.tiles, strict=True):
        offsets.append(0)
        sizes.append(min(tile, box[pos][1]))
    return offsets, sizes


def _relayout(op: Operation, w: Writer) -> SSAValue:
    assert isinstance(op, PackOp | UnPackOp)
    packing = isinstance(op, PackOp)
    plain = op.source if packing else op.dest
    assert isinstance(plain.type, TensorType)
    shape = plain.type.get_shape()
    tiled = [shape[p] for p in op.positions]
    if DYNAMIC_INDEX in tiled or DYNAMIC_INDEX in op.tiles:
        raise UnsupportedError(
            f"{op.name} of a dynamic dimension",
            where=format_location(op.location) or None,
            hint="only static dimensions can be tiled",
        )
    plain_map, packed_map = _tile_maps(op, len(shape))
    partial = any(size % tile for size, tile in zip(tiled, op.tiles, strict=True))
    if not partial:
        maps = (plain_map, packed_map) if packing else (packed_map, plain_map)
        return w(copying_generic(op.source, op.dest, *maps))
    value = op.dest
    if packing and op.padding_value is not None:
        value = w(linalg.FillOp([op.padding_value], [value], [value.type]))
    extents = dims_of(plain)
    for box in _tile_boxes(op, shape):
        plain_at: list[Extent] = [o for o, _, _ in box]
        plain_size: list[Extent] = [extents[d] if shape[d] == DYNAMIC_INDEX else n for d, (_, n, _) in enumerate(box)]
        at, size = _packed_box(op, box)
        packed_size: list[Extent] = list(size)
        for i, d in enumerate(op.permutation(len(shape))):
            if shape[d] == DYNAMIC_INDEX:
                packed_size[i] = extents[d]
        if packing:
            part, dest = w.slice(op.source, plain_at, plain_size), w.slice(value, at, packed_size)
            moved = w(copying_generic(part, dest, plain_map, packed_map))
            value = w.insert_slice(moved, value, at, packed_size)
        else:
            part, dest = w.slice(op.source, at, packed_size), w.slice(value, plain_at, plain_size)
            moved = w(copying_generic(part, dest, packed_map, plain_map))
            value = w.insert_slice(moved, value, plain_at, plain_size)
    return value


def _splat_constant(op: Operation, w: Writer) -> SSAValue | None:
    assert isinstance(op, arith.ConstantOp)
    value, result = op.value, op.result.type
    if not (isinstance(result, TensorType) and isinstance(value, DenseIntOrFPElementsAttr) and value.is_splat()):
        return None
    if isinstance(result.element_type, IndexType) or 0 in result.get_shape():
        return None
    scalar = w(arith.ConstantOp(next(iter(value.get_attrs()))))
    empty = w.empty(result.element_type, result.get_shape(), result.get_shape())
    return w(linalg.FillOp([scalar], [empty], [result]))


_RULES: dict[str, Callable[[Operation, Writer], SSAValue | None]] = {
    "tensor.pad": _pad,
    "tensor.concat": _concat,
    "tensor.splat": _splat,
    "tensor.from_elements": _from_elements,
    "linalg.pack": _relayout,
    "linalg.unpack": _relayout,
}


SPELLED_OUT = (*_RULES, "arith.constant")
"""Names of the ops that `to_destination_style` rewrites."""


def to_destination_style(function: FuncOp, *, kernel: bool) -> Counter[str]:
    """Rewrite `function` in place; inside a kernel also splat constants. Returns how many ops of each name."""
    rules = {**_RULES, "arith.constant": _splat_constant} if kernel else _RULES
    fired: Counter[str] = Counter()
    for op in list(function.body.walk()):
        rule = rules.get(op.name)
        if rule is None or not any(isinstance(t, TensorType) for t in op.result_types):
            continue
        value = rule(op, Writer(op))
        if value is not None:
            fired[op.name] += 1
            op.results[0].replace_all_uses_with(value)
            erase(op)
    return fired
