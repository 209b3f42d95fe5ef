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
_ROUNDS = 24
"""How often a plan above the peak is tried again with the buffers that stick out placed first."""


def plan(items: Sequence[Item]) -> tuple[list[int], int]:
    """Offset of each item, and the size of the arena."""
    bound = peak(items)
    best: tuple[list[int], int] | None = None
    for key in _ORDERS:
        order = sorted(range(len(items)), key=lambda i: (*key(items[i]), i))
        for _ in range(_ROUNDS):
            offsets = _place(items, order)
            ends = [o + item.size for o, item in zip(offsets, items, strict=True)]
            size = max(ends, default=0)
            if best is None or size < best[1]:
                best = offsets, size
            if best[1] <= bound:
                return best
            highest = [i for i in order if ends[i] == size]
            if order[: len(highest)] == highest:
                break
            order = highest + [i for i in order if ends[i] != size]
    assert best is not None
    return best


def _place(items: Sequence[Item], order: Sequence[int]) -> list[int]:
    offsets = [0] * len(items)
    placed: list[tuple[int, int, int, int]] = []  # first byte, end, first op, last op
    for i in order:
        item = items[i]
        if item.size == 0:
            continue
        busy = sorted((first, end) for first, end, a, b in placed if a <= item.end and item.start <= b)
        offsets[i] = _best_gap(busy, item.size)
        placed.append((offsets[i], offsets[i] + item.size, item.start, item.end))
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
