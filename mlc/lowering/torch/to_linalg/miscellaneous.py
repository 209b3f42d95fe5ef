"""Ops made of others: losses, gated units, bucket search, sampling at given points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects import arith, math
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.activations import leaky_relu
from mlc.lowering.torch.to_linalg.attention import scaled_dot_product_attention
from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dtypes import F64, I64, DType
from mlc.lowering.torch.to_linalg.elementwise import cast, clamp, unary
from mlc.lowering.torch.to_linalg.normalization import rms_norm
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


@lowers("aten.grid_sampler_2d", "aten.grid_sampler")
def grid_sampler(
    c: Conversion, x: Tensor, grid: Tensor, mode: int = 0, padding: int = 0, align: bool = False
) -> Tensor:
    """Bilinear (0) or nearest (1) samples of x at (x, y) points in -1..1; outside: zeros (0) or the border (1)."""
    if mode not in (0, 1) or padding not in (0, 1) or x.rank != 4:
        raise c.refuse("only bilinear and nearest sampling of images with zero or border padding has a lowering")
    t = x.dtype
    whole, points = c.plain(x).value, c.plain(grid).value
    sizes = [c.dims.value(s) for s in x.shape[2:]]
    outer = Body(c.block, c.location)
    extent = [outer.from_index(s, t) for s in sizes]
    shape = (*x.shape[:2], *grid.shape[1:3])

    def fn(b: Body, at: list[SSAValue]) -> SSAValue:
        n, channel, i, j = at
        place = [_source(b, b.extract(points, [n, i, j, b.index(1 - a)]), extent[a], t, align, padding) for a in (0, 1)]
        if mode == 1:
            return _sample(b, whole, n, channel, [b.op(math.RoundEvenOp, p) for p in place], sizes, extent, t)
        low = [b.op(math.FloorOp, p) for p in place]
        total: SSAValue | None = None
        for dy in (0, 1):
            for dx in (0, 1):
                corner = [b.add(v, b.const(float(k), t), t) for v, k in zip(low, (dy, dx), strict=True)]
                weights = [
                    b.sub(p, v, t) if k else b.sub(b.add(v, b.const(1.0, t), t), p, t)
                    for p, v, k in zip(place, low, (dy, dx), strict=True)
                ]
                term = b.mul(
                    _sample(b, whole, n, channel, corner, sizes, extent, t), b.mul(weights[0], weights[1], t), t
                )
                total = term if total is None else b.add(total, term, t)
        assert total is not None
        return total

    return indexed(c, shape, t, fn)


def _source(b: Body, v: SSAValue, extent: SSAValue, t: DType, align: bool, padding: int) -> SSAValue:
    """A coordinate in -1..1 as a position among pixels."""
    one, half = b.const(1.0, t), b.const(0.5, t)
    shifted = b.add(v, one, t)
    if align:
        place = b.mul(b.mul(shifted, half, t), b.sub(extent, one, t), t)
    else:
        place = b.mul(b.sub(b.mul(shifted, extent, t), one, t), half, t)
    if padding == 1:
        low, high = b.const(0.0, t), b.sub(extent, one, t)
        place = b.select(b.compare("gt", place, low, t), place, low)
        place = b.select(b.compare("lt", place, high, t), place, high)
    return place


def _sample(
    b: Body,
    whole: SSAValue,
    n: SSAValue,
    channel: SSAValue,
    place: list[SSAValue],
    sizes: list[SSAValue],
    extent: list[SSAValue],
    t: DType,
) -> SSAValue:
    """The pixel at a whole position, zero outside."""
    zero = b.const(0.0, t)
    inside: SSAValue | None = None
    at: list[SSAValue] = []
    for p, limit in zip(place, extent, strict=True):
        within = b.logical_and(b.compare("ge", p, zero, t), b.compare("lt", p, limit, t))
        inside = within if inside is None else b.logical_and(inside, within)
        safe = b.select(within, p, zero)
        at.append(b.to_index(b.op(arith.FPToSIOp, safe, I64.mlir)))
    assert inside is not None
    return b.select(inside, b.extract(whole, [n, channel, *at]), zero)
