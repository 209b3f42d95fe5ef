"""Shrink a failing program on the IR itself: keep taking ops away as long as the failure stays.

    small = reduce_program(program, still_fails)

Tried, largest first: return an earlier value instead of the results, drop ops nobody uses, turn an op's results into
arguments of the entry function, drop functions that are not called. A candidate that does not verify is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from xdsl.dialects import func
from xdsl.dialects.builtin import FunctionType, MemRefType, ModuleOp
from xdsl.ir import Operation
from xdsl.traits import IsTerminator

from mlc.errors import MlcError
from mlc.interp.run import function_type
from mlc.ir.locations import with_location
from mlc.ir.verifier import verify_module
from mlc.testing.program import Program

Edit = Callable[[ModuleOp], bool]


def reduce_program(program: Program, still_fails: Callable[[Program], bool], *, budget: int = 400) -> Program:
    """The smallest program found for which `still_fails` holds; `budget` bounds the number of tries."""
    left = budget
    progress = True
    now = function_type(program.module, program.entry)
    lowered = program.signature != now and any(isinstance(t, MemRefType) for t in now.inputs.data)
    if not lowered:
        program = program.copy()
        program.refresh_signature()
    while progress and left > 0:
        progress = False
        for edit in _edits(program):
            if left <= 0:
                break
            candidate = program.copy()
            if not _applied(edit, candidate, lowered=lowered):
                continue
            left -= 1
            if still_fails(candidate):
                program, progress = candidate, True
                break
    return program


def count_ops(module: ModuleOp) -> int:
    """Ops of all function bodies, terminators and functions aside."""
    return sum(1 for op in _inner_ops(module))


def _applied(edit: Edit, candidate: Program, *, lowered: bool) -> bool:
    """Make the edit on `candidate`. A lowered entry is called by its original signature, which must then not change."""
    before = function_type(candidate.module, candidate.entry)
    try:
        if not edit(candidate.module):
            return False
        verify_module(candidate.module, candidate.ctx)
    except (MlcError, ValueError):
        return False
    if not lowered:
        candidate.refresh_signature()
    return not lowered or function_type(candidate.module, candidate.entry) == before


def _inner_ops(module: ModuleOp) -> Iterator[Operation]:
    for op in module.walk():
        if not isinstance(op, ModuleOp | func.FuncOp) and not op.has_trait(IsTerminator):
            yield op


def _entry(module: ModuleOp, name: str) -> func.FuncOp | None:
    return next((op for op in module.ops if isinstance(op, func.FuncOp) and op.sym_name.data == name), None)


def _edits(program: Program) -> Iterator[Edit]:
    entry = _entry(program.module, program.entry)
    called = {op.callee.root_reference.data for op in program.module.walk() if isinstance(op, func.CallOp)}
    for i, op in enumerate(program.module.ops):
        if isinstance(op, func.FuncOp) and "kernel" in op.attributes and op.sym_name.data not in called:
            yield lambda module, i=i: _drop_function(module, i)
    if entry is not None and len(entry.body.blocks) == 1:
        ops = list(entry.body.block.ops)[:-1]
        for i, op in enumerate(ops):
            if op.results and entry.function_type.outputs.data:
                yield lambda module, i=i: _return_early(module, program.entry, i)
    for i in reversed(range(count_ops(program.module))):
        yield lambda module, i=i: _drop_unused(module, i)
    if entry is not None and len(entry.body.blocks) == 1:
        for i in range(len(list(entry.body.block.ops)) - 1):
            yield lambda module, i=i: _results_to_arguments(module, program.entry, i)


def _drop_function(module: ModuleOp, i: int) -> bool:
    op = list(module.ops)[i]
    op.detach()
    op.erase()
    return True


def _drop_unused(module: ModuleOp, i: int) -> bool:
    op = list(_inner_ops(module))[i]
    if any(r.uses for r in op.results):
        return False
    op.detach()
    op.erase()
    return True


def _return_early(module: ModuleOp, name: str, i: int) -> bool:
    """Return the results of op `i` of the entry; what follows is dropped."""
    entry = _entry(module, name)
    assert entry is not None
    block = entry.body.block
    ops = list(block.ops)
    kept = ops[i]
    if list(ops[-1].operands) == list(kept.results):
        return False
    for op in reversed(ops[i + 1 :]):
        op.detach()
        op.erase()
    ret = func.ReturnOp(*kept.results)
    with_location(ret, kept.location)
    block.add_op(ret)
    entry.properties["function_type"] = FunctionType.from_lists(
        [a.type for a in block.args], [r.type for r in kept.results]
    )
    return True


def _results_to_arguments(module: ModuleOp, name: str, i: int) -> bool:
    """What op `i` of the entry computes comes in from outside instead."""
    entry = _entry(module, name)
    assert entry is not None
    block = entry.body.block
    op = list(block.ops)[i]
    if not op.results or op.name.endswith(".constant") or op.name == "tensor.empty":
        return False
    for result in op.results:
        argument = block.insert_arg(result.type, len(block.args))
        argument.name_hint = result.name_hint
        result.replace_all_uses_with(argument)
    op.detach()
    op.erase()
    entry.properties["function_type"] = FunctionType.from_lists(
        [a.type for a in block.args], list(entry.function_type.outputs.data)
    )
    return True
