"""Sampling images and volumes at given points."""

from __future__ import annotations

from itertools import product

from xdsl.dialects import arith, math
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dtypes import I32, I64, DType
from mlc.lowering.torch.to_linalg.emitter import axes_map
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain

_NEAREST, _CUBIC = 1, 2
_BORDER, _REFLECTION = 1, 2


@lowers("aten.grid_sampler_2d", "aten.grid_sampler_3d", "aten.grid_sampler")
def grid_sampler(
    c: Conversion, x: Tensor, grid: Tensor, mode: int = 0, padding: int = 0, align: bool = False
) -> Tensor:
    """Linear (0), nearest (1) or, of images, cubic (2) samples of x at points in -1..1, last axis first; outside: zeros
    (0), the border (1) or its mirror image (2). Pixels outside are not read, be they NaN.

    Places and weights of a point's taps are found once, for all channels."""
    t, n = x.dtype, x.rank - 2
    if mode not in (0, _NEAREST, _CUBIC) or padding not in (0, _BORDER, _REFLECTION) or (mode == _CUBIC and n != 2):
        raise c.refuse("only linear and nearest sampling has a lowering", hint="use mode='bilinear'")
    c.demand(x.shape[0], "eq", grid.shape[0], "there are other images than grids")
    c.demand(grid.shape[-1], "eq", n, "a point has other coordinates than an image")
    batch, channels, *size = x.shape
    count = c.dims.product(grid.shape[1:-1])
    whole = c.realize(x, ((0,), (1,), tuple(range(2, x.rank))))
    points = c.realize(grid, ((0,), tuple(range(1, grid.rank - 1)), (grid.rank - 1,)))
    sizes = [c.dims.value(s) for s in size]
    outer = Body(c.block, c.location)
    extent = [outer.from_index(s, t) for s in sizes]
    pixels = c.dims.product(size)
    kind = I32 if isinstance(pixels, int) and pixels < 1 << 31 else I64  # what is half as wide is gathered by faster

    def taps_of(b: Body, *_outs: SSAValue) -> tuple[SSAValue, ...]:
        """Of the taps of a point: where each is, then their weights."""
        at = [b.loop_index(0), b.loop_index(1)]
        place = [_source(b, b.extract(points, [*at, b.index(n - 1 - a)]), extent[a], t, align) for a in range(n)]
        if mode == _CUBIC:
            axes = [_cubic_taps(b, p, e, t, align, padding) for p, e in zip(place, extent, strict=True)]
        else:
            place = [_padded(b, p, e, t, align, padding) for p, e in zip(place, extent, strict=True)]
            if mode == _NEAREST:
                return (_offset(b, [b.op(math.RoundEvenOp, p) for p in place], extent, sizes, t, kind),)
            axes = [_linear_taps(b, p, t) for p in place]
        offsets: list[SSAValue] = []
        weights: list[SSAValue] = []
        for taps in product(*axes):
            weight = taps[0][1]
            for _, part in taps[1:]:
                weight = b.mul(weight, part, t)
            weights.append(weight)
            offsets.append(_offset(b, [at for at, _ in taps], extent, sizes, t, kind))
        return (*offsets, *weights)

    number = {_NEAREST: 1, _CUBIC: 4**n}.get(mode, 2**n)
    kinds = [kind] * number + [t] * (0 if mode == _NEAREST else number)
    made = c.generic([], [(c.empty((batch, count), k), axes_map(2, (0, 1))) for k in kinds], "pp", taps_of)

    def sample(b: Body, *taps: SSAValue) -> SSAValue:
        """The pixels of one channel at the taps, weighted."""
        zero, low = b.const(0.0, t), b.const(0, kind)
        total: SSAValue | None = None
        for k, offset in enumerate(taps[:number]):
            inside = b.compare("ge", offset, low, kind)
            place = b.to_index(b.select(inside, offset, low))
            pixel = b.select(inside, b.extract(whole, [b.loop_index(0), b.loop_index(1), place]), zero)
            term = pixel if mode == _NEAREST else b.mul(pixel, taps[number + k], t)
            total = term if total is None else b.add(total, term, t)
        assert total is not None
        return total

    shape = (batch, channels, count)
    read = [(v, axes_map(3, (0, 2))) for v in made]
    (value,) = c.generic(read, [(c.empty(shape, t), axes_map(3, (0, 1, 2)))], "ppp", sample)
    return c.viewed(plain(value, t, shape), (batch, channels, *grid.shape[1:-1]))


