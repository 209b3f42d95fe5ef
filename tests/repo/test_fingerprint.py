"""What another package compiles is never taken for what mlc compiles, nor for what an older version of it did."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from mlc.backends.llvm.backend import CPU_BACKEND, CPUBackend
from mlc.backends.llvm.target import host_machine
from mlc.fingerprint import fingerprint_of
from mlc.ir.pipeline_table import CPU_PIPELINE
from tests.repo.packages import install, opt

BACKEND = """
from mlc.backends.llvm.backend import CPU_BACKEND
class Backend:
    def __getattr__(self, name):
        return getattr(CPU_BACKEND, name)
BACKEND = Backend()
"""


def fingerprint(backend: Any) -> str:
    return fingerprint_of(backend, host_machine(), CPU_PIPELINE)


def test_a_backend_of_another_package_has_a_fingerprint_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "other_backend.py"
    file.write_text(BACKEND)
    importlib.invalidate_caches()
    found = fingerprint(importlib.import_module("other_backend").BACKEND)
    assert found != fingerprint(CPU_BACKEND) == fingerprint(CPUBackend())
    file.write_text(BACKEND + "# another version\n")
    del sys.modules["other_backend"]
    from mlc import fingerprint as module

    module._digest.cache_clear()
    importlib.invalidate_caches()
    assert fingerprint(importlib.import_module("other_backend").BACKEND) != found


def test_broken_meanings_of_another_package_leave_mlcs_alone(tmp_path: Path):
    env = install(
        tmp_path, "broken_meanings", "raise RuntimeError('no')\n", "[mlc.semantics]\narith = broken_meanings\n"
    )
    for flags in (["--run"], ["--run", "--native"]):
        code, _, err = opt(env, "examples/mlp.mlir", *flags)
        assert (code, err) == (0, "")
