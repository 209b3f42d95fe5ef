"""Rows of the left-hand side of a product, and the caches that they pass through.

%x: 800 rows of 256 f32, 28 rows per register tile
  first-level cache    rows of one tile are not to evict each other           `collide`
  prefetchers          many short pieces of rows, blocks of channels: the next
                       tile's are asked for                          `next_rows`
  second-level cache   all panels of columns read blocks of 196 rows that
                       stay there, instead of all 800 rows from further away  `row_block`
"""

from __future__ import annotations

from math import prod

from xdsl.dialects.builtin import AnyFloat, IndexType, IntegerType
from xdsl.ir import Attribute

from mlc.lowering.vector.nests import Nest
from mlc.lowering.vector.space import Access
from mlc.lowering.vector.target import Target

LINE, WAYS = 64, 8  # bytes of a cache line, lines in a set of the first-level cache, usually
PAGE, STREAMS, SHORT = 4096, 8, 512  # bytes; streams that prefetchers follow, about; bytes of what is soon at its end
LEAST_TILES = 4  # of rows in a block: columns come from far away once per block


def bits(kind: Attribute) -> int:
    """Width that counts for the number of lanes: floats first."""
    if isinstance(kind, AnyFloat):
        return kind.bitwidth
    if isinstance(kind, IntegerType) and kind.width.data < 32:
        return 8
    return 32 if isinstance(kind, IntegerType | IndexType) else 64


def _bytes(access: Access) -> int:
    return max(1, bits(access.element_type) // 8)


def row_block(
    nest: Nest, row: int, tile: int, scalars: list[Access], target: Target, *, spread: bool = False
) -> tuple[int, int] | None:
    """(`row`, its elements in a block): rows that every panel of columns reads again, as many as stay near meanwhile.

    Only where rows lie apart, each a stream of its own, or where a tile reads many short pieces, of blocks of channels:
    too many and too short ones for prefetchers of the hardware. `spread`: columns come near before they are multiplied,
    each block of rows would wait for them again; where rows are less than twice the cache there are none.
    """
    extent, inner = nest.space.static(row), {d for a in scalars for d, _ in a.coeffs if d not in nest.outer}
    sizes = {d: n for d in inner if (n := nest.space.at_most(d)) is not None}
    if extent is None or len(sizes) < len(inner):
        return None
    tiles, fit = extent // tile, target.row_tiles
    if fit is None:
        near = target.l2 // 2
        one = sum(_bytes(a) * prod(sizes[d] for d, _ in a.coeffs if d in inner) for a in scalars)
        apart = all(_row_bytes(a, row) > LINE for a in scalars)
        scattered = any(in_short_pieces(a, row, tile, sizes) for a in scalars)
        enough = extent * one < 2 * target.l2 if spread else extent * one <= near
        if not (apart or scattered) or enough or LEAST_TILES * tile * one > near:
            return None
        fit = max(LEAST_TILES, near // (2 * tile * one))
    blocks = -(-tiles // fit) if fit else 1
    return (row, -(-tiles // blocks) * tile) if blocks > 1 else None


def in_short_pieces(access: Access, row: int, tile: int, sizes: dict[int, int]) -> bool:
    """Whether a tile's rows are many pieces, each in a page of its own, too short for prefetchers to get going."""
    apart = {d for d, stride in access.coeffs if d in sizes and (stride.static or 0) * _bytes(access) >= PAGE}
    return prod(sizes[d] for d in apart) > STREAMS and 0 < _row_bytes(access, row) * tile < SHORT


def fits_twice(columns: int, target: Target) -> bool:
    """Whether the second-level cache has room for a tile's columns, of so many bytes, for the next tile's, and for rows
    beside them. (Of 2 MB less has to be left than of 512 KB: with vectors of 512 bits.)"""
    return (3 if target.vector_bits >= 512 else 4) * columns <= target.l2


def next_rows(access: Access, row: int, tile: int) -> list[int]:
    """Rows of the next tile, one per cache line of a piece."""
    return list(range(tile, 2 * tile, max(1, LINE // max(1, _row_bytes(access, row)))))


def _row_bytes(access: Access, row: int) -> int:
    return (access.coeff(row).static or 0) * _bytes(access)


def collide(row: dict[int, int], scalars: list[Access], target: Target) -> bool:
    """Whether the rows of a tile fall on so few cache sets (strides of 4096 bytes, say) that they evict each other."""
    # addresses within a page choose the set, in caches of 32 KB (8 lines in each) and of 48 KB (12)
    ways = 12 if target.l1 == 48 << 10 else WAYS
    all_sets = max(1, target.l1 // (LINE * ways))
    for access in scalars:
        size = _bytes(access)
        starts = [0]
        for dim, n in row.items():
            stride = access.coeff(dim).static or 0
            starts = [s + j * stride * size for s in starts for j in range(n)]
        lines = {s // LINE for s in starts}
        sets: dict[int, int] = {}
        for line in lines:
            at = line % all_sets
            sets[at] = sets.get(at, 0) + 1
        if max(sets.values()) > ways:
            return True
    return False
