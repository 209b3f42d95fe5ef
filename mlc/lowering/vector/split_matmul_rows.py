"""Rows of a product of split numbers, prepared: brought near one by powers of two, taken apart into three of bf16.

The part of `expand_split_matmul.py` that depends on the inputs alone; what it writes stands in that file.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects import arith, memref, vector
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, VectorType, f32
from xdsl.dialects.linalg.ops import FillOp, GenericOp
from xdsl.ir import SSAValue

from mlc.dialects.linalg_ext.prepared_matmul import SCALE
from mlc.dialects.linalg_ext.split_matmul_ops import LANES, BF16PartsOp, SplitMatmulOp
from mlc.lowering.vector.loop_writer import Offset, shape_of
from mlc.lowering.vector.prepared_product import PreparedProduct
from mlc.lowering.vector.prepared_rows import loops_map

LIFT = 2.0**40
"""Rows are brought near this, columns are at most 2^24 from one: sums are far from overflow, and products of what is
2^-63 of the rest of its row and of its column are no subnormal numbers, which the unit counts as zero."""
_WIDE = VectorType(f32, [LANES])


class SplitMatmulRows(PreparedProduct):
    """Writes what prepares the rows of one product."""

    def __init__(self, op: SplitMatmulOp, fill: FillOp | None, epilogue: Sequence[GenericOp]) -> None:
        super().__init__(op, fill, epilogue)
        self.op, self.lift = op, LIFT
        self.steps = shape_of(op.scaled)[1]

    def write_rows(self) -> None:
        """All rows, some in each iteration; zeros in the rows that the last tile has too many."""
        last = shape_of(self.op.weights)[1] - 1
        weights = self.view(self.op.weights, [0, last, 0], [1, 1, 1], ())
        rows = prod(self.grid)
        if rows % LANES:
            with self.loop(rows, -(-rows // LANES) * LANES) as row, self.loop(0, self.steps) as step:
                self.put_parts([self.zeros()] * 2, self.op.scaled, self.place(row, step))
        with self.some_rows() as (first, each):
            x, by_term = self.op.input, loops_map(2, 0, 1)
            if len(self.grid) == 1:
                x = self.view(x, [*first, 0], [*each, self.all_terms], (0, 1))
            else:
                by_term = loops_map(4, 2, 0, 1, 3)  # loops over rows of pixels, pixels, blocks of terms, terms
                x = self.view(
                    x, [first[0], 0, *first[1:], 0], [each[0], self.blocks_of_terms, *each[1:], LANES], (1, 2, 3, 4)
                )
            self.statistics(x, by_term, first, each, weights)
            with self.each(first, each) as (at, _, _):
                self.parts_of_row(at)

    @property
    def blocks_of_terms(self) -> int:
        """Of a row, 16 terms each."""
        return self.all_terms // LANES

    # Parts

    def parts_of_row(self, at: Sequence[Offset]) -> None:
        """The parts of one scaled row; zeros behind its terms."""
        row = self.number_of(at)
        numbers = [self.as_index(n) for n in (SCALE, *at)]
        factor = self.put(memref.LoadOp.get(self.numbers_of_rows, numbers)).res
        scale = self.put(vector.BroadcastOp(factor, _WIDE)).vector
        whole, left = divmod(self.blocks_of_terms, 2)
        with self.loop(0, whole) as step:
            if whole:
                values = [self.input_block(at, self.plus(self.times(step, 2), n)) for n in (0, 1)]
                self.put_parts([self.scaled(v, scale) for v in values], self.op.scaled, self.place(row, step))
        if left:
            value = self.scaled(self.input_block(at, 2 * whole), scale)
            self.put_parts([value, self.zeros()], self.op.scaled, self.place(row, whole))

    def scaled(self, value: SSAValue, scale: SSAValue) -> SSAValue:
        return self.put(arith.MulfOp(value, scale)).result

    def input_block(self, at: Sequence[Offset], block: Offset) -> SSAValue:
        """16 terms of a row."""
        place = [*at, self.times(block, LANES)] if len(at) == 1 else [at[0], block, *at[1:], 0]
        return self.load(self.op.input, place)

    def put_parts(self, values: Sequence[SSAValue], out: SSAValue, place: Sequence[Offset]) -> None:
        """Store the parts of twice 16 numbers. `place`: of the first part's row; parts are in the dimension before."""
        parts = self.put(BF16PartsOp(*values)).parts
        for n, part in enumerate(parts):
            self.put(vector.StoreOp(part, out, [self.as_index(k) for k in (*place[:-2], n, place[-1], 0)]))

    def place(self, row: Offset, step: Offset) -> list[Offset]:
        """Where the parts of a row are: tile, step, part, row of the tile."""
        return [self.divided(row, LANES), step, 0, self.left_over(row, LANES)]

    def zeros(self) -> SSAValue:
        """16 of them."""
        return self.put(arith.ConstantOp(DenseIntOrFPElementsAttr.from_list(_WIDE, [0.0]))).result

    def load(self, source: SSAValue, place: Sequence[Offset]) -> SSAValue:
        """16 neighbours."""
        return self.put(vector.LoadOp(source, [self.as_index(n) for n in place], _WIDE)).result

    # Rows by number: pixels one after the other

    def number_of(self, at: Sequence[Offset]) -> Offset:
        """Of a row, among all."""
        number: Offset = 0
        for n, extent in zip(at, self.grid, strict=True):
            number = self.plus(self.times(number, extent), n)
        return number

    def row_at(self, number: Offset) -> list[Offset]:
        """Where the row of a number is."""
        at: list[Offset] = []
        for extent in reversed(self.grid[1:]):
            at.append(self.left_over(number, extent))
            number = self.divided(number, extent)
        return [number if self.grid[0] > 1 or len(self.grid) == 1 else 0, *reversed(at)]

    def divided(self, value: Offset, by: int) -> Offset:
        if isinstance(value, int):
            return value // by
        return self.put(arith.DivUIOp(value, self.index(by))).result

    def left_over(self, value: Offset, by: int) -> Offset:
        if isinstance(value, int):
            return value % by
        return self.put(arith.RemUIOp(value, self.index(by))).result

    def as_index(self, value: Offset) -> SSAValue:
        return value if isinstance(value, SSAValue) else self.index(value)
