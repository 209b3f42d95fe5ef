"""Pack the weights of matrix products into panels as wide as a vector, once, at compile time.

    %t = linalg.transpose ins(%w : tensor<512x784xf32>) …          // a constant
    %r = linalg.matmul ins(%x, %t : tensor<64x784xf32>, tensor<784x512xf32>) outs(%z)
      -->
    %p = linalg.pack %w inner_dims_pos = [0] inner_tiles = [16] into … tensor<32x784x16xf32>
    %g = linalg.generic (m, n1, n0, k) ins(%x, %p) outs(%pz : tensor<64x32x16xf32>)
    %r = tensor.collapse_shape %g … into tensor<64x512xf32>

Products of bf16 that are summed in f32 (linalg-demote-contraction-inputs) are packed in pairs of rows where the machine
multiplies pairs: %p is tensor<32x392x16x2xbf16>, %x is read as tensor<64x392x2xbf16>, the loops are (m, n1, n0, k1, k0).
`interleave`: rows side by side, -1 for what the machine has, 0 for none.
The packed result is the plain one seen with its last dimension split, so bias, activation and residual follow in split
form at no cost and can be fused into the product.
Runs after convert-torch-to-linalg. Runs before linalg-hoist-constants and fusion.
Preserves: every sum keeps its order; bitwise.
Tests: tests/lowering/linalg/linalg_pack_matmul.mlir, tests/lowering/linalg/test_pack_matmul.py
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects.builtin import DYNAMIC_INDEX, ModuleOp, bf16, f32
from xdsl.dialects.func import FuncOp
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.ops import MatmulOp, TransposeOp
from xdsl.ir import Operation, SSAValue

from mlc.dialects.linalg.relayout_ops import PackOp
from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.linalg.build import At, Body, element_type
from mlc.lowering.linalg.layout_walk import FOLLOWING, LayoutWalk
from mlc.lowering.linalg.structure import dims_map, iterators_of, maps_of, shape_of

PAIR = 2  # products that one lane of a bf16 dot product adds


@dataclass(frozen=True)
class LinalgPackMatmul(MlcPass):
    """Pack constant right-hand sides of matrix products into panels (0: of the machine's vector width)."""

    name = "linalg-pack-matmul"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Bitwise(),
        profile="linalg-packing",
        options=({"block": 16, "interleave": 2}, {"block": 8, "interleave": 2}, {"block": 4}),
        establishes=("products with constant weights read packed panels",),
        nests=True,
        rules={
            "panels": "a product with constant columns -> generic over packed panels",
            "panels-of-transpose": "a product with a transposed constant -> panels packed from its source",
            "interleaved": "a product of bf16 with constant columns -> generic over panels of pairs of rows",
            **{name: FOLLOWING[name] for name in ("follow-elementwise",)},
        },
    )

    block: int = option(0, Span(1, 256, special=(0,)))
    interleave: int = option(-1, Span(1, 64, power_of_two=True, special=(-1, 0)))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        interleave = self.interleave
        if interleave < 0:
            interleave = PAIR if ctx.machine is not None and ctx.machine.dot_bf16 else 0
        for op in module.ops:
            if isinstance(op, FuncOp) and op.body.blocks and "constant" not in op.attributes:
                _MatmulWalk(ctx, self.name, self.block, interleave).function(op)


class _MatmulWalk(LayoutWalk):
    """Matrix products with constant weights start the layout."""

    def __init__(self, ctx: MlcContext, pass_name: str, block: int, interleave: int) -> None:
        super().__init__(ctx, pass_name, block)
        self.interleave = interleave

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
        group = self._group(lhs, rhs)
        rows = self.packings.plain(at, lhs)
        panels = self._panels(at, rhs, group)
        if group > 1:
            sizes = at.sizes(rows)
            rows = at.expand(rows, [(0,), (1, 2)], [sizes[0], shape_of(lhs)[1] // group, group])
            reads, kinds = [dims_map(5, (0, 3, 4)), dims_map(5, (1, 3, 2, 4)), dims_map(5, (0, 1, 2))], "ppprr"
        else:
            reads, kinds = [dims_map(4, (0, 3)), dims_map(4, (1, 3, 2)), dims_map(4, (0, 1, 2))], "pppr"
        result = at.generic(
            [(rows, reads[0]), (panels, reads[1])],
            [(self.packings.packed(at, out, packing), reads[2])],
            kinds,
            lambda body, a, b, c: body.op(arith.AddfOp, c, body.op(arith.MulfOp, _wide(body, a), _wide(body, b))),
        )
        self.packings.set(op.results[0], packing, result)
        padded = columns % self.block != 0
        rule = "panels-of-transpose" if _transposed(rhs) is not None else "panels"
        message = f"panels of {self.block} columns"
        self.ctx.remarks.applied(self.pass_name, op, message, rule=rule, padded=padded, interleave=group)
        if group > 1:
            self.ctx.remarks.count(self.pass_name, "interleaved")
        return True

    def may_follow(self, value: SSAValue) -> bool:
        """Not where rows are reduced: normalisation and softmax stay whole, in plain form (a view of the packed)."""
        readers = [use.operation for v in self.packings.forms(value) for use in v.uses]
        return not any(isinstance(r, LinalgStructuredOperation) and "r" in iterators_of(r) for r in readers)

    def _refusal(self, op: MatmulOp, columns: int) -> str:
        if element_type(op.results[0]) != f32 or any(element_type(v) not in (f32, bf16) for v in op.inputs):
            return "elements are not f32"
        if not is_plain(op):
            return "indexing maps are not those of a plain product"
        if columns == DYNAMIC_INDEX or columns < self.block:
            return f"{columns} columns, a panel has {self.block}"
        if not is_constant(op.inputs[1]):
            return "the right-hand side is computed at run time"
        return ""

    def _group(self, lhs: SSAValue, rhs: SSAValue) -> int:
        """How many rows of the right-hand side lie side by side: 1, or as many as divide them."""
        narrow = element_type(lhs) == bf16 and element_type(rhs) == bf16
        rows = shape_of(rhs)[0]
        return self.interleave if narrow and self.interleave > 1 and rows > 0 and rows % self.interleave == 0 else 1

    def _panels(self, at: At, rhs: SSAValue, group: int) -> SSAValue:
        """[n / block, k, block] from [k, n], or straight from the [n, k] that it is the transpose of;
        [n / block, k / group, block, group] where rows are interleaved."""
        rows, columns = shape_of(rhs)
        element = element_type(rhs)
        pairs = [group] if group > 1 else []
        dest = at.empty([-(-columns // self.block), rows // group, self.block, *pairs], element)
        padding = at.scalar(0, element) if columns % self.block else None
        if (source := _transposed(rhs)) is not None:
            pack = PackOp(source, dest, [0, 1][: 1 + len(pairs)], [self.block, *pairs], padding_value=padding)
        else:
            positions = [1, 0][: 1 + len(pairs)]
            pack = PackOp(rhs, dest, positions, [self.block, *pairs], padding_value=padding, outer_dims_perm=[1, 0])
        return at.add(pack).results[0]


def is_plain(op: MatmulOp) -> bool:
    """Whether neither operand is read transposed or broadcast."""
    return [m.data for m in (dims_map(3, (0, 2)), dims_map(3, (2, 1)), dims_map(3, (0, 1)))] == maps_of(op)


def _wide(body: Body, value: SSAValue) -> SSAValue:
    return body.op(arith.ExtFOp, value, f32) if value.type == bf16 else value


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
