"""What compiled code depends on besides the model: this compiler's sources, the target's pipeline and code generator.

A changed compiler, or a changed backend or pass of another package, never meets objects of an older one in the cache;
a backend of another package never meets those of the CPU's.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Collection, Iterable
from importlib.metadata import Distribution, distribution, files, packages_distributions
from pathlib import Path

import mlc
from mlc.backends.foreign import ForeignBackend
from mlc.backends.machine import MachineModel
from mlc.backends.registry import Backend
from mlc.ir import custom_ops, plugins
from mlc.ir.pipeline_table import CPU_PIPELINE, PRECISION_ROWS, Pipeline, Row
from mlc.sources import CODE
from mlc.sources import digest as _digest

GROUPS = ("mlc.backends", "xdsl.universe", "mlc.semantics", custom_ops.GROUP)


def fingerprint_of(
    backend: Backend, machine: MachineModel, pipeline: Pipeline, custom_names: Collection[str] = ()
) -> str:
    """One line that is part of every cache key. `custom_names`: namespaces, or ops, of `torch.library` in the model."""
    own = f"mlc {mlc.__version__} {_digest(Path(__file__).parent)} {backend.fingerprint(machine)}"
    return f"{own}{_additions(backend, pipeline)}{_custom(custom_names)}"


def _custom(names: Collection[str]) -> str:
    """The sources of the packages that say what ops of these names are."""
    text: list[str] = []
    for entry in custom_ops.packages(names) if names else ():
        plugins.load(entry)
        text += [f"{entry.name} {entry.value}", *(_digest(path) for path in _sources(plugins.owner(entry)))]
    return " and " + hashlib.blake2b("\n".join(text).encode(), digest_size=16).hexdigest() if text else ""


def _additions(backend: Backend, pipeline: Pipeline) -> str:
    """The backend of another package, the rows in order, and the sources of every package that is not mlc's; nothing
    for the CPU's own backend and pipeline, whose passes a start from the cache never imports."""
    kind = type(backend.backend if isinstance(backend, ForeignBackend) else backend)
    standard = any(pipeline == CPU_PIPELINE.at_precision(precision) for precision in PRECISION_ROWS)
    if standard and _package(kind) == "mlc":
        return ""
    rows = (*pipeline.module, *pipeline.kernels)
    classes = [kind, *([] if standard else _passes(rows))]
    text = [
        f"{kind.__module__}.{kind.__qualname__}",
        *(f"{row.pass_name} {sorted(row.options.items())}" for row in rows),
    ]
    for name in sorted({_package(c) for c in classes} - {"mlc", "xdsl"}):
        text += [_digest(path) for path in _sources(name)]
    return " with " + hashlib.blake2b("\n".join(text).encode(), digest_size=16).hexdigest()


def _passes(rows: Iterable[Row]) -> list[type]:
    from mlc.ir.pipeline import load_pass  # noqa: PLC0415 - imports xdsl

    return [load_pass(row.pass_name) for row in rows]


def _package(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def _sources(name: str) -> list[Path]:
    """What a top-level package or module consists of, with the other files of its distribution."""
    file = getattr(sys.modules[name], "__file__", None)
    paths = [Path(file)] if file else [Path(p) for p in getattr(sys.modules[name], "__path__", ())]
    found = {p.parent if p.name.startswith("__init__.") else p for p in paths}
    brought = {e.dist.name for group in GROUPS for e in plugins.found(group) if e.dist and plugins.owner(e) == name}
    for package in {*packages_distributions().get(name, ()), *brought}:
        found |= {Path(str(f.locate())) for f in files(package) or () if f.suffix in CODE}
        found |= _editable(distribution(package))
    return sorted(p for p in found if p.exists())


def _editable(package: Distribution) -> set[Path]:
    """The project folder of an editable install, whose list of files has none of its sources."""
    text = package.read_text("direct_url.json")
    given = json.loads(text) if text else {}
    if not given.get("dir_info", {}).get("editable"):
        return set()
    from urllib.parse import urlparse  # noqa: PLC0415 - rarely needed, and slow to import
    from urllib.request import url2pathname  # noqa: PLC0415 - the same

    return {Path(url2pathname(urlparse(given["url"]).path))}
