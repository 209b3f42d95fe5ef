"""Packages of third parties, installed for one test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def install(tmp_path: Path, package: str, source: str, entry_points: str) -> dict[str, str]:
    """Install a module of this source with these entry points below `tmp_path`; the environment that sees it."""
    (tmp_path / f"{package}.py").write_text(source, encoding="utf-8")
    info = tmp_path / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    return {"PYTHONPATH": str(tmp_path), "PATH": "", "HOME": str(tmp_path)}


def opt(env: dict[str, str], *args: str) -> tuple[int, str, str]:
    """`mlc-opt` in that environment: exit code, standard output, standard error."""
    command = [sys.executable, "-m", "mlc.tools.mlc_opt", *args]
    r = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT)
    return r.returncode, r.stdout, r.stderr
