"""Which loop of a nest threads divide: the one whose data stays with each of them from kernel to kernel.

1x1 convolution, %x 16 x 196 pixels x 16, weights 8 x 256 x 16   ->  8 blocks of 28 pixels, all filters for each
elementwise op on 16 x 196 pixels x 16                           ->  the same pixels of all channels

Loops stand in the order that is best for one thread: weights outermost, all rows for each part of them. Divided there,
each thread would read all rows, half of which another one has just written: what comes from the second level of another
core takes several times as long as what lies in the own one (measured on a Xeon, 7 GB/s; caches are private on all
machines). Divided along rows, threads share what nobody writes, weights, where those are no more than rows and results.
Images in blocks of channels (`linalg-block-layouts`) are divided along pixels by every nest, whatever it computes: only
then does a kernel find in its cache what the one before it left there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from xdsl.dialects.builtin import MemRefType

from mlc.lowering.vector.contraction_tile import extent_of
from mlc.lowering.vector.nests import Nest
from mlc.lowering.vector.row_blocks import bits
from mlc.lowering.vector.sizes import ZERO
from mlc.lowering.vector.space import Access, Stage

LEAST = 8  # tiles along a loop that is divided: fewer leave threads waiting for each other
IMAGE = 5  # dims of an image in blocks of channels: image, block, row, column, channel of the block


def divided_dim(
    nest: Nest, order: Sequence[int], tile: Mapping[int, int], lanes: int | None, product: Stage | None
) -> int | None:
    """The outer dim that threads divide; None: the outermost ones. `product`: the nest's contraction, if it is one."""
    if lanes is None:
        return None
    dim = _rows(nest, order, lanes, product) if product is not None else _pixels(nest, order)
    return dim if dim is not None and (nest.space.static(dim) or 0) >= LEAST * tile[dim] else None


def _rows(nest: Nest, order: Sequence[int], lanes: int, product: Stage) -> int | None:
    """The outermost of the rows of a product, if they and its results are more than its weights."""
    reads = [o for o in product.ins if isinstance(o, Access)]
    weights = [a for a in reads if a.coeff(lanes) != ZERO]
    data = [a for a in reads if a.coeff(lanes) == ZERO]
    rows = [d for d in order if _varies(data, d) and not _varies(weights, d)]
    if not rows:
        return _pixels(nest, order)
    if any(_varies(data, d) and _varies(weights, d) and extent_of(nest, d) > 1 for d in order):
        return None
    moved = sum(_bytes(nest, a) for a in (*data, *product.outs))
    return rows[0] if sum(_bytes(nest, a) for a in weights) <= moved else None


def _pixels(nest: Nest, order: Sequence[int]) -> int | None:
    """The outermost dim along the pixels of an image in blocks of channels that the nest writes."""
    out = nest.stages[-1].outs[0]
    kind = out.root.type
    if not isinstance(kind, MemRefType) or len(kind.get_shape()) != IMAGE or kind.get_shape()[0] != 1:
        return None
    _, channels, _, column, _ = kind.get_strides() or [None] * IMAGE
    if channels is None or column is None:
        return None
    return next((d for d in order if column <= (out.coeff(d).static or 0) < channels), None)


def _varies(accesses: Sequence[Access], dim: int) -> bool:
    return any(a.coeff(dim) != ZERO for a in accesses)


def _bytes(nest: Nest, access: Access) -> int:
    return bits(access.element_type) // 8 * prod(extent_of(nest, d) for d, _ in access.coeffs)
