"""The order in which equal steps are looked for: constants in front, rows of a sequence where they are read.

    %a, %b = rows 0 and 1 of %x                              %one = torch.constant.int 1
    … %one = torch.constant.int 1, read by step 0   -->      %a = row 0 … step 0 …
    … step 0 … step 1                                        %b = row 1 … step 1 …

Constants stand where they were first needed, inside the first step; `x.unbind(0)` before the loop takes all rows at
once. Neither has an order of its own. Finding it changes nothing: a block is put into it once there is a reason to.
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from xdsl.ir import Block, Operation

from mlc.dialects.torch.constants import ScalarConstant, VTensorLiteralOp
from mlc.dialects.torch.prim import PrimListConstructOp
from mlc.dialects.torch.values import NOT_CONSTANT, constant_value

_ROW = "torch.aten.select.int"


def is_constant(op: Operation) -> bool:
    """Whether this is a number, a weight, or a list of numbers."""
    kind = type(op)
    if kind is PrimListConstructOp:
        return constant_value(op.results[0]) is not NOT_CONSTANT
    return _is_number_or_weight(kind)


@cache
def _is_number_or_weight(kind: type[Operation]) -> bool:
    return issubclass(kind, ScalarConstant | VTensorLiteralOp)


def ops_of(block: Block) -> list[Operation]:
    """All ops of a block, without a call for each."""
    found: list[Operation] = []
    op = block._first_op
    while op is not None:
        found.append(op)
        op = op._next_op
    return found


def in_order(block: Block) -> tuple[list[Operation], list[Operation]]:
    """The constants of a block and its other ops, as they are to stand; the block is left as it is."""
    constants: list[Operation] = []
    others: list[Operation] = []
    for op in ops_of(block):
        (constants if is_constant(op) else others).append(op)
    return constants, _rows_late(block, others)


def _rows_late(block: Block, ops: list[Operation]) -> list[Operation]:
    """Each row is taken right before the op that reads it first."""
    rows = [op for op in ops if op.name == _ROW]
    if not rows:
        return ops
    places = {op: n for n, op in enumerate(ops)}
    waiting: dict[Operation, list[Operation]] = {}
    late: set[Operation] = set()
    for op in rows:
        readers = [use.operation for use in op.results[0].uses]
        if readers and all(reader.parent is block for reader in readers):
            first = readers[0] if len(readers) == 1 else min(readers, key=places.__getitem__)
            waiting.setdefault(first, []).append(op)
            late.add(op)
    found: list[Operation] = []

    def put(op: Operation) -> None:
        for row in waiting[op]:
            if row in waiting:
                put(row)
            else:
                found.append(row)
        found.append(op)

    for op in ops:
        if op in waiting:
            if op not in late:
                put(op)
        elif op not in late:
            found.append(op)
    return found


def discard(ops: Sequence[Operation]) -> None:
    """Take out ops of one block that nobody else reads any more."""
    for op in ops:
        block, before, behind = op.parent, op._prev_op, op._next_op
        assert block is not None
        if before is None:
            block._first_op = behind
        else:
            before._next_op = behind
        if behind is None:
            block._last_op = before
        else:
            behind._prev_op = before
        op.parent = op._prev_op = op._next_op = None
        op.drop_all_references()


def put_in_order(block: Block, ops: Sequence[Operation]) -> None:
    """Let all ops of `block` stand in this order: links alone change, as thousands of ops may have to move."""
    if not ops:
        return
    before: Operation | None = None
    for op in ops:
        op._prev_op = before
        if before is not None:
            before._next_op = op
        before = op
    assert before is not None
    before._next_op = None
    block._first_op, block._last_op = ops[0], before
