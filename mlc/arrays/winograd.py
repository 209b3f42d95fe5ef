"""Winograd's minimal filtering F(m, 3) as data: points, and the straight-line programs of the transforms.

F(4, 3), 6 inputs d, 3 taps g, 4 outputs y:      scale * y = A [(G g) * (B d)]
    rows of B for the points +a, -a              e = d4 - b^2 d2,  o = d3 - b^2 d1,  e + a o,  e - a o
    rows of G for the points +a, -a              e = g0 + a^2 g2,  e + a g1,  e - a g1

Points are dyadic. The filtering has divisors that are not (products of differences of points): `scale` is their least
common multiple, so that with it every coefficient is exact in f32, and the identity holds in a field without rounding.
0, +-11/16, +-3/2 were found by a search over eighths and sixteenths: against float64 they lose half as many bits as
the usual 0, +-1, +-2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import lcm
from typing import Any, NamedTuple, Protocol

TAPS = 3
LIMIT = 2.0**32
"""Outputs up to here are taken: rounding is relative to the largest input of a tile, whatever output it lands in."""
POINTS: dict[int, tuple[Fraction, ...]] = {
    2: (Fraction(0), Fraction(1), Fraction(-1)),
    4: (Fraction(0), Fraction(11, 16), Fraction(-11, 16), Fraction(3, 2), Fraction(-3, 2)),
}
"""Finite points by output tile; infinity is the last one of each."""

Row = tuple[Fraction, ...]


class Step(NamedTuple):
    """One instruction on numbered values: `a + b`, `a - b`, `factor * a + b`, or `factor * a` (`b` is None)."""

    kind: str  # "add", "sub", "fma" or "mul"
    a: int
    b: int | None = None
    factor: float = 1.0


@dataclass(frozen=True)
class Program:
    """A linear map in straight-line form. Values are numbered: first the `inputs`, then one per step."""

    inputs: int
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]


class Arithmetic(Protocol):
    """What runs a program: numbers, arrays of a domain, or SSA values."""

    def add(self, a: Any, b: Any) -> Any: ...
    def sub(self, a: Any, b: Any) -> Any: ...
    def mul(self, factor: float, a: Any) -> Any: ...
    def fma(self, factor: float, a: Any, b: Any) -> Any: ...


@dataclass(frozen=True)
class Filtering:
    """F(m, 3): the programs of B, G and A. Outputs are `scale` times the convolution's."""

    tile: int
    size: int
    input: Program
    filter: Program
    output: Program
    scale: Fraction


def run_program(program: Program, values: Sequence[Any], on: Arithmetic) -> list[Any]:
    """The outputs of `program` for `values`."""
    have = list(values)
    for kind, a, b, factor in program.steps:
        if b is None:
            have.append(on.mul(factor, have[a]))
        elif kind == "fma":
            have.append(on.fma(factor, have[a], have[b]))
        else:
            have.append((on.add if kind == "add" else on.sub)(have[a], have[b]))
    return [have[i] for i in program.outputs]


def run_both_ways(rows: Program, columns: Program, grid: Sequence[Sequence[Any]], on: Arithmetic) -> list[list[Any]]:
    """`rows` down every column of `grid`, then `columns` along every row of what that gives."""
    down = [run_program(rows, [row[j] for row in grid], on) for j in range(columns.inputs)]
    return [run_program(columns, [column[i] for column in down], on) for i in range(len(rows.outputs))]


def some_outputs(program: Program, some: Sequence[int]) -> Program:
    """`program` for these of its outputs alone."""
    needed = {program.outputs[i] for i in some}
    for number in range(len(program.steps) - 1, -1, -1):
        if program.inputs + number in needed:
            step = program.steps[number]
            needed |= {step.a} if step.b is None else {step.a, step.b}
    numbers = {i: i for i in range(program.inputs)}
    steps: list[Step] = []
    for number, step in enumerate(program.steps, program.inputs):
        if number in needed:
            numbers[number] = program.inputs + len(steps)
            steps.append(step._replace(a=numbers[step.a], b=None if step.b is None else numbers[step.b]))
    return Program(program.inputs, tuple(steps), tuple(numbers[program.outputs[i]] for i in some))


