"""Write products of several rows with one vector: lanes along the rows, sums that become the lanes of one vector.

    for k step 32 iter_args(8 rows x 2 accumulators):       y[n .. n + 7] = w[n .. n + 7, :] . x
      x once, each row of w once                      -->   16 accumulators, then one vector<8xf32> (`lane_sums.py`)

What follows (bias, activation, store) works on that vector. Weights that are too large for the caches and read once are
prefetched one tile ahead, so that every line is asked for long before its row begins.
Tests: tests/lowering/vector/test_rows.py
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from xdsl.dialects import vector
from xdsl.dialects.builtin import AnyFloat, DenseArrayBase, IntegerType, MemRefType, VectorType, i64
from xdsl.ir import SSAValue

from mlc.lowering.vector.bodies import Combiner
from mlc.lowering.vector.emitter import vector_of
from mlc.lowering.vector.group_writer import AccKey, GroupWriter
from mlc.lowering.vector.lane_sums import lane_sums
from mlc.lowering.vector.sizes import ZERO
from mlc.lowering.vector.space import Access
from mlc.lowering.vector.tile import Point, Step

if TYPE_CHECKING:
    from mlc.lowering.vector.nest_writer import NestWriter


class TurnedWriter(GroupWriter):
    """One stage that sums along rows. `vectors`: the points that results are wanted at; `points`: a row each."""

    def __init__(self, writer: NestWriter, numbers: list[int], points: list[Point]) -> None:
        self.vectors = {point: _rows(point) for point in points}
        super().__init__(writer, numbers, [row for rows in self.vectors.values() for row in rows])

    def _plan_steps(self, reducing: bool) -> None:
        assert self.lanes_dim is not None
        have = (self.space.static(self.lanes_dim) or 0) // self.plan.width
        self.whole = []
        self.steps = self.slots = max(1, min(self.writer.target.vector_registers // 2 // len(self.points), have))

    def _initial(self, reductions: list[int]) -> dict[AccKey, SSAValue]:
        return self._neutral(reductions)

    def _finish(self, reductions: list[int], final: dict[AccKey, SSAValue]) -> list[tuple[Access, Point]]:
        done: list[tuple[Access, Point]] = []
        for i in reductions:
            for k, out in enumerate(self.nest.stages[i].outs):
                combiner = self._known(i, k)
                for point, rows in self.vectors.items():
                    sums = [value for row in rows if (value := self._joined(i, k, row, final)) is not None]
                    one = point.lanes is None
                    total = self.em.reduce(combiner.kind, sums[0]) if one else lane_sums(self.em, combiner, sums)
                    start = self.memory.value(out, point, self.writer.at(point))
                    self.memory.held[out, point] = combiner.apply(self.em, self.em.broadcast(start, point.lanes), total)
                    done.append((out, point))
        return done

    def _leftover(self, combiner: Combiner, key: AccKey, value: SSAValue, accs: dict[AccKey, SSAValue]) -> None:
        """Fill the shorter vector up and add it to the first accumulator of its row."""
        assert isinstance(value.type, VectorType)
        short, width = value.type.get_shape()[0], self.plan.width
        kind = value.type.element_type
        neutral = self.em.splat(combiner.neutral(kind), short)
        mask = DenseArrayBase.from_list(i64, [*range(short), *[short] * (width - short)])
        filled = self.em.add(vector.ShuffleOp(value, neutral, mask, result_type=vector_of(kind, width)))
        first = (*key[:3], 0)
        accs[first] = combiner.apply(self.em, accs[first], filled)

    def _remainder(self, at: int, n: int) -> list[Step]:
        """The end of a row: a shorter vector even where it is a single element."""
        assert self.lanes_dim is not None
        return [Step(((self.lanes_dim, at),), n, None)]

    def _streamed(self) -> dict[Access, int]:
        """What only one row of results is multiplied with, and caches cannot hold; how far ahead the next tile is."""
        found: dict[Access, int] = {}
        dim = self.plan.lanes_dim
        assert dim is not None
        alone = all(n == 1 for d, n in self.plan.tile.items() if d != dim)
        for operand in self.stages[0].ins:
            if (
                alone
                and isinstance(operand, Access)
                and operand.coeff(dim) != ZERO
                and isinstance(operand.root.type, MemRefType)
                and isinstance(operand.element_type, AnyFloat | IntegerType)
                and operand.root.type.has_static_shape()
            ):
                size = max(1, operand.element_type.bitwidth // 8)
                stride = operand.coeff(dim).static
                if stride and size * prod(operand.root.type.get_shape()) > self.writer.target.l3 // 2:
                    found[operand] = stride * len(self.points)
        return found


def _rows(point: Point) -> list[Point]:
    """The points of single rows whose sums become the lanes of `point`."""
    if point.lanes is None:
        return [point]
    *around, (dim, first) = point.offsets
    return [Point((*around, (dim, first + j)), None) for j in range(point.lanes)]
