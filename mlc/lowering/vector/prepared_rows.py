"""Rows of a product, prepared: what brings each near one by a power of two, and which are multiplied plainly.

%x: rows, terms  -->   %r[2], %r[3] = sums of squares and of sizes of every row, then
                       %r[0], %r[1], %r[4] = one by its factor, its factor, whether it is multiplied plainly

What `expand_winograd_matmul.py` and `expand_split_matmul.py` have in common in this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from xdsl.dialects import arith, math, memref
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    IntAttr,
    IntegerAttr,
    MemRefType,
    StridedLayoutAttr,
    f32,
    i64,
)
from xdsl.ir import Operation, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap

from mlc.arrays.scaled_weights import LARGEST, SMALLEST
from mlc.dialects.linalg_ext.prepared_matmul import (
    NUMBERS,
    PLAIN,
    SCALE,
    SIZES,
    SQUARES,
    UNSCALE,
    PreparedMatmulOp,
)
from mlc.ir.locations import fuse_locations
from mlc.lowering.vector.loop_writer import Arithmetic, LoopWriter, Offset, shape_of

ROWS_AT_ONCE = 8
"""Rows prepared in one iteration, about."""
D = [AffineDimExpr(i) for i in range(5)]


class PreparedRows(LoopWriter):
    """Writes what prepares the rows of one product. `first`, `last`, `fused`: the ops in whose place all is written;
    `lift`: the power of two that rows are brought near."""

    def __init__(
        self, op: PreparedMatmulOp, first: Operation, last: Operation, fused: Sequence[Operation] = ()
    ) -> None:
        super().__init__(first, last, fuse_locations([op.location, *(e.location for e in fused)]))
        self.numbers_of_rows, self.all_terms = op.rows, op.terms()
        self.grid, self.blocks, self.lanes = op.grid(), shape_of(op.output)[1], shape_of(op.output)[-1]
        # the dimensions of rows that structured ops run over: not images
        self.kept = (0,) if len(self.grid) == 1 else (1, 2)
        self.kept_outputs = (0, 2) if len(self.grid) == 1 else (2, 3, 4)
        self.inner = len(self.kept)
        self.lift = 1.0

    @contextmanager
    def some_rows(self) -> Iterator[tuple[list[Offset], list[int]]]:
        """Parallel loops over all rows, some in each iteration: the first, and how many along every dimension."""
        step = _at_once(self.grid[-1])
        with ExitStack() as stack:
            steps = [*[1] * (len(self.grid) - 1), step]
            yield (
                [stack.enter_context(self.loop(0, n, k, parallel=True)) for n, k in zip(self.grid, steps, strict=True)],
                steps,
            )

    # Rows: all in one dimension, or images, rows of pixels, and pixels

    def row(self, number: Offset, first: Sequence[Offset], rows: Sequence[int]) -> SSAValue:
        """One of the numbers of every row, for `rows` rows."""
        return self.view(self.numbers_of_rows, [number, *first], [1, *rows], [1 + d for d in self.kept])

    def numbers(self, first: Sequence[Offset], rows: Sequence[int], *which: int) -> list[SSAValue]:
        """Several numbers of every row, as parts of one view: it is known that they are apart."""
        inner = [rows[d] for d in self.kept]
        whole = self.view(self.numbers_of_rows, [0, *first], [NUMBERS, *rows], [0, *(1 + d for d in self.kept)])
        return [self.view(whole, [n, *[0] * self.inner], [1, *inner], range(1, self.inner + 1)) for n in which]

    def statistics(
        self, x: SSAValue, by_term: AffineMap, first: Sequence[Offset], rows: Sequence[int], weights: SSAValue
    ) -> None:
        """The numbers of the rows from `first` on. `by_term`: from loops over rows, then terms, to `x`; `weights`:
        whether any column is to be multiplied plainly."""
        squares, sizes = self.numbers(first, rows, SQUARES, SIZES)
        self.clear(squares)
        self.clear(sizes)
        on = self.body(3)
        value, square, size = on.block.args
        square = on.add(square, on.put(arith.MulfOp(value, value)))
        on.end([square, on.add(size, on.put(math.AbsFOp(value)))])
        by_row = loops_map(by_term.num_dims, *range(self.inner))
        self.generic([x], [squares, sizes], [by_term, by_row, by_row], self.inner, on.block)
        self.factors(first, rows, weights)

    def factors(self, first: Sequence[Offset], rows: Sequence[int], weights: SSAValue) -> None:
        """The power of two that brings the root of the mean of squares of a row near `lift`; zero for a plain row."""
        kinds = self.numbers(first, rows, SQUARES, SIZES, UNSCALE, SCALE, PLAIN)
        on = self.body(6)
        squares, size, plain_weights = on.block.args[:3]
        zero, one = on.constant(0.0), on.constant(1.0)
        mean = on.put(arith.MulfOp(squares, on.constant(1.0 / self.all_terms)))
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
        if self.lift != 1.0:
            factor = on.put(arith.MulfOp(factor, on.constant(self.lift)))
        outside = on.put(arith.SelectOp(large, one, on.put(arith.SelectOp(small, one, zero))))
        odd = on.add(on.put(arith.SelectOp(empty, zero, outside)), plain_weights)
        unscale = on.put(arith.SelectOp(empty, zero, on.put(arith.DivfOp(one, factor))))
        on.end([unscale, factor, odd])
        by_row = AffineMap.identity(self.inner)
        maps = [by_row, by_row, AffineMap(self.inner, 0, ()), *[by_row] * 3]
        self.generic([*kinds[:2], weights], kinds[2:], maps, self.inner, on.block)

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

    def plain_rows(self) -> SSAValue:
        """How many rows are to be multiplied plainly: zero or something else."""
        total = self.scratch()
        self.clear(total)
        on = self.body(2)
        on.end([on.add(on.block.args[1], on.block.args[0])])
        rank = len(self.grid)
        odd = self.view(self.numbers_of_rows, [PLAIN, *[0] * rank], [1, *self.grid], range(1, rank + 1))
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
