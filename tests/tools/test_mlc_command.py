"""`mlc cache`: what is in the disk cache, and how to make room."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from mlc.runtime.cache import DiskCache
from mlc.tools.mlc_command import main, parse_size


def run(*args: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main(args, stdout=out, stderr=err), out.getvalue(), err.getvalue()


def test_cache_is_shown_trimmed_and_cleared(tmp_path: Path):
    cache = DiskCache(tmp_path)
    for k in range(4):
        cache.put(f"{k:032x}", bytes(100_000))
    place = ("--dir", str(tmp_path))
    assert run("cache", *place)[:2] == (0, f"{tmp_path}: 4 entries, 0.4 MB of 2147 MB\n")
    assert "2 entries" in run("cache", "--trim", "250KB", *place)[1]
    assert "0 entries" in run("cache", "--clear", *place)[1]
    assert cache.get(f"{3:032x}") is None


def test_no_cache_is_made_by_looking(tmp_path: Path):
    code, out, _ = run("cache", "--dir", str(tmp_path / "none"))
    assert code == 0 and "empty" in out and not list(tmp_path.iterdir())
    code, out, _ = run("cache", "--dir", str(tmp_path))
    assert code == 0 and "0 entries" in out and not list(tmp_path.iterdir()), "nor is a key"


def test_it_runs_as_a_module(tmp_path: Path):
    command = [sys.executable, "-m", "mlc.tools.mlc_command", "cache", "--dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "0 entries" in done.stdout and done.stderr == ""


@pytest.mark.parametrize("args", [(), ("cash",), ("cache", "--trim", "much"), ("cache", "--clear", "--trim", "1MB")])
def test_wrong_calls_are_usage_errors(args: tuple[str, ...], tmp_path: Path):
    if "--trim" in args:
        args = (*args, "--dir", str(tmp_path))
    code, _, err = run(*args)
    assert code == 2 and err.startswith("mlc: usage:") and "Traceback" not in err


def test_sizes():
    assert [parse_size(t) for t in ("4096", "1.5KB", "2GiB", "1M", "3 g", "1T")] == [
        4096,
        1500,
        2 << 30,
        10**6,
        3 * 10**9,
        10**12,
    ]
