"""Which Winograd layers of a model hold transformed filters, and which transform them as they are multiplied.

Transformed filters are four times as large as filters, and save 5 to 25 percent of a layer's time. Small ones save most
per byte. So a model may hold some, where a byte saves most time: a part of its weights' bytes (`share`) and a little
more. Equal layers go the same way: they are one kernel. Where all of them take little, all are held.
Tests: tests/lowering/linalg/test_winograd_memory.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from mlc.lowering.linalg.winograd_cost import Choice, Layer

WORTH_SAVING = 16 << 20
"""Bytes of transformed filters in a model from which time is given for them."""
SHARE, ALWAYS = 0.045, 2 << 20
"""Of the bytes of all weights, what transformed filters may take, and how many bytes more."""
MOST_FOR_MEMORY = 1.65
"""How much longer a layer may take, at most, to do without them."""


class Ways(NamedTuple):
    """A layer with the best choice of each way."""

    layer: Layer
    held: Choice
    in_groups: Choice

    def nbytes(self) -> int:
        """What holding its filters takes."""
        return self.held.filter_bytes(self.layer)

    def saved(self) -> float:
        """Cycles that a byte saves."""
        return (self.in_groups.cycles - self.held.cycles) / self.nbytes()


def settle(layers: Sequence[Ways], weight_bytes: int) -> list[Choice]:
    """One choice for each of `layers`, each with filters of its own, of a model with so many bytes of weights."""
    if sum(ways.nbytes() for ways in layers) <= WORTH_SAVING:
        return [ways.held for ways in layers]
    counts = Counter(layers)
    left = int(weight_bytes * SHARE) + ALWAYS
    held: set[Ways] = set()
    for ways in sorted(counts, key=Ways.saved, reverse=True):  # of equals, the first in the model comes first
        takes = counts[ways] * ways.nbytes()
        slow = ways.in_groups.cycles > MOST_FOR_MEMORY * ways.held.cycles
        if takes <= left or slow:
            held.add(ways)
            left -= takes
    return [ways.held if ways in held else ways.in_groups for ways in layers]
