"""The backend object behind the entry point `cpu`: target "native" and the presets of the machine table.

mlc.compile(model, target="native")           this machine
mlc.compile(model, target="x86-64-avx2")      any CPU with these features (runs here if this one has them)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlc.backends.llvm.jit import load_objects
from mlc.backends.llvm.target import code_generator, host_machine
from mlc.backends.llvm.thread_pool import thread_pool
from mlc.backends.machine import PRESETS, MachineModel, preset
from mlc.ir.pipeline_table import CPU_PIPELINE, Pipeline
from mlc.runtime.linker import Library
from mlc.runtime.threads import ThreadPool

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

NATIVE = "native"


@dataclass(frozen=True)
class CPUBackend:
    """Compiles for CPUs with LLVM. `opt_level` and `debug` hold for everything it compiles."""

    name: str = "cpu"
    opt_level: int = 2
    debug: bool = False

    def targets(self) -> Sequence[str]:
        """Target names this backend answers to."""
        return (NATIVE, *PRESETS)

    def machine(self, target: str) -> MachineModel:
        """The machine model of a target."""
        return host_machine() if target == NATIVE else preset(target)

    def pipeline(self, target: str) -> Pipeline:
        """The passes that bring a captured module to the llvm level."""
        return CPU_PIPELINE

    def fingerprint(self, machine: MachineModel) -> str:
        """What object code depends on besides the IR."""
        return f"{code_generator(machine)} O{self.opt_level} debug={self.debug} {machine}"

    def compile_many(self, modules: Iterable[ModuleOp], machine: MachineModel) -> list[bytes]:
        """Object code of each module, in parallel."""
        from mlc.ir.late_formats import late_formats  # noqa: PLC0415 - imports xdsl

        with late_formats():
            from mlc.backends.llvm.compile import compile_many  # noqa: PLC0415 - not needed for code from the cache

        return compile_many(modules, machine, opt_level=self.opt_level, debug=self.debug)

    def assembly(self, module: ModuleOp, machine: MachineModel) -> str:
        """Assembly text of a module."""
        from mlc.backends.llvm.compile import assembly  # noqa: PLC0415 - not needed for code from the cache

        return assembly(module, machine, opt_level=self.opt_level)

    def llvm_ir(self, module: ModuleOp, machine: MachineModel) -> str:
        """LLVM IR text of a module."""
        from mlc.backends.llvm.compile import llvm_ir  # noqa: PLC0415 - not needed for code from the cache

        return llvm_ir(module, machine, debug=self.debug)

    def load(self, objects: Sequence[bytes]) -> Library:
        """Link objects into this process."""
        return load_objects(objects)

    def thread_pool(self) -> ThreadPool | None:
        """The worker threads of this process."""
        return thread_pool()


CPU_BACKEND = CPUBackend()
