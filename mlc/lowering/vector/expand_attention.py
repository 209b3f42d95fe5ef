"""Write attention as loops over tiles around structured ops, with a softmax that goes along (online).

    linalg_ext.attention        scf.parallel head, block of rows {
      ins(%q, %k, %v)             linalg.generic #transpose_and_scale ins(%q) outs(%qt)
      outs(%o)             -->    linalg.fill %lowest outs(%peak), %zero outs(%total), outs(%sum)
                                  scf.for block of keys {
                                    linalg.generic #products ins(%k, %qt) outs(%s)            keys by rows
                                    linalg.generic #mask ins(%m) outs(%s)
                                    linalg.generic #causal outs(%s)                           of the last block alone
                                    linalg.generic #max ins(%s) outs(%peak)
                                    linalg.generic #shrink ins(%before, %peak) outs(%shrink)  exp(before - peak)
                                    linalg.generic #powers ins(%peak) outs(%s)                exp(s - peak)
                                    linalg.generic #add ins(%s) outs(%here)
                                    linalg.generic #go_on ins(%shrink, %here) outs(%total)    total * shrink + here
                                    linalg.generic #products ins(%s, %v) outs(%some)
                                    linalg.generic #go_on ins(%shrink, %some) outs(%sum) }
                                  linalg.generic #divide ins(%sum, %total) outs(%o) }

Scores never leave the nearest cache, and lie so that a vector holds those of several rows: the greatest and the sum of
each row need no look across lanes, and both products read their operands where they lie. Where attention is causal,
blocks of keys that no row of a block sees are left out.
`rows`, `keys`: of a block.
Runs after bufferize (it works on buffers). Runs before vectorize-structured, which makes register tiles of all of it.
Tests: tests/lowering/vector/expand_attention.mlir
"""

from __future__ import annotations

import math as pymath
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from xdsl.dialects import arith, math, scf
from xdsl.dialects.builtin import FloatAttr, IndexType, ModuleOp, f32
from xdsl.dialects.linalg.ops import FillOp, IndexOp
from xdsl.dialects.utils.fast_math import FastMathFlag
from xdsl.ir import Block, Region, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap

from mlc.dialects.linalg_ext.attention_op import AttentionOp
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, WithinBound
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.vector.loop_writer import Arithmetic, LoopWriter, Offset, element_type, shape_of

LOWEST = float(np.finfo(np.float32).min)
"""Below all scores but minus infinity: what a row has seen at most before its first key."""
D = [AffineDimExpr(i) for i in range(3)]


@dataclass(frozen=True)
class ExpandAttention(MlcPass):
    """See the module."""

    name = "expand-attention"
    contract = Contract(
        level_in="buffers",
        level_out="buffers",
        preserves=WithinBound(4.0, "powers are taken of differences to a smaller maximum, and shrunk by another power"),
        profile="attention",
        options=({}, {"rows": 4, "keys": 4}, {"rows": 3, "keys": 5}),
        establishes=("no linalg_ext.attention is left",),
        nests=True,
    )

    rows: int = option(64, Span(1, 1 << 20))
    keys: int = option(64, Span(1, 1 << 20))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in list(module.walk()):
            if isinstance(op, AttentionOp) and not op.res:
                _Expansion(op, self.rows, self.keys).write()
                ctx.remarks.applied(self.name, op, "written as structured ops", rows=self.rows, keys=self.keys)
                op.detach()
                op.erase()


def _map(loops: int, *dims: int) -> AffineMap:
    return AffineMap(loops, 0, tuple(D[d] for d in dims))


ONE = AffineMap.identity(1)


