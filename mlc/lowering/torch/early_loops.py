"""What a capture has recorded step by step becomes loops before anything walks over all of it.

    whole = roll_early(ctx, module)      # module: as after torch-roll-loops, if that finds a loop
    whole()                              # another module, as it was

What: verifying, hashing, copying and lowering a recurrent cell takes as long for 800 steps as for 10. Only where the
passes before `torch-roll-loops` would see nothing else in a loop than in its steps: no batch norm to be folded.
Tests: tests/lowering/torch/test_early_loops.py
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, Region, SSAValue

from mlc.ir.context import MlcContext
from mlc.ir.remarks import RemarkLog
from mlc.lowering.torch.step_order import in_order, is_constant, ops_of, put_in_order
from mlc.lowering.torch.torch_fold_batch_norm import NORMS
from mlc.lowering.torch.torch_roll_loops import TorchRollLoops

Whole = Callable[[], ModuleOp]


def roll_early(ctx: MlcContext, module: ModuleOp) -> Whole | None:
    """Run `torch-roll-loops` on a captured module, in place; None where that leaves it as it is. Remarks are made by
    the pass itself, when it is run on the whole module."""
    functions = [op for op in module.ops if isinstance(op, func.FuncOp)]
    if len(functions) != 1 or len(functions[0].body.blocks) != 1:
        return None
    block, rolls = functions[0].body.block, TorchRollLoops()
    if not rolls.may_roll(block):
        return None
    constants, ops = in_order(block)
    found = rolls.find(ops[:-1])
    if found is None or any(op.name in NORMS for op in found.first_step):
        return None
    whole = _Whole(functions[0])
    put_in_order(block, [*constants, *ops])
    quiet = ctx.clone()
    quiet.remarks = RemarkLog()
    if rolls.roll(quiet, block, found):
        _drop_unread(block)
        return whole
    put_in_order(block, [op for op, _ in whole.ops])
    return None


def _drop_unread(block: Block) -> None:
    """Numbers of the steps that are gone: as many as there were steps."""
    for op in [op for op in block.ops if is_constant(op) and op.results[0].first_use is None]:
        op.detach()
        op.erase()


class _Whole:
    """The ops of a function as they are now, which others may take apart."""

    def __init__(self, function: func.FuncOp) -> None:
        self.function = function
        self.ops: list[tuple[Operation, tuple[SSAValue, ...]]] = [
            (op, op._operands) for op in ops_of(function.body.block)
        ]

    def __call__(self) -> ModuleOp:
        """A module of copies of them."""
        old = self.function.body.block
        block = Block(arg_types=[a.type for a in old.args])
        now: dict[SSAValue, SSAValue] = dict(zip(old.args, block.args, strict=True))
        for argument, was in zip(block.args, old.args, strict=True):
            argument.name_hint = was.name_hint
        for op, operands in self.ops:
            copy = type(op).create(
                operands=[now[v] for v in operands],
                result_types=op.result_types,
                properties=dict(op.properties),
                attributes=dict(op.attributes),
                location=op.location,
            )
            for result, was in zip(copy.results, op.results, strict=True):
                result.name_hint = was.name_hint
                now[was] = result
            block.add_op(copy)
        made = func.FuncOp(self.function.sym_name.data, self.function.function_type, Region(block))
        made.location = self.function.location
        return ModuleOp([made])
