"""Blocks of memory in files: the same addresses and values, whoever reads, writes, shares or frees them."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlc.runtime import offload
from mlc.runtime.mappings import PAGE, Mapping, mappings, written_pages
from mlc.runtime.offload import CHANGED, FOREIGN, IN_PLACE, IS_SMALL, REFUSED, SMALL, Block, place

UNABLE = offload._unable(Path(tempfile.gettempdir()))
pytestmark = pytest.mark.skipif(UNABLE is not None, reason=f"nothing can be moved here, {UNABLE}")

SIZES = (SMALL, 3 * SMALL + 5, 20 * SMALL, 640 * SMALL)
"""Bytes of blocks in the heap, and of one that has a mapping of its own."""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """In which nothing may be left."""
    yield tmp_path
    assert not list(tmp_path.iterdir())


def array_of(nbytes: int, seed: int = 0) -> np.ndarray:
    return np.resize(np.random.default_rng(seed).integers(0, 256, 65521, np.uint8), nbytes)  # no two pages are alike


def block_of(array: np.ndarray, kept: int = 0) -> Block:
    return Block(array.ctypes.data, array.nbytes, kept)


def covering(block: Block) -> list[Mapping]:
    start, end = block.pages
    return [m for m in mappings() if m.start < end and start < m.end]


def in_a_file(block: Block) -> bool:
    """Whether all of its pages are those of files; none may be else. The heap may be mapped from files of old, but
    pages that were written since are memory."""
    written, pages = written_pages(*block.pages), (block.pages[1] - block.pages[0]) // PAGE
    assert written in (0, pages)
    return not written


def present_pages(block: Block) -> int:
    """How many pages of a block are in memory, whoever's they are."""
    start, end = block.pages
    with open("/proc/self/pagemap", "rb") as f:
        words = np.frombuffer(os.pread(f.fileno(), (end - start) // PAGE * 8, start // PAGE * 8), np.uint64)
    return int((words >> np.uint64(63)).sum())


@pytest.mark.parametrize("nbytes", SIZES)
def test_a_block_leaves_memory_and_keeps_its_values(nbytes: int, directory: Path) -> None:
    array = array_of(nbytes)
    want, block = array.copy(), block_of(array, kept=3 * PAGE)
    assert present_pages(block) == (block.pages[1] - block.pages[0]) // PAGE
    placed = place([block], [], directory)
    assert placed.failed is None and not placed.in_memory
    assert placed.in_files == block.pages[1] - block.pages[0]
    assert present_pages(block) == 0 and in_a_file(block)
    assert written_pages(block_of(array).pages[0], block.pages[0]) == 3
    np.testing.assert_array_equal(array, want)


@pytest.mark.parametrize("nbytes", SIZES)
def test_what_is_written_later_stays_and_leaves_memory_again(nbytes: int, directory: Path) -> None:
    array = array_of(nbytes)
    want, block = array.copy(), block_of(array)
    start, end = block.pages
    place([block], [], directory)
    at = start - block.address + PAGE + 7
    array[at] += 1
    want[at] += 1
    assert written_pages(start, end) == 1
    np.testing.assert_array_equal(array, want)
    placed = place([block], [], directory)
    assert placed.in_files == end - start and written_pages(start, end) == 0
    np.testing.assert_array_equal(array, want)
    assert present_pages(block) > 0
    assert place([block], [], directory).in_files == end - start
    assert present_pages(block) == 0
    np.testing.assert_array_equal(array, want)


@pytest.mark.parametrize("nbytes", SIZES)
def test_what_is_in_use_stays_and_comes_back(nbytes: int, directory: Path) -> None:
    array, other = array_of(nbytes), array_of(nbytes, 1)
    want, block = array.copy(), block_of(array, kept=PAGE)
    in_use = [(array.ctypes.data + nbytes - 1, 1)]
    placed = place([block, block_of(other)], in_use, directory)
    assert dict(placed.in_memory) == {IN_PLACE: nbytes} and placed.in_files > 0
    assert not in_a_file(block) and in_a_file(block_of(other))
    place([block], [], directory)
    assert in_a_file(block)
    array[-PAGE - 9] += 1
    want[-PAGE - 9] += 1
    assert place([block_of(array)], in_use, directory).in_memory == {IN_PLACE: nbytes}
    assert not in_a_file(block_of(array)) and in_a_file(block_of(other))
    np.testing.assert_array_equal(array, want)
    np.testing.assert_array_equal(other, array_of(nbytes, 1))


def test_of_one_block_named_twice_the_larger_front_is_kept(directory: Path) -> None:
    array = array_of(SIZES[-1])
    place([block_of(array, kept=8 * PAGE), block_of(array)], [], directory)
    assert in_a_file(block_of(array, kept=8 * PAGE))
    assert written_pages(block_of(array).pages[0], block_of(array, kept=8 * PAGE).pages[0]) == 8


def test_small_blocks_stay(directory: Path) -> None:
    array = array_of(SMALL - 1)
    placed = place([block_of(array)], [], directory)
    assert dict(placed.in_memory) == {IS_SMALL: SMALL - 1} and placed.in_files == 0
    assert placed.describe() == "0.0 MB in a file; in memory: 0.1 MB smaller than 64 KB each"


def test_a_block_whose_front_is_all_that_is_there_stays(directory: Path) -> None:
    array = array_of(SMALL)
    assert place([block_of(array, kept=SMALL)], [], directory).in_memory == {IS_SMALL: SMALL}


def test_memory_of_others_stays(directory: Path) -> None:
    with mmap.mmap(-1, SMALL * 2) as shared, mmap.mmap(-1, SMALL * 2, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as private:
        for memory in (shared, private):
            array = np.frombuffer(memory, np.uint8)
            array[:] = 7
            before = covering(block_of(array))
            placed = place([block_of(array)], [], directory)
            assert dict(placed.in_memory) == {FOREIGN: array.nbytes} and covering(block_of(array)) == before
            assert (array == 7).all()
            del array
    own = array_of(SIZES[-1])
    for inside in (own[16:], own[3:], own[: SIZES[-1] // 9]):  # no blocks of glibc, but parts of one
        assert place([block_of(inside)], [], directory).in_memory == {FOREIGN: inside.nbytes}
    assert not in_a_file(block_of(own))


def test_memory_that_is_of_a_file_already_is_only_given_back(directory: Path) -> None:
    path = directory / "weights"
    want = array_of(SIZES[2])
    path.write_bytes(want.tobytes())
    array = np.memmap(path, np.uint8, "c")
    path.unlink()
    array[5 * PAGE] = want[5 * PAGE] = 77
    block = block_of(array)
    int(array.sum())
    before = covering(block)
    assert place([block], [(block.address, 1)], directory).in_memory == {IN_PLACE: block.nbytes}
    assert place([block], [], directory).in_files == block.pages[1] - block.pages[0]
    assert covering(block) == before
    np.testing.assert_array_equal(array, want)


@contextmanager
def no_large_files(nbytes: int) -> Iterator[None]:
    """As on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_without_room_on_the_disk_everything_stays(directory: Path) -> None:
    arrays = [array_of(20 * SMALL, i) for i in range(3)]
    with no_large_files(10 * SMALL):
        placed = place([block_of(a) for a in arrays], [], directory)
    assert placed.failed == f"as {directory} cannot hold them: {os.strerror(errno.EFBIG)}"
    assert placed.in_files == 0 and placed.in_memory == {placed.failed: 60 * SMALL}
    for i, array in enumerate(arrays):
        assert not in_a_file(block_of(array))
        np.testing.assert_array_equal(array, array_of(20 * SMALL, i))


def test_an_error_of_the_disk_leaves_everything(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays, synced = [array_of(20 * SMALL, i) for i in range(3)], []

    def broken(fd: int) -> None:
        synced.append(fd)
        if len(synced) == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", broken)
    placed = place([block_of(a) for a in arrays], [], directory)
    assert placed.failed is not None and placed.failed.endswith(os.strerror(errno.EIO)) and placed.in_files == 0
    for i, array in enumerate(arrays):
        assert not in_a_file(block_of(array))
        np.testing.assert_array_equal(array, array_of(20 * SMALL, i))


def test_a_folder_in_memory_is_of_no_use() -> None:
    array = array_of(20 * SMALL)
    placed = place([block_of(array)], [], Path("/dev/shm/mlc/none"))
    assert placed.failed == "as /dev/shm/mlc/none is in memory, too (tmpfs)" and not in_a_file(block_of(array))
    assert not Path("/dev/shm/mlc").exists()


def test_no_more_mappings_than_there_may_be(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [array_of(20 * SMALL), array_of(30 * SMALL)]
    monkeypatch.setattr(offload, "MAPPINGS", len(mappings()) + 3)
    placed = place([block_of(a) for a in arrays], [], directory)
    assert placed.in_memory == {REFUSED: 20 * SMALL} and in_a_file(block_of(arrays[1]))
    assert placed.failed == REFUSED and not in_a_file(block_of(arrays[0]))


def test_a_block_that_somebody_changes_meanwhile_stays(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array, other = array_of(20 * SMALL), array_of(20 * SMALL, 1)
    real = os.fdatasync

    want = array.copy()
    want[5 * PAGE] += 1

    def change(fd: int) -> None:
        array[5 * PAGE] = want[5 * PAGE]
        real(fd)

    monkeypatch.setattr(os, "fdatasync", change)
    placed = place([block_of(array), block_of(other)], [], directory)
    start, end = block_of(array).pages
    assert dict(placed.in_memory) == {CHANGED: end - start} and not in_a_file(block_of(array))
    assert in_a_file(block_of(other))
    np.testing.assert_array_equal(array, want)


def test_freed_blocks_are_memory_like_any_other(directory: Path) -> None:
    for turn in range(5):
        arrays = [array_of(n, turn) for n in SIZES * 2]
        place([block_of(a) for a in arrays], [], directory)
        kept = arrays[turn % len(arrays)]
        want = kept.copy()
        del arrays
        fresh = [np.zeros(n, np.uint8) for n in SIZES * 3]  # calloc, which need not write to fresh memory
        assert not any(a.any() for a in fresh)
        for a in fresh:
            a[:] = turn
        ctypes.CDLL(None).malloc_trim(0)
        assert all((a == turn).all() for a in fresh)
        np.testing.assert_array_equal(kept, want)


def test_who_reads_meanwhile_reads_the_same(directory: Path) -> None:
    array = array_of(200 * SMALL)
    want, wrong, done = int(array.sum()), [], threading.Event()

    def read() -> None:
        while not done.is_set():
            if int(array.sum()) != want:
                wrong.append(1)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    for _ in range(20):
        assert place([block_of(array)], [], directory).in_files
        assert place([block_of(array)], [(array.ctypes.data, 1)], directory).in_memory == {IN_PLACE: array.nbytes}
    done.set()
    for thread in readers:
        thread.join()
    assert not wrong


def test_a_child_has_its_own(directory: Path) -> None:
    array = array_of(20 * SMALL)
    place([block_of(array)], [], directory)
    want = array.copy()
    pid = os.fork()
    if pid == 0:
        array[:] = 0
        place([block_of(array)], [], directory)
        os._exit(int(array.any()))
    assert os.waitpid(pid, 0)[1] == 0
    np.testing.assert_array_equal(array, want)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("write", "place", "use", "free", "trim")), st.integers(0, 2), st.integers(0, 20 * SMALL - 1)
    ),
    max_size=8,
)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=STEPS)
def test_any_course_of_things_leaves_the_values(steps: list[tuple[str, int, int]], directory: Path) -> None:
    arrays = [array_of(n, i) for i, n in enumerate(SIZES[:3])]
    wants = [a.copy() for a in arrays]
    for what, i, at in steps:
        if what == "write":
            arrays[i][at % SIZES[i] :] += 1
            wants[i][at % SIZES[i] :] += 1
        elif what == "free":
            arrays[i] = np.zeros(SIZES[i], np.uint8)
            wants[i] = np.zeros(SIZES[i], np.uint8)
        elif what == "trim":
            ctypes.CDLL(None).malloc_trim(0)
        else:
            in_use = [(arrays[i].ctypes.data, 1)] if what == "use" else []
            placed = place([block_of(a, kept=at % (1 << 15)) for a in arrays], in_use, directory)
            assert placed.failed is None and not placed.in_memory[FOREIGN]
        for array, want in zip(arrays, wants, strict=True):
            np.testing.assert_array_equal(array, want)
