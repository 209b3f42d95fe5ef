"""Do a linear layer on all steps at once where a loop does it on one step after the other.

    torch.prim.Loop … {                                      %all = torch.aten.linear %x, %w, %b
      %xt = torch.aten.select.int %x, %int1, %t              torch.prim.Loop … {
      %y = torch.aten.linear %xt, %w, %b              -->      %y = torch.aten.select.int %all, %int1, %t
      …                                                        …
    }                                                        }

What: the input projection of a recurrent cell is one large product instead of many small ones, and its weights are read
once. Only where input, weights and bias come from outside of the loop and the selected dim is not the one multiplied,
and a step has fewer than `rows` rows: with more it uses its weights well, adds the state's product to the input's in
registers (`linalg-accumulate-products`), and no memory holds the projections of all steps.
Runs after `torch-roll-loops`. Runs before `convert-torch-to-linalg`.
Tests: tests/lowering/torch/torch_batch_projections.mlir
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, OpResult, SSAValue

from mlc.dialects.torch.build import create
from mlc.dialects.torch.control_flow import PrimLoopOp
from mlc.dialects.torch.types import VTensorType
from mlc.dialects.torch.values import constant_value
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, WithinUlp
from mlc.ir.passes import MlcPass, Span, option


@dataclass(frozen=True)
class TorchBatchProjections(MlcPass):
    """Linear layers of selected rows, out of loops. `rows`: steps of so many keep theirs."""

    name = "torch-batch-projections"
    contract: ClassVar[Contract] = Contract(
        level_in="torch",
        level_out="torch",
        preserves=WithinUlp(1, "one large product adds its terms, in f64, in another order than many small ones"),
        profile="torch-loops",
        options=({}, {"rows": 3}),
        establishes=(
            "no linear layer in a loop reads a row of a tensor from outside in steps of fewer than `rows` rows",
        ),
    )

    rows: int = option(16, Span(1, 1 << 40))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for loop in [op for op in module.walk() if isinstance(op, PrimLoopOp)]:
            for op in list(loop.regions[0].block.ops):
                if op.name != "torch.aten.linear":
                    continue
                reason = _obstacle(op, loop, self.rows)
                if reason:
                    ctx.remarks.missed(self.name, op, "linear layer stays in the loop", reason=reason)
                    continue
                _move_out(op, loop)
                ctx.remarks.applied(self.name, loop, "linear layer of all steps moved out of the loop")


def _obstacle(linear: Operation, loop: Operation, rows: int) -> str:
    """Why the layer must stay; empty when it can move."""
    row, *weights = linear.operands
    select = row.owner
    if not isinstance(row, OpResult) or not isinstance(select, Operation) or select.name != "torch.aten.select.int":
        return "its input depends on the step before"
    if not all(_outside(v, loop) for v in (select.operands[0], select.operands[1], *weights)):
        return "what it reads is made in the loop"
    source = select.operands[0].type
    dim = constant_value(select.operands[1])
    if not isinstance(source, VTensorType) or source.shape is None or not isinstance(dim, int):
        return "the input's shape is unknown"
    if dim % len(source.shape) == len(source.shape) - 1:
        return "the selected dim is the one multiplied"
    made = linear.results[0].type
    if not isinstance(made, VTensorType) or made.shape is None:
        return "the result's shape is unknown"
    known = [n for n in made.shape[:-1] if n is not None]
    if len(known) == len(made.shape) - 1 and prod(known) >= rows:
        return f"a step has {prod(known)} rows, enough to use its weights well"
    return ""


def _outside(value: SSAValue, loop: Operation) -> bool:
    owner = value.owner
    block = owner if not isinstance(owner, Operation) else owner.parent_block()
    return block is loop.parent_block()


def _move_out(linear: Operation, loop: Operation) -> None:
    select = linear.operands[0].owner
    assert isinstance(select, Operation)
    source, dim, at = select.operands
    kind = linear.results[0].type
    assert isinstance(source.type, VTensorType) and source.type.shape is not None
    assert isinstance(kind, VTensorType) and kind.shape is not None
    shape = [*source.type.shape[:-1], kind.shape[-1]]
    whole = create(
        "aten.linear",
        (source, *linear.operands[1:]),
        (VTensorType.get(shape, kind.element_type),),
        location=linear.location,
    )
    outer = loop.parent_block()
    assert outer is not None
    outer.insert_op_before(whole, loop)
    row = create("aten.select.int", (whole.results[0], dim, at), (kind,), location=select.location)
    inner = linear.parent_block()
    assert inner is not None
    inner.insert_op_before(row, linear)
    linear.results[0].replace_all_uses_with(row.results[0])
    for op in (linear, select):
        if not any(r.first_use for r in op.results):
            op.detach()
            op.erase()
