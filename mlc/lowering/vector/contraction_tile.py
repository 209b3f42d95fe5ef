"""The register tile of a product: rows read scalars, columns vectors, and what fits the registers is tried.

    tile = contraction_tile(nest, 16, lanes, rows, cols, scalars, target, dot=False)   ->  {m: 14, n: 32}

The costs are cycles per reduction step: multiply-adds at the machine's rate, its loads, or their latency.
"""

from __future__ import annotations

from itertools import product
from math import prod

from mlc.lowering.vector.nests import Nest
from mlc.lowering.vector.row_blocks import collide, fits_twice
from mlc.lowering.vector.space import Access
from mlc.lowering.vector.target import Target

DYNAMIC_TRIP = 64  # assumed extent of a dynamic dim
MANY_COLUMNS = 16  # blocks of columns: an odd one left over costs less than tiles of one column
FEW_ROWS_COLUMNS = 3  # of a tile whose rows divide 8: 4 x 2 sums wait for each other (75 GFLOP/s, 4 x 3 98; Zen 2)
ROWS_LEFT = 1.01  # of the cycles, where the last tile of rows is another one: code of its own, begun anew
LOADS_WITH_SCALARS = 0.8  # of the machine's loads per cycle, where each scalar is loaded to a register (Zen 3)


def extent_of(nest: Nest, dim: int) -> int:
    """Iterations of `dim`, the most there can be where they are not known, assumed where nothing is."""
    n = nest.space.at_most(dim)
    return DYNAMIC_TRIP if n is None else n


