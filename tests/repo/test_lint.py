"""ruff and basedpyright are part of the suite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_ruff():
    r = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert r.returncode == 0, r.stdout[-4000:]


def test_basedpyright():
    r = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--level", "error"], cwd=ROOT, capture_output=True, text=True
    )
    assert r.returncode == 0, r.stdout[-6000:]
