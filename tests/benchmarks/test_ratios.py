"""Stored ratios and regressions against them."""

from __future__ import annotations

import json
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
    assert ratios.machines(path) == ["this"]


def test_peers_that_were_not_measured_keep_theirs(tmp_path: Path):
    path = tmp_path / "ratios.json"
    ratios.accept(path, results(record(mlc=engine(100.0), ort=engine(90.0), jit=engine(200.0))))
    ratios.accept(path, results(record(mlc=engine(100.0), ort=engine(110.0))))
    assert ratios.load(path, "this") == {"resnet50/1": {"ort": 1.1, "jit": 2.0}}


def test_a_run_without_ratios_leaves_the_file_alone(tmp_path: Path):
    path = tmp_path / "ratios.json"
    failed = record(mlc={"failed": "why"}, ort=engine(1.0))
    assert ratios.accept(path, results(failed, failed | {"contended": True})) == 0
    assert not path.exists()


def test_machines_stand_side_by_side(tmp_path: Path):
    path = tmp_path / "ratios.json"
    two = (record(mlc=engine(100.0), ort=engine(500.0)), record("vgg16", mlc=engine(3.0), ort=engine(4.0)))
    ratios.accept(path, results(*two))
    of_this = path.read_text()[2:-3]
    assert ratios.load(path, "another") == {}
    ratios.accept(path, results(record("vgg16", mlc=engine(1.0), ort=engine(2.0))) | {"machine": "another"})
    assert ratios.machines(path) == ["this", "another"]
    assert ratios.load(path, "another") == {"vgg16/1": {"ort": 2.0}}
    assert of_this in path.read_text()
    ratios.accept(path, results(record(mlc=engine(1.0), ort=engine(3.0))) | {"machine": "another"})
    assert of_this in path.read_text()


def test_a_file_of_one_machine_is_read_and_kept(tmp_path: Path):
    path = tmp_path / "ratios.json"
    units = {"resnet50/1": {"ort": 5.0}, "vgg16/1": {"ort": 1.333}}
    path.write_text(json.dumps({"about": "then", "machine": "this", "units": units}))
    assert ratios.load(path, "this") == units and ratios.load(path, "another") == {}
    ratios.accept(path, results(record("vgg16", mlc=engine(1.0), ort=engine(2.0))) | {"machine": "another"})
    assert ratios.load(path, "this") == units
    assert json.loads(path.read_text())["this"]["about"] == "then"


def test_the_stored_file_names_machines():
    path = Path(ratios.__file__).with_name("ratios.json")
    for machine in ratios.machines(path):
        assert "vectors" in machine and ratios.load(path, machine)


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
