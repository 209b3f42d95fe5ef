"""Backends by target name, found through the `mlc.backends` entry points; ours is registered the same way.

A backend package offers one object with this protocol and names it in its entry point; `mlc.compile(target="name")`
then finds it. "native" is the CPU backend on this machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Protocol

from xdsl.dialects.builtin import ModuleOp

from mlc.backends.machine import MachineModel
from mlc.errors import UsageError
from mlc.runtime.threads import ThreadPool


class Library(Protocol):
    """Loaded code: addresses by symbol."""

    def address(self, symbol: str) -> int:
        """Address of `symbol`; raises when it is not there."""
        ...

    def find(self, symbol: str) -> int | None:
        """Address of `symbol`, or None."""
        ...


class Backend(Protocol):
    """Turns llvm-level modules into code and loads it."""

    name: str

    def targets(self) -> Sequence[str]:
        """Target names this backend answers to."""
        ...

    def machine(self, target: str) -> MachineModel:
        """The machine model of a target ("native": this machine)."""
        ...

    def fingerprint(self, machine: MachineModel) -> str:
        """What object code depends on besides the IR: code generator version, cpu, features."""
        ...

    def compile_many(self, modules: Sequence[ModuleOp], machine: MachineModel) -> list[bytes]:
        """Object code of each module."""
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


def backends() -> dict[str, Backend]:
    """All backends of this environment by entry point name."""
    return {e.name: e.load() for e in sorted(entry_points(group="mlc.backends"), key=lambda e: e.name)}


def load_backend(target: str) -> Backend:
    """The backend that answers to `target`."""
    known: list[str] = []
    for backend in backends().values():
        if target in backend.targets():
            return backend
        known += backend.targets()
    raise UsageError(f"unknown target '{target}'", expected=f"one of: {', '.join(known)}")
