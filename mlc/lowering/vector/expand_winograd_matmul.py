"""Write a Winograd matrix product as loops around structured ops.

    linalg.fill %zero outs(%y)              scf.parallel rows {
    linalg_ext.winograd_matmul                linalg.generic #squares ins(%x) outs(%r[2], %r[3])   and sizes
      ins(%x, %w) outs(%y, %s, %r)            linalg.generic #factors ins(%r[2]) outs(%r[0], %r[1], %r[4])
    linalg.generic #relu outs(%y)     -->     scf.for piece {
                                                linalg.generic #scale ins(%x, %r[1]) outs(%s[piece])
                                                linalg.generic #pairs ins(%s[piece]) outs(%r[5 + piece]) } }
                                            scf.parallel rows, columns {
                                              linalg.fill %zero outs(%y)
                                              scf.if (any row is to be multiplied plainly) { … %y += %x * %w }
                                              scf.for piece {
                                                linalg.fill %zero outs(%part)
                                                linalg.generic #terms ins(%s[piece], %w[piece]) outs(%part)
                                                linalg.generic #add ins(%part, sums, factors) outs(%y) }
                                              linalg.generic #relu outs(%y) }
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

from xdsl.dialects import arith, math, memref, scf
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    FloatAttr,
    IntAttr,
    IntegerAttr,
    MemRefType,
    ModuleOp,
    StridedLayoutAttr,
    f32,
    i64,
)
from xdsl.dialects.linalg.ops import FillOp, GenericOp, IndexOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineDimExpr, AffineExpr, AffineMap

from mlc.dialects.linalg_ext.winograd_matmul_ops import (
    GROUP,
    LARGEST,
    PLAIN,
    SCALE,
    SIZES,
    SMALLEST,
    SQUARES,
    PERIOD,
    SUMS,
    UNSCALE,
    WinogradMatmulOp,
    padded,
    room,
)
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Reassociates
from mlc.ir.locations import fuse_locations
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.vector.loop_writer import Arithmetic, LoopWriter, Offset, element_type, shape_of

_VIEWS = (memref.CastOp, memref.CollapseShapeOp, memref.ExpandShapeOp, memref.SubviewOp)
ROWS_AT_ONCE = 8
"""Rows prepared in one iteration, about."""
BLOCK_BYTES = 384 << 10
"""Of a piece of scaled inputs that all columns are multiplied with before the next rows: it stays in the second-level cache."""
MOST_ROWS, LEAST_ROWS = 20, 12
"""Of a register tile."""
_D = [AffineDimExpr(i) for i in range(5)]


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


class _Expansion(LoopWriter):
    """One product with its epilogue."""

    def __init__(self, op: WinogradMatmulOp, fill: FillOp | None, epilogue: Sequence[GenericOp]) -> None:
        location = fuse_locations([op.location, *(e.location for e in epilogue)])
        super().__init__(fill or op, epilogue[-1] if epilogue else op, location)
        self.op, self.fill, self.epilogue = op, fill, epilogue
        self.depth, self.pieces = op.piece(), op.pieces()
        self.whole, self.beside = padded(self.depth), op.beside()
        self.grid, self.blocks, self.lanes = op.grid(), shape_of(op.output)[1], shape_of(op.output)[-1]
        # the dimensions of rows that structured ops run over: not images
        self.kept = (0,) if len(self.grid) == 1 else (1, 2)
        self.kept_outputs = (0, 2) if len(self.grid) == 1 else (2, 3, 4)
        self.inner = len(self.kept)

    def write(self, block: int) -> None:
        """All of it, before the last op that it replaces. `block`: rows of a block, 0 for what fits the cache."""
        step = _at_once(self.grid[-1])
        signs, last = self.signs(), shape_of(self.op.weights)[1] - 1
        weights = self.view(self.op.weights, [0, last, 0], [1, 1, 1], ())
        with ExitStack() as stack:
            steps = [*[1] * (len(self.grid) - 1), step]
            first = [stack.enter_context(self.loop(0, n, k, parallel=True)) for n, k in zip(self.grid, steps, strict=True)]
            self.prepare(first, steps, signs, weights)
        total = self.plain_rows()
        some = self.kept[0]
        most = max(1, (block or BLOCK_BYTES // (4 * self.whole)) // prod(self.grid[some + 1 :]))
        for low, high, rows in _even(self.grid[some], most, most // 2):
            self.multiply(low, high, rows, total)

    # Rows: all in one dimension, or images, rows of pixels, and pixels

    def row(self, number: Offset, first: Sequence[Offset], rows: Sequence[int]) -> SSAValue:
        """One of the numbers of every row, for `rows` rows."""
        return self.view(self.op.rows, [number, *first], [1, *rows], [1 + d for d in self.kept])

    def numbers(self, first: Sequence[Offset], rows: Sequence[int], *which: int) -> list[SSAValue]:
        """Several numbers of every row, as parts of one view: it is known that they are apart."""
        inner = [rows[d] for d in self.kept]
        whole = self.view(self.op.rows, [0, *first], [SUMS, *rows], [0, *(1 + d for d in self.kept)])
        return [self.view(whole, [n, *[0] * self.inner], [1, *inner], range(1, self.inner + 1)) for n in which]

    def input(self, first: Sequence[Offset], rows: Sequence[int], piece: Offset, pieces: int) -> SSAValue:
        """Inputs of some rows and pieces: in dimensions as those of `input_map`."""
        blocks = self.depth // self.beside
        if len(self.grid) == 1:
            return self.view(self.op.input, [*first, self.times(piece, self.depth)], [*rows, pieces * self.depth], (0, 1))
        place = [first[0], self.times(piece, blocks), *first[1:], 0]
        return self.view(self.op.input, place, [rows[0], pieces * blocks, *rows[1:], self.beside], (1, 2, 3, 4))

    def input_map(self) -> AffineMap:
        """From loops over rows, blocks of terms, and terms."""
        return _map(2, 0, 1) if len(self.grid) == 1 else _map(4, 2, 0, 1, 3)

    def output(self, first: Sequence[Offset], block: Offset, rows: Sequence[int]) -> SSAValue:
        """Some rows of one block of columns of the output."""
        place, sizes = [first[0], block, *first[1:], 0], [rows[0], 1, *rows[1:], self.lanes]
        return self.view(self.op.output, place, sizes, self.kept_outputs)

    def prepare(self, first: Sequence[Offset], rows: Sequence[int], signs: SSAValue, weights: SSAValue) -> None:
        """Factors and scaled inputs of the rows from `first` on. `signs`: of the products of neighbouring terms;
        `weights`: whether any column is to be multiplied plainly."""
        x = self.input(first, rows, 0, self.pieces)
        squares, sizes = self.numbers(first, rows, SQUARES, SIZES)
        self.clear(squares)
        self.clear(sizes)
        on = self.body(3)
        value, square, size = on.block.args
        square = on.add(square, on.put(arith.MulfOp(value, value)))
        on.end([square, on.add(size, on.put(math.AbsFOp(value)))])
        by_term = self.input_map()
        by_row = _map(by_term.num_dims, *range(self.inner))
        self.generic([x], [squares, sizes], [by_term, by_row, by_row], self.inner, on.block)
        self.factors(first, rows, weights)
        with self.loop(0, self.pieces) as piece:
            self.scale(first, piece, rows)
            self.pairs(first, piece, rows, signs)

    def factors(self, first: Sequence[Offset], rows: Sequence[int], weights: SSAValue) -> None:
        """The power of two that brings the root of the mean of squares of a row near one; zero for a plain row."""
        kinds = self.numbers(first, rows, SQUARES, SIZES, UNSCALE, SCALE, PLAIN)
        on = self.body(6)
        squares, size, plain_weights = on.block.args[:3]
        zero, one = on.constant(0.0), on.constant(1.0)
        mean = on.put(arith.MulfOp(squares, on.constant(1.0 / (self.depth * self.pieces))))
        # infinite where the mean is outside: exact domains have no order, and find none there
        above = on.put(arith.MulfOp(mean, on.constant(2.0**128 / LARGEST)))
        below = on.put(arith.DivfOp(on.constant(2.0**128 * SMALLEST), mean))
        infinity = on.constant(float("inf"))
        large, small = (on.put(arith.CmpfOp(v, infinity, "ueq")) for v in (above, below))
        empty = on.put(arith.CmpfOp(size, zero, "oeq"))
        known = on.put(arith.SelectOp(large, one, on.put(arith.SelectOp(small, one, mean))))
        half = on.put(arith.MulfOp(on.put(math.Log2Op(known)), on.constant(-0.5)))
        factor = on.put(math.Exp2Op(on.put(math.RoundEvenOp(half))))
        outside = on.put(arith.SelectOp(large, one, on.put(arith.SelectOp(small, one, zero))))
        odd = on.add(on.put(arith.SelectOp(empty, zero, outside)), plain_weights)
        unscale = on.put(arith.SelectOp(empty, zero, on.put(arith.DivfOp(one, factor))))
        on.end([unscale, factor, odd])
        by_row = AffineMap.identity(self.inner)
        maps = [by_row, by_row, AffineMap(self.inner, 0, ()), *[by_row] * 3]
        self.generic([*kinds[:2], weights], kinds[2:], maps, self.inner, on.block)

    def scale(self, first: Sequence[Offset], piece: Offset, rows: Sequence[int]) -> None:
        """scaled = x times the factor of its row, zeros in rows that are to be multiplied plainly and behind the terms."""
        dest = self.terms(first, piece, rows, 0, self.depth)
        by_input = self.input_map()
        loops = by_input.num_dims
        if loops > self.inner + 1:
            dest = self.split(dest, self.beside)
        on = self.body(4)
        value = on.put(arith.MulfOp(on.block.args[0], on.block.args[1]))
        odd = on.put(arith.CmpfOp(on.block.args[2], on.constant(0.0), "une"))
        on.end([on.put(arith.SelectOp(odd, on.constant(0.0), value))])
        by_row = _map(loops, *range(self.inner))
        ins = [self.input(first, rows, piece, 1), self.row(SCALE, first, rows), self.row(PLAIN, first, rows)]
        self.generic(ins, [dest], [by_input, by_row, by_row, AffineMap.identity(loops)], loops, on.block)
        self.clear(self.terms(first, piece, rows, self.depth, room(self.depth) - self.depth))

    def terms(self, first: Sequence[Offset], piece: Offset, rows: Sequence[int], term: int, count: int) -> SSAValue:
        """Some scaled inputs of one piece."""
        rank = len(self.grid)
        return self.view(self.op.scaled, [*first, piece, term], [*rows, 1, count], (*self.kept, rank + 1))

    def pairs(self, first: Sequence[Offset], piece: Offset, rows: Sequence[int], signs: SSAValue) -> None:
        """The sum of the products of pairs, those with turned signs taken off: of all neighbours, most of them times 0."""
        sums = self.row(self.plus(piece, SUMS), first, rows)
        self.clear(sums)
        count = room(self.depth) // PERIOD * PERIOD
        neighbours = [self.split(self.terms(first, piece, rows, k, count), PERIOD) for k in (0, 1)]
        on = self.body(4)
        a, b, sign, total = on.block.args
        on.end([on.add(total, on.put(arith.MulfOp(a, on.put(arith.MulfOp(b, sign)))))])
        loops = self.inner + 2
        maps = [*[AffineMap.identity(loops)] * 2, _map(loops, loops - 1), _map(loops, *range(self.inner))]
        self.generic([*neighbours, signs], [sums], maps, self.inner, on.block)

    def signs(self) -> SSAValue:
        """One, minus one or zero for the products of neighbouring terms of a period: 1 0 0 -1 0 0, and so on."""
        signs = self.put(memref.AllocaOp.get(f32, 64, [PERIOD // GROUP, GROUP])).memref
        self.clear(signs)
        for at, sign in ((0, 1.0), (3, -1.0)):
            value = self.put(arith.ConstantOp(FloatAttr(sign, f32))).result
            self.put(FillOp([value], [self.view(signs, [0, at], [PERIOD // GROUP, 1], (0,))], []))
        every = ArrayAttr([ArrayAttr([IntegerAttr(d, i64) for d in (0, 1)])])
        flat = MemRefType(f32, [PERIOD])
        return self.put(
            memref.CollapseShapeOp.build(operands=[signs], result_types=[flat], properties={"reassociation": every})
        ).result

    def split(self, terms: SSAValue, size: int) -> SSAValue:
        """Rows of terms in parts of `size`."""
        ty = terms.type
        assert isinstance(ty, MemRefType) and isinstance(ty.layout, StridedLayoutAttr)
        *strides, one = ty.layout.strides.data
        *rows, count = ty.get_shape()
        layout = StridedLayoutAttr([*strides, IntAttr(size), one], ty.layout.offset)
        result = MemRefType(f32, [*rows, count // size, size], layout)
        groups = [*([d] for d in range(len(rows))), [len(rows), len(rows) + 1]]
        every = ArrayAttr([ArrayAttr([IntegerAttr(d, i64) for d in group]) for group in groups])
        shape = DenseArrayBase.from_list(i64, list(result.get_shape()))
        return self.put(
            memref.ExpandShapeOp.build(
                operands=[terms, []],
                result_types=[result],
                properties={"reassociation": every, "static_output_shape": shape},
            )
        ).result

    def scaled(self, first: Sequence[Offset], piece: Offset, rows: Sequence[int]) -> SSAValue:
        """Scaled inputs of one piece: row, group, term of the group."""
        return self.split(self.terms(first, piece, rows, 0, self.whole), GROUP)

    def plain_rows(self) -> SSAValue:
        """How many rows are to be multiplied plainly: zero or something else."""
        total = self.put(memref.AllocaOp.get(f32, 64, [])).memref
        self.clear(total)
        on = self.body(2)
        on.end([on.add(on.block.args[1], on.block.args[0])])
        rank = len(self.grid)
        odd = self.view(self.op.rows, [PLAIN, *[0] * rank], [1, *self.grid], range(1, rank + 1))
        self.generic([odd], [total], [AffineMap.identity(rank), AffineMap(rank, 0, ())], 0, on.block)
        return total

    # Products

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
                    self.tile([self.plus(n, k) for n, k in zip(first, loops, strict=True)], block, [n for *_, n in parts])
            if self.fill is not None:
                self.if_any(total, first, block, sizes)

    def tile(self, first: Sequence[Offset], block: Offset, rows: Sequence[int]) -> None:
        """As many rows as accumulate in registers, with one block of columns."""
        shape = [*(rows[d] for d in self.kept), self.lanes]
        part = self.put(memref.AllocaOp.get(f32, 64, shape)).memref
        if self.pieces == 1:
            y = self.start(first, block, rows)
            self.clear(part)
            self.add_terms(first, block, 0, rows, part)
            self.add_scaled(part, first, block, rows, y, sums=True)
        else:
            whole = self.put(memref.AllocaOp.get(f32, 64, shape)).memref
            self.clear(whole)
            with self.loop(0, self.pieces) as piece:
                self.clear(part)
                self.add_terms(first, block, piece, rows, part)
                on = self.body(4)
                value, of_row, of_column, old = on.block.args
                on.end([on.add(old, on.sub(value, on.add(of_row, of_column)))])
                ins = [part, *self.sums(first, block, piece, rows)]
                by_row, by_lane, both = self.sum_maps()
                self.generic(ins, [whole], [both, by_row, by_lane, both], self.inner + 1, on.block)
            y = self.start(first, block, rows)
            self.add_scaled(whole, first, block, rows, y, sums=False)
        self.write_epilogue(first, block, rows, y)

    def sum_maps(self) -> tuple[AffineMap, AffineMap, AffineMap]:
        """From loops over rows and lanes: rows, lanes, both."""
        loops = self.inner + 1
        return _map(loops, *range(self.inner)), _map(loops, self.inner), AffineMap.identity(loops)

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
        loops, of_rows = inner + 2, _D[:inner]
        reads = [AffineMap(loops, 0, (*of_rows, _D[inner + 1], AffineConstantExpr(s))) for s in range(GROUP)]
        columns = [AffineMap(loops, 0, (_D[inner + 1] * GROUP + s, _D[inner])) for s in range(GROUP)]
        maps = [*reads, *columns, _map(loops, *range(inner + 1))]
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
        self.into.append(Block())
        with ExitStack() as stack:
            at = [self.plus(n, stack.enter_context(self.loop(0, k))) for n, k in zip(first, rows, strict=True)]
            places = [n if isinstance(n, SSAValue) else self.index(n) for n in (PLAIN, *at)]
            odd = self.nonzero(self.put(memref.LoadOp.get(self.op.rows, places)).res)
            self.into.append(Block())
            self.plain_row(at, block)
            if self.fill is not None:
                one = [1] * len(rows)
                self.write_epilogue(at, block, one, self.output(at, block, one))
            self.end_if(odd)
        self.end_if(any_row)

    def nonzero(self, value: SSAValue) -> SSAValue:
        zero = self.put(arith.ConstantOp(FloatAttr(0.0, f32))).result
        return self.put(arith.CmpfOp(value, zero, "une")).result

    def end_if(self, condition: SSAValue) -> None:
        """Close the branch that is being written."""
        self.put(scf.YieldOp())
        then = Region(self.into.pop())
        self.put(scf.IfOp(condition, [], then))

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
            maps = [_map(2, 1), _map(2, 1, 0), _map(2, 0), _map(2, 0)]  # lanes, terms
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
            places[dim] = _D[loop]
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

    def body(self, count: int) -> Arithmetic:
        """Arithmetic on so many numbers."""
        return Arithmetic([f32] * count, self.location)


def _map(loops: int, *dims: int) -> AffineMap:
    """The map that picks loops."""
    return AffineMap(loops, 0, tuple(_D[d] for d in dims))


def _even(count: int, most: int, least: int) -> list[tuple[int, int, int]]:
    """Parts of one size from `least` to `most` that cover `count`, and what is left: first, end, size."""
    if count <= most:
        return [(0, count, count)]
    sizes = range(max(least, 1), most + 1)
    size = max(sizes, key=lambda n: (count % n == 0, count % n, n))
    whole = count // size * size
    return [(0, whole, size), *([(whole, count, count - whole)] if whole < count else [])]


def _at_once(count: int) -> int:
    """How many of `count` rows are prepared in one iteration: more where no smaller number than that divides them."""
    by_size = [n for n in range(1, 2 * ROWS_AT_ONCE + 1) if count % n == 0]
    some = max(n for n in by_size if n <= ROWS_AT_ONCE)
    return some if 2 * some >= ROWS_AT_ONCE else by_size[-1]


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
