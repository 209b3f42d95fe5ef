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


def test_a_picture_or_the_reason(tmp_path: Path):
    path = tmp_path / "chart.png"
    reason = chart.draw(RESULTS, [Regression("resnet50/1", 1.2, 0.9)], path)
    installed = importlib.util.find_spec("matplotlib") is not None
    assert reason == (None if installed else "matplotlib is not installed")
    assert path.exists() == installed
    if installed:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert chart.draw(RESULTS, [], tmp_path / "chart.png") == "matplotlib is not installed"
    assert not list(tmp_path.iterdir())


def test_nothing_to_show(tmp_path: Path):
    failed, contended = record(mlc={"failed": "why"}, ort=engine(1.0)), record() | {"contended": True}
    no_times = "no row has times of both mlc and a peer"
    assert chart.draw(results(failed, contended), [], tmp_path / "chart.png") == no_times
    died = {"row": "vgg16", "threads": 1, "contended": False, "failed": "why"}
    assert chart.draw(results(died), [], tmp_path / "chart.png") == no_times
    reason = chart.draw(results(contended), [], tmp_path / "chart.png")
    assert reason == "it shows no contended rows, and no others were measured"
