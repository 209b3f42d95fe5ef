"""What a 3x3 convolution costs by Winograd and directly, in cycles of one core, and how its tiles are blocked.

The model counts what bounds each part: multiply-adds at the machine's rate, or the bytes of filters that must come from
a cache level (every block of tiles reads all transformed filters once), and vector operations of the transforms.
Figures of the model were measured on layers of 16 to 512 channels and 4x4 to 224x224 outputs; see docs/performance.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlc.dialects.linalg_ext.winograd import POINTS, filtering

DEPTH = 64
"""Channels summed before the sum goes to memory: fewer round less, more store less."""
ENOUGH_TILES = 7
"""Tiles in a block from which the product keeps its units busy."""
FAR_TILES = 48
"""The same where transformed filters do not fit the last cache, so that every block reads them from memory."""
NEAR, FAR = 32, 10
"""Bytes per cycle of filters read from the second-level cache, and from beyond."""
TRANSFORM = 5
"""Vector operations per position, transforming a vector of channels of one tile."""
GAIN = 0.85
"""Of the direct time: what Winograd must stay under to be chosen."""


@dataclass(frozen=True)
class Layer:
    """A 3x3 convolution of stride 1; `lanes`: channels in a block of the layout."""

    images: int
    channels: int
    filters: int
    rows: int
    columns: int
    lanes: int

    def __str__(self) -> str:
        return f"{self.images}x{self.channels}x{self.filters}x{self.rows}x{self.columns}"


@dataclass(frozen=True)
class Choice:
    """Output tile, block of tiles (images, rows, columns), and the estimated cost relative to the direct convolution."""

    tile: tuple[int, int]
    block: tuple[int, int, int]
    cost: float


def depth_of(channels: int, lanes: int, most: int = DEPTH) -> int:
    """Channels per piece: the largest part of all channels, in whole blocks of the layout, up to `most`."""
    blocks = channels // lanes
    return lanes * max(n for n in range(1, blocks + 1) if blocks % n == 0 and (n == 1 or n * lanes <= most))


def choose(layer: Layer, machine: Any, tile: int | None = None, tiles: int = 0) -> Choice:
    """The cheapest way; `tile` leaves only that tile size, `tiles` is how many a block should have (0: to be found)."""
    sizes = sorted(POINTS, reverse=True) if tile is None else [tile]
    fitting = [(a, b) for a in sizes for b in sizes if a <= layer.rows and b <= layer.columns]
    return min((_cost(layer, tile, machine, tiles) for tile in fitting), key=lambda choice: choice.cost)


def _cost(layer: Layer, tile: tuple[int, int], machine: Any, enough: int) -> Choice:
    rate = layer.lanes * (machine.fma_per_cycle if machine is not None else 1)
    near, last = (machine.l2, machine.l3) if machine is not None else (1 << 20, 16 << 20)
    rows, columns = -(-layer.rows // tile[0]), -(-layer.columns // tile[1])
    tiles = layer.images * rows * columns
    positions = filtering(tile[0]).size * filtering(tile[1]).size
    weights = layer.channels * layer.filters
    block = _block(layer, rows, columns, enough or (FAR_TILES if 4 * positions * weights > last else ENOUGH_TILES))
    blocks = tiles // math.prod(block)
    product = max(tiles * positions * weights / rate, blocks * _reading(positions * weights, near))
    transforms = tiles * positions * TRANSFORM * (layer.channels + layer.filters) / layer.lanes
    outputs = layer.images * layer.rows * layer.columns
    direct = max(outputs * 9 * weights / rate, _reading(9 * weights, near))
    return Choice(tile, block, (product + transforms) / direct)


def _reading(floats: int, near: int) -> float:
    size = 4 * floats
    return size / (NEAR if 2 * size <= near else FAR)


def _block(layer: Layer, rows: int, columns: int, enough: int) -> tuple[int, int, int]:
    """The smallest block with enough tiles, so that its data stays in the cache; all tiles where there are too few."""
    for column in _divisors(columns):
        if column >= enough:
            return 1, 1, column
    for row in _divisors(rows):
        if row * columns >= enough:
            return 1, row, columns
    for image in _divisors(layer.images):
        if image * rows * columns >= enough:
            return image, rows, columns
    return layer.images, rows, columns


def _divisors(n: int) -> Iterator[int]:
    return (d for d in range(1, n + 1) if n % d == 0)