def contraction_tile(
    nest: Nest,
    width: int,
    lanes: int,
    rows: list[int],
    cols: list[int],
    scalars: list[Access],
    target: Target,
    dot: bool,
    per_step: int = 1,
    within: int | None = None,
) -> dict[int, int]:
    """The register tile that covers the outer space in the fewest cycles per reduction step.

    Rows read scalars, columns vectors. One column keeps every scalar a memory operand of a single fma where the
    target has that; with more, some registers stay free, or loads scheduled early push accumulators out.
    Of vectors of half a register and less so many are multiplied per cycle that loading scalars for a single column
    takes longer than that: several columns share them, in registers. `within`: what a tile's rows have to divide.
    """
    spreads = not dot and columns_spread(nest, [lanes, *cols], scalars, target)
    few = within is not None and not target.broadcast_load  # rows, and sums enough only with many columns
    vectors = -(-extent_of(nest, lanes) // width)
    narrow = 2 * extent_of(nest, lanes) <= width
    per_cycle = target.narrow_per_cycle if narrow else target.fma_per_cycle
    loads_per_cycle = 0.75 * target.narrow_per_cycle if narrow else target.loads_per_cycle
    if not target.broadcast_load and not dot:
        loads_per_cycle *= LOADS_WITH_SCALARS
    row_options = _two_level([(d, extent_of(nest, d)) for d in reversed(rows[-2:])], target.vector_registers)
    if within is not None:
        row_options = [row for row in row_options if within % _points(row) == 0]
    col_options = _two_level(
        [(lanes, vectors), *((d, extent_of(nest, d)) for d in reversed(cols[-1:]))],
        12,
        even=cols[-1:],
        odd=3 if spreads or few else 2,
        many=3 if few else MANY_COLUMNS,
    )
    if few:
        col_options = [col for col in col_options if _points(col) == FEW_ROWS_COLUMNS] or col_options
    best: tuple[float, int, dict[int, int]] | None = None
    for row, col in product(row_options, col_options):
        tr, tc = _points(row), _points(col)
        spare = _spare(tr, tc, dot, narrow, per_step, target)
        if tr * tc > 1 and (tr * tc + spare > target.vector_registers or collide(row, scalars, target)):
            continue
        cycles = 0.0
        for pr, nr in _partition(nest, row, {}):
            for pc, nc in _partition(nest, col, {lanes: vectors}):
                work = pr * pc / per_cycle
                loads = (pc + pr * (0.5 if target.broadcast_load and not narrow else 1)) / loads_per_cycle
                wait = target.fma_latency if pr * pc < 2 * target.fma_latency else 0
                shared = 0.04 * work if tc > 1 and tr > 1 else 0
                stream = pc * (0.5 if col[lanes] == vectors or not cols else 1)  # part of a panel: lines in vain
                more = 0.1 * pr + 0.3 * pc if spreads else shared + stream
                cycles += nr * nc * (max(work, loads, wait) + 0.25 + more)
        if (dot or narrow or not target.broadcast_load) and rows:  # columns not in the tile come one after the other
            cycles *= prod(extent_of(nest, d) for d in cols[-1:] if d not in col)
        if spreads and len(_partition(nest, row, {})) > 1:
            cycles *= ROWS_LEFT
        key = (cycles, -tr * tc)
        if best is None or key < best[:2]:
            tile = {**row, **col}
            tile[lanes] = col[lanes] * width
            best = (*key, tile)
    assert best is not None
    return best[2]


def columns_spread(nest: Nest, cols: list[int], scalars: list[Access], target: Target) -> bool:
    """Whether columns come from beyond the second-level cache, and into it before they are multiplied (`Prefetches`,
    for tiles of three): then what a tile costs beside its multiply-adds is its loads. (Measured on two multiply-adds of
    512 bits per cycle: 1.14 times as fast for 16 rows, 1.01 for 64 and 128; for columns that are near, 0.97.)"""
    if not target.scalars_in_turn or target.vector_bits < 512:
        return False
    depth = prod(extent_of(nest, d) for d in {d for a in scalars for d, _ in a.coeffs if d not in nest.outer})
    column = depth * target.vector_bits // 8
    columns = prod(extent_of(nest, d) for d in cols) // target.lanes(32)
    return fits_twice(3 * column, target) and target.l2 < columns * column


def _spare(tr: int, tc: int, dot: bool, narrow: bool, per_step: int, target: Target) -> int:
    """Registers that `tr` rows of `tc` columns need beside their accumulators: vectors, and scalars loaded ahead."""
    if per_step > 1:
        return 2 * per_step
    if tc == 1 and target.broadcast_load:
        return 2
    if tc > 1 and target.scalars_in_turn and not dot and not narrow:
        return tc + (1 if target.fma else 2)
    if dot or (narrow and tc > 1):
        return tc + min(tr, 8) + 1
    return tc + (3 if target.broadcast_load else min(tr, 4) + 2)


def _two_level(
    dims: list[tuple[int, int]], limit: int, even: list[int] | None = None, odd: int = 2, many: int = MANY_COLUMNS
) -> list[dict[int, int]]:
    """Tiles over up to two dims: part of the first, or all of the first times part of the second. Parts of `even` dims
    divide them, or are from two to `odd` of `many` or more."""
    if not dims:
        return [{}]
    (d, n) = dims[0]
    options = [{d: t} for t in range(1, min(n, limit) + 1)]
    if len(dims) > 1 and n <= limit:
        e, m = dims[1]
        exact = even is not None and e in even
        options += [
            {d: n, e: t}
            for t in range(2, min(m, limit // n) + 1)
            if not exact or m % t == 0 or (t <= odd and m >= many)
        ]
    return options


def _points(tile: dict[int, int]) -> int:
    n = 1
    for t in tile.values():
        n *= t
    return n


def _partition(nest: Nest, tile: dict[int, int], extents: dict[int, int]) -> list[tuple[int, int]]:
    """(points, how many) of the tiles that cover the dims of `tile`: full ones and remainders."""
    parts = [(1, 1)]
    for dim, t in tile.items():
        n = extents.get(dim) or extent_of(nest, dim)
        pieces = [(t, n // t)] + ([(n % t, 1)] if n % t else [])
        parts = [(a * p, b * q) for a, b in parts for p, q in pieces]
    return parts
