"""Reference semantics of private buffers: fresh memory at every iteration, so that what one leaves no other can
read."""

from __future__ import annotations

from xdsl.ir import Operation

from mlc.ir.memory import allocate
from mlc.ir.semantics import Args, Results, Runner, semantics
from mlc.ir.values import fill_shape


@semantics("linalg_ext.private")
def private(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    return (allocate(t, fill_shape(t, ()), run.domain),)
