"""Reference semantics of `scf`. Loops run in order; `scf.parallel` too, in row-major order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

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
    body, tick = run.function(op.body), run.tick
    for i in index_values(low, high, step, dtype_of(op.lb.type)):
        tick()
        carried = body(i, *carried)
    return carried


def index_values(low: int, high: int, step: int, dtype: np.dtype[Any]) -> Iterator[Any]:
    """The induction variable's values; made by numpy in chunks, one by one they cost more than a body."""
    chunk = 4096 * step
    for start in range(low, high, chunk):
        yield from np.arange(start, min(high, start + chunk), step, dtype=dtype)


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
    before, after = run.function(op.before_region), run.function(op.after_region)
    while True:
        run.tick()
        going, *passed = before(*carried)
        if not going:
            return tuple(passed)
        carried = after(*passed)


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
    body = run.function(op.body)
    for point in product(*(list(np.arange(r.start, r.stop, r.step)) for r in ranges)):
        run.tick()
        stack.append(accumulated)
        try:
            body(*point)
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
