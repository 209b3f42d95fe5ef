"""Reference semantics of `ub`: reaching either op is an error."""

from __future__ import annotations

from xdsl.ir import Operation

from mlc.ir.semantics import Args, Results, Runner, fail, semantics


@semantics("ub.poison")
def poison(op: Operation, args: Args, run: Runner) -> Results:
    fail(op, "poison was made")


@semantics("ub.unreachable")
def unreachable(op: Operation, args: Args, run: Runner) -> Results:
    fail(op, "this point cannot be reached")
