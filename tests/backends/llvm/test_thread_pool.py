"""The thread pool's native code: every iteration once, many callers, forks, signals, float modes, the end of a
process."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from mlc.backends.llvm.thread_pool import thread_pool
from mlc.dialects.linalg_ext.private_op import MOST_BYTES

POOL = thread_pool()
BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


def parallel_for(threads: int, body: Callable[[int, int], Any], count: int, grain: int = 1) -> None:
    """Run `body(begin, end)` over 0 to `count` on the pool."""
    with_own(threads, lambda begin, end, _: body(begin, end), count, grain)


def with_own(
    threads: int, body: Callable[[int, int, int | None], Any], count: int, grain: int = 1, cost: int = 1 << 30
) -> None:
    """Run `body(begin, end, own memory)` over 0 to `count` on the pool."""
    assert POOL is not None
    team = POOL.team(threads)
    code = ctypes.cast(ctypes.c_void_p.from_address(team).value or 0, ctypes.c_void_p)
    kinds = [ctypes.c_void_p, BODY, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64]
    run = ctypes.CFUNCTYPE(None, *kinds)(code.value or 0)
    run(team, BODY(lambda _, begin, end, own: body(begin, end, own)), None, count, grain, cost)


@pytest.mark.parametrize("threads", [2, 3, 7])
@pytest.mark.parametrize(("count", "grain"), [(0, 1), (1, 1), (2, 1), (97, 1), (97, 8), (97, 96), (5, 100)])
def test_every_iteration_runs_once(threads: int, count: int, grain: int):
    pieces: list[tuple[int, int]] = []
    parallel_for(threads, lambda begin, end: pieces.append((begin, end)), count, grain)
    assert sorted(i for begin, end in pieces for i in range(begin, end)) == list(range(count))
    # Only the last piece may be smaller than the grain.
    assert all(end - begin >= grain for begin, end in pieces if end != count)


def test_workers_take_part():
    """A worker joins while the caller waits in its first piece for somebody else to have run one."""
    seen: set[int] = set()
    second = threading.Event()

    def body(begin: int, end: int) -> None:
        seen.add(threading.get_native_id())
        if len(seen) > 1:
            second.set()
        second.wait(30)

    for _ in range(100):  # the pool may be resting after a run on a busy machine
        if not second.is_set():
            seen.clear()
            parallel_for(2, body, 2) if _rested() else time.sleep(0.1)
    assert second.is_set() and len(seen) == 2


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is only one processor")
def test_workers_leave_the_callers_processor_to_it():
    """Wherever the caller runs, and nowhere else; a worker that had no other processor stays where it is."""
    code = """
        import os, time
        from tests.backends.llvm.test_thread_pool import parallel_for

        def workers_run_on(expected):
            for _ in range(100):  # the pool may be resting after a run on a busy machine
                parallel_for(2, lambda begin, end: None, 2)
                workers = set(os.listdir("/proc/self/task")) - before
                if workers and all(os.sched_getaffinity(int(w)) == expected for w in workers):
                    return
                time.sleep(0.1)
            raise SystemExit(f"workers may run on {[os.sched_getaffinity(int(w)) for w in workers]}, not {expected}")

        before = set(os.listdir("/proc/self/task"))
        everywhere = os.sched_getaffinity(0)
        parallel_for(2, lambda begin, end: None, 2)
        for processor in (*sorted(everywhere)[:2], min(everywhere)):
            os.sched_setaffinity(0, {processor})
            workers_run_on(everywhere - {processor})
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
    alone = """
        import os
        from tests.backends.llvm.test_thread_pool import parallel_for

        before = set(os.listdir("/proc/self/task"))
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        parallel_for(2, lambda begin, end: None, 2)
        assert {int(w) for w in os.listdir("/proc/self/task")} - {int(w) for w in before}
        for w in set(os.listdir("/proc/self/task")) - before:
            assert os.sched_getaffinity(int(w)) == os.sched_getaffinity(0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(alone)], check=True)


def test_workers_have_memory_of_their_own_and_the_caller_none():
    """As much as private buffers may take, to the last byte, in whole cache lines."""
    own: dict[int, int | None] = {}
    both = threading.Event()

    def body(begin: int, end: int, mine: int | None) -> None:
        own[threading.get_native_id()] = mine
        if mine is not None:
            ctypes.memset(mine, 1, MOST_BYTES)
        if len(own) > 1:
            both.set()
        both.wait(30)

    for _ in range(100):
        if not both.is_set():
            own.clear()
            with_own(2, body, 2) if _rested() else time.sleep(0.1)
    assert own.pop(threading.get_native_id()) is None
    (mine,) = own.values()
    assert mine is not None and mine % 64 == 0


def _rested() -> bool:
    """Whether the pool hands out work right now."""
    pieces: list[int] = []
    parallel_for(2, lambda begin, end: pieces.append(end), 64)
    return len(pieces) > 1


def test_parts_are_the_same_in_every_loop():
    """The caller begins with the first iteration, the worker in the middle: what each wrote is in its core's caches."""
    script = """
        me = threading.get_native_id()
        first = {}
        both = threading.Event()
        def body(begin, end):
            first.setdefault(threading.get_native_id() == me, begin)
            if len(first) > 1:
                both.set()
            both.wait(30)
        for _ in range(100):
            if not both.is_set():
                first.clear()
                parallel_for(2, body, 10) if _rested() else time.sleep(0.1)
        assert first == {True: 0, False: 5}, first
    """
    done = run_script("from tests.backends.llvm.test_thread_pool import _rested\n" + textwrap.dedent(script))
    assert done.returncode == 0, done.stderr


