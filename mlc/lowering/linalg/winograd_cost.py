"""What a 3x3 convolution costs by Winograd and directly, in cycles of one core, and how its tiles and filters are
blocked.

The model counts what bounds each part: multiply-adds at the machine's rate, or the bytes of filters that must come from
a cache level, and vector operations of the transforms. There are two ways. Filters are transformed when the model is
compiled: then they are four times as large, and every small block of tiles reads them. Or large blocks of tiles are
made, for which filters are transformed group by group, in the caches, as they are multiplied. `winograd_memory` says
which layers of a model go which way.
Figures of the model were measured on layers of 16 to 512 channels and 4x4 to 224x224 outputs; see docs/performance.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlc.arrays.winograd import POINTS, filtering

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
FILTER_TRANSFORM = 2.25
"""The same for a vector of filters, and reading it again: stores are the limit."""
TILES_BYTES, LARGE = 4 << 20, 2 << 20
"""Transformed inputs of a block with groups of filters, at most: every group reads them again. From a second-level
cache of `LARGE` bytes on, half of that: the third level is farther then."""
GROUP_DEPTH, GROUP_ROWS = 16, 2
"""Channels and rows of positions of filters that are transformed at a time, for one group: with the taps that they come
from they stay in the first-level cache."""
MANY_TILES = 32
"""Tiles in a block from which a group takes as many channels at a time as other sums do: sums go to memory less often,
and transformed filters, read again for every few tiles, may come from the second-level cache."""
GROUP_SUMS = 0.06
"""Of the products, what it takes to add up more pieces of channels in groups, and to read transformed filters again."""
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
    """Output tile, block of tiles (images, rows, columns), blocks of filters in a group (0: all are transformed when
    the model is compiled), the estimated cost relative to the direct convolution, and in cycles."""

    tile: tuple[int, int]
    block: tuple[int, int, int]
    group: int
    cost: float
    cycles: float

    def filter_bytes(self, layer: Layer) -> int:
        """Bytes of the filters that are transformed when the model is compiled."""
        positions = math.prod(filtering(t).size for t in self.tile)
        return 0 if self.group else 4 * layer.channels * layer.filters * positions


def depth_of(channels: int, lanes: int, most: int = DEPTH) -> int:
    """Channels per piece: the largest part of all channels, in whole blocks of the layout, up to `most`."""
    blocks = channels // lanes
    return lanes * max(n for n in range(1, blocks + 1) if blocks % n == 0 and (n == 1 or n * lanes <= most))


def group_depth(block: tuple[int, int, int]) -> int:
    """Channels of filters that are transformed at a time for a group and this block of tiles, at most."""
    return DEPTH if math.prod(block) >= MANY_TILES else GROUP_DEPTH


def choose(layer: Layer, machine: Any, tile: int | None = None, tiles: int = 0, group: int = 0) -> Choice:
    """The fastest of one way: filters transformed when the model is compiled, or, with a `group` of blocks of filters
    at most, as they are multiplied. `tile` leaves only that tile size, `tiles` is how many a block should have (0: to
    be found)."""
    sizes = sorted(POINTS, reverse=True) if tile is None else [tile]
    ways = [_Ways(layer, (a, b), machine) for a in sizes for b in sizes if a <= layer.rows and b <= layer.columns]
    return min(
        (way.groups_of_filters(tiles, group) if group else way.blocks_of_tiles(tiles) for way in ways), key=_by_cost
    )


def _by_cost(choice: Choice) -> float:
    return choice.cost


class _Ways:
    """The ways to compute `layer` in tiles of one size."""

    def __init__(self, layer: Layer, tile: tuple[int, int], machine: Any) -> None:
        self.layer, self.tile = layer, tile
        self.rate = layer.lanes * (machine.fma_per_cycle if machine is not None else 1)
        self.near, self.last = (machine.l2, machine.l3) if machine is not None else (1 << 20, 16 << 20)
        self.rows, self.columns = -(-layer.rows // tile[0]), -(-layer.columns // tile[1])
        self.tiles = layer.images * self.rows * self.columns
        self.positions = filtering(tile[0]).size * filtering(tile[1]).size
        self.weights = layer.channels * layer.filters

    def blocks_of_tiles(self, enough: int) -> Choice:
        """A small block of tiles has its data near; each block reads all transformed filters."""
        size = self.positions * self.weights
        block = _block(
            self.layer, self.rows, self.columns, enough or (FAR_TILES if 4 * size > self.last else ENOUGH_TILES)
        )
        reading = self.tiles // math.prod(block) * _reading(size, self.near)
        return self._choice(block, 0, max(self._products(), reading))

    def groups_of_filters(self, enough: int, most: int) -> Choice:
        """A large block of tiles reads its transformed inputs once per group, and transforms all filters once."""
        if enough:
            block = _block(self.layer, self.rows, self.columns, enough)
        else:
            tile_bytes = 4 * self.positions * self.layer.channels
            room = self.near // 2 if self.near >= LARGE else TILES_BYTES
            block = _largest_block(self.layer, self.rows, self.columns, room // tile_bytes)
        tiles = math.prod(block)
        blocks = self.layer.filters // self.layer.lanes
        group = max(n for n in _divisors(blocks) if n <= most)
        often = self.tiles // tiles
        reading = often * blocks // group * _reading(self.positions * tiles * self.layer.channels, self.near)
        products = max((1 + GROUP_SUMS) * self._products(), reading)
        return self._choice(block, group, products + often * self._transforming_filters())

    def _products(self) -> float:
        return self.tiles * self.positions * self.weights / self.rate

    def _transforming_filters(self) -> float:
        return max(
            self.positions * FILTER_TRANSFORM * self.weights / self.layer.lanes, _reading(9 * self.weights, self.near)
        )

    def _choice(self, block: tuple[int, int, int], group: int, products: float) -> Choice:
        layer = self.layer
        transforms = self.tiles * self.positions * TRANSFORM * (layer.channels + layer.filters) / layer.lanes
        outputs = layer.images * layer.rows * layer.columns
        direct = max(outputs * 9 * self.weights / self.rate, _reading(9 * self.weights, self.near))
        return Choice(self.tile, block, group, (products + transforms) / direct, products + transforms)


def _reading(floats: int, near: int) -> float:
    size = 4 * floats
    return size / (NEAR if 2 * size <= near else FAR)


def _largest_block(layer: Layer, rows: int, columns: int, most: int) -> tuple[int, int, int]:
    """The largest block of at most `most` tiles, one at least."""
    blocks = [
        *((1, 1, column) for column in _divisors(columns)),
        *((1, row, columns) for row in _divisors(rows)),
        *((image, rows, columns) for image in _divisors(layer.images)),
    ]
    return max((block for block in blocks if math.prod(block) <= max(most, 1)), key=math.prod)


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
