"""Write a planned nest as loops over vectors.

for outer tiles:                      scf.parallel, scf.for; one base index per operand and loop
  for stages without private loops:   values stay in registers, one per point of the tile
  for groups of stages with private   scf.for with the accumulators of every point as iter_args,
  loops of the same dims:             unrolled inside
  store what outlives the tile        once
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product

from xdsl.dialects.builtin import VectorType
from xdsl.ir import SSAValue

from mlc.lowering.vector.bodies import Combiner, combiners, evaluate
from mlc.lowering.vector.emitter import Emitter, Index
from mlc.lowering.vector.nests import Nest
from mlc.lowering.vector.schedule import Plan, reduction_order, unroll
from mlc.lowering.vector.space import ONE, ZERO, Access, Size, Stage
from mlc.lowering.vector.target import Target

Offsets = tuple[tuple[int, int], ...]  # constant distances along dims from the current base


@dataclass(frozen=True)
class Point:
    """One vector (or scalar) of the register tile: where it is, and how many lanes it has (None: a scalar)."""

    offsets: Offsets
    lanes: int | None


@dataclass(frozen=True)
class Step:
    """One unrolled position of private loops. `lanes` is set where lanes run along a private dim; `slot` numbers the
    accumulator it adds to, None for the scalar that takes the leftovers of a row."""

    offsets: Offsets
    lanes: int | None
    slot: int | None


@dataclass(frozen=True)
class Segment:
    """Part of a loop: from `low` to `high` by `step`, constant sizes inside."""

    low: Index
    high: Index
    step: int
    size: int

    @property
    def trips(self) -> int | None:
        if self.low.value is None and self.high.value is None:
            return (self.high.const - self.low.const) // self.step
        return None


AccKey = tuple[int, int, Point, int | None]  # stage number, output, point, slot


class NestWriter:
    """Writes one nest. `stored`: the roots that something outside the nest reads."""

    def __init__(self, em: Emitter, nest: Nest, plan: Plan, target: Target, stored: set[SSAValue]) -> None:
        self.em, self.nest, self.plan, self.target, self.stored = em, nest, plan, target, stored
        self.space = nest.space
        self.base: dict[Access, Index] = {}
        self.at_dim: dict[int, Index] = {}
        self.held: dict[tuple[Access, Point], SSAValue] = {}
        self.loads: dict[tuple[SSAValue, Index, int | None], SSAValue] = {}
        self.combiners = {i: combiners(s) for i, s in enumerate(nest.stages) if s.reduction}
        self.variants = 1

    def write(self) -> None:
        """All loops of the nest, into the emitter's current block."""
        for access in self.nest.accesses():
            base = self.em.root_base(access.root)
            self.base[access] = Index(base.value, base.const + access.const)
        for dim in self.plan.order:
            self.variants *= len(self._segments(dim, self.plan.tile[dim]))
        self._outer(0, {}, parallel=True)

    # Outer loops

    def _segments(self, dim: int, tile: int) -> list[Segment]:
        """Cover `dim` with tiles: whole ones, then what is left (dynamic: ever smaller tiles)."""
        n = self.space.static(dim)
        if n is not None:
            full = n // tile * tile
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
            high = self._rounded(extent, low, size)
            parts.append(Segment(low, high, size, size))
            low = high
        return parts

    def _rounded(self, extent: Index, low: Index, size: int) -> Index:
        """Where the last whole tile of `size` from `low` ends."""
        if size == 1:
            return extent
        return self.em.round_down(extent, low, size)

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
                saved = self._enter(order[i], segment.low)
                self._outer(i + 1, inner, parallel=parallel)
                self._leave(saved)
            else:
                self._loops([(order[i], segment)], i + 1, inner, parallel=parallel)

    def _loops(self, run: Sequence[tuple[int, Segment]], then: int, sizes: dict[int, int], *, parallel: bool) -> None:
        saved = (dict(self.base), dict(self.at_dim))
        with ExitStack() as stack:
            if parallel:
                ivs = stack.enter_context(self.em.parallel([(s.low, s.high, s.step) for _, s in run]))
                for (dim, _), iv in zip(run, ivs, strict=True):
                    self._enter(dim, Index(iv))
            else:
                for dim, s in run:
                    iv, _, _ = stack.enter_context(self.em.loop(s.low, s.high, s.step))
                    self._enter(dim, Index(iv))
            self._outer(then, sizes, parallel=False)
        self._leave(saved)

    def _enter(self, dim: int, at: Index) -> tuple[dict[Access, Index], dict[int, Index]]:
        """Move every base to `at` along `dim`."""
        saved = (dict(self.base), dict(self.at_dim))
        for access, base in self.base.items():
            c = access.coeff(dim)
            if c != ZERO:
                self.base[access] = self.em.plus(base, self.em.times(at, c))
        self.at_dim[dim] = at
        return saved

    def _leave(self, saved: tuple[dict[Access, Index], dict[int, Index]]) -> None:
        self.base, self.at_dim = dict(saved[0]), dict(saved[1])

    # One tile

    def _tile(self, sizes: dict[int, int]) -> None:
        points = self._points(sizes)
        self.held = {}
        dirty: dict[tuple[Access, Point], None] = {}
        i = 0
        stages = self.nest.stages
        while i < len(stages):
            private = self.nest.private(stages[i])
            self.loads = {}
            if not private:
                self._pointwise(stages[i], points, dirty)
                i += 1
                continue
            end = i + 1
            while end < len(stages) and self._fits(stages[i:end], stages[end], private):
                end += 1
            self._group(list(range(i, end)), points, dirty)
            i = end
        self.loads = {}
        for access, point in dirty:
            if access.root in self.stored:
                self._store(self.held[access, point], access, point)

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

    def _pointwise(self, stage: Stage, points: list[Point], dirty: dict[tuple[Access, Point], None]) -> None:
        for point in points:
            args = [self._value(o, point, (), None) for o in stage.ins]
            args += [
                self._value(o, point, (), None) if stage.reads_out(k) else args_placeholder(self.em, o)
                for k, o in enumerate(stage.outs)
            ]
            results = evaluate(self.em, stage, args, point.lanes, self._positions(stage, point, None))
            for out, value in zip(stage.outs, results, strict=True):
                self.held[out, point] = value
                dirty[out, point] = None

    # Reading and writing

    def _index(self, access: Access, offsets: Offsets) -> Index:
        at = self.base[access]
        for dim, n in offsets:
            c = access.coeff(dim)
            if n and c != ZERO:
                at = self.em.plus(at, self.em.times(Index(const=n), c))
        return at

    def _lanes_coeff(self, access: Access, step: Step | None, lanes_dim: int | None) -> Size:
        dim = self.plan.lanes_dim if lanes_dim is None else lanes_dim
        return ZERO if dim is None else access.coeff(dim)

    def _value(
        self,
        operand: Access | SSAValue,
        point: Point,
        offsets: Offsets,
        lanes_dim: int | None,
        lanes: int | None = None,
    ) -> SSAValue:
        """Operand at `point` plus `offsets`; `lanes_dim`/`lanes` where lanes run along a private dim."""
        if isinstance(operand, SSAValue):
            return operand
        held = self.held.get((operand, point))
        if held is not None:
            return held
        dim = self.plan.lanes_dim if lanes_dim is None else lanes_dim
        lanes = point.lanes if lanes_dim is None else lanes
        coeff = ZERO if dim is None else operand.coeff(dim)
        where = point.offsets + offsets
        at = self._index(operand, where)
        if lanes is None or coeff == ZERO:
            return self._load(operand, at, None)
        if coeff == ONE:
            return self._load(operand, at, lanes)
        assert dim is not None
        key = (operand.root, at, -lanes)
        if key not in self.loads:
            spots = [self.em.plus(at, self.em.times(Index(const=j), coeff)) for j in range(lanes)]
            self.loads[key] = self.em.gather(operand, spots)
        return self.loads[key]

    def _load(self, access: Access, at: Index, lanes: int | None) -> SSAValue:
        key = (access.root, at, lanes)
        if key not in self.loads:
            self.loads[key] = self.em.load(access, at, lanes)
        return self.loads[key]

    def _store(
        self,
        value: SSAValue,
        access: Access,
        point: Point,
        offsets: Offsets = (),
        lanes_dim: int | None = None,
        lanes: int | None = None,
    ) -> None:
        dim = self.plan.lanes_dim if lanes_dim is None else lanes_dim
        lanes = point.lanes if lanes_dim is None else lanes
        at = self._index(access, point.offsets + offsets)
        if lanes is None or dim is None:
            self.em.store(value, access, at)
            return
        value = self.em.broadcast(value, lanes)
        coeff = access.coeff(dim)
        if coeff == ONE:
            self.em.store(value, access, at)
        else:
            spots = [self.em.plus(at, self.em.times(Index(const=j), coeff)) for j in range(lanes)]
            self.em.scatter(value, access, spots)

    def _positions(self, stage: Stage, point: Point, step: Step | None, lanes_dim: int | None = None):
        dim = self.plan.lanes_dim if lanes_dim is None else lanes_dim
        offsets = dict(point.offsets + (step.offsets if step else ()))

        def position(loop: int) -> tuple[SSAValue, int]:
            at = Index()
            for d, k in stage.indices[loop].items():
                here = self.at_dim.get(d, Index())
                here = Index(here.value, here.const + offsets.get(d, 0))
                at = self.em.plus(at, self.em.times(here, Size(k)))
            return self.em.materialize(at), stage.indices[loop].get(dim, 0) if dim is not None else 0

        return position

    # Groups of stages with private loops

    def _group(self, numbers: list[int], points: list[Point], dirty: dict[tuple[Access, Point], None]) -> None:
        GroupWriter(self, numbers, points).write(dirty)


