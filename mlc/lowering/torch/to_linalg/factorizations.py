"""LU, Cholesky and QR factors, triangular solves: loops over columns, every matrix of a batch at once.

Matrices are of shape (batch, rows, columns). A step reads the matrix of the step before and writes a new one, all its
elements at once, so that a loop's body is one elementwise op.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects import arith, math, scf
from xdsl.ir import Block, SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import I32, I64, DType
from mlc.lowering.torch.to_linalg.reduction import arg_extreme
from mlc.lowering.torch.to_linalg.registry import Conversion
from mlc.lowering.torch.to_linalg.structured import elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain


def repeated(
    c: Conversion,
    count: Dim,
    start: Sequence[Tensor],
    step: Callable[[SSAValue, list[Tensor]], Sequence[Tensor]],
) -> list[Tensor]:
    """`start` after `count` steps; `step(number, tensors)` returns as many of the same types."""
    first = [c.plain(t) for t in start]
    block = Block(arg_types=[c.index(0).type, *(t.value.type for t in first)])
    with c.inside(block):
        now = [plain(v, t.dtype, t.shape) for v, t in zip(block.args[1:], first, strict=True)]
        c.emit(scf.YieldOp(*[c.plain(t).value for t in step(block.args[0], now)]))
    loop = c.emit(scf.ForOp(c.index(0), c.dims.value(count), c.index(1), [t.value for t in first], block))
    return [plain(v, t.dtype, t.shape) for v, t in zip(loop.results, first, strict=True)]


@dataclass(frozen=True)
class LU:
    """`factors`: U, and below the diagonal L without its ones; row i of L U is row `order[i]` of the matrix.

    `sign`: that of the permutation. `pivots`: the row, counted from 1, that each step swapped with.
    """

    factors: Tensor
    order: Tensor
    sign: Tensor
    pivots: Tensor


def lu(c: Conversion, a: Tensor) -> LU:
    """With partial pivoting."""
    batch, n, _ = a.shape
    t = a.dtype

    def step(k: SSAValue, now: list[Tensor]) -> list[Tensor]:
        whole, order, sign, pivots = now

        def size(b: Body, at: list[SSAValue]) -> SSAValue:
            value = b.abs(b.extract(whole.value, [at[0], at[1], k]), t)
            return b.select(b.index_compare("ge", at[1], k), value, b.const(-1.0, t))

        best = c.plain(arg_extreme(c, indexed(c, (batch, n), t, size), 1, largest=True, keepdim=False)[1])

        def swapped(b: Body, i: SSAValue, p: SSAValue) -> SSAValue:
            return b.select(b.index_compare("eq", i, k), p, b.select(b.index_compare("eq", i, p), k, i))

        def eliminated(b: Body, at: list[SSAValue]) -> SSAValue:
            m, i, j = at
            p = b.to_index(b.extract(best.value, [m]))
            source = swapped(b, i, p)
            value = b.extract(whole.value, [m, source, j])
            pivot, zero = b.extract(whole.value, [m, p, k]), b.const(0.0, t)
            pivot = b.select(b.compare("eq", pivot, zero, t), b.const(1.0, t), pivot)  # then all below are zero too
            factor = b.divf(b.extract(whole.value, [m, source, k]), pivot)
            rest = b.sub(value, b.mul(factor, b.extract(whole.value, [m, p, j]), t), t)
            new = b.select(b.index_compare("eq", j, k), factor, rest)
            inside = b.logical_and(b.index_compare("gt", i, k), b.index_compare("ge", j, k))
            return b.select(inside, new, value)

        def reordered(b: Body, at: list[SSAValue]) -> SSAValue:
            p = b.to_index(b.extract(best.value, [at[0]]))
            return b.extract(order.value, [at[0], swapped(b, at[1], p)])

        def noted(b: Body, at: list[SSAValue], old: SSAValue) -> SSAValue:
            row = b.cast(b.add(b.extract(best.value, [at[0]]), b.const(1, I64), I64), I64, I32)
            return b.select(b.index_compare("eq", at[1], k), row, old)

        def flipped(b: Body, at: list[SSAValue], old: SSAValue) -> SSAValue:
            same = b.index_compare("eq", b.to_index(b.extract(best.value, at)), k)
            return b.select(same, old, b.neg(old, t))

        return [
            indexed(c, whole.shape, t, eliminated),
            indexed(c, order.shape, I64, reordered),
            indexed(c, sign.shape, t, flipped, [sign]),
            indexed(c, pivots.shape, I32, noted, [pivots]),
        ]

    start = [
        a,
        indexed(c, (batch, n), I64, lambda b, at: b.from_index(at[1], I64)),
        c.full((batch,), t, 1),
        c.full((batch, n), I32, 0),
    ]
    return LU(*repeated(c, n, start, step))


def order_of(c: Conversion, pivots: Tensor) -> Tensor:
    """The order of rows that a list of swaps leads to."""
    rows = c.plain(pivots)

    def step(k: SSAValue, now: list[Tensor]) -> list[Tensor]:
        order = now[0].value

        def swapped(b: Body, at: list[SSAValue]) -> SSAValue:
            other = b.to_index(b.sub(b.extract(rows.value, [at[0], k]), b.const(1, rows.dtype), rows.dtype))
            source = b.select(b.index_compare("eq", at[1], other), k, at[1])
            return b.extract(order, [at[0], b.select(b.index_compare("eq", at[1], k), other, source)])

        return [indexed(c, rows.shape, I64, swapped)]

    start = indexed(c, rows.shape, I64, lambda b, at: b.from_index(at[1], I64))
    return repeated(c, rows.shape[1], [start], step)[0]


def rows_in_order(c: Conversion, x: Tensor, order: Tensor) -> Tensor:
    """Row i of the result is row `order[i]` of x."""
    source, places = c.plain(x).value, c.plain(order).value
    return indexed(
        c,
        x.shape,
        x.dtype,
        lambda b, at: b.extract(source, [at[0], b.to_index(b.extract(places, [at[0], at[1]])), at[2]]),
    )


def substituted(c: Conversion, a: Tensor, x: Tensor, *, upper: bool, unit: bool) -> Tensor:
    """The solution of a @ y = x for a triangular `a`, whose other half is not read (nor the diagonal, if `unit`)."""
    t, n = x.dtype, a.shape[1]
    c.demand(a.shape[2], "eq", n, "the matrix is not square")
    c.demand(x.shape[1], "eq", n, "the right-hand side has another number of rows than the matrix")
    whole = c.plain(a).value
    last = c.dims.value(c.dims.sub(n, 1))

    def step(number: SSAValue, now: list[Tensor]) -> list[Tensor]:
        k = c.op(arith.SubiOp, last, number) if upper else number

        def fn(b: Body, at: list[SSAValue]) -> SSAValue:
            m, i, j = at
            solved = b.extract(now[0].value, [m, k, j])
            if not unit:
                solved = b.divf(solved, b.extract(whole, [m, k, k]))
            value = b.extract(now[0].value, [m, i, j])
            rest = b.sub(value, b.mul(b.extract(whole, [m, i, k]), solved, t), t)
            ahead = b.index_compare("lt" if upper else "gt", i, k)
            return b.select(b.index_compare("eq", i, k), solved, b.select(ahead, rest, value))

        return [indexed(c, x.shape, t, fn)]

    return repeated(c, n, [x], step)[0]


def solved_by(c: Conversion, factors: LU, x: Tensor) -> Tensor:
    """The solution of a @ y = x."""
    y = substituted(c, factors.factors, rows_in_order(c, x, factors.order), upper=False, unit=True)
    return substituted(c, factors.factors, y, upper=True, unit=False)


def diagonal_of(c: Conversion, a: Tensor) -> Tensor:
    """(batch, n)"""
    whole = c.plain(a).value
    return indexed(c, a.shape[:2], a.dtype, lambda b, at: b.extract(whole, [at[0], at[1], at[1]]))


def identity(c: Conversion, batch: Dim, n: Dim, t: DType) -> Tensor:
    """A batch of identity matrices."""

    def one(b: Body, at: list[SSAValue]) -> SSAValue:
        return b.select(b.index_compare("eq", at[1], at[2]), b.const(1, t), b.const(0, t))

    return indexed(c, (batch, n, n), t, one)


def triangle(c: Conversion, a: Tensor, *, upper: bool, unit: bool = False) -> Tensor:
    """`a` with zeros in the other half, and ones on the diagonal if `unit`."""
    t = a.dtype

    def fn(b: Body, at: list[SSAValue], v: SSAValue) -> SSAValue:
        kept = b.select(b.index_compare("le" if upper else "ge", at[1], at[2]), v, b.const(0, t))
        return b.select(b.index_compare("eq", at[1], at[2]), b.const(1, t), kept) if unit else kept

    return indexed(c, a.shape, t, fn, [a])


def cholesky(c: Conversion, a: Tensor) -> Tensor:
    """The lower factor; the upper half of `a` is not read. NaN from the first row on that is not positive definite."""
    t, n = a.dtype, a.shape[1]

    def step(k: SSAValue, now: list[Tensor]) -> list[Tensor]:
        whole = now[0].value

        def fn(b: Body, at: list[SSAValue]) -> SSAValue:
            m, i, j = at
            value = b.extract(whole, [m, i, j])
            corner = b.extract(whole, [m, k, k])
            column = b.extract(whole, [m, i, k])
            scaled = b.divf(column, b.op(math.SqrtOp, corner))
            rest = b.sub(value, b.divf(b.mul(column, b.extract(whole, [m, j, k]), t), corner), t)
            inside = b.logical_and(b.index_compare("gt", j, k), b.index_compare("gt", i, k))
            here = b.logical_and(b.index_compare("eq", j, k), b.index_compare("ge", i, k))
            return b.select(here, scaled, b.select(inside, rest, value))

        return [indexed(c, a.shape, t, fn)]

    return triangle(c, repeated(c, n, [a], step)[0], upper=False)


def first_bad(c: Conversion, diagonal: Tensor, bad: Callable[[Body, SSAValue], SSAValue]) -> Tensor:
    """LAPACK's info: the place, counted from 1, of the first bad element of each row; 0 without one."""
    t = diagonal.dtype
    marks = elementwise(
        c, [diagonal], I64, lambda b, v: b.select(bad(b, v), b.const(1, I64), b.const(0, I64)), compute=t, returns=I64
    )
    found, place = arg_extreme(c, marks, 1, largest=True, keepdim=False)
    return elementwise(
        c,
        [found, place],
        I32,
        lambda b, f, p: b.select(b.compare("eq", f, b.const(0, I64), I64), f, b.add(p, b.const(1, I64), I64)),
        compute=I64,
        returns=I64,
    )
