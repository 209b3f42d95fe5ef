"""One row from end to end, with the engines that need no extra."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import plan, worker
from benchmarks.engines import ENGINES
from benchmarks.limits import limits
from benchmarks.measure import measure
from benchmarks.plan import Unit
from benchmarks.summary import summarise


def test_a_row(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plan, "SHORT_ROUND", float("inf"))
    monkeypatch.setattr(plan, "SHORT_ROUNDS", 3)
    said: list[str] = []
    record = measure(Unit("mlp_b1", 1), ["mlc", "eager"], 2, said.append)
    assert (record["row"], record["threads"], record["contended"]) == ("mlp_b1", 1, False)
    assert record["flops"] == 2 * (784 * 512 + 512 * 512 + 512 * 10)
    assert record["weight_bytes"] == 4 * (784 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10)
    assert record["io_bytes"] == 4 * (784 + 10)
    for engine in record["engines"].values():
        assert len(engine["turns"]) == 3 and min(engine["turns"]) > 0
        assert 0 < engine["error"] < 1e-5
        assert engine["running_mb"] > 0 and engine["cached_s"] > 0
    ours = record["engines"]["mlc"]
    assert ours["loaded_s"] > 0 and ours["loaded_mb"] > 0 and "loaded_s" not in record["engines"]["eager"]
    assert summarise(record, None).to_eager is not None
    assert said[0] == "float64 run" and "eager, from its cache" in said
    assert [text for text in said if "round" in text] == ["round 1 of 3", "round 2 of 3", "round 3 of 3"]


def test_short_rows_get_more_rounds():
    assert (plan.rounds(1, 0.1), plan.rounds(40, 0.1), plan.rounds(1, 9.0)) == (25, 40, 1)


def test_a_turn_is_as_long_as_foretold(monkeypatch: pytest.MonkeyPatch):
    """A call of 4 ms: one untimed and two that are timed."""
    clock = iter([0.0, 0.004])
    monkeypatch.setattr(worker.time, "perf_counter", lambda: next(clock))
    assert worker.repeats(lambda: None) == (2, pytest.approx(0.012))


def test_an_engine_that_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch):
    def a_file_for_a_directory(files: Path) -> dict[str, str]:
        files.rmdir()
        files.write_text("")
        return {}

    monkeypatch.setattr(plan, "SHORT_ROUND", 0.0)
    monkeypatch.setitem(ENGINES, "mlc", replace(ENGINES["mlc"], environment=a_file_for_a_directory))
    engines = measure(Unit("mlp_b1", 1), ["mlc", "eager"], 1, lambda text: None)["engines"]
    assert "a directory" in engines["mlc"]["failed"]
    assert "failed" not in engines["eager"] and len(engines["eager"]["turns"]) == 1


def test_limits():
    found = limits(1, rounds=2, block_bytes=1 << 20)
    assert found.keys() == {"gflops", "read_gb", "copy_gb"}
    assert min(found.values()) > 0
