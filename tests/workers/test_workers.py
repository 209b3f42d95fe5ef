"""Kernels compiled in other processes: the same bytes and remarks as here, whatever becomes of the processes."""

from __future__ import annotations

import dataclasses
import io
import itertools
import pickle
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import mlc
from mlc.backends.llvm.target import host_machine
from mlc.backends.registry import load_backend
from mlc.build import run_rows
from mlc.compile_parts import MAIN, compile_parts, workers_for
from mlc.errors import UsageError
from mlc.frontends.torch.record import capture
from mlc.ir.compact import to_compact
from mlc.ir.context import MlcContext, make_context
from mlc.ir.pipeline_table import CPU_PIPELINE, Row
from mlc.module_parts import ModuleParts, split_module
from mlc.options import Options
from mlc.workers import pool
from mlc.workers.pool import Queue, Workers, count_for
from mlc.workers.wire import READY, Done, Setup, to_job, to_module
from mlc.workers.worker import serve

CPU = load_backend("native")
ROWS = tuple(row for rows in CPU_PIPELINE.kernel_rows() for row in rows)
SAYS_READY = f"import sys, time; sys.stdout.buffer.write({pickle.dumps(READY)!r}); sys.stdout.flush()"


def network(layers: int = 6) -> tuple[nn.Module, torch.Tensor]:
    """Convolutions of different sizes: a kernel or more for each."""
    torch.manual_seed(0)
    channels = [3, *(8 * (i + 1) for i in range(layers))]
    convs = [nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(channels)]
    return nn.Sequential(*(nn.Sequential(conv, nn.ReLU()) for conv in convs)).eval(), torch.rand(1, 3, 10, 10)


def parts_of(model: nn.Module, x: torch.Tensor) -> tuple[MlcContext, ModuleParts]:
    """The model at the buffers level, taken apart."""
    ctx = make_context()
    ctx.machine = host_machine()
    module = capture(model, (x,), {}, ctx.resources).module
    run_rows(CPU_PIPELINE.module, ctx, module, Options())
    return ctx, split_module(module, "test")


@pytest.fixture
def setup() -> Setup:
    return Setup(CPU, host_machine(), ROWS)


def compiled_by(workers: Workers, ctx: MlcContext, parts: ModuleParts) -> dict[str, bytes]:
    return compile_parts(parts.main, parts.kernels, lambda _: ROWS, ctx, CPU, Options(), workers)


def wait_until_empty(queue: Queue) -> None:
    deadline = time.monotonic() + 120
    while queue and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not queue


def test_processes_make_the_same_bytes_and_remarks(setup: Setup) -> None:
    here, parts = parts_of(*network())
    before = len(here.remarks)
    expected = compiled_by(Workers(0, setup), here, parts)
    assert len(parts.kernels) > 5

    _, again = parts_of(*network())
    queue: Queue = deque((k.key, k.module) for k in again.kernels)
    with Workers(2, setup) as workers:
        workers.serve(queue, lambda _: ROWS)
        wait_until_empty(queue)  # they take all of them
        done = workers.finish()
    assert {key: found.code for key, found in done.items()} == {k: v for k, v in expected.items() if k != MAIN}
    remarks = [r for k in again.kernels for r in done[k.key].remarks]
    mine = list(here.remarks)[before:]
    assert remarks == mine[len(mine) - len(remarks) :]
    assert remarks
    assert any(r.where for r in remarks)  # locations came along


def test_remarks_stand_in_the_order_of_the_parts_and_rules_are_counted(setup: Setup) -> None:
    alone, parts = parts_of(*network())
    expected = compiled_by(Workers(0, setup), alone, parts)
    shared, again = parts_of(*network())
    with Workers(1, setup) as workers:
        assert compiled_by(workers, shared, again) == expected
    assert list(shared.remarks) == list(alone.remarks)
    assert shared.remarks.fired == alone.remarks.fired


IDLE = {
    "fails": "raise SystemExit(1)",
    "prints": "print('hello')",
    "hears nothing": "import os; os.close(0)",
    "stalls": f"{SAYS_READY}; time.sleep(600)",
    "ends": SAYS_READY,
}


