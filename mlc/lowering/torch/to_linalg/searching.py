"""Searches in sorted sequences: how many elements lie before a value."""

from __future__ import annotations

from typing import Any

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import F32, I64
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.indexing import gather, take
from mlc.lowering.torch.to_linalg.promotion import result_type
from mlc.lowering.torch.to_linalg.scans import scan
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import reduce
from mlc.lowering.torch.to_linalg.tensor import Number, Scalar, Tensor
from mlc.lowering.torch.to_linalg.view import stretched, unsqueeze


@lowers("aten.bucketize.Tensor")
def bucketize(c: Conversion, x: Tensor, edges: Tensor, out_int32: bool = False, right: bool = False) -> Tensor:
    return cast(c, _count_before(c, unsqueeze(c, x, x.rank), edges, right), c.out)


@lowers("aten.bucketize.Scalar")
def bucketize_scalar(
    c: Conversion, x: Number | Scalar, edges: Tensor, out_int32: bool = False, right: bool = False
) -> Tensor:
    return bucketize(c, _as_tensor(c, x, edges), edges, out_int32, right)


@lowers("aten.searchsorted.Scalar")
def searchsorted_scalar(c: Conversion, edges: Tensor, x: Number | Scalar, *options: Any) -> Tensor:
    return searchsorted(c, edges, _as_tensor(c, x, edges), *options)


def _as_tensor(c: Conversion, x: Number | Scalar, edges: Tensor) -> Tensor:
    """A number beside a tensor: a float is the tensor's own or the default float, an integer the tensor's or i64."""
    whole = x.dtype.is_int if isinstance(x, Scalar) else isinstance(x, int)
    t = edges.dtype if edges.dtype.is_float else I64 if whole else F32
    return c.full((), t, c.cast_scalar(x, t))


@lowers("aten.searchsorted.Tensor")
def searchsorted(
    c: Conversion,
    edges: Tensor,
    x: Tensor,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    if sorter is not None:
        edges = gather(c, edges, edges.rank - 1, sorter)
    aligned = unsqueeze(c, edges, edges.rank - 1) if edges.rank > 1 else edges
    return cast(c, _count_before(c, unsqueeze(c, x, x.rank), aligned, right or side == "right"), c.out)


def _count_before(c: Conversion, x: Tensor, edges: Tensor, right: bool) -> Tensor:
    """How many of the sorted `edges` (last dim) lie before each element; NaN lies behind all."""
    t = result_type([x, edges]).compute

    def fn(b: Body, v: SSAValue, edge: SSAValue, acc: SSAValue) -> SSAValue:
        v, edge = b.cast(v, x.dtype, t), b.cast(edge, edges.dtype, t)
        before = b.compare("le" if right else "lt", edge, v, t)
        if t.is_float:
            before = b.logical_or(before, b.is_nan(v, t))
        return b.add(acc, b.op(arith.ExtUIOp, before, I64.mlir), I64)

    (count,) = reduce(c, [x, edges], [x.rank - 1], I64, 0, fn)
    return count


@lowers("aten.repeat_interleave.Tensor")
def repeat_indices(c: Conversion, repeats: Tensor, output_size: int | Scalar | None = None) -> Tensor:
    """Index i as many times as repeats[i] says: at place p, the number of elements whose last copy lies before it."""
    stated = c.out_sizes() or (-1,)
    return cast(c, _repeated(c, repeats, c.size(output_size) if output_size is not None else stated[0]), c.out)


def _repeated(c: Conversion, repeats: Tensor, size: Dim) -> Tensor:
    if size == -1:
        raise c.refuse("the sum of the repeats is known only at run time", hint="pass output_size")
    ends = scan(c, cast(c, repeats, I64), 0, I64, "add")
    total = reduce(c, [cast(c, repeats, I64)], [0], I64, 0, lambda b, v, acc: b.add(acc, v, I64))[0]
    body = Body(c.block, c.location)
    sum_of = body.to_index(body.extract(c.plain(total).value, []))
    c.check(body.index_compare("eq", sum_of, c.dims.value(size)), c.message("output_size is not the sum of repeats"))
    places = indexed(c, (size,), I64, lambda b, at: b.from_index(at[0], I64))
    return _count_before(c, unsqueeze(c, places, 1), ends, right=True)


@lowers("aten.repeat_interleave.self_Tensor")
def repeat_interleave(
    c: Conversion, x: Tensor, repeats: Tensor, dim: int | None = None, output_size: int | Scalar | None = None
) -> Tensor:
    if dim is None:
        x, dim = c.viewed(x, (c.dims.product(x.shape),)), 0
    d = x.dim(dim)
    stated = (c.out_sizes() or (-1,) * x.rank)[d]
    size = c.size(output_size) if output_size is not None else stated
    repeats = stretched(c, repeats if repeats.rank else unsqueeze(c, repeats, 0), (x.shape[d],))
    return take(c, x, _repeated(c, repeats, size), d, wraps=False)
