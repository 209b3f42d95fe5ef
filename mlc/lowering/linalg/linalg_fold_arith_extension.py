"""Let products and convolutions of extended bf16 read the bf16; the sums stay f32.

    %a = linalg.generic ins(%x : tensor<64x784xbf16>) { arith.extf }
    %b = linalg.generic ins(%w : tensor<512x784xbf16>) { arith.extf }
    %r = linalg.matmul ins(%a, %t : tensor<64x784xf32>, tensor<784x512xf32>) outs(%z)        // %t: %b transposed
      -->
    %r = linalg.matmul ins(%x, %s : tensor<64x784xbf16>, tensor<784x512xbf16>) outs(%z : tensor<64x512xf32>)

What: a model of bf16 extends what it multiplies, as its sums are of f32. Ops that move elements between the extension
and the product move bf16 then (`narrow_sources`).
Both operands of matrix products, where the machine multiplies pairs of bf16 (`pairs`); of products of computed matrices
only where linalg-pack-matmul packs them at run time (`computed_pays`). The weights alone where it does not multiply
pairs, or where the few rows are f32 that nobody rounded: half the bytes to read, the arithmetic is f32.
Convolutions in blocked layout with constant filters, as linalg-demote-convolution-inputs forms them, on machines with
pairs; 3x3 ones that Winograd's tiles compute in less time in f32 stay (`winograd`).
Runs after linalg-block-layouts (it reads that layout). Runs before linalg-winograd-conv2d, linalg-winograd-pointwise,
linalg-accumulate-products and linalg-pack-matmul (it packs pairs).
Preserves: products of bf16 are exact in f32; bitwise.
Tests: tests/lowering/linalg/linalg_fold_arith_extension.mlir, tests/api/test_bfloat16_models.py
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import DYNAMIC_INDEX, ModuleOp, f32
from xdsl.dialects.linalg.ops import GenericOp, MatmulOp
from xdsl.ir import Block, SSAValue

from mlc.dialects.linalg.structured_ops import BatchMatmulOp
from mlc.dialects.linalg.structured_ops import MatmulOp as Product
from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.passes import MlcPass
from mlc.lowering.linalg.blocked_convolution import is_blocked_convolution
from mlc.lowering.linalg.build import At, element_type
from mlc.lowering.linalg.linalg_pack_matmul import FEW_ROWS, computed_pays, is_constant, is_plain
from mlc.lowering.linalg.narrow_sources import NarrowSources
from mlc.lowering.linalg.paired_convolution import PairedConvolutions, over_pairs, paired_filters
from mlc.lowering.linalg.structure import erase_dead, functions_to_lower, nested_blocks, shape_of


@dataclass(frozen=True)
class LinalgFoldArithExtension(MlcPass):
    """See the module."""

    name = "linalg-fold-arith-extension"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Bitwise(),
        profile="linalg-extensions",
        options=({"pairs": True, "winograd": False}, {"pairs": False}),
        establishes=("products of extended bf16 with constant weights read bf16",),
        nests=True,
        rules={
            "both": "a product of f32, both extended from bf16 -> of bf16 with bf16",
            "weights": "a product of f32 with a constant extended from bf16 -> of f32 with bf16",
            "convolution": "a convolution of f32, both extended from bf16 -> of bf16 with pairs of channels",
        },
    )

    pairs: bool | None = None
    winograd: bool = True

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for entry in functions_to_lower(module.ops):
            for block in nested_blocks(entry):
                _Folding(ctx, self).block(block)


class _Folding:
    """One block."""

    def __init__(self, ctx: MlcContext, options: LinalgFoldArithExtension) -> None:
        self.ctx, self.pass_name = ctx, options.name
        self.convolutions = PairedConvolutions(ctx, options.pairs, options.winograd)
        self.columns = ctx.machine.lanes(32) if ctx.machine is not None and options.pairs is None else 1
        self.sources = NarrowSources()
        self.filters: dict[SSAValue, SSAValue] = {}

    def block(self, block: Block) -> None:
        for op in list(block.ops):
            if isinstance(op, (MatmulOp, BatchMatmulOp)):
                self._product(op)
            elif isinstance(op, GenericOp) and is_blocked_convolution(op):
                self._convolution(op)
        if self.sources.made:
            erase_dead(block)

    def _product(self, op: MatmulOp | BatchMatmulOp) -> None:
        lhs, rhs = op.inputs
        if any(element_type(v) != f32 for v in op.operands) or not self.sources.has(rhs):
            return
        both = self.convolutions.pairs and self.sources.has(lhs)
        reason = self._obstacle(op, both)
        if reason:
            self.ctx.remarks.missed(self.pass_name, op, "reads extended operands", reason=reason)
            return
        inputs = [self.sources.of(lhs) if both else lhs, self.sources.of(rhs)]
        new = At(op).add((Product if isinstance(op, MatmulOp) else BatchMatmulOp)(inputs, [op.outputs[0]]))
        new.results[0].name_hint = op.results[0].name_hint
        op.results[0].replace_all_uses_with(new.results[0])
        op.detach()
        op.erase()
        rule, what = ("both", "both operands") if both else ("weights", "weights")
        self.ctx.remarks.applied(self.pass_name, new, f"{what} in bf16, sums in f32", rule=rule)

    def _obstacle(self, op: MatmulOp | BatchMatmulOp, both: bool) -> str:
        """Why `op` stays as it is, or nothing."""
        lhs, rhs = op.inputs
        columns = shape_of(rhs)[-1]
        if not is_plain(op):
            return "indexing maps are not those of a plain product"
        if columns == DYNAMIC_INDEX or columns < self.columns:
            return f"{columns} columns, a vector has {self.columns}"
        constant = isinstance(op, MatmulOp) and is_constant(rhs)
        if both:
            return "" if constant else computed_pays(op, self.columns)
        if not constant:
            return "the right-hand side is computed at run time"
        rows = shape_of(lhs)[0]
        if self.convolutions.pairs and not 0 < rows < FEW_ROWS:
            return f"rows of f32, from {FEW_ROWS} on"
        return ""

    def _convolution(self, op: GenericOp) -> None:
        x, pack = op.inputs
        if not self.sources.has(pack) or not self.sources.has(x):
            return
        reason = self.convolutions.obstacle(op)
        if reason:
            self.ctx.remarks.missed(self.pass_name, op, "reads extended operands", reason=reason)
            return
        narrow = self.sources.of(x)
        if pack not in self.filters:
            self.filters[pack] = paired_filters(self.sources.of(pack), lambda _, w: w)
        new = over_pairs(op, narrow, self.filters[pack])
        self.ctx.remarks.applied(self.pass_name, new.op, "operands in bf16, sums in f32", rule="convolution")
