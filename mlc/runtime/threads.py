"""How many threads run a compiled model, and the workers that help.

    mlc.set_num_threads(2)                # models compiled without num_threads, in the whole process
    with mlc.num_threads(1): model(x)     # these calls, whatever else was said

Native code gets a team, `{parallel_for, number of threads, stream_for}`, or null to run alone; `stream_for` runs the
loops that stream memory (`parallel.streams`), and differs for a thread alone that runs them backwards. The workers are
one pool per process, made when first needed, asleep between calls, ended before the interpreter is; a child after a
fork makes its own.
Tests: tests/runtime/test_threads.py
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import operator
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlc.errors import UsageError

MAX_THREADS = 4096

_VOID = ctypes.CFUNCTYPE(None)


class _Team(ctypes.Structure):
    _fields_ = (("parallel_for", ctypes.c_void_p), ("threads", ctypes.c_int64), ("stream_for", ctypes.c_void_p))


class ThreadPool:
    """The native workers by the addresses of their code; `owner` keeps the code mapped for as long as they live."""

    def __init__(
        self, *, parallel_for: int, run_alone: int, run_backwards: int, stop: int, reset: int, owner: Any
    ) -> None:
        self._parallel_for = parallel_for
        self._backwards = _Team(run_alone, 1, run_backwards)
        self._owner = owner
        self._teams: dict[int, _Team] = {}
        self._addresses: dict[int, int] = {1: 0}
        atexit.register(_VOID(stop))
        os.register_at_fork(after_in_child=_VOID(reset))
        os.register_at_fork(after_in_child=_cores.cache_clear)

    def team(self, threads: int) -> int:
        """Address of a team of this size; 0 for a thread alone."""
        address = self._addresses.get(threads)
        if address is None:
            team = self._teams.setdefault(threads, _Team(self._parallel_for, threads, self._parallel_for))
            address = self._addresses[threads] = ctypes.addressof(team)
        return address

    def backwards(self) -> int:
        """Address of a team of one thread that runs loops that stream memory from their last piece to the first."""
        return ctypes.addressof(self._backwards)


class _Here(threading.local):
    threads: int | None = None


_here = _Here()
_process_wide: int | None = None


def set_num_threads(count: int | None) -> None:
    """Threads for models compiled without `num_threads`. None: one per core that this process may use."""
    global _process_wide
    _process_wide = checked(count) if count is not None else None
    _cores.cache_clear()


def get_num_threads() -> int:
    """How many threads a model compiled without `num_threads` uses when called here."""
    return threads_for(None)


@contextmanager
def num_threads(count: int) -> Iterator[None]:
    """Run the calls inside, on this Python thread, with `count` threads."""
    before, _here.threads = _here.threads, checked(count)
    try:
        yield
    finally:
        _here.threads = before


def threads_for(own: int | None) -> int:
    """Threads for a call of a model compiled with `num_threads=own`."""
    return _here.threads or own or _process_wide or _cores()


def checked(value: object) -> int:
    """A number of threads that can be; UsageError otherwise."""
    try:
        if isinstance(value, bool):
            raise TypeError
        count = operator.index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise UsageError(f"num_threads is {value!r}", expected="a whole number of threads, or None") from None
    if not 1 <= count <= MAX_THREADS:
        raise UsageError(f"num_threads is {count}", expected=f"1 to {MAX_THREADS}, or None for all cores")
    return count


def available_cores() -> int:
    """Cores this process may use: its affinity, and the quotas of its control groups."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, quota(Path("/")))


_cores = functools.cache(available_cores)
"""As found at the first call, in this process; `set_num_threads(None)` looks again."""


def quota(root: Path) -> int:
    """Whole cores that the control groups above this process allow, at least one; version 2 and version 1."""
    best = MAX_THREADS
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        groups = []
    for line in [*groups, "0::/"]:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            base = root / "sys/fs/cgroup"
        elif "cpu" in controllers.split(","):
            base = root / "sys/fs/cgroup" / controllers
        else:
            continue
        group = base / path.lstrip("/")
        for folder in (group, *group.parents):
            best = min(best, _quota_of(folder))
            if folder == base:
                break
    return best


def _quota_of(folder: Path) -> int:
    """Whole cores by one group's own limit."""
    try:
        if (limit := folder / "cpu.max").is_file():
            quota, period = limit.read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{n}_us").read_text().strip() for n in ("quota", "period"))
        return max(1, int(quota) // int(period)) if quota not in ("max", "-1") else MAX_THREADS
    except (OSError, ValueError):
        return MAX_THREADS
