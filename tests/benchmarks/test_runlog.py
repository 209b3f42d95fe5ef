"""A run that is interrupted goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.runlog import RunLog

IDENTITY = {"settings": {"runs": 3}, "mlc": "abc"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    log = RunLog(tmp_path / "progress" / "run.jsonl", IDENTITY)
    assert not log.resumed and not log.outdated
    log.note("1", {"gflops": 100.0})
    log.add("resnet50/1", {"row": "resnet50"})
    return tmp_path / "progress" / "run.jsonl"


def test_goes_on(path: Path):
    log = RunLog(path, IDENTITY)
    assert log.resumed
    assert log.records == {"resnet50/1": {"row": "resnet50"}}
    assert log.extra == {"1": {"gflops": 100.0}}
    log.add("vgg16/1", {})
    assert set(RunLog(path, IDENTITY).records) == {"resnet50/1", "vgg16/1"}


def test_a_line_that_was_cut_off_is_dropped_and_written_anew(path: Path):
    with path.open("a") as file:
        file.write('{"key": "vgg16/1", "rec')
    log = RunLog(path, IDENTITY)
    assert set(log.records) == {"resnet50/1"}
    log.add("vgg16/1", {"row": "vgg16"})
    assert RunLog(path, IDENTITY).records["vgg16/1"] == {"row": "vgg16"}


def test_another_state_of_mlc_starts_over(path: Path):
    log = RunLog(path, {**IDENTITY, "mlc": "def"})
    assert log.outdated and not log.records and not log.extra
    assert not RunLog(path, IDENTITY).resumed


def test_fresh_starts_over(path: Path):
    assert not RunLog(path, IDENTITY, fresh=True).records
    assert not RunLog(path, IDENTITY).records


def test_a_complete_run_leaves_nothing(path: Path):
    RunLog(path, IDENTITY).close()
    assert not RunLog(path, IDENTITY).resumed
