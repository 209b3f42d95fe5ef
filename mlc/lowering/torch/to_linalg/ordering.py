"""Runs of equal elements in ordered rows, and binary search. (Sorting: `row_sort`, `row_select`.)

    values 1 1 2 5 5 5   longest run   5, last at 5          2 belongs at   middle 3: no, 1: go on, 2: here   2

Scalar loops: each of these is one kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from xdsl.dialects import arith, math, scf, tensor
from xdsl.dialects.builtin import i64
from xdsl.ir import Block, SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import I64
from mlc.lowering.torch.to_linalg.loop_nest import Values, counted, looped_all
from mlc.lowering.torch.to_linalg.registry import Conversion
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain


def bit_count(c: Conversion, n: Dim) -> Dim:
    """The number of binary digits of a size."""
    if not isinstance(n, SSAValue):
        return n.bit_length()
    b = Body(c.block, c.location)
    zeros = b.op(math.CountLeadingZerosOp, b.op(arith.IndexCastOp, n, i64))
    return b.to_index(b.sub(b.const(64, I64), zeros, I64))


def _insert(b: Body, element: SSAValue, into: SSAValue, at: Values) -> SSAValue:
    return b.op(tensor.InsertOp, element, into, at)


def longest_run(c: Conversion, values: Tensor, places: Tensor, d: int) -> tuple[Tensor, Tensor]:
    """Of ordered rows along `d`, which becomes 1: the element that occurs most often, first of several, and its last
    place."""
    values, places = c.plain(values), c.plain(places)
    t, shape = values.dtype, (*values.shape[:d], 1, *values.shape[d + 1 :])
    size, zero, one = c.dims.value(values.shape[d]), c.index(0), c.index(1)

    def row(b: Body, at: Values, carried: Values) -> Values:
        def here(i: SSAValue) -> Values:
            return [*at[:d], i, *at[d:]]

        def count(b: Body, i: SSAValue, state: Values) -> Values:
            best, mark, previous, run, longest = state
            value = b.extract(values.value, here(i))
            again = b.logical_and(b.index_compare("gt", i, zero), b.compare("eq", value, previous, t))
            run = b.op(arith.AddiOp, b.select(again, run, zero), one)
            longer = b.index_compare("gt", run, longest)
            best = b.select(longer, value, best)
            mark = b.select(longer, b.extract(places.value, here(i)), mark)
            return [best, mark, value, run, b.select(longer, run, longest)]

        none = b.const(0, t)
        best, mark, *_ = counted(c, (zero, size, one), [none, b.const(0, I64), none, zero, zero], count)
        return [_insert(b, v, whole, here(zero)) for v, whole in zip((best, mark), carried, strict=True)]

    others = [s for i, s in enumerate(shape) if i != d]
    best, mark = looped_all(c, others, [c.empty(shape, t), c.empty(shape, I64)], row)
    return plain(best, t, shape), plain(mark, I64, shape)


def halved(b: Body, n: SSAValue, digits: SSAValue, passes: Callable[[Body, SSAValue], SSAValue]) -> SSAValue:
    """Binary search: the first of `n` places that `passes` does not say to go past. `digits`: binary digits of `n`."""
    low, high = b.index(0), n
    block = Block(arg_types=[low.type, low.type, low.type])
    inner = Body(block, b.location)
    low_now, high_now = block.args[1:]
    op = partial(inner.op)
    width = op(arith.SubiOp, high_now, low_now)
    middle = op(arith.AddiOp, low_now, op(arith.ShRUIOp, width, inner.index(1)))
    last = op(arith.SubiOp, n, inner.index(1))
    past = passes(inner, op(arith.MinSIOp, middle, last))
    going = inner.index_compare("lt", low_now, high_now)
    up = inner.logical_and(going, past)
    down = inner.logical_and(going, inner.logical_not(past))
    after = op(arith.AddiOp, middle, inner.index(1))
    inner.emit(scf.YieldOp(inner.select(up, after, low_now), inner.select(down, middle, high_now)))
    return b.emit(scf.ForOp(b.index(0), digits, b.index(1), [low, high], block)).results[0]