def _linear_taps(b: Body, place: SSAValue, t: DType) -> list[tuple[SSAValue, SSAValue]]:
    """Two pixels along an axis, each with its weight."""
    low = b.op(math.FloorOp, place)
    high = b.add(low, b.const(1.0, t), t)
    return [(low, b.sub(high, place, t)), (high, b.sub(place, low, t))]


def _cubic_taps(
    b: Body, place: SSAValue, extent: SSAValue, t: DType, align: bool, padding: int
) -> list[tuple[SSAValue, SSAValue]]:
    """Four pixels along an axis, each with its weight: Keys' kernel, its parameter -0.75 as in eager."""
    low = b.op(math.FloorOp, place)
    part = b.sub(place, low, t)
    one = b.const(1.0, t)
    rest = b.sub(one, part, t)

    def polynomial(v: SSAValue, *factors: float) -> SSAValue:
        total = b.const(factors[0], t)
        for factor in factors[1:]:
            total = b.add(b.mul(total, v, t), b.const(factor, t), t)
        return total

    a = -0.75
    near, far = (a + 2, -(a + 3), 0.0, 1.0), (a, -5 * a, 8 * a, -4 * a)
    weights = [
        polynomial(b.add(part, one, t), *far),
        polynomial(part, *near),
        polynomial(rest, *near),
        polynomial(b.add(rest, one, t), *far),
    ]
    places = [b.add(low, b.const(float(k), t), t) for k in (-1, 0, 1, 2)]
    return [(_padded(b, p, extent, t, align, padding), w) for p, w in zip(places, weights, strict=True)]


def _source(b: Body, v: SSAValue, extent: SSAValue, t: DType, align: bool) -> SSAValue:
    """A coordinate in -1..1 as a position among pixels."""
    one, half = b.const(1.0, t), b.const(0.5, t)
    shifted = b.add(v, one, t)
    if align:
        return b.mul(b.mul(shifted, half, t), b.sub(extent, one, t), t)
    return b.mul(b.sub(b.mul(shifted, extent, t), one, t), half, t)


def _padded(b: Body, place: SSAValue, extent: SSAValue, t: DType, align: bool, padding: int) -> SSAValue:
    """`place`, where it is outside, as the padding has it."""
    if padding == _REFLECTION:
        place = _mirrored(b, place, extent, t, align)
    if padding:
        low, high = b.const(0.0, t), b.sub(extent, b.const(1.0, t), t)
        place = b.select(b.compare("gt", place, low, t), place, low)
        place = b.select(b.compare("lt", place, high, t), place, high)
    return place


def _mirrored(b: Body, place: SSAValue, extent: SSAValue, t: DType, align: bool) -> SSAValue:
    """`place` folded back at the centres (`align`) or the outer edges of the first and last pixel."""
    zero, one = b.const(0.0, t), b.const(1.0, t)
    low = zero if align else b.const(-0.5, t)
    span = b.sub(extent, one, t) if align else extent
    distance = b.op(math.AbsFOp, b.sub(place, low, t))
    flat = b.compare("eq", span, zero, t)
    safe = b.select(flat, one, span)
    turns = b.op(math.FloorOp, b.divf(distance, safe))
    over = b.sub(distance, b.mul(turns, safe, t), t)
    half = b.mul(turns, b.const(0.5, t), t)
    even = b.compare("eq", b.op(math.FloorOp, half), half, t)
    folded = b.add(b.select(even, over, b.sub(safe, over, t)), low, t)
    return b.select(flat, zero, folded)


def _offset(
    b: Body, place: list[SSAValue], extent: list[SSAValue], sizes: list[SSAValue], t: DType, kind: DType
) -> SSAValue:
    """The pixel at a whole position, counted row by row; -1 outside."""
    zero = b.const(0.0, t)
    inside: SSAValue | None = None
    at: SSAValue | None = None
    for p, limit, size in zip(place, extent, sizes, strict=True):
        within = b.logical_and(b.compare("ge", p, zero, t), b.compare("lt", p, limit, t))
        inside = within if inside is None else b.logical_and(inside, within)
        here = b.op(arith.FPToSIOp, b.select(within, p, zero), kind.mlir)
        at = here if at is None else b.add(b.mul(at, b.from_index(size, kind), kind), here, kind)
    assert inside is not None and at is not None
    return b.select(inside, at, b.const(-1, kind))
