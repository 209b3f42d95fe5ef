"""Find equal steps in a straight line of torch ops: what a Python loop over time leaves behind.

    op sequence   a b c  a b c  a b c  d          -->  start 0, period 3, 3 steps

Two steps are equal when op j of one and op j of the next have the same name, types and attributes, and every operand is
`internal` (made by the same op of its own step), `carried` (made by the same op of the step before), `invariant` (made
before all steps) or `affine` (an integer constant that grows by the same amount, at a place where an op takes a
run-time integer).
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from xdsl.ir import Operation, SSAValue

from mlc.dialects.torch.values import NOT_CONSTANT, constant_value

MAX_PERIODS = 6  # candidates of each kind that are tried, by how often they occur
MAX_PERIOD = 2000  # ops of one step

AFFINE = {"torch.aten.select.int": 2, "torch.aten.select_scatter": 3}
"""Operands that may be an integer known at run time."""

Kind = Literal["internal", "carried", "invariant", "affine"]
Place = tuple[int, int]  # op of a step, result
Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Source:
    """Where an operand of a step comes from. `place`: of internal and carried ones; `value`: the invariant one, or what
    the first step takes; `base` and `slope` of affine ones: `base + step * slope`."""

    kind: Kind
    place: Place | None = None
    value: SSAValue | None = None
    base: int = 0
    slope: int = 0


class Line:
    """A straight line of ops as numbers: thousands of steps are compared at once, not op by op.

    `keys`: equal where ops are alike but for their operands. `codes`: the operands of all ops, one after the other,
    those of op n from `first[n]`. A value made in the line is `place * width + result`, so it grows by the same amount
    from step to step; others count down from -1, equal constants as one.
    """

    def __init__(self, ops: Sequence[Operation]) -> None:
        self.ops = ops
        self.width = max((len(op.results) for op in ops), default=1) or 1
        self.outside: list[SSAValue] = []
        self._constants: dict[int, object] = {}
        kinds: dict[object, int] = {}
        attributes: dict[object, int] = {}
        known: dict[int, int] = {}  # by id: hashing a value is a call in Python
        alike: dict[object, int] = {}
        keys: list[int] = []
        first: list[int] = [0]
        codes: list[int] = []
        width = self.width
        get, append, place = known.get, codes.append, 0
        for op in ops:
            operands = op._operands
            for value in operands:
                code = get(id(value))
                if code is None:
                    code = known[id(value)] = self._outside(value, alike)
                append(code)
            results = op.results
            for index, result in enumerate(results):
                known[id(result)] = place + index
            place += width
            held = _held(op, attributes) if op.attributes or op.properties else 0
            types = (results[0]._type,) if len(results) == 1 else tuple([r._type for r in results])
            # what has regions is like nothing else: nobody compares what is in them
            key: object = op if op.regions else (op.name, types, held, len(operands))
            keys.append(kinds.setdefault(key, len(kinds)))
            first.append(len(codes))
        self.keys: Numbers = np.array(keys, np.int64)
        self.first: Numbers = np.array(first, np.int64)
        self.codes: Numbers = np.array(codes, np.int64)

    def _outside(self, value: SSAValue, alike: dict[object, int]) -> int:
        """The number of a value that is not made in the line; equal constants have one: 0.0 and -0.0 are not equal,
        nor are 1 and True."""
        constant = constant_value(value)
        if constant is not NOT_CONSTANT:
            found = alike.setdefault((value.type, repr(constant)), -1 - len(self.outside))
            if found != -1 - len(self.outside):
                return found
            self._constants[found] = constant
        self.outside.append(value)
        return -len(self.outside)

    def value(self, code: int) -> SSAValue:
        """The value that a number stands for."""
        if code < 0:
            return self.outside[-1 - code]
        return self.ops[code // self.width].results[code % self.width]

    def integers(self, codes: Numbers) -> Numbers | None:
        """The integer constants that these stand for, as far as they are such; None where the first two are not."""
        found = [self._constants.get(code) for code in codes.tolist()]
        good = next((n for n, v in enumerate(found) if type(v) is not int), len(found))
        return np.array(found[:good], np.int64) if good >= 2 else None  # one alone grows by nothing


def _held(op: Operation, known: dict[object, int]) -> int:
    """A number for the attributes of an op."""
    held = tuple(sorted((k, str(v)) for k, v in (op.attributes | op.properties).items()))
    return known.setdefault(held, len(known) + 1)


@dataclass
class Repeat:
    """`steps` equal steps of `period` ops, from op `start`. `sources[j][q]`: operand q of op j."""

    line: Line
    start: int
    period: int
    steps: int
    sources: list[list[Source]] = field(default_factory=list)

    def op(self, step: int, j: int) -> Operation:
        """Op `j` of a step."""
        return self.line.ops[self.start + step * self.period + j]

    @property
    def first_step(self) -> Sequence[Operation]:
        return self.line.ops[self.start : self.start + self.period]

    @property
    def all_steps(self) -> Sequence[Operation]:
        return self.line.ops[self.start : self.start + self.steps * self.period]

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
    line = Line(ops)
    best: Repeat | None = None
    for period in _periods(line.keys, min_steps):
        run = _longest_run(line.keys, period)
        most = (run[1] - run[0]) // period + 1 if run is not None else 0
        if run is None or most < min_steps or (best is not None and most * period <= best.steps * best.period):
            continue
        for start in range(run[0], min(run[0] + period, run[1])):
            steps = (run[1] - start) // period + 1
            if steps < min_steps or _equal_steps(line, start, period, min_steps, min_steps) is None:
                continue
            found = _equal_steps(line, start, period, steps, min_steps)
            assert found is not None
            if best is None or found.steps * period > best.steps * best.period:
                best = found
            break
    return best


def _periods(keys: Numbers, min_steps: int) -> list[int]:
    """Distances at which an op is found again, most frequent first: from one to the next, then over several."""
    places = np.argsort(keys, kind="stable")  # of each kind in turn
    kinds = keys[places]

    def gaps(length: int) -> tuple[Numbers, Numbers]:
        """Distances from each op to the `length`-th alike behind it, and where that one is."""
        same = kinds[length:] == kinds[:-length]
        return (places[length:] - places[:-length])[same], places[length:][same]

    found, ends = gaps(1)
    # An op that occurs several times in a step comes back at distances that add up to the period.
    several = np.concatenate([gaps(length)[0] for length in (2, 3, 4, 6, 8)])
    enough = (_frequent(distances, min_steps - 1)[:MAX_PERIODS] for distances in (found[np.argsort(ends)], several))
    return list(dict.fromkeys(g for some in enough for g in some))


def _frequent(distances: Numbers, least: int) -> list[int]:
    """Distances found at least so many times, most frequent first; of equally frequent ones what came first."""
    which, first, counts = np.unique(distances, return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    return [int(which[n]) for n in order if 2 <= which[n] <= MAX_PERIOD and counts[n] >= least]


def _longest_run(keys: Numbers, period: int) -> tuple[int, int] | None:
    """The longest [a, b) in which every key comes back `period` further on."""
    same = np.concatenate([[False], keys[:-period] == keys[period:], [False]])
    edges = np.flatnonzero(same[1:] != same[:-1])
    if not edges.size:
        return None
    begins, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - begins))
    return int(begins[longest]), int(ends[longest])


def _equal_steps(line: Line, start: int, period: int, steps: int, min_steps: int) -> Repeat | None:
    """As many equal steps from `start` as there are, or None when they are too few."""
    while steps >= min_steps:
        found = Repeat(line, start, period, steps)
        good = steps
        for j in range(period):
            row: list[Source] = []
            for q in range(int(line.first[start + j + 1] - line.first[start + j])):
                source, agree = _classify(found, j, q)
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


def _classify(found: Repeat, j: int, q: int) -> tuple[Source | None, int]:
    """Where operand q of op j comes from, and how many steps agree on it."""
    line, steps = found.line, found.steps
    begin, stride = found.start * line.width, found.period * line.width
    first_op = found.start + j
    codes: Numbers = line.codes[line.first[first_op : first_op + steps * found.period : found.period] + q]
    one, two = int(codes[0]), int(codes[1])
    if begin <= one:  # made inside the first step
        return Source("internal", divmod(one - begin, line.width)), _prefix(codes, one, stride)
    if one == two:
        return Source("invariant", value=line.value(one)), _prefix(codes, one, 0)
    if begin <= two < begin + stride:
        place = divmod(two - begin, line.width)
        value = line.value(one)
        if found.op(0, place[0]).results[place[1]].type != value.type:
            return None, 1
        return Source("carried", place, value), 1 + _prefix(codes[1:], two, stride)
    if AFFINE.get(found.op(0, j).name) == q and (numbers := line.integers(codes)) is not None and numbers[0] >= 0:
        base, slope = int(numbers[0]), int(numbers[1] - numbers[0])
        return Source("affine", base=base, slope=slope), _prefix(numbers, base, slope)
    return None, 1


def _prefix(numbers: Numbers, base: int, slope: int) -> int:
    """How many numbers from the front are `base + k * slope`."""
    wrong = numbers != base + slope * np.arange(len(numbers))
    return int(np.argmax(wrong)) if wrong.any() else len(numbers)
