"""LLVM IR text -> object code, by llvmlite (LLVM's parser, optimiser and code generator).

Each text gets a context of its own, so several compile in parallel: llvmlite serialises its calls behind one lock, so
the four calls that take the time go to the library directly, which is safe for separate contexts.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from mlc.backends.llvm.target import feature_string, generic_cpu, initialize, triple
from mlc.backends.machine import MachineModel
from mlc.errors import InternalError, UsageError, VerifyError


@dataclass(frozen=True, kw_only=True)
class CodegenOptions:
    """How code is made. `opt_level` 0 to 3; `debug` adds line tables from the locations."""

    opt_level: int = 2
    debug: bool = False

    def __post_init__(self) -> None:
        if self.opt_level not in (0, 1, 2, 3):
            raise UsageError(f"optimisation level {self.opt_level}", expected="0, 1, 2 or 3")


DEFAULT = CodegenOptions()

_FEW_BRANCHES, _FEW_REGISTERS = 15, 16
_VECTOR = re.compile(r"<\d+ x [a-z]")
_FAILS = re.compile(r"^  ret i32 [1-9]", re.MULTILINE)
_LABEL = re.compile(r"^(b\d+):", re.MULTILINE)


def compile_ir(text: str, machine: MachineModel, options: CodegenOptions = DEFAULT) -> bytes:
    """Object code of LLVM IR text."""
    return _made(text, machine, options, as_object=True)


def assembly_of_ir(text: str, machine: MachineModel, options: CodegenOptions = DEFAULT) -> bytes:
    """Assembly of LLVM IR text."""
    return _made(text, machine, options, as_object=False)


def optimize_ir(text: str, machine: MachineModel, options: CodegenOptions = DEFAULT) -> str:
    """LLVM IR text after LLVM's optimiser."""
    initialize()
    with _Job(text, machine, options) as job:
        job.optimize()
        return str(job.module)


def _made(text: str, machine: MachineModel, options: CodegenOptions, *, as_object: bool) -> bytes:
    initialize()
    with _Job(text, machine, options) as job:
        job.optimize()
        return job.emit(as_object=as_object)


def _unlocked(name: str) -> Any:
    """A function of the library without llvmlite's global lock, with its declared types."""
    return getattr(ffi.lib, name)._cfn


def _is_plain_nest(text: str, machine: MachineModel) -> bool:
    """Whether little is left to do: no memory on the stack, and no more branches than loops of one nest and their
    rests; anything vectorised where there are few registers.

    The whole pipeline takes a third to two thirds of LLVM's time there and gains nothing. Blocks of Winograd tiles do
    gain where there are 32 registers (some of them: 6 %).
    """
    few = machine.vector_registers <= _FEW_REGISTERS
    return few or (text.count("br i1") <= _FEW_BRANCHES and " alloca " not in text)


def _has_scalar_loop(text: str) -> bool:
    """Whether an innermost loop of one block stores and has no vectors."""
    parts = _LABEL.split(text)
    return any(
        f"label %{label}" in body[body.rfind(" br ") :] and " store " in body and "<" not in body
        for label, body in zip(parts[1::2], parts[2::2], strict=True)
    )


class _Job:
    """One module on its way through LLVM, with what must be freed afterwards."""

    def __init__(self, text: str, machine: MachineModel, options: CodegenOptions) -> None:
        self.options = options
        self.text = text
        self.machine = machine
        self.context = llvm.create_context()
        self.target_machine = llvm.Target.from_triple(triple(machine)).create_target_machine(
            cpu=generic_cpu(machine),
            features=feature_string(machine),
            opt=options.opt_level,
            reloc="pic",
            codemodel="default",
        )
        self.module = self._parse(f'target triple = "{triple(machine)}"\n{text}')
        self.module.data_layout = str(self.target_machine.target_data)

    def __enter__(self) -> _Job:
        return self

    def __exit__(self, *_: object) -> None:
        self.module.close()
        self.target_machine.close()
        self.context.close()

    def _parse(self, text: str) -> llvm.ModuleRef:
        source = ctypes.c_char_p(text.encode())
        with ffi.OutputString() as message:
            pointer = _unlocked("LLVMPY_ParseAssembly")(self.context, source, message)
            if not pointer:
                raise VerifyError(f"LLVM rejects the module: {message}")
        module = llvm.ModuleRef(pointer, self.context)
        with ffi.OutputString() as message:
            if _unlocked("LLVMPY_VerifyModule")(module, message):
                raise VerifyError(f"LLVM rejects the module: {message}")
        return module

    def optimize(self) -> None:
        """LLVM's default pipeline for the level, less what the lowering has done already.

        Code that comes vectorised and unrolled gains nothing from LLVM's vectorisers and unroller (measured on the
        kernels of five models: no change in speed, a quarter to a third of the time); scalar loops do, also beside such
        code. Loops that a failed `cf.assert` leaves early are not vectorised: LLVM would count their iterations by
        128-bit divisions, which are calls of a library that nobody links. Vectorised nests, of few branches where there
        are many registers, need no more than two passes.
        """
        level = self.options.opt_level
        if level == 0:
            return
        scalar = level >= 3 or (level == 2 and _VECTOR.search(self.text) is None)
        tuning = llvm.create_pipeline_tuning_options(level)
        loops = scalar or (level == 2 and _has_scalar_loop(self.text))
        tuning.loop_vectorization = loops and _FAILS.search(self.text) is None
        tuning.loop_interleaving = tuning.loop_vectorization
        tuning.loop_unrolling = scalar
        tuning.slp_vectorization = level >= 3
        builder = llvm.create_pass_builder(self.target_machine, tuning)
        if level == 2 and not loops and _is_plain_nest(self.text, self.machine):
            passes = llvm.create_new_module_pass_manager()
            passes.add_instruction_combine_pass()
            passes.add_simplify_cfg_pass()
        else:
            passes = builder.getModulePassManager()
        _unlocked("LLVMPY_RunNewModulePassManager")(passes, self.module, builder)
        passes.close()
        builder.close()
        tuning.close()

    def emit(self, *, as_object: bool) -> bytes:
        """Object code or assembly."""
        with ffi.OutputString() as message:
            buffer = _unlocked("LLVMPY_TargetMachineEmitToMemory")(
                self.target_machine, self.module, int(as_object), message
            )
            if not buffer:
                raise InternalError(f"LLVM cannot generate code: {message}")
        try:
            start = ffi.lib.LLVMPY_GetBufferStart(buffer)
            return ctypes.string_at(start, ffi.lib.LLVMPY_GetBufferSize(buffer))
        finally:
            ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)
