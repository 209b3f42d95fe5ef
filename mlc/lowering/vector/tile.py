"""The pieces of a register tile, and its memory: bases per operand, what is in registers, loads and stores.

base of x at the tile: %b;  point (row 2, lanes 16..31)   -->   vector.load %view_at_b[2 * row stride + 16]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.ir import SSAValue

from mlc.lowering.vector.emitter import Emitter, Index
from mlc.lowering.vector.nests import Nest
from mlc.lowering.vector.sizes import ONE, ZERO, Size
from mlc.lowering.vector.space import Access, Stage

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
class At:
    """A place to read or write: distances from the base, and lanes along `dim`."""

    offsets: Offsets
    lanes: int | None
    dim: int | None


@dataclass(frozen=True)
class Segment:
    """Part of a loop: from `low` to `high` by `step`, constant sizes inside. `last`: one more tile follows, which
    begins there, over the end of the one before."""

    low: Index
    high: Index
    step: int
    size: int
    last: int | None = None

    @property
    def trips(self) -> int | None:
        if self.low.value is self.high.value:
            return (self.high.const - self.low.const) // self.step
        return None


Saved = tuple[dict[Access, Index], dict[int, Index]]


class TileMemory:
    """Where every operand of a nest stands inside the loops entered so far, and what is in registers: `held` by point
    for values without private loops, `loads` by address until something is stored there."""

    def __init__(self, em: Emitter, nest: Nest) -> None:
        self.em = em
        self.cross: int | None = None  # a dim along which the tile at hand has as many points as lanes
        self.blocks: dict[tuple[Access, Offsets], list[SSAValue]] = {}
        self.base: dict[Access, Index] = {}
        self.at_dim: dict[int, Index] = {}
        self.held: dict[tuple[Access, Point], SSAValue] = {}
        self.loads: dict[tuple[SSAValue, Index, int | None, int], SSAValue] = {}
        self.streamed: dict[Access, int] = {}  # what is read once from end to end: how many elements ahead to prefetch
        self.streamed_line = 1  # elements of it in a cache line, where vectors are smaller and several lie side by side
        for access in nest.accesses():
            base = em.root_base(access.root)
            self.base[access] = Index(base.value, base.const + access.const)

    def save(self) -> Saved:
        """For `leave`."""
        return dict(self.base), dict(self.at_dim)

    def enter(self, dim: int, at: Index) -> Saved:
        """Move every base to `at` along `dim`."""
        saved = self.save()
        for access, base in self.base.items():
            c = access.coeff(dim)
            if c != ZERO:
                self.base[access] = self.em.plus(base, self.em.times(at, c))
        self.at_dim[dim] = at
        return saved

    def advance(self, dim: int, by: Index) -> Saved:
        """Move every base `by` further along `dim`."""
        before = self.at_dim.get(dim, Index())
        saved = self.enter(dim, by)
        self.at_dim[dim] = self.em.plus(before, by)
        return saved

    def leave(self, saved: Saved) -> None:
        """Back to before an `enter`."""
        self.base, self.at_dim = dict(saved[0]), dict(saved[1])

    # Reading and writing

    def index(self, access: Access, offsets: Offsets) -> Index:
        """Position of the element of `access` at constant distances from its base."""
        at = self.base[access]
        for dim, n in offsets:
            c = access.coeff(dim)
            if n and c != ZERO:
                at = self.em.plus(at, self.em.times(Index(const=n), c))
        return at

    def value(self, operand: Access | SSAValue, point: Point, at: At) -> SSAValue:
        """An operand for the lanes of `at`: what `point` holds in a register, or loaded once. One scalar where all
        lanes read the same element."""
        if isinstance(operand, SSAValue):
            return operand
        held = self.held.get((operand, point))
        if held is not None:
            return held
        coeff = ZERO if at.dim is None else operand.coeff(at.dim)
        position = self.index(operand, at.offsets)
        lanes = None if at.lanes is None or coeff == ZERO else at.lanes
        scattered = lanes is not None and at.dim is not None and not operand.contiguous(at.dim)
        key = (operand.root, position, -lanes if scattered and lanes else lanes, operand.group)
        if key not in self.loads:
            if scattered and self.cross is not None and operand.coeff(self.cross) == ONE:
                return self._crossed(operand, at, self.cross)
            if scattered:
                self.loads[key] = self.em.gather(operand, self._spots(position, coeff, lanes or 0))
            else:
                self.loads[key] = self.em.load(operand, position, lanes)
                ahead = self.streamed.get(operand, 0)
                if lanes is not None and ahead and position.const % self.streamed_line == 0:
                    self.em.prefetch(operand, Index(position.value, position.const + ahead))
        return self.loads[key]

    def _crossed(self, operand: Access, at: At, cross: int) -> SSAValue:
        """The operand is contiguous across the lanes: load the square block that way and turn it over in registers."""
        assert at.lanes is not None and at.dim is not None
        here = dict(at.offsets)
        first = here.pop(at.dim, 0)
        row = here.pop(cross)
        around = tuple(sorted(here.items()))
        key = (operand, (*around, (at.dim, first)))
        if key not in self.blocks:
            places = [self.index(operand, (*around, (at.dim, first + j))) for j in range(at.lanes)]
            rows = [self.em.load(operand, place, at.lanes) for place in places]
            self.blocks[key] = self.em.transpose(rows)
        return self.blocks[key][row]

    def _spots(self, first: Index, coeff: Size, lanes: int) -> list[Index]:
        return [self.em.plus(first, self.em.times(Index(const=j), coeff)) for j in range(lanes)]

    def store(self, value: SSAValue, access: Access, at: At) -> None:
        """Write the lanes of `at`."""
        position = self.index(access, at.offsets)
        if at.lanes is None or at.dim is None:
            self.em.store(value, access, position)
        elif access.coeff(at.dim) == ONE:
            self.em.store(self.em.broadcast(value, at.lanes), access, position)
        else:
            spots = self._spots(position, access.coeff(at.dim), at.lanes)
            self.em.scatter(self.em.broadcast(value, at.lanes), access, spots)
        self.loads = {k: v for k, v in self.loads.items() if k[0] is not access.root}
        self.blocks = {k: v for k, v in self.blocks.items() if k[0].root is not access.root}

    def old_value(self, stage: Stage, k: int, point: Point, at: At) -> SSAValue:
        """Output `k` before the stage, or any value when the body does not look at it."""
        out = stage.outs[k]
        return self.value(out, point, at) if stage.reads_out(k) else self.em.unused(out.element_type)

    def positions(self, stage: Stage, at: At) -> Callable[[int], tuple[SSAValue, int]]:
        """For `linalg.index`: a loop's value in lane 0, and its step from lane to lane."""
        offsets = dict(at.offsets)

        def position(loop: int) -> tuple[SSAValue, int]:
            total = Index()
            for d, k in stage.indices[loop].items():
                here = self.at_dim.get(d, Index())
                here = Index(here.value, here.const + offsets.get(d, 0))
                total = self.em.plus(total, self.em.times(here, Size(k)))
            step = 0 if at.dim is None or at.lanes is None else stage.indices[loop].get(at.dim, 0)
            return self.em.materialize(total), step

        return position
