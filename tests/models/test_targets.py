"""Every model of the zoo, narrow, as code of each level of x86-64: as close to eager as this machine's own code.

Each model is compiled for one level below AVX-512, in turn by its place in the list. All levels, AVX-512 too where the
machine has it: MLC_ALL_TARGETS=1 python -m pytest tests/models/test_targets.py
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import mlc
from tests.models.check_native import compare
from tests.models.zoo import ENTRIES, Entry
from tests.targets import runnable

LOWER = runnable("x86-64-sse2", "x86-64-avx2")
EVERY = [*LOWER, *runnable("x86-64-avx512")]
ALL = os.environ.get("MLC_ALL_TARGETS", "") not in ("", "0")


def _cases() -> list[Any]:
    """Models with targets; a target that cannot run here stays marked as skipped."""
    cases: list[Any] = []
    for place, entry in enumerate(ENTRIES):
        for target in EVERY if ALL else [LOWER[place % len(LOWER)]]:
            (name,) = target.values
            cases.append(pytest.param(entry, name, marks=target.marks, id=f"{entry.name}-{name}"))
    return cases


@pytest.mark.parametrize("entry, target", _cases())
def test_a_level_agrees_with_eager(entry: Entry, target: str, cache_dir: Path):
    model, inputs = entry.build(batch=1, small=True)
    compiled = mlc.compile(model, inputs, target=target, cache_dir=cache_dir, num_threads=1)
    compare(entry.name, model, inputs, compiled)
    assert compiled._latest().unit.ctx.machine.name == target
