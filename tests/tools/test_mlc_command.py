"""`mlc cache`: what is in the disk cache, and how to make room."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from mlc.errors import UsageError
from mlc.runtime.byte_sizes import parse_size
from mlc.runtime.cache import DiskCache
from mlc.tools.mlc_command import main


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


def test_a_cache_that_is_no_directory_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (file := tmp_path / "file").write_text("mine")
    for place in (file, file / "below"):
        code, out, err = run("cache", "--clear", "--dir", str(place))
        assert (code, out) == (2, "") and err.startswith(f"mlc: usage: --dir: '{file}' is not a directory\n")
        monkeypatch.setenv("MLC_CACHE_DIR", str(place))
        code, out, err = run("cache")
        assert (code, out) == (2, "") and err.startswith(f"mlc: usage: MLC_CACHE_DIR: '{file}' is not a directory\n")
    assert file.read_text() == "mine"


def test_the_bound_is_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for text, shown in (("500M", "500 MB"), ("4GiB", "4295 MB"), ("750000", "0.8 MB"), ("", "2147 MB")):
        monkeypatch.setenv("MLC_CACHE_SIZE", text)
        assert run("cache", "--dir", str(tmp_path))[1].endswith(f" of {shown}\n")
        assert run("cache", "--dir", str(tmp_path / "none"))[1] == f"{tmp_path / 'none'}: empty, of {shown}\n"
    monkeypatch.setenv("MLC_CACHE_SIZE", "much")
    code, _, err = run("cache", "--dir", str(tmp_path))
    assert code == 2 and "usage: the environment's MLC_CACHE_SIZE is 'much'" in err and "500MB" in err


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


@pytest.mark.parametrize("text", ["", "M", "-1", "1e9", "1 KMB", "9" * 5000, "١M", "5\x00"])
def test_no_sizes(text: str):
    with pytest.raises(UsageError, match="500MB"):
        parse_size(text)
