"""Rows of a Winograd matrix product, prepared: brought near one by powers of two, pairs of terms summed up.

The part of `expand_winograd_matmul.py` that depends on the inputs alone; what it writes stands in that file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from xdsl.dialects import arith, math, memref
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    FloatAttr,
    IntAttr,
    IntegerAttr,
    MemRefType,
    StridedLayoutAttr,
    f32,
    i64,
)
from xdsl.dialects.linalg.ops import FillOp
from xdsl.ir import Operation, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap

from mlc.dialects.linalg_ext.prepared_matmul import LARGEST, PLAIN, SCALE, SIZES, SMALLEST, SQUARES, UNSCALE
from mlc.dialects.linalg_ext.winograd_matmul_ops import (
    GROUP,
    PERIOD,
    SUMS,
    WinogradMatmulOp,
    padded,
    room,
)
from mlc.ir.locations import fuse_locations
from mlc.lowering.vector.loop_writer import Arithmetic, LoopWriter, Offset, shape_of

ROWS_AT_ONCE = 8
"""Rows prepared in one iteration, about."""
D = [AffineDimExpr(i) for i in range(5)]


class WinogradMatmulRows(LoopWriter):
    """Writes what prepares the rows of one product. `first`, `last`, `fused`: the ops in whose place all is written."""

    def __init__(
        self, op: WinogradMatmulOp, first: Operation, last: Operation, fused: Sequence[Operation] = ()
    ) -> None:
        super().__init__(first, last, fuse_locations([op.location, *(e.location for e in fused)]))
        self.op = op
        self.depth, self.pieces = op.piece(), op.pieces()
        self.whole, self.beside = padded(self.depth), op.beside()
        self.grid, self.blocks, self.lanes = op.grid(), shape_of(op.output)[1], shape_of(op.output)[-1]
        # the dimensions of rows that structured ops run over: not images
        self.kept = (0,) if len(self.grid) == 1 else (1, 2)
        self.kept_outputs = (0, 2) if len(self.grid) == 1 else (2, 3, 4)
        self.inner = len(self.kept)

    def write_rows(self) -> None:
        """All rows, some in each iteration."""
        step = _at_once(self.grid[-1])
        signs, last = self.signs(), shape_of(self.op.weights)[1] - 1
        weights = self.view(self.op.weights, [0, last, 0], [1, 1, 1], ())
        with ExitStack() as stack:
            steps = [*[1] * (len(self.grid) - 1), step]
            first = [
                stack.enter_context(self.loop(0, n, k, parallel=True)) for n, k in zip(self.grid, steps, strict=True)
            ]
            self.prepare(first, steps, signs, weights)

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
            return self.view(
                self.op.input, [*first, self.times(piece, self.depth)], [*rows, pieces * self.depth], (0, 1)
            )
        place = [first[0], self.times(piece, blocks), *first[1:], 0]
        return self.view(self.op.input, place, [rows[0], pieces * blocks, *rows[1:], self.beside], (1, 2, 3, 4))

    def input_map(self) -> AffineMap:
        """From loops over rows, blocks of terms, and terms."""
        return loops_map(2, 0, 1) if len(self.grid) == 1 else loops_map(4, 2, 0, 1, 3)

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
        by_row = loops_map(by_term.num_dims, *range(self.inner))
        self.generic([x], [squares, sizes], [by_term, by_row, by_row], self.inner, on.block)
        self.factors(first, rows, weights)
        with self.loop(0, self.pieces) as piece:
            self.scale(first, piece, rows)
            with self.each(first, rows) as (at, _, one):
                self.pairs(at, piece, one, signs)

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
        # both: in exact domains a sum of sizes may be zero for the signs it happens to have
        empty = on.put(arith.CmpfOp(on.add(size, squares), zero, "oeq"))
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
        """scaled = x times the factor of its row; zeros in rows that are to be multiplied plainly and behind terms."""
        dest = self.terms(first, piece, rows, 0, self.depth)
        by_input = self.input_map()
        loops = by_input.num_dims
        if loops > self.inner + 1:
            dest = self.split(dest, self.beside)
        on = self.body(4)
        value = on.put(arith.MulfOp(on.block.args[0], on.block.args[1]))
        odd = on.put(arith.CmpfOp(on.block.args[2], on.constant(0.0), "une"))
        on.end([on.put(arith.SelectOp(odd, on.constant(0.0), value))])
        by_row = loops_map(loops, *range(self.inner))
        ins = [self.input(first, rows, piece, 1), self.row(SCALE, first, rows), self.row(PLAIN, first, rows)]
        self.generic(ins, [dest], [by_input, by_row, by_row, AffineMap.identity(loops)], loops, on.block)
        self.clear(self.terms(first, piece, rows, self.depth, room(self.depth) - self.depth))

    def terms(self, first: Sequence[Offset], piece: Offset, rows: Sequence[int], term: int, count: int) -> SSAValue:
        """Some scaled inputs of one piece."""
        rank = len(self.grid)
        return self.view(self.op.scaled, [*first, piece, term], [*rows, 1, count], (*self.kept, rank + 1))

    def pairs(self, first: Sequence[Offset], piece: Offset, rows: Sequence[int], signs: SSAValue) -> None:
        """The sum of the products of pairs, those with turned signs taken off: of all neighbours, most times 0."""
        sums = self.row(self.plus(piece, SUMS), first, rows)
        self.clear(sums)
        count = room(self.depth) // PERIOD * PERIOD
        neighbours = [self.split(self.terms(first, piece, rows, k, count), PERIOD) for k in (0, 1)]
        on = self.body(4)
        a, b, sign, total = on.block.args
        on.end([on.add(total, on.put(arith.MulfOp(a, on.put(arith.MulfOp(b, sign)))))])
        loops = self.inner + 2
        maps = [*[AffineMap.identity(loops)] * 2, loops_map(loops, loops - 1), loops_map(loops, *range(self.inner))]
        self.generic([*neighbours, signs], [sums], maps, self.inner, on.block)

    def signs(self) -> SSAValue:
        """One, minus one or zero for the products of neighbouring terms of a period: 1 0 0 -1 0 0, and so on."""
        signs = self.scratch(PERIOD // GROUP, GROUP)
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
        total = self.scratch()
        self.clear(total)
        on = self.body(2)
        on.end([on.add(on.block.args[1], on.block.args[0])])
        rank = len(self.grid)
        odd = self.view(self.op.rows, [PLAIN, *[0] * rank], [1, *self.grid], range(1, rank + 1))
        self.generic([odd], [total], [AffineMap.identity(rank), AffineMap(rank, 0, ())], 0, on.block)
        return total

    @contextmanager
    def each(
        self, first: Sequence[Offset], rows: Sequence[int]
    ) -> Iterator[tuple[list[Offset], list[Offset], list[int]]]:
        """Loops over the rows of a tile: where one is among all, where it is in the tile, and its sizes.

        What is done once for a row is written once, not for each row of the tile: beside its products that takes no
        time, but compiling it would.
        """
        with ExitStack() as stack:
            place = [stack.enter_context(self.loop(0, n)) if n > 1 else 0 for n in rows]
            yield [self.plus(n, k) for n, k in zip(first, place, strict=True)], place, [1] * len(rows)

    def body(self, count: int) -> Arithmetic:
        """Arithmetic on so many numbers."""
        return Arithmetic([f32] * count, self.location)


def loops_map(loops: int, *dims: int) -> AffineMap:
    """The map that picks loops."""
    return AffineMap(loops, 0, tuple(D[d] for d in dims))


def _at_once(count: int) -> int:
    """How many of `count` rows are prepared in one iteration: more where no smaller number than that divides them."""
    by_size = [n for n in range(1, 2 * ROWS_AT_ONCE + 1) if count % n == 0]
    some = max(n for n in by_size if n <= ROWS_AT_ONCE)
    return some if 2 * some >= ROWS_AT_ONCE else by_size[-1]
