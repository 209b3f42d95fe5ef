"""Reference semantics of `func`.

A call of a function marked `parallel` may be run as calls of parts of its range, in any order: here the second half
runs first, so that a body whose iterations depend on each other gives other results. A buffer that is larger than the
callee was promised (`mlc.at_most`) is an error.
"""

from __future__ import annotations

from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, SymbolRefAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation

from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Results, Runner, fail, semantics
from mlc.ir.size_bounds import AT_MOST


@semantics("func.call")
def call(op: Operation, args: Args, run: Runner) -> Results:
    callee = op.properties["callee"]
    assert isinstance(callee, SymbolRefAttr)
    name = callee.root_reference.data
    target = run.symbol(name)
    if isinstance(target, FuncOp) and target.arg_attrs is not None:
        _check_promises(op, target, args)
    grain = target.attributes.get("parallel") if target is not None else None
    if isinstance(grain, IntegerAttr):
        begin, end, *rest = args
        middle = begin + (end - begin) // 2
        if middle - begin >= grain.value.data:
            run.call(name, (middle, end, *rest))
            return run.call(name, (begin, middle, *rest))
    return run.call(name, args)


def _check_promises(op: Operation, target: FuncOp, args: Args) -> None:
    for k, (value, about) in enumerate(zip(args, target.arg_attrs or (), strict=True)):
        bounds = about.data.get(AT_MOST)
        if isinstance(value, Buffer) and isinstance(bounds, DenseArrayBase):
            most = bounds.get_values()
            if len(most) != len(value.sizes) or any(n > limit for n, limit in zip(value.sizes, most, strict=True)):
                fail(op, f"argument {k} has sizes {list(value.sizes)}, promised are at most {list(most)}")


@semantics("func.return")
def return_(op: Operation, args: Args, run: Runner) -> Results:
    return args
