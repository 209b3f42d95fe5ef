"""Nested loops that carry a tensor and write single elements of it, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import scf
from xdsl.ir import Block, SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.registry import Conversion

Step = Callable[[Body, list[SSAValue], SSAValue], SSAValue]


def looped(c: Conversion, sizes: Sequence[Dim], start: SSAValue, step: Step) -> SSAValue:
    """Nested loops over `sizes` that carry a tensor: `step(body, indices, tensor)` returns the next one."""

    def nest(d: int, at: list[SSAValue], carried: SSAValue) -> SSAValue:
        if d == len(sizes):
            return step(Body(c.block, c.location), at, carried)
        block = Block(arg_types=[c.index(0).type, carried.type])
        with c.inside(block):
            c.emit(scf.YieldOp(nest(d + 1, [*at, block.args[0]], block.args[1])))
        return c.emit(scf.ForOp(c.index(0), c.dims.value(sizes[d]), c.index(1), [carried], block)).results[0]

    return nest(0, [], start)
