"""Resizing with antialiasing: each axis on its own, every result a weighted sum of the pixels under a widened filter.

Positions and weights are worked out while compiling; an axis that keeps its size is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from xdsl.dialects import arith
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineDimExpr

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import F32, F64, I64
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.emitter import expr_map
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.resampling import image_sizes, table
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain

Filter = Callable[[float], float]


def triangle(x: float) -> float:
    """Weight of a pixel at distance `x` in linear interpolation."""
    return max(0.0, 1.0 - abs(x))


def cubic(x: float) -> float:
    """Keys' cubic kernel with a = -0.5."""
    a, x = -0.5, abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def windows(
    old: int, new: int, factor: float | None, align: bool, reach: float, filter: Filter
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new pixel the first old one under the filter, how many there are, and their weights (zeros behind)."""
    free = 1.0 / factor if factor else old / new
    scale = free if not align else (old - 1) / (new - 1) if new > 1 else 0.0
    support, inverse = (reach * scale, 1.0 / scale) if scale >= 1.0 else (reach, 1.0)
    firsts: list[int] = []
    rows: list[list[float]] = []
    for i in range(new):
        center = scale * (i + 0.5)
        first = max(int(center - support + 0.5), 0)
        count = min(int(center + support + 0.5), old) - first
        row = [filter((j + first - center + 0.5) * inverse) for j in range(count)]
        total = sum(row)
        firsts.append(first)
        rows.append([w / total if total else w for w in row])
    width = max(len(row) for row in rows)
    counts = np.array([len(row) for row in rows], np.int64)
    return np.array(firsts, np.int64), counts, np.array([row + [0.0] * (width - len(row)) for row in rows])


def _filtered(c: Conversion, x: Tensor, d: int, firsts: np.ndarray, counts: np.ndarray, weights: np.ndarray) -> Tensor:
    """`x` with dimension `d` resized."""
    t, n, old = x.dtype, x.rank, x.shape[d]
    assert isinstance(old, int)
    new, _ = weights.shape
    whole = c.plain(x).value
    start, count, weight = table(c, firsts, I64), table(c, counts, I64), table(c, weights, t)
    shape = (*x.shape[:d], new, *x.shape[d + 1 :])
    dim = [AffineDimExpr(i) for i in range(n + 1)]

    def fn(b: Body, first: SSAValue, n_under: SSAValue, w: SSAValue, acc: SSAValue) -> SSAValue:
        tap = b.loop_index(n)
        at = [b.loop_index(i) for i in range(n)]
        at[d] = b.op(arith.MinUIOp, b.op(arith.AddiOp, b.to_index(first), tap), b.index(old - 1))
        under = b.index_compare("lt", tap, b.to_index(n_under))
        return b.select(under, b.add(acc, b.mul(b.extract(whole, at), w, t), t), acc)

    along = expr_map(n + 1, [dim[d]])
    (value,) = c.generic(
        [(start.value, along), (count.value, along), (weight.value, expr_map(n + 1, [dim[d], dim[n]]))],
        [(c.fill(shape, t, 0.0), expr_map(n + 1, dim[:n]))],
        "p" * n + "r",
        fn,
    )
    return plain(value, t, shape)


def _lower(name: str, reach: float, filter: Filter) -> None:
    def resize(
        c: Conversion, x: Tensor, olds: Sequence[Dim], news: Sequence[Dim], align: bool, given: Sequence[float | None]
    ) -> Tensor:
        old, new = [[s for s in sizes if isinstance(s, int)] for sizes in (olds, news)]
        if len(old) + len(new) != len(olds) + len(news):
            raise c.refuse("resizing an image of dynamic size with antialiasing has no lowering")
        stored = x.dtype
        if not stored.is_float:
            raise c.refuse("resizing integers with antialiasing has no lowering", hint="convert the image to float")
        out = cast(c, x, F64 if stored == F64 else F32)
        lead = x.rank - 2
        for axis in (1, 0):  # rows first, as ATen does
            if old[axis] == new[axis]:
                continue
            taps = windows(old[axis], new[axis], given[axis], align, reach, filter)
            out = _filtered(c, out, lead + axis, *taps)
        return cast(c, out, stored)

    def vec(
        c: Conversion, x: Tensor, size: Sequence[int] | None, align: bool, factors: Sequence[float] | None = None
    ) -> Tensor:
        old, new, given = image_sizes(c, x, 2, size, factors)
        return resize(c, x, old, new, align, given)

    def sized(c: Conversion, x: Tensor, size: Sequence[int], align: bool, *factors: float | None) -> Tensor:
        old, new, _ = image_sizes(c, x, 2, size, None)
        return resize(c, x, old, new, align, list(factors) or [None, None])

    lowers(f"aten.{name}.vec")(vec)
    lowers(f"aten.{name}")(sized)


_lower("_upsample_bilinear2d_aa", 1.0, triangle)
_lower("_upsample_bicubic2d_aa", 2.0, cubic)