class _Expansion(LoopWriter):
    """One attention."""

    def __init__(self, op: AttentionOp, rows: int, keys: int) -> None:
        super().__init__(op, op, op.location)
        self.op = op
        self.heads, self.all_rows, self.all_keys, self.width, self.columns = op.sizes()
        self.causal = op.causal is not None
        self.rows = min(rows, self.all_rows)
        # the blocks of a causal one are squares, so that all but the last are seen whole
        self.keys = self.rows if self.causal else min(keys, self.all_keys)

    def write(self) -> None:
        """All of it, before the op."""
        whole, rest = divmod(self.all_rows, self.rows)
        if whole:
            with self.parallel([(self.heads, 1), (whole, 1)]) as (head, block):
                self.block_of_rows(head, block, self.rows)
        if rest:
            with self.parallel([(self.heads, 1)]) as (head,):
                self.block_of_rows(head, whole, rest)

    def block_of_rows(self, head: SSAValue, block: Offset, rows: int) -> None:
        """Some rows of one head; `block`: the number of the block."""
        first = self.times(block, self.rows)
        turned = self.scratch(self.width, rows)
        q = self.view(self.op.query, [head, first, 0], [1, rows, self.width], (1, 2))
        scale = self.op.scale.value.data
        self.each([q], turned, [_map(2, 1, 0)], lambda on, x, _: on.mul(scale, x))
        peak, total, sums = self.scratch(rows), self.scratch(rows), self.scratch(rows, self.columns)
        self.fill(LOWEST, peak)
        self.fill(0.0, total)
        self.fill(0.0, sums)

        def keys(at: Offset, count: int, *, last: bool = False) -> None:
            self.block_of_keys(head, first, at, count, turned, peak, total, sums, last=last)

        if self.causal:
            with self.loop_to(block) as before:
                keys(self.times(before, self.keys), self.keys)
            keys(first, rows, last=True)
        else:
            whole, rest = divmod(self.all_keys, self.keys)
            with self.loop_to(whole) as number:
                keys(self.times(number, self.keys), self.keys)
            if rest:
                keys(whole * self.keys, rest)
        self.each([], total, [], _inverse)
        with self.loop(0, rows) as row:
            out = self.view(self.op.output, [head, self.plus(first, row), 0], [1, 1, self.columns], (2,))
            ins = [self.row_of(sums, row), self.row_of(total, row)]
            self.each(ins, out, [ONE, _map(1)], lambda on, s, t, _: on.put(arith.MulfOp(s, t)))

    def block_of_keys(
        self,
        head: SSAValue,
        row: Offset,
        first: Offset,
        count: int,
        turned: SSAValue,
        peak: SSAValue,
        total: SSAValue,
        sums: SSAValue,
        *,
        last: bool,
    ) -> None:
        """Go on with some keys. `last`: a row sees those up to its own number alone."""
        rows = shape_of(peak)[0]
        k = self.view(self.op.key, [head, first, 0], [1, count, self.width], (1, 2))
        v = self.view(self.op.value, [head, first, 0], [1, count, self.columns], (1, 2))
        scores, before, shrink = self.scratch(count, rows), self.scratch(rows), self.scratch(rows)
        by_key = _map(2, 1, 0), _map(2, 0)  # loops over rows, then keys
        self.fill(0.0, scores)
        self.products(k, turned, scores, (_map(3, 0, 2), _map(3, 2, 1)))
        if self.op.mask is not None:
            mask, by_score = self.mask(head, row, rows, first, count)
            self.each([mask], scores, [by_score], _added if element_type(mask) == f32 else _kept)
        if last:
            self.each([], scores, [], _seen)
        self.each([peak], before, [ONE], lambda on, p, _: p)
        self.reduce([scores], peak, by_key, _greater)
        self.each([before, peak], shrink, [ONE, ONE], lambda on, b, p, _: _power(on, on.sub(b, p)))
        self.each([peak], scores, [_map(2, 1)], lambda on, p, s: _power(on, on.sub(s, p)))
        # what the block comes to is summed up by itself: long sums round worse
        here, some = self.scratch(rows), self.scratch(rows, self.columns)
        self.fill(0.0, here)
        self.reduce([scores], here, by_key, lambda on, s, t: on.add(t, s))
        self.each([shrink, here], total, [ONE, ONE], _go_on)
        self.fill(0.0, some)
        self.products(scores, v, some, (_map(3, 2, 0), _map(3, 2, 1)))
        with self.loop(0, rows) as number:  # a loop of its own: vectors of sums are those of one row
            ins = [self.row_of(shrink, number), self.row_of(some, number)]
            self.each(ins, self.row_of(sums, number), [_map(1), ONE], _go_on)

    def mask(self, head: SSAValue, row: Offset, rows: int, key: Offset, keys: int) -> tuple[SSAValue, AffineMap]:
        """What is said about some scores, and where a loop over keys and rows finds it."""
        assert self.op.mask is not None
        groups, some, _ = shape_of(self.op.mask)
        of = self.heads // groups
        group = head if of == 1 else self.put(arith.DivUIOp(head, self.index(of))).result
        if groups == 1:
            group = self.index(0)
        if some == 1:
            return self.view(self.op.mask, [group, 0, key], [1, 1, keys], (2,)), _map(2, 0)
        return self.view(self.op.mask, [group, row, key], [1, rows, keys], (1, 2)), _map(2, 1, 0)

    def row_of(self, buffer: SSAValue, row: Offset) -> SSAValue:
        """One row, or the number of a row."""
        _, *rest = shape_of(buffer)
        return self.view(buffer, [row, *[0] * len(rest)], [1, *rest], range(1, 1 + len(rest)))

    # Structured ops

    def fill(self, value: float, out: SSAValue) -> None:
        scalar = self.put(arith.ConstantOp(FloatAttr(value, f32))).result
        self.put(FillOp([scalar], [out], []))

    def each(
        self, ins: Sequence[SSAValue], out: SSAValue, maps: Sequence[AffineMap], body: Callable[..., SSAValue]
    ) -> None:
        """out = body(ins, out), element by element."""
        rank = len(shape_of(out))
        on = Arithmetic([*map(element_type, ins), f32], self.location)
        on.end([body(on, *on.block.args)])
        self.generic(ins, [out], [*maps, AffineMap.identity(rank)], rank, on.block)

    def reduce(
        self, ins: Sequence[SSAValue], out: SSAValue, maps: Sequence[AffineMap], body: Callable[..., SSAValue]
    ) -> None:
        """out = body(ins, out) for every key in turn."""
        on = Arithmetic([f32] * (len(ins) + 1), self.location)
        on.end([body(on, *on.block.args)])
        self.generic(ins, [out], maps, 1, on.block)

    def products(self, a: SSAValue, b: SSAValue, out: SSAValue, maps: Sequence[AffineMap]) -> None:
        """out += a b, the last loop being that over terms."""
        on = Arithmetic([f32] * 3, self.location)
        x, y, total = on.block.args
        on.end([on.add(total, on.put(arith.MulfOp(x, y)))])
        self.generic([a, b], [out], [*maps, _map(3, 0, 1)], 2, on.block)

    @contextmanager
    def loop_to(self, high: Offset) -> Iterator[Offset]:
        """A loop from 0 to `high`, which need not be known."""
        if isinstance(high, int):
            with self.loop(0, high) as number:
                yield number
            return
        body = Block(arg_types=[IndexType()])
        bounds = self.index(0), high, self.index(1)
        self.into.append(body)
        yield body.args[0]
        self.put(scf.YieldOp())
        self.into.pop()
        self.put(scf.ForOp(*bounds, [], Region(body)))


