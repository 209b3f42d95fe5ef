"""What a capture has recorded step by step becomes loops before anything walks over all of it.

    roll_early(ctx, module)      # module: as after torch-roll-loops, if that finds a loop

What: verifying, hashing, copying and lowering a recurrent cell takes as long for 800 steps as for 10. Only where the
passes before `torch-roll-loops` would see nothing else in a loop than in its steps: no batch norm to be folded.
Tests: tests/lowering/torch/test_early_loops.py
"""

from __future__ import annotations

from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block

from mlc.ir.context import MlcContext
from mlc.ir.remarks import RemarkLog
from mlc.lowering.torch.step_order import in_order, is_constant, ops_of, put_in_order
from mlc.lowering.torch.torch_fold_batch_norm import NORMS
from mlc.lowering.torch.torch_roll_loops import TorchRollLoops


def roll_early(ctx: MlcContext, module: ModuleOp) -> bool:
    """Run `torch-roll-loops` on a captured module, in place, and say whether that changed it. Remarks are made by the
    pass itself, when it is run on the whole module."""
    functions = [op for op in module.ops if isinstance(op, func.FuncOp)]
    if len(functions) != 1 or len(functions[0].body.blocks) != 1:
        return False
    block, rolls = functions[0].body.block, TorchRollLoops()
    if not rolls.may_roll(block):
        return False
    constants, ops = in_order(block)
    found = rolls.find(ops[:-1])
    if found is None or any(op.name in NORMS for op in found.first_step):
        return False
    before = ops_of(block)
    put_in_order(block, [*constants, *ops])
    quiet = ctx.clone()
    quiet.remarks = RemarkLog()
    if rolls.roll(quiet, block, found):
        _drop_unread(block)
        return True
    put_in_order(block, before)
    return False


def _drop_unread(block: Block) -> None:
    """Numbers of the steps that are gone: as many as there were steps."""
    for op in [op for op in block.ops if is_constant(op) and op.results[0].first_use is None]:
        op.detach()
        op.erase()
