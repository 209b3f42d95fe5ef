"""Write a product over panels of rows: accumulators along the rows, turned into vectors along the results.

    for k step 2 iter_args(16 accumulators of 16 rows each):    acc[n] = x[k, 0 .. 15] * w[n, k] + acc[n]
      x once, a scalar of each row of w                  -->    sixteen accumulators turned over in registers:
                                                                vector i holds results n .. n + 15 of row i

Rows of weights that a tile has too many of for the registers come in groups, one after the other. Weights that are too
large for the caches are prefetched: while a tile is computed for all panels, the weights of the next one come near.
Tests: tests/lowering/vector/test_panels.py
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from xdsl.dialects import vector
from xdsl.dialects.builtin import AnyFloat, DenseArrayBase, IntegerType, MemRefType, VectorType, i64
from xdsl.ir import SSAValue

from mlc.lowering.vector.emitter import Index, vector_of
from mlc.lowering.vector.group_writer import AccKey, GroupWriter
from mlc.lowering.vector.row_blocks import LINE
from mlc.lowering.vector.row_panels import RowPanels
from mlc.lowering.vector.schedule import Plan
from mlc.lowering.vector.sizes import Size
from mlc.lowering.vector.space import Access
from mlc.lowering.vector.tile import Offsets, Point, Step

if TYPE_CHECKING:
    from mlc.lowering.vector.nest_writer import NestWriter


class PanelWriter(GroupWriter):
    """One product over panels. `results`: the points that results are wanted at; `points`: those of a group of rows of
    weights, lanes across them."""

    def __init__(self, writer: NestWriter, numbers: list[int], points: list[Point]) -> None:
        assert writer.plan.panels is not None
        self.panels: RowPanels = writer.plan.panels
        self.results = points
        self.groups = self._groups(points, writer.plan)
        self.group = 0
        super().__init__(writer, numbers, self.groups[0])

    def _plan(self, plan: Plan) -> Plan:
        return plan.across()

    def _groups(self, points: list[Point], plan: Plan) -> list[list[Point]]:
        lanes, across = self.panels.lanes, self.panels.across
        count = 1 + max(dict(p.offsets)[lanes] + (p.lanes or 1) - 1 for p in points)
        around = dict.fromkeys(
            (tuple(o for o in p.offsets if o[0] not in (lanes, across)), dict(p.offsets)[across] // plan.width)
            for p in points
        )
        rows = range(0, count, plan.panel_rows)
        return [
            [
                Point(((lanes, row), *others, (across, i * plan.width)), plan.width)
                for row in range(first, min(first + plan.panel_rows, count))
                for others, i in around
            ]
            for first in rows
        ]

    def _sums(self, reductions: list[int]) -> dict[AccKey, SSAValue]:
        """One group of rows of weights after the other."""
        sums: dict[AccKey, SSAValue] = {}
        for group, points in enumerate(self.groups):
            self.group, self.points = group, points
            sums.update(super()._sums(reductions))
        return sums

    def _initial(self, reductions: list[int]) -> dict[AccKey, SSAValue]:
        return self._neutral(reductions)

    def _finish(self, reductions: list[int], final: dict[AccKey, SSAValue]) -> list[tuple[Access, Point]]:
        done: list[tuple[Access, Point]] = []
        for i in reductions:
            for k, out in enumerate(self.nest.stages[i].outs):
                totals = {p: self._total(i, k, p, final) for group in self.groups for p in group}
                blocks: dict[Offsets, list[SSAValue]] = {}
                for point in self.results:
                    value = self._turned(point, totals, blocks)
                    start = self.memory.value(out, point, self.writer.at(point))
                    start = self.em.broadcast(start, point.lanes)
                    self.memory.held[out, point] = self._known(i, k).apply(self.em, start, value)
                    done.append((out, point))
        return done

    def _turned(self, point: Point, totals: dict[Point, SSAValue], blocks: dict[Offsets, list[SSAValue]]) -> SSAValue:
        """The results at `point`, of the square block of accumulators that holds them."""
        lanes, across, width = self.panels.lanes, self.panels.across, self.plan.width
        offsets, n = dict(point.offsets), point.lanes or 1
        first, row = offsets.pop(lanes), offsets.pop(across)
        key: Offsets = (*offsets.items(), (across, row // width * width))
        if (block := blocks.get((*key, (lanes, first)))) is None:
            rows = [totals[Point(((lanes, first + j), *key), width)] for j in range(n)]
            block = blocks[*key, (lanes, first)] = self.em.transpose(rows + [rows[-1]] * (width - n))
        value = block[row % width]
        assert isinstance(value.type, VectorType)
        if n == width:
            return value
        if point.lanes is None:
            return self.em.add(vector.ExtractOp(value, [0], value.type.element_type))
        mask = DenseArrayBase.from_list(i64, list(range(n)))
        return self.em.add(vector.ShuffleOp(value, value, mask, result_type=vector_of(value.type.element_type, n)))

    # Prefetches

    def _streamed(self) -> dict[Access, int]:
        return {}

    def _body(self, steps: list[Step], accs: list[SSAValue]) -> list[SSAValue]:
        self._prefetch(steps)
        return super()._body(steps, accs)

    def _prefetch(self, steps: list[Step]) -> None:
        """The part of the next tile's weights that falls to these steps: rows of weights lie one behind the other, and
        all panels and groups together go through them once."""
        weights, lanes = self.panels.weights, self.panels.lanes
        if not isinstance(weights.root.type, MemRefType) or not weights.root.type.has_static_shape():
            return
        assert isinstance(weights.element_type, AnyFloat | IntegerType)
        size = max(1, weights.element_type.bitwidth // 8)
        if size * prod(weights.root.type.get_shape()) <= self.writer.target.l2:
            return
        (inner,) = self.nest.private(self.stages[0])
        row, tile = weights.coeff(lanes).factor, self.writer.plan.tile
        trips = {d: -(-(self.space.static(d) or 1) // tile[d]) for d in (*self.panels.panels, self.panels.across)}
        times = prod(trips.values()) * len(self.groups)
        each = -(-tile[lanes] // times)  # elements per element that is multiplied
        at = self.memory.base[weights]
        at = Index(at.value, at.const + row * (tile[lanes] + each * self.group))
        inside = len(self.groups)
        for dim, n in reversed(trips.items()):
            here = self.memory.at_dim.get(dim, Index())
            at = self.em.plus(at, self.em.times(here, Size(row * each * inside // tile[dim])))
            inside *= n
        at = self.em.plus(at, self.em.times(self.memory.at_dim.get(inner, Index()), Size(each - 1)))
        for ahead in range(0, each * len(steps), max(1, LINE // size)):
            self.em.prefetch(weights, Index(at.value, at.const + ahead))
