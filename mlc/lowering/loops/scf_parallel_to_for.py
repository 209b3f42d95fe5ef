"""Run `scf.parallel` on one thread: nested `scf.for`.

    %s = scf.parallel (%i, %j) = … init(%z) {           %s = scf.for %i = … iter_args(%a = %z) {
      …                                                   %t = scf.for %j = … iter_args(%b = %a) {
      scf.reduce(%v : f32) { ^bb0(%x, %y): … }    -->       … ; scf.yield (%x + %y at %x = %b, %y = %v) }
    }                                                     scf.yield %t }

What: the form of parallel loops that stay on one thread; iterations run in row-major order. Runs after
scf-parallel-outline, before convert-to-llvm. Preserves values bit for bit: any order is an order that `scf.parallel`
allows.
Tests: tests/lowering/loops/scf_parallel_to_for.mlir, tests/lowering/loops/test_scf_parallel_to_for.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects import scf
from xdsl.dialects.builtin import IndexType, ModuleOp
from xdsl.ir import Block, Region, SSAValue

from mlc.dialects.linalg_ext import PrivateOp
from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.passes import MlcPass


@dataclass(frozen=True)
class ScfParallelToFor(MlcPass):
    """`scf.parallel` to nested `scf.for`."""

    name = "scf-parallel-to-for"
    contract = Contract(
        level_in="loops",
        level_out="loops",
        preserves=Bitwise(),
        profile="parallel-loops",
        establishes=("no scf.parallel is left",),
        nests=True,
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        loops = [op for op in module.walk() if op.regions and isinstance(op, scf.ParallelOp)]
        for op in loops:
            _serialise(op)
            ctx.remarks.applied(self.name, op, f"{len(op.lowerBound)} parallel loops run one after the other")
            op.detach()
            op.erase()


def _serialise(op: scf.ParallelOp) -> None:
    home = op.parent_block()
    assert home is not None
    body = op.body.block
    carried: Sequence[SSAValue] = op.initVals
    loops: list[scf.ForOp] = []
    for lower, upper, step in zip(op.lowerBound, op.upperBound, op.step, strict=True):
        block = Block(arg_types=[IndexType(), *(c.type for c in carried)])
        loop = scf.ForOp(lower, upper, step, carried, Region(block))
        loop.location = op.location
        if loops:
            loops[-1].body.block.add_op(loop)
        else:
            home.insert_op_before(loop, op)
        loops.append(loop)
        carried = block.args[1:]
    for loop, iv in zip(loops, body.args, strict=True):
        new = loop.body.block.args[0]
        new.name_hint = iv.name_hint
        iv.replace_all_uses_with(new)
    for o in list(body.ops):
        if isinstance(o, PrivateOp):  # one iteration after the other may use the same memory
            o.result.replace_all_uses_with(o.source)
            o.detach()
            o.erase()
    inner = loops[-1].body.block
    reduce = body.last_op
    assert isinstance(reduce, scf.ReduceOp)
    for o in list(body.ops):
        if o is not reduce:
            o.detach()
            inner.add_op(o)
    results = [
        _combine(inner, r.block, before, v)
        for r, before, v in zip(reduce.reductions, carried, reduce.args, strict=True)
    ]
    for loop in reversed(loops):
        end = scf.YieldOp(*results)
        end.location = op.location
        loop.body.block.add_op(end)
        results = list(loop.res)
    for old, new in zip(op.res, results, strict=True):
        old.replace_all_uses_with(new)


def _combine(into: Block, reduction: Block, before: SSAValue, value: SSAValue) -> SSAValue:
    """Inline a reduction's block at the end of `into`; what it returns."""
    reduction.args[0].replace_all_uses_with(before)
    reduction.args[1].replace_all_uses_with(value)
    last = reduction.last_op
    assert isinstance(last, scf.ReduceReturnOp)
    for o in list(reduction.ops):
        if o is not last:
            o.detach()
            into.add_op(o)
    return last.result
