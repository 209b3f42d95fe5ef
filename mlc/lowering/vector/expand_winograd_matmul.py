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

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import (
    FloatAttr,
    MemRefType,
    ModuleOp,
    f32,
)
from xdsl.dialects.linalg.ops import FillOp, GenericOp, IndexOp
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineDimExpr, AffineExpr, AffineMap

from mlc.dialects.linalg_ext.prepared_matmul import PLAIN, UNSCALE
from mlc.dialects.linalg_ext.winograd_matmul_ops import (
    GROUP,
    SUMS,
    WinogradMatmulOp,
)
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Reassociates
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.vector.loop_writer import Arithmetic, Offset, element_type, shape_of
from mlc.lowering.vector.winograd_matmul_rows import D, WinogradMatmulRows, loops_map

_VIEWS = (memref.CastOp, memref.CollapseShapeOp, memref.ExpandShapeOp, memref.SubviewOp)
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
                fill, epilogue = _fill(op), _epilogue(op)
                _Expansion(op, fill, epilogue).write(self.rows)
                ctx.remarks.applied(
                    self.name, op, "written as structured ops", epilogue=len(epilogue), filled=fill is not None
                )
                for old in (*reversed(epilogue), op, fill):
                    if old is not None:
                        old.detach()
                        old.erase()


def _fill(op: WinogradMatmulOp) -> FillOp | None:
    """The fill right before `op` of what it adds to."""
    before = op.prev_op
    while isinstance(before, (arith.ConstantOp, *_VIEWS)):
        before = before.prev_op
    return before if isinstance(before, FillOp) and list(before.outputs) == [op.output] else None


def _epilogue(op: WinogradMatmulOp) -> list[GenericOp]:
    """The elementwise ops right after `op` that work on its output in place, and can run point by point."""
    found: list[GenericOp] = []
    after = op.next_op
    while after is not None:
        if isinstance(after, GenericOp) and _is_pointwise(after, op):
            found.append(after)
        elif not isinstance(after, (arith.ConstantOp, *_VIEWS)):
            break
        after = after.next_op
    return found


def _is_pointwise(after: GenericOp, op: WinogradMatmulOp) -> bool:
    if list(after.outputs) != [op.output] or {*after.inputs} & {op.output, op.scaled, op.rows}:
        return False
    maps = [m.data for m in after.get_indexing_maps()]
    bare = all(isinstance(e, AffineDimExpr) for m in maps for e in m.results)
    if not bare or maps[-1] != AffineMap.identity(len(shape_of(op.output))):
        return False
    return not any(isinstance(inner, IndexOp | memref.LoadOp) for inner in after.body.block.ops)


