"""Resizing of images: places and weights in ATen's float arithmetic, worked out while compiling where sizes are
known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import F32, F64, I64, DType
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.tensor import Scalar, Tensor, plain

Int = int | Scalar


def table(c: Conversion, values: np.ndarray, dtype: DType) -> Tensor:
    """A small constant."""
    kind = c.type_of(values.shape, dtype)
    attr = DenseIntOrFPElementsAttr.from_list(kind, values.reshape(-1).tolist())  # pyright: ignore[reportArgumentType, reportCallIssue]
    value = c.head(arith.ConstantOp(attr, kind))
    c.constants.add(value)
    return plain(value, dtype, tuple(int(n) for n in values.shape))


def image_sizes(
    c: Conversion, x: Tensor, n: int, size: Sequence[Int] | None, factors: Sequence[float] | None
) -> tuple[list[Dim], list[Dim], list[float | None]]:
    """Sizes of input and output, and the factors that were given."""
    old = list(x.shape[x.rank - n :])
    if size is not None:
        new = list(c.sizes(size))
    else:
        assert factors is not None
        new = [_scaled(c, s, f) for s, f in zip(old, factors, strict=True)]
    for s in (*old, *new):
        c.demand(s, "ge", 1, "an image and what it is resized to must not be empty")
    return old, new, [None] * n if size is not None or factors is None else list(factors)


def _scaled(c: Conversion, size: Dim, factor: float) -> Dim:
    """int(size * factor)"""
    if isinstance(size, int):
        return int(size * factor)
    if factor == int(factor):
        return c.dims.mul(size, int(factor))
    b = Body(c.block, c.location)
    product = b.mul(b.from_index(size, F64), b.const(factor, F64), F64)
    return b.to_index(b.op(arith.FPToSIOp, product, I64.mlir))


def _ratio(c: Conversion, old: Dim, new: Dim, factor: float | None, t: DType, less: int = 0) -> SSAValue:
    """Step from one place to the next in the input: (old - less) / (new - less), or 1 / factor where that is given."""
    b = Body(c.block, c.location)
    if factor:
        return c.number(1.0 / factor, t)
    above, below = (b.from_index(c.dims.value(c.dims.sub(s, less)), t) for s in (old, new))
    return b.divf(above, b.maximum(below, b.const(1.0, t), t))


def _where_sizes_are(c: Conversion, old: Dim, times: int, new: Dim, step: float, scale: SSAValue, t: DType) -> SSAValue:
    """`step` where `new` is `times` the old size, `scale` elsewhere."""
    same = c.op(arith.CmpiOp, c.dims.value(c.dims.mul(old, times)), c.dims.value(new), "eq")
    return c.op(arith.SelectOp, same, c.number(step, t), scale)


def _nearest(c: Conversion, old: Dim, new: Dim, factor: float | None, exact: bool, whole: bool) -> Tensor:
    """For each place of the output, the nearest one of the input; a table where the sizes are known.

    `whole`: a size that stays or doubles does so element by element, whatever the factor.
    """
    half = 0.5 if exact else 0.0
    if not isinstance(old, int) or not isinstance(new, int):
        scale, last = _ratio(c, old, new, factor, F32), c.dims.value(c.dims.sub(old, 1))
        for times in (1, 2) if whole and factor else ():
            scale = _where_sizes_are(c, old, times, new, 1 / times, scale, F32)

        def fn(b: Body, at: list[SSAValue]) -> SSAValue:
            place = b.mul(b.add(b.from_index(at[0], F32), b.const(half, F32), F32), scale, F32)
            return b.from_index(b.op(arith.MinSIOp, b.to_index(b.op(arith.FPToSIOp, place, I64.mlir)), last), I64)

        return indexed(c, (new,), I64, fn)
    kept = whole and new in (old, 2 * old)
    scale = np.float32(1.0 / factor) if factor and not kept else np.float32(old) / np.float32(new)
    places = np.floor((np.arange(new, dtype=np.float32) + np.float32(half)) * scale)
    return table(c, np.minimum(places.astype(np.int64), old - 1), I64)


def _along(t: Tensor, i: int, n: int) -> Tensor:
    """A row of numbers as one that belongs to spatial dimension `i` of `n`."""
    return t.with_view((t.shape[0], *(1,) * (n - 1 - i)), (0, *(None,) * (n - 1 - i)))


def _nearest_resize(c: Conversion, x: Tensor, places: Sequence[Tensor]) -> Tensor:
    whole = c.plain(x).value
    n = len(places)
    lead = x.rank - n
    shape = (*x.shape[:lead], *(p.shape[0] for p in places))

    def fn(b: Body, at: list[SSAValue], *found: SSAValue) -> SSAValue:
        return b.extract(whole, [*at[:lead], *(b.to_index(v) for v in found)])

    return indexed(c, shape, x.dtype, fn, [_along(p, i, n) for i, p in enumerate(places)])


def _lower_nearest(n: int, *, exact: bool) -> None:
    name = f"aten.{'_upsample_nearest_exact' if exact else 'upsample_nearest'}{n}d"

    def resize(
        c: Conversion, x: Tensor, old: Sequence[Dim], new: Sequence[Dim], given: Sequence[float | None]
    ) -> Tensor:
        whole = n == 2 and not exact
        places = [_nearest(c, a, b, f, exact, whole) for a, b, f in zip(old, new, given, strict=True)]
        return _nearest_resize(c, x, places)

    def vec(c: Conversion, x: Tensor, size: Sequence[Int] | None, factors: Sequence[float] | None = None) -> Tensor:
        return resize(c, x, *image_sizes(c, x, n, size, factors))

    def sized(c: Conversion, x: Tensor, size: Sequence[Int], *factors: float | None) -> Tensor:
        old, new, _ = image_sizes(c, x, n, size, None)
        return resize(c, x, old, new, list(factors) or [None] * n)

    lowers(f"{name}.vec")(vec)
    lowers(name)(sized)


for _n in (1, 2, 3):
    _lower_nearest(_n, exact=False)
    _lower_nearest(_n, exact=True)


def _linear(
    old: int, new: int, factor: float | None, align: bool, t: DType
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower and upper neighbour and the weight of the upper one; a size that stays is copied, whatever the factor."""
    kind = np.float64 if t == F64 else np.float32
    at = np.arange(new).astype(kind)
    if align:
        scale = kind(old - 1) / kind(new - 1) if new > 1 else kind(0)
        place = at * scale
    else:
        scale = kind(1.0 / factor) if factor and old != new else kind(old) / kind(new)
        place = np.maximum((at + kind(0.5)) * scale - kind(0.5), kind(0))
    low = np.minimum(place.astype(np.int64), old - 1)
    high = low + (low < old - 1)
    weight = np.clip(place - low.astype(kind), kind(0), kind(1))
    return low, high, weight


