"""What compiled code depends on besides the model: this compiler's sources, the target's pipeline and code generator.

A changed compiler, or a changed pass of another package, never meets objects of an older one in the cache.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from functools import cache
from pathlib import Path

import mlc
from mlc.backends.machine import MachineModel
from mlc.backends.registry import Backend
from mlc.ir.pipeline import load_pass
from mlc.ir.pipeline_table import CPU_PIPELINE, PRECISION_ROWS, Pipeline


def fingerprint_of(backend: Backend, machine: MachineModel, pipeline: Pipeline) -> str:
    """One line that is part of every cache key."""
    return (
        f"mlc {mlc.__version__} {_digest(Path(__file__).parent)} {backend.fingerprint(machine)}{_additions(pipeline)}"
    )


def _additions(pipeline: Pipeline) -> str:
    """The rows in order and the sources of the passes that are not mlc's; nothing for the CPU's own pipeline, whose
    passes a start from the cache never imports."""
    if any(pipeline == CPU_PIPELINE.at_precision(precision) for precision in PRECISION_ROWS):
        return ""
    rows = (*pipeline.module, *pipeline.kernels)
    packages = {load_pass(row.pass_name).__module__.partition(".")[0] for row in rows} - {"mlc", "xdsl"}
    text = [f"{row.pass_name} {sorted(row.options.items())}" for row in rows]
    for name in sorted(packages):
        file = getattr(sys.modules[name], "__file__", None)
        paths = [Path(file)] if file else [Path(p) for p in getattr(sys.modules[name], "__path__", ())]
        text += [_digest(p.parent) if p.name == "__init__.py" else _digest(p) for p in paths]
    return " with " + hashlib.blake2b("\n".join(text).encode(), digest_size=16).hexdigest()


@cache
def _digest(root: Path) -> str:
    """Hash of the Python files at or below `root`, by name, size and time."""
    h = hashlib.blake2b(platform.python_version().encode(), digest_size=16)
    for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
        stat = path.stat()
        h.update(f"{path.relative_to(root.parent)} {stat.st_size} {stat.st_mtime_ns}".encode())
    return h.hexdigest()