def test_little_work_wakes_nobody_until_it_adds_up():
    """Asleep, the worker is not called for one small loop; for many, one after the other, it is."""
    script = """
        def loop(cost):
            seen = set()
            with_own(2, lambda b, e, own: (seen.add(threading.get_native_id()), time.sleep(0.001)), 8, 1, cost)
            return len(seen)
        while loop(1 << 30) < 2:
            time.sleep(0.1)
        for _ in range(3):
            time.sleep(0.1)
            assert loop(1000) == 1
        team = POOL.team(2)
        code = ctypes.c_void_p.from_address(team).value
        run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3)(code)
        nothing = ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p).value
        def switches():
            me = threading.get_native_id()
            (other,) = (t for t in os.listdir("/proc/self/task") if int(t) != me)
            return open(f"/proc/self/task/{other}/schedstat").read().split()[2]
        time.sleep(0.1)
        before = switches()
        while switches() == before:
            run(team, nothing, None, 8, 1, 10000)
    """
    done = run_script(script)
    assert done.returncode == 0, done.stderr


def test_many_callers_at_once():
    totals = [0] * 6
    failures: list[BaseException] = []

    def caller(k: int) -> None:
        try:
            for _ in range(50):
                got: list[int] = []
                parallel_for(2 + k % 3, lambda begin, end, got=got: got.extend(range(begin, end)), 40)
                assert sorted(got) == list(range(40))
                totals[k] += 1
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=caller, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures and totals == [50] * 6


def test_a_loop_inside_a_loop_runs_alone():
    got: list[tuple[int, int]] = []

    def outer(begin: int, end: int) -> None:
        for i in range(begin, end):
            parallel_for(2, lambda b, e, i=i: got.extend((i, j) for j in range(b, e)), 5)

    parallel_for(2, outer, 4)
    assert sorted(got) == [(i, j) for i in range(4) for j in range(5)]


def test_a_child_after_a_fork_has_its_own_workers():
    parallel_for(3, lambda begin, end: None, 50)
    child = os.fork()
    if child == 0:
        got: list[int] = []
        for _ in range(20):
            parallel_for(3, lambda begin, end: got.extend(range(begin, end)), 50)
        os._exit(0 if len(got) == 20 * 50 else 1)
    assert os.waitpid(child, 0)[1] == 0
    parallel_for(3, lambda begin, end: None, 50)


def run_script(body: str) -> subprocess.CompletedProcess[str]:
    """A process of its own."""
    head = "import ctypes, os, signal, sys, threading, time\nfrom tests.backends.llvm.test_thread_pool import *\n"
    return subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(body)], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    "last", ["", "sys.exit(3)", "os.fork() or os._exit(0)", "threading.Thread(target=forever, daemon=True).start()"]
)
def test_the_process_ends_cleanly(last: str):
    script = f"""
        def forever():
            while True:
                parallel_for(3, lambda begin, end: None, 100)
        for _ in range(10):
            parallel_for(3, lambda begin, end: None, 100)
        {last}
    """
    done = run_script(script)
    assert done.returncode == (3 if "exit(3)" in last else 0) and done.stderr == ""


def test_signals_stay_with_the_hosts_own_threads():
    script = """
        got = []
        signal.signal(signal.SIGUSR1, lambda *_: got.append(threading.current_thread() is threading.main_thread()))
        parallel_for(4, lambda begin, end: time.sleep(0.001), 40)
        blocked = 0
        for task in os.listdir("/proc/self/task"):
            status = open(f"/proc/self/task/{task}/status").read()
            mask = int(status.split("SigBlk:")[1].split()[0], 16)
            blocked += bool(mask >> (signal.SIGUSR1 - 1) & 1)
        assert blocked == 3, blocked
        os.kill(os.getpid(), signal.SIGUSR1)
        while not got:
            time.sleep(0.01)
        assert got == [True]
    """
    done = run_script(script)
    assert done.returncode == 0, done.stderr


def test_workers_sleep_when_there_is_nothing_to_do():
    script = """
        parallel_for(4, lambda begin, end: time.sleep(0.001), 40)
        def others():
            me = threading.get_native_id()
            tasks = [t for t in os.listdir("/proc/self/task") if int(t) != me]
            return [open(f"/proc/self/task/{t}/stat").read().rsplit(")", 1)[1].split()[0] for t in tasks]
        while others() != ["S"] * 3:
            time.sleep(0.01)
        def used():
            me = threading.get_native_id()
            tasks = [t for t in os.listdir("/proc/self/task") if int(t) != me]
            return [open(f"/proc/self/task/{t}/schedstat").read().split()[2] for t in tasks]
        before = used()
        time.sleep(0.3)
        assert used() == before  # nobody was scheduled even once
    """
    done = run_script(script)
    assert done.returncode == 0, done.stderr


def test_float_mode_of_the_caller_holds_on_every_thread():
    """Flushing denormals is a property of a thread: workers take it over from the caller."""
    script = """
        import torch
        import mlc
        class Small(torch.nn.Module):
            def forward(self, x):
                return x * 1e-3
        x = torch.full((512, 4096), 1e-37)
        model = mlc.compile(Small(), num_threads=4)
        assert torch.all(model(x) != 0)
        if torch.set_flush_denormal(True):
            for _ in range(20):
                assert torch.all(model(x) == 0)
    """
    done = run_script(script)
    assert done.returncode == 0, done.stderr
