"""Convolutions: zero padding by `tensor.pad`, then the named 2-D op where there is one, else `linalg.generic`.

One-dimensional ones run as two-dimensional ones of height one. The bias is an elementwise op afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects import arith, tensor
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Block, Region, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineExpr

from mlc.dialects.linalg.structured_ops import DepthwiseConv2DNchwChwOp, pair
from mlc.lowering.torch.to_linalg.binary import binary
from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import gathered
from mlc.lowering.torch.to_linalg.dims import Dim, mlir_shape
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.emitter import expr_map
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.tensor import Number, Tensor, plain
from mlc.lowering.torch.to_linalg.view import concatenated, drop_dims, sliced, unsqueeze


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
    t = x.dtype
    out_spatial = [
        window_count(c, x.shape[2 + i], _window(c, weight.shape[2 + i]), stride[i], dilation[i]) for i in range(spatial)
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


def _window(c: Conversion, size: Dim) -> int:
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


def convolution_of(
    c: Conversion,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int] | int,
    padding: Sequence[int] | int | str,
    dilation: Sequence[int] | int,
    groups: int,
    transposed: bool = False,
    output_padding: Sequence[int] | int = 0,
) -> Tensor:
    spatial = weight.rank - 2
    batched = x.rank == weight.rank
    x = x if batched else unsqueeze(c, x, 0)
    stored = x.dtype
    x, weight = cast(c, x, stored.compute), cast(c, weight, stored.compute)
    strides, dilations = spread(stride, spatial), spread(dilation, spatial)
    low, high = _padding(c, padding, weight, dilations)
    if transposed:
        out = _transposed(c, x, weight, strides, dilations, low, spread(output_padding, spatial), groups)
    else:
        out = convolve(c, padded(c, x, [0, 0, *low], [0, 0, *high], 0), weight, strides, dilations, groups)
    if bias is not None:
        shaped = c.viewed(cast(c, bias, out.dtype), (1, bias.shape[0], *(1,) * spatial))
        out = binary(c, "add", out, shaped, out.dtype)
    out = cast(c, out, stored)
    return out if batched else drop_dims(out, [0])


def _padding(
    c: Conversion, padding: Sequence[int] | int | str, weight: Tensor, dilation: Sequence[int]
) -> tuple[list[int], list[int]]:
    spatial = weight.rank - 2
    if padding == "valid":
        return [0] * spatial, [0] * spatial
    if padding == "same":
        total = [d * (_window(c, k) - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        return [n // 2 for n in total], [n - n // 2 for n in total]
    assert not isinstance(padding, str)
    amounts = spread(padding, spatial)
    return amounts, amounts


def _transposed(
    c: Conversion,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    spatial = weight.rank - 2
    kernel = list(weight.shape[2:])
    direct = kernel == [3, 3] and list(stride) == [2, 2]  # Winograd's filtering and depthwise kernels are as fast
    if any(s > 1 for s in stride) and all(d == 1 for d in dilation) and not direct:
        return _by_phases(c, x, weight, stride, padding, output_padding, groups)
    x, weight = _dilated_input(c, x, weight, stride, dilation, padding, output_padding, groups)
    return convolve(c, x, weight, [1] * spatial, dilation, groups)


def _by_phases(
    c: Conversion,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """A transposed convolution without zeros between the elements.

    The elements o * stride + r of a result, a phase, meet the taps r, r + stride, … of the kernel. An ordinary
    convolution has those of each r as channels of their own; they are then put in turns, and the padding is cut away.
    Phases of fewer taps are another convolution: filled up with zeros, infinities would become NaN.
    """
    spatial = weight.rank - 2
    ins, outs = weight.shape[:2]
    each, kernel = c.dims.floordiv(ins, groups), [_window(c, k) for k in weight.shape[2:]]
    most = [-(-k // s) for k, s in zip(kernel, stride, strict=True)]
    fill = [t * s - k for t, k, s in zip(most, kernel, stride, strict=True)]
    whole = padded(c, weight, [0] * weight.rank, [0, 0, *fill], 0)
    split = c.viewed(whole, (groups, each, outs, *(n for pair in zip(most, stride, strict=True) for n in pair)))
    moved = c.permuted(split, [0, *range(4, split.rank, 2), 2, 1, *range(3, split.rank, 2)])
    first = [p // s for p, s in zip(padding, stride, strict=True)]
    ends = zip(kernel, padding, output_padding, stride, strict=True)
    high = [-(-(k - p + extra) // s) - 1 for k, p, extra, s in ends]
    sizes = [c.dims.add(x.shape[2 + i], high[i] - first[i]) for i in range(spatial)]

    def phases(chosen: list[tuple[int, int, int]]) -> Tensor:
        """Those that are chosen by dimension: the first, how many, their taps."""
        d = len(chosen)
        if d < spatial:
            full = stride[d] - fill[d]
            ways = [(0, full, most[d]), (full, fill[d], most[d] - 1)]
            parts = [phases([*chosen, way]) for way in ways if way[1]]
            return concatenated(c, parts, 2 + d)
        counts, taps = [n for _, n, _ in chosen], [t for _, _, t in chosen]
        shape = (x.shape[0], groups, *counts, outs, *sizes)
        if 0 in taps:
            return c.full(shape, x.dtype, 0)
        part = moved
        for i, (start, count, few) in enumerate(chosen):
            part = sliced(c, sliced(c, part, 1 + i, start, count), 3 + spatial + i, 0, few)
        part = c.viewed(part, (c.dims.mul(groups * prod(counts), outs), each, *taps))
        low = [t - 1 - f for t, f in zip(taps, first, strict=True)]
        image = padded(c, x, [0, 0, *low], [0, 0, *high], 0)
        return c.viewed(convolve(c, image, _turned(c, part), [1] * spatial, [1] * spatial, groups), shape)

    turns = [d for i in range(spatial) for d in (3 + spatial + i, 2 + i)]
    out = c.permuted(phases([]), [0, 1, 2 + spatial, *turns])
    long = [c.dims.mul(n, s) for n, s in zip(sizes, stride, strict=True)]
    out = c.viewed(out, (x.shape[0], c.dims.mul(groups, outs), *long))
    for i, (k, p, extra, s) in enumerate(zip(kernel, padding, output_padding, stride, strict=True)):
        size = c.dims.add(c.dims.mul(c.dims.sub(x.shape[2 + i], 1), s), k - 2 * p + extra)
        out = sliced(c, out, 2 + i, p - first[i] * s, size)
    return out


def _turned(c: Conversion, weight: Tensor) -> Tensor:
    """A kernel turned around."""
    kernel = [_window(c, k) for k in weight.shape[2:]]

    def turned(body: Body, i: list[SSAValue]) -> list[SSAValue]:
        return [*i[:2], *(body.op(arith.SubiOp, body.index(k - 1), v) for k, v in zip(kernel, i[2:], strict=True))]

    return gathered(c, weight, weight.shape, turned)


def _dilated_input(
    c: Conversion,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
) -> tuple[Tensor, Tensor]:
    """Input and kernel of the ordinary convolution that a transposed one is.

    The input gets `stride - 1` zeros between elements and a border; the kernel is turned around and its channels
    swapped: (in, out / groups, …) to (out, in / groups, …).
    """
    spatial = weight.rank - 2
    low = [dilation[i] * (_window(c, weight.shape[2 + i]) - 1) - padding[i] for i in range(spatial)]
    high = [n + extra for n, extra in zip(low, output_padding, strict=True)]
    if all(s == 1 for s in stride):
        x = padded(c, x, [0, 0, *low], [0, 0, *high], 0)
    else:
        sizes = [c.dims.add(c.dims.mul(c.dims.sub(x.shape[2 + i], 1), stride[i]), 1) for i in range(spatial)]
        zeros = c.fill((*x.shape[:2], *sizes), x.dtype, 0)
        value = _insert(c, c.plain(x), zeros, stride)
        x = plain(value, x.dtype, (*x.shape[:2], *sizes))
        x = padded(c, x, [0, 0, *low], [0, 0, *high], 0)
    kernel = weight.shape[2:]
    ins, outs = weight.shape[0], weight.shape[1]
    each = c.dims.floordiv(ins, groups)
    split = c.viewed(weight, (groups, each, outs, *kernel))
    swapped = c.viewed(c.permuted(split, [0, 2, 1, *range(3, 3 + spatial)]), (c.dims.mul(groups, outs), each, *kernel))
    return x, _turned(c, swapped)


def _insert(c: Conversion, x: Tensor, into: SSAValue, stride: Sequence[int]) -> SSAValue:
    op = tensor.InsertSliceOp.get(
        x.value,
        into,
        static_sizes=list(mlir_shape(x.shape)),
        sizes=[d for d in x.shape if isinstance(d, SSAValue)],
        static_offsets=[0] * x.rank,
        static_strides=[1, 1, *stride],
    )
    return c.emit(op).results[0]


@lowers(
    "aten.conv1d", "aten.conv2d", "aten.conv3d", "aten.conv1d.padding", "aten.conv2d.padding", "aten.conv3d.padding"
)
def conv(
    c: Conversion,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] | int = 1,
    padding: Sequence[int] | int | str = 0,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
) -> Tensor:
    return convolution_of(c, x, weight, bias, stride, padding, dilation, groups)


@lowers("aten.conv_transpose1d", "aten.conv_transpose2d.input", "aten.conv_transpose3d.input")
def conv_transpose(
    c: Conversion,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
) -> Tensor:
    c.need(x, range(x.rank - weight.rank + 2, x.rank))
    return convolution_of(c, x, weight, bias, stride, padding, dilation, groups, True, output_padding)


@lowers("aten.convolution", "aten._convolution", "aten._convolution.deprecated", "aten.convolution_overrideable")
def convolution(
    c: Conversion,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    *_: object,
) -> Tensor:
    return convolution_of(c, x, weight, bias, stride, padding, dilation, groups, transposed, output_padding)


@lowers("aten.conv_tbc")
def conv_tbc(c: Conversion, x: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """Convolution over time of (time, batch, channels) by (kernel, in, out)."""
    out = convolution_of(c, c.permuted(x, (1, 2, 0)), c.permuted(weight, (2, 1, 0)), bias, 1, pad, 1, 1)
    return c.permuted(out, (2, 0, 1))
