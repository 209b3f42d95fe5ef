"""llvm dialect -> object code: kernels are separate modules, compiled side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from xdsl.dialects.builtin import ModuleOp

from mlc.backends.llvm import bfloat16  # noqa: F401  registers the ops, by way of emit_ops
from mlc.backends.llvm.codegen import CodegenOptions, assembly_of_ir, compile_ir, optimize_ir
from mlc.backends.llvm.emit import Emitter
from mlc.backends.llvm.target import host_machine
from mlc.backends.machine import MachineModel
from mlc.runtime.threads import available_cores


def llvm_ir(module: ModuleOp, machine: MachineModel | None = None, *, debug: bool = False) -> str:
    """LLVM IR text of an llvm-dialect module, before LLVM's own optimisation."""
    return Emitter(machine, debug=debug).module(module)


def compile_llvm_module(
    module: ModuleOp, machine: MachineModel | None = None, *, opt_level: int = 2, debug: bool = False
) -> bytes:
    """Object code of an llvm-dialect module."""
    options = CodegenOptions(opt_level=opt_level, debug=debug)
    machine = machine or host_machine()
    return compile_ir(llvm_ir(module, machine, debug=debug), machine, options)


def compile_many(
    modules: Iterable[ModuleOp],
    machine: MachineModel | None = None,
    *,
    opt_level: int = 2,
    debug: bool = False,
    threads: int | None = None,
) -> list[bytes]:
    """Object code of each module. LLVM works on those asked for so far, in threads, while the next one is made."""
    options = CodegenOptions(opt_level=opt_level, debug=debug)
    target = machine or host_machine()
    workers = threads or available_cores()
    at_exit = not threading.main_thread().is_alive()  # Python starts no threads then
    if workers <= 1 or at_exit:
        return [compile_ir(llvm_ir(m, target, debug=debug), target, options) for m in modules]
    with ThreadPoolExecutor(workers) as pool:
        # Text is made here, where the IR lives; LLVM works on it in the threads meanwhile.
        jobs = [pool.submit(compile_ir, llvm_ir(m, target, debug=debug), target, options) for m in modules]
        return [job.result() for job in jobs]


def assembly(module: ModuleOp | str, machine: MachineModel | None = None, *, opt_level: int = 2) -> str:
    """Assembly text of an llvm-dialect module or of LLVM IR text."""
    target = machine or host_machine()
    text = module if isinstance(module, str) else llvm_ir(module, target)
    return assembly_of_ir(text, target, CodegenOptions(opt_level=opt_level)).decode()


def optimized_ir(module: ModuleOp | str, machine: MachineModel | None = None, *, opt_level: int = 2) -> str:
    """LLVM IR text after LLVM's optimiser."""
    target = machine or host_machine()
    text = module if isinstance(module, str) else llvm_ir(module, target)
    return optimize_ir(text, target, CodegenOptions(opt_level=opt_level))
