"""Reference semantics of `cf`: branches and assertions."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.cf import AssertOp, ConditionalBranchOp, SwitchOp
from xdsl.ir import Operation

from mlc.ir.semantics import Args, Branch, Results, Runner, fail, semantics
from mlc.ir.values import attribute_array


@semantics("cf.assert")
def assert_(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, AssertOp)
    if not np.all(args[0]):
        fail(op, op.msg.data)
    return ()


@semantics("cf.br")
def br(op: Operation, args: Args, run: Runner) -> Branch:
    return Branch(0, args)


@semantics("cf.cond_br")
def cond_br(op: Operation, args: Args, run: Runner) -> Branch:
    assert isinstance(op, ConditionalBranchOp)
    split = 1 + len(op.then_arguments)
    return Branch(0, args[1:split]) if args[0] else Branch(1, args[split:])


@semantics("cf.switch")
def switch(op: Operation, args: Args, run: Runner) -> Branch:
    assert isinstance(op, SwitchOp)
    start = 1 + len(op.default_operands)
    values = [] if op.case_values is None else attribute_array(op.case_values, None).reshape(-1).tolist()
    for k, (value, case) in enumerate(zip(values, op.case_operand, strict=True)):
        if int(args[0]) == value:
            return Branch(1 + k, args[start : start + len(case)])
        start += len(case)
    return Branch(0, args[1 : 1 + len(op.default_operands)])