@cache
def filtering(tile: int) -> Filtering:
    """F(tile, 3)."""
    points = POINTS[tile]
    size = len(points) + 1
    g = [(Fraction(1), p, p * p) for p in points]
    divisors = [_product([p - q for q in points if q != p]) for p in points]
    odd = lcm(*(d.numerator for d in divisors))
    odd //= odd & -odd
    scale = Fraction(odd, 1 << (odd - 1).bit_length())  # near one, of as many bits as f32 has
    b = [(*_polynomial([q for q in points if q != p]), Fraction(0)) for p in points] + [_polynomial(points)]
    # the columns of A have what the divisors leave of the scale, the last row of G (for infinity) has all of it
    weights = [scale / d for d in divisors]
    a = [
        (*(w * p**k for w, p in zip(weights, points, strict=True)), Fraction(k == tile - 1))
        for k in range(tile)
    ]  # fmt: skip
    filters = _by_parity_of_columns([*g, (Fraction(0), Fraction(0), scale)], points, TAPS)
    inputs = _by_parity_of_columns(b, points, size)
    return Filtering(tile, size, inputs, filters, _by_parity_of_rows(a, points), scale)


def _product(factors: Sequence[Fraction]) -> Fraction:
    out = Fraction(1)
    for f in factors:
        out *= f
    return out


def _polynomial(roots: Sequence[Fraction]) -> Row:
    """Coefficients of the product of (x - root), lowest power first."""
    out = [Fraction(1)]
    for root in roots:
        out = [x - root * y for x, y in zip([Fraction(0), *out], [*out, Fraction(0)], strict=True)]
    return tuple(out)


class _Builder:
    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.steps: list[Step] = []

    def step(self, *step: Any) -> int:
        self.steps.append(Step(*step))
        return self.inputs + len(self.steps) - 1

    def combine(self, terms: dict[int, Fraction]) -> int:
        """The sum of factor * value over `terms`, starting from a value that needs no factor."""
        rest = {v: f for v, f in terms.items() if f}
        first = next((v for v, f in rest.items() if f == 1), next(iter(rest)))
        factor = rest.pop(first)
        total = first if factor == 1 else self.step("mul", first, None, float(factor))
        for value, factor in rest.items():
            if abs(factor) == 1:
                total = self.step("add" if factor == 1 else "sub", total, value)
            else:
                total = self.step("fma", value, total, float(factor))
        return total

    def program(self, outputs: Sequence[int]) -> Program:
        return Program(self.inputs, tuple(self.steps), tuple(outputs))


def _by_parity_of_columns(matrix: Sequence[Row], points: Sequence[Fraction], inputs: int) -> Program:
    """Rows for p and -p differ in the sign of odd columns only: they share an even and an odd sum."""
    build = _Builder(inputs)
    outputs: dict[int, int] = {}
    for i, row in enumerate(matrix):
        if i in outputs:
            continue
        opposite = points.index(-points[i]) if i < len(points) and points[i] else None
        if opposite is None:
            outputs[i] = build.combine(dict(enumerate(row)))
            continue
        even = build.combine({k: f for k, f in enumerate(row) if k % 2 == 0})
        odd_terms = {k: f for k, f in enumerate(row) if k % 2 == 1 and f}
        lead = odd_terms[max(odd_terms)]
        odd = build.combine({k: f / lead for k, f in odd_terms.items()})
        for at, sign in ((i, 1), (opposite, -1)):
            outputs[at] = build.combine({even: Fraction(1), odd: sign * lead})
    return build.program([outputs[i] for i in range(len(matrix))])


def _by_parity_of_rows(matrix: Sequence[Row], points: Sequence[Fraction]) -> Program:
    """Columns for p and -p differ in the sign of odd rows only: their sum serves even rows, their difference odd."""
    build = _Builder(len(matrix[0]))
    columns: list[tuple[int, int]] = []  # per column kept: the value for even rows, for odd rows; with its number
    numbers: list[int] = []
    for j in range(len(matrix[0])):
        point = points[j] if j < len(points) else Fraction(0)
        if point < 0:
            continue
        pair = (j, j)
        if point:
            other = points.index(-point)
            pair = (build.step("add", j, other), build.step("sub", j, other))
        columns.append(pair)
        numbers.append(j)
    outputs = [
        build.combine({pair[k % 2]: row[j] for pair, j in zip(columns, numbers, strict=True)})
        for k, row in enumerate(matrix)
    ]
    return build.program(outputs)
