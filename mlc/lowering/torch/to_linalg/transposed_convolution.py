"""Transposed convolutions: by phases or by taps where a stride would put zeros between the elements, else as the
ordinary convolution that they are."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects import arith, tensor
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import gathered
from mlc.lowering.torch.to_linalg.dilated_convolution import by_taps
from mlc.lowering.torch.to_linalg.dims import mlir_shape
from mlc.lowering.torch.to_linalg.direct_convolution import convolve, padded, window_of
from mlc.lowering.torch.to_linalg.registry import Conversion
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain
from mlc.lowering.torch.to_linalg.view import concatenated, sliced


def convolve_transposed(
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
    if any(s > 1 for s in stride) and any(d > 1 for d in dilation) and _known(x, weight):
        return _by_taps(c, x, weight, stride, dilation, padding, output_padding, groups)
    x, weight = _dilated_input(c, x, weight, stride, dilation, padding, output_padding, groups)
    return convolve(c, x, weight, [1] * spatial, dilation, groups)


def _known(*tensors: Tensor) -> bool:
    return all(isinstance(n, int) for t in tensors for n in t.shape)


def _by_taps(
    c: Conversion,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """Where both stride and dilation leave gaps: every tap's product with the input, added where it belongs."""
    image, kernel = ([window_of(c, n) for n in t.shape[2:]] for t in (x, weight))
    ends = zip(image, kernel, stride, dilation, padding, output_padding, strict=True)
    out = [(n - 1) * s + d * (k - 1) + 1 - 2 * p + extra for n, k, s, d, p, extra in ends]
    places = [[k * d - p for k in range(n)] for n, d, p in zip(kernel, dilation, padding, strict=True)]
    swapped = _channels_swapped(c, weight, groups)

    def of_tap(tap: tuple[int, ...]) -> Tensor:
        part = swapped
        for d, k in enumerate(tap):
            part = sliced(c, part, 2 + d, k, 1)
        return part

    return by_taps(c, x, out, places, stride, of_tap, groups)


def _channels_swapped(c: Conversion, weight: Tensor, groups: int) -> Tensor:
    """(in, out / groups, …) as (out, in / groups, …)."""
    ins, outs, *kernel = weight.shape
    each = c.dims.floordiv(ins, groups)
    split = c.viewed(weight, (groups, each, outs, *kernel))
    swapped = c.permuted(split, [0, 2, 1, *range(3, 3 + len(kernel))])
    return c.viewed(swapped, (c.dims.mul(groups, outs), each, *kernel))


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
    each, kernel = c.dims.floordiv(ins, groups), [window_of(c, k) for k in weight.shape[2:]]
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
    kernel = [window_of(c, k) for k in weight.shape[2:]]

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
    low = [dilation[i] * (window_of(c, weight.shape[2 + i]) - 1) - padding[i] for i in range(spatial)]
    high = [n + extra for n, extra in zip(low, output_padding, strict=True)]
    if all(s == 1 for s in stride):
        x = padded(c, x, [0, 0, *low], [0, 0, *high], 0)
    else:
        sizes = [c.dims.add(c.dims.mul(c.dims.sub(x.shape[2 + i], 1), stride[i]), 1) for i in range(spatial)]
        zeros = c.fill((*x.shape[:2], *sizes), x.dtype, 0)
        value = _insert(c, c.plain(x), zeros, stride)
        x = plain(value, x.dtype, (*x.shape[:2], *sizes))
        x = padded(c, x, [0, 0, *low], [0, 0, *high], 0)
    return x, _turned(c, _channels_swapped(c, weight, groups))


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
