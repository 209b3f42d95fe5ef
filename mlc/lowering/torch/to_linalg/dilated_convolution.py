"""Convolutions without the products that dilation spends on zeros, or in a form that minimal filtering takes.

by phases   a kernel of dilation d meets every d-th pixel only: each of the d x d phases of an image is an image of
            its own and the kernel is not dilated there, so that 3x3 kernels are Winograd's
by taps     one 1x1 convolution for each tap of the kernel, of those pixels alone that it meets inside of the image,
            added where they belong: far taps (dilation 12 of 33x33) meet mostly padding
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod

from mlc.lowering.torch.to_linalg.binary import binary
from mlc.lowering.torch.to_linalg.direct_convolution import convolve, padded, window_of
from mlc.lowering.torch.to_linalg.registry import Conversion
from mlc.lowering.torch.to_linalg.scatter import inserted
from mlc.lowering.torch.to_linalg.tensor import Tensor
from mlc.lowering.torch.to_linalg.view import sliced

LEAST_CHANNELS, LEAST_PHASE = 64, 6
"""What pays: fewer channels do not outweigh adding up taps; smaller phases do not gain by minimal filtering."""

_PHASES, _TAPS, _GAIN = 0.36, 0.95, 0.9
"""Time of either form as measured, a direct convolution's being 1: by products left, and of the pixels of whole 4x4
tiles; what they must stay under."""


def convolve_dilated(
    c: Conversion, x: Tensor, weight: Tensor, low: Sequence[int], high: Sequence[int], dilation: Sequence[int]
) -> Tensor | None:
    """Convolution of stride 1 and one group of an input to be padded by `low` and `high`; None where neither form pays
    or sizes are open."""
    sizes = [n for n in (*x.shape, *weight.shape) if isinstance(n, int)]
    if x.rank != 4 or len(sizes) != 8 or all(d == 1 for d in dilation):
        return None
    _, channels, *image, filters, _ = sizes[:6]
    kernel = sizes[6:]
    out = [n + a + b - d * (k - 1) for n, a, b, d, k in zip(image, low, high, dilation, kernel, strict=True)]
    if min(*out, *low, *high) < 0 or 0 in (*sizes, *out) or min(channels, filters) < LEAST_CHANNELS:
        return None
    places = [[p - k * d for k in range(n)] for p, d, n in zip(low, dilation, kernel, strict=True)]
    met = [
        sum(_covered(n, o, place, 1)[1] for place in of_axis) for n, o, of_axis in zip(image, out, places, strict=True)
    ]
    taps = _TAPS * prod(met) / (prod(out) * prod(kernel))
    phase = [-(-o // d) for o, d in zip(out, dilation, strict=True)]
    tiles = [-(-n // 4) * 4 * d for n, d in zip(phase, dilation, strict=True)]
    minimal = kernel == [3, 3] and min(phase) >= LEAST_PHASE
    phases = _PHASES * prod(tiles) / prod(out) if minimal else _GAIN
    if min(taps, phases) >= _GAIN:
        return None
    if phases < taps:
        return _by_phases(c, x, weight, low, dilation, out, phase)
    return by_taps(c, x, out, places, [1, 1], lambda tap: _of_tap(c, weight, tap))


def _of_tap(c: Conversion, weight: Tensor, tap: tuple[int, ...]) -> Tensor:
    """The kernel of one element."""
    for d, k in enumerate(tap):
        weight = sliced(c, weight, 2 + d, k, 1)
    return weight


def _by_phases(
    c: Conversion,
    x: Tensor,
    weight: Tensor,
    low: Sequence[int],
    dilation: Sequence[int],
    out: Sequence[int],
    phase: Sequence[int],
) -> Tensor:
    """The phases as images of one batch; what they have beyond the result is cut away."""
    (batch, channels, *image), filters = x.shape, weight.shape[0]
    long = [n + 2 for n in phase]
    high = [n * d - p - s for n, d, p, s in zip(long, dilation, low, image, strict=True)]  # pyright: ignore[reportOperatorIssue]
    whole = padded(c, x, [0, 0, *low], [0, 0, *high], 0)
    split = c.viewed(whole, (batch, channels, long[0], dilation[0], long[1], dilation[1]))
    images = (c.dims.mul(batch, prod(dilation)), channels, *long)
    made = convolve(c, c.viewed(c.permuted(split, (0, 3, 5, 1, 2, 4)), images), weight, [1, 1], [1, 1], 1)
    parts = c.permuted(c.viewed(made, (batch, *dilation, filters, *phase)), (0, 3, 4, 1, 5, 2))
    joined = c.viewed(parts, (batch, filters, *(n * d for n, d in zip(phase, dilation, strict=True))))
    for d, n in enumerate(out):
        joined = sliced(c, joined, 2 + d, 0, n)
    return joined


def by_taps(
    c: Conversion,
    x: Tensor,
    out: Sequence[int],
    places: Sequence[Sequence[int]],
    stride: Sequence[int],
    of_tap: Callable[[tuple[int, ...]], Tensor],
    groups: int = 1,
) -> Tensor:
    """Sums of 1x1 convolutions: pixel i of `x` times tap k is added to element places[k] + i * stride of each axis,
    where there is one. `of_tap`: the kernel of one element, (out, in / groups, 1, …)."""
    ones, image = [1] * len(out), [window_of(c, n) for n in x.shape[2:]]
    ways: list[tuple[int, tuple[int, ...], list[tuple[int, int]]]] = []
    for tap in product(*(range(len(of_axis)) for of_axis in places)):
        met = [_covered(n, o, p[k], s) for n, o, p, k, s in zip(image, out, places, tap, stride, strict=True)]
        if all(count for _, count in met):
            ways.append((prod(count for _, count in met), tap, met))
    ways.sort(key=lambda way: -way[0])
    total: Tensor | None = None
    for _, tap, met in ways:
        part = x
        for d, (first, count) in enumerate(met):
            part = sliced(c, part, 2 + d, first, count)
        part = convolve(c, part, of_tap(tap), ones, ones, groups)
        starts = [p[k] + first * s for p, k, s, (first, _) in zip(places, tap, stride, met, strict=True)]
        if total is None:
            if list(part.shape[2:]) == list(out):
                total = part
                continue
            total = c.full((part.shape[0], part.shape[1], *out), x.dtype, 0)
        old = total
        for d, (start, (_, count), step) in enumerate(zip(starts, met, stride, strict=True)):
            old = sliced(c, old, 2 + d, start, count, step)
        total = inserted(c, total, binary(c, "add", old, part, x.dtype), [0, 0, *starts], [1, 1, *stride])
    if total is None:
        total = c.full((x.shape[0], of_tap((0,) * len(out)).shape[0], *out), x.dtype, 0)
    return total


def _covered(size: int, out: int, place: int, stride: int) -> tuple[int, int]:
    """Of `size` pixels that go to place, place + stride, …: the first, and how many, that are among `out` elements."""
    first = max(0, -(place // stride))
    return first, max(0, min(size, (out - 1 - place) // stride + 1) - first)
