"""Find equal steps in a straight line of torch ops: what a Python loop over time leaves behind.

    op sequence   a b c  a b c  a b c  d          -->  start 0, period 3, 3 steps

Two steps are equal when op j of one and op j of the next have the same name, types and attributes, and every operand is
`internal` (made by the same op of its own step), `carried` (made by the same op of the step before), `invariant` (made
before all steps) or `affine` (an integer constant that grows by the same amount, at a place where an op takes a
run-time integer).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from xdsl.ir import Operation, OpResult, SSAValue

from mlc.dialects.torch.values import NOT_CONSTANT, constant_value

MAX_PERIODS = 6  # candidates of each kind that are tried, by how often they occur
MAX_PERIOD = 2000  # ops of one step

AFFINE = {"torch.aten.select.int": 2, "torch.aten.select_scatter": 3}
"""Operands that may be an integer known at run time."""

Kind = Literal["internal", "carried", "invariant", "affine"]
Place = tuple[int, int]  # op of a step, result


@dataclass(frozen=True)
class Source:
    """Where an operand of a step comes from. `place`: of internal and carried ones; `value`: the invariant one, or what
    the first step takes; `base` and `slope` of affine ones: `base + step * slope`."""

    kind: Kind
    place: Place | None = None
    value: SSAValue | None = None
    base: int = 0
    slope: int = 0


@dataclass
class Repeat:
    """`steps` equal steps of `period` ops, from `ops[start]`. `sources[j][q]`: operand q of op j."""

    ops: Sequence[Operation]
    start: int
    period: int
    steps: int
    sources: list[list[Source]] = field(default_factory=list)

    def op(self, step: int, j: int) -> Operation:
        """Op `j` of a step."""
        return self.ops[self.start + step * self.period + j]

    @property
    def first_step(self) -> Sequence[Operation]:
        return self.ops[self.start : self.start + self.period]

    @property
    def all_steps(self) -> Sequence[Operation]:
        return self.ops[self.start : self.start + self.steps * self.period]

    def carried(self) -> dict[Place, SSAValue]:
        """What a step takes over from the step before, and what the first step starts with."""
        return {
            s.place: s.value
            for row in self.sources
            for s in row
            if s.kind == "carried" and s.place is not None and s.value is not None
        }


def find_repeat(ops: Sequence[Operation], min_steps: int) -> Repeat | None:
    """The longest run of at least `min_steps` equal steps that a period of the sequence gives."""
    keys = _keys(ops)
    place = {op: n for n, op in enumerate(ops)}
    best: Repeat | None = None
    for period in _periods(keys, min_steps):
        run = _longest_run(keys, period)
        most = (run[1] - run[0]) // period + 1 if run is not None else 0
        if run is None or most < min_steps or (best is not None and most * period <= best.steps * best.period):
            continue
        for start in range(run[0], min(run[0] + period, run[1])):
            steps = (run[1] - start) // period + 1
            if steps < min_steps or _equal_steps(ops, place, start, period, min_steps, min_steps) is None:
                continue
            found = _equal_steps(ops, place, start, period, steps, min_steps)
            assert found is not None
            if best is None or found.steps * period > best.steps * best.period:
                best = found
            break
    return best


def _keys(ops: Sequence[Operation]) -> list[int]:
    """Numbers that are equal where ops are alike but for their operands."""
    numbers: dict[object, int] = {}
    out: list[int] = []
    for op in ops:
        attributes = tuple(sorted((k, str(v)) for k, v in (op.attributes | op.properties).items()))
        key = (op.name, tuple(op.result_types), attributes, len(op.operands), bool(op.regions))
        out.append(numbers.setdefault(key, len(numbers)))
    return out


def _periods(keys: Sequence[int], min_steps: int) -> list[int]:
    """Distances at which an op is found again, most frequent first: from one to the next, then over several."""
    seen: dict[int, int] = {}
    gaps: Counter[int] = Counter()
    several: Counter[int] = Counter()
    for i, key in enumerate(keys):
        if key in seen:
            gaps[i - seen[key]] += 1
        seen[key] = i
    # An op that occurs several times in a step comes back at distances that add up to the period.
    places: dict[int, list[int]] = {}
    for i, key in enumerate(keys):
        places.setdefault(key, []).append(i)
    for length in (2, 3, 4, 6, 8):
        for key in set(keys):
            for a, b in zip(places[key], places[key][length:], strict=False):
                several[b - a] += 1
    enough = [
        [g for g, n in counted.most_common() if 2 <= g <= MAX_PERIOD and n >= min_steps - 1][:MAX_PERIODS]
        for counted in (gaps, several)
    ]
    return list(dict.fromkeys(enough[0] + enough[1]))


def _longest_run(keys: Sequence[int], period: int) -> tuple[int, int] | None:
    """The longest [a, b) in which every key comes back `period` further on."""
    best: tuple[int, int] | None = None
    start: int | None = None
    for i in range(len(keys) - period + 1):
        same = i + period < len(keys) and keys[i] == keys[i + period]
        if same and start is None:
            start = i
        if not same and start is not None:
            if best is None or i - start > best[1] - best[0]:
                best = (start, i)
            start = None
    return best


def _equal_steps(
    ops: Sequence[Operation], place: dict[Operation, int], start: int, period: int, steps: int, min_steps: int
) -> Repeat | None:
    """As many equal steps from `start` as there are, or None when they are too few. `place`: of each op in `ops`."""
    while steps >= min_steps:
        found = Repeat(ops, start, period, steps)
        good = steps
        for j in range(period):
            row: list[Source] = []
            for q in range(len(ops[start + j].operands)):
                source, agree = _classify(found, j, q, place)
                good = min(good, agree)
                if source is None or good < min_steps:
                    return None
                row.append(source)
            found.sources.append(row)
        if good == steps:
            return found if _one_start_each(found) else None
        steps = good
    return None


def _one_start_each(found: Repeat) -> bool:
    """Whether every carried value starts as one value."""
    carried = found.carried()
    return all(carried[s.place] is s.value for row in found.sources for s in row if s.kind == "carried" and s.place)


def _classify(found: Repeat, j: int, q: int, place: dict[Operation, int]) -> tuple[Source | None, int]:
    """Where operand q of op j comes from, and how many steps agree on it."""
    first_op = found.start + j
    values = [op._operands[q] for op in found.ops[first_op : first_op + found.steps * found.period : found.period]]
    spots = [_spot(v, found, place) for v in values]
    first = spots[0]
    if first is not None:  # made inside the first step
        same = _prefix(spots, lambda k: (k, *first[1:]))
        return Source("internal", first[1:]), same
    if values[0] is values[1]:
        return Source("invariant", value=values[0]), _prefix(values, lambda _: values[0])
    second = spots[1]
    if second is not None and second[0] == 0:
        made = found.op(0, second[1]).results[second[2]]
        if made.type != values[0].type:
            return None, 1
        same = 1 + _prefix(spots[1:], lambda k: (k, *second[1:]))
        return Source("carried", second[1:], values[0]), same
    numbers = [constant_value(v) for v in values]
    if numbers[0] is not NOT_CONSTANT and _alike(numbers[0], numbers[1]):
        return Source("invariant", value=values[0]), _prefix([_alike(n, numbers[0]) for n in numbers], lambda _: True)
    if AFFINE.get(found.op(0, j).name) == q:
        base, after = numbers[0], numbers[1]
        if isinstance(base, int) and isinstance(after, int) and base >= 0:
            slope = after - base
            same = _prefix(numbers, lambda k: base + k * slope)
            return Source("affine", base=base, slope=slope), same
    return None, 1


def _alike(a: object, b: object) -> bool:
    """Whether two constants are the same: 0.0 and -0.0, 1 and True are not."""
    return repr(a) == repr(b)


def _spot(value: SSAValue, found: Repeat, place: dict[Operation, int]) -> tuple[int, int, int] | None:
    """(step, op, result) of a value made in the steps."""
    if not isinstance(value, OpResult) or (number := place.get(value.op)) is None:
        return None
    at = number - found.start
    if not 0 <= at < found.steps * found.period:
        return None
    return at // found.period, at % found.period, value.index


def _prefix(items: Sequence[object], expected: Callable[[int], object]) -> int:
    """How many items from the front are as expected."""
    for k, item in enumerate(items):
        if item != expected(k):
            return k
    return len(items)
