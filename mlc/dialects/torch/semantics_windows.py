"""Meaning of ATen's convolutions, pooling and resampling."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from mlc.dialects.torch.numpy_values import Call, aten, pair, wide
from mlc.dialects.torch.semantics_nn import product_operand
from mlc.dialects.torch.shapes import window


def _padded(x: np.ndarray, pads: list[tuple[int, int]], value: Any = 0) -> np.ndarray:
    """`pads` around the last dimensions."""
    if not any(a or b for a, b in pads):
        return x
    return np.pad(x, [(0, 0)] * (x.ndim - len(pads)) + pads, constant_values=value)


def convolve(
    x: np.ndarray, weight: np.ndarray, stride: list[int], pads: list[tuple[int, int]], dilation: list[int], groups: int
) -> np.ndarray:
    """Sum over kernel positions of matrix products: no patch is ever copied more than once."""
    rank = weight.ndim - 2
    x, weight = _padded(product_operand(x, weight), pads), product_operand(weight, x)
    kernel = weight.shape[2:]
    out_size = [(x.shape[2 + i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(rank)]
    n, channels = x.shape[:2]
    out_channels = weight.shape[0]
    w = weight.reshape(groups, out_channels // groups, channels // groups, *kernel)
    out = np.zeros((n, groups, out_channels // groups, math.prod(out_size)), np.result_type(x, w))
    for position in itertools.product(*(range(k) for k in kernel)):
        cut = tuple(
            slice(p * dilation[i], p * dilation[i] + (out_size[i] - 1) * stride[i] + 1, stride[i])
            for i, p in enumerate(position)
        )
        patch = x[(slice(None), slice(None), *cut)].reshape(n, groups, channels // groups, -1)
        out += np.matmul(w[(slice(None), slice(None), slice(None), *position)], patch)
    return out.reshape(n, out_channels, *out_size)


def convolve_transposed(
    x: np.ndarray,
    weight: np.ndarray,
    stride: list[int],
    padding: list[int],
    output_padding: list[int],
    dilation: list[int],
    groups: int,
) -> np.ndarray:
    """Each input element adds its kernel to the output."""
    rank = weight.ndim - 2
    x, weight = product_operand(x, weight), product_operand(weight, x)
    kernel, sizes = weight.shape[2:], x.shape[2:]
    n, channels = x.shape[:2]
    each = weight.shape[1]
    full = [(sizes[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 + output_padding[i] for i in range(rank)]
    out = np.zeros((n, groups, each, *full), np.result_type(x, weight))
    parts = x.reshape(n, groups, channels // groups, -1)
    w = weight.reshape(groups, channels // groups, each, *kernel)
    for position in itertools.product(*(range(k) for k in kernel)):
        tap = np.swapaxes(w[(slice(None), slice(None), slice(None), *position)], 1, 2)
        cut = tuple(
            slice(p * dilation[i], p * dilation[i] + (sizes[i] - 1) * stride[i] + 1, stride[i])
            for i, p in enumerate(position)
        )
        out[(slice(None), slice(None), slice(None), *cut)] += np.matmul(tap, parts).reshape(n, groups, each, *sizes)
    crop = tuple(slice(padding[i], full[i] - padding[i]) for i in range(rank))
    return out.reshape(n, groups * each, *full)[(slice(None), slice(None), *crop)]


def _with_bias(out: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    return out if bias is None else out + wide(bias).reshape(1, -1, *(1,) * (out.ndim - 2))


def _batched(x: np.ndarray, rank: int) -> tuple[np.ndarray, bool]:
    """An input without batch gets one."""
    return (x[None], True) if x.ndim == rank + 1 else (x, False)


@aten("conv1d conv2d conv3d conv1d.padding conv2d.padding conv3d.padding")
def conv(
    _c: Call,
    x: np.ndarray,
    weight: np.ndarray,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Convolution; padding "same" or "valid" too."""
    rank = weight.ndim - 2
    dilations = pair(dilation, rank)
    if isinstance(padding, str):
        spans = [dilations[i] * (weight.shape[2 + i] - 1) if padding == "same" else 0 for i in range(rank)]
        pads = [(s // 2, s - s // 2) for s in spans]
    else:
        pads = [(p, p) for p in pair(padding, rank)]
    batch, added = _batched(x, rank)
    out = _with_bias(convolve(batch, weight, pair(stride, rank), pads, dilations, groups), bias)
    return out[0] if added else out


@aten("conv_transpose1d conv_transpose2d.input conv_transpose3d.input")
def conv_transpose(
    _c: Call,
    x: np.ndarray,
    weight: np.ndarray,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """Transposed convolution."""
    rank = weight.ndim - 2
    batch, added = _batched(x, rank)
    strides, pads, extra, dilations = (pair(v, rank) for v in (stride, padding, output_padding, dilation))
    out = _with_bias(convolve_transposed(batch, weight, strides, pads, extra, dilations, groups), bias)
    return out[0] if added else out


@aten("convolution _convolution _convolution.deprecated convolution_overrideable")
def convolution(
    c: Call,
    x: np.ndarray,
    weight: np.ndarray,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    *_: Any,
) -> Any:
    """Either kind of convolution."""
    if transposed:
        return conv_transpose(c, x, weight, bias, stride, padding, output_padding, groups, dilation)
    return conv(c, x, weight, bias, stride, padding, dilation, groups)


def _lowest(dtype: np.dtype[Any]) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _windows(x: np.ndarray, kernel: list[int], stride: list[int], dilation: list[int], out: list[int]) -> np.ndarray:
    """[..., out..., kernel...] views of the last dimensions."""
    rank = len(kernel)
    span = [dilation[i] * (kernel[i] - 1) + 1 for i in range(rank)]
    view = np.lib.stride_tricks.sliding_window_view(x, span, axis=tuple(range(x.ndim - rank, x.ndim)))
    steps = tuple(slice(0, (out[i] - 1) * stride[i] + 1, stride[i]) for i in range(rank))
    taps = tuple(slice(None, None, d) for d in dilation)
    return view[(..., *steps, *taps)]


def max_pool(
    x: np.ndarray, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, rank: int
) -> tuple[np.ndarray, np.ndarray]:
    """Largest in each window and its place in the plane: the first one, or the last NaN."""
    kernels = pair(kernel, rank)
    strides = pair(stride, rank) if stride else kernels
    pads, dilations = pair(padding, rank), pair(dilation, rank)
    sizes = x.shape[x.ndim - rank :]
    out = [window(sizes[i], kernels[i], strides[i], pads[i], dilations[i], ceil_mode) or 0 for i in range(rank)]
    need = [(out[i] - 1) * strides[i] + dilations[i] * (kernels[i] - 1) + 1 for i in range(rank)]
    around = [(pads[i], max(need[i] - sizes[i] - pads[i], 0)) for i in range(rank)]
    values = _windows(_padded(x, around, _lowest(x.dtype)), kernels, strides, dilations, out)
    plane = np.arange(math.prod(sizes)).reshape(sizes)
    places = _windows(_padded(plane, around, -1), kernels, strides, dilations, out).reshape(*out, -1)
    flat = values.reshape(*values.shape[: x.ndim], -1)
    real = places >= 0
    first = np.broadcast_to(np.argmax(real, -1), flat.shape[:-1])
    pick = np.argmax(flat, -1)
    if x.dtype.kind == "f":
        isnan = np.isnan(flat)
        last_nan = flat.shape[-1] - 1 - np.argmax(isnan[..., ::-1], -1)
        pick = np.where(isnan.any(-1), last_nan, pick)
    on_padding = ~np.take_along_axis(np.broadcast_to(real, flat.shape), pick[..., None], -1)[..., 0]
    pick = np.where(on_padding, first, pick)[..., None]
    best = np.take_along_axis(flat, pick, -1)[..., 0]
    return best, np.take_along_axis(np.broadcast_to(places, flat.shape), pick, -1)[..., 0]


def avg_pool(
    x: np.ndarray, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, include_pad: bool, divisor: Any, rank: int
) -> np.ndarray:
    """Mean of each window; what lies beyond the padding never counts."""
    kernels = pair(kernel, rank)
    strides = pair(stride, rank) if stride else kernels
    pads = pair(padding, rank)
    sizes = x.shape[x.ndim - rank :]
    out = [window(sizes[i], kernels[i], strides[i], pads[i], 1, ceil_mode) or 0 for i in range(rank)]
    need = [(out[i] - 1) * strides[i] + kernels[i] for i in range(rank)]
    around = [(pads[i], max(need[i] - sizes[i] - pads[i], 0)) for i in range(rank)]
    values = _windows(_padded(wide(x), around), kernels, strides, [1] * rank, out)
    sums = values.sum(axis=tuple(range(x.ndim, x.ndim + rank)))
    if divisor is not None:
        return sums / divisor
    counts: np.ndarray = np.ones(())
    for i in range(rank):
        start = np.arange(out[i]) * strides[i] - pads[i]
        end = np.minimum(start + kernels[i], sizes[i] + pads[i])
        length = end - start if include_pad else np.minimum(end, sizes[i]) - np.maximum(start, 0)
        counts = counts[..., None] * length
    return sums / counts


def _adaptive_bounds(size: int, out: int) -> list[tuple[int, int]]:
    return [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def adaptive_max_pool(x: np.ndarray, size: Any, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest in each of the parts that the plane is divided into, and its place."""
    wanted, sizes = pair(size, rank), x.shape[x.ndim - rank :]
    bounds = [_adaptive_bounds(sizes[i], wanted[i]) for i in range(rank)]
    lead = x.shape[: x.ndim - rank]
    values, places = np.zeros((*lead, *wanted), x.dtype), np.zeros((*lead, *wanted), np.int64)
    plane = np.arange(math.prod(sizes)).reshape(sizes)
    for where in itertools.product(*(range(w) for w in wanted)):
        cut = tuple(slice(*bounds[i][p]) for i, p in enumerate(where))
        part = x[(..., *cut)].reshape(*lead, -1)
        pick = np.argmax(part, -1)
        if x.dtype.kind == "f":
            isnan = np.isnan(part)
            pick = np.where(isnan.any(-1), part.shape[-1] - 1 - np.argmax(isnan[..., ::-1], -1), pick)
        values[(..., *where)] = np.take_along_axis(part, pick[..., None], -1)[..., 0]
        places[(..., *where)] = plane[cut].reshape(-1)[pick]
    return values, places


def adaptive_avg_pool(x: np.ndarray, size: Any, rank: int) -> np.ndarray:
    """Mean of each of the parts that the plane is divided into: one dimension after the other."""
    out = wide(x)
    wanted = pair(size, rank)
    for i in range(rank):
        at = x.ndim - rank + i
        parts = [
            out[(slice(None),) * at + (slice(a, b),)].mean(axis=at) for a, b in _adaptive_bounds(x.shape[at], wanted[i])
        ]
        out = np.stack(parts, axis=at) if parts else np.zeros((*out.shape[:at], 0, *out.shape[at + 1 :]))
    return out


def _register_pools(rank: int) -> None:
    def with_indices(
        _c: Call,
        x: np.ndarray,
        kernel: Any,
        stride: Any = (),
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> Any:
        return max_pool(x, kernel, stride, padding, dilation, ceil_mode, rank)

    def average(
        _c: Call,
        x: np.ndarray,
        kernel: Any,
        stride: Any = (),
        padding: Any = 0,
        ceil_mode: bool = False,
        include_pad: bool = True,
        divisor: Any = None,
    ) -> Any:
        return avg_pool(x, kernel, stride, padding, ceil_mode, include_pad, divisor, rank)

    aten(f"max_pool{rank}d_with_indices")(with_indices)
    aten(f"max_pool{rank}d")(lambda *a: with_indices(*a)[0])
    aten(f"avg_pool{rank}d")(average)
    aten(f"adaptive_max_pool{rank}d")(lambda _c, x, size: adaptive_max_pool(x, size, rank))
    aten(f"adaptive_avg_pool{rank}d")(lambda _c, x, size: adaptive_avg_pool(x, size, rank))


for _rank in (1, 2, 3):
    _register_pools(_rank)


@aten("_adaptive_avg_pool2d")
def core_adaptive_avg_pool2d(_c: Call, x: np.ndarray, size: Any) -> Any:
    """As adaptive_avg_pool2d."""
    return adaptive_avg_pool(x, size, 2)


@aten("_adaptive_avg_pool3d")
def core_adaptive_avg_pool3d(_c: Call, x: np.ndarray, size: Any) -> Any:
    """As adaptive_avg_pool3d."""
    return adaptive_avg_pool(x, size, 3)


# Resampling


def _scale(size: int, out: int, factor: float | None, align_corners: bool) -> float:
    if align_corners:
        return (size - 1) / (out - 1) if out > 1 else 0.0
    return 1 / factor if factor else size / out


def upsample_nearest(x: np.ndarray, sizes: list[int], factors: list[Any]) -> np.ndarray:
    """The source element under each target element; positions in float32 as PyTorch computes them.

    In two dimensions a size that stays or doubles does so element by element, whatever the factor.
    """
    for i, out in enumerate(sizes):
        at = x.ndim - len(sizes) + i
        whole = len(sizes) == 2 and out in (x.shape[at], 2 * x.shape[at])
        scale = np.float32(_scale(x.shape[at], out, None if whole else factors[i], False))
        index = np.minimum(np.floor(np.arange(out, dtype=np.float32) * scale).astype(np.int64), x.shape[at] - 1)
        x = np.take(x, index, axis=at)
    return x


def upsample_linear(x: np.ndarray, sizes: list[int], align_corners: bool, factors: list[Any]) -> np.ndarray:
    """Between the two nearest source elements, one dimension after the other; sizes that stay are copied."""
    out = wide(x)
    for i, size in enumerate(sizes):
        at = x.ndim - len(sizes) + i
        whole = x.shape[at]
        scale = _scale(whole, size, factors[i] if size != whole else None, align_corners)
        n = np.arange(size, dtype=np.float64)
        position = n * scale if align_corners else np.maximum((n + 0.5) * scale - 0.5, 0)
        low = np.minimum(np.floor(position).astype(np.int64), whole - 1)
        high = np.minimum(low + 1, whole - 1)
        weight = (position - low).reshape([-1 if d == at else 1 for d in range(x.ndim)])
        out = np.take(out, low, axis=at) * (1 - weight) + np.take(out, high, axis=at) * weight
    return out


def _target(c: Call, rank: int) -> list[int]:
    return list(c.shape()[-rank:])


def _register_upsample(kind: str, rank: int) -> None:
    name = f"upsample_{kind}{rank}d"
    if kind == "nearest":
        aten(name)(lambda _c, x, size, *f: upsample_nearest(x, list(size), list(f) or [None] * rank))
        aten(f"{name}.vec")(
            lambda c, x, size, factors: upsample_nearest(
                x, _target(c, rank), factors if size is None else [None] * rank
            )
        )
    else:
        aten(name)(lambda _c, x, size, align, *f: upsample_linear(x, list(size), align, list(f) or [None] * rank))
        aten(f"{name}.vec")(
            lambda c, x, size, align, factors: upsample_linear(
                x, _target(c, rank), align, factors if size is None else [None] * rank
            )
        )


for _kind, _count in (("nearest", 1), ("nearest", 2), ("nearest", 3), ("linear", 1), ("bilinear", 2)):
    _register_upsample(_kind, _count)
