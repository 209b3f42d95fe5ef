"""Write a planned nest as loops over vectors.

for outer tiles:                     scf.parallel, scf.for; one base index per operand and loop; which of the parallel
                                     loops threads divide: `thread_shares.py`
  stages without private loops:      values stay in registers, one per point of the tile
  groups of stages with private      scf.for, accumulators of every point as iter_args, unrolled inside:
  loops over the same dims:          `group_writer.py`
  heavy stages without private       what the loops accumulated goes to memory, and a loop over the rows of the
  loops after such loops:            tile takes it up again: all rows in registers at once would spill
  store what outlives the tile       once
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import product
from math import prod

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from mlc.lowering.vector.bodies import evaluate_in_step
from mlc.lowering.vector.contraction_tile import DYNAMIC_TRIP
from mlc.lowering.vector.emitter import Emitter, Index
from mlc.lowering.vector.group_writer import GroupWriter
from mlc.lowering.vector.last_tiles import may_repeat, moves_back
from mlc.lowering.vector.nests import Nest
from mlc.lowering.vector.panel_writer import PanelWriter
from mlc.lowering.vector.schedule import Plan, body_weight
from mlc.lowering.vector.space import Access, Stage
from mlc.lowering.vector.target import Target
from mlc.lowering.vector.tile import At, Offsets, Point, Segment, TileMemory
from mlc.lowering.vector.turned_writer import TurnedWriter

HEAVY = 16  # instructions of a body that make many registers live for long: an expanded math op has more
ROW_POINTS = 2  # points that one trip of a loop over rows works on, so that their chains of instructions overlap


FEW_TRIPS = 8  # parallel iterations: fewer leave threads waiting for each other


class NestWriter:
    """Writes one nest. `stored`: the roots that something outside the nest reads."""

    def __init__(self, em: Emitter, nest: Nest, plan: Plan, target: Target, stored: set[SSAValue]) -> None:
        self.em, self.nest, self.plan, self.target, self.stored = em, nest, plan, target, stored
        self.space = nest.space
        self.memory = TileMemory(em, nest)
        self.variants = 1
        self.repeats = may_repeat(nest, plan)
        self.moved_back: set[int] = set()  # dims whose last tile is
        self.within: dict[int, Segment] = {}  # the part of a dim that loops in a block of it cover

    def write(self) -> None:
        """All loops of the nest, into the emitter's current block."""
        for dim in self.plan.order:
            self.variants *= len(self._segments(dim, self.plan.tile[dim]))
        if self.plan.block is None:
            self._outer(0, {}, parallel=True)
            return
        dim, size = self.plan.block
        for segment in self._segments(dim, self.plan.tile[dim]):
            if segment.high.const - segment.low.const > size:
                self._blocks(dim, segment, size)
                continue
            saved = self.memory.enter(dim, segment.low)
            extent = Index(const=segment.high.const - segment.low.const)
            self.within = {dim: replace(segment, low=Index(), high=extent)}
            self._outer(0, {}, parallel=True)
            self.memory.leave(saved)
        self.within = {}

    # Outer loops

    def _blocks(self, dim: int, segment: Segment, size: int) -> None:
        """The tiles of `segment` in blocks of `size`, one block after the other with all other loops inside."""
        bounds = (segment.low, segment.high, size)
        run = [(dim, Segment(*bounds, size))]
        here = not self._more_inside(run, 0)
        with ExitStack() as stack:
            if here:
                (iv,) = stack.enter_context(self.em.parallel([bounds]))
            else:
                iv, _, _ = stack.enter_context(self.em.loop(*bounds))
            high = Index(iv, size)
            if (segment.high.const - segment.low.const) % size:
                high = self.em.least(high, segment.high)
            self.within = {dim: replace(segment, low=Index(iv), high=high)}
            self._outer(0, {}, parallel=not here)

    def _segments(self, dim: int, tile: int) -> list[Segment]:
        """Cover `dim` with tiles: whole ones, then what is left (dynamic: ever smaller tiles; `last_tiles.py`)."""
        if dim in self.within:
            return [self.within[dim]]
        n = self.space.static(dim)
        if n is not None:
            full = n // tile * tile
            if self.repeats and dim != self.plan.lanes_dim and moves_back(n, tile, self.target.twice):
                self.moved_back.add(dim)
                return [Segment(Index(), Index(const=full), tile, tile, n - tile)]
            parts = [Segment(Index(), Index(const=full), tile, tile)] if full else []
            if full < n:
                parts.append(Segment(Index(const=full), Index(const=n), n - full, n - full))
            return parts
        sizes = [tile]
        lanes = self.plan.width if dim == self.plan.lanes_dim else 1
        while sizes[-1] > 1:
            sizes.append(lanes if sizes[-1] > lanes else 1)
        parts = []
        low = Index()
        extent = self.em.size(self.space.extents[dim])
        for size in sizes:
            high = extent if size == 1 else self.em.round_down(extent, low, size)
            parts.append(Segment(low, high, size, size))
            low = high
        return parts

    def _outer(self, i: int, sizes: dict[int, int], *, parallel: bool) -> None:
        order = self.plan.order
        if i == len(order):
            self._tile(sizes)
            return
        run: list[tuple[int, Segment]] = []
        while i < len(order):
            segments = self._segments(order[i], self.plan.tile[order[i]])
            if len(segments) != 1:
                break
            sizes = {**sizes, order[i]: segments[0].size}
            if segments[0].trips != 1:
                run.append((order[i], segments[0]))
            i += 1
        if run:
            self._loops(run, i, sizes, parallel=parallel)
            return
        if i == len(order):
            self._tile(sizes)
            return
        for segment in self._segments(order[i], self.plan.tile[order[i]]):
            inner = {**sizes, order[i]: segment.size}
            if segment.trips == 1:
                saved = self.memory.enter(order[i], segment.low)
                self._outer(i + 1, inner, parallel=parallel)
                self.memory.leave(saved)
            else:
                self._loops([(order[i], segment)], i + 1, inner, parallel=parallel)

    def _loops(self, run: Sequence[tuple[int, Segment]], then: int, sizes: dict[int, int], *, parallel: bool) -> None:
        """Loops over `run`, the dims from `then` on inside. `parallel`: these loops or ones inside are to be."""
        saved = self.memory.save()
        here = parallel and not self._more_inside(run, then)
        with ExitStack() as stack:
            if here:
                dims = [dim for dim, _ in run]
                divided = dims.index(self.plan.divided) if self.plan.divided in dims else None
                ivs = stack.enter_context(self.em.parallel([(s.low, s.high, s.step) for _, s in run], divided))
                for (dim, s), iv in zip(run, ivs, strict=True):
                    self.memory.enter(dim, stack.enter_context(self._tiles_at(iv, s)))
            else:
                for dim, s in run:
                    iv, _, _ = stack.enter_context(self.em.loop(s.low, s.high, s.step))
                    self.memory.enter(dim, stack.enter_context(self._tiles_at(iv, s)))
            self._outer(then, sizes, parallel=parallel and not here)
        self.memory.leave(saved)

    @contextmanager
    def _tiles_at(self, iv: SSAValue, segment: Segment) -> Iterator[Index]:
        """The tile at `iv`; with the last that is not moved back goes the one that is, in order: no two threads write
        the same rows."""
        if segment.last is None:
            yield Index(iv)
            return
        step, before = segment.step, segment.last // segment.step * segment.step
        is_before = self.em.add(arith.CmpiOp(iv, self.em.index(before), "eq"))
        both = self.em.add(arith.SelectOp(is_before, self.em.index(2 * step), self.em.index(step)))
        high = Index(self.em.add(arith.AddiOp(iv, both)))
        with self.em.loop(Index(iv), high, step) as (at, _, _):
            yield self.em.least(Index(at), Index(const=segment.last))

    def _more_inside(self, run: Sequence[tuple[int, Segment]], then: int) -> bool:
        """Whether `run` keeps too few threads busy and the loops inside of it would keep more."""
        mine = prod(s.trips or DYNAMIC_TRIP for _, s in run)
        inside = 1
        for dim in self.plan.order[then:]:
            inside *= max(s.trips or DYNAMIC_TRIP for s in self._segments(dim, self.plan.tile[dim]))
        return mine < FEW_TRIPS and inside >= 2 * mine

    # One tile

    def _tile(self, sizes: dict[int, int]) -> None:
        points = self._points(sizes)
        self.memory.held, self.memory.blocks = {}, {}
        cross, lanes = self.plan.cross, self.plan.lanes_dim
        square = cross is not None and lanes is not None and sizes[cross] == sizes[lanes] == self.plan.width
        self.memory.cross = cross if square else None
        dirty: dict[tuple[Access, Point], None] = {}
        i = 0
        stages = self.nest.stages
        while i < len(stages):
            private = self.nest.private(stages[i])
            self.memory.loads = {}
            if not private:
                if dirty and (dim := self._row_dim(stages[i:], sizes)) is not None:
                    self._rows(dim, stages[i:], sizes, dirty)
                    return
                self._pointwise(stages[i], points, dirty)
                i += 1
                continue
            end = i + 1
            while end < len(stages) and self._fits(stages[i:end], stages[end], private):
                end += 1
            writer = PanelWriter if self.plan.panels else TurnedWriter if self.plan.turned else GroupWriter
            group = writer(self, list(range(i, end)), points)
            dirty.update(dict.fromkeys(group.write()))
            i = end
        self._flush(dirty)

    def _flush(self, dirty: dict[tuple[Access, Point], None], roots: set[SSAValue] | None = None) -> None:
        """Store what the points hold of `roots` (what outlives the nest)."""
        self.memory.loads = {}
        for access, point in dirty:
            if access.root in (self.stored if roots is None else roots):
                self.memory.store(self.memory.held[access, point], access, self.at(point))

    def _row_dim(self, stages: Sequence[Stage], sizes: dict[int, int]) -> int | None:
        """The dim whose rows the last stages should take one after the other, if they are heavy and pointwise."""
        if self.memory.cross is not None or any(self.nest.private(s) for s in stages):
            return None
        dims = [d for d in self.plan.order if d != self.plan.lanes_dim and sizes[d] > ROW_POINTS]
        if not dims or sum(body_weight(s) for s in stages) < HEAVY:
            return None
        return max(dims, key=lambda d: sizes[d])

    def _rows(
        self, dim: int, stages: Sequence[Stage], sizes: dict[int, int], dirty: dict[tuple[Access, Point], None]
    ) -> None:
        """Pointwise `stages` at the end of a tile, in a loop over its rows along `dim`."""
        self._flush(dirty, self.stored | {root for s in stages for root in s.roots()})
        step = ROW_POINTS if sizes[dim] % ROW_POINTS == 0 else 1
        with self.em.loop(Index(), Index(const=sizes[dim]), step) as (iv, _, _):
            saved = self.memory.advance(dim, Index(iv))
            self.memory.held, self.memory.loads = {}, {}
            mine: dict[tuple[Access, Point], None] = {}
            for stage in stages:
                self._pointwise(stage, self._points({**sizes, dim: step}), mine)
            self._flush(mine)
            self.memory.leave(saved)

    def _points(self, sizes: dict[int, int]) -> list[Point]:
        lanes = self.plan.lanes_dim
        scalar_dims = [d for d in self.plan.order if d != lanes]
        vectors: list[tuple[Offsets, int | None]] = [((), None)]
        if lanes is not None:
            w, n = self.plan.width, sizes[lanes]
            vectors = [(((lanes, j),), min(w, n - j)) for j in range(0, n, w)]
            vectors = [(o, k if k != 1 else None) for o, k in vectors]
        grid = product(*([(d, j) for j in range(sizes[d])] for d in scalar_dims))
        return [Point(combo + o, k) for combo in grid for o, k in vectors]

    def _fits(self, group: Sequence[Stage], stage: Stage, private: list[int]) -> bool:
        """Whether `stage` can run inside the loops of `group`: same dims, and no result of a whole loop is needed."""
        if sorted(self.nest.private(stage)) != sorted(private):
            return False
        done = {o.root for s in group if s.reduction for o in s.outs}
        lanes = {self.plan.stage_lanes.get(self.nest.stages.index(s)) for s in (*group, stage)}
        return not done & stage.roots() and len(lanes) == 1

    def at(self, point: Point) -> At:
        """The place of a point, its lanes along the nest's lanes dim."""
        return At(point.offsets, point.lanes, self.plan.lanes_dim)

    def _pointwise(self, stage: Stage, points: list[Point], dirty: dict[tuple[Access, Point], None]) -> None:
        for i in range(0, len(points), self.plan.in_step):
            some = points[i : i + self.plan.in_step]
            places = [self.at(point) for point in some]
            arguments = [
                [
                    *(self.memory.value(o, point, at) for o in stage.ins),
                    *(self.memory.old_value(stage, k, point, at) for k in range(len(stage.outs))),
                ]
                for point, at in zip(some, places, strict=True)
            ]
            evaluations = [
                (args, point.lanes, self.memory.positions(stage, at))
                for args, point, at in zip(arguments, some, places, strict=True)
            ]
            for point, results in zip(some, evaluate_in_step(self.em, stage, evaluations), strict=True):
                for out, value in zip(stage.outs, results, strict=True):
                    self.memory.held[out, point] = value
                    dirty[out, point] = None
