"""Products for a matrix unit: which loops become rows, columns and terms of its tiles.

    acc[m, n] += x[m, k] . w[n / 16, k, n mod 16]     pairs of bf16 along k      (a stage with `dot`)
      rows m      16 (or fewer that cover them evenly) in a register, two registers at once
      columns n   16 in a register, two at once: four registers of sums, which four loads feed with four products
      terms k     16 groups in a register, or the most that divide them

A register of terms and one of weights are loaded for as many products as there are registers of the other kind, so
that products, 16 cycles each, and not loads, 8 each, are what is waited for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mlc.dialects.amx.ops import REGISTERS, ROW_BYTES, ROWS
from mlc.lowering.vector.nests import Nest
from mlc.lowering.vector.sizes import ZERO, Size
from mlc.lowering.vector.space import Access, Stage
from mlc.lowering.vector.target import Target

COLUMNS, GROUPS = 16, 16  # of a register of sums, and groups of terms in one of factors
LEAST_ROWS = 4  # fewer are no faster than by vectors: weights are what is waited for
LEAST_GROUPS = 4  # of terms in a step
AT_ONCE = 4  # registers of sums; as many are left for factors
PIECE = 8  # rows left over, at a time
WAIT = 13  # cycles of a product of few rows: each of four waits for its sums of the step before, 52 cycles
LEFT = 20  # cycles of a row that is left to vectors


@dataclass(frozen=True)
class MatrixTiles:
    """`stage`: its number in the nest; `row`, `outer_row`, `column`, `term`: dims; `rows`: of a register; `groups`: of
    a step. `down`, `across`: registers of sums along the rows and along `column` (None: there is one). Where `row` has
    rows for one register only, those of `outer_row` take turns."""

    stage: int
    row: int
    outer_row: int | None
    column: int | None
    term: int
    rows: int
    groups: int
    down: int
    across: int


def matrix_tiles(nest: Nest, lanes: int, target: Target) -> MatrixTiles | None:
    """How the one product of a nest goes through the target's matrix unit; None where it does not."""
    numbers = [i for i, s in enumerate(nest.stages) if nest.private(s)]
    if len(numbers) != 1 or target.lanes(32) != COLUMNS:
        return None
    stage = nest.stages[numbers[0]]
    if stage.dot is None or not (target.tile_bf16 if stage.dot.unsigned is None else target.tile_int8):
        return None
    vector, scalar = stage.ins[stage.dot.vector], stage.ins[1 - stage.dot.vector]
    if not isinstance(vector, Access) or not isinstance(scalar, Access):
        return None
    if (nest.space.static(lanes) or 0) % COLUMNS or any(nest.space.static(d) is None for d in nest.private(stage)):
        return None
    outer = [d for d in nest.outer if d != lanes and _is_fixed(nest, stage, d)]
    outer.sort(key=lambda d: stage.outs[0].coeff(d).factor)  # innermost first
    rows = [d for d in outer if vector.coeff(d) == ZERO and scalar.coeff(d) != ZERO]
    columns = [d for d in outer if vector.coeff(d) != ZERO and scalar.coeff(d) == ZERO]
    term = _term(nest, stage, vector, scalar)
    if not rows or term is None:
        return None
    n, terms = nest.space.static(rows[0]) or 0, nest.space.static(term) or 0
    groups = max(k for k in range(1, GROUPS + 1) if terms % k == 0)
    if n < LEAST_ROWS or groups < LEAST_GROUPS:
        return None
    height = register_rows(n)
    down, outer_row = min(2, n // height), None
    if down == 1 and len(rows) > 1 and (nest.space.static(rows[1]) or 0) > 1:
        down, outer_row = 2, rows[1]
    column = columns[0] if columns else None
    across = 1 if column is None else min(AT_ONCE // down, nest.space.static(column) or 1)
    return MatrixTiles(numbers[0], rows[0], outer_row, column, term, height, groups, down, across)


def register_rows(n: int) -> int:
    """Rows of a register for `n` of them, so that products and what is left to vectors take the fewest cycles."""
    return min(range(min(n, ROWS), 0, -1), key=lambda rows: n // rows * max(rows, WAIT) + n % rows * LEFT)


def _is_fixed(nest: Nest, stage: Stage, dim: int) -> bool:
    """Whether the extent of `dim` and how far its iterations lie apart are known."""
    accesses = stage.accesses()
    return nest.space.static(dim) is not None and all(a.coeff(dim).static is not None for a in accesses)


def _term(nest: Nest, stage: Stage, vector: Access, scalar: Access) -> int | None:
    """The private loop along which groups of the scalars are neighbours."""
    for dim in nest.private(stage):
        known = vector.coeff(dim).static
        if scalar.coeff(dim) == Size(scalar.group) and known is not None and known:
            return dim
    return None


def rows_left(low: int, n: int, rows: int) -> list[tuple[int, int]]:
    """(first, how many) of the rows from `low` on, fewer than a tile: whole registers, then pieces for vectors."""
    parts: list[tuple[int, int]] = []
    if n - low >= rows:
        whole = (n - low) // rows * rows
        parts, low = [(low, whole)], low + whole
    while low < n:
        parts.append((low, min(PIECE, n - low)))
        low += PIECE
    return parts


class TileRegisters:
    """Registers of one function: each has one shape throughout, so that products of many shapes do not fit."""

    def __init__(self) -> None:
        self.taken: Counter[tuple[int, int]] = Counter()

    def take(self, tiles: MatrixTiles) -> bool:
        """Whether there is room for a product of `tiles`, which then has it: sums, and factors, two of a kind."""
        mine: Counter[tuple[int, int]] = Counter()
        mine[tiles.rows, ROW_BYTES] += tiles.down * tiles.across
        mine[tiles.rows, ROW_BYTES // GROUPS * tiles.groups] += 2
        mine[tiles.groups, ROW_BYTES] += 2
        both = self.taken | mine  # the most of each shape
        if both.total() > REGISTERS:
            return False
        self.taken = both
        return True
