"""Resizing of images: positions and weights are worked out while compiling, in ATen's float arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dtypes import F32, F64, I64, DType
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain


def table(c: Conversion, values: np.ndarray, dtype: DType) -> Tensor:
    """A small constant."""
    kind = c.type_of(values.shape, dtype)
    attr = DenseIntOrFPElementsAttr.from_list(kind, values.reshape(-1).tolist())  # pyright: ignore[reportArgumentType, reportCallIssue]
    value = c.head(arith.ConstantOp(attr, kind))
    c.constants.add(value)
    return plain(value, dtype, tuple(int(n) for n in values.shape))


def image_sizes(
    c: Conversion, x: Tensor, n: int, size: Sequence[int] | None, factors: Sequence[float] | None
) -> tuple[list[int], list[int], list[float | None]]:
    """Sizes of input and output, and the factors that were given."""
    ins = list(x.shape[x.rank - n :])
    if any(not isinstance(s, int) for s in ins):
        raise c.refuse("resizing an image of dynamic size has no lowering")
    old = [s for s in ins if isinstance(s, int)]
    if size is not None:
        return old, [c.static_int(s, "the new size") for s in size], [None] * n
    assert factors is not None
    return old, [int(s * f) for s, f in zip(old, factors, strict=True)], list(factors)


def _nearest(old: int, new: int, factor: float | None, exact: bool) -> np.ndarray:
    scale = np.float32(1.0 / factor) if factor else np.float32(old) / np.float32(new)
    at = np.arange(new, dtype=np.float32)
    places = np.floor((at + np.float32(0.5)) * scale) if exact else np.floor(at * scale)
    return np.minimum(places.astype(np.int64), old - 1)


def _nearest_resize(c: Conversion, x: Tensor, n: int, places: Sequence[np.ndarray]) -> Tensor:
    whole = c.plain(x).value
    lead = x.rank - n
    tables = [table(c, p, I64) for p in places]
    shape = (*x.shape[:lead], *(len(p) for p in places))
    views = [t.with_view((t.shape[0], *(1,) * (n - 1 - i)), (0, *(None,) * (n - 1 - i))) for i, t in enumerate(tables)]

    def fn(b: Body, at: list[SSAValue], *found: SSAValue) -> SSAValue:
        return b.extract(whole, [*at[:lead], *(b.to_index(v) for v in found)])

    return indexed(c, shape, x.dtype, fn, views)


def _lower_nearest(n: int, *, exact: bool) -> None:
    name = f"aten.{'_upsample_nearest_exact' if exact else 'upsample_nearest'}{n}d"

    def vec(c: Conversion, x: Tensor, size: Sequence[int] | None, factors: Sequence[float] | None = None) -> Tensor:
        old, new, given = image_sizes(c, x, n, size, factors)
        places = [_nearest(a, b, f, exact) for a, b, f in zip(old, new, given, strict=True)]
        return _nearest_resize(c, x, n, places)

    def sized(c: Conversion, x: Tensor, size: Sequence[int], *factors: float | None) -> Tensor:
        old, new, _ = image_sizes(c, x, n, size, None)
        given = list(factors) or [None] * n
        return _nearest_resize(c, x, n, [_nearest(a, b, f, exact) for a, b, f in zip(old, new, given, strict=True)])

    lowers(f"{name}.vec")(vec)
    lowers(name)(sized)


for _n in (1, 2, 3):
    _lower_nearest(_n, exact=False)
    _lower_nearest(_n, exact=True)


def _linear(
    old: int, new: int, factor: float | None, align: bool, t: DType
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower and upper neighbour and the weight of the upper one."""
    kind = np.float64 if t == F64 else np.float32
    at = np.arange(new).astype(kind)
    if align:
        scale = kind(old - 1) / kind(new - 1) if new > 1 else kind(0)
        place = at * scale
    else:
        scale = kind(1.0 / factor) if factor else kind(old) / kind(new)
        place = np.maximum((at + kind(0.5)) * scale - kind(0.5), kind(0))
    low = np.minimum(place.astype(np.int64), old - 1)
    high = low + (low < old - 1)
    weight = np.clip(place - low.astype(kind), kind(0), kind(1))
    return low, high, weight


def _linear_resize(
    c: Conversion, x: Tensor, n: int, old: Sequence[int], new: Sequence[int], given: Sequence[float | None], align: bool
) -> Tensor:
    stored = x.dtype
    t = stored.compute if stored.is_float else F32
    whole = c.plain(cast(c, x, t)).value
    lead = x.rank - n
    views: list[Tensor] = []
    for i in range(n):
        low, high, weight = _linear(old[i], new[i], given[i], align, t)
        for values, kind in ((low, I64), (high, I64), (weight, t)):
            made = table(c, values, kind)
            views.append(made.with_view((made.shape[0], *(1,) * (n - 1 - i)), (0, *(None,) * (n - 1 - i))))

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
        c: Conversion, x: Tensor, size: Sequence[int] | None, align: bool, factors: Sequence[float] | None = None
    ) -> Tensor:
        old, new, given = image_sizes(c, x, n, size, factors)
        return _linear_resize(c, x, n, old, new, given, align)

    def sized(c: Conversion, x: Tensor, size: Sequence[int], align: bool, *factors: float | None) -> Tensor:
        old, new, _ = image_sizes(c, x, n, size, None)
        return _linear_resize(c, x, n, old, new, list(factors) or [None] * n, align)

    lowers(f"aten.{name}.vec")(vec)
    lowers(f"aten.{name}")(sized)


_lower_linear(1, "upsample_linear1d")
_lower_linear(2, "upsample_bilinear2d")
_lower_linear(3, "upsample_trilinear3d")
