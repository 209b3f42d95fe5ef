"""`verbose=True` and `explain()` tell where all of the first call's time went: imports, capture, guard and run, too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import mlc
from mlc import phases as phases_module
from mlc.errors import UnsupportedError
from mlc.phases import Phases, importing

PROGRAM = """
import time
import torch
import mlc

layers = [torch.nn.Linear(8, 8) for _ in range(4)]
model, x = torch.nn.Sequential(*layers).requires_grad_(False), torch.ones(4, 8)
start = time.perf_counter()
compiled = mlc.compile(model, verbose=True)
made = time.perf_counter()
time.sleep(0.5)  # whose time this is, is not told
called = time.perf_counter()
compiled(x)
print(time.perf_counter() - called + made - start)
print(compiled.explain())
"""


def rows_of(text: str) -> dict[str, float]:
    """The phases of a table."""
    found = re.findall(r"^  (\S.*?) +(\d+\.\d{3}) s$", text, re.MULTILINE)
    return {name: float(seconds) for name, seconds in found}


def test_the_total_is_the_first_calls_time(tmp_path: Path):
    for made in (False, True):  # compiled, and from the cache
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            text=True,
            env={**os.environ, "MLC_CACHE_DIR": str(tmp_path)},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        elapsed, rows = float(done.stdout.partition("\n")[0]), rows_of(done.stderr)
        assert list(rows)[:2] == ["import", "capture"] and {"guard", "run", "link"} <= set(rows)
        assert ("split" not in rows) is made
        assert rows["total"] == pytest.approx(elapsed, rel=0.03, abs=0.005)
        assert rows["total"] == pytest.approx(sum(rows.values()) - rows["total"], abs=0.001 * len(rows))
        assert rows["import"] > 0.01
        assert made or rows["import"] + rows["import of the compiler"] > 0.05
        _, _, shown = done.stdout.partition("compile time\n")
        assert rows_of(shown) == rows


def test_a_version_that_is_not_called_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model, x = nn.Linear(4, 3).requires_grad_(False), torch.ones(2, 4)
    start = time.perf_counter()
    compiled = mlc.compile(model, (x,), verbose=True, cache_dir=tmp_path)
    elapsed = time.perf_counter() - start
    rows = rows_of(capsys.readouterr().err)
    assert {"capture", "guard"} <= set(rows) and "run" not in rows
    assert rows["total"] == pytest.approx(elapsed, rel=0.03, abs=0.005)
    compiled(x)
    assert capsys.readouterr().err == ""
    compiled(x[:1])
    rows = rows_of(capsys.readouterr().err)
    assert "run" in rows and "import" not in rows, "everything was imported before"
    assert compiled.explain().count("\ncompile time\n") == 2


def test_a_run_that_fails_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    compiled = mlc.compile(nn.Linear(4, 3).requires_grad_(False), verbose=True, cache_dir=tmp_path)
    with pytest.raises(UnsupportedError, match="requires a gradient"):
        compiled(torch.ones(2, 4, requires_grad=True))
    assert {"capture", "run", "total"} <= set(rows_of(capsys.readouterr().err))


def test_imports_belong_to_the_next_call(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(phases_module, "_imported", 0.0)
    with importing(), importing():
        time.sleep(0.01)
    begun = Phases.begun()
    ((name, seconds),) = begun.items
    assert name == "import" and 0.01 <= seconds < 0.02 + 0.5, "once, though nested"
    assert Phases.begun().items == []
    begun.items.append(("capture", 1.0))
    begun.close(1.5)
    assert begun.items[1:] == [("capture", 1.0), ("rest", 0.5)]
