"""Order along one dim, in time n log n: merge sort, the first few of a row, runs of equal elements, binary search.

    values 3 1 2 0   -- runs of 1 -->  1 3 | 0 2   -- runs of 2 -->  0 1 2 3        places 3 1 2 0

Scalar loops: each of these is one kernel. NaN counts as the largest number; equal elements keep their order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from xdsl.dialects import arith, math, scf, tensor
from xdsl.dialects.builtin import i64
from xdsl.ir import Block, SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import I64, DType
from mlc.lowering.torch.to_linalg.loop_nest import Values, counted, looped_all
from mlc.lowering.torch.to_linalg.registry import Conversion
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain


def before(b: Body, x: SSAValue, y: SSAValue, t: DType, *, descending: bool) -> SSAValue:
    """Whether x is ordered strictly before y; NaN counts as the largest number."""
    if not t.is_float:
        return b.compare("gt" if descending else "lt", x, y, t)
    # a comparison that NaN satisfies, less those where the NaN stands on the wrong side
    number = y if descending else x
    ahead = b.op(arith.CmpfOp, x, y, "ugt" if descending else "ult")
    return b.logical_and(ahead, b.op(arith.CmpfOp, number, number, "ord"))


def bit_count(c: Conversion, n: Dim) -> Dim:
    """The number of binary digits of a size."""
    if not isinstance(n, SSAValue):
        return n.bit_length()
    b = Body(c.block, c.location)
    zeros = b.op(math.CountLeadingZerosOp, b.op(arith.IndexCastOp, n, i64))
    return b.to_index(b.sub(b.const(64, I64), zeros, I64))


def _least(b: Body, x: SSAValue, y: SSAValue) -> SSAValue:
    return b.op(arith.MinSIOp, x, y)


def _insert(b: Body, element: SSAValue, into: SSAValue, at: Values) -> SSAValue:
    return b.op(tensor.InsertOp, element, into, at)


def merge_sorted(c: Conversion, x: Tensor, d: int, *, descending: bool) -> tuple[Tensor, Tensor]:
    """Values in order along `d`, and where each stood."""
    x = c.plain(x)
    t, n = x.dtype, x.shape[d]
    size = c.dims.value(n)
    levels = bit_count(c, c.dims.maximum(c.dims.sub(n, 1), 0))
    pairs = c.dims.value(c.dims.floordiv(c.dims.add(levels, 1), 2))
    zero, one = c.index(0), c.index(1)

    def row(b: Body, at: Values, carried: Values) -> Values:
        def here(k: SSAValue) -> Values:
            return [*at[:d], k, *at[d:]]

        def copied(b: Body, k: SSAValue, now: Values) -> Values:
            value = b.extract(x.value, here(k))
            return [_insert(b, value, now[0], here(k)), _insert(b, b.from_index(k, I64), now[1], here(k))]

        def pair(b: Body, level: SSAValue, now: Values) -> Values:
            """Runs of `width` merged into the spare row, and those back."""
            width = b.op(arith.ShLIOp, one, b.op(arith.MuliOp, level, b.index(2)))
            double = b.op(arith.AddiOp, width, width)
            spare = merge(b, now[:2], here, now[2:], lambda k: [k], width, double)
            whole = merge(b, spare, lambda k: [k], now[:2], here, double, b.op(arith.AddiOp, double, double))
            return [*whole, *spare]

        def merge(
            b: Body,
            source: Values,
            read: Callable[[SSAValue], Values],
            target: Values,
            write: Callable[[SSAValue], Values],
            width: SSAValue,
            double: SSAValue,
        ) -> Values:
            def block(b: Body, start: SSAValue, now: Values) -> Values:
                middle = _least(b, b.op(arith.AddiOp, start, width), size)
                end = _least(b, b.op(arith.AddiOp, start, double), size)
                last_left, last = b.op(arith.SubiOp, middle, one), b.op(arith.SubiOp, size, one)

                def place(b: Body, k: SSAValue, state: Values) -> Values:
                    values, places, left, right = state
                    i, j = _least(b, left, last_left), _least(b, right, last)
                    x, y = b.extract(source[0], read(i)), b.extract(source[0], read(j))
                    ahead = b.logical_or(b.index_compare("ge", left, middle), before(b, y, x, t, descending=descending))
                    takes = b.logical_and(b.index_compare("lt", right, end), ahead)
                    value = b.select(takes, y, x)
                    mark = b.extract(source[1], read(b.select(takes, j, i)))
                    step = b.select(takes, one, zero)
                    return [
                        _insert(b, value, values, write(k)),
                        _insert(b, mark, places, write(k)),
                        b.op(arith.AddiOp, left, b.op(arith.SubiOp, one, step)),
                        b.op(arith.AddiOp, right, step),
                    ]

                return counted(c, (start, end, one), [*now, start, middle], place)[:2]

            return counted(c, (zero, size, double), target, block)

        filled = counted(c, (zero, size, one), carried[:2], copied)
        return counted(c, (zero, pairs, one), [*filled, *carried[2:]], pair)

    others = [s for i, s in enumerate(x.shape) if i != d]
    starts = [c.empty(x.shape, t), c.empty(x.shape, I64), c.empty((n,), t), c.empty((n,), I64)]
    values, places, *_ = looped_all(c, others, starts, row)
    return plain(values, t, x.shape), plain(places, I64, x.shape)


def first_few(c: Conversion, x: Tensor, d: int, k: int, *, descending: bool) -> tuple[Tensor, Tensor]:
    """The first `k` of the order along `d`, and where each stood: every element is offered to the best so far."""
    x = c.plain(x)
    t, shape = x.dtype, (*x.shape[:d], k, *x.shape[d + 1 :])
    size, zero, one, count = c.dims.value(x.shape[d]), c.index(0), c.index(1), c.index(k)

    def row(b: Body, at: Values, carried: Values) -> Values:
        def here(i: SSAValue) -> Values:
            return [*at[:d], i, *at[d:]]

        def offer(b: Body, i: SSAValue, now: Values) -> Values:
            value = b.extract(x.value, here(i))
            filling = b.index_compare("lt", i, count)
            ahead = before(b, value, b.extract(now[0], here(c.index(k - 1))), t, descending=descending)
            held = _least(b, b.op(arith.AddiOp, i, one), count)
            steps = b.select(b.logical_or(filling, ahead), held, zero)

            def pass_down(b: Body, r: SSAValue, state: Values) -> Values:
                """Once the new element has its place, all behind it move on by one."""
                best, places, value, mark, moving = state
                kept, kept_mark = b.extract(best, here(r)), b.extract(places, here(r))
                open_ = b.logical_or(b.index_compare("eq", r, i), before(b, value, kept, t, descending=descending))
                moving = b.logical_or(moving, open_)
                return [
                    _insert(b, b.select(moving, value, kept), best, here(r)),
                    _insert(b, b.select(moving, mark, kept_mark), places, here(r)),
                    b.select(moving, kept, value),
                    b.select(moving, kept_mark, mark),
                    moving,
                ]

            still = b.index_compare("lt", i, zero)
            return counted(c, (zero, steps, one), [*now, value, b.from_index(i, I64), still], pass_down)[:2]

        return counted(c, (zero, size, one), carried, offer)

    others = [s for i, s in enumerate(x.shape) if i != d]
    starts = [c.plain(c.full(shape, t, 0)).value, c.plain(c.full(shape, I64, 0)).value]
    values, places = looped_all(c, others, starts, row)
    return plain(values, t, shape), plain(places, I64, shape)


def longest_run(c: Conversion, values: Tensor, places: Tensor, d: int) -> tuple[Tensor, Tensor]:
    """Of ordered rows along `d`, which becomes 1: the element that occurs most often, first of several, and its last place."""
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
