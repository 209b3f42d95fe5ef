"""linalg-block-layouts keeps the meaning: small convolution programs before and after, on small integers (exact)."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.builtin import TensorType

from mlc.interp import run_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text
from mlc.ir.pipeline import make_pass, run_pipeline
from mlc.ir.verifier import verify_module

WINDOW = "{dilations = dense<1> : tensor<2xi64>, strides = dense<STRIDE> : tensor<2xi64>}"
ID = "affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>"
PARALLEL = 'iterator_types = ["parallel", "parallel", "parallel", "parallel"]'


def program(n: int, c: int, f: int, stride: int) -> str:
    """pad, convolution, bias, relu, depthwise convolution, channel concat, mean over space."""
    h, out = 6, (6 + 2 - 3) // stride + 1
    x, y = f"tensor<{n}x{c}x{h}x{h}xf32>", f"tensor<{n}x{f}x{out}x{out}xf32>"
    padded = f"tensor<{n}x{f}x{out + 2}x{out + 2}xf32>"
    return f"""
func.func @forward(%x: {x}, %w: tensor<{f}x{c}x3x3xf32>, %b: tensor<{f}xf32>, %d: tensor<{f}x3x3xf32>)
    -> (tensor<{n}x{2 * f}xf32>, {y}) {{
  %zero = arith.constant 0.0 : f32
  %p = tensor.pad %x low[0, 0, 1, 1] high[0, 0, 1, 1] {{
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield %zero : f32
  }} : {x} to tensor<{n}x{c}x{h + 2}x{h + 2}xf32>
  %e = tensor.empty() : {y}
  %z = linalg.fill ins(%zero : f32) outs(%e : {y}) -> {y}
  %c = linalg.conv_2d_nchw_fchw {WINDOW.replace("STRIDE", str(stride))}
    ins(%p, %w : tensor<{n}x{c}x{h + 2}x{h + 2}xf32>, tensor<{f}x{c}x3x3xf32>) outs(%z : {y}) -> {y}
  %r = linalg.generic {{indexing_maps = [{ID}, affine_map<(d0, d1, d2, d3) -> (d1)>, {ID}], {PARALLEL}}}
    ins(%c, %b : {y}, tensor<{f}xf32>) outs(%e : {y}) {{
  ^bb0(%a: f32, %bias: f32, %o: f32):
    %s = arith.addf %a, %bias : f32
    %m = arith.maximumf %s, %zero : f32
    linalg.yield %m : f32
  }} -> {y}
  %q = tensor.pad %r low[0, 0, 1, 1] high[0, 0, 1, 1] {{
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield %zero : f32
  }} : {y} to {padded}
  %dw = linalg.depthwise_conv_2d_nchw_chw {WINDOW.replace("STRIDE", "1")}
    ins(%q, %d : {padded}, tensor<{f}x3x3xf32>) outs(%z : {y}) -> {y}
  %cat = tensor.concat dim(1) %r, %dw : ({y}, {y}) -> tensor<{n}x{2 * f}x{out}x{out}xf32>
  %ge = tensor.empty() : tensor<{n}x{2 * f}xf32>
  %gz = linalg.fill ins(%zero : f32) outs(%ge : tensor<{n}x{2 * f}xf32>) -> tensor<{n}x{2 * f}xf32>
  %g = linalg.generic {{indexing_maps = [{ID}, affine_map<(d0, d1, d2, d3) -> (d0, d1)>],
    iterator_types = ["parallel", "parallel", "reduction", "reduction"]}}
    ins(%cat : tensor<{n}x{2 * f}x{out}x{out}xf32>) outs(%gz : tensor<{n}x{2 * f}xf32>) {{
  ^bb0(%a: f32, %o: f32):
    %s = arith.addf %a, %o : f32
    linalg.yield %s : f32
  }} -> tensor<{n}x{2 * f}xf32>
  func.return %g, %dw : tensor<{n}x{2 * f}xf32>, {y}
}}"""


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("c", "f"), [(3, 16), (16, 32), (24, 24), (20, 18), (16, 5), (1, 8)])
def test_same_numbers(c: int, f: int, stride: int):
    rng = np.random.default_rng(0)
    shapes = [(2, c, 6, 6), (f, c, 3, 3), (f,), (f, 3, 3)]
    inputs = [rng.integers(-4, 5, s).astype(np.float32) for s in shapes]
    ctx = make_context()
    module = parse_text(program(2, c, f, stride), ctx)
    expected = run_module(module, "forward", inputs)
    run_pipeline([make_pass("linalg-block-layouts", {"block": 16})], ctx, module)
    verify_module(module, ctx)
    for got, want in zip(run_module(module, "forward", inputs), expected, strict=True):
        np.testing.assert_array_equal(got, want)
    types = [r.type for op in module.walk() for r in op.results]
    blocked = any(isinstance(t, TensorType) and t.get_num_dims() == 5 for t in types)
    assert blocked == (f >= 8)
