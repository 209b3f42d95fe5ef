"""Programs of a lower level, made by sending linalg programs down the pipeline's own table.

What an earlier pass refuses, or gets wrong in a way its own property reports, is discarded here.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import IntegerAttr
from xdsl.dialects.func import FuncOp
from xdsl.passes import ModulePass

from fuzz.generators.aliasing import aliasing_kernels
from fuzz.generators.kernel_witnesses import kernel_witnesses
from fuzz.generators.linalg import ALL_STEPS, linalg
from fuzz.generators.linalg_witnesses import witnessed
from fuzz.generators.torch_steps import torch_steps
from fuzz.tape import Tape
from mlc.dialects.scf.syntax import DIVIDED, ParallelOp
from mlc.errors import MlcError
from mlc.interp import evaluate_constant
from mlc.ir.pipeline import make_pass
from mlc.ir.pipeline_table import KERNEL_ROWS, MODULE_ROWS
from mlc.ir.verifier import verify_module
from mlc.testing.program import Discard, Program

_FRONT = ("torch",)


def names_before(pass_name: str) -> list[str]:
    """Passes of the table that stand before one, from the linalg level on."""
    rows = [
        row
        for row in (*MODULE_ROWS, *KERNEL_ROWS)
        if row.level not in _FRONT and row.pass_name != "convert-torch-to-linalg"
    ]
    names = [row.pass_name for row in rows]
    return names[: names.index(pass_name)]


def lower(program: Program, passes: list[str]) -> Program:
    """Run the passes in place. Raises `Discard` where one fails."""
    return run(program, [make_pass(name) for name in passes])


def run(program: Program, passes: Sequence[ModulePass]) -> Program:
    """Run pass instances in place. Raises `Discard` where one fails."""
    try:
        for p in passes:
            p.apply(program.ctx, program.module)
        verify_module(program.module, program.ctx)
    except MlcError as e:
        raise Discard(f"an earlier pass: {e.message}") from e
    except Exception as e:
        raise Discard(f"an earlier pass: {type(e).__name__}: {e}") from e
    program.ctx.remarks = type(program.ctx.remarks)()
    return program


def torch_loops(tape: Tape) -> Program:
    """Recurrences of the torch dialect that became loops again."""
    return run(torch_steps(tape), [make_pass("torch-roll-loops", {"min_steps": 2})])


def kernels(tape: Tape) -> Program:
    """@forward calling kernels on tensors."""
    return lower(linalg(tape), names_before("bufferize"))


def recurrent_kernels(tape: Tape) -> Program:
    """The same, with loops among them that carry tensors from kernel to kernel."""
    return lower(witnessed("linalg-form-kernels", ALL_STEPS)(tape), names_before("bufferize"))


def buffers(tape: Tape) -> Program:
    """Kernels and @forward on memrefs, before memory is planned."""
    return lower(linalg(tape), names_before("plan-memory"))


def aliasing_buffers(tape: Tape) -> Program:
    """Programs full of aliasing traps, on memrefs."""
    return lower(aliasing_kernels(tape), ["bufferize"])


def rare_buffers(tape: Tape) -> Program:
    """A kernel of ops that seldom reach it, on memrefs."""
    return lower(kernel_witnesses(tape), ["bufferize"])


def planned(tape: Tape) -> Program:
    """With an arena."""
    return lower(linalg(tape), names_before("vectorize-structured"))


def parallel_loops(tape: Tape) -> Program:
    """Vector code and scalar loops under one @forward, what is parallel still marked; threads may divide any loop."""
    program = without_constants(lower(linalg(tape), names_before("scf-parallel-outline")))
    for op in program.module.walk():
        if isinstance(op, ParallelOp) and len(op.lowerBound) > 1:
            op.attributes[DIVIDED] = IntegerAttr(tape.below(len(op.lowerBound)), 64)
    return program


def loops(tape: Tape) -> Program:
    """Vector code and scalar loops under one @forward; half of them with parallel loops for the thread pool."""
    small: dict[str, object] = {"min_cost": 0, "grain_cost": 0} if tape.chance(50) else {}
    names = names_before("convert-to-llvm")
    passes = [make_pass(name, small if name == "scf-parallel-outline" else {}) for name in names]
    return without_constants(run(linalg(tape), passes))


def without_constants(program: Program) -> Program:
    """`@const.*` functions computed into the weight store and dropped, as the driver does before code is made."""
    for op in list(program.module.ops):
        if isinstance(op, FuncOp) and "constant" in op.attributes:
            name = op.sym_name.data
            program.resources.set(name, evaluate_constant(program.module, name, program.resources))
            op.detach()
            op.erase()
    return program
