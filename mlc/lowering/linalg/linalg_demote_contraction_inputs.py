"""Round the operands of matrix products with constant weights to bf16; the sums stay f32.

    %r = linalg.matmul ins(%x, %w : tensor<64x784xf32>, tensor<784x512xf32>) outs(%z : tensor<64x512xf32>)
      -->
    %a = linalg.generic ins(%x) { arith.truncf }                        // once for all products that read %x
    %b = linalg.generic ins(%w) { arith.truncf }                        // a constant expression
    %r = linalg.matmul ins(%a, %b : tensor<64x784xbf16>, tensor<784x512xbf16>) outs(%z : tensor<64x512xf32>)

What: `mlc.compile(precision="bfloat16")` runs it. Where the machine multiplies pairs of bf16 both operands are rounded;
elsewhere only the weights are (half the bytes to read; the arithmetic is f32). `weights_only` decides instead of the
machine. Products of computed matrices, f64, and products with fewer columns than a vector stay as they are, with a
remark (and one on a function in which all do); convolutions are left to linalg-demote-convolution-inputs, which knows
their layout.
Runs after convert-tm-tensor-to-linalg. Runs before linalg-block-layouts and linalg-pack-matmul (it packs pairs).
Preserves: |error| <= sum over k of |x w| (2u + u^2), u = 2^-8, or of |x w| u for the weights alone.
Tests: tests/lowering/linalg/linalg_demote_contraction_inputs.mlir, tests/api/test_precision.py
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects.builtin import ModuleOp, bf16
from xdsl.dialects.linalg.ops import MatmulOp, TransposeOp
from xdsl.ir import Block, SSAValue

from mlc.dialects.linalg.structured_ops import MatmulOp as Product
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Narrows
from mlc.ir.passes import MlcPass
from mlc.lowering.linalg.build import At, converted
from mlc.lowering.linalg.narrow_sources import extended
from mlc.lowering.linalg.precision_tally import Tally
from mlc.lowering.linalg.product_operands import KEPT, obstacle
from mlc.lowering.linalg.structure import erase_dead, functions_to_lower, nested_blocks


@dataclass(frozen=True)
class LinalgDemoteContractionInputs(MlcPass):
    """See the module."""

    name = "linalg-demote-contraction-inputs"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Narrows(16, "operands of products with constant weights are rounded to bf16 once"),
        profile="linalg-products",
        options=({"weights_only": False}, {"weights_only": True}),
        establishes=("products with constant weights read bf16",),
        nests=True,
        rules={
            "both": "a product of f32 with a constant -> of bf16 with bf16",
            "weights": "a product of f32 with a constant -> of f32 with bf16",
        },
    )

    weights_only: bool | None = None

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        only = self.weights_only
        if only is None:
            only = ctx.machine is not None and not ctx.machine.dot_bf16
        columns = ctx.machine.lanes(32) if ctx.machine is not None else 16
        for entry in functions_to_lower(module.ops):
            tally = Tally(ctx, self.name, "operands not rounded")
            for block in nested_blocks(entry):
                _Demotion(ctx, tally, only, columns).block(block)
            tally.tell(entry, "no product reads bf16", "there are no products of matrices")


class _Demotion:
    """One block. `rounded`: what has been rounded in it already."""

    def __init__(self, ctx: MlcContext, tally: Tally, weights_only: bool, columns: int) -> None:
        self.ctx, self.tally = ctx, tally
        self.weights_only, self.columns = weights_only, columns
        self.rounded: dict[SSAValue, SSAValue] = {}

    def block(self, block: Block) -> None:
        for op in list(block.ops):
            if isinstance(op, MatmulOp):
                self._product(op)
            elif op.name.startswith(KEPT):
                self.tally.keep(op, "only plain products are")
        if self.rounded:
            erase_dead(block)

    def _product(self, op: MatmulOp) -> None:
        reason = obstacle(op, self.columns)
        if reason:
            self.tally.keep(op, reason)
            return
        lhs, rhs = op.inputs
        at = At(op)
        inputs = [lhs if self.weights_only else self._narrow(at, lhs), self._weights(at, rhs)]
        new = at.add(Product(inputs, [op.outputs[0]]))
        new.results[0].name_hint = op.results[0].name_hint
        op.results[0].replace_all_uses_with(new.results[0])
        op.detach()
        op.erase()
        rule, what = ("weights", "weights") if self.weights_only else ("both", "both operands")
        self.tally.changed += 1
        self.ctx.remarks.applied(self.tally.pass_name, new, f"{what} in bf16, sums in f32", rule=rule)

    def _weights(self, at: At, rhs: SSAValue) -> SSAValue:
        """A transposed constant is rounded first: packing knows it by its transpose."""
        owner = rhs.owner
        if isinstance(owner, TransposeOp) and owner.res:
            return at.transpose(self._narrow(at, owner.operands[0]), tuple(owner.permutation.get_values()))
        return self._narrow(at, rhs)

    def _narrow(self, at: At, value: SSAValue) -> SSAValue:
        if value not in self.rounded:
            source = extended(value)
            self.rounded[value] = source if source is not None else converted(at, value, arith.TruncFOp, bf16)
        return self.rounded[value]
