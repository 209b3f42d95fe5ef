"""Convolutions of padded inputs without bias: the named 2-D op where there is one, else `linalg.generic`; padding.

One-dimensional ones run as two-dimensional ones of height one.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import tensor
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Block, Region, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineExpr

from mlc.dialects.linalg.structured_ops import DepthwiseConv2DNchwChwOp, pair
from mlc.lowering.torch.to_linalg.dims import Dim, mlir_shape
from mlc.lowering.torch.to_linalg.emitter import expr_map
from mlc.lowering.torch.to_linalg.registry import Conversion
from mlc.lowering.torch.to_linalg.tensor import Number, Tensor, plain
from mlc.lowering.torch.to_linalg.view import drop_dims, sliced, unsqueeze


def padded(c: Conversion, x: Tensor, low: Sequence[Dim], high: Sequence[Dim], value: Number | SSAValue) -> Tensor:
    """`x` with `low`/`high` elements of `value` around it; negative ones cut."""
    for d in range(x.rank):
        before, after = low[d], high[d]
        cut_before = -before if isinstance(before, int) and before < 0 else 0
        cut_after = -after if isinstance(after, int) and after < 0 else 0
        if cut_before or cut_after:
            x = cut(c, x, d, cut_before, cut_after)
    low = [max(n, 0) if isinstance(n, int) else n for n in low]
    high = [max(n, 0) if isinstance(n, int) else n for n in high]
    if all(n == 0 for n in (*low, *high)):
        return x
    x = c.plain(x)
    scalar = value if isinstance(value, SSAValue) else c.number(value, x.dtype)
    block = Block(arg_types=[c.index(0).type] * x.rank)
    block.add_op(tensor.YieldOp(scalar))
    shape = tuple(c.dims.add(s, c.dims.add(a, b)) for s, a, b in zip(x.shape, low, high, strict=True))
    op = tensor.PadOp(
        x.value,
        [n for n in low if isinstance(n, SSAValue)],
        [n for n in high if isinstance(n, SSAValue)],
        Region(block),
        mlir_shape(low),
        mlir_shape(high),
        c.type_of(shape, x.dtype),
    )
    return plain(c.emit(op).results[0], x.dtype, shape)


def cut(c: Conversion, x: Tensor, d: int, before: int, behind: int) -> Tensor:
    """`x` without the first and last elements of dimension `d`, which must be there."""
    c.demand(x.shape[d], "ge", before + behind, f"dimension {d} is smaller than what is cut away")
    return sliced(c, x, d, before, c.dims.maximum(c.dims.sub(x.shape[d], before + behind), 0))


def window_count(c: Conversion, size: Dim, window: int, stride: int, dilation: int) -> Dim:
    """How many windows fit into a padded dimension."""
    return c.dims.add(c.dims.floordiv(c.dims.sub(size, dilation * (window - 1) + 1), stride), 1)


def spread(values: Sequence[int] | int, n: int) -> list[int]:
    """One number for all spatial dims, or one each."""
    given = [values] if isinstance(values, int) else list(values)
    return given * n if len(given) == 1 else given


def convolve(
    c: Conversion,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Convolution of an already padded (N, C, spatial…) input, without bias."""
    spatial = x.rank - 2
    if spatial == 1:
        flat = convolve(c, unsqueeze(c, x, 2), unsqueeze(c, weight, 2), (1, *stride), (1, *dilation), groups)
        return drop_dims(flat, [2])
    c.demand(x.shape[1], "eq", c.dims.mul(weight.shape[1], groups), "the filters have other channels than the input")
    t = x.dtype
    out_spatial = [
        window_count(c, x.shape[2 + i], window_of(c, weight.shape[2 + i]), stride[i], dilation[i])
        for i in range(spatial)
    ]
    shape = (x.shape[0], weight.shape[0], *out_spatial)
    init = c.fill(shape, t, 0)
    depthwise = groups > 1 and groups == x.shape[1] == weight.shape[0]
    if spatial == 2 and (groups == 1 or depthwise):
        steps = {"strides": pair(stride[0], stride[1]), "dilations": pair(dilation[0], dilation[1])}
        if groups == 1:
            value = c.op(
                linalg.Conv2DNchwFchwOp, [c.plain(x).value, c.plain(weight).value], [init], [init.type], **steps
            )
        else:
            kernel = c.realize(weight, ((0, 1), (2,), (3,)))
            value = c.op(DepthwiseConv2DNchwChwOp, [c.plain(x).value, kernel], [init], [init.type], **steps)
        return plain(value, t, shape)
    return _generic_convolution(c, x, weight, init, shape, stride, dilation, groups)


def window_of(c: Conversion, size: Dim) -> int:
    """A size of a kernel, which must be known."""
    if not isinstance(size, int):
        raise c.refuse("a convolution kernel of dynamic size has no lowering")
    return size


def _generic_convolution(
    c: Conversion,
    x: Tensor,
    weight: Tensor,
    init: SSAValue,
    shape: tuple[Dim, ...],
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """out[n, g, o, s] += x[n, g, i, s * stride + k * dilation] * weight[g, o, i, k]"""
    t, spatial = x.dtype, x.rank - 2
    batch, _, *size = x.shape
    outs, each, *kernel = weight.shape
    per_group = c.dims.floordiv(outs, groups)
    grouped_x = c.plain(c.viewed(x, (batch, groups, each, *size)))
    grouped_w = c.plain(c.viewed(weight, (groups, per_group, each, *kernel)))
    out_shape = (batch, groups, per_group, *shape[2:])
    out = c.reshape(init, shape, out_shape, t)
    loops = 4 + 2 * spatial
    dim = [AffineDimExpr(i) for i in range(loops)]
    n, g, o, i = dim[0], dim[1], dim[2], dim[3 + spatial]
    places: list[AffineExpr] = [dim[3 + s] * stride[s] + dim[4 + spatial + s] * dilation[s] for s in range(spatial)]
    x_map = expr_map(loops, [n, g, i, *places])
    w_map = expr_map(loops, [g, o, i, *dim[4 + spatial :]])
    out_map = expr_map(loops, [n, g, o, *dim[3 : 3 + spatial]])
    (value,) = c.generic(
        [(grouped_x.value, x_map), (grouped_w.value, w_map)],
        [(out, out_map)],
        "p" * (3 + spatial) + "r" * (1 + spatial),
        lambda body, a, b, acc: body.add(acc, body.mul(a, b, t), t),
    )
    return plain(c.reshape(value, out_shape, shape, t), t, shape)