def _linear_places(
    c: Conversion, old: Dim, new: Dim, factor: float | None, align: bool, t: DType
) -> tuple[Tensor, Tensor, Tensor]:
    """`_linear` as tensors: tables where the sizes are known, computed where only the run knows them."""
    if isinstance(old, int) and isinstance(new, int):
        low, high, weight = _linear(old, new, factor, align, t)
        return table(c, low, I64), table(c, high, I64), table(c, weight, t)
    scale = _ratio(c, old, new, None, t, 1) if align else _ratio(c, old, new, factor, t)
    if factor and not align:
        scale = _where_sizes_are(c, old, 1, new, 1.0, scale, t)
    last = c.dims.value(c.dims.sub(old, 1))

    def split(b: Body, at: SSAValue) -> tuple[SSAValue, SSAValue]:
        place = b.from_index(at, t)
        if align:
            place = b.mul(place, scale, t)
        else:
            half = b.const(0.5, t)
            place = b.maximum(b.sub(b.mul(b.add(place, half, t), scale, t), half, t), b.const(0.0, t), t)
        return place, b.op(arith.MinSIOp, b.to_index(b.op(arith.FPToSIOp, place, I64.mlir)), last)

    def low_of(b: Body, at: list[SSAValue]) -> SSAValue:
        return b.from_index(split(b, at[0])[1], I64)

    def high_of(b: Body, at: list[SSAValue]) -> SSAValue:
        return b.from_index(b.op(arith.MinSIOp, b.op(arith.AddiOp, split(b, at[0])[1], b.index(1)), last), I64)

    def weight_of(b: Body, at: list[SSAValue]) -> SSAValue:
        place, low = split(b, at[0])
        return b.minimum(b.sub(place, b.from_index(low, t), t), b.const(1.0, t), t)

    return indexed(c, (new,), I64, low_of), indexed(c, (new,), I64, high_of), indexed(c, (new,), t, weight_of)


def _linear_resize(
    c: Conversion, x: Tensor, n: int, old: Sequence[Dim], new: Sequence[Dim], given: Sequence[float | None], align: bool
) -> Tensor:
    stored = x.dtype
    if not stored.is_float:
        raise c.refuse(
            "linear resizing of bytes rounds in fixed point, which has no lowering", hint="convert to float32"
        )
    t = stored.compute
    whole = c.plain(cast(c, x, t)).value
    lead = x.rank - n
    views: list[Tensor] = []
    for i in range(n):
        views += [_along(places, i, n) for places in _linear_places(c, old[i], new[i], given[i], align, t)]

    def fn(b: Body, at: list[SSAValue], *found: SSAValue) -> SSAValue:
        def blend(d: int, place: list[SSAValue]) -> SSAValue:
            if d == n:
                return b.extract(whole, [*at[:lead], *place])
            low, high, weight = found[3 * d : 3 * d + 3]
            first = blend(d + 1, [*place, b.to_index(low)])
            second = blend(d + 1, [*place, b.to_index(high)])
            rest = b.sub(b.const(1.0, t), weight, t)
            return b.add(b.mul(rest, first, t), b.mul(weight, second, t), t)

        return b.cast(blend(0, []), t, stored)

    return indexed(c, (*x.shape[:lead], *new), stored, fn, views)


def _lower_linear(n: int, name: str) -> None:
    def vec(
        c: Conversion, x: Tensor, size: Sequence[Int] | None, align: bool, factors: Sequence[float] | None = None
    ) -> Tensor:
        old, new, given = image_sizes(c, x, n, size, factors)
        return _linear_resize(c, x, n, old, new, given, align)

    def sized(c: Conversion, x: Tensor, size: Sequence[Int], align: bool, *factors: float | None) -> Tensor:
        old, new, _ = image_sizes(c, x, n, size, None)
        return _linear_resize(c, x, n, old, new, list(factors) or [None] * n, align)

    lowers(f"aten.{name}.vec")(vec)
    lowers(f"aten.{name}")(sized)


_lower_linear(1, "upsample_linear1d")
_lower_linear(2, "upsample_bilinear2d")
_lower_linear(3, "upsample_trilinear3d")
