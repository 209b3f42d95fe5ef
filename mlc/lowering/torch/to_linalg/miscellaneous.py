"""Ops made of others: losses, gated units, bucket search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects import math
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.activations import leaky_relu
from mlc.lowering.torch.to_linalg.attention import scaled_dot_product_attention
from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dtypes import F32, F64, I64
from mlc.lowering.torch.to_linalg.elementwise import cast, clamp, unary
from mlc.lowering.torch.to_linalg.indexing import gather
from mlc.lowering.torch.to_linalg.normalization import rms_norm
from mlc.lowering.torch.to_linalg.ordering import bit_count, halved
from mlc.lowering.torch.to_linalg.promotion import result_type
from mlc.lowering.torch.to_linalg.reduction import mean_over, sum_over
from mlc.lowering.torch.to_linalg.registry import Conversion, dims_of, lowers
from mlc.lowering.torch.to_linalg.resampling import table
from mlc.lowering.torch.to_linalg.structured import elementwise, reduce
from mlc.lowering.torch.to_linalg.tensor import Number, Scalar, Tensor
from mlc.lowering.torch.to_linalg.view import sliced, unsqueeze


@lowers("aten.glu")
def glu(c: Conversion, x: Tensor, dim: int = -1) -> Tensor:
    d = x.dim(dim)
    half = c.dims.floordiv(x.shape[d], 2)
    c.demand(c.dims.mul(half, 2), "eq", x.shape[d], "the size must be even")
    t = c.out.compute
    return elementwise(
        c,
        [sliced(c, x, d, 0, half), sliced(c, x, d, half, half)],
        c.out,
        lambda b, v, g: b.mul(v, b.sigmoid(g, t), t),
    )


@lowers("aten.clip")
def clip(c: Conversion, x: Tensor, low: Number | None = None, high: Number | None = None) -> Tensor:
    return clamp(c, x, low, high)


@lowers("aten.log_sigmoid_forward")
def log_sigmoid_forward(c: Conversion, x: Tensor) -> tuple[Tensor, Tensor]:
    t = x.dtype.compute
    buffer = elementwise(c, [x], x.dtype, lambda b, v: b.op(math.ExpOp, b.neg(b.abs(v, t), t)))
    return unary(c, "log_sigmoid", x), buffer


@lowers("aten.rrelu", "aten.rrelu_with_noise_functional")
def rrelu(c: Conversion, x: Tensor, *args: object) -> Tensor | tuple[Tensor, Tensor]:
    """In evaluation the slope is the middle of its range."""
    assert c.operation is not None
    noisy = "noise" in c.operation.name
    lower, upper, training = args[1:4] if noisy else args[:3]
    assert isinstance(lower, int | float) and isinstance(upper, int | float)
    if training:
        raise c.refuse("a random slope in training mode draws random numbers", hint="call model.eval() first")
    out = leaky_relu(c, x, (lower + upper) / 2)
    if not noisy:
        return out
    noise = args[0]
    assert isinstance(noise, Tensor)
    return out, noise


def _reduced_loss(c: Conversion, each: Tensor, how: int) -> Tensor:
    """0: every element, 1: their mean, 2: their sum."""
    if how == 0:
        return each
    dims = dims_of(each, None)
    return (mean_over if how == 1 else sum_over)(c, each, dims, each.dtype)


@lowers("aten.mse_loss")
def mse_loss(c: Conversion, x: Tensor, target: Tensor, how: int = 1) -> Tensor:
    t = c.out.compute

    def fn(b: Body, v: SSAValue, w: SSAValue) -> SSAValue:
        gap = b.sub(v, w, t)
        return b.mul(gap, gap, t)

    return _reduced_loss(c, elementwise(c, [x, target], c.out, fn), how)


@lowers("aten._trilinear")
def trilinear(
    c: Conversion,
    a: Tensor,
    b: Tensor,
    d: Tensor,
    expand_a: Sequence[int],
    expand_b: Sequence[int],
    expand_d: Sequence[int],
    summed: Sequence[int],
    _: int = 1,
) -> Tensor:
    """Sum over `summed` of the product of three tensors, each with unit dims put in."""
    wide = []
    for x, dims in ((a, expand_a), (b, expand_b), (d, expand_d)):
        for at in sorted(dims):
            x = unsqueeze(c, x, at)
        wide.append(x)
    t = c.out.compute
    if not summed:
        return elementwise(c, wide, c.out, lambda body, x, y, z: body.mul(body.mul(x, y, t), z, t))
    rank = wide[0].rank
    kinds = [x.dtype for x in wide]

    def fn(body: Body, *v: SSAValue) -> SSAValue:
        x, y, z = (body.cast(e, k, t) for e, k in zip(v, kinds, strict=False))
        return body.add(v[3], body.mul(body.mul(x, y, t), z, t), t)

    (out,) = reduce(c, wide, [n % rank for n in summed], t, 0, fn)
    return cast(c, out, c.out)


@lowers("aten.bucketize.Scalar")
def bucketize_scalar(c: Conversion, x: Number, edges: Tensor, *options: bool) -> Tensor:
    return bucketize(c, _number(c, x, edges), edges, *options)


@lowers("aten.searchsorted.Scalar")
def searchsorted_scalar(c: Conversion, edges: Tensor, x: Number, *options: object) -> Tensor:
    return searchsorted(c, edges, _number(c, x, edges), *options)  # pyright: ignore[reportArgumentType]


def _number(c: Conversion, x: Number, edges: Tensor) -> Tensor:
    """A Python number beside a tensor: in its dtype, or the default one where that is of a lower kind."""
    raises = isinstance(x, float) and not edges.dtype.is_float
    return c.full((), F32 if raises else edges.dtype, x)


@lowers("aten.bucketize.Tensor")
def bucketize(c: Conversion, x: Tensor, edges: Tensor, out_int32: bool = False, right: bool = False) -> Tensor:
    return cast(c, count_before(c, x, edges, right), c.out)


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
        edges = gather(c, edges, -1, sorter)
    return cast(c, count_before(c, x, edges, right or side == "right"), c.out)


def count_before(c: Conversion, x: Tensor, edges: Tensor, right: bool) -> Tensor:
    """Where binary search along the last dim of `edges` puts each element; NaN goes last. Several rows of edges: each
    for the elements in the same row."""
    t = result_type([x, edges]).compute
    for i in range(edges.rank - 1):
        c.demand(edges.shape[i], "eq", x.shape[i], "there are other rows of edges than of elements")
    whole = c.plain(edges).value
    total = edges.shape[-1]
    size, digits = c.dims.value(total), c.dims.value(bit_count(c, total))

    def fn(b: Body, at: list[SSAValue], v: SSAValue) -> SSAValue:
        v = b.cast(v, x.dtype, t)
        row = at[:-1] if edges.rank > 1 else []

        def past(inner: Body, place: SSAValue) -> SSAValue:
            edge = inner.cast(inner.extract(whole, [*row, place]), edges.dtype, t)
            stays = inner.compare("gt" if right else "ge", edge, v, t)
            return inner.logical_not(stays)

        return b.from_index(halved(b, size, digits, past), I64)

    return indexed(c, x.shape, I64, fn, [x])


@lowers("aten._fused_rms_norm")
def fused_rms_norm(
    c: Conversion, x: Tensor, shape: Sequence[int], weight: Tensor | None, eps: float | None
) -> tuple[Tensor, Tensor]:
    assert c.operation is not None
    if c.operation.results[1].first_use:
        raise c.refuse("the inverse deviations have no lowering")
    return rms_norm(c, x, shape, weight, eps), c.full((0,), x.dtype, 0)


@lowers("aten._scaled_dot_product_flash_attention_for_cpu")
def flash_attention(
    c: Conversion,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout: float = 0.0,
    causal: bool = False,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    assert c.operation is not None
    if c.operation.results[1].first_use:
        raise c.refuse("the log-sum-exp of attention has no lowering")
    out = scaled_dot_product_attention(c, query, key, value, mask, dropout, causal, scale)
    return out, c.full((0,), query.dtype, 0)


def _indices(c: Conversion, rows: int, columns: int, offset: int, *, lower: bool) -> Tensor:
    keep = np.tril if lower else np.triu
    return table(c, np.stack(np.nonzero(keep(np.ones((rows, columns)), offset))).astype(np.int64), I64)


@lowers("aten.tril_indices")
def tril_indices(c: Conversion, rows: int, columns: int, offset: int = 0, *_: object) -> Tensor:
    return cast(c, _indices(c, rows, columns, offset, lower=True), c.out)


@lowers("aten.triu_indices")
def triu_indices(c: Conversion, rows: int, columns: int, offset: int = 0, *_: object) -> Tensor:
    return cast(c, _indices(c, rows, columns, offset, lower=False), c.out)


@lowers("aten._local_scalar_dense", "aten.item")
def item(c: Conversion, x: Tensor) -> Number | Scalar:
    if x.splat is not None:
        return x.splat
    body = Body(c.block, c.location)
    value = c.realize(x, ())
    element = body.extract(value, [])
    t = x.dtype
    if t.is_bool:
        return Scalar(element, t)
    if t.is_float:
        return Scalar(body.cast(element, t, F64), F64)
    return Scalar(body.to_index(body.cast(element, t, I64)), I64)
