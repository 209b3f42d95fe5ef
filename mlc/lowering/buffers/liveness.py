"""How long each `memref.alloc` of a function is needed, views of it included.

%a = memref.alloc()                 position of ops in program order: a buffer lives from its first use to its last;
call @k(%x, %a)          1          a use inside a loop around which the buffer lives counts for the whole loop
call @k(%a, %b)          2          -->  %a: [1, 2]
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import memref
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.traits import IsTerminator

from mlc.errors import UnsupportedError
from mlc.ir.locations import format_location

VIEWS = (
    memref.SubviewOp,
    memref.ExpandShapeOp,
    memref.CollapseShapeOp,
    memref.CastOp,
    memref.ReinterpretCastOp,
    memref.ViewOp,
)


@dataclass(frozen=True)
class LiveRange:
    """A buffer is needed from op number `start` to op number `end`, both included."""

    op: memref.AllocOp
    start: int
    end: int

    def overlaps(self, other: LiveRange) -> bool:
        """Whether both are needed at some op."""
        return self.start <= other.end and other.start <= self.end


def live_ranges(function: FuncOp) -> list[LiveRange]:
    """The live range of every `memref.alloc` in `function`, in program order; unused ones are left out."""
    first: dict[Operation, int] = {}
    last: dict[Operation, int] = {}
    _number(function.body.block, first, last)
    ranges: list[LiveRange] = []
    for op in first:
        if isinstance(op, memref.AllocOp):
            users = [_ancestor(user, op) for user in _users(op.memref)]
            if users:
                ranges.append(LiveRange(op, min(first[u] for u in users), max(last[u] for u in users)))
    return ranges


def _number(block: Block, first: dict[Operation, int], last: dict[Operation, int]) -> None:
    for op in block.ops:
        first[op] = len(first)
        for region in op.regions:
            for inner in region.blocks:
                _number(inner, first, last)
        last[op] = len(first) - 1


def _users(value: SSAValue) -> list[Operation]:
    """Ops that touch the memory of `value`, through any view."""
    found: list[Operation] = []
    for use in value.uses:
        op = use.operation
        if isinstance(op, VIEWS):
            found += _users(op.results[0])
        elif isinstance(op, memref.DimOp):
            continue
        elif op.has_trait(IsTerminator) or any(r.type == value.type for r in op.results):
            raise UnsupportedError(
                f"a buffer that passes through '{op.name}' cannot be planned",
                where=format_location(op.location) or None,
            )
        else:
            found.append(op)
    return found


def _ancestor(op: Operation, home: Operation) -> Operation:
    """The op in the block of `home` that is `op` or holds it."""
    block = home.parent_block()
    assert block is not None
    found = block.find_ancestor_op_in_block(op)
    assert found is not None, "a use outside the block of its definition"
    return found
