"""Rows of a Winograd matrix product, prepared: brought near one by powers of two, pairs of terms summed up.

The part of `expand_winograd_matmul.py` that depends on the inputs alone; what it writes stands in that file.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import ArrayAttr, FloatAttr, IntegerAttr, MemRefType, f32, i64
from xdsl.dialects.linalg.ops import FillOp, GenericOp
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineMap

from mlc.dialects.linalg_ext.prepared_matmul import PLAIN, SCALE
from mlc.dialects.linalg_ext.winograd_matmul_ops import GROUP, PERIOD, SUMS, WinogradMatmulOp, padded, room
from mlc.lowering.vector.loop_writer import Offset, shape_of
from mlc.lowering.vector.prepared_product import PreparedProduct
from mlc.lowering.vector.prepared_rows import loops_map


class WinogradMatmulRows(PreparedProduct):
    """Writes what prepares the rows of one product."""

    def __init__(self, op: WinogradMatmulOp, fill: FillOp | None, epilogue: Sequence[GenericOp]) -> None:
        super().__init__(op, fill, epilogue)
        self.op = op
        self.depth, self.pieces = op.piece(), op.pieces()
        self.whole, self.beside = padded(self.depth), op.beside()

    def write_rows(self) -> None:
        """All rows, some in each iteration."""
        signs, last = self.signs(), shape_of(self.op.weights)[1] - 1
        weights = self.view(self.op.weights, [0, last, 0], [1, 1, 1], ())
        with self.some_rows() as (first, rows):
            self.prepare(first, rows, signs, weights)

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
        self.statistics(x, self.input_map(), first, rows, weights)
        with self.loop(0, self.pieces) as piece:
            self.scale(first, piece, rows)
            with self.each(first, rows) as (at, _, one):
                self.pairs(at, piece, one, signs)

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

    def scaled(self, first: Sequence[Offset], piece: Offset, rows: Sequence[int]) -> SSAValue:
        """Scaled inputs of one piece: row, group, term of the group."""
        return self.split(self.terms(first, piece, rows, 0, self.whole), GROUP)
