"""The chart is written where matplotlib is there, and is not asked for where it is not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from benchmarks import chart
from benchmarks.ratios import Regression
from tests.benchmarks.records import engine, record, results

RESULTS = results(
    record(mlc=engine(100.0), eager=engine(300.0), ort=engine(90.0)),
    record("vgg16", 2, mlc=engine(100.0), ort=engine(90.0)),
)


def test_a_picture_or_a_plain_no(tmp_path: Path):
    path = tmp_path / "chart.png"
    drawn = chart.draw(RESULTS, [Regression("resnet50/1", 1.2, 0.9)], path)
    assert drawn == (importlib.util.find_spec("matplotlib") is not None)
    assert path.exists() == drawn
    if drawn:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not chart.draw(RESULTS, [], tmp_path / "chart.png")
    assert not list(tmp_path.iterdir())


def test_nothing_to_show(tmp_path: Path):
    assert not chart.draw(results(record(mlc={"failed": "why"}, ort=engine(1.0))), [], tmp_path / "chart.png")
