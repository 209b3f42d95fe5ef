"""Ratios within a round, the best peer, shares of the limits."""

from __future__ import annotations

import pytest

from benchmarks.measure import quartiles
from benchmarks.summary import geometric_mean, slowdown, summarise
from tests.benchmarks.records import engine, record, results

LIMITS = results()["limits"]["1"]


def test_quartiles():
    assert quartiles([4.0]) == [4.0, 4.0, 4.0]
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == [2.0, 3.0, 4.0]


def test_ratios_are_taken_within_a_round():
    """The machine became half as fast in the second round: the ratio does not see it."""
    s = summarise(record(mlc=engine(100.0, 200.0, 100.0), ort=engine(80.0, 160.0, 80.0)), LIMITS)
    assert s.ratio["ort"] == pytest.approx([0.8, 0.8, 0.8])


def test_the_best_peer_is_the_fastest_of_all_others():
    s = summarise(record(mlc=engine(100.0), eager=engine(300.0), ort=engine(90.0), jit={"failed": "why"}), LIMITS)
    assert (s.best, s.to_best, s.to_eager) == ("ort", pytest.approx(0.9), pytest.approx(3.0))
    assert "jit" not in s.ms


def test_shares_of_the_limits():
    """8 GFLOP in 0.1 s of 100 GFLOP/s; 100 MB in 0.1 s of 20 GB/s."""
    s = summarise(record(mlc=engine(100.0), eager=engine(300.0)), LIMITS)
    assert (s.fma, s.bandwidth) == (pytest.approx(0.8), pytest.approx(0.05))


def test_without_mlc_nothing_is_compared():
    s = summarise(record(mlc={"failed": "why"}, eager=engine(300.0)), LIMITS)
    assert (s.best, s.to_best, s.to_eager, s.fma) == ("eager", None, None, None)


def test_slowdown_is_contended_over_quiet_of_the_same_round():
    assert slowdown({"quiet": [10.0, 20.0], "turns": [15.0, 30.0]}) == pytest.approx([1.5, 1.5, 1.5])
    assert slowdown({"failed": "why"}) is None


def test_geometric_mean():
    assert geometric_mean([0.5, 2.0]) == pytest.approx(1.0)
    assert geometric_mean([]) is None
