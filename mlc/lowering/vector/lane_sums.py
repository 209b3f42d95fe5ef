"""Reduce several vectors at once, each into one lane of the result: sums of rows that end up side by side.

    %a, %b, %c, %d : vector<16xf32>   -->   vector<4xf32> of the sum of %a, of %b, of %c, of %d

A round makes one vector of two, by two shuffles (first within 128 bits, then of whole pieces of 128 bits) and one
operation. Eight vectors of sixteen lanes take 24 instructions; reduced one after the other they take about 70.
Tests: tests/lowering/vector/test_rows.py
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import vector
from xdsl.dialects.builtin import AnyFloat, DenseArrayBase, IntegerType, VectorType, i64
from xdsl.ir import SSAValue

from mlc.lowering.vector.bodies import Combiner
from mlc.lowering.vector.emitter import Emitter, vector_of

PIECE = 128
"""Bits within which a shuffle is one instruction on every target."""


def lane_sums(em: Emitter, combiner: Combiner, rows: Sequence[SSAValue]) -> SSAValue:
    """All lanes of `rows[i]` combined, in lane i. The rows are at most as many as lanes; those are a power of two."""
    kind = rows[0].type
    assert isinstance(kind, VectorType) and isinstance(kind.element_type, AnyFloat | IntegerType)
    lanes = kind.get_shape()[0]
    piece = min(lanes, max(1, PIECE // kind.element_type.bitwidth))
    level = list(rows)
    level += [level[-1]] * ((1 << (len(rows) - 1).bit_length()) - len(rows))
    assert len(level) <= lanes and lanes & (lanes - 1) == 0
    owners = [0] * lanes  # the row whose partial sum a lane holds, counted from the first row of a vector
    joined = 1
    while len(level) > 1:
        first, second = _round(lanes, 1, piece) if joined < piece else _round(lanes, piece, lanes)
        level = [_combined(em, combiner, x, y, first, second) for x, y in zip(level[::2], level[1::2], strict=True)]
        both = [*owners, *(row + joined for row in owners)]
        owners = [both[lane] for lane in first]
        joined *= 2
    (total,) = level
    while len(owners) > joined:
        halves = [[lane for lane, owner in enumerate(owners) if owner == row] for row in range(joined)]
        first = sorted(lane for mine in halves for lane in mine[: len(mine) // 2])
        second = sorted(lane for mine in halves for lane in mine[len(mine) // 2 :])
        total = _combined(em, combiner, total, total, first, second)
        owners = [owners[lane] for lane in first]
    return total if len(rows) == joined else _shuffled(em, total, total, list(range(len(rows))))


def _round(lanes: int, block: int, unit: int) -> tuple[list[int], list[int]]:
    """In every `unit` of two vectors: the even blocks of the first, then of the second; and the odd ones likewise."""
    masks: list[list[int]] = []
    for parity in (0, 1):
        starts = range(parity * block, unit, 2 * block)
        blocks = [v * lanes + u + s for u in range(0, lanes, unit) for v in (0, 1) for s in starts]
        masks.append([b + lane for b in blocks for lane in range(block)])
    return masks[0], masks[1]


def _combined(
    em: Emitter, combiner: Combiner, x: SSAValue, y: SSAValue, first: list[int], second: list[int]
) -> SSAValue:
    return combiner.apply(em, _shuffled(em, x, y, first), _shuffled(em, x, y, second))


def _shuffled(em: Emitter, x: SSAValue, y: SSAValue, mask: list[int]) -> SSAValue:
    assert isinstance(x.type, VectorType)
    kind = vector_of(x.type.element_type, len(mask))
    return em.add(vector.ShuffleOp(x, y, DenseArrayBase.from_list(i64, mask), result_type=kind))
