"""Loops that carry tensors and write single elements of them, in order: each outermost one becomes a kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import scf
from xdsl.ir import Block, SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.registry import Conversion

Step = Callable[[Body, list[SSAValue], SSAValue], SSAValue]
Values = list[SSAValue]


def looped(c: Conversion, sizes: Sequence[Dim], start: SSAValue, step: Step) -> SSAValue:
    """Nested loops over `sizes` that carry a tensor: `step(body, indices, tensor)` returns the next one."""
    return looped_all(c, sizes, [start], lambda b, at, carried: [step(b, at, carried[0])])[0]


def looped_all(
    c: Conversion, sizes: Sequence[Dim], starts: Values, step: Callable[[Body, Values, Values], Values]
) -> Values:
    """Nested loops over `sizes` that carry tensors: `step(body, indices, tensors)` returns the next ones."""

    def nest(d: int, at: Values, carried: Values) -> Values:
        if d == len(sizes):
            return step(Body(c.block, c.location), at, carried)
        return counted(
            c,
            (c.index(0), c.dims.value(sizes[d]), c.index(1)),
            carried,
            lambda _, i, now: nest(d + 1, [*at, i], now),
        )

    return nest(0, [], starts)


def counted(
    c: Conversion,
    bounds: tuple[SSAValue, SSAValue, SSAValue],
    starts: Values,
    step: Callable[[Body, SSAValue, Values], Values],
) -> Values:
    """One loop from `bounds[0]` below `bounds[1]` by `bounds[2]`: `step(body, index, carried)` returns the next
    ones."""
    block = Block(arg_types=[c.index(0).type, *(v.type for v in starts)])
    with c.inside(block):
        c.emit(scf.YieldOp(*step(Body(c.block, c.location), block.args[0], list(block.args[1:]))))
    return list(c.emit(scf.ForOp(*bounds, starts, block)).results)
