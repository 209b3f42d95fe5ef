"""ruff and basedpyright are part of the suite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def ruff(*arguments: str) -> str:
    r = subprocess.run([sys.executable, "-m", "ruff", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout


def test_ruff():
    ruff("check", ".")


def test_format():
    ruff("format", "--check", ".")


def test_ruff_looks_at_every_file():
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    seen = {Path(line) for line in ruff("check", "--show-files", ".").splitlines()}
    assert {ROOT / line for line in tracked.splitlines()} <= seen


def test_basedpyright():
    r = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--level", "error"], cwd=ROOT, capture_output=True, text=True
    )
    assert r.returncode == 0, r.stdout[-6000:]
