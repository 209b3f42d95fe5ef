"""Whole tensors rearranged: pixels and channels shuffled, elements rolled round."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith

from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.tensor import Tensor
from mlc.lowering.torch.to_linalg.view import concatenated, sliced


@lowers("aten.pixel_shuffle")
def pixel_shuffle(c: Conversion, x: Tensor, factor: int) -> Tensor:
    *lead, channels, height, width = x.shape
    n = len(lead)
    squares = c.dims.floordiv(channels, factor * factor)
    c.demand(c.dims.mul(squares, factor * factor), "eq", channels, "the channels are no multiple of a square of pixels")
    split_up = c.viewed(x, (*lead, squares, factor, factor, height, width))
    moved = c.permuted(split_up, [*range(n + 1), n + 3, n + 1, n + 4, n + 2])
    return c.viewed(
        moved,
        (*lead, squares, c.dims.mul(height, factor), c.dims.mul(width, factor)),
    )


@lowers("aten.pixel_unshuffle")
def pixel_unshuffle(c: Conversion, x: Tensor, factor: int) -> Tensor:
    *lead, channels, height, width = x.shape
    n = len(lead)
    h, w = c.dims.floordiv(height, factor), c.dims.floordiv(width, factor)
    for part, size in ((h, height), (w, width)):
        c.demand(c.dims.mul(part, factor), "eq", size, "height and width must be multiples of the factor")
    split_up = c.viewed(x, (*lead, channels, h, factor, w, factor))
    moved = c.permuted(split_up, [*range(n + 1), n + 2, n + 4, n + 1, n + 3])
    return c.viewed(moved, (*lead, c.dims.mul(channels, factor * factor), h, w))


@lowers("aten.channel_shuffle", "aten.native_channel_shuffle")
def channel_shuffle(c: Conversion, x: Tensor, groups: int) -> Tensor:
    batch, channels, *rest = x.shape
    each = c.dims.floordiv(channels, groups)
    c.demand(c.dims.mul(each, groups), "eq", channels, "the channels are no multiple of the groups")
    split_up = c.viewed(x, (batch, groups, each, *rest))
    return c.viewed(c.permuted(split_up, [0, 2, 1, *range(3, 3 + len(rest))]), x.shape)


@lowers("aten.roll")
def roll(c: Conversion, x: Tensor, shifts: Sequence[int] | int, dims: Sequence[int] | int = ()) -> Tensor:
    amounts = [shifts] if isinstance(shifts, int) else list(shifts)
    axes = [dims] if isinstance(dims, int) else list(dims)
    if not axes:
        flat = c.viewed(x, (c.dims.product(x.shape),))
        return c.viewed(_rolled(c, flat, amounts[0], 0), x.shape)
    for amount, dim in zip(amounts, axes, strict=True):
        x = _rolled(c, x, amount, x.dim(dim))
    return x


def _rolled(c: Conversion, x: Tensor, amount: int, d: int) -> Tensor:
    size = x.shape[d]
    if not isinstance(size, int):
        steps = c.dims.value(c.dims.maximum(size, 1))
        turned = c.op(arith.RemSIOp, c.index(-amount), steps)  # in -size..size
        at: Dim = c.wrap_index(turned, size)
        return concatenated(c, [sliced(c, x, d, at, c.dims.sub(size, at)), sliced(c, x, d, 0, at)], d, size)
    at = -amount % size if size else 0
    if at == 0:
        return x
    return concatenated(c, [sliced(c, x, d, at, size - at), sliced(c, x, d, 0, at)], d)
