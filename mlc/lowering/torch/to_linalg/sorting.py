"""Sorting by rank: an element's place is the number of elements that come before it.

Quadratic in the length of the row, without any order between elements, so rows sort in parallel; ties keep their order.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from xdsl.dialects import arith, tensor
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dtypes import I64, DType
from mlc.lowering.torch.to_linalg.reduction import reduce
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.loop_nest import looped
from mlc.lowering.torch.to_linalg.structured import elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain
from mlc.lowering.torch.to_linalg.view import drop_dims, sliced


def _before(b: Body, x: SSAValue, y: SSAValue, t: DType, descending: bool) -> SSAValue:
    """Whether x is ordered strictly before y; NaN counts as the largest number."""
    less = b.compare("gt" if descending else "lt", x, y, t)
    if not t.is_float:
        return less
    nan_x, nan_y = b.is_nan(x, t), b.is_nan(y, t)
    special = b.logical_and(nan_x, b.logical_not(nan_y)) if descending else b.logical_and(nan_y, b.logical_not(nan_x))
    return b.logical_or(less, special)


def along_twice(x: Tensor, d: int) -> tuple[Tensor, Tensor]:
    """A plain tensor seen along two dims, `d` and `d + 1`, in the place of `d`: first the one, then the other."""
    rank = x.rank
    rows = x.with_view((*x.shape[: d + 1], 1, *x.shape[d + 1 :]), (*range(d + 1), None, *range(d + 1, rank)))
    others = x.with_view((*x.shape[:d], 1, *x.shape[d:]), (*range(d), None, *range(d, rank)))
    return rows, others


def sorted_along(c: Conversion, x: Tensor, d: int, *, descending: bool) -> tuple[Tensor, Tensor]:
    """Values in order along `d`, and where each stood."""
    x = c.plain(x)
    t = x.dtype
    rows, others = along_twice(x, d)

    def count(b: Body, mine: SSAValue, other: SSAValue, acc: SSAValue) -> SSAValue:
        ahead = _before(b, other, mine, t, descending)
        tie = b.logical_not(b.logical_or(ahead, _before(b, mine, other, t, descending)))
        earlier = b.index_compare("lt", b.loop_index(d + 1), b.loop_index(d))
        return b.add(acc, b.op(arith.ExtUIOp, b.logical_or(ahead, b.logical_and(tie, earlier)), I64.mlir), I64)

    (rank_of,) = reduce(c, [rows, others], [d + 1], I64, 0, count)
    places = c.plain(rank_of).value
    source = x.value

    def put(what: str, start: SSAValue) -> SSAValue:
        def step(b: Body, at: list[SSAValue], whole: SSAValue) -> SSAValue:
            place = b.to_index(b.extract(places, at))
            new = b.extract(source, at) if what == "value" else b.from_index(at[d], I64)
            return b.op(tensor.InsertOp, new, whole, [place if i == d else v for i, v in enumerate(at)])

        return looped(c, x.shape, start, step)

    values = put("value", c.empty(x.shape, t))
    indices = put("index", c.empty(x.shape, I64))
    return plain(values, t, x.shape), plain(indices, I64, x.shape)


@lowers("aten.sort")
def sort(c: Conversion, x: Tensor, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    if x.rank == 0:
        return x, c.full((), I64, 0)
    return sorted_along(c, x, x.dim(dim), descending=descending)


@lowers("aten.sort.stable")
def sort_stable(
    c: Conversion, x: Tensor, stable: bool | None, dim: int = -1, descending: bool = False
) -> tuple[Tensor, Tensor]:
    return sort(c, x, dim, descending)


@lowers("aten.argsort.stable")
def argsort_stable(c: Conversion, x: Tensor, stable: bool, dim: int = -1, descending: bool = False) -> Tensor:
    return sort(c, x, dim, descending)[1]


@lowers("aten.msort")
def msort(c: Conversion, x: Tensor) -> Tensor:
    return sort(c, x, 0)[0]


@lowers("aten.argsort")
def argsort(c: Conversion, x: Tensor, dim: int = -1, descending: bool = False) -> Tensor:
    return sort(c, x, dim, descending)[1]


@lowers("aten.topk")
def topk(
    c: Conversion, x: Tensor, k: int, dim: int = -1, largest: bool = True, ordered: bool = True
) -> tuple[Tensor, Tensor]:
    if x.rank == 0:
        return x, c.full((), I64, 0)
    d = x.dim(dim)
    values, indices = sorted_along(c, x, d, descending=largest)
    return sliced(c, values, d, 0, k), sliced(c, indices, d, 0, k)


@lowers("aten.kthvalue")
def kthvalue(c: Conversion, x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    if x.rank == 0:
        return x, c.full((), I64, 0)
    d = x.dim(dim)
    values, indices = sorted_along(c, x, d, descending=False)
    found = [sliced(c, v, d, k - 1, 1) for v in (values, indices)]
    return (found[0], found[1]) if keepdim else (drop_dims(found[0], [d]), drop_dims(found[1], [d]))


def _median(c: Conversion, x: Tensor, d: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    """The lower of two middle elements; a NaN anywhere in the row is the result."""
    total = x.shape[d]
    if total == 0:
        shape = tuple(1 if i == d else n for i, n in enumerate(x.shape) if keepdim or i != d)
        return c.full(shape, x.dtype, math.nan if x.dtype.is_float else x.dtype.limits()[0]), c.full(shape, I64, 0)
    values, indices = sorted_along(c, x, d, descending=False)
    half = c.dims.floordiv(c.dims.sub(total, 1), 2)
    middle = [sliced(c, v, d, half, 1) for v in (values, indices)]
    if x.dtype.is_float:
        t = x.dtype
        first_nan = _first_nan(c, x, values, indices, d)
        last = sliced(c, values, d, c.dims.sub(total, 1), 1)
        middle[1] = elementwise(
            c,
            [last, first_nan, middle[1]],
            I64,
            lambda b, w, at, m: b.select(b.is_nan(w, t), at, m),
            compute=I64,
            own=(0,),
        )
        middle[0] = elementwise(c, [last, middle[0]], t, lambda b, w, m: b.select(b.is_nan(w, t), w, m), compute=t)
    return (middle[0], middle[1]) if keepdim else (drop_dims(middle[0], [d]), drop_dims(middle[1], [d]))


def _nanmedian(c: Conversion, x: Tensor, d: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    """The lower of two middle elements among those that are not NaN."""
    t = x.dtype
    if not t.is_float or x.shape[d] == 0:
        return _median(c, x, d, keepdim)
    values, indices = sorted_along(c, x, d, descending=False)

    def number(b: Body, v: SSAValue, acc: SSAValue) -> SSAValue:
        return b.add(acc, b.select(b.is_nan(v, t), b.const(0, I64), b.const(1, I64)), I64)

    (count,) = reduce(c, [values], [d], I64, 0, number, keepdim=True)
    middle = elementwise(
        c,
        [count],
        I64,
        lambda b, n: b.op(
            arith.ShRSIOp, b.op(arith.MaxSIOp, b.sub(n, b.const(1, I64), I64), b.const(0, I64)), b.const(1, I64)
        ),
    )
    places = indexed(c, values.shape, I64, lambda b, at: b.from_index(at[d], I64))

    def found(
        b: Body, v: SSAValue, at: SSAValue, place: SSAValue, m: SSAValue, *acc: SSAValue
    ) -> tuple[SSAValue, SSAValue]:
        here = b.compare("eq", place, m, I64)
        return b.select(here, v, acc[0]), b.select(here, at, acc[1])

    return tuple(  # pyright: ignore[reportReturnType] - two of them
        reduce(c, [values, indices, places, middle], [d], t, [0, 0], found, keepdim=keepdim, dtypes=[t, I64])
    )


def _first_nan(c: Conversion, x: Tensor, values: Tensor, indices: Tensor, d: int) -> Tensor:
    t = x.dtype
    (first,) = reduce(
        c,
        [values, indices],
        [d],
        I64,
        I64.limits()[1],
        lambda b, v, at, acc: b.select(b.is_nan(v, t), b.minimum(acc, at, I64), acc),
        keepdim=True,
    )
    return first


def _lower_median(name: str, fn: Callable[[Conversion, Tensor, int, bool], tuple[Tensor, Tensor]]) -> None:
    def of_dim(c: Conversion, x: Tensor, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
        if x.rank == 0:
            return x, c.full((), I64, 0)
        return fn(c, x, x.dim(dim), keepdim)

    def of_all(c: Conversion, x: Tensor) -> Tensor:
        return fn(c, c.viewed(x, (c.dims.product(x.shape),)), 0, False)[0]

    lowers(f"aten.{name}.dim")(of_dim)
    lowers(f"aten.{name}")(of_all)


_lower_median("median", _median)
_lower_median("nanmedian", _nanmedian)


@lowers("aten.mode")
def mode(c: Conversion, x: Tensor, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The most frequent element, the smallest of several, and where it last stands."""
    if x.rank == 0:
        return x, c.full((), I64, 0)
    d, t = x.dim(dim), x.dtype
    values, indices = sorted_along(c, x, d, descending=False)
    rows, others = along_twice(values, d)

    def equal(b: Body, mine: SSAValue, other: SSAValue, acc: SSAValue) -> SSAValue:
        return b.add(acc, b.op(arith.ExtUIOp, b.compare("eq", mine, other, t), I64.mlir), I64)

    (count,) = reduce(c, [rows, others], [d + 1], I64, 0, equal)
    order = elementwise(c, [count], I64, lambda b, n: n)

    def better(b: Body, v: SSAValue, at: SSAValue, n: SSAValue, *acc: SSAValue) -> tuple[SSAValue, ...]:
        same = b.logical_and(b.compare("eq", n, acc[2], I64), b.compare("eq", v, acc[0], t))
        later = b.logical_and(same, b.compare("gt", at, acc[1], I64))
        smaller = b.logical_and(b.compare("eq", n, acc[2], I64), b.compare("lt", v, acc[0], t))
        take = b.logical_or(b.compare("gt", n, acc[2], I64), b.logical_or(later, smaller))
        return tuple(b.select(take, new, old) for new, old in zip((v, at, n), acc, strict=True))

    value, place, _ = reduce(
        c, [values, indices, order], [d], t, [0, 0, -1], better, keepdim=keepdim, dtypes=[t, I64, I64]
    )
    return value, place
