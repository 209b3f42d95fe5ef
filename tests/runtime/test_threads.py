"""How many threads: what was asked for, per process, per block of calls and per model; quotas of control groups."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import mlc
from mlc.errors import UsageError
from mlc.runtime.threads import MAX_THREADS, available_cores, quota, threads_for


@pytest.fixture(autouse=True)
def _default():
    yield
    mlc.set_num_threads(None)


def test_the_closest_request_wins():
    assert threads_for(None) == available_cores() >= 1
    mlc.set_num_threads(3)
    assert (threads_for(None), threads_for(2), mlc.get_num_threads()) == (3, 2, 3)
    with mlc.num_threads(5):
        assert (threads_for(None), threads_for(2)) == (5, 5)
        with mlc.num_threads(1):
            assert threads_for(2) == 1
        assert threads_for(2) == 5
    assert threads_for(None) == 3
    mlc.set_num_threads(None)
    assert threads_for(None) == available_cores()


def test_a_block_holds_for_its_own_thread():
    seen: list[int] = []
    mlc.set_num_threads(4)
    with mlc.num_threads(2):
        other = threading.Thread(target=lambda: seen.append(mlc.get_num_threads()))
        other.start()
        other.join()
    assert seen == [4]


def test_a_block_ends_with_an_exception():
    with pytest.raises(ZeroDivisionError), mlc.num_threads(2):
        raise ZeroDivisionError
    assert mlc.get_num_threads() == available_cores()


@pytest.mark.parametrize("count", [0, -1, MAX_THREADS + 1, 1.5, "2", True])
def test_what_is_no_number_of_threads(count: object):
    with pytest.raises(UsageError, match="num_threads is"):
        mlc.set_num_threads(count)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="num_threads is"), mlc.num_threads(count):  # pyright: ignore[reportArgumentType]
        pass


def files(root: Path, **texts: str) -> Path:
    """A file tree; `__` in a name stands for `/`."""
    for name, text in texts.items():
        path = root / name.replace("__", "/").replace("_cpu_", "cpu.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("max 100000", MAX_THREADS), ("200000 100000", 2), ("150000 100000", 1), ("5000 100000", 1), ("x", MAX_THREADS)],
)
def test_quota_of_version_2(tmp_path: Path, limit: str, cores: int):
    files(tmp_path, proc__self__cgroup="0::/a/b\n", sys__fs__cgroup__a___cpu_max=limit)
    assert quota(tmp_path) == cores


def test_the_tightest_group_above_counts(tmp_path: Path):
    files(
        tmp_path,
        proc__self__cgroup="0::/a/b\n",
        sys__fs__cgroup__a___cpu_max="300000 100000",
        sys__fs__cgroup__a__b___cpu_max="400000 100000",
        sys__fs__cgroup___cpu_max="max 100000",
    )
    assert quota(tmp_path) == 3


def test_quota_of_version_1(tmp_path: Path):
    files(
        tmp_path,
        proc__self__cgroup="4:cpu,cpuacct:/a\n3:memory:/a\n",
        **{
            "sys__fs__cgroup__cpu,cpuacct__a___cpu_cfs_quota_us": "200000\n",
            "sys__fs__cgroup__cpu,cpuacct__a___cpu_cfs_period_us": "100000\n",
        },
    )
    assert quota(tmp_path) == 2


def test_no_control_groups(tmp_path: Path):
    assert quota(tmp_path) == MAX_THREADS
