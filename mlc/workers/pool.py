"""Processes beside this one that take kernels from a queue that this process works on, too.

    with Workers(2, setup) as workers:              # they start while this process goes on
        workers.serve(queue, rows)                  # queue: deque of (key, module)
        … queue.popleft() …                         # until it is empty
        done = workers.finish()                     # by key; what is missing nobody compiled: do it here

`count_for` says how many are worth starting. `MLC_COMPILE_WORKERS` says how many instead; 0: none.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from mlc.errors import UsageError
from mlc.ir.pipeline_table import Row
from mlc.runtime.threads import available_cores
from mlc.workers.wire import READY, Done, Setup, to_job

MOST = 6
"""Processes, each of about 100 MB."""
WORTH = 24
"""Different ops of a model for each process: one is ready after about as long as it takes to compile these."""
_OF_LOOPS = frozenset(
    f"torch.{name}"
    for name in ("prim.Loop", "prim.Loop.condition", "aten.empty.memory_format", "aten.select_scatter", "aten.add.int")
)
"""What steps that became a loop have more than they had before: nothing of it is a kernel of its own."""
AHEAD = 2
"""Jobs that a process has at once: it need not wait for this one."""
PATIENCE = 60.0
"""Seconds that a process may take for its last jobs."""

CODE = "import gc, sys; gc.disable(); sys.path[:] = sys.argv[1:]; from mlc.workers.worker import main; main()"
"""What a process runs; its arguments are where this one finds modules. It ends before there is much to collect."""

Queue = deque[tuple[str, ModuleOp]]


def count_for(module: ModuleOp) -> int:
    """How many processes to start for a model, by its ops that differ in name or types."""
    asked = os.environ.get("MLC_COMPILE_WORKERS", "")
    if asked:
        if not asked.isdecimal():
            raise UsageError(f"MLC_COMPILE_WORKERS is '{asked}'", expected="a number of processes, 0 for none")
        return int(asked) if _can_start() else 0
    kinds = {(op.name, op.operand_types, op.result_types) for op in module.walk() if op.name not in _OF_LOOPS}
    return min(available_cores() - 1, len(kinds) // WORTH, MOST) if _can_start() else 0


def _can_start() -> bool:
    """Whether `sys.executable` is a Python that runs what it is told, and threads can be started to talk to it."""
    python = Path(sys.executable or "").name.lower().startswith(("python", "pypy"))
    return python and not getattr(sys, "frozen", False) and threading.main_thread().is_alive()


class Workers:
    """Some processes, and what they have compiled."""

    def __init__(self, count: int, setup: Setup) -> None:
        self._workers: list[_Worker] = []
        for _ in range(count):
            with contextlib.suppress(OSError):  # no more processes: fewer do it
                self._workers.append(_Worker(setup))

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()

    def serve(self, queue: Queue, rows: Callable[[str], tuple[Row, ...]]) -> None:
        """Let all of them take kernels from the front of `queue`, each to be lowered by the rows for its key."""
        for worker in self._workers:
            worker.serve(queue, rows)

    def finish(self) -> dict[str, Done]:
        """What they have compiled, when the queue is empty: waits for what they are at."""
        return {key: done for worker in self._workers for key, done in worker.finish().items()}


class _Worker:
    """One process and the thread that talks to it."""

    def __init__(self, setup: Setup) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CODE, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt from the terminal is for this process
        )
        self._done: dict[str, Done] = {}
        self._waiting: deque[str] = deque()
        self._thread: threading.Thread | None = None
        with contextlib.suppress(OSError):  # it has ended already: that is noticed when it is to answer
            self._say(setup)  # a few KB, which the pipe holds: it gets ready while this process goes on

    def serve(self, queue: Queue, rows: Callable[[str], tuple[Row, ...]]) -> None:
        """Start to take kernels from the front of `queue`."""
        self._thread = threading.Thread(target=self._talk, args=(queue, rows), daemon=True, name="mlc-compile")
        self._thread.start()

    def _talk(self, queue: Queue, rows: Callable[[str], tuple[Row, ...]]) -> None:
        # A process that has ended, or says something odd, gets no more: what it was at is compiled elsewhere.
        with contextlib.suppress(OSError, EOFError, pickle.PickleError, ValueError):
            if self._hear() != READY:
                return
            while True:
                while len(self._waiting) < AHEAD and queue:
                    try:
                        key, module = queue.popleft()
                    except IndexError:  # others were faster
                        break
                    self._waiting.append(key)
                    self._say(to_job(key, rows(key), module))
                if not self._waiting:
                    return
                done = self._hear()
                if done.code is not None:
                    self._done[done.key] = done
                self._waiting.popleft()

    def _say(self, what: object) -> None:
        assert self._process.stdin is not None
        pickle.dump(what, self._process.stdin)
        self._process.stdin.flush()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        return pickle.load(self._process.stdout)

    def finish(self) -> dict[str, Done]:
        """What it has compiled; waits for what it is at, not for a process that has nothing to do."""
        if self._thread is not None and self._waiting:
            self._thread.join(PATIENCE)
        self.end()
        return self._done

    def end(self) -> None:
        """Stop the process. The thread ends with it."""
        self._process.kill()
        self._process.wait()
        if self._thread is not None:
            self._thread.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not written yet
                    pipe.close()
