"""Constants on large pages: the same values, aligned, side by side; what belongs to others stays where it is."""

from __future__ import annotations

import gc
import mmap
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from mlc.runtime.executable import ALIGNMENT, aligned, is_aligned
from mlc.runtime.large_pages import LARGE, PAGE, on_large_pages

SIZES = (100, 7, 0, 300_000, 600_001, 64, 2)


def constants() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [aligned(rng.standard_normal(n).astype(np.float32)) for n in SIZES]


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_small_constants_lie_side_by_side_with_the_same_values() -> None:
    before = constants()
    values = [a.copy() for a in before]
    after = on_large_pages(before)
    del before
    gc.collect()
    for old, new in zip(values, after, strict=True):
        np.testing.assert_array_equal(old, new)
        assert new.dtype == old.dtype and new.shape == old.shape and (not new.size or address(new) % ALIGNMENT == 0)
    places = [address(a) for a in after if a.size]
    assert places == sorted(places) and places[0] % PAGE == 0
    assert places[-1] - places[0] < sum(4 * n + ALIGNMENT for n in SIZES)


def test_shapes_types_and_being_read_only_are_kept() -> None:
    first = np.arange(PAGE // 4, dtype=np.int32).reshape(-1, 64)
    second = np.ones((3, 5), np.float64)
    second.flags.writeable = False
    after = on_large_pages([first, second])
    assert [a.dtype for a in after] == [np.int32, np.float64] and after[0].shape == first.shape
    assert after[0].flags.writeable and not after[1].flags.writeable
    np.testing.assert_array_equal(after[0], first)
    np.testing.assert_array_equal(after[1], second)


def test_what_is_large_or_belongs_to_others_stays() -> None:
    large = aligned(np.zeros(LARGE, np.uint8))
    borrowed = aligned(np.zeros(PAGE, np.uint8))
    borrowed = np.frombuffer(borrowed.data, np.uint8)
    own = np.ones(PAGE, np.uint8)
    after = on_large_pages([large, borrowed, own])
    assert after[0] is large and after[1] is borrowed
    np.testing.assert_array_equal(after[2], own)


def test_a_small_model_takes_no_large_page() -> None:
    before = [aligned(np.ones(100, np.float32)), aligned(np.ones(50, np.float32))]
    assert all(a is b for a, b in zip(on_large_pages(before), before, strict=True))
    assert on_large_pages([]) == []


def test_what_must_be_copied_is_copied_once_into_large_pages() -> None:
    rows = np.arange(3 * LARGE, dtype=np.uint8).reshape(3, -1)
    turned, odd = rows.T, np.frombuffer(bytearray(100), np.uint8)[1:]
    after = on_large_pages(iter([turned, odd]))
    for old, new in zip([turned, odd], after, strict=True):
        np.testing.assert_array_equal(old, new)
        assert is_aligned(new) and not np.shares_memory(old, new)
    assert address(after[0]) % PAGE == 0 and address(after[1]) == address(after[0]) + turned.nbytes


def test_each_is_placed_before_the_next_is_made() -> None:
    """Memory in which one constant was computed is free for the next one."""
    alive: list[weakref.ref[np.ndarray]] = []

    def made() -> Iterator[np.ndarray]:
        for value in range(4):
            assert all(ref() is None for ref in alive)
            array = np.full(PAGE, value, np.uint8)
            alive.append(weakref.ref(array))
            yield array
            del array

    assert [int(a[-1]) for a in on_large_pages(made())] == [0, 1, 2, 3]


def test_without_large_pages_they_are_only_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE")
    rows = np.arange(2 * PAGE, dtype=np.uint8).reshape(2, -1)
    (turned,) = on_large_pages([rows.T])
    assert is_aligned(turned)
    np.testing.assert_array_equal(turned, rows.T)
