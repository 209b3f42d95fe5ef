"""Offsets for buffers of known live range in one arena: greedy with best fit, several orders, the smallest kept.

a: 64 bytes, ops 0-1    b: 64 bytes, ops 1-2    c: 64 bytes, ops 2-3     -->  a at 0, b at 64, c at 0: 128 bytes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

ALIGNMENT = 64


def aligned(size: int) -> int:
    """`size` rounded up to the alignment of buffers."""
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Item:
    """A buffer of `size` bytes (a multiple of the alignment), needed from `start` to `end`."""

    size: int
    start: int
    end: int

    def overlaps(self, other: Item) -> bool:
        """Whether both are needed at some time."""
        return self.start <= other.end and other.start <= self.end


def peak(items: Sequence[Item]) -> int:
    """The most bytes that are needed at one time: no plan is smaller."""
    events: list[tuple[int, int]] = []
    for item in items:
        events += [(item.start, item.size), (item.end + 1, -item.size)]
    events.sort()
    most = live = 0
    for _, change in events:
        live += change
        most = max(most, live)
    return most


_ORDERS: tuple[Callable[[Item], tuple[int, ...]], ...] = (
    lambda i: (-i.size, i.start),
    lambda i: (-i.size * (i.end - i.start + 1), i.start),
    lambda i: (i.start, -i.size),
    lambda i: (-(i.end - i.start), -i.size, i.start),
)


def plan(items: Sequence[Item]) -> tuple[list[int], int]:
    """Offset of each item, and the size of the arena."""
    best: tuple[list[int], int] | None = None
    bound = peak(items)
    for key in _ORDERS:
        order = sorted(range(len(items)), key=lambda i: (*key(items[i]), i))
        offsets = _place(items, order)
        size = max((o + item.size for o, item in zip(offsets, items, strict=True)), default=0)
        if best is None or size < best[1]:
            best = offsets, size
        if best[1] <= bound:
            break
    assert best is not None
    return best


def _place(items: Sequence[Item], order: Sequence[int]) -> list[int]:
    offsets = [0] * len(items)
    placed: list[int] = []
    for i in order:
        item = items[i]
        if item.size == 0:
            continue
        busy = sorted((offsets[j], offsets[j] + items[j].size) for j in placed if items[j].overlaps(item))
        offsets[i] = _best_gap(busy, item.size)
        placed.append(i)
    return offsets


def _best_gap(busy: Sequence[tuple[int, int]], size: int) -> int:
    """Start of the smallest gap between busy intervals that holds `size`; the end of them when there is none."""
    at = 0
    best: tuple[int, int] | None = None
    for start, end in busy:
        gap = start - at
        if gap >= size and (best is None or gap < best[0]):
            best = gap, at
        at = max(at, end)
    return at if best is None else best[1]
