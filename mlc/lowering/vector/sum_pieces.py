"""Sums of many terms in pieces of a few hundred: each is summed apart, then added to the total.

    for c step 1 iter_args(28 sums)             for c step 2 iter_args(28 totals)
      for i, j, k ..                      -->     28 sums = for c' in c .. c + 1 iter_args(28 zeros), for i, j, k ..
                                                  28 totals + 28 sums
    4608 terms: one chain                       16 pieces of 288 terms

The rounding errors of one chain grow with the root of its length, those of pieces with the root of a piece's and of
their number. Inside of a piece its sums take the registers; totals that find none lie in the thread's own stack, and
cost a load, an addition and a store per piece. Where there are very many pieces, they are summed in pieces, too.
Tests: tests/lowering/vector/test_sum_pieces.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from xdsl.dialects import arith
from xdsl.dialects.builtin import VectorType
from xdsl.ir import Attribute, SSAValue

from mlc.lowering.vector.bodies import Combiner, combiners
from mlc.lowering.vector.emitter import Emitter, Index
from mlc.lowering.vector.space import Access, Stage
from mlc.lowering.vector.target import Target
from mlc.lowering.vector.tile import Segment, TileMemory

LEAST_CHAIN = 5  # so that a piece has two terms
UNKNOWN = 1 << 12  # trips assumed of a loop whose length is not known

Sums = list[SSAValue]


def piece_combiners(stage: Stage) -> list[Combiner] | None:
    """How the sums of two pieces of a reduction become one, for each of its outputs; None where there is no such way.
    A body may add several terms, one after the other."""
    if (known := combiners(stage)) is not None:
        return known
    outs = range(len(stage.outs))
    return [Combiner("add", arith.AddfOp) for _ in outs] if all(additions(stage, k) for k in outs) else None


def additions(stage: Stage, out: int) -> int:
    """The float additions that the accumulator of an output goes through in the body; 0 where that is not all."""
    acc, end = stage.block.args[len(stage.ins) + out], stage.block.last_op
    assert end is not None
    return (_additions(end.operands[out], acc) or 0) if sum(1 for _ in acc.uses) == 1 else 0


def _additions(value: SSAValue, acc: SSAValue) -> int | None:
    if value is acc:
        return 0
    op = value.owner
    if not isinstance(op, arith.AddfOp) or sum(1 for _ in value.uses) != 1:
        return None
    before = next((n for v in op.operands if (n := _additions(v, acc)) is not None), None)
    return None if before is None else before + 1


def chain_limit(stages: Sequence[Stage], target: Target) -> int:
    """The most terms one after the other: fewer where nothing is multiplied (PyTorch sums those in pieces of few)."""
    products = any(sum(isinstance(o, Access) for o in s.ins) > 1 for s in stages)
    return target.chain if products else max(LEAST_CHAIN, target.chain // 5)


def piece_sizes(terms: int, loops: Sequence[tuple[int, int | None]], chain: int) -> dict[int, list[int]]:
    """Where to cut loops so that no accumulator takes more than `chain` terms one after the other.

    `loops`: (dim, trips), innermost first; `terms`: those of an accumulator in one trip of the innermost. Returns
    per dim the trips of its pieces, the largest pieces first, each a multiple of the next. A piece of `chain * 2 // 5`
    terms costs little, and its error is near that of the sum of pieces."""
    sizes: dict[int, list[int]] = {}
    for dim, trips in loops:
        left, size = trips if trips is not None else UNKNOWN, 1
        while terms * left > chain and left > 1:
            wanted = -(-left // max(1, (chain * 2 // 5 + terms // 2) // terms))  # pieces, equally long but for the last
            size *= -(-left // wanted)
            sizes.setdefault(dim, []).insert(0, size)
            left, terms = wanted, 1
        terms *= left
    return sizes


@dataclass(frozen=True)
class PieceLoops:
    """Writes loops over private dims. `sizes`: as `piece_sizes` gives them; `joins`: what adds a sum to a total, one
    for each accumulator, where there are pieces."""

    em: Emitter
    memory: TileMemory
    sizes: dict[int, list[int]]
    joins: list[Combiner]

    def write(self, dim: int, segment: Segment, accs: Sums, inside: Callable[[Sums], Sums]) -> Sums:
        """A loop over `segment` of `dim`, `inside` written in each trip; what the accumulators hold after it."""
        return self._write(dim, segment, [n * segment.step for n in self.sizes.get(dim, ())], accs, inside)

    def _write(self, dim: int, segment: Segment, sizes: list[int], accs: Sums, inside: Callable[[Sums], Sums]) -> Sums:
        step = sizes[0] if sizes else segment.step
        trips = segment.trips
        if sizes and trips is not None and trips * segment.step <= step:
            return self._write(dim, segment, sizes[1:], accs, inside)
        with self.em.loop(segment.low, segment.high, step, accs) as (iv, carried, yields):
            sums = self._fresh(carried) if sizes else carried
            if step == segment.step:
                saved = self.memory.enter(dim, Index(iv))
                sums = inside(sums)
                self.memory.leave(saved)
            else:
                end = Index(iv, step)
                if trips is None or trips * segment.step % step:
                    end = self.em.least(end, segment.high)
                sums = self._write(dim, replace(segment, low=Index(iv), high=end), sizes[1:], sums, inside)
            yields.extend(self._added(carried, sums) if sizes else sums)
        return yields

    def _fresh(self, totals: Sums) -> Sums:
        """Sums of no terms."""
        return [self._neutral(join, total.type) for join, total in zip(self.joins, totals, strict=True)]

    def _neutral(self, join: Combiner, kind: Attribute) -> SSAValue:
        if isinstance(kind, VectorType):
            return self.em.splat(join.neutral(kind.element_type), kind.get_shape()[0])
        return self.em.scalar(join.neutral(kind))

    def _added(self, totals: Sums, sums: Sums) -> Sums:
        return [j.apply(self.em, total, n) for j, total, n in zip(self.joins, totals, sums, strict=True)]
