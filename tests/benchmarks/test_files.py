"""What a run writes, and what it leaves alone."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as main
from benchmarks import arguments, ratios
from benchmarks.runlog import RunLog
from tests.benchmarks.records import engine, record, results

QUIET = record("mlp_b1", mlc=engine(1.0), eager=engine(3.0))
CONTENDED = record("mlp_b1", 2, mlc={"quiet": [1.0], "turns": [1.5]}) | {"contended": True}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the folder of the benchmarks."""
    made = tmp_path / "benchmarks"
    made.mkdir()
    monkeypatch.setattr(main, "HERE", made)
    monkeypatch.setattr(main, "STORED", made / "ratios.json")
    monkeypatch.setattr(main, "available_cores", lambda: 2)
    return made


def report(folder: Path, line: str, *records: dict[str, Any]) -> set[str]:
    """Report a run that was asked for by `line`; the files that are there then."""
    p = arguments.parser()
    settings, _ = arguments.settings(p, p.parse_args(line.split()), 2)
    main.report(settings, RunLog(folder.parent / "run.jsonl", {}), list(records))
    return {path.name for path in folder.iterdir()}


def named(stem: str, *, chart: bool = True) -> set[str]:
    drawn = chart and importlib.util.find_spec("matplotlib") is not None
    return {f"{stem}{suffix}" for suffix in (".md", ".json", *([".png"] if drawn else []))}


@pytest.mark.parametrize("line", ["--models mlp_b1", "--peers eager", "--threads 1", "--contended"])
def test_a_part_leaves_the_files_of_the_whole_table(line: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    whole = report(folder, "", QUIET)
    assert whole == named("results")
    assert "results.json" in capsys.readouterr().err
    before = {name: (folder / name).read_bytes() for name in whole}
    assert report(folder, line, QUIET) == whole | named("results-part")
    assert before == {name: (folder / name).read_bytes() for name in whole}
    said = capsys.readouterr().err
    assert "written: benchmarks/results-part.md, benchmarks/results-part.json" in said
    assert "(a part of the table)" in said and "no chart" not in said.replace("no chart: matplotlib is not", "")


def test_lower_precision_has_files_of_its_own(folder: Path):
    whole = report(folder, "--precision int8", QUIET)
    assert whole == named("results.int8")
    assert report(folder, "--precision int8 --models mlp_b1", QUIET) == whole | named("results-part.int8")


def test_no_chart_of_another_run_stays(folder: Path, capsys: pytest.CaptureFixture[str]):
    report(folder, "--models mlp_b1", QUIET)
    assert report(folder, "--models mlp_b1 --contended", CONTENDED) == named("results-part", chart=False)
    said = capsys.readouterr().err
    assert "no chart: it shows no contended rows, and no others were measured" in said
    assert ".png" not in said.splitlines()[-1]


def test_the_latest_run_is_accepted_whole_or_part(folder: Path):
    with pytest.raises(ValueError, match="there are no results of uncontended rows"):
        main.accept()
    for age, stem in ((20, "results-part"), (10, "results")):
        made = results(record(stem, mlc=engine(1.0), ort=engine(2.0)))
        path = folder / f"{stem}.json"
        path.write_text(json.dumps(made))
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    shutil.copy(folder / "results.json", folder / "results.int8.json")
    assert main.accept() == "1 row of results.json (this) stored in ratios.json"
    assert list(ratios.load(folder / "ratios.json", "this")) == ["results/1"]
    (folder / "results-part.json").touch()
    assert main.accept().startswith("1 row of results-part.json")


def test_contended_rows_have_nothing_to_accept(folder: Path):
    (folder / "results-part.json").write_text(json.dumps(results(CONTENDED)))
    with pytest.raises(ValueError, match="there are no results of uncontended rows"):
        main.accept()
    (folder / "results.json").write_text(json.dumps(results(QUIET)))
    shutil.copystat(folder / "results-part.json", folder / "results.json")
    (folder / "results-part.json").touch()
    assert main.accept().startswith("1 row of results.json")


def test_a_run_without_ratios_is_not_accepted(folder: Path):
    (folder / "results.json").write_text(json.dumps(results(record(mlc={"failed": "why"}, eager=engine(1.0)))))
    with pytest.raises(ValueError, match=r"no row of results\.json"):
        main.accept()
