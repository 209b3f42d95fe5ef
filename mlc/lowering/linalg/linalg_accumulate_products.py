"""Let a product go on with the sums of another one where both are added anyway.

    %a = linalg.matmul ins(%x, %w) outs(%zeros)                %a = linalg.matmul ins(%x, %w) outs(%zeros)
    %b = linalg.generic { %a + %bias }                         %b = linalg.generic { %a + %bias }
    %c = linalg.matmul ins(%h, %v) outs(%zeros)          -->   %r = linalg.matmul ins(%h, %v) outs(%b)
    %r = linalg.generic { %b + %c }

What: the step of a recurrent cell. Both products become one kernel, whose sums stay in registers, instead of two with a
matrix in memory between them. Only where nothing else reads the two, and with several rows: one row alone takes as long
as its weights take to arrive.
Runs after convert-torch-to-linalg. Runs before linalg-pack-matmul and linalg-fuse-elementwise.
Preserves: the terms of every sum; they are added in another order.
Tests: tests/lowering/linalg/linalg_accumulate_products.mlir
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects.builtin import FloatAttr, ModuleOp
from xdsl.dialects.linalg.ops import FillOp, GenericOp, MatmulOp
from xdsl.ir import Block, OpResult, SSAValue

from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Reassociates
from mlc.ir.passes import MlcPass
from mlc.lowering.linalg.linalg_pack_matmul import is_constant
from mlc.lowering.linalg.structure import (
    body_ops,
    functions_to_lower,
    is_elementwise,
    is_identity,
    maps_of,
    nested_blocks,
    reads_output,
    shape_of,
)


@dataclass(frozen=True)
class LinalgAccumulateProducts(MlcPass):
    """See the module."""

    name = "linalg-accumulate-products"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Reassociates("the terms of two products are added one after the other, not each for itself"),
        profile="linalg-sums",
        establishes=("no sum of two products of one block, which nothing else reads, is made apart",),
        nests=True,
        rules={"accumulate": "the sum of two products -> the second product onto the first"},
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for entry in functions_to_lower(module.ops):
            for block in nested_blocks(entry):
                self._block(ctx, block)

    def _block(self, ctx: MlcContext, block: Block) -> None:
        for op in list(block.ops):
            if not isinstance(op, GenericOp) or not _is_sum(op):
                continue
            first, then = op.inputs
            if _position(block, first) > _position(block, then):
                first, then = then, first
            product = then.owner
            if not isinstance(product, MatmulOp) or not _starts_at_zero(product) or not _of_product(first, block):
                continue
            if is_constant(then):  # computed once, when the model is compiled
                continue
            if not all(v.has_one_use() and v.type == op.results[0].type for v in (first, then)):
                continue
            product.operands[2] = first
            op.results[0].replace_all_uses_with(then)
            op.detach()
            op.erase()
            ctx.remarks.applied(self.name, product, "goes on with the sums of another product", rule="accumulate")


def _position(block: Block, value: SSAValue) -> int:
    return block.get_operation_index(value.op) if isinstance(value, OpResult) and value.op.parent is block else -1


def _is_sum(op: GenericOp) -> bool:
    """Whether `op` adds two tensors, element by element, and does no more."""
    if not is_elementwise(op) or len(op.inputs) != 2 or len(op.results) != 1 or reads_output(op):
        return False
    if not all(is_identity(m) for m in maps_of(op)):
        return False
    ops = body_ops(op)
    if len(ops) != 1 or not isinstance(ops[0], arith.AddfOp):
        return False
    return set(ops[0].operands) == set(op.body.block.args[:2]) and op.inputs[0] is not op.inputs[1]


def _starts_at_zero(op: MatmulOp) -> bool:
    """Whether the sums of `op` start at zero, and it has more than one row."""
    init = op.outputs[0]
    if not isinstance(init, OpResult) or not isinstance(init.op, FillOp) or shape_of(init)[0] == 1:
        return False
    zero = init.op.inputs[0].owner
    return isinstance(zero, arith.ConstantOp) and isinstance(zero.value, FloatAttr) and zero.value.value.data == 0


def _of_product(value: SSAValue, block: Block) -> bool:
    """Whether `value` is a product made in `block`, or one that an elementwise op added something to."""
    if not isinstance(value, OpResult) or value.op.parent is not block:
        return False
    made = value.op
    if isinstance(made, GenericOp) and is_elementwise(made):
        return any(isinstance(v.owner, MatmulOp) and v.owner.parent is block for v in made.inputs if v.has_one_use())
    return isinstance(made, MatmulOp)
