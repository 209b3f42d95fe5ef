"""Take IR apart that nobody reads any more, so that its memory is free at once.

    release(module)    # its ops, blocks, values: none may be used afterwards

Ops and their results, blocks and their ops, the uses of one value name each other, so that what is dropped would wait
for Python's cycle collector. That walks all other objects, too: half a second at the end of a first answer.
Tests: tests/ir/test_release.py
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Block, Operation, OpResult, SSAValue, SSAValues, Use

_NO_OPERANDS: SSAValues[SSAValue] = SSAValues()
_NO_RESULTS: SSAValues[OpResult] = SSAValues()


def release(op: Operation) -> None:
    """Take `op`, which is in no block, and all below it apart. Values from outside keep their other uses."""
    for region in op.regions:
        block = region._first_block
        while block is not None:
            following = block._next_block
            _release_block(block)
            block = following
        region.parent = region._first_block = region._last_block = None
    op.regions = ()
    _forget(op._operand_uses, op._operands)
    _forget(op._successor_uses, op._successors)
    op._operand_uses = op._successor_uses = op._successors = ()
    op._operands, op.results = _NO_OPERANDS, _NO_RESULTS
    op.parent = op._next_op = op._prev_op = None


def _release_block(block: Block) -> None:
    op = block._first_op
    while op is not None:
        following = op._next_op
        release(op)
        op = following
    block._args = ()
    block.parent = block._first_op = block._last_op = block._next_block = block._prev_block = None


def _forget(uses: Sequence[Use], used: Sequence[SSAValue | Block]) -> None:
    """What is used must not name a use of an op that is gone."""
    for use, value in zip(uses, used, strict=True):
        value.remove_use(use)
