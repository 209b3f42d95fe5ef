"""How many products of bytes an i32 holds: longer sums stay floats."""

from __future__ import annotations

import pytest

from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text
from mlc.ir.pipeline import make_pass
from mlc.lowering.linalg.product_operands import LIMIT

PRODUCT = """func.func @f(%x: tensor<4x24xf32>) -> tensor<4x32xf32> {
  %w = arith.constant dense<0.3> : tensor<24x32xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x32xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x32xf32>) -> tensor<4x32xf32>
  %m = linalg.matmul ins(%x, %w : tensor<4x24xf32>, tensor<24x32xf32>) outs(%f : tensor<4x32xf32>) -> tensor<4x32xf32>
  func.return %m : tensor<4x32xf32>
}"""


@pytest.mark.parametrize(("terms", "narrowed"), [(24, True), (LIMIT, True), (LIMIT + 1, False), (200000, False)])
def test_sums_that_i32_does_not_hold_stay_floats(terms: int, narrowed: bool):
    """A file in the quantised form, of other sizes than the quantising pass would take."""
    ctx = make_context()
    module = parse_text(PRODUCT, ctx)
    make_pass("linalg-quantize-contraction-inputs").apply(ctx, module)
    text = print_text(module).replace("<4x24x", f"<4x{terms}x").replace("<24x32x", f"<{terms}x32x")
    ctx = make_context()
    module = parse_text(text, ctx)
    make_pass("linalg-narrow-integral-contractions").apply(ctx, module)
    assert ("xi8>" in print_text(module)) == narrowed
    assert narrowed or any("i32 holds" in str(r) for r in ctx.remarks if r.kind == "missed")
