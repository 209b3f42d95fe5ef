"""Writes of whole rows: x[…, index[i], …] is replaced by, or combined with, row i of another tensor, in order."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects import tensor
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.indexing import checked
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.scatter import Combine, at_least_1d, combiner, divided, looped, neutral
from mlc.lowering.torch.to_linalg.structured import elementwise
from mlc.lowering.torch.to_linalg.tensor import Number, Scalar, Tensor, plain


def _along(
    c: Conversion,
    x: Tensor,
    dim: int,
    index: Tensor,
    value: Callable[[Body, list[SSAValue]], SSAValue],
    combine: Combine | None,
) -> Tensor:
    """Whole slices x[…, index[i], …] replaced by or combined with what `value` gives at (…, i, …)."""
    d, t = x.dim(dim), x.dtype
    index = at_least_1d(c, index)
    places = c.plain(checked(c, index, x.shape[d], wraps=True)).value
    sizes = (*x.shape[:d], index.shape[0], *x.shape[d + 1 :])

    def step(b: Body, at: list[SSAValue], whole: SSAValue) -> SSAValue:
        place = b.to_index(b.extract(places, [at[d]]))
        target = [place if i == d else v for i, v in enumerate(at)]
        new = value(b, at)
        if combine is not None:
            new = combine(b, b.extract(whole, target), new)
        return b.op(tensor.InsertOp, new, whole, target)

    return plain(looped(c, sizes, c.plain(x).value, step), t, x.shape)


@lowers("aten.index_add")
def index_add(c: Conversion, x: Tensor, dim: int, index: Tensor, source: Tensor, alpha: Number = 1) -> Tensor:
    t = x.dtype
    read = c.plain(cast(c, source, t)).value

    def value(b: Body, at: list[SSAValue]) -> SSAValue:
        v = b.extract(read, at)
        return v if alpha == 1 else b.mul(v, b.const(alpha, t), t)

    return _along(c, x, dim, index, value, lambda b, p, q: b.add(p, q, t))


@lowers("aten.index_copy")
def index_copy(c: Conversion, x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    read = c.plain(cast(c, source, x.dtype)).value
    return _along(c, x, dim, index, lambda b, at: b.extract(read, at), None)


@lowers("aten.index_fill.int_Scalar", "aten.index_fill.int_Tensor")
def index_fill(c: Conversion, x: Tensor, dim: int, index: Tensor, number: Number | Scalar | Tensor) -> Tensor:
    if isinstance(number, Tensor):
        read = c.plain(cast(c, number, x.dtype)).value
        return _along(c, x, dim, index, lambda b, at: b.extract(read, []), None)
    value = c.cast_scalar(number, x.dtype)
    return _along(c, x, dim, index, lambda b, at: value, None)


@lowers("aten.index_reduce")
def index_reduce(
    c: Conversion, x: Tensor, dim: int, index: Tensor, source: Tensor, how: str, include_self: bool = True
) -> Tensor:
    """Rows that meet are multiplied, averaged or compared; without `include_self` the old row does not count."""
    t = x.dtype
    how = "sum" if how == "mean" else how
    read = c.plain(cast(c, source, t)).value
    start = x if include_self else index_fill(c, x, dim, index, neutral(how, t))
    total = _along(c, start, dim, index, lambda b, at: b.extract(read, at), combiner(how, t))
    if how != "sum":
        return total
    ones = c.full(x.shape, t, 1)
    counted = ones if include_self else index_fill(c, ones, dim, index, 0)
    counted = _along(c, counted, dim, index, lambda b, at: b.const(1, t), combiner("sum", t))
    return divided(c, total, elementwise(c, [counted], t, lambda b, n: b.maximum(n, b.const(1, t), t), compute=t))
