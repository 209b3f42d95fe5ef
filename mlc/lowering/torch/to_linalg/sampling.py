"""Sampling images and volumes at given points."""

from __future__ import annotations

from itertools import product

from xdsl.dialects import arith, math
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dtypes import I64, DType
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.tensor import Tensor

_NEAREST, _CUBIC = 1, 2
_BORDER, _REFLECTION = 1, 2


@lowers("aten.grid_sampler_2d", "aten.grid_sampler_3d", "aten.grid_sampler")
def grid_sampler(
    c: Conversion, x: Tensor, grid: Tensor, mode: int = 0, padding: int = 0, align: bool = False
) -> Tensor:
    """Linear (0), nearest (1) or, of images, cubic (2) samples of x at points in -1..1, last axis first; outside: zeros
    (0), the border (1) or its mirror image (2). Pixels outside are not read, be they NaN."""
    t, n = x.dtype, x.rank - 2
    if mode not in (0, _NEAREST, _CUBIC) or padding not in (0, _BORDER, _REFLECTION) or (mode == _CUBIC and n != 2):
        raise c.refuse("only linear and nearest sampling has a lowering", hint="use mode='bilinear'")
    c.demand(x.shape[0], "eq", grid.shape[0], "there are other images than grids")
    c.demand(grid.shape[-1], "eq", n, "a point has other coordinates than an image")
    whole, points = c.plain(x).value, c.plain(grid).value
    sizes = [c.dims.value(s) for s in x.shape[2:]]
    outer = Body(c.block, c.location)
    extent = [outer.from_index(s, t) for s in sizes]
    shape = (*x.shape[:2], *grid.shape[1:-1])

    def fn(b: Body, at: list[SSAValue]) -> SSAValue:
        batch, channel, *where = at
        place = [
            _source(b, b.extract(points, [batch, *where, b.index(n - 1 - a)]), extent[a], t, align) for a in range(n)
        ]
        if mode == _CUBIC:
            axes = [_cubic_taps(b, p, e, t, align, padding) for p, e in zip(place, extent, strict=True)]
        else:
            place = [_padded(b, p, e, t, align, padding) for p, e in zip(place, extent, strict=True)]
            if mode == _NEAREST:
                return _sample(b, whole, batch, channel, [b.op(math.RoundEvenOp, p) for p in place], extent, t)
            axes = [_linear_taps(b, p, t) for p in place]
        total: SSAValue | None = None
        for taps in product(*axes):
            weight = taps[0][1]
            for _, part in taps[1:]:
                weight = b.mul(weight, part, t)
            term = b.mul(_sample(b, whole, batch, channel, [at for at, _ in taps], extent, t), weight, t)
            total = term if total is None else b.add(total, term, t)
        assert total is not None
        return total

    return indexed(c, shape, t, fn)


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


def _sample(
    b: Body,
    whole: SSAValue,
    n: SSAValue,
    channel: SSAValue,
    place: list[SSAValue],
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
