"""Result types of convolutions, pooling and resampling."""

from __future__ import annotations

from typing import Any

from mlc.dialects.torch.inference import aten, infers
from mlc.dialects.torch.shapes import (
    Size,
    dims,
    known,
    like,
    product,
    sizes_of,
    spread,
    window,
)
from mlc.dialects.torch.types import si64


def _convolved(x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, rank: int) -> Any:
    shape, kernel = dims(x), dims(weight)
    batch = shape[: len(shape) - rank - 1]
    strides, dilations = spread(stride, rank), spread(dilation, rank)
    if isinstance(padding, str):
        out = [
            size if padding == "same" else _window(size, kernel[2 + i], strides[i], 0, dilations[i])
            for i, size in enumerate(shape[len(shape) - rank :])
        ]
    else:
        pads = spread(padding, rank)
        out = [
            _window(size, kernel[2 + i], strides[i], pads[i], dilations[i])
            for i, size in enumerate(shape[len(shape) - rank :])
        ]
    return like(x, (*batch, kernel[0], *out))


def _window(size: Size, kernel: Size, stride: int, padding: int, dilation: int) -> Size:
    return None if kernel is None else window(size, kernel, stride, padding, dilation)


@infers(*aten("conv1d conv2d conv3d conv1d.padding conv2d.padding conv3d.padding"))
def conv(x: Any, weight: Any, _bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, *_: Any) -> Any:
    """Windows along each spatial dimension."""
    return _convolved(x, weight, stride, padding, dilation, len(dims(weight)) - 2)


def _transposed(x: Any, weight: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any, groups: Any) -> Any:
    shape, kernel = dims(x), dims(weight)
    rank = len(kernel) - 2
    strides, pads, extra, dilations = (spread(v, rank) for v in (stride, padding, output_padding, dilation))
    out: list[Size] = []
    for i, size in enumerate(shape[len(shape) - rank :]):
        k = kernel[2 + i]
        known_size = (
            None if size is None or k is None else (size - 1) * strides[i] - 2 * pads[i] + dilations[i] * (k - 1)
        )
        out.append(None if known_size is None else known_size + extra[i] + 1)
    channels = product((kernel[1], known(groups)))
    return like(x, (*shape[: len(shape) - rank - 1], channels, *out))


@infers(*aten("conv_transpose1d conv_transpose2d.input conv_transpose3d.input"))
def conv_transpose(
    x: Any,
    weight: Any,
    _bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: Any = 1,
    dilation: Any = 1,
) -> Any:
    """The size whose convolution gives the input's."""
    return _transposed(x, weight, stride, padding, output_padding, dilation, groups)


@infers(*aten("convolution _convolution _convolution.deprecated convolution_overrideable"))
def convolution(
    x: Any,
    weight: Any,
    _bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: Any,
    output_padding: Any,
    groups: Any,
    *_: Any,
) -> Any:
    """Either kind."""
    if known(transposed):
        return _transposed(x, weight, stride, padding, output_padding, dilation, groups)
    return _convolved(x, weight, stride, padding, dilation, len(dims(weight)) - 2)


def _pooled(
    x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, rank: int
) -> tuple[Size, ...]:
    shape = dims(x)
    kernels = spread(kernel, rank)
    strides = kernels if not known(stride) else spread(stride, rank)
    pads, dilations = spread(padding, rank), spread(dilation, rank)
    start = len(shape) - rank
    return (
        *shape[:start],
        *(
            window(shape[start + i], kernels[i], strides[i], pads[i], dilations[i], bool(known(ceil_mode)))
            for i in range(rank)
        ),
    )


def _max_pool(rank: int):
    def rule(
        x: Any, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: Any = False
    ) -> Any:
        return like(x, _pooled(x, kernel, stride, padding, dilation, ceil_mode, rank))

    return rule


def _max_pool_indices(rank: int):
    def rule(
        x: Any, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: Any = False
    ) -> Any:
        shape = _pooled(x, kernel, stride, padding, dilation, ceil_mode, rank)
        return like(x, shape), like(x, shape, si64)

    return rule


def _avg_pool(rank: int):
    def rule(x: Any, kernel: Any, stride: Any = None, padding: Any = 0, ceil_mode: Any = False, *_: Any) -> Any:
        return like(x, _pooled(x, kernel, stride, padding, 1, ceil_mode, rank))

    return rule


def _adaptive(rank: int):
    def rule(x: Any, size: Any) -> Any:
        shape = dims(x)
        return like(x, (*shape[: len(shape) - rank], *_adaptive_sizes(size, shape, rank)))

    return rule


def _adaptive_indices(rank: int):
    def rule(x: Any, size: Any) -> Any:
        out = _adaptive(rank)(x, size)
        return out, like(out, dtype=si64)

    return rule


def _adaptive_sizes(size: Any, shape: tuple[Size, ...], rank: int) -> list[Size]:
    wanted = list(sizes_of(size))
    return wanted * rank if len(wanted) == 1 else wanted


for _rank in (1, 2, 3):
    infers(f"aten.max_pool{_rank}d")(_max_pool(_rank))
    infers(f"aten.max_pool{_rank}d_with_indices")(_max_pool_indices(_rank))
    infers(f"aten.avg_pool{_rank}d")(_avg_pool(_rank))
    infers(f"aten.adaptive_avg_pool{_rank}d")(_adaptive(_rank))
    infers(f"aten.adaptive_max_pool{_rank}d")(_adaptive_indices(_rank))


infers("aten._adaptive_avg_pool2d")(_adaptive(2))


infers("aten._adaptive_avg_pool3d")(_adaptive(3))


def _upsampled(rank: int):
    def rule(x: Any, size: Any, *_: Any) -> Any:
        return like(x, (*dims(x)[: len(dims(x)) - rank], *sizes_of(size)))

    return rule


def _upsampled_vec(rank: int):
    def rule(x: Any, size: Any, *rest: Any) -> Any:
        shape = dims(x)
        start = len(shape) - rank
        if known(size) is not None:
            return like(x, (*shape[:start], *sizes_of(size)))
        factors = known(rest[-1])
        out = [None if s is None else int(s * f) for s, f in zip(shape[start:], factors, strict=True)]
        return like(x, (*shape[:start], *out))

    return rule


for _name, _count in (
    ("nearest1d", 1),
    ("nearest2d", 2),
    ("nearest3d", 3),
    ("linear1d", 1),
    ("bilinear2d", 2),
    ("bicubic2d", 2),
):
    infers(f"aten.upsample_{_name}")(_upsampled(_count))
    infers(f"aten.upsample_{_name}.vec")(_upsampled_vec(_count))


for _name in ("bilinear2d", "bicubic2d"):
    infers(f"aten._upsample_{_name}_aa")(_upsampled(2))
    infers(f"aten._upsample_{_name}_aa.vec")(_upsampled_vec(2))


@infers(*aten("grid_sampler_2d grid_sampler_3d grid_sampler"))
def grid_sampler(x: Any, grid: Any, *_: Any) -> Any:
    """The input's channels on the grid."""
    return like(x, (*dims(x)[:2], *dims(grid)[1:-1]))