def _seen(on: Arithmetic, score: SSAValue) -> SSAValue:
    """Minus infinity for keys behind the row's own number; loops are over keys, then rows."""
    key, row = (on.put(IndexOp(d)) for d in (0, 1))
    return on.put(arith.SelectOp(on.put(arith.CmpiOp(key, row, "sle")), score, on.constant(-pymath.inf)))


def _kept(on: Arithmetic, seen: SSAValue, score: SSAValue) -> SSAValue:
    return on.put(arith.SelectOp(seen, score, on.constant(-pymath.inf)))


def _added(on: Arithmetic, mask: SSAValue, score: SSAValue) -> SSAValue:
    return on.add(score, mask)


def _inverse(on: Arithmetic, total: SSAValue) -> SSAValue:
    """Zero for a row that saw no key."""
    nothing = on.put(arith.CmpfOp(total, on.constant(0.0), "oeq"))
    return on.put(arith.SelectOp(nothing, total, on.put(arith.DivfOp(on.constant(1.0), total))))


def _go_on(on: Arithmetic, shrink: SSAValue, here: SSAValue, before: SSAValue) -> SSAValue:
    return on.add(on.put(arith.MulfOp(before, shrink)), here)


def _power(on: Arithmetic, x: SSAValue) -> SSAValue:
    """exp of a number and the largest apart: said to be at most zero, it takes fewer steps."""
    return on.put(math.ExpOp(on.put(arith.MinimumfOp(x, on.constant(0.0)))))


def _greater(on: Arithmetic, score: SSAValue, peak: SSAValue) -> SSAValue:
    # the sign of a zero is lost in the difference, and looking at it takes half of the maximum's time
    return on.put(arith.MaximumfOp(score, peak, arith.FastMathFlagsAttr([FastMathFlag.NO_SIGNED_ZEROS])))
