"""Multiply matrices that hold integers of 8 bits as such, and sum their products in i32.

    %p = linalg.matmul ins(%a, %b : tensor<64x784xf32>, tensor<784x512xf32>) outs(%zero)  // whole numbers, -127 .. 127
      -->
    %c = linalg.generic ins(%a) { arith.maxnumf, arith.fptosi }, %d likewise of %b
    %q = linalg.matmul ins(%c, %d : tensor<64x784xi8>, tensor<784x512xi8>) outs(%zero : tensor<64x512xi32>)
    %p = linalg.generic ins(%q) { arith.sitofp }

What: matrices that linalg-quantize-contraction-inputs rounded: roundeven of x * (127 / max |x|).
Runs after linalg-quantize-contraction-inputs. Runs before linalg-block-layouts and linalg-pack-matmul.
Preserves: sums of integers are exact and rounded once, where f32 may round each partial sum.
Tests: tests/lowering/linalg/linalg_narrow_integral_contractions.mlir, tests/api/test_int8.py
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from xdsl.dialects import arith
from xdsl.dialects.builtin import DYNAMIC_INDEX, FloatAttr, ModuleOp, f32, i8, i32
from xdsl.dialects.linalg.ops import FillOp, GenericOp, MatmulOp, TransposeOp
from xdsl.ir import SSAValue

from mlc.dialects.linalg.structured_ops import MatmulOp as Product
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, WithinUlp
from mlc.ir.passes import MlcPass
from mlc.lowering.linalg.build import At, Body
from mlc.lowering.linalg.linalg_pack_matmul import is_plain
from mlc.lowering.linalg.product_operands import LIMIT, SMALLEST
from mlc.lowering.linalg.structure import erase_dead, functions_to_lower, identity_map, nested_blocks, shape_of


@dataclass(frozen=True)
class LinalgNarrowIntegralContractions(MlcPass):
    """See the module."""

    name = "linalg-narrow-integral-contractions"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=WithinUlp(1, "sums in i32 are exact and rounded to f32 once"),
        profile="linalg-quantized",
        establishes=("products of quantised matrices are of i8",),
        nests=True,
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for entry in functions_to_lower(module.ops):
            for block in nested_blocks(entry):
                narrowing = _Narrowing(ctx, self.name)
                for op in list(block.ops):
                    if isinstance(op, MatmulOp):
                        narrowing.product(op)
                if narrowing.done:
                    erase_dead(block)


class _Narrowing:
    """One block. `done`: matrices converted in it already."""

    def __init__(self, ctx: MlcContext, pass_name: str) -> None:
        self.ctx, self.pass_name = ctx, pass_name
        self.done: dict[SSAValue, SSAValue] = {}

    def product(self, op: MatmulOp) -> None:
        """Make `op` a product of integers where it is one of quantised matrices."""
        if not is_plain(op) or not all(_is_quantised(v) for v in op.inputs) or _filled_with(op.outputs[0]) != 0:
            return
        terms = shape_of(op.inputs[1])[0]
        if terms == DYNAMIC_INDEX or terms > LIMIT:
            reason = f"{terms if terms != DYNAMIC_INDEX else 'any number of'} products in a sum, i32 holds {LIMIT}"
            self.ctx.remarks.missed(self.pass_name, op, "stays a product of floats", reason=reason)
            return
        at, out = At(op), op.outputs[0]
        inputs = [self._narrow(at, v) for v in op.inputs]
        clear = at.fill(at.scalar(0, i32), at.empty(at.sizes(out), i32))
        sums = at.add(Product(inputs, [clear]))
        same = identity_map(2)
        dest = (at.empty(at.sizes(out), f32), same)
        result = at.generic([(sums.results[0], same)], [dest], "pp", lambda body, x, _: body.op(arith.SIToFPOp, x, f32))
        op.results[0].replace_all_uses_with(result)
        op.detach()
        op.erase()
        self.ctx.remarks.applied(self.pass_name, sums, "products of i8, sums in i32")

    def _narrow(self, at: At, value: SSAValue) -> SSAValue:
        owner = value.owner
        if isinstance(owner, TransposeOp):
            return at.transpose(self._narrow(at, owner.operands[0]), tuple(owner.permutation.get_values()))
        if value not in self.done:
            same = identity_map(len(shape_of(value)))
            dest = (at.empty(at.sizes(value), i8), same)
            self.done[value] = at.generic([(value, same)], [dest], "pp", _to_integer)
        return self.done[value]


def _to_integer(body: Body, x: SSAValue, _: SSAValue) -> SSAValue:
    """NaN, which no integer is, becomes -127: the scale of its row is NaN."""
    low = body.op(arith.ConstantOp, FloatAttr(-127.0, f32))
    return body.op(arith.FPToSIOp, body.op(arith.MaxnumfOp, x, low), i8)


def _is_quantised(value: SSAValue) -> bool:
    """Whether `value` is roundeven(x * (127 / m)), m at least the largest |x| of the row or column."""
    if isinstance(value.owner, TransposeOp) and value.owner.res:
        value = value.owner.operands[0]
    steps = _body(value, "arith.mulf", "math.roundeven")
    if steps is None or len(steps.inputs) != 2:
        return False
    x, factors = steps.inputs
    factor = _body(factors, "arith.constant", "arith.divf")
    if factor is None or len(factor.inputs) != 1:
        return False
    constant, quotient = list(factor.body.block.ops)[:2]
    assert isinstance(constant, arith.ConstantOp)
    if not isinstance(constant.value, FloatAttr) or abs(constant.value.value.data) > 127:
        return False
    if quotient.operands[0] is not constant.result or quotient.operands[1] is not factor.body.block.args[0]:
        return False
    largest = _body(factor.inputs[0], "math.absf", "arith.maximumf")
    if largest is None or len(largest.inputs) != 1 or largest.inputs[0] is not x:
        return False
    start = _filled_with(largest.outputs[0])
    if start is None or not start >= SMALLEST or not largest.body.block.args[1].uses:
        return False
    line = steps.indexing_maps.data[1]
    return (
        steps.indexing_maps.data[0] == steps.indexing_maps.data[2] == identity_map(2) == largest.indexing_maps.data[0]
        and largest.indexing_maps.data[1] == line
        and factor.indexing_maps.data[0] == factor.indexing_maps.data[1] == identity_map(1)
    )


def _body(value: SSAValue, *names: str) -> GenericOp | None:
    """The generic that makes `value` with just these ops, each reading the one before."""
    op = value.owner
    if not isinstance(op, GenericOp) or len(op.results) != 1:
        return None
    ops = list(op.body.block.ops)
    if [inner.name for inner in ops] != [*names, "linalg.yield"]:
        return None
    chained = all(before.results[0] in after.operands for before, after in pairwise(ops))
    args = {v for inner in ops for v in inner.operands if v.owner is op.body.block}
    return op if chained and set(op.body.block.args[: len(op.inputs)]) <= args else None


def _filled_with(value: SSAValue) -> float | None:
    """The number in all of a tensor that was just filled."""
    owner = value.owner
    scalar = owner.inputs[0].owner if isinstance(owner, FillOp) else None
    if isinstance(scalar, arith.ConstantOp) and isinstance(scalar.value, FloatAttr):
        return scalar.value.value.data
    return None
