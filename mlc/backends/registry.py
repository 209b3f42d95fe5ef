"""Backends by target name, found through the `mlc.backends` entry points; ours is registered the same way.

A backend package offers one object with this protocol and names it in its entry point; `mlc.compile(target="name")`
then finds it. "native" is the CPU backend on this machine; no other package can take it, or keep it from loading.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Protocol

from mlc.backends.foreign import ForeignBackend, target_names
from mlc.backends.llvm.backend import CPUBackend
from mlc.backends.llvm.target import missing_features
from mlc.backends.machine import MachineModel
from mlc.backends.near_targets import question
from mlc.errors import PluginError, UsageError
from mlc.ir import plugins
from mlc.ir.pipeline_table import Pipeline
from mlc.runtime.linker import Library
from mlc.runtime.threads import ThreadPool

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

GROUP = "mlc.backends"


class Backend(Protocol):
    """Turns llvm-level modules into code and loads it."""

    name: str

    def targets(self) -> Sequence[str]:
        """Target names this backend answers to."""
        ...

    def machine(self, target: str) -> MachineModel:
        """The machine model of a target ("native": this machine)."""
        ...

    def pipeline(self, target: str) -> Pipeline:
        """The passes that bring a captured module to the llvm level: the CPU's, or the CPU's with others put in."""
        ...

    def fingerprint(self, machine: MachineModel) -> str:
        """What object code depends on besides the IR: code generator version, cpu, features."""
        ...

    def compile_many(self, modules: Iterable[ModuleOp], machine: MachineModel) -> list[bytes]:
        """Object code of each module; they are made one by one as they are asked for."""
        ...

    def assembly(self, module: ModuleOp, machine: MachineModel) -> str:
        """Assembly text of a module."""
        ...

    def llvm_ir(self, module: ModuleOp, machine: MachineModel) -> str:
        """LLVM IR text of a module."""
        ...

    def load(self, objects: Sequence[bytes]) -> Library:
        """Link objects into this process."""
        ...

    def thread_pool(self) -> ThreadPool | None:
        """Who helps with parallel loops in this process; None where every call runs on its own thread."""
        ...


_PROTOCOL = ("name", *(n for n in vars(Backend) if not n.startswith("_") and n != "name"))


@dataclass
class Registry:
    """Backends by target. A plug-in that fails, or wants a target that another has, is in `broken` and has none."""

    targets: dict[str, Backend] = field(default_factory=dict)
    broken: list[PluginError] = field(default_factory=list)
    _owners: dict[str, EntryPoint] = field(default_factory=dict)

    def add(self, entry: EntryPoint) -> None:
        """Take in one entry point, or remember why not."""
        try:
            backend = plugins.load(entry)
            if isinstance(backend, type):
                raise TypeError(f"it is the class {backend.__name__}, expected an instance: {backend.__name__}()")
            missing = [name for name in _PROTOCOL if not hasattr(backend, name)]
            if missing:
                raise TypeError(f"it lacks {', '.join(missing)} of mlc.backends.registry.Backend")
            targets = target_names(backend.targets())
            taken = [t for t in targets if t in self._owners]
            if taken:
                texts = [f"target '{t}' belongs to {plugins.package_of(self._owners[t])}" for t in taken]
                raise UsageError("; ".join(texts))
        except (Exception, SystemExit) as e:
            error = plugins.failure(entry, e)
            error.__cause__ = e if error is not e else e.__cause__
            self.broken.append(error)
            return
        if not plugins.is_own(entry):
            backend = ForeignBackend(backend, plugins.package_of(entry))
        self.targets.update(dict.fromkeys(targets, backend))
        self._owners.update(dict.fromkeys(targets, entry))


@functools.cache
def _built_in() -> Registry:
    return _read([e for e in plugins.found(GROUP) if plugins.is_own(e)])


@functools.cache
def registry() -> Registry:
    """All backends of this environment."""
    return _read(plugins.found(GROUP))


def _read(entries: Sequence[EntryPoint]) -> Registry:
    found = Registry()
    for entry in entries:
        found.add(entry)
    return found


def check_runs_here(backend: Backend, target: str) -> None:
    """UsageError where code of mlc's own backend for `target` would not run on this computer: it would end the process.
    Other packages' targets are theirs to know."""
    if not isinstance(backend, CPUBackend):
        return
    missing = missing_features(backend.machine(target))
    if missing:
        raise UsageError(
            f"code for target '{target}' cannot run here: this machine lacks {', '.join(missing)}",
            expected="target 'native', or one that this machine can run",
            hint=f"mlc-opt FILE --target={target} --mlc-pipeline=cpu --emit=asm shows its code",
        )


def load_backend(target: str) -> Backend:
    """The backend that answers to `target`. Other packages are looked at only for targets that are not mlc's own."""
    for found in (_built_in, registry):
        if target in found().targets:
            return found().targets[target]
    known, broken = registry().targets, registry().broken
    expected = f"one of: {', '.join(known)}"
    meant = question(target, known)
    if not broken:
        raise UsageError(f"unknown target '{target}'", expected=expected, hint=meant)
    causes = "\n    ".join(e.message for e in broken)
    message = f"no backend for target '{target}'; left out:\n    {causes}"
    hint = "; or: ".join(h for h in (meant, broken[0].hint) if h)
    raise PluginError(message, expected=expected, hint=hint) from broken[0].__cause__
