"""Write a Winograd convolution as loops over blocks of tiles around structured ops.

    linalg_ext.winograd_conv_2d           scf.parallel (or for) block of images, tile rows, tile columns {
      ins(%x, %w) outs(%y, %v, %m) ins(%u)  scf.parallel channels { scf.for tile {
    linalg.generic #relu outs(%y)   -->       linalg.generic ins(36 elements of %x) outs(36 of %v) } }  input transform
                                            scf.parallel position { scf.for piece of the channels {
                                              fill(%part), linalg.generic #product, %m[position] += %part } }
                                            scf.parallel filters { scf.for tile {
                                              linalg.generic ins(36 of %m) outs(16 of %y) } }           output transform
                                            scf.if (sum of all outputs' squares beyond 2^64 or NaN) {   and #relu
                                              linalg.generic #convolution ins(%x, %w) outs(%y) } }      directly
Filters that are not transformed yet are so for one group of filters and one piece of the channels at a time, as they
are multiplied; then groups run in parallel, and outputs are divided by the scale of the filtering.
`winograd_transforms.py` writes the transforms: at once, as above, or, with few registers, one way after the other.
The elementwise op that follows in place is taken into the output transform, once per output of a tile.
One NaN, infinity or huge input spoils outputs of its tile that it has nothing to do with: a block with such outputs is
computed again, directly. The output transform adds up squares (from one: no subnormal sums) before the elementwise op.
Runs after bufferize (it works on buffers). Runs before vectorize-structured, which makes register tiles of all of it.
Tests: tests/lowering/vector/expand_winograd.mlir
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import (
    ArrayAttr,
    IntegerAttr,
    MemRefType,
    ModuleOp,
    NoneAttr,
    f32,
    i64,
)
from xdsl.dialects.linalg.ops import GenericOp, IndexOp
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineExpr, AffineMap

from mlc.arrays.winograd import TAPS
from mlc.dialects.linalg_ext.private_op import MOST_BYTES, PrivateOp, private_bytes
from mlc.dialects.linalg_ext.winograd_ops import WinogradConv2DOp
from mlc.dialects.memref.prefetch import PrefetchOp
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Reassociates
from mlc.ir.locations import fuse_locations
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.vector.loop_writer import Arithmetic, LoopWriter, Offset, shape_of
from mlc.lowering.vector.winograd_fallback import beyond_limit, convolve_row
from mlc.lowering.vector.winograd_transforms import WinogradTransforms

_VIEWS = (memref.CastOp, memref.CollapseShapeOp, memref.ExpandShapeOp, memref.SubviewOp)
LINE = 16
"""Floats in a cache line."""
ENOUGH_BLOCKS = 6
"""Blocks of tiles from which threads take whole blocks, rather than a share of every one."""


@dataclass(frozen=True)
class ExpandWinograd(MlcPass):
    """See the module."""

    name = "expand-winograd"
    contract = Contract(
        level_in="buffers",
        level_out="buffers",
        preserves=Reassociates("the convolution's own arithmetic; products and sums contract to fma"),
        profile="winograd",
        options=({}, {"vector_registers": 16}),
        establishes=("no linalg_ext.winograd_conv_2d is left",),
        nests=True,
    )

    vector_registers: int | None = option(None, Span(1, 1 << 10))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        registers = self.vector_registers or getattr(ctx.machine, "vector_registers", 32)
        for op in list(module.walk()):
            if isinstance(op, WinogradConv2DOp) and not op.res:
                epilogue = _epilogue(op)
                _Expansion(op, epilogue, registers).write()
                ctx.remarks.applied(
                    self.name,
                    op,
                    "written as structured ops",
                    epilogue=epilogue is not None,
                    block=list(op.block.get_values()),
                )
                for old in (epilogue, op):
                    if old is not None:
                        old.detach()
                        old.erase()


def _epilogue(op: WinogradConv2DOp) -> GenericOp | None:
    """The elementwise op right after `op` that works on its output in place, when it can run point by point."""
    after = op.next_op
    while isinstance(after, (arith.ConstantOp, *_VIEWS)):
        after = after.next_op
    if not isinstance(after, GenericOp) or list(after.outputs) != [op.output] or op.output in after.inputs:
        return None
    maps = [m.data for m in after.get_indexing_maps()]
    bare = all(isinstance(e, AffineDimExpr) for m in maps for e in m.results)
    if (
        not bare
        or maps[-1] != AffineMap.identity(5)
        or any(v in after.inputs for v in (op.tiles, op.products, op.filters))
    ):
        return None
    if any(isinstance(inner, IndexOp | memref.LoadOp) for inner in after.body.block.ops):
        return None
    return after


class _Expansion(LoopWriter):
    """One convolution with its epilogue."""

    def __init__(self, op: WinogradConv2DOp, epilogue: GenericOp | None, registers: int) -> None:
        location = op.location if epilogue is None else fuse_locations([op.location, epilogue.location])
        super().__init__(op, epilogue or op, location)
        self.op, self.epilogue = op, epilogue
        self.rows, self.columns = op.filterings()
        self.grid = op.grid()
        in_turn = op.positions() > 2 * registers
        self.transforms = WinogradTransforms(self, op, epilogue, in_turn=in_turn)
        self.block_size = tuple(op.block.get_values())
        self.tiles, self.products, self.filters = op.tiles, op.products, op.filters

    def write(self) -> None:
        """All of it, before the op."""
        if self.op.transformed:
            self.all_filters()
        else:
            self.groups_of_filters()

    def all_filters(self) -> None:
        """Multiply transformed filters with one block of tiles after the other."""
        with self.blocks() as first:
            self.transform_inputs(first)
            with self.loop(0, self.op.positions(), parallel=True) as position:
                self.multiply(position)
            self.transform_outputs(first, 0, parallel=True)

    def groups_of_filters(self) -> None:
        """For every block of tiles, multiply one group of filters after the other, a piece of them as it is
        transformed.

        Groups run in parallel, each with products and transformed filters of its own: these stay in the caches, and
        what is read from memory are the filters as they were.
        """
        group, pieces = self.op.group(), self.op.pieces()
        filters = shape_of(self.op.output)[1]
        with ExitStack() as stack:
            first = [stack.enter_context(self.loop(0, n, b)) for n, b in zip(self.grid, self.block_size, strict=True)]
            self.transform_inputs(first)
            kept = (self.op.products, self.op.filters)
            if filters > group and _fit_a_thread(kept):
                (start,) = stack.enter_context(self.parallel([(filters, group)]))
                self.products, self.filters = (self.put(PrivateOp(v)).result for v in kept)
            else:
                start = stack.enter_context(self.loop(0, filters, group))
            if pieces > 1:
                self.clear(self.products)
            some = shape_of(self.filters)[1]
            with self.loop(0, pieces) as piece, self.loop(0, self.op.positions(), some) as position:
                with self.loop(0, group) as block:
                    self.transform_filters(self.plus(start, block), piece, block, position)
                with self.loop(0, some) as within:
                    at = self.plus(within, position)
                    self.prefetch_taps(start, piece, at)
                    self.add_product(at, piece, (0, within))
            self.transform_outputs(first, start)

    def transform_inputs(self, first: Sequence[Offset]) -> None:
        """Transform the tiles of the block at `first`."""
        pieces, *_, per_piece, _ = shape_of(self.tiles)
        with (
            self.parallel([(n, 1) for n in (pieces, per_piece, self.block_size[1])], divided=2) as (piece, rest, row),
            self.tile(first, row) as (within, at),
        ):
            source = [at[0], self.plus(self.times(piece, per_piece), rest), *at[1:], 0]
            self.transforms.input(self.tiles, source, [piece, 0, *within, rest, 0])

    def transform_outputs(self, first: Sequence[Offset], start: Offset, *, parallel: bool = False) -> None:
        """Transform the products of the block of tiles at `first` and the group of filters at `start`, and check
        them."""
        with self.loop(0, self.op.group(), parallel=parallel) as block, self.tile(first) as (within, at):
            filters = self.plus(start, block)
            self.transforms.output(self.products, [0, block, *within, 0], [at[0], filters, *at[1:], 0])
        with (
            beyond_limit(self, self.products),
            self.loop(0, self.op.group()) as block,
            self.tile(first) as (_, at),
            self.loop(0, self.rows.tile) as i,
        ):
            place = [at[0], self.plus(start, block), self.plus(at[1], i), at[2]]
            convolve_row(self, self.op, self.epilogue, place, self.columns.tile)

    def start(self, tile: Offset, size: int, extent: int) -> Offset:
        """First row (or column) of a tile of `size`: the last tile of an `extent` that is no multiple moves back."""
        first = self.times(tile, size)
        if extent % size == 0:
            return first
        last = extent - size
        return min(first, last) if isinstance(first, int) else self.put(arith.MinSIOp(first, self.index(last))).result

    @contextmanager
    def blocks(self) -> Iterator[list[Offset]]:
        """Loops over the blocks of tiles: image, tile row and tile column of each one's first tile.

        Where there are enough of them they run in parallel, each with tiles and products of its own, and what is inside
        stays on one thread: it is in one core's caches. A last tile that moves back writes over the one before it.
        Where that one is in another block, both blocks are one iteration, in order, so that it is the last that
        decides.
        """
        trips = [n // b for n, b in zip(self.grid, self.block_size, strict=True)]
        overlap = [False, *(n % f.tile != 0 for n, f in zip(self.op.extents(), (self.rows, self.columns), strict=True))]
        joined = [o and b == 1 and n > 1 for o, b, n in zip(overlap, self.block_size, trips, strict=True)]
        iterations = [n - j for n, j in zip(trips, joined, strict=True)]
        side_by_side = [d for d in range(3) if iterations[d] > 1]
        kept = (self.op.tiles, self.op.products)
        if prod(iterations) < ENOUGH_BLOCKS or not _fit_a_thread(kept):
            side_by_side = []
        first: list[Offset] = [0, 0, 0]
        ivs: dict[int, SSAValue] = {}
        with ExitStack() as stack:
            if side_by_side:
                bounds = [(iterations[d] * self.block_size[d], self.block_size[d]) for d in side_by_side]
                ivs.update(zip(side_by_side, stack.enter_context(self.parallel(bounds)), strict=True))
                self.tiles, self.products = (self.put(PrivateOp(v)).result for v in kept)
            for d in range(3):
                if d not in ivs:
                    first[d] = stack.enter_context(self.loop(0, self.grid[d], self.block_size[d]))
                elif joined[d]:
                    first[d] = stack.enter_context(self.once_or_twice(ivs[d], iterations[d] - 1))
                else:
                    first[d] = ivs[d]
            yield first

    @contextmanager
    def tile(self, first: Sequence[Offset], row: Offset | None = None) -> Iterator[tuple[list[Offset], list[Offset]]]:
        """Loops over the tiles of the block at `first`, or of a `row` of it: each within the block; its image, first
        row, first column."""
        images, rows, columns = self.block_size
        height, width = self.op.extents()
        with ExitStack() as stack:
            image = stack.enter_context(self.loop(0, images))
            row = stack.enter_context(self.loop(0, rows)) if row is None else row
            column = stack.enter_context(self.loop(0, columns))
            at = [self.plus(a, b) for a, b in zip(first, (image, row, column), strict=True)]
            place = [at[0], self.start(at[1], self.rows.tile, height), self.start(at[2], self.columns.tile, width)]
            yield [image, row, column], place

    def transform_filters(self, source: Offset, piece: Offset, block: Offset, position: Offset) -> None:
        """filters[block] = G w G^T for the channels of one piece and block `source` of filters, from `position` on."""
        *_, in_lanes, lanes = shape_of(self.op.filter)
        some = shape_of(self.filters)[1]
        per_piece = self.op.depth() // in_lanes
        with self.loop(0, per_piece) as rest:
            taps_at = [source, self.plus(self.times(piece, per_piece), rest), 0, 0, 0, 0]
            w = self.view(self.op.filter, taps_at, [1, 1, TAPS, TAPS, in_lanes, lanes], (2, 3, 4, 5))
            offsets = [0, 0, block, self.times(rest, in_lanes), 0]
            u = self.view(self.filters, offsets, [1, some, 1, in_lanes, lanes], (1, 3, 4))
            self.transforms.filter(w, u, position)

    def prefetch_taps(self, start: Offset, piece: Offset, position: Offset) -> None:
        """Bring a share of the filters near that are transformed after this piece, while it is multiplied.

        They lie behind those of this piece. Transformed right away they would come too late, all at once; prefetchers
        of the hardware stop at pages, and nine rows of taps side by side are too many for them.
        """
        w = self.op.filter
        if not (isinstance(w.type, MemRefType) and isinstance(w.type.layout, NoneAttr)):
            return
        rank = len(shape_of(w))
        flat = MemRefType(f32, [prod(shape_of(w))])
        every = ArrayAttr([ArrayAttr(IntegerAttr(k, i64) for k in range(rank))])
        taps = self.put(
            memref.CollapseShapeOp.build(operands=[w], result_types=[flat], properties={"reassociation": every})
        )
        piece_size = TAPS * TAPS * self.op.depth() * shape_of(w)[5]
        share = -(-piece_size // (self.op.positions() * LINE)) * LINE
        with self.loop(0, self.op.group()) as block:
            pieces = self.plus(self.times(self.plus(start, block), self.op.pieces()), self.plus(piece, 1))
            at = self.plus(self.times(pieces, piece_size), self.times(position, share))
            with self.loop(0, share, LINE) as line:
                place = self.plus(at, line)
                place = place if isinstance(place, SSAValue) else self.index(place)
                self.put(PrefetchOp(taps.result, [place], 2))

    def multiply(self, position: Offset) -> None:
        """products[position] = tiles[position] * filters[position], one piece of the channels after the other."""
        pieces = shape_of(self.filters)[0]
        if pieces > 1:
            self.clear(self.products_at(position))
        with self.loop(0, pieces) as piece:
            self.add_product(position, piece, (piece, position))

    def products_at(self, position: Offset) -> SSAValue:
        """The products of one position."""
        space = shape_of(self.products)[1:]
        return self.view(self.products, [position, *[0] * 5], [1, *space], range(1, 6))

    def add_product(self, position: Offset, piece: Offset, filters: tuple[Offset, Offset]) -> None:
        """products[position] += tiles[piece, position] * filters (of a piece, at a position); `=` where it is all."""
        sums = self.products_at(position)
        if self.op.pieces() == 1:
            self.product(position, piece, filters, sums)
            return
        part = self.scratch(*shape_of(self.products)[1:])
        self.product(position, piece, filters, part)
        on = Arithmetic([f32, f32], self.location)
        on.end([on.add(on.block.args[1], on.block.args[0])])
        self.generic([part], [sums], [AffineMap.identity(5)] * 2, 5, on.block)

    def product(self, position: Offset, piece: Offset, filters: tuple[Offset, Offset], out: SSAValue) -> None:
        """out[f, t] = sum over the channels c of a piece of tiles[t, c] * filters[c, f]."""
        sizes = shape_of(self.tiles)[2:], (self.op.group(), self.op.depth(), shape_of(self.filters)[4])
        tiles = self.view(self.tiles, [piece, position, *[0] * 5], [1, 1, *sizes[0]], range(2, 7))
        weights = self.view(self.filters, [*filters, 0, 0, 0], [1, 1, *sizes[1]], (2, 3, 4))
        self.clear(out)
        d = [AffineDimExpr(i) for i in range(7)]  # filter block, image, row, column, filter lane; channel block, lane
        channel: AffineExpr = d[5] * sizes[0][4] + d[6]
        maps = [
            AffineMap(7, 0, (d[1], d[2], d[3], d[5], d[6])),
            AffineMap(7, 0, (d[0], channel, d[4])),
            AffineMap(7, 0, tuple(d[:5])),
        ]
        on = Arithmetic([f32] * 3, self.location)
        term = on.put(arith.MulfOp(on.block.args[0], on.block.args[1]))
        on.end([on.add(on.block.args[2], term)])
        self.generic([tiles, weights], [out], maps, 5, on.block)


def _fit_a_thread(buffers: Sequence[SSAValue]) -> bool:
    """Whether every thread can have these buffers privately."""
    types = [v.type for v in buffers if isinstance(v.type, MemRefType)]
    return all(isinstance(t.layout, NoneAttr) for t in types) and sum(map(private_bytes, types)) <= MOST_BYTES
