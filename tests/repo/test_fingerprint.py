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


def test_every_file_of_an_editable_package_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also compiled ones, and modules beside the one that holds the backend; not what Python makes itself."""
    source = tmp_path / "project" / "src"
    (source / "editable_backend").mkdir(parents=True)
    (source / "editable_backend" / "__init__.py").write_text(BACKEND)
    info = tmp_path / "site" / "editable_backend-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: editable_backend\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mlc.backends]\neditable = editable_backend:BACKEND\n")
    url = (tmp_path / "project").as_uri()
    (info / "direct_url.json").write_text(f'{{"dir_info": {{"editable": true}}, "url": "{url}"}}')
    for path in (source, tmp_path / "site"):
        monkeypatch.syspath_prepend(str(path))
    importlib.invalidate_caches()
    backend = importlib.import_module("editable_backend").BACKEND
    from mlc import fingerprint as module

    def now() -> str:
        module._digest.cache_clear()
        return fingerprint(backend)

    seen = [now()]
    for name in ("editable_backend/_native.abi3.so", "editable_backend/libkernels.so.1", "sibling.py", "table.ll"):
        (source / name).write_bytes(b"one")
        seen.append(now())
        (source / name).write_bytes(b"three")
        seen.append(now())
    assert len(set(seen)) == len(seen)
    (source / "editable_backend" / "__pycache__").mkdir(exist_ok=True)
    (source / "editable_backend" / "__pycache__" / "x.py").write_text("")
    assert now() == seen[-1]


def test_broken_meanings_of_another_package_leave_mlcs_alone(tmp_path: Path):
    env = install(
        tmp_path, "broken_meanings", "raise RuntimeError('no')\n", "[mlc.semantics]\narith = broken_meanings\n"
    )
    for flags in (["--run"], ["--run", "--native"]):
        code, _, err = opt(env, "examples/mlp.mlir", *flags)
        assert (code, err) == (0, "")
