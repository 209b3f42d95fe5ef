"""Compiled kernels touch their buffers only: random ones between guard pages, in child processes."""

from __future__ import annotations

import pytest

from fuzz.guarded import guarded_runs, random_tapes
from mlc.backends.llvm.target import host_machine
from mlc.backends.machine import PRESETS

MACHINES = [m.name for m in PRESETS.values() if m.arch == host_machine().arch]
RUNNABLE = [name for name in MACHINES if set(PRESETS[name].features) <= set(host_machine().features)]


@pytest.mark.parametrize("machine", RUNNABLE)
def test_kernels_stay_inside_their_buffers(machine: str):
    tapes = random_tapes(40, seed=7)
    findings = guarded_runs(machine, tapes)
    assert not findings, [f"{tapes[number].hex()}: {what}" for number, what in findings.items()]


def test_buffers_that_are_too_short_are_reported():
    """The harness sees what it is for: a buffer with one element less than its type says."""
    findings = guarded_runs(RUNNABLE[0], random_tapes(6, seed=3), short=1)
    assert len(findings) >= 3 and all("the process ended with -" in what for what in findings.values())
