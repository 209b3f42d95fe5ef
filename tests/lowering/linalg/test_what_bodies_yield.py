"""Bodies that compute a sum of products and yield something else are no products."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from mlc.tools.mlc_opt import main

PRODUCT = """
#x = affine_map<(m, n1, n0, k) -> (m, k)>
#w = affine_map<(m, n1, n0, k) -> (n1, k, n0)>
#y = affine_map<(m, n1, n0, k) -> (m, n1, n0)>
func.func @forward(%x: tensor<5x32xf32>, %y: tensor<5x2x16xf32>) -> tensor<5x2x16xf32> {{
  %w = arith.constant dense_resource<w> : tensor<32x32xf32>
  %e = tensor.empty() : tensor<2x32x16xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [16] into %e
      : tensor<32x32xf32> -> tensor<2x32x16xf32>
  %r = linalg.generic {{indexing_maps = [#x, #w, #y],
      iterator_types = ["parallel", "parallel", "parallel", "reduction"]}}
      ins(%x, %p : tensor<5x32xf32>, tensor<2x32x16xf32>) outs(%y : tensor<5x2x16xf32>) {{
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %m, %acc : f32
    linalg.yield {0} : f32
  }} -> tensor<5x2x16xf32>
  func.return %r : tensor<5x2x16xf32>
}}
"""
CONVOLUTION = """
func.func @forward(%x: tensor<1x32x{2}x{2}xf32>) -> tensor<1x32x7x7xf32> {{
  %w = arith.constant dense_resource<w> : tensor<32x32x{1}x{1}xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x32x7x7xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32x7x7xf32>) -> tensor<1x32x7x7xf32>
  %r = linalg.conv_2d_nchw_fchw {{dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}}
      ins(%x, %w : tensor<1x32x{2}x{2}xf32>, tensor<32x32x{1}x{1}xf32>)
      outs(%f : tensor<1x32x7x7xf32>) -> tensor<1x32x7x7xf32>
  func.return %r : tensor<1x32x7x7xf32>
}}
"""


def lowered(tmp_path: Path, text: str, *passes: str) -> str:
    file, out, err = tmp_path / "in.mlir", io.StringIO(), io.StringIO()
    file.write_text(text)
    assert main([str(file), *passes], stdout=out, stderr=err) == 0, err.getvalue()
    return out.getvalue()


@pytest.mark.parametrize(
    ("pass_", "op"),
    [
        ("--linalg-split-matmul=gain=1000000", "linalg_ext.split_matmul"),
        ("--linalg-winograd-matmul=columns=8 depth=6", "linalg_ext.winograd_matmul"),
    ],
)
@pytest.mark.parametrize("value", ["%s", "%m", "%acc", "%a"])
def test_panels(value: str, pass_: str, op: str, tmp_path: Path):
    assert (op in lowered(tmp_path, PRODUCT.format(value), pass_)) == (value == "%s")


@pytest.mark.parametrize(
    ("pass_", "op", "window"),
    [
        ("--linalg-split-matmul=gain=1000000", "linalg_ext.split_matmul", 1),
        ("--linalg-winograd-pointwise=gain=1000", "linalg_ext.winograd_matmul", 1),
        ("--linalg-winograd-conv2d=tile=2 group=0", "winograd", 3),
    ],
)
@pytest.mark.parametrize("sum_", [True, False])
def test_blocked_convolutions(sum_: bool, pass_: str, op: str, window: int, tmp_path: Path):
    text = CONVOLUTION.format("", window, 6 + window)
    blocked = lowered(tmp_path, text, "--linalg-block-layouts=block=16")
    head, product, tail = blocked.partition("= arith.mulf ")
    assert product
    if not sum_:
        before, yielded, after = tail.partition("linalg.yield %")
        number = head.rpartition("%")[2].strip()
        tail = before + yielded + number + after[after.index(" :") :]
    assert (op in lowered(tmp_path, head + product + tail, pass_)) == sum_
