"""Round the operands of matrix products with constant weights to integers of 8 bits, times a scale.

    %r = linalg.matmul ins(%x, %w) outs(%zero)
      -->
    %m = max over k of |%x|   per row, %n = max over k of |%w|   per column             (at least 2^-119)
    %a = roundeven(%x * (127 / %m)), %b = roundeven(%w * (127 / %n))                    (f32 that hold -127 .. 127)
    %p = linalg.matmul ins(%a, %b) outs(%zero)
    %r = %p * (%m / 127 * (%n / 127))

What: `mlc.compile(precision="int8")` runs it: symmetric weights per output channel, activations scaled per row at run
time. All is f32 still; linalg-narrow-integral-contractions makes the products integer. Products that
linalg-demote-contraction-inputs would leave stay here, for the same reasons, with a remark; a function in which all do
has one that says so. A row with an infinity or NaN becomes NaN.
Runs after convert-tm-tensor-to-linalg. Runs before linalg-narrow-integral-contractions.
Preserves: |error| <= sum over k of |x| t/2 + |w| s/2 + s t/4, s and t the scales of row and column.
Tests: tests/lowering/linalg/linalg_quantize_contraction_inputs.mlir, tests/api/test_int8.py
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import DYNAMIC_INDEX, FloatAttr, ModuleOp, f32
from xdsl.dialects.linalg.ops import FillOp, MatmulOp
from xdsl.ir import Block, SSAValue

from mlc.dialects.linalg.structured_ops import MatmulOp as Product
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Narrows
from mlc.ir.passes import MlcPass
from mlc.lowering.linalg.build import At, Body
from mlc.lowering.linalg.linalg_pack_matmul import transposed
from mlc.lowering.linalg.precision_tally import Tally
from mlc.lowering.linalg.product_operands import KEPT, LIMIT, SMALLEST, obstacle
from mlc.lowering.linalg.structure import (
    dims_map,
    erase_dead,
    functions_to_lower,
    identity_map,
    nested_blocks,
    shape_of,
)

_STEPS = 127.0


@dataclass(frozen=True)
class LinalgQuantizeContractionInputs(MlcPass):
    """See the module."""

    name = "linalg-quantize-contraction-inputs"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Narrows(8, "operands of products with constant weights are rounded to 255 steps of their largest"),
        profile="linalg-products",
        establishes=("products with constant weights are of integers of 8 bits",),
        idempotent=False,
        nests=True,
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        columns = ctx.machine.lanes(32) if ctx.machine is not None else 16
        for entry in functions_to_lower(module.ops):
            tally = Tally(ctx, self.name, "not quantised")
            for block in nested_blocks(entry):
                _Quantization(ctx, tally, columns).block(block)
            tally.tell(entry, "nothing is quantised", "there are no products of matrices")


class _Quantization:
    """One block. `done`: matrices quantised in it already, by the dimension that their scales run along."""

    def __init__(self, ctx: MlcContext, tally: Tally, columns: int) -> None:
        self.ctx, self.tally, self.columns = ctx, tally, columns
        self.done: dict[tuple[SSAValue, int], tuple[SSAValue, SSAValue]] = {}

    def block(self, block: Block) -> None:
        for op in list(block.ops):
            if isinstance(op, MatmulOp):
                self._product(op)
            elif op.name.startswith(KEPT):
                self.tally.keep(op, "only plain products are")
        if self.done:
            erase_dead(block)

    def _product(self, op: MatmulOp) -> None:
        reason = obstacle(op, self.columns)
        terms = shape_of(op.inputs[1])[0]
        if not reason and (terms == DYNAMIC_INDEX or terms > LIMIT):
            reason = f"{terms} products in a sum, i32 holds {LIMIT}"
        if reason:
            self.tally.keep(op, reason)
            return
        lhs, rhs = op.inputs
        at = At(op)
        rows, row_scales = self._quantised(at, lhs, 0)
        columns, column_scales = self._weights(at, rhs)
        out = op.outputs[0]
        clear = at.fill(at.scalar(0, f32), at.empty(at.sizes(out), f32))
        product = at.add(Product([rows, columns], [clear])).results[0]
        same = identity_map(2)
        reads = [(product, same), (row_scales, dims_map(2, (0,))), (column_scales, dims_map(2, (1,)))]
        dest = at.empty(at.sizes(out), f32)
        zero = isinstance(out.owner, FillOp) and _is_zero(out.owner.inputs[0])
        if not zero:
            reads.append((out, same))

        result = at.generic(reads, [(dest, same)], "pp", _scaled)
        result.name_hint = op.results[0].name_hint
        op.results[0].replace_all_uses_with(result)
        op.detach()
        op.erase()
        told = "quantised to 8 bits: rows as they come, columns once"
        self.ctx.remarks.applied(self.tally.pass_name, product.owner, told)
        self.tally.changed += 1

    def _weights(self, at: At, rhs: SSAValue) -> tuple[SSAValue, SSAValue]:
        """A transposed constant is quantised first: packing knows it by its transpose."""
        source = transposed(rhs)
        if source is not None:
            matrix, scales = self._quantised(at, source, 0)
            return at.transpose(matrix, (1, 0)), scales
        return self._quantised(at, rhs, 1)

    def _quantised(self, at: At, value: SSAValue, kept: int) -> tuple[SSAValue, SSAValue]:
        """A matrix as integers, and the scale of each row (`kept` 0) or column (1)."""
        if (value, kept) not in self.done:
            same, line = identity_map(2), dims_map(2, (kept,))
            size = [at.sizes(value)[kept]]
            smallest = at.fill(at.scalar(SMALLEST, f32), at.empty(size, f32))
            kinds = "pr" if kept == 0 else "rp"
            largest = at.generic([(value, same)], [(smallest, line)], kinds, _largest)
            scales = at.generic([(largest, identity_map(1))], [(at.empty(size, f32), identity_map(1))], "p", _scale)
            factors = at.generic([(largest, identity_map(1))], [(at.empty(size, f32), identity_map(1))], "p", _factor)
            out = at.empty(at.sizes(value), f32)
            steps = at.generic([(value, same), (factors, line)], [(out, same)], "pp", _steps)
            self.done[value, kept] = steps, scales
        return self.done[value, kept]


def _largest(body: Body, x: SSAValue, so_far: SSAValue) -> SSAValue:
    return body.op(arith.MaximumfOp, so_far, body.op(math.AbsFOp, x))


def _scale(body: Body, largest: SSAValue, _: SSAValue) -> SSAValue:
    """largest / 127, and NaN where that is infinite."""
    size = body.op(arith.DivfOp, largest, body.op(arith.ConstantOp, FloatAttr(_STEPS, f32)))
    return body.op(arith.AddfOp, size, body.op(arith.MulfOp, largest, body.op(arith.ConstantOp, FloatAttr(0.0, f32))))


def _factor(body: Body, largest: SSAValue, _: SSAValue) -> SSAValue:
    return body.op(arith.DivfOp, body.op(arith.ConstantOp, FloatAttr(_STEPS, f32)), largest)


def _steps(body: Body, x: SSAValue, factor: SSAValue, _: SSAValue) -> SSAValue:
    return body.op(math.RoundEvenOp, body.op(arith.MulfOp, x, factor))


def _scaled(body: Body, sums: SSAValue, row: SSAValue, column: SSAValue, *more: SSAValue) -> SSAValue:
    product = body.op(arith.MulfOp, sums, body.op(arith.MulfOp, row, column))
    return body.op(arith.AddfOp, more[0], product) if len(more) > 1 else product


def _is_zero(scalar: SSAValue) -> bool:
    owner = scalar.owner
    return isinstance(owner, arith.ConstantOp) and isinstance(owner.value, FloatAttr) and owner.value.value.data == 0
