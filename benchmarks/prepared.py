"""What an engine hands over when it is ready to run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[], Any]


@dataclass(frozen=True)
class Prepared:
    """`ways`: calls that do the same through different interfaces of the engine, the most usual first.
    `answer`: the results of a call in order, flat. `save`: writes it to a file, where the engine's own can be loaded
    without the model."""

    ways: Sequence[Call]
    answer: Callable[[], list[np.ndarray]]
    save: Callable[[Path], None] | None = None


def fastest(ways: Sequence[Call], *, rounds: int = 5, clock: Callable[[], float] = time.perf_counter) -> Call:
    """The way with the shortest best time."""
    if len(ways) == 1:
        return ways[0]
    best = [float("inf")] * len(ways)
    for _ in range(rounds):
        for i, way in enumerate(ways):
            start = clock()
            way()
            best[i] = min(best[i], clock() - start)
    return ways[best.index(min(best))]