class _Expansion(WinogradMatmulRows):
    """One product with its epilogue."""

    def __init__(self, op: WinogradMatmulOp, fill: FillOp | None, epilogue: Sequence[GenericOp]) -> None:
        super().__init__(op, fill or op, epilogue[-1] if epilogue else op, epilogue)
        self.fill, self.epilogue = fill, epilogue

    def write(self, block: int) -> None:
        """All of it, before the last op that it replaces. `block`: rows of a block, 0 for what fits the cache."""
        self.write_rows()
        total = self.plain_rows()
        some = self.kept[0]
        most = max(1, (block or BLOCK_BYTES // (4 * self.whole)) // prod(self.grid[some + 1 :]))
        for low, high, rows in _even(self.grid[some], most, most // 2):
            self.multiply(low, high, rows, total)

    def output(self, first: Sequence[Offset], block: Offset, rows: Sequence[int]) -> SSAValue:
        """Some rows of one block of columns of the output."""
        place, sizes = [first[0], block, *first[1:], 0], [rows[0], 1, *rows[1:], self.lanes]
        return self.view(self.op.output, place, sizes, self.kept_outputs)

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
            self.add_scaled(self.of_tile(whole, place), at, block, one, y, sums=self.pieces == 1)
            self.write_epilogue(at, block, one, y)

    def of_tile(self, tile: SSAValue, place: Sequence[Offset]) -> SSAValue:
        """One row of a tile."""
        at = [place[d] for d in self.kept]
        return self.view(tile, [*at, 0], [*[1] * len(at), self.lanes], range(len(at) + 1))

    def sum_maps(self) -> tuple[AffineMap, AffineMap, AffineMap]:
        """From loops over rows and lanes: rows, lanes, both."""
        loops = self.inner + 1
        return loops_map(loops, *range(self.inner)), loops_map(loops, self.inner), AffineMap.identity(loops)

    def start(self, first: Sequence[Offset], block: Offset, rows: Sequence[int]) -> SSAValue:
        """Some rows of one block of columns of the output, with what is added to."""
        y = self.output(first, block, rows)
        if self.fill is not None:
            self.put(FillOp(list(self.fill.inputs), [y], []))
        return y

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

    def add_scaled(
        self, whole: SSAValue, first: Sequence[Offset], block: Offset, rows: Sequence[int], y: SSAValue, *, sums: bool
    ) -> None:
        """y += the sum of all terms without the factors of its row and column, unless the row is multiplied plainly.
        `sums`: take those of pairs off."""
        last = self.pieces * (self.whole + 1)
        factor = self.view(self.op.weights, [block, last, 0], [1, 1, self.lanes], (2,))
        ins = [whole, self.row(UNSCALE, first, rows), factor, self.row(PLAIN, first, rows)]
        by_row, by_lane, both = self.sum_maps()
        maps = [both, by_row, by_lane, by_row]
        if sums:
            ins += self.sums(first, block, 0, rows)
            maps += [by_row, by_lane]
        on = self.body(len(ins) + 1)
        value, unscale, unscale_column, plain, *taken_off, old = on.block.args
        if taken_off:
            value = on.sub(value, on.add(taken_off[0], taken_off[1]))
        # one after the other: the product of the two may be less than any float
        value = on.put(arith.MulfOp(value, unscale))
        new = on.add(old, on.put(arith.MulfOp(value, unscale_column)))
        odd = on.put(arith.CmpfOp(plain, on.constant(0.0), "une"))
        on.end([on.put(arith.SelectOp(odd, old, new))])
        self.generic(ins, [y], [*maps, both], self.inner + 1, on.block)

    def if_any(self, total: SSAValue, first: Sequence[Offset], block: Offset, rows: Sequence[int]) -> None:
        """Multiply plainly what is not to be scaled."""
        any_row = self.nonzero(self.put(memref.LoadOp.get(total, [])).res)
        with self.only_if(any_row), ExitStack() as stack:
            at = [self.plus(n, stack.enter_context(self.loop(0, k))) for n, k in zip(first, rows, strict=True)]
            places = [n if isinstance(n, SSAValue) else self.index(n) for n in (PLAIN, *at)]
            odd = self.nonzero(self.put(memref.LoadOp.get(self.op.rows, places)).res)
            with self.only_if(odd):
                self.plain_row(at, block)
                if self.fill is not None:
                    one = [1] * len(rows)
                    self.write_epilogue(at, block, one, self.output(at, block, one))

    def nonzero(self, value: SSAValue) -> SSAValue:
        zero = self.put(arith.ConstantOp(FloatAttr(0.0, f32))).result
        return self.put(arith.CmpfOp(value, zero, "une")).result

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

    def write_epilogue(self, first: Sequence[Offset], block: Offset, rows: Sequence[int], y: SSAValue) -> None:
        """The elementwise ops that follow, on some rows and one block of columns."""
        for op in self.epilogue:
            self.write_elementwise(op, first, block, rows, y)

    def write_elementwise(
        self, op: GenericOp, first: Sequence[Offset], block: Offset, rows: Sequence[int], y: SSAValue
    ) -> None:
        dest, sizes = [first[0], block, *first[1:], 0], [rows[0], 1, *rows[1:], self.lanes]
        places: list[AffineExpr] = [AffineExpr.constant(0)] * len(dest)
        for loop, dim in enumerate(self.kept_outputs):
            places[dim] = D[loop]
        inputs: list[SSAValue] = []
        maps: list[AffineMap] = []
        for value, attr in zip(op.inputs, op.indexing_maps.data, strict=False):
            dims = [e.position for e in attr.data.results if isinstance(e, AffineDimExpr)]
            if isinstance(value.type, MemRefType):
                value = self.view(value, [dest[k] for k in dims], [sizes[k] for k in dims], range(len(dims)))
            inputs.append(value)
            maps.append(AffineMap(len(self.kept_outputs), 0, tuple(places[k] for k in dims)))
        on = Arithmetic([element_type(v) for v in (*inputs, y)], self.location)
        on.end([on.inline(op.body.block, on.block.args)])
        loops = len(self.kept_outputs)
        self.generic(inputs, [y], [*maps, AffineMap.identity(loops)], loops, on.block)


def _even(count: int, most: int, least: int) -> list[tuple[int, int, int]]:
    """Parts of one size from `least` to `most` that cover `count`, and what is left: first, end, size."""
    if count <= most:
        return [(0, count, count)]
    sizes = range(max(least, 1), most + 1)
    size = max(sizes, key=lambda n: (count % n == 0, count % n, n))
    whole = count // size * size
    return [(0, whole, size), *([(whole, count, count - whole)] if whole < count else [])]


def _tiles(sizes: Sequence[int]) -> list[list[tuple[int, int, int]]]:
    """Register tiles that cover rows: parts of every dimension; several rows of pixels where they are narrow."""
    *images, wide = sizes
    tiles: list[list[tuple[int, int, int]]] = []
    for columns in _even(wide, MOST_ROWS, LEAST_ROWS):
        if not images:
            tiles.append([columns])
            continue
        tall = MOST_ROWS // wide if wide == columns[2] else 1
        tiles += [[(0, 1, 1), rows, columns] for rows in _even(images[-1], max(tall, 1), max(tall, 1))]
    return tiles
