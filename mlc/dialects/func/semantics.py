"""Reference semantics of `func`.

A call of a function marked `parallel` may be run as calls of parts of its range, in any order: here the second half
runs first, so that a body whose iterations depend on each other gives other results.
"""

from __future__ import annotations

from xdsl.dialects.builtin import IntegerAttr, SymbolRefAttr
from xdsl.ir import Operation

from mlc.ir.semantics import Args, Results, Runner, semantics


@semantics("func.call")
def call(op: Operation, args: Args, run: Runner) -> Results:
    callee = op.properties["callee"]
    assert isinstance(callee, SymbolRefAttr)
    name = callee.root_reference.data
    target = run.symbol(name)
    grain = target.attributes.get("parallel") if target is not None else None
    if isinstance(grain, IntegerAttr):
        begin, end, *rest = args
        middle = begin + (end - begin) // 2
        if middle - begin >= grain.value.data:
            run.call(name, (middle, end, *rest))
            return run.call(name, (begin, middle, *rest))
    return run.call(name, args)


@semantics("func.return")
def return_(op: Operation, args: Args, run: Runner) -> Results:
    return args
