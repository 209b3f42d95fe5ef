"""Pack the weights of matrix products into panels as wide as a vector, once, at compile time.

    %t = linalg.transpose ins(%w : tensor<512x784xf32>) …          // a constant
    %r = linalg.matmul ins(%x, %t : tensor<64x784xf32>, tensor<784x512xf32>) outs(%z)
      -->
    %p = linalg.pack %w inner_dims_pos = [0] inner_tiles = [16] into … tensor<32x784x16xf32>
    %g = linalg.generic (m, n1, n0, k) ins(%x, %p) outs(%pz : tensor<64x32x16xf32>)
    %r = tensor.collapse_shape %g … into tensor<64x512xf32>

The packed result is the plain one seen with its last dimension split, so bias, activation and residual follow in split
form at no cost and can be fused into the product.
Runs after convert-torch-to-linalg. Runs before linalg-hoist-constants and fusion.
Preserves: every sum keeps its order; bitwise.
Tests: tests/lowering/linalg/linalg_pack_matmul.mlir, tests/lowering/linalg/test_pack_matmul.py
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects.builtin import DYNAMIC_INDEX, ModuleOp, f32
from xdsl.dialects.func import FuncOp
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.ops import MatmulOp, TransposeOp
from xdsl.ir import Operation, SSAValue

from mlc.dialects.linalg.relayout_ops import PackOp
from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.linalg.build import At, element_type
from mlc.lowering.linalg.layout_walk import FOLLOWING, LayoutWalk
from mlc.lowering.linalg.structure import dims_map, iterators_of, maps_of, shape_of


@dataclass(frozen=True)
class LinalgPackMatmul(MlcPass):
    """Pack constant right-hand sides of matrix products into panels (0: of the machine's vector width)."""

    name = "linalg-pack-matmul"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Bitwise(),
        profile="linalg-products",
        options=({"block": 16}, {"block": 8}, {"block": 4}),
        establishes=("products with constant weights read packed panels",),
        nests=True,
        rules={
            "panels": "a product with constant columns -> generic over packed panels",
            "panels-of-transpose": "a product with a transposed constant -> panels packed from its source",
            **{name: FOLLOWING[name] for name in ("follow-elementwise",)},
        },
    )

    block: int = option(0, Span(1, 256, special=(0,)))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in module.ops:
            if isinstance(op, FuncOp) and op.body.blocks and "constant" not in op.attributes:
                _MatmulWalk(ctx, self.name, self.block).function(op)


class _MatmulWalk(LayoutWalk):
    """Matrix products with constant weights start the layout."""

    def seed(self, op: Operation) -> bool | None:
        if not isinstance(op, MatmulOp):
            return None
        lhs, rhs = op.inputs
        out = op.outputs[0]
        columns = shape_of(rhs)[1]
        reason = self._refusal(op, columns)
        if reason:
            self.ctx.remarks.missed(self.pass_name, op, "kept row-major", reason=reason)
            return False
        at = At(op)
        packing = ((1, self.block),)
        panels = self._panels(at, rhs)
        result = at.generic(
            [(self.packings.plain(at, lhs), dims_map(4, (0, 3))), (panels, dims_map(4, (1, 3, 2)))],
            [(self.packings.packed(at, out, packing), dims_map(4, (0, 1, 2)))],
            "pppr",
            lambda body, a, b, c: body.op(arith.AddfOp, c, body.op(arith.MulfOp, a, b)),
        )
        self.packings.set(op.results[0], packing, result)
        padded = columns % self.block != 0
        rule = "panels-of-transpose" if _transposed(rhs) is not None else "panels"
        self.ctx.remarks.applied(self.pass_name, op, f"panels of {self.block} columns", rule=rule, padded=padded)
        return True

    def may_follow(self, value: SSAValue) -> bool:
        """Not where rows are reduced: normalisation and softmax stay whole, in plain form (a view of the packed)."""
        readers = [use.operation for v in self.packings.forms(value) for use in v.uses]
        return not any(isinstance(r, LinalgStructuredOperation) and "r" in iterators_of(r) for r in readers)

    def _refusal(self, op: MatmulOp, columns: int) -> str:
        loops = [dims_map(3, (0, 2)), dims_map(3, (2, 1)), dims_map(3, (0, 1))]
        if element_type(op.results[0]) != f32 or any(element_type(v) != f32 for v in op.inputs):
            return "elements are not f32"
        if [m.data for m in loops] != maps_of(op):
            return "indexing maps are not those of a plain product"
        if columns == DYNAMIC_INDEX or columns < self.block:
            return f"{columns} columns, a panel has {self.block}"
        if not is_constant(op.inputs[1]):
            return "the right-hand side is computed at run time"
        return ""

    def _panels(self, at: At, rhs: SSAValue) -> SSAValue:
        """[n / block, k, block] from [k, n], or straight from the [n, k] that it is the transpose of."""
        rows, columns = shape_of(rhs)
        dest = at.empty([-(-columns // self.block), rows, self.block], f32)
        padding = at.scalar(0, f32) if columns % self.block else None
        if (source := _transposed(rhs)) is not None:
            pack = PackOp(source, dest, [0], [self.block], padding_value=padding)
        else:
            pack = PackOp(rhs, dest, [1], [self.block], padding_value=padding, outer_dims_perm=[1, 0])
        return at.add(pack).results[0]


def _transposed(value: SSAValue) -> SSAValue | None:
    """The matrix that `value` is the transpose of."""
    owner = value.owner
    if isinstance(owner, TransposeOp) and tuple(owner.permutation.get_values()) == (1, 0):
        return owner.operands[0]
    return None


def is_constant(value: SSAValue, depth: int = 16) -> bool:
    """Whether `value` is computed from constants alone (within `depth` ops)."""
    owner = value.owner
    if not isinstance(owner, Operation) or depth == 0 or owner.name.startswith("func."):
        return False
    return all(is_constant(v, depth - 1) for v in owner.operands)