@pytest.mark.parametrize("code", IDLE.values(), ids=IDLE)
def test_a_process_that_does_not_do_its_work_is_made_up_for(
    code: str, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CODE", code)
    monkeypatch.setattr(pool, "PATIENCE", 0.2)
    ctx, parts = parts_of(*network(3))
    keys = {MAIN, *(k.key for k in parts.kernels)}
    with Workers(2, setup) as workers:
        assert set(compiled_by(workers, ctx, parts)) == keys


def test_no_process_can_be_started(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python3")
    ctx, parts = parts_of(*network(2))
    with Workers(2, setup) as workers:
        assert set(compiled_by(workers, ctx, parts)) == {MAIN, *(k.key for k in parts.kernels)}


def test_processes_and_threads_end_when_this_one_is_interrupted(setup: Setup) -> None:
    _, parts = parts_of(*network(3))
    queue: Queue = deque((k.key, k.module) for k in parts.kernels)
    workers = Workers(2, setup)
    with pytest.raises(KeyboardInterrupt), workers:
        workers.serve(queue, lambda _: ROWS)
        raise KeyboardInterrupt
    assert all(w._process.poll() is not None for w in workers._workers)
    assert not [t for t in threading.enumerate() if t.name == "mlc-compile"]


def answers_to(setup: Setup, jobs: list[object]) -> Iterator[object]:
    """What `serve` answers, in this process."""
    asked, answers = io.BytesIO(b"".join(pickle.dumps(j) for j in (setup, *jobs))), io.BytesIO()
    serve(asked, answers)
    answers.seek(0)
    while answers.tell() < len(answers.getvalue()):
        yield pickle.load(answers)


def test_what_fails_there_is_left_for_here(setup: Setup) -> None:
    _, parts = parts_of(*network(2))
    first, second = parts.kernels[:2]
    bad = dataclasses.replace(to_job(first.key, ROWS, first.module), text="{}")
    ready, none, done = answers_to(setup, [bad, to_job(second.key, ROWS, second.module)])
    assert ready == READY
    assert isinstance(none, Done)
    assert isinstance(done, Done)
    assert none.code is None
    assert (done.key, done.code is None) == (second.key, False)


def test_an_error_is_reported_by_this_process(setup: Setup) -> None:
    ctx, parts = parts_of(*network(2))
    rows = (*ROWS[:1], Row("no-such-pass", "loops"))
    with Workers(1, setup) as workers, pytest.raises(UsageError, match="no-such-pass"):
        _ = compile_parts(parts.main, parts.kernels, lambda _: rows, ctx, CPU, Options(), workers)


def test_jobs_keep_the_module_and_its_locations() -> None:
    ctx, parts = parts_of(*network(2))
    for kernel in parts.kernels:
        other = to_module(pickle.loads(pickle.dumps(to_job(kernel.key, ROWS, kernel.module))), ctx)
        assert to_compact(other) == to_compact(kernel.module)
        assert [op.location for op in other.walk()] == [op.location for op in kernel.module.walk()]


def test_how_many_are_started(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = make_context()
    small = capture(*network(1)[:1], (network(1)[1],), {}, ctx.resources).module
    large = capture(*network(40)[:1], (network(40)[1],), {}, ctx.resources).module
    monkeypatch.delenv("MLC_COMPILE_WORKERS", raising=False)
    monkeypatch.setattr(pool, "available_cores", lambda: 64)
    assert count_for(small) == 0
    assert 0 < count_for(large) <= pool.MOST
    monkeypatch.setattr(pool, "available_cores", lambda: 2)
    assert count_for(large) == 1
    monkeypatch.setattr(pool, "available_cores", lambda: 1)
    assert count_for(large) == 0
    monkeypatch.setenv("MLC_COMPILE_WORKERS", "3")
    assert count_for(small) == 3
    monkeypatch.setattr(sys, "executable", "/usr/bin/blender")
    assert count_for(large) == 0
    monkeypatch.setenv("MLC_COMPILE_WORKERS", "many")
    with pytest.raises(UsageError, match="MLC_COMPILE_WORKERS is 'many'"):
        _ = count_for(large)


def test_none_for_passes_or_backends_that_they_would_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLC_COMPILE_WORKERS", "1")
    ctx = make_context()
    ctx.machine = host_machine()
    source = capture(*network(1)[:1], (network(1)[1],), {}, ctx.resources).module
    other = CPU_PIPELINE.insert("canonicalize", after="bufferize")
    for module, pipeline, options in (
        (None, CPU_PIPELINE, Options()),
        (source, other, Options()),
        (source, CPU_PIPELINE, Options(debug="verify")),
    ):
        with workers_for(module, CPU, pipeline, ctx, options) as workers:
            assert not workers._workers
    with workers_for(source, CPU, CPU_PIPELINE, ctx, Options()) as workers:
        assert len(workers._workers) == 1


def test_a_saved_model_has_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network()
    saved: list[bytes] = []
    for count in ("0", "2"):
        monkeypatch.setenv("MLC_COMPILE_WORKERS", count)
        with torch.no_grad():
            compiled = mlc.compile(model, (x,), cache_dir=tmp_path / count)
            assert torch.allclose(compiled(x), model(x), atol=1e-5)
        compiled.save(tmp_path / f"{count}.mlc")
        saved.append((tmp_path / f"{count}.mlc").read_bytes())
    assert saved[0] == saved[1]


def test_kernels_that_take_long_come_first(setup: Setup) -> None:
    class Noting(Workers):
        """Notes the queue instead of working on it."""

        def serve(self, queue: Queue, rows: object) -> None:
            self.keys = [key for key, _ in queue]
            queue.clear()

    ctx, parts = parts_of(*network())
    workers = Noting(0, setup)
    rows = {kernel.key: [op.name for op in kernel.module.walk()] for kernel in parts.kernels}
    compiled_by(workers, ctx, parts)
    assert sorted(workers.keys) == sorted(rows)
    assert workers.keys != [kernel.key for kernel in parts.kernels]
    winograd = [any("winograd" in name for name in rows[key]) for key in workers.keys]
    assert winograd == sorted(winograd, reverse=True) and any(winograd)
