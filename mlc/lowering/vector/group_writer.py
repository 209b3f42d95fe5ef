"""Write the private loops of neighbouring stages, for all points of a tile at once.

for k step 4 iter_args(28 accumulators):      reductions carry one accumulator per point, and several where few
  for each unrolled k, stage, point:          points would leave the units waiting; elementwise stages store
    load (once per address), evaluate         as they go
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import VectorType
from xdsl.ir import SSAValue

from mlc.lowering.vector.bodies import Combiner, combiners, evaluate
from mlc.lowering.vector.emitter import Index, is_float
from mlc.lowering.vector.prefetches import Prefetches, streamed_panels
from mlc.lowering.vector.schedule import COLD, Plan, reduction_order, unroll
from mlc.lowering.vector.sizes import ZERO
from mlc.lowering.vector.space import Access, Stage
from mlc.lowering.vector.sum_pieces import PieceLoops, additions, chain_limit, piece_combiners, piece_sizes
from mlc.lowering.vector.tile import At, Point, Segment, Step

if TYPE_CHECKING:
    from mlc.lowering.vector.nest_writer import NestWriter

AccKey = tuple[int, int, Point, int | None]  # stage number, output, point, slot


class GroupWriter:
    """The private loops of neighbouring stages, for all points of a tile at once."""

    def __init__(self, writer: NestWriter, numbers: list[int], points: list[Point]) -> None:
        self.writer, self.nest, self.memory = writer, writer.nest, writer.memory
        self.em, self.plan, self.space = writer.em, self._plan(writer.plan), writer.nest.space
        self.numbers, self.points = numbers, points
        self.stages = [self.nest.stages[i] for i in numbers]
        self.lanes_dim = self.plan.stage_lanes.get(numbers[0])
        dims = self.nest.private(self.stages[0])
        if self.lanes_dim is not None:
            dims = [d for d in dims if d != self.lanes_dim]
        self.dims = reduction_order(self.nest, self.plan, self.stages, dims)
        self.combiners = {i: combiners(s) for i, s in zip(numbers, self.stages, strict=True) if s.reduction}
        self.keys: list[AccKey] = []
        self.slots = 1
        self.hoisted: dict[tuple[Access, Point], SSAValue] = {}
        self.here: dict[tuple[Access, Point], SSAValue] = {}
        self.prefetches = Prefetches(self, self._streamed())

    def write(self) -> list[tuple[Access, Point]]:
        """Write the loops; returns what the points now hold in registers."""
        reductions = [i for i in self.numbers if self.nest.stages[i].reduction]
        return self._finish(reductions, self._sums(reductions))

    def _plan(self, plan: Plan) -> Plan:
        """The plan of these loops: the nest's."""
        return plan

    def _sums(self, reductions: list[int]) -> dict[AccKey, SSAValue]:
        """The loops; what the accumulators hold after them."""
        self._plan_steps(bool(reductions))
        self._hoist()
        accs = self._initial(reductions)
        self.keys = list(accs)
        self.loops = self._in_pieces(reductions)
        results = self._loops(0, [accs[k] for k in self.keys])
        return dict(zip(self.keys, results, strict=True))

    def _neutral(self, reductions: list[int]) -> dict[AccKey, SSAValue]:
        """Vectors to begin with where what is there already is added at the end."""
        accs: dict[AccKey, SSAValue] = {}
        for i in reductions:
            for k, out in enumerate(self.nest.stages[i].outs):
                neutral = self.em.splat(self._known(i, k).neutral(out.element_type), self.plan.width)
                accs.update({(i, k, point, slot): neutral for point in self.points for slot in range(self.slots)})
        return accs

    def _finish(self, reductions: list[int], final: dict[AccKey, SSAValue]) -> list[tuple[Access, Point]]:
        """Totals of the points go to `held`."""
        done: list[tuple[Access, Point]] = []
        for i in reductions:
            for k, out in enumerate(self.nest.stages[i].outs):
                for point in self.points:
                    self.memory.held[out, point] = self._total(i, k, point, final)
                    done.append((out, point))
        return done

    def _combiner(self, i: int, out: int) -> Combiner | None:
        found = self.combiners[i]
        return found[out] if found is not None else None

    def _known(self, i: int, out: int) -> Combiner:
        combiner = self._combiner(i, out)
        assert combiner is not None
        return combiner

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
            fmas = max(1, (ops - 1) // 3)  # of a point
            per_step = fmas * len(self.points) + 2 * len({p.offsets[:-1] for p in self.points}) + 2
        if any(COLD in s.op.attributes for s in self.stages):
            self.whole, self.steps = [], 1
            return
        self.whole, self.steps = unroll(self.nest, self.dims, per_step, self.writer.variants)
        known = all(self.combiners[i] is not None for i in self.numbers if self.nest.stages[i].reduction)
        if reducing and known:
            unrolled = self.steps
            for d in self.whole:
                unrolled *= self.space.static(d) or 1
            wanted = -(-2 * self.writer.target.fma_latency // len(self.points))
            room = (self.writer.target.vector_registers - 4) // len(self.points)
            self.slots = max(1, min(wanted, unrolled, room))

    def _hoist(self) -> None:
        """Load what does not change in the loops before them."""
        private = set(self.nest.private(self.stages[0]))
        written = {o.root for s in self.stages for o in s.outs}
        for stage in self.stages:
            for operand in stage.ins:
                if (
                    isinstance(operand, Access)
                    and operand.root not in written
                    and not private & {d for d, _ in operand.coeffs}
                ):
                    for point in self.points:
                        self.hoisted[operand, point] = self.memory.value(operand, point, self.writer.at(point))

    # Accumulators

    def _initial(self, reductions: list[int]) -> dict[AccKey, SSAValue]:
        accs: dict[AccKey, SSAValue] = {}
        for i in reductions:
            for k, out in enumerate(self.nest.stages[i].outs):
                combiner = self._combiner(i, k)
                for point in self.points:
                    start = self.memory.value(out, point, self.writer.at(point))
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

    def _joined(self, i: int, k: int, point: Point, final: dict[AccKey, SSAValue]) -> SSAValue | None:
        """The accumulators of a point in one, where it has any."""
        combiner = self._combiner(i, k)
        slots = [final[key] for key in final if key[:3] == (i, k, point) and key[3] is not None]
        while len(slots) > 1:
            assert combiner is not None
            half = (len(slots) + 1) // 2
            slots = [
                combiner.apply(self.em, slots[j], slots[j + half]) if j + half < len(slots) else slots[j]
                for j in range(half)
            ]
        return slots[0] if slots else None

    def _total(self, i: int, k: int, point: Point, final: dict[AccKey, SSAValue]) -> SSAValue:
        combiner, joined = self._combiner(i, k), self._joined(i, k, point, final)
        if self.lanes_dim is None:
            assert joined is not None
            return joined
        rest = final[i, k, point, None]
        if joined is None:
            return rest
        assert combiner is not None
        return combiner.apply(self.em, rest, self.em.reduce(combiner.kind, joined))

    # Loops

    def _in_pieces(self, reductions: list[int]) -> PieceLoops:
        """Loops that are cut so that floats are not added up in long chains."""
        outs = [(i, k, o) for i in reductions for k, o in enumerate(self.nest.stages[i].outs)]
        joins = {i: piece_combiners(self.nest.stages[i]) for i in reductions}
        floats = [additions(self.nest.stages[i], k) for i, k, o in outs if is_float(o.element_type)]
        sizes: dict[int, list[int]] = {}
        loops = [(d, self.space.at_most(d)) for d in reversed(self.dims) if d not in self.whole]
        if all(joins.values()) and any(floats) and self._room_for_pieces(len(loops)):
            step = self.steps
            if self.lanes_dim is not None:
                loops.insert(0, (self.lanes_dim, self.space.at_most(self.lanes_dim)))
                step *= self.plan.width
            loops[:1] = [(dim, n if n is None else -(-n // step)) for dim, n in loops[:1]]
            terms = -(-self.steps * prod(self.space.static(d) or 1 for d in self.whole) // self.slots)
            chain = chain_limit([self.nest.stages[i] for i in reductions], self.writer.target)
            sizes = piece_sizes(terms * max(floats), loops, chain)
        return PieceLoops(self.em, self.memory, sizes, [(joins[i] or [])[k] for i, k, _, _ in self.keys if sizes])

    def _room_for_pieces(self, loops: int) -> bool:
        """Not for dot products of rounded numbers, nor in deep nests where every scalar goes through a register: there
        LLVM may keep a pointer per address, which took 1.7 times as long (AVX2, 128 channels, 28x28). With vectors of
        512 bits they cost nothing there; without them a model's error was 4.8 times eager's."""
        if any(s.dot is not None for s in self.stages):
            return False
        target = self.writer.target
        return target.broadcast_load or target.vector_bits >= 512 or not self.plan.contraction or loops <= 2

    def _loops(self, i: int, accs: list[SSAValue]) -> list[SSAValue]:
        around = [d for d in self.dims if d not in self.whole]
        if self.lanes_dim is None and around:
            around = around[:-1]
        if i < len(around):
            dim = around[i]
            segment = Segment(Index(), self.em.size(self.space.extents[dim]), 1, 1)

            def body(inner: list[SSAValue]) -> list[SSAValue]:
                if i == len(around) - 1:
                    self.prefetches.rows()
                return self._loops(i + 1, inner)

            return self.loops.write(dim, segment, accs, body)
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
                rest += self._remainder(n - n % w, n % w)
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

    def _remainder(self, at: int, n: int) -> list[Step]:
        """The last `n` elements of a row, fewer than lanes."""
        assert self.lanes_dim is not None
        return [Step(((self.lanes_dim, at),), n if n > 1 else None, None)]

    def _segment(self, dim: int, segment: Segment, steps: list[Step], accs: list[SSAValue]) -> list[SSAValue]:
        if segment.trips == 1:
            saved = self.memory.enter(dim, segment.low)
            accs = self._body(steps, accs)
            self.memory.leave(saved)
            return accs
        return self.loops.write(dim, segment, accs, lambda inner: self._body(steps, inner))

    # The unrolled body

    def _streamed(self) -> dict[Access, int]:
        """What is prefetched as it is loaded, and how many elements ahead."""
        return streamed_panels(self)

    def _body(self, steps: list[Step], accs: list[SSAValue]) -> list[SSAValue]:
        current = dict(zip(self.keys, accs, strict=True))
        self.memory.loads = {}
        self.prefetches.begin(len(steps))
        for step in steps:
            if self.plan.contraction:
                self.memory.loads = {}
            self.here = {}
            for i, stage in zip(self.numbers, self.stages, strict=True):
                for point in self._in_turn(stage):
                    self._one(i, stage, point, step, current)
        self.memory.loads = {}
        self.prefetches.end()
        return [current[k] for k in self.keys]

    def _in_turn(self, stage: Stage) -> list[Point]:
        """The points; where scalars take registers, those that share one follow each other, so that it takes one."""
        lanes = self.plan.lanes_dim
        if not self.plan.contraction or lanes is None or not self.writer.target.scalars_in_turn:
            return self.points
        scalars = [o for o in stage.ins if isinstance(o, Access) and o.coeff(lanes) == ZERO]
        groups: dict[tuple[tuple[int, int], ...], list[Point]] = {}
        for point in self.points:
            place = tuple(o for o in point.offsets if any(a.coeff(o[0]) != ZERO for a in scalars))
            groups.setdefault(place, []).append(point)
        return [point for group in groups.values() for point in group]

    def _one(self, i: int, stage: Stage, point: Point, step: Step, accs: dict[AccKey, SSAValue]) -> None:
        if self.lanes_dim is None:
            at = At(point.offsets + step.offsets, point.lanes, self.plan.lanes_dim)
        else:
            at = At(point.offsets + step.offsets, step.lanes, self.lanes_dim)
        args = [self._operand(o, point, at) for o in stage.ins]
        positions = self.memory.positions(stage, at)
        if not stage.reduction:
            args += [self._old_value(stage, k, point, at) for k in range(len(stage.outs))]
            for out, value in zip(stage.outs, evaluate(self.em, stage, args, at.lanes, positions), strict=True):
                self.here[out, point] = value
                if self._must_store(out):
                    self.memory.store(value, out, at)
            return
        keys = [(i, k, point, step.slot) for k in range(len(stage.outs))]
        if step.slot is not None or at.lanes is None:
            results = evaluate(self.em, stage, [*args, *(accs[k] for k in keys)], at.lanes, positions)
            for key, value in zip(keys, results, strict=True):  # the same for all lanes where no operand varies
                accs[key] = self.em.broadcast(value, at.lanes) if isinstance(accs[key].type, VectorType) else value
            return
        starts: list[SSAValue] = []
        for k, out in enumerate(stage.outs):
            combiner = self._combiner(i, k)
            assert combiner is not None
            starts.append(self.em.splat(combiner.neutral(out.element_type), at.lanes))
        for k, value in enumerate(evaluate(self.em, stage, [*args, *starts], at.lanes, positions)):
            combiner = self._combiner(i, k)
            assert combiner is not None and isinstance(value.type, VectorType)
            self._leftover(combiner, keys[k], value, accs)

    def _leftover(self, combiner: Combiner, key: AccKey, value: SSAValue, accs: dict[AccKey, SSAValue]) -> None:
        """Take in what the last, shorter vector of a row gave."""
        accs[key] = combiner.apply(self.em, accs[key], self.em.reduce(combiner.kind, value))

    def _old_value(self, stage: Stage, k: int, point: Point, at: At) -> SSAValue:
        found = self.here.get((stage.outs[k], point))
        return found if found is not None else self.memory.old_value(stage, k, point, at)

    def _operand(self, operand: Access | SSAValue, point: Point, at: At) -> SSAValue:
        if isinstance(operand, Access):
            found = self.here.get((operand, point)) or self.hoisted.get((operand, point))
            if found is not None:
                return found
        return self.memory.value(operand, point, at)

    def _must_store(self, out: Access) -> bool:
        """Whether memory needs the value: something outside, or a later loop of this nest, reads it."""
        if out.root in self.writer.stored:
            return True
        later = self.nest.stages[max(self.numbers) + 1 :]
        return any(out.root in s.roots() for s in later)
