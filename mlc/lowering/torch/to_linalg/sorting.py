"""ATen's sorting: whole rows in order, their first few, medians, the most frequent element (see `row_sort`)."""

from __future__ import annotations

import math
from collections.abc import Callable

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import I64, DType
from mlc.lowering.torch.to_linalg.ordering import longest_run
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.row_loops import RowLoops
from mlc.lowering.torch.to_linalg.row_select import first_of_rows, select_rows
from mlc.lowering.torch.to_linalg.row_sort import SHORT, sort_rows
from mlc.lowering.torch.to_linalg.tensor import Number, Tensor
from mlc.lowering.torch.to_linalg.view import Int, drop_dims, sliced


@lowers("aten.sort")
def sort(c: Conversion, x: Tensor, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    if x.rank == 0:
        return x, c.full((), I64, 0)
    return sort_rows(c, x, x.dim(dim), descending=descending)


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
    c: Conversion, x: Tensor, k: Int, dim: int = -1, largest: bool = True, ordered: bool = True
) -> tuple[Tensor, Tensor]:
    if x.rank == 0:
        return x, c.full((), I64, 0)
    d = x.dim(dim)
    count = _number_of_row(c, x, d, k, 0)
    n = x.shape[d]
    # of a short row, sorting costs no more than looking for the first few, unless they are very few
    if isinstance(k, int) and k > 0 and not (isinstance(n, int) and n <= SHORT and 8 * k > n):
        return first_of_rows(c, x, d, k, descending=largest)
    values, indices = sort_rows(c, x, d, descending=largest)
    return sliced(c, values, d, 0, count), sliced(c, indices, d, 0, count)


def _number_of_row(c: Conversion, x: Tensor, d: int, k: Int, least: int) -> Dim:
    """`k` as a number from `least` to the size of dimension `d`: checked where one of them is open."""
    if isinstance(k, int):
        c.need(x, [d], k)
        return k
    count = c.size(k)
    c.demand(count, "ge", least, f"k must be at least {least}")
    c.demand(x.shape[d], "ge", count, f"dimension {d} must have at least k elements")
    return count


@lowers("aten.kthvalue")
def kthvalue(c: Conversion, x: Tensor, k: Int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    if x.rank == 0:
        return x, c.full((), I64, 0)
    d = x.dim(dim)
    place = c.dims.value(c.dims.sub(_number_of_row(c, x, d, k, 1), 1))
    return _kept(select_rows(c, x, d, lambda r, numbers: place), d, keepdim=keepdim)


def _kept(found: tuple[Tensor, Tensor], d: int, *, keepdim: bool) -> tuple[Tensor, Tensor]:
    return found if keepdim else (drop_dims(found[0], [d]), drop_dims(found[1], [d]))


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

    def place(r: RowLoops, numbers: Callable[[], SSAValue]) -> SSAValue:
        size = c.dims.value(total)
        middle = r.op(arith.ShRUIOp, r.sub(size, r.index(1)), r.index(1))
        if not x.dtype.is_float:
            return middle
        first_nan = numbers()
        return r.b.select(r.b.index_compare("lt", first_nan, size), first_nan, middle)

    return _kept(select_rows(c, x, d, place), d, keepdim=keepdim)


def _nanmedian(c: Conversion, x: Tensor, d: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    """The lower of two middle elements among those that are not NaN."""
    if not x.dtype.is_float or x.shape[d] == 0:
        return _median(c, x, d, keepdim)
    c.need(x, [d])

    def place(r: RowLoops, numbers: Callable[[], SSAValue]) -> SSAValue:
        last = r.op(arith.MaxSIOp, r.sub(numbers(), r.index(1)), r.index(0))
        return r.op(arith.ShRUIOp, last, r.index(1))

    return _kept(select_rows(c, x, d, place), d, keepdim=keepdim)


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
    return _kept(longest_run(c, *sort_rows(c, x, d, descending=False), d), d, keepdim=keepdim)
