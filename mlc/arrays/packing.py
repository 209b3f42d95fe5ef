"""Dimensions split into tiles, the tiles moved innermost.

    pack([1], [16], [], x of 1x20x8x8, 0.0)  -->  1x2x8x8x16, a view where nothing was padded

Tests: tests/dialects/linalg/test_named_ops.py, tests/arrays/test_recipes.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def packing_order(rank: int, positions: Sequence[int], outer: Sequence[int]) -> tuple[list[int], list[int]]:
    """Where dimension d lies once each tiled one is split in two, and the order that packing puts them in. `outer`: the
    order of the outer dimensions, if another."""
    place: list[int] = []
    at = 0
    for d in range(rank):
        place.append(at)
        at += 2 if d in positions else 1
    return place, [place[d] for d in outer or range(rank)] + [place[p] + 1 for p in positions]


def pack(
    positions: Sequence[int], tiles: Sequence[int], outer: Sequence[int], x: np.ndarray, padding: Any = None
) -> np.ndarray:
    """`x` with the dimensions `positions` in tiles, the last of which `padding` fills up. ValueError where there is
    none and it is needed."""
    by_dim = dict(zip(positions, tiles, strict=True))
    sizes = [-(-n // by_dim[d]) * by_dim[d] if d in by_dim else n for d, n in enumerate(x.shape)]
    if tuple(sizes) != x.shape:
        if padding is None:
            raise ValueError(f"shape {list(x.shape)} is no multiple of the tiles and there is no padding value")
        grown = np.full(sizes, padding, dtype=x.dtype)
        grown[tuple(slice(0, n) for n in x.shape)] = x
        x = grown
    split: list[int] = []
    for d, n in enumerate(sizes):
        split += [n // by_dim[d], by_dim[d]] if d in by_dim else [n]
    _, order = packing_order(x.ndim, positions, outer)
    return np.reshape(x, split).transpose(order)
