"""Convolutions of every kind: which form computes them, and the bias, an elementwise op afterwards."""

from __future__ import annotations

from collections.abc import Sequence

from mlc.lowering.torch.to_linalg.binary import binary
from mlc.lowering.torch.to_linalg.dilated_convolution import convolve_dilated
from mlc.lowering.torch.to_linalg.direct_convolution import convolve, padded, spread, window_of
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.tensor import Tensor
from mlc.lowering.torch.to_linalg.transposed_convolution import convolve_transposed
from mlc.lowering.torch.to_linalg.view import drop_dims, unsqueeze


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
        out = convolve_transposed(c, x, weight, strides, dilations, low, spread(output_padding, spatial), groups)
    else:
        out = None
        if groups == 1 and all(s == 1 for s in strides):
            out = convolve_dilated(c, x, weight, low, high, dilations)
        if out is None:
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
        total = [d * (window_of(c, k) - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        return [n // 2 for n in total], [n - n // 2 for n in total]
    assert not isinstance(padding, str)
    amounts = spread(padding, spatial)
    return amounts, amounts


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
