"""ATen's sorting: whole rows in order, their first few, medians, the most frequent element (see `ordering`)."""

from __future__ import annotations

import math
from collections.abc import Callable

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dtypes import I64, DType
from mlc.lowering.torch.to_linalg.ordering import first_few, longest_run, merge_sorted
from mlc.lowering.torch.to_linalg.reduction import reduce
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import elementwise
from mlc.lowering.torch.to_linalg.tensor import Number, Tensor
from mlc.lowering.torch.to_linalg.view import drop_dims, sliced


# Up to so many first elements of a row are held in order while it is read once; beyond, the row is sorted.
_FEW = 16


@lowers("aten.sort")
def sort(c: Conversion, x: Tensor, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    if x.rank == 0:
        return x, c.full((), I64, 0)
    return merge_sorted(c, x, x.dim(dim), descending=descending)


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
    if isinstance(k, int):
        c.need(x, [d], k)
    if isinstance(k, int) and 0 < k <= _FEW:
        return first_few(c, x, d, k, descending=largest)
    values, indices = merge_sorted(c, x, d, descending=largest)
    return sliced(c, values, d, 0, k), sliced(c, indices, d, 0, k)


@lowers("aten.kthvalue")
def kthvalue(c: Conversion, x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    if x.rank == 0:
        return x, c.full((), I64, 0)
    d = x.dim(dim)
    c.need(x, [d], k)
    values, indices = merge_sorted(c, x, d, descending=False)
    found = [sliced(c, v, d, k - 1, 1) for v in (values, indices)]
    return (found[0], found[1]) if keepdim else (drop_dims(found[0], [d]), drop_dims(found[1], [d]))


def _nan_as(t: DType) -> Number:
    """NaN converted to a dtype as `Tensor.to` does: through 32 bits at least, of which the smallest number is left."""
    if t.is_float:
        return math.nan
    return t.limits()[0] if t.kind == "i" and t.bits >= 32 else t.is_bool


def _median(c: Conversion, x: Tensor, d: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    """The lower of two middle elements; a NaN anywhere in the row is the result."""
    total = x.shape[d]
    if total == 0:
        shape = tuple(1 if i == d else n for i, n in enumerate(x.shape) if keepdim or i != d)
        return c.full(shape, x.dtype, _nan_as(x.dtype)), c.full(shape, I64, 0)
    c.need(x, [d])
    values, indices = merge_sorted(c, x, d, descending=False)
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
    c.need(x, [d])
    values, indices = merge_sorted(c, x, d, descending=False)

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
    d = x.dim(dim)
    c.need(x, [d])
    found = longest_run(c, *merge_sorted(c, x, d, descending=False), d)
    return found if keepdim else (drop_dims(found[0], [d]), drop_dims(found[1], [d]))
