"""Run a program, at whatever level it is, and give what an observer sees: results and buffers afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import MemRefType, ModuleOp
from xdsl.dialects.llvm import FuncOp as LLVMFuncOp
from xdsl.ir import Attribute

from mlc.dialects.llvm.semantics_memory import memory_of
from mlc.dialects.torch.types import VTensorType
from mlc.errors import ExecutionError
from mlc.interp import Interpreter, run_module
from mlc.interp.run import convert_input
from mlc.interp.run_llvm import ENTRY, run_forward, with_team
from mlc.ir.memory import Buffer
from mlc.ir.semantics import Domain
from mlc.ir.values import DYNAMIC, static_shape
from mlc.testing.inputs import MemRefInput
from mlc.testing.program import Program

MAX_ITERATIONS = 400_000


def execute(
    program: Program, inputs: Sequence[Any], domain: Domain, *, shapes: Sequence[Any] | None = None
) -> list[Any]:
    """Results as domain values, then the whole storages of memref arguments."""
    module = program.module
    if any(isinstance(x, MemRefInput) for x in inputs):
        if _is_llvm(module, program.entry):
            return _run_llvm(program, inputs, domain)
        return _run_memrefs(program, inputs, domain)
    if _is_llvm(module, ENTRY):
        dims = [n for x, t in zip(inputs, program.signature.inputs.data, strict=True) for n in _dynamic(x, t)]
        like = [np.zeros_like(s) for s in shapes or ()]
        return list(run_forward(module, inputs, like, dims=dims, resources=program.resources))
    outputs = None if shapes is None else [tuple(np.shape(s)) for s in shapes]
    return run_module(
        module, program.entry, inputs, resources=program.resources, domain=domain, raw=True, output_shapes=outputs
    )


def _is_llvm(module: ModuleOp, entry: str) -> bool:
    return any(isinstance(op, LLVMFuncOp) and op.sym_name.data == entry for op in module.ops)


def _dynamic(x: Any, t: Attribute) -> list[int]:
    shape = t.shape or () if isinstance(t, VTensorType) else static_shape(t)
    return [n for n, d in zip(np.shape(x), shape, strict=True) if d in (DYNAMIC, None)]


def _engine(program: Program, domain: Domain) -> Interpreter:
    return Interpreter(program.module, resources=program.resources, domain=domain, max_iterations=MAX_ITERATIONS)


def _run_memrefs(program: Program, inputs: Sequence[Any], domain: Domain) -> list[Any]:
    engine = _engine(program, domain)
    types = list(program.signature.inputs.data)
    args = [
        x.buffer(domain) if isinstance(x, MemRefInput) else convert_input(x, t, domain)
        for x, t in zip(inputs, types, strict=True)
    ]
    results = list(engine.run_function(program.entry, args))
    for a, x in zip(args, inputs, strict=True):
        if isinstance(a, Buffer) and isinstance(x, MemRefInput):
            results.append(a.with_layout(0, (x.data.size,), (1,)).read())
    return results


def _run_llvm(program: Program, inputs: Sequence[Any], domain: Domain) -> list[Any]:
    """The calling convention: a pointer to the first element, dynamic sizes, dynamic strides."""
    engine = _engine(program, domain)
    memory = memory_of(engine)
    types = list(program.signature.inputs.data)
    args: list[Any] = []
    held: list[tuple[MemRefInput, np.ndarray]] = []
    for x, t in zip(inputs, types, strict=True):
        if not isinstance(x, MemRefInput):
            args.append(x)
            continue
        data = x.stored()
        held.append((x, data))
        base = memory.allocate(data.nbytes, data=data) if data.nbytes else memory.allocate(0)
        args.append(np.int64(base + x.offset * data.itemsize))
        assert isinstance(t, MemRefType)
        args += [np.int64(n) for n, d in zip(x.sizes, t.get_shape(), strict=True) if d == DYNAMIC]
        if t.layout.name == "strided":
            strides = t.get_strides() or ()
            args += [np.int64(s) for s, d in zip(x.strides, strides, strict=True) if d is None]
    results = list(engine.run_function(program.entry, with_team(engine, program.entry, args)))
    after = [x.read(data) for x, data in held]
    if program.signature.outputs.data:
        return [*results, *after]
    if int(results[0]) != 0:
        raise ExecutionError(f"@{program.entry} returned status {int(results[0])}")
    return after
