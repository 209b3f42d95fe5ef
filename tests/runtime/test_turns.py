"""Calls that go back and forth through constants which do not quite fit the second-level cache."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
import torch

import mlc
from mlc.backends.llvm.thread_pool import thread_pool
from mlc.runtime import executable as runtime
from mlc.runtime.cpu_caches import cache_bytes
from mlc.runtime.executable import Executable, NativeCode
from mlc.runtime.threads import ThreadPool

POOL = thread_pool()
BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
LOOP = ctypes.CFUNCTYPE(None, ctypes.c_void_p, BODY, ctypes.c_void_p, *[ctypes.c_int64] * 3)
WORDS = ("parallel_for", "threads", "stream_for")

pytestmark = pytest.mark.skipif(POOL is None, reason="there is no thread pool here")


def _word(team: int, name: str) -> int:
    return ctypes.c_int64.from_address(team + 8 * WORDS.index(name)).value


def _pieces(run: int, team: int, count: int, grain: int) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    LOOP(run)(team, BODY(lambda _, begin, end, own: seen.append((begin, end))), None, count, grain, 1 << 30)
    return seen


@pytest.mark.parametrize(
    ("count", "grain", "pieces"),
    [(0, 1, []), (1, 4, [(0, 1)]), (6, 2, [(4, 6), (2, 4), (0, 2)]), (7, 3, [(6, 7), (3, 6), (0, 3)])],
)
def test_what_streams_runs_from_the_last_piece_to_the_first(count: int, grain: int, pieces: list[tuple[int, int]]):
    assert POOL is not None
    team = POOL.backwards()
    assert _word(team, "threads") == 1
    assert _pieces(_word(team, "stream_for"), team, count, grain) == pieces


def test_other_loops_run_whole():
    assert POOL is not None
    team = POOL.backwards()
    assert _pieces(_word(team, "parallel_for"), team, 7, 2) == [(0, 7)]


def test_a_team_of_several_has_one_way_to_run_loops():
    assert POOL is not None
    team = POOL.team(2)
    assert _word(team, "parallel_for") == _word(team, "stream_for")


def _executable(constants: int) -> Executable:
    code = NativeCode(1, 1, None, None)
    return Executable(code, (), (), [np.zeros(constants, np.uint8)], pool=POOL, num_threads=1)


def test_every_other_call_goes_back_where_constants_almost_fit(monkeypatch: pytest.MonkeyPatch):
    assert POOL is not None
    monkeypatch.setattr(runtime, "cache_bytes", lambda level: {2: 1 << 10}[level])
    back = POOL.backwards()
    assert [_executable(1 << 11).team() for _ in range(2)] == [0, 0]  # each begins with its own first call
    between = _executable(1 << 11)
    assert [between.team() for _ in range(4)] == [0, back, 0, back]
    between.num_threads = 2
    assert [between.team() for _ in range(2)] == [POOL.team(2)] * 2
    for constants in (1 << 9, 1 << 12):
        other = _executable(constants)
        assert [other.team() for _ in range(3)] == [0, 0, 0]


def test_where_the_cache_is_not_known_no_call_goes_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runtime, "cache_bytes", lambda level: None)
    executable = _executable(1 << 21)
    assert [executable.team() for _ in range(3)] == [0, 0, 0]


def _mlp(rows: int) -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    width = int(((cache_bytes(2) or 1 << 20) / 4) ** 0.5) // 16 * 16  # each layer has as many bytes as the cache
    layers = [torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, width)]
    return torch.nn.Sequential(*layers).eval(), torch.randn(rows, width)


@pytest.mark.parametrize("rows", [1, 40])
def test_both_ways_give_the_same_bits(rows: int):
    model, x = _mlp(rows)
    compiled = mlc.compile(model, (x,), num_threads=1)
    with torch.inference_mode():
        first, *others = [compiled(x) for _ in range(5)]
        assert all(torch.equal(first, other) for other in others)
        torch.testing.assert_close(first, model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("rows", "way"), [(1, "stream_for"), (64, "parallel_for")])
def test_a_row_streams_its_weights_and_many_do_not(rows: int, way: str, monkeypatch: pytest.MonkeyPatch):
    """Native code asks the team's `stream_for` for products of one row, `parallel_for` for those of many."""
    asked: list[str] = []

    def loop(name: str) -> Any:
        def run(team: int, body: Any, context: int, count: int, grain: int, cost: int) -> None:
            asked.append(name)
            body(context, 0, count, None)

        return LOOP(run)

    loops = [loop("parallel_for"), loop("stream_for")]
    address = [ctypes.cast(made, ctypes.c_void_p).value or 0 for made in loops]
    team = (ctypes.c_int64 * 3)(address[0], 1, address[1])
    monkeypatch.setattr(ThreadPool, "backwards", lambda self: ctypes.addressof(team))
    monkeypatch.setattr(runtime, "TURNS", (0.0, 1e9))
    model, x = _mlp(rows)
    compiled = mlc.compile(model, (x,), num_threads=1, winograd=False)
    first = compiled(x)
    assert not asked
    assert torch.equal(first, compiled(x))
    assert set(asked) == {way}
