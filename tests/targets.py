"""Targets as parameters of tests whose code is run: those that this machine lacks instructions for are skipped.

@pytest.mark.parametrize("target", runnable("native", "x86-64-avx512", "x86-64-sse2"))
"""

from __future__ import annotations

from typing import Any

import pytest

from mlc.backends.llvm.backend import CPU_BACKEND
from mlc.backends.llvm.target import missing_features


def runnable(*targets: str) -> list[Any]:
    """Parameters, some of them marked."""
    return [_param(target, missing_features(CPU_BACKEND.machine(target))) for target in targets]


def _param(target: str, missing: list[str]) -> Any:
    reason = f"this machine lacks {', '.join(missing)}"
    return pytest.param(target, marks=pytest.mark.skip(reason=reason) if missing else ())
