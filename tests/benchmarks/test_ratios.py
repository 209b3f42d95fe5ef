"""Stored ratios and regressions against them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import ratios
from tests.benchmarks.records import engine, record, results


def fallen(now: dict, then: dict[str, float]) -> list[tuple[str, float, float]]:
    return [(f.unit, f.before, f.now) for f in ratios.regressions([now], {"resnet50/1": then})]


def test_accepted_ratios_come_back_and_other_units_stay(tmp_path: Path):
    path = tmp_path / "ratios.json"
    assert ratios.load(path, "this") == {}
    first = results(record(mlc=engine(100.0), ort=engine(90.0)), record("vgg16", mlc=engine(1.0), ort=engine(2.0)))
    assert ratios.accept(path, first) == 2
    assert ratios.accept(path, results(record(mlc=engine(100.0), ort=engine(110.0)))) == 1
    assert ratios.load(path, "this") == {"resnet50/1": {"ort": 1.1}, "vgg16/1": {"ort": 2.0}}
    assert ratios.other_machine(path, "this") is None


def test_ratios_of_another_machine_are_neither_compared_nor_kept(tmp_path: Path):
    path = tmp_path / "ratios.json"
    ratios.accept(path, results(record(mlc=engine(100.0), ort=engine(400.0))))
    assert ratios.load(path, "another") == {} and ratios.other_machine(path, "another") == "this"
    there = results(record("vgg16", mlc=engine(1.0), ort=engine(2.0))) | {"machine": "another"}
    ratios.accept(path, there)
    assert ratios.load(path, "another") == {"vgg16/1": {"ort": 2.0}} and ratios.load(path, "this") == {}


@pytest.mark.parametrize(("ort_ms", "regressed"), [(95.5, False), (94.0, True), (120.0, False)])
def test_a_row_regresses_by_more_than_five_percent(ort_ms: float, regressed: bool):
    now = record(mlc=engine(100.0), ort=engine(ort_ms))
    assert bool(fallen(now, {"ort": 1.0})) == regressed


def test_only_peers_of_both_runs_count():
    """OpenVINO was the best then and is not there now: ONNX Runtime is compared with itself."""
    now = record(mlc=engine(100.0), ort=engine(100.0), jit=engine(10.0))
    assert fallen(now, {"openvino": 0.5, "ort": 1.0}) == []
    assert fallen(now, {"openvino": 0.5, "ort": 2.0}) == [("resnet50/1", 2.0, pytest.approx(1.0))]


def test_a_row_that_mlc_no_longer_runs_has_regressed():
    now = record(mlc={"failed": "no lowering"}, ort=engine(100.0))
    assert fallen(now, {"ort": 1.2}) == [("resnet50/1", 1.2, 0.0)]


def test_rows_without_a_stored_ratio_are_new_not_regressed():
    assert ratios.regressions([record(mlc=engine(100.0), ort=engine(1.0))], {}) == []
    assert ratios.regressions([{"row": "vgg16", "threads": 1, "contended": False, "failed": "why"}], {}) == []


def test_a_regression_says_from_what_to_what():
    (f,) = ratios.regressions([record(mlc=engine(100.0), ort=engine(80.0))], {"resnet50/1": {"ort": 1.0}})
    assert str(f) == "resnet50/1: 0.80 x best peer, was 1.00 (-20%)"
