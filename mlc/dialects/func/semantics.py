"""Reference semantics of `func`."""

from __future__ import annotations

from xdsl.dialects.builtin import SymbolRefAttr
from xdsl.ir import Operation

from mlc.ir.semantics import Args, Results, Runner, semantics


@semantics("func.call")
def call(op: Operation, args: Args, run: Runner) -> Results:
    callee = op.properties["callee"]
    assert isinstance(callee, SymbolRefAttr)
    return run.call(callee.root_reference.data, args)


@semantics("func.return")
def return_(op: Operation, args: Args, run: Runner) -> Results:
    return args
