"""Write a product of split numbers as loops over tiles of a matrix unit.

    linalg.fill %zero outs(%y)              scf.parallel rows { … %r, and the parts of scaled rows in %s }
    linalg_ext.split_matmul                 scf.parallel groups of rows, pairs of panels {
      ins(%x, %w) outs(%y, %s, %r, %q)        scf.for piece {
    linalg.generic #relu outs(%y)     -->       scf.for term { … the parts of both panels in a buffer like %q }
                                                scf.for tiles of rows {
                                                  scf.for term { amx.tile_mulf … 24 times } … in %sums } }
                                              scf.for row {
                                                linalg.fill %zero outs(%y)
                                                linalg.generic #unscale ins(%sums) outs(%y)
                                                linalg.generic #relu outs(%y) }
                                              scf.if (any row is plain) { … %y += %x * %w } }
Elementwise ops that follow in place are taken into the loop over rows, and so is a fill before. Two tiles of rows and
two of columns are summed at once; of a step of terms their six products of parts take 14 loads for 24 products. Pieces
of terms are summed by themselves and then added up: in one chain errors would grow with the number of terms.
`tiles`: of 16 rows, in a group that all columns are multiplied with before the next (0: as many as stay in the
second-level cache beside two panels).
Runs after bufferize (it works on buffers). Runs before vectorize-structured, which makes the rest of it vectors.
Tests: tests/lowering/vector/expand_split_matmul.mlir, tests/api/test_split_matmul.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

from xdsl.dialects import arith, memref, scf, vector
from xdsl.dialects.builtin import IndexType, ModuleOp, bf16, f32
from xdsl.dialects.linalg.ops import FillOp, GenericOp
from xdsl.ir import Block, Region, SSAValue

from mlc.dialects.amx.ops import TileLoadOp, TileMulFOp, TileStoreOp, TileType, TileZeroOp
from mlc.dialects.linalg_ext.private_op import PrivateOp
from mlc.dialects.linalg_ext.split_matmul_ops import LANES, PARTS, STEP, SplitMatmulOp
from mlc.dialects.memref.prefetch import PrefetchOp
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Reassociates
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.vector.loop_writer import Offset, shape_of
from mlc.lowering.vector.prepared_product import epilogue_behind, even_parts, fill_before
from mlc.lowering.vector.prepared_rows import loops_map
from mlc.lowering.vector.split_matmul_rows import SplitMatmulRows

NEAR = 1280 << 10
"""Bytes of the parts of a group of rows and of two panels, in a piece: they stay in the second-level cache."""
MOST_TILES = 16
"""Of a group: its sums stay in the first-level cache."""
FAR = 1 << 20
"""Bytes of weights from which on those that are next are prefetched into the second-level cache."""
AHEAD = 64
"""Rows of a panel, a page, that come near before their parts are made: prefetchers of the hardware stop at pages."""
PRODUCTS = ((0, 2), (0, 1), (1, 1), (1, 0), (2, 0), (0, 0))
"""Parts of rows and of weights: from one to the next, either is the same."""
_SUMS = TileType.of(LANES, LANES, f32)
_PARTS = TileType.of(LANES, STEP, bf16)


@dataclass(frozen=True)
class ExpandSplitMatmul(MlcPass):
    """See the module."""

    name = "expand-split-matmul"
    contract = Contract(
        level_in="buffers",
        level_out="buffers",
        preserves=Reassociates("six products of parts for each; products and sums contract to fma"),
        profile="split-matmul",
        options=({}, {"tiles": 1}, {"tiles": 2}),
        establishes=("no linalg_ext.split_matmul is left",),
        nests=True,
    )

    tiles: int = option(0, Span(1, MOST_TILES, special=(0,)))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in list(module.walk()):
            if isinstance(op, SplitMatmulOp) and not op.res:
                fill, epilogue = fill_before(op), epilogue_behind(op)
                _Expansion(op, fill, epilogue).write(self.tiles)
                ctx.remarks.applied(self.name, op, "written as tiles", epilogue=len(epilogue), filled=fill is not None)
                for old in (*reversed(epilogue), op, fill):
                    if old is not None:
                        old.detach()
                        old.erase()


@dataclass(frozen=True)
class _Place:
    """`size` tiles of rows from `first` on, with `across` panels from `block` on."""

    first: Offset
    size: int
    block: Offset
    across: int


@dataclass(frozen=True)
class _Piece:
    """`steps` steps of terms from `start` on, and where the weights of those that come next begin."""

    start: Offset
    steps: int
    next_block: Offset
    next_start: Offset


class _Expansion(SplitMatmulRows):
    """One product with its epilogue."""

    def __init__(self, op: SplitMatmulOp, fill: FillOp | None, epilogue: Sequence[GenericOp]) -> None:
        super().__init__(op, fill, epilogue)
        self.piece = shape_of(op.panels)[1]

    def write(self, tiles: int) -> None:
        """All of it, before the last op that it replaces. `tiles`: of a group, 0 for what fits the cache."""
        self.write_rows()
        total = self.plain_rows()
        tile = 2 * PARTS * LANES * STEP * self.piece  # bytes of one's parts, and of a panel's
        most = tiles or max(2, min(MOST_TILES, NEAR // tile - 2))
        pairs, left = divmod(self.blocks, 2)
        for low, high, size in even_parts(shape_of(self.op.scaled)[0], most, most // 2):
            if pairs:
                with self.parallel([(high - low, size), (pairs, 1)]) as (first, pair):
                    self.group(_Place(self.plus(first, low), size, self.times(pair, 2), 2), high, total)
            if left:
                with self.parallel([(high - low, size)]) as (first,):
                    self.group(_Place(self.plus(first, low), size, self.blocks - 1, 1), high, total)

    def group(self, at: _Place, high: int, total: SSAValue) -> None:
        """A group of tiles with some panels. `high`: the end of all groups of this size."""
        block, across = at.block, at.across
        panels = self.put(PrivateOp(self.op.panels)).result
        sums = self.scratch(at.size * LANES, across, LANES)
        low, rows = self.times(at.first, LANES), prod(self.grid)
        count: Offset = at.size * LANES
        if high * LANES > rows:  # the last tile has rows too many
            left = self.put(arith.SubiOp(self.index(rows), self.as_index(low))).result
            count = self.put(arith.MinSIOp(left, self.index(at.size * LANES))).result
        if self.fill is None:  # what is added to is there only once
            self.plain(total, low, count, block, across)
        whole, rest = divmod(self.steps, self.piece)
        if whole + bool(rest) > 1:
            self.clear(sums)
        with self.loop(0, whole * self.piece, self.piece) as start:
            self.add_piece(at, self.piece_from(at, start, self.piece), panels, sums)
        if rest:
            self.add_piece(at, self.piece_from(at, whole * self.piece, rest), panels, sums)
        with self.counted(count) as row:
            place = self.row_at(self.plus(low, row))
            one = [1] * len(place)
            for n in range(across):
                here = self.plus(block, n)
                value = self.view(sums, [row, n, 0], [1, 1, LANES], (0, 2) if self.inner == 1 else (0, 1, 2))
                factor = self.view(self.op.weights, [here, self.last, 0], [1, 1, LANES], (2,))
                y = self.start(place, here, one)
                self.add_scaled(value, factor, place, one, y)
                self.write_epilogue(place, here, one, y)
        if self.fill is not None:
            self.plain(total, low, count, block, across)

    def piece_from(self, at: _Place, start: Offset, steps: int) -> _Piece:
        """The piece of terms that begins at step `start`, and where the weights begin that are multiplied next."""
        behind = self.plus(start, steps)
        other = self.plus(at.block, at.across)
        if isinstance(behind, int):
            return _Piece(start, steps, other, 0) if behind >= self.steps else _Piece(start, steps, at.block, behind)
        is_last = self.put(arith.CmpiOp(behind, self.index(self.steps), "eq")).result
        block, first = (
            self.put(arith.SelectOp(is_last, self.as_index(a), self.as_index(b))).result
            for a, b in ((other, at.block), (0, behind))
        )
        return _Piece(start, steps, block, first)

    # Products

    def add_piece(self, at: _Place, piece: _Piece, panels: SSAValue, sums: SSAValue) -> None:
        """sums += the products of a piece of terms."""
        for n in range(at.across):
            with self.loop(0, piece.steps) as step, self.loop(0, LANES) as pair:
                row = self.plus(self.times(self.plus(piece.start, step), STEP), pair)
                places = [[self.plus(at.block, n), self.plus(row, half), 0] for half in (0, LANES)]
                for panel, line, first in places:
                    ahead = [self.as_index(k) for k in (panel, self.plus(line, AHEAD), first)]
                    self.put(PrefetchOp(self.op.weights, ahead, 3))
                self.put_parts([self.load(self.op.weights, p) for p in places], panels, [n, step, 0, pair])
        if at.size > 1:
            with self.loop(0, at.size // 2 * 2, 2) as tile:
                self.add_tiles(at, piece, tile, 2, panels, sums)
        if at.size % 2:
            self.add_tiles(at, piece, at.size - 1, 1, panels, sums)

    def add_tiles(self, at: _Place, piece: _Piece, tile: Offset, down: int, panels: SSAValue, sums: SSAValue) -> None:
        """The sums of `down` tiles of rows with all panels at hand."""
        first, several = self.times(tile, LANES), self.steps > self.piece
        own = self.scratch(down * LANES, at.across, LANES) if several else sums
        places = [
            self.view(own, [self.plus(0 if several else first, i * LANES), j, 0], [LANES, 1, LANES], (0, 2))
            for i in range(down)
            for j in range(at.across)
        ]
        zero = self.index(0)
        accs = [self.put(TileZeroOp.create(result_types=[_SUMS])).res for _ in places]

        def products(step: Offset, accs: Sequence[SSAValue]) -> list[SSAValue]:
            return self.products(at, piece, tile, step, panels, accs)

        for place, value in zip(places, self.summed(piece.steps, accs, products), strict=True):
            self.put(TileStoreOp.create(operands=[place, zero, zero, value]))
        if several:
            with self.loop(0, down * LANES) as row:
                for j in range(at.across):
                    here = [self.plus(first, row), j, 0]
                    total = self.put(arith.AddfOp(self.load(sums, here), self.load(own, [row, j, 0]))).result
                    self.put(vector.StoreOp(total, sums, [self.as_index(k) for k in here]))

    def products(
        self,
        at: _Place,
        piece: _Piece,
        tile: Offset,
        step: Offset,
        panels: SSAValue,
        accs: Sequence[SSAValue],
    ) -> list[SSAValue]:
        """One step of terms: six products of parts for every tile of sums, each loaded when first needed. Between them
        the next weights are prefetched."""
        sums, wanted = list(accs), self.next_weights(at, piece, tile, step)
        each = -(-len(wanted) // (len(PRODUCTS) * len(sums)))
        before: tuple[int | None, int | None] = (None, None)
        rows: list[SSAValue] = []
        columns: list[SSAValue] = []
        term, first = self.plus(piece.start, step), self.plus(at.first, tile)
        down = len(sums) // at.across
        for part in PRODUCTS:
            if part[0] != before[0]:
                rows = [self.tile(self.op.scaled, [self.plus(first, i), term, part[0], 0, 0]) for i in range(down)]
            if part[1] != before[1]:
                columns = [self.tile(panels, [j, step, part[1], 0, 0]) for j in range(at.across)]
            before = part
            for n in range(len(sums)):
                operands = [rows[n // at.across], columns[n % at.across], sums[n]]
                sums[n] = self.put(TileMulFOp.create(operands=operands, result_types=[_SUMS])).res
                for place in wanted[:each]:
                    self.put(PrefetchOp(self.op.weights, [self.as_index(k) for k in place], 2))
                wanted = wanted[each:]
        return sums

    def next_weights(self, at: _Place, piece: _Piece, tile: Offset, step: Offset) -> list[list[Offset]]:
        """Some lines of the next weights, where they come from beyond the second-level cache: each pair of tiles of
        rows asks for some, all together for all."""
        if 4 * prod(shape_of(self.op.weights)) < FAR or self.blocks < 4:
            return []
        lines = at.across * STEP  # in a step
        pairs = max(1, at.size // 2)
        some = min(lines, 1 << (-(-lines // pairs) - 1).bit_length())
        from_line = self.times(tile, some // 2)
        block = self.plus(piece.next_block, self.divided(from_line, STEP))
        row = self.plus(
            self.times(self.plus(piece.next_start, step), STEP),
            self.left_over(from_line, STEP) if some <= STEP else 0,
        )
        return [[self.plus(block, n // STEP), self.plus(row, n % STEP), 0] for n in range(some)]

    def tile(self, source: SSAValue, place: Sequence[Offset]) -> SSAValue:
        zero = self.index(0)
        view = self.view(source, place, [1, 1, 1, LANES, STEP], (3, 4))
        return self.put(TileLoadOp.create(operands=[view, zero, zero], result_types=[_PARTS])).res

    def summed(
        self, steps: int, accs: Sequence[SSAValue], body: Callable[[Offset, Sequence[SSAValue]], list[SSAValue]]
    ) -> Sequence[SSAValue]:
        """What a loop over steps carries on."""
        if steps == 1:
            return body(0, accs)
        block = Block(arg_types=[IndexType(), *(a.type for a in accs)])
        self.into.append(block)
        results = body(block.args[0], block.args[1:])
        self.put(scf.YieldOp(*results))
        self.into.pop()
        bounds = self.index(0), self.index(steps), self.index(1)
        return self.put(scf.ForOp(*bounds, list(accs), Region(block))).results

    # Rows

    @contextmanager
    def counted(self, count: Offset) -> Iterator[Offset]:
        """A loop over `count`."""
        if isinstance(count, int):
            with self.loop(0, count) as at:
                yield at
            return
        block = Block(arg_types=[IndexType()])
        self.into.append(block)
        yield block.args[0]
        self.put(scf.YieldOp())
        self.into.pop()
        self.put(scf.ForOp(self.index(0), count, self.index(1), [], Region(block)))

    def plain(self, total: SSAValue, low: Offset, count: Offset, block: Offset, across: int) -> None:
        """Multiply plainly what is not to be scaled, of `count` rows from `low` on."""
        any_row = self.nonzero(self.put(memref.LoadOp.get(total, [])).res)
        with self.only_if(any_row), self.counted(count) as row:
            at = self.row_at(self.plus(low, row))
            for n in range(across):
                self.if_plain(at, self.plus(block, n))

    def plain_row(self, row: Sequence[Offset], block: Offset) -> None:
        one = [1] * len(row)
        self.start(row, block, one)
        y = self.view(self.op.output, [row[0], block, *row[1:], 0], [1, 1, *one[1:], LANES], (len(row) + 1,))
        factor = self.view(self.op.weights, [block, self.last, 0], [1, 1, LANES], (2,))
        with self.loop(0, self.blocks_of_terms) as part:
            if len(row) == 1:
                x = self.view(self.op.input, [*row, self.times(part, LANES)], [1, LANES], (1,))
            else:
                x = self.view(self.op.input, [row[0], part, *row[1:], 0], [1, 1, 1, 1, LANES], (4,))
            w = self.view(self.op.weights, [block, self.times(part, LANES), 0], [1, LANES, LANES], (1, 2))
            on = self.body(4)
            a, b, unscale, acc = on.block.args
            weight = on.put(arith.MulfOp(b, unscale))
            on.end([on.add(acc, on.put(arith.MulfOp(a, weight)))])
            maps = [loops_map(2, 1), loops_map(2, 1, 0), loops_map(2, 0), loops_map(2, 0)]  # lanes, terms
            self.generic([x, w, factor], [y], maps, 1, on.block, cold=True)

    @property
    def last(self) -> int:
        """The row of the weights that holds their factors."""
        return shape_of(self.op.weights)[1] - 2
