"""Reference semantics of `scf`. Loops run in order; `scf.parallel` too, in row-major order."""

from __future__ import annotations

from itertools import product

import numpy as np
from xdsl.dialects.scf import ForOp, IfOp, IndexSwitchOp, ParallelOp, ReduceOp, WhileOp
from xdsl.ir import Operation

from mlc.ir.semantics import Args, Results, Runner, fail, semantics
from mlc.ir.values import dtype_of


@semantics("scf.yield", "scf.condition", "scf.reduce.return")
def yield_(op: Operation, args: Args, run: Runner) -> Results:
    return args


@semantics("scf.for")
def for_(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, ForOp)
    low, high, step = (int(a) for a in args[:3])
    if step <= 0:
        fail(op, f"step {step} is not positive")
    carried = args[3:]
    index = dtype_of(op.lb.type).type
    for i in range(low, high, step):
        run.tick()
        carried = run.run_region(op.body, (index(i), *carried))
    return carried


@semantics("scf.if")
def if_(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, IfOp)
    if np.ndim(args[0]) != 0:
        fail(op, "a condition of several elements")
    if args[0]:
        return run.run_region(op.true_region, ())
    return run.run_region(op.false_region, ())


@semantics("scf.while")
def while_(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, WhileOp)
    carried = args
    while True:
        run.tick()
        going, *passed = run.run_region(op.before_region, carried)
        if not going:
            return tuple(passed)
        carried = run.run_region(op.after_region, passed)


@semantics("scf.execute_region")
def execute_region(op: Operation, args: Args, run: Runner) -> Results:
    return run.run_region(op.regions[0], ())


@semantics("scf.index_switch")
def index_switch(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, IndexSwitchOp)
    for value, region in zip(op.cases.get_values(), op.case_regions, strict=True):
        if int(args[0]) == value:
            return run.run_region(region, ())
    return run.run_region(op.default_region, ())


@semantics("scf.parallel")
def parallel(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, ParallelOp)
    n = len(op.lowerBound)
    bounds = [int(a) for a in args[: 3 * n]]
    if any(step <= 0 for step in bounds[2 * n :]):
        fail(op, "a step is not positive")
    ranges = [range(bounds[d], bounds[n + d], bounds[2 * n + d]) for d in range(n)]
    accumulated = args[3 * n :]
    run.state.setdefault("scf.reduce", [])
    stack = run.state["scf.reduce"]
    for point in product(*ranges):
        run.tick()
        stack.append(accumulated)
        try:
            run.run_region(op.body, tuple(np.int64(i) for i in point))
            accumulated = stack[-1]
        finally:
            stack.pop()
    return accumulated


@semantics("scf.reduce")
def reduce(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, ReduceOp)
    stack = run.state["scf.reduce"]
    stack[-1] = tuple(
        run.run_region(region, (acc, x))[0] for acc, x, region in zip(stack[-1], args, op.reductions, strict=True)
    )
    return ()