def args_placeholder(em: Emitter, out: Access) -> SSAValue:
    """Stands for the old value of an output that the body does not read."""
    return em.unused(out.element_type)


class GroupWriter:
    """The private loops of neighbouring stages, for all points of a tile at once."""

    def __init__(self, nest: NestWriter, numbers: list[int], points: list[Point]) -> None:
        self.w, self.em, self.plan, self.space = nest, nest.em, nest.plan, nest.space
        self.numbers, self.points = numbers, points
        self.stages = [nest.nest.stages[i] for i in numbers]
        self.lanes_dim = nest.plan.stage_lanes.get(numbers[0])
        dims = nest.nest.private(self.stages[0])
        if self.lanes_dim is not None:
            dims = [d for d in dims if d != self.lanes_dim]
        self.dims = reduction_order(nest.nest, nest.plan, self.stages, dims)
        self.keys: list[AccKey] = []
        self.slots = 1
        self.hoisted: dict[tuple[Access, Point], SSAValue] = {}
        self.here: dict[tuple[Access, Point], SSAValue] = {}

    def write(self, dirty: dict[tuple[Access, Point], None]) -> None:
        reductions = [i for i in self.numbers if self.w.nest.stages[i].reduction]
        self._plan_steps(bool(reductions))
        self._hoist()
        accs = self._initial(reductions)
        self.keys = list(accs)
        results = self._loops(0, [accs[k] for k in self.keys])
        final = dict(zip(self.keys, results, strict=True))
        for i in reductions:
            for k, out in enumerate(self.w.nest.stages[i].outs):
                for point in self.points:
                    self.w.held[out, point] = self._total(i, k, point, final)
                    dirty[out, point] = None

    def _combiner(self, i: int, out: int) -> Combiner | None:
        found = self.w.combiners[i]
        return found[out] if found is not None else None

    def _plan_steps(self, reducing: bool) -> None:
        """How far the innermost loop is unrolled, and over how many accumulators per point."""
        ops = sum(sum(1 for _ in s.block.ops) + 1 for s in self.stages)
        if self.lanes_dim is not None:
            n = self.space.static(self.lanes_dim)
            have = (n if n is not None else 1 << 20) // self.plan.width
            most = max(1, 8 // len(self.points)) if ops < 12 else 4 if ops < 30 else 2
            self.whole: list[int] = []
            self.steps = max(1, min(most, have))
            self.slots = self.steps
            return
        per_step = len(self.points) * ops
        if self.plan.contraction:
            per_step = len(self.points) + 2 * len({p.offsets[:-1] for p in self.points}) + 2
        self.whole, self.steps = unroll(self.w.nest, self.dims, per_step, self.w.variants)
        known = all(self.w.combiners[i] is not None for i in self.numbers if self.w.nest.stages[i].reduction)
        if reducing and known:
            unrolled = self.steps
            for d in self.whole:
                unrolled *= self.space.static(d) or 1
            wanted = -(-2 * self.w.target.fma_latency // len(self.points))
            self.slots = max(1, min(wanted, unrolled))

    def _hoist(self) -> None:
        """Load what does not change in the loops before them."""
        private = set(self.w.nest.private(self.stages[0]))
        written = {o.root for s in self.stages for o in s.outs}
        for stage in self.stages:
            for operand in stage.ins:
                if (
                    isinstance(operand, Access)
                    and operand.root not in written
                    and not private & {d for d, _ in operand.coeffs}
                ):
                    for point in self.points:
                        self.hoisted[operand, point] = self.w._value(operand, point, (), None)

    # Accumulators

    def _initial(self, reductions: list[int]) -> dict[AccKey, SSAValue]:
        accs: dict[AccKey, SSAValue] = {}
        for i in reductions:
            for k, out in enumerate(self.w.nest.stages[i].outs):
                combiner = self._combiner(i, k)
                for point in self.points:
                    start = self.w._value(out, point, (), None)
                    if self.lanes_dim is None:
                        accs[i, k, point, 0] = self.em.broadcast(start, point.lanes)
                        lanes = point.lanes
                        more = range(1, self.slots)
                    else:
                        accs[i, k, point, None] = start
                        lanes = self.plan.width
                        more = range(self.slots) if self._has_full() else range(0)
                    for slot in more:
                        assert combiner is not None
                        neutral = combiner.neutral(out.element_type)
                        accs[i, k, point, slot] = (
                            self.em.scalar(neutral) if lanes is None else self.em.splat(neutral, lanes)
                        )
        return accs

    def _has_full(self) -> bool:
        assert self.lanes_dim is not None
        n = self.space.static(self.lanes_dim)
        return n is None or n >= self.plan.width

    def _total(self, i: int, k: int, point: Point, final: dict[AccKey, SSAValue]) -> SSAValue:
        combiner = self._combiner(i, k)
        slots = [final[key] for key in final if key[:3] == (i, k, point) and key[3] is not None]
        while len(slots) > 1:
            assert combiner is not None
            half = (len(slots) + 1) // 2
            slots = [
                combiner.apply(self.em, slots[j], slots[j + half]) if j + half < len(slots) else slots[j]
                for j in range(half)
            ]
        if self.lanes_dim is None:
            return slots[0]
        rest = final[i, k, point, None]
        if not slots:
            return rest
        assert combiner is not None
        return combiner.apply(self.em, rest, self.em.reduce(combiner.kind, slots[0]))

    # Loops

    def _loops(self, i: int, accs: list[SSAValue]) -> list[SSAValue]:
        around = [d for d in self.dims if d not in self.whole]
        if self.lanes_dim is None and around:
            around = around[:-1]
        if i < len(around):
            dim = around[i]
            high = self.em.size(self.space.extents[dim])
            with self.em.loop(Index(), high, 1, accs) as (iv, carried, yields):
                saved = self.w._enter(dim, Index(iv))
                yields.extend(self._loops(i + 1, carried))
                self.w._leave(saved)
            return yields
        if self.lanes_dim is not None:
            return self._row(accs)
        return self._steps(accs)

    def _steps(self, accs: list[SSAValue]) -> list[SSAValue]:
        """The innermost loop when lanes run along an outer dim."""
        around = [d for d in self.dims if d not in self.whole]
        inner = (
            [()]
            if not self.whole
            else list(product(*([(d, j) for j in range(self.space.static(d) or 0)] for d in self.whole)))
        )
        if not around:
            return self._body([Step(o, None, j % self.slots) for j, o in enumerate(inner)], accs)
        dim = around[-1]

        def steps(n: int) -> list[Step]:
            offsets = [((dim, j), *o) for j in range(n) for o in inner]
            return [Step(o, None, j % self.slots) for j, o in enumerate(offsets)]

        for segment in self._inner_segments(dim, self.steps):
            accs = self._segment(dim, segment, steps(segment.size), accs)
        return accs

    def _inner_segments(self, dim: int, step: int) -> list[Segment]:
        n = self.space.static(dim)
        if n is not None:
            full = n // step * step
            parts = [Segment(Index(), Index(const=full), step, step)]
            if full < n:
                parts.append(Segment(Index(const=full), Index(const=n), n - full, n - full))
            return parts
        extent = self.em.size(self.space.extents[dim])
        if step == 1:
            return [Segment(Index(), extent, 1, 1)]
        middle = self.em.round_down(extent, Index(), step)
        return [Segment(Index(), middle, step, step), Segment(middle, extent, 1, 1)]

    def _row(self, accs: list[SSAValue]) -> list[SSAValue]:
        """The innermost loop when lanes run along a private dim: vectors in bundles, single ones, leftovers."""
        dim, w = self.lanes_dim, self.plan.width
        assert dim is not None
        bundle = [Step(((dim, j * w),), w, j) for j in range(self.steps)]
        n = self.space.static(dim)
        if n is not None:
            at = n // (w * self.steps) * w * self.steps
            if at:
                accs = self._segment(dim, Segment(Index(), Index(const=at), w * self.steps, 0), bundle, accs)
            rest = [Step(((dim, j),), w, k) for k, j in enumerate(range(at, n - w + 1, w))]
            if n % w:
                rest.append(Step(((dim, n - n % w),), n % w if n % w > 1 else None, None))
            return self._body(rest, accs) if rest else accs
        extent = self.em.size(self.space.extents[dim])
        low = Index()
        for size, steps in (
            (w * self.steps, bundle),
            (w, [Step(((dim, 0),), w, 0)]),
            (1, [Step(((dim, 0),), None, None)]),
        ):
            high = extent if size == 1 else self.em.round_down(extent, low, size)
            accs = self._segment(dim, Segment(low, high, size, 0), steps, accs)
            low = high
        return accs

    def _segment(self, dim: int, segment: Segment, steps: list[Step], accs: list[SSAValue]) -> list[SSAValue]:
        if segment.trips == 1:
            saved = self.w._enter(dim, segment.low)
            accs = self._body(steps, accs)
            self.w._leave(saved)
            return accs
        with self.em.loop(segment.low, segment.high, segment.step, accs) as (iv, carried, yields):
            saved = self.w._enter(dim, Index(iv))
            yields.extend(self._body(steps, carried))
            self.w._leave(saved)
        return yields

    # The unrolled body

    def _body(self, steps: list[Step], accs: list[SSAValue]) -> list[SSAValue]:
        current = dict(zip(self.keys, accs, strict=True))
        self.w.loads = {}
        for step in steps:
            if self.plan.contraction:
                self.w.loads = {}
            self.here = {}
            for i, stage in zip(self.numbers, self.stages, strict=True):
                for point in self.points:
                    self._one(i, stage, point, step, current)
        self.w.loads = {}
        return [current[k] for k in self.keys]

    def _one(self, i: int, stage: Stage, point: Point, step: Step, accs: dict[AccKey, SSAValue]) -> None:
        lanes = point.lanes if self.lanes_dim is None else step.lanes
        args = [self._operand(o, point, step) for o in stage.ins]
        positions = self.w._positions(stage, point, step, self.lanes_dim)
        if not stage.reduction:
            args += [
                self._operand(o, point, step) if stage.reads_out(k) else args_placeholder(self.em, o)
                for k, o in enumerate(stage.outs)
            ]
            for out, value in zip(stage.outs, evaluate(self.em, stage, args, lanes, positions), strict=True):
                self.here[out, point] = value
                if self._must_store(out, i):
                    self.w._store(value, out, point, step.offsets, self.lanes_dim, step.lanes)
                    self.w.loads = {k: v for k, v in self.w.loads.items() if k[0] is not out.root}
            return
        keys = [(i, k, point, step.slot) for k in range(len(stage.outs))]
        if step.slot is not None or lanes is None:
            results = evaluate(self.em, stage, [*args, *(accs[k] for k in keys)], lanes, positions)
            accs.update(zip(keys, results, strict=True))
            return
        starts: list[SSAValue] = []
        for k, out in enumerate(stage.outs):
            combiner = self._combiner(i, k)
            assert combiner is not None
            starts.append(self.em.splat(combiner.neutral(out.element_type), lanes))
        for k, value in enumerate(evaluate(self.em, stage, [*args, *starts], lanes, positions)):
            combiner = self._combiner(i, k)
            assert combiner is not None and isinstance(value.type, VectorType)
            accs[keys[k]] = combiner.apply(self.em, accs[keys[k]], self.em.reduce(combiner.kind, value))

    def _operand(self, operand: Access | SSAValue, point: Point, step: Step) -> SSAValue:
        if isinstance(operand, Access):
            found = self.here.get((operand, point)) or self.hoisted.get((operand, point))
            if found is not None:
                return found
        return self.w._value(operand, point, step.offsets, self.lanes_dim, step.lanes)

    def _must_store(self, out: Access, number: int) -> bool:
        """Whether memory needs the value: something outside, or a later loop of this nest, reads it."""
        if out.root in self.w.stored:
            return True
        later = self.w.nest.stages[max(self.numbers) + 1 :]
        return any(out.root in s.roots() for s in later)
