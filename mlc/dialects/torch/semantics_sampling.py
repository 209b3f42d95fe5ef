"""Meaning of ATen's sampling of images and volumes at given points: for each axis, pixels with weights."""

from __future__ import annotations

from functools import reduce
from itertools import product
from typing import Any

import numpy as np

from mlc.dialects.torch.numpy_values import Call, aten, wide

_NEAREST, _CUBIC = 1, 2
_BORDER, _REFLECTION = 1, 2
_KEYS = -0.75  # the parameter of eager's cubic kernel

Taps = list[tuple[np.ndarray, Any]]


@aten("grid_sampler_2d grid_sampler_3d grid_sampler")
def grid_sampler(
    _c: Call, x: np.ndarray, grid: np.ndarray, mode: int = 0, padding: int = 0, align: bool = False
) -> Any:
    """Samples of x at points in -1..1, last axis first; pixels outside count as 0, whatever is elsewhere."""
    x, grid = wide(x), wide(grid)
    sizes = x.shape[2:]
    axes = [_taps(grid[..., -1 - a], size, mode, padding, align) for a, size in enumerate(sizes)]
    batch = np.arange(x.shape[0]).reshape(-1, *[1] * len(sizes))
    total: Any = 0.0
    for taps in product(*axes):
        inside = reduce(np.logical_and, [(p >= 0) & (p < size) for (p, _), size in zip(taps, sizes, strict=True)])
        at = [np.where(inside, p, 0).astype(np.int64) for p, _ in taps]
        value = np.where(inside[..., None], x[(batch, slice(None), *at)], 0.0)
        total = total + value * np.asarray(reduce(np.multiply, [w for _, w in taps]))[..., None]
    return np.moveaxis(total, -1, 1)


def _taps(v: np.ndarray, size: int, mode: int, padding: int, align: bool) -> Taps:
    """Pixels along an axis that a coordinate is made of, with their weights."""
    place = (v + 1) / 2 * (size - 1) if align else ((v + 1) * size - 1) / 2
    if mode == _CUBIC:
        low = np.floor(place)
        places = [low + k for k in (-1, 0, 1, 2)]
        return [(_padded(p, size, padding, align), _cubic(np.abs(place - p))) for p in places]
    place = _padded(place, size, padding, align)
    if mode == _NEAREST:
        return [(np.rint(place), 1.0)]
    low = np.floor(place)
    return [(low, low + 1 - place), (low + 1, place - low)]


def _cubic(x: np.ndarray) -> np.ndarray:
    near = (_KEYS + 2) * x**3 - (_KEYS + 3) * x**2 + 1
    return np.where(x < 1, near, _KEYS * (x**3 - 5 * x**2 + 8 * x - 4))


def _padded(place: np.ndarray, size: int, padding: int, align: bool) -> np.ndarray:
    """`place`, where it is outside, at the border or folded back."""
    if padding == _REFLECTION:
        low, span = (0.0, size - 1) if align else (-0.5, size)
        distance = np.abs(place - low)
        turns = np.floor(distance / (span or 1))
        over = distance - turns * span
        place = np.where(turns % 2 == 0, over, span - over) + low if span else np.zeros_like(place)
    return np.clip(place, 0, size - 1) if padding in (_BORDER, _REFLECTION) else place
