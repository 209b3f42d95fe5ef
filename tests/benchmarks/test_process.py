"""Children that fail or stay silent are reported, not waited for."""

from __future__ import annotations

import pytest

from benchmarks.process import Child, ChildFailed, run_module


def test_silence_ends():
    with Child(["benchmarks.neighbour", "0"]) as child:
        assert child.ask("", 60) == {}
        with pytest.raises(ChildFailed, match="no answer within 0 s"):
            child.ask("", 0.1)


def test_the_reason_is_the_last_line():
    with pytest.raises(ChildFailed, match=r"No module named benchmarks\.nothing"):
        run_module(["benchmarks.nothing"])


def test_a_signal_is_named():
    with Child(["benchmarks.neighbour", "0"]) as child:
        child.ask("", 60)
        child._process.terminate()
        with pytest.raises(ChildFailed, match="ended by signal SIGTERM"):
            child.ask("", 60)


def test_what_is_no_json_is_shown():
    with pytest.raises(ChildFailed, match="answered 'The Zen of Python"):
        run_module(["this"])
