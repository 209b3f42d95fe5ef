"""Words of memory compared natively: against Python on random tables, and nothing behind a wrong group is read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlc.backends.llvm.same_words import same_words

END = (1 << 64) - 1
WORDS = st.integers(0, END)


def asked(groups: Sequence[Sequence[tuple[int, int]]]) -> int:
    """What native code says about groups of addresses and what is expected there."""
    pairs = [word for group in groups for pair in group for word in pair]
    table = np.array([*map(len, groups), END, *pairs], np.uint64)
    return same_words()(table.ctypes.data)


@settings(deadline=None)  # the first example compiles
@given(st.lists(st.lists(st.tuples(WORDS, st.none() | WORDS), max_size=9), max_size=4))
def test_the_first_group_that_differs_is_named(groups: list[list[tuple[int, int | None]]]) -> None:
    memory = np.array([word for group in groups for word, _ in group], np.uint64)
    places = iter(range(memory.ctypes.data, memory.ctypes.data + memory.nbytes, 8))
    table = [[(next(places), word if other is None else other) for word, other in group] for group in groups]
    wrong = [n for n, group in enumerate(groups, 1) if any(other not in (None, word) for word, other in group)]
    assert asked(table) == (wrong[0] if wrong else 0)


def test_behind_a_group_that_differs_nothing_is_read() -> None:
    word = np.array([5], np.uint64)
    assert asked([[(word.ctypes.data, 6)], [(8, 0)]]) == 1  # address 8 is nobody's
    assert asked([[(word.ctypes.data, 5)], [], [(word.ctypes.data, 5)]]) == 0


def test_one_bit_is_a_difference() -> None:
    for bit in range(64):
        word = np.array([1 << bit], np.uint64)
        assert asked([[(word.ctypes.data, 0)]]) == 1
        assert asked([[(word.ctypes.data, 1 << bit)]]) == 0
