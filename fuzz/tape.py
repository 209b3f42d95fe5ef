"""A tape: bytes read front to back as decisions. The same bytes always give the same program.

Hypothesis draws tapes in the tests (and shrinks them), a generator of random bytes in campaigns, mutation of stored
ones in corpus runs. Past its end a tape reads zeros, and zero is always the simplest choice, so a shorter tape is a
simpler program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from mlc.testing.program import Program

T = TypeVar("T")


class Tape:
    """Reads decisions off bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0

    def byte(self) -> int:
        """The next byte, 0 past the end."""
        value = self.data[self.pos] if self.pos < len(self.data) else 0
        self.pos += 1
        return value

    def below(self, n: int) -> int:
        """An int in 0..n-1; small n reads one byte."""
        if n <= 1:
            return 0
        return self.byte() % n if n <= 256 else (self.byte() << 8 | self.byte()) % n

    def between(self, low: int, high: int) -> int:
        """An int in low..high."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """True in `percent` of random tapes; never past the end."""
        return self.byte() >= 256 - percent * 256 // 100

    def pick(self, items: Sequence[T]) -> T:
        """One of a few; the first is the simplest."""
        return items[self.below(len(items))]

    def subset(self, items: Sequence[T]) -> list[T]:
        """Each of the items or not."""
        return [item for item in items if self.chance(50)]

    def shuffled(self, n: int) -> list[int]:
        """A permutation of 0..n-1; the identity past the end."""
        left = list(range(n))
        return [left.pop(self.below(len(left))) for _ in range(n)]

    @property
    def used(self) -> int:
        """Bytes read that exist."""
        return min(self.pos, len(self.data))


Generator = Callable[[Tape], Program]
