"""Elementwise structured ops are computed block by block: the same bits as at once."""

from __future__ import annotations

import numpy as np
import pytest

from mlc.arrays import blocks
from mlc.interp import run_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text

# operands that are broadcast, transposed, shifted, gathered by quotient; the indices; the destination's own values
BODY = """
func.func @f(%x: tensor<{m}x{n}xf32>, %row: tensor<{n}xf32>, %t: tensor<{n}x{m}xf32>, %far: tensor<{m2}x{n}xf32>,
             %half: tensor<{m}x{n}xf32>, %init: tensor<{m}x{n}xf64>) -> (tensor<{m}x{n}xf64>, tensor<{n}x{m}xf32>) {{
  %e = tensor.empty() : tensor<{n}x{m}xf32>
  %r:2 = linalg.generic {{
      indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (j, i)>,
                       affine_map<(i, j) -> (i + 1, j)>, affine_map<(i, j) -> (i floordiv 2, j)>,
                       affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j, i)>],
      iterator_types = ["parallel", "parallel"]}}
      ins(%x, %row, %t, %far, %half : tensor<{m}x{n}xf32>, tensor<{n}xf32>, tensor<{n}x{m}xf32>, tensor<{m2}x{n}xf32>,
          tensor<{m}x{n}xf32>)
      outs(%init, %e : tensor<{m}x{n}xf64>, tensor<{n}x{m}xf32>) {{
  ^bb0(%a: f32, %b: f32, %c: f32, %d: f32, %h: f32, %o: f64, %p: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.divf %0, %c : f32
    %2 = arith.addf %1, %d : f32
    %3 = arith.subf %2, %h : f32
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %ij = arith.muli %i, %j : index
    %int = arith.index_cast %ij : index to i64
    %k = arith.sitofp %int : i64 to f64
    %4 = arith.extf %3 : f32 to f64
    %5 = arith.addf %4, %k : f64
    %6 = arith.addf %5, %o : f64
    linalg.yield %6, %b : f64, f32
  }} -> (tensor<{m}x{n}xf64>, tensor<{n}x{m}xf32>)
  func.return %r#0, %r#1 : tensor<{m}x{n}xf64>, tensor<{n}x{m}xf32>
}}
"""


@pytest.mark.parametrize(("m", "n"), [(7, 5), (1, 12), (12, 1), (1, 1), (30, 2)])
@pytest.mark.parametrize("block", [1, 6, 17])
def test_blocks_give_the_same_bits(m: int, n: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = parse_text(BODY.format(m=m, n=n, m2=m + 1), make_context())
    rng = np.random.default_rng(0)
    shapes = [(m, n), (n,), (n, m), (m + 1, n), (m, n)]
    inputs = [*(rng.standard_normal(s).astype(np.float32) for s in shapes), rng.standard_normal((m, n))]
    x, row, t, far, half, init = inputs
    whole = run_module(module, "f", inputs)
    monkeypatch.setattr(blocks, "BLOCK", block)
    for got, expected in zip(run_module(module, "f", inputs), whole, strict=True):
        assert got.dtype == expected.dtype and got.tobytes() == expected.tobytes()
    index = np.arange(m)[:, None] * np.arange(n)
    single = x * row / t.T + far[1:] - half[np.arange(m) // 2]
    np.testing.assert_array_equal(whole[0], single.astype(np.float64) + index + init)
    np.testing.assert_array_equal(whole[1], np.broadcast_to(row[:, None], (n, m)))


def test_pieces_cover_every_element_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 10)
    for shape in [(), (3,), (1, 1), (25,), (1, 4, 5), (3, 40), (11, 1, 1)]:
        seen = np.zeros(shape, np.int64)
        for part in blocks.parts_of(shape):
            seen[part] += 1
        assert (seen == 1).all()


SWAPPED = """
func.func @f(%o: tensor<{n}xf32>, %p: tensor<{n}xf32>) -> (tensor<{n}xf32>, tensor<{n}xf32>) {{
  %r:2 = linalg.generic {{indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
      iterator_types = ["parallel"]}} outs(%o, %p : tensor<{n}xf32>, tensor<{n}xf32>) {{
  ^bb0(%m: f32, %k: f32):
    linalg.yield %k, %m : f32, f32
  }} -> (tensor<{n}xf32>, tensor<{n}xf32>)
  func.return %r#0, %r#1 : tensor<{n}xf32>, tensor<{n}xf32>
}}
"""


@pytest.mark.parametrize("count", [4, 3 * blocks.BLOCK + 5])
def test_results_that_are_each_others_are_swapped(count: int) -> None:
    """A result may be what another destination holds: whole, and block by block."""
    a = np.arange(count, dtype=np.float32)
    first, second = run_module(parse_text(SWAPPED.format(n=count), make_context()), "f", [a, -a])
    assert np.array_equal(first, -a) and np.array_equal(second, a)
