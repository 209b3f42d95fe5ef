"""Write a Winograd matrix product as loops around structured ops.

    linalg.fill %zero outs(%y)              scf.parallel rows {
    linalg_ext.winograd_matmul                linalg.generic #squares ins(%x) outs(%r[2], %r[3])   and sizes
      ins(%x, %w) outs(%y, %s, %r)            linalg.generic #factors ins(%r[2]) outs(%r[0], %r[1], %r[4])
    linalg.generic #relu outs(%y)     -->     scf.for piece {
                                                linalg.generic #scale ins(%x, %r[1]) outs(%s[piece])
                                                scf.for row { linalg.generic #pairs outs(%r[5 + piece]) } } }
                                            scf.parallel rows, columns {
                                              scf.for piece {
                                                linalg.fill %zero outs(%part)
                                                linalg.generic #terms ins(%s[piece], %w[piece]) outs(%part)
                                                scf.for row { linalg.generic #add ins(%part) outs(%whole) } }
                                              scf.for row {
                                                linalg.fill %zero outs(%y)
                                                linalg.generic #unscale ins(%whole) outs(%y)
                                                linalg.generic #relu outs(%y) }
                                              scf.if (any row is plain) { … %y += %x * %w } }
Elementwise ops that follow in place are taken into the loop over rows and columns, and so is a fill before.
`rows`: those that all columns are multiplied with before the next (0: as many as the second-level cache holds).
Runs after bufferize (it works on buffers). Runs before vectorize-structured, which makes register tiles of all of it.
Tests: tests/lowering/vector/expand_winograd_matmul.mlir
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod

from xdsl.dialects import arith
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineMap

from mlc.dialects.linalg_ext.winograd_matmul_ops import GROUP, SUMS, WinogradMatmulOp
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Reassociates
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.vector.loop_writer import Offset
from mlc.lowering.vector.prepared_product import epilogue_behind, even_parts, fill_before
from mlc.lowering.vector.prepared_rows import D, loops_map
from mlc.lowering.vector.winograd_matmul_rows import WinogradMatmulRows

BLOCK_BYTES = 384 << 10
"""Of a piece of scaled inputs that all columns are multiplied with before the next rows: it stays in the second-level
cache."""
MOST_ROWS, LEAST_ROWS = 20, 12
"""Of a register tile."""


@dataclass(frozen=True)
class ExpandWinogradMatmul(MlcPass):
    """See the module."""

    name = "expand-winograd-matmul"
    contract = Contract(
        level_in="buffers",
        level_out="buffers",
        preserves=Reassociates("pairs of terms for one product each; products and sums contract to fma"),
        profile="winograd-matmul",
        options=({}, {"rows": 5}, {"rows": 4}),
        establishes=("no linalg_ext.winograd_matmul is left",),
        nests=True,
    )

    rows: int = option(0, Span(1, 1 << 20, special=(0,)))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in list(module.walk()):
            if isinstance(op, WinogradMatmulOp) and not op.res:
                fill, epilogue = fill_before(op), epilogue_behind(op)
                _Expansion(op, fill, epilogue).write(self.rows)
                ctx.remarks.applied(
                    self.name, op, "written as structured ops", epilogue=len(epilogue), filled=fill is not None
                )
                for old in (*reversed(epilogue), op, fill):
                    if old is not None:
                        old.detach()
                        old.erase()


class _Expansion(WinogradMatmulRows):
    """One product with its epilogue."""

    def write(self, block: int) -> None:
        """All of it, before the last op that it replaces. `block`: rows of a block, 0 for what fits the cache."""
        self.write_rows()
        total = self.plain_rows()
        some = self.kept[0]
        most = max(1, (block or BLOCK_BYTES // (4 * self.whole)) // prod(self.grid[some + 1 :]))
        for low, high, rows in even_parts(self.grid[some], most, most // 2):
            self.multiply(low, high, rows, total)

    def multiply(self, low: int, high: int, rows: int, total: SSAValue) -> None:
        """Rows from `low` to `high`, `rows` at a time, with all columns."""
        some = self.kept[0]
        bounds = [*((n, 1) for n in self.grid[:some]), ((high - low), rows), (self.blocks, 1)]
        sizes = [*[1] * some, rows, *self.grid[some + 1 :]]
        with self.parallel(bounds) as (*outer, at, block):
            first = [*outer, self.plus(at, low), *[0] * (len(self.grid) - some - 1)]
            if self.fill is None:  # what is added to is there only once
                self.if_any(total, first, block, sizes)
            for parts in _tiles(sizes):
                with ExitStack() as stack:
                    loops = [stack.enter_context(self.loop(*part)) for part in parts]
                    self.tile(
                        [self.plus(n, k) for n, k in zip(first, loops, strict=True)], block, [n for *_, n in parts]
                    )
            if self.fill is not None:
                self.if_any(total, first, block, sizes)

    def tile(self, first: Sequence[Offset], block: Offset, rows: Sequence[int]) -> None:
        """As many rows as accumulate in registers, with one block of columns."""
        shape = [*(rows[d] for d in self.kept), self.lanes]
        part = self.scratch(*shape)
        whole = part
        if self.pieces == 1:
            self.clear(part)
            self.add_terms(first, block, 0, rows, part)
        else:
            whole = self.scratch(*shape)
            self.clear(whole)
            with self.loop(0, self.pieces) as piece:
                self.clear(part)
                self.add_terms(first, block, piece, rows, part)
                with self.each(first, rows) as (at, place, one):
                    on = self.body(4)
                    value, of_row, of_column, old = on.block.args
                    on.end([on.add(old, on.sub(value, on.add(of_row, of_column)))])
                    ins = [self.of_tile(part, place), *self.sums(at, block, piece, one)]
                    by_row, by_lane, both = self.sum_maps()
                    self.generic(
                        ins, [self.of_tile(whole, place)], [both, by_row, by_lane, both], self.inner + 1, on.block
                    )
        with self.each(first, rows) as (at, place, one):
            y = self.start(at, block, one)
            factor = self.view(self.op.weights, [block, self.pieces * (self.whole + 1), 0], [1, 1, self.lanes], (2,))
            taken_off = self.sums(at, block, 0, one) if self.pieces == 1 else []
            self.add_scaled(self.of_tile(whole, place), factor, at, one, y, taken_off)
            self.write_epilogue(at, block, one, y)

    def of_tile(self, tile: SSAValue, place: Sequence[Offset]) -> SSAValue:
        """One row of a tile."""
        at = [place[d] for d in self.kept]
        return self.view(tile, [*at, 0], [*[1] * len(at), self.lanes], range(len(at) + 1))

    def add_terms(
        self, first: Sequence[Offset], block: Offset, piece: Offset, rows: Sequence[int], part: SSAValue
    ) -> None:
        """part += the terms of one piece: pairs with what is to be taken off, and single ones."""
        x = self.scaled(first, piece, rows)
        w = self.view(self.op.weights, [block, self.times(piece, self.whole), 0], [1, self.whole, self.lanes], (1, 2))
        on = self.body(2 * GROUP + 1)
        a, b, acc = on.block.args[:GROUP], on.block.args[GROUP : 2 * GROUP], on.block.args[2 * GROUP]
        acc = on.add(acc, on.put(arith.MulfOp(on.add(b[1], a[0]), on.add(b[0], a[1]))))
        acc = on.add(acc, on.put(arith.MulfOp(a[2], b[2])))
        turned = on.put(arith.NegfOp(on.sub(b[4], a[3])))
        acc = on.add(acc, on.put(arith.MulfOp(turned, on.sub(b[3], a[4]))))
        on.end([on.add(acc, on.put(arith.MulfOp(a[5], b[5])))])
        # rows, lanes, groups
        inner = self.inner
        loops, of_rows = inner + 2, D[:inner]
        reads = [AffineMap(loops, 0, (*of_rows, D[inner + 1], AffineConstantExpr(s))) for s in range(GROUP)]
        columns = [AffineMap(loops, 0, (D[inner + 1] * GROUP + s, D[inner])) for s in range(GROUP)]
        maps = [*reads, *columns, loops_map(loops, *range(inner + 1))]
        self.generic([x] * GROUP + [w] * GROUP, [part], maps, inner + 1, on.block)

    def sums(self, first: Sequence[Offset], block: Offset, piece: Offset, rows: Sequence[int]) -> list[SSAValue]:
        """Of the products of pairs: per row, per column."""
        at = self.plus(piece, self.pieces * self.whole)
        columns = self.view(self.op.weights, [block, at, 0], [1, 1, self.lanes], (2,))
        return [self.row(self.plus(piece, SUMS), first, rows), columns]

    def plain_row(self, row: Sequence[Offset], block: Offset) -> None:
        """y[row, block] += the plain product."""
        one = [1] * len(row)
        self.start(row, block, one)
        y = self.view(self.op.output, [row[0], block, *row[1:], 0], [1, 1, *one[1:], self.lanes], (len(row) + 1,))
        factor_row = self.pieces * self.whole + self.pieces
        factor = self.view(self.op.weights, [block, factor_row, 0], [1, 1, self.lanes], (2,))
        blocks = self.depth // self.beside
        with self.loop(0, self.pieces) as piece, self.loop(0, blocks) as part:
            term = self.plus(self.times(piece, blocks), part)
            if len(row) == 1:
                x = self.view(self.op.input, [*row, self.times(term, self.beside)], [1, self.beside], (1,))
            else:
                x = self.view(self.op.input, [row[0], term, *row[1:], 0], [1, 1, 1, 1, self.beside], (4,))
            place = [block, self.plus(self.times(piece, self.whole), self.times(part, self.beside)), 0]
            w = self.view(self.op.weights, place, [1, self.beside, self.lanes], (1, 2))
            on = self.body(4)
            a, b, unscale, acc = on.block.args
            weight = on.put(arith.MulfOp(b, unscale))
            on.end([on.add(acc, on.put(arith.MulfOp(a, weight)))])
            maps = [loops_map(2, 1), loops_map(2, 1, 0), loops_map(2, 0), loops_map(2, 0)]  # lanes, terms
            self.generic([x, w, factor], [y], maps, 1, on.block, cold=True)


def _tiles(sizes: Sequence[int]) -> list[list[tuple[int, int, int]]]:
    """Register tiles that cover rows: parts of every dimension; several rows of pixels where they are narrow."""
    *images, wide = sizes
    tiles: list[list[tuple[int, int, int]]] = []
    for columns in even_parts(wide, MOST_ROWS, LEAST_ROWS):
        if not images:
            tiles.append([columns])
            continue
        tall = MOST_ROWS // wide if wide == columns[2] else 1
        tiles += [[(0, 1, 1), rows, columns] for rows in even_parts(images[-1], max(tall, 1), max(tall, 1))]
    return tiles
