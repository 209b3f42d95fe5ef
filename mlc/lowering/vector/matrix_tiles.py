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

from mlc.dialects.amx.ops import ROW_BYTES
from mlc.lowering.vector.nests import Nest
from mlc.lowering.vector.sizes import ZERO, Size
from mlc.lowering.vector.space import Access, Stage
from mlc.lowering.vector.target import Target

ROWS, COLUMNS, GROUPS = 16, 16, 16  # of a register of sums, and groups of terms in one of factors
LEAST_ROWS = 4  # fewer are no faster than by vectors: weights are what is waited for
EVEN_ROWS = 6  # of a register, rather than 16 and a last one of another shape, which needs registers of its own
LEAST_GROUPS = 4  # of terms in a step
REGISTERS, AT_ONCE = 8, 4  # of all, and of sums
PIECE = 8  # rows left over, at a time


@dataclass(frozen=True)
class MatrixTiles:
    """`stage`: its number in the nest; `row`, `term`, `column`: dims; `rows`: of a register, `groups`: of a step.

    `at_once`: registers along the rows and along further columns (`column` None: there are none).
    """

    stage: int
    row: int
    term: int
    column: int | None
    rows: int
    groups: int
    at_once: tuple[int, int]


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
    row = _row(nest, stage, vector, scalar, lanes)
    term = _term(nest, stage, vector, scalar)
    if row is None or term is None:
        return None
    n = nest.space.static(row) or 0
    rows = even_part(n, ROWS)
    groups = max(k for k in range(1, GROUPS + 1) if (nest.space.static(term) or 0) % k == 0)
    if n < LEAST_ROWS or groups < LEAST_GROUPS:
        return None
    columns = [d for d in nest.outer if d != lanes and vector.coeff(d) != ZERO and scalar.coeff(d) == ZERO]
    columns = [d for d in columns if _known(vector, d) and _known(stage.outs[0], d)]
    column = columns[-1] if columns else None
    many = nest.space.static(column) or 1 if column is not None else 1
    down = min(2, n // rows)
    return MatrixTiles(numbers[0], row, term, column, rows, groups, (down, min(AT_ONCE // down, many)))


def even_part(n: int, most: int) -> int:
    """The largest part of `n` up to `most` that divides it, unless that is small."""
    part = max(k for k in range(1, min(n, most) + 1) if n % k == 0)
    return part if part >= EVEN_ROWS or part == n else min(n, most)


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
        mine[tiles.rows, ROW_BYTES] += tiles.at_once[0] * tiles.at_once[1]
        mine[tiles.rows, ROW_BYTES // GROUPS * tiles.groups] += 2
        mine[tiles.groups, ROW_BYTES] += 2
        both = self.taken | mine  # the most of each shape
        if both.total() > REGISTERS:
            return False
        self.taken = both
        return True


def _known(access: Access, dim: int) -> bool:
    return access.coeff(dim).static is not None


def _row(nest: Nest, stage: Stage, vector: Access, scalar: Access, lanes: int) -> int | None:
    """The innermost loop over rows: of the scalars and the results, not of the weights."""
    (out,) = stage.outs
    rows = [d for d in nest.outer if d != lanes and vector.coeff(d) == ZERO and scalar.coeff(d) != ZERO]
    rows = [d for d in rows if nest.space.static(d) is not None and _known(scalar, d) and _known(out, d)]
    rows = [d for d in rows if out.coeff(d) != ZERO]
    return min(rows, key=lambda d: out.coeff(d).factor) if rows else None


def _term(nest: Nest, stage: Stage, vector: Access, scalar: Access) -> int | None:
    """The private loop along which groups of the scalars are neighbours."""
    for dim in nest.private(stage):
        if scalar.coeff(dim) == Size(scalar.group) and _known(vector, dim) and vector.coeff(dim) != ZERO:
            return dim
    return None

