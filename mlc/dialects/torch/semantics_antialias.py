"""Meaning of ATen's resizing with antialiasing: a matrix of normalised filter weights for each axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlc.dialects.torch.numpy_values import Call, aten, wide


def _linear(x: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _weights(
    old: int, new: int, factor: float | None, align: bool, reach: float, filter: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Row i: what each old element gives to the new element i."""
    scale = (old - 1) / max(new - 1, 1) if align else 1.0 / factor if factor else old / new
    stretch = max(scale, 1.0)
    center = scale * (np.arange(new) + 0.5)
    first = np.maximum(np.trunc(center - reach * stretch + 0.5), 0)[:, None]
    end = np.minimum(np.trunc(center + reach * stretch + 0.5), old)[:, None]
    place = np.arange(old)[None, :]
    weights = np.where((place >= first) & (place < end), filter((place - center[:, None] + 0.5) / stretch), 0.0)
    return weights / weights.sum(1, keepdims=True)


def resize(x: np.ndarray, sizes: list[int], align: bool, factors: list[Any], reach: float, filter: Any) -> np.ndarray:
    """Columns, then rows."""
    out = wide(x)
    for i, size in enumerate(sizes):
        at = x.ndim - len(sizes) + i
        if size == x.shape[at]:
            continue
        matrix = _weights(x.shape[at], size, factors[i], align, reach, filter)
        out = np.moveaxis(np.tensordot(matrix, out, (1, at)), 0, at)
    return out


def _register(kind: str, reach: float, filter: Callable[[np.ndarray], np.ndarray]) -> None:
    name = f"_upsample_{kind}2d_aa"

    @aten(name)
    def sized(_c: Call, x: np.ndarray, size: Any, align: bool, *factors: Any) -> Any:
        return resize(x, list(size), align, list(factors) or [None, None], reach, filter)

    @aten(f"{name}.vec")
    def vec(c: Call, x: np.ndarray, size: Any, align: bool, factors: Any) -> Any:
        return resize(x, list(c.shape()[-2:]), align, factors if size is None else [None, None], reach, filter)


_register("bilinear", 1.0, _linear)
_register("bicubic", 2.0, _cubic)
