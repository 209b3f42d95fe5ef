"""What compiled code depends on besides the model: this compiler's sources, the target's pipeline and code generator.

A changed compiler, or a changed backend or pass of another package, never meets objects of an older one in the cache;
a backend of another package never meets those of the CPU's.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from functools import cache
from importlib.metadata import files, packages_distributions
from pathlib import Path

import mlc
from mlc.backends.machine import MachineModel
from mlc.backends.registry import Backend
from mlc.ir.pipeline import load_pass
from mlc.ir.pipeline_table import CPU_PIPELINE, PRECISION_ROWS, Pipeline


def fingerprint_of(backend: Backend, machine: MachineModel, pipeline: Pipeline) -> str:
    """One line that is part of every cache key."""
    own = f"mlc {mlc.__version__} {_digest(Path(__file__).parent)} {backend.fingerprint(machine)}"
    return f"{own}{_additions(backend, pipeline)}"


def _additions(backend: Backend, pipeline: Pipeline) -> str:
    """The backend of another package, the rows in order, and the sources of every package that is not mlc's; nothing
    for the CPU's own backend and pipeline, whose passes a start from the cache never imports."""
    kind = type(backend)
    standard = any(pipeline == CPU_PIPELINE.at_precision(precision) for precision in PRECISION_ROWS)
    if standard and _package(kind) == "mlc":
        return ""
    rows = (*pipeline.module, *pipeline.kernels)
    classes = [kind, *([] if standard else [load_pass(row.pass_name) for row in rows])]
    text = [
        f"{kind.__module__}.{kind.__qualname__}",
        *(f"{row.pass_name} {sorted(row.options.items())}" for row in rows),
    ]
    for name in sorted({_package(c) for c in classes} - {"mlc", "xdsl"}):
        text += [_digest(path) for path in _sources(name)]
    return " with " + hashlib.blake2b("\n".join(text).encode(), digest_size=16).hexdigest()


def _package(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def _sources(name: str) -> list[Path]:
    """What a top-level package or module consists of, with the other modules of its distribution."""
    file = getattr(sys.modules[name], "__file__", None)
    paths = [Path(file)] if file else [Path(p) for p in getattr(sys.modules[name], "__path__", ())]
    found = {p.parent if p.name == "__init__.py" else p for p in paths}
    for distribution in packages_distributions().get(name, ()):
        found |= {Path(str(f.locate())) for f in files(distribution) or () if f.suffix in (".py", ".so", ".pyd")}
    return sorted(p for p in found if p.exists())


@cache
def _digest(root: Path) -> str:
    """Hash of the Python files at or below `root`, by name, size and time."""
    h = hashlib.blake2b(platform.python_version().encode(), digest_size=16)
    for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
        stat = path.stat()
        h.update(f"{path.relative_to(root.parent)} {stat.st_size} {stat.st_mtime_ns}".encode())
    return h.hexdigest()
