"""FLOPs and bytes of kernels, against counts by hand."""

from __future__ import annotations

import pytest
from xdsl.dialects.func import FuncOp

from mlc.explain.costs import Cost, kernel_cost
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text

MATMUL = """
func.func private @k(%a: memref<4x8xf32>, %b: memref<8x2xf32>, %c: memref<4x2xf32>) attributes {kernel} {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%c : memref<4x2xf32>)
  linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>,
      affine_map<(m, n, k) -> (m, n)>], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%a, %b : memref<4x8xf32>, memref<8x2xf32>) outs(%c : memref<4x2xf32>) {
  ^bb0(%x: f32, %y: f32, %s: f32):
    %p = arith.mulf %x, %y : f32
    %t = arith.addf %s, %p : f32
    linalg.yield %t : f32
  }
  func.return
}
"""

ELEMENTWISE = """
func.func private @k(%a: memref<?xf32>, %b: memref<?xf32>) attributes {kernel} {
  linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%a : memref<?xf32>) outs(%b : memref<?xf32>) {
  ^bb0(%x: f32, %old: f32):
    %e = math.exp %x : f32
    %f = math.fma %e, %x, %x : f32
    linalg.yield %f : f32
  }
  func.return
}
"""

GATHER = """
func.func private @k(%table: memref<1000x8xf32>, %rows: memref<3xi64>, %out: memref<3x8xf32>) attributes {kernel} {
  linalg.generic {indexing_maps = [affine_map<(i, j) -> (i)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]} ins(%rows : memref<3xi64>) outs(%out : memref<3x8xf32>) {
  ^bb0(%r: i64, %old: f32):
    %at = arith.index_cast %r : i64 to index
    %j = linalg.index 1 : index
    %v = memref.load %table[%at, %j] : memref<1000x8xf32>
    linalg.yield %v : f32
  }
  func.return
}
"""

WINOGRAD = """
func.func private @k(%x: memref<1x1x8x10x4xf32>, %u: memref<45x1x1x4x4xf32>, %y: memref<1x1x6x8x4xf32>,
    %v: memref<36x1x1x2x2x1x4xf32>, %m: memref<36x1x1x2x2x4xf32>) attributes {kernel} {
  "linalg_ext.winograd_conv_2d"(%x, %u, %y, %v, %m) {tile = array<i64: 4, 4>, block = array<i64: 1, 2, 2>}
    : (memref<1x1x8x10x4xf32>, memref<45x1x1x4x4xf32>, memref<1x1x6x8x4xf32>, memref<36x1x1x2x2x1x4xf32>,
       memref<36x1x1x2x2x4xf32>) -> ()
  func.return
}
"""

LOOP = """
func.func private @k(%a: memref<6xf32>) attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c5 = arith.constant 5 : index
  scf.for %i = %c0 to %c5 step %c1 {
    linalg.generic {indexing_maps = [affine_map<(i) -> (i)>], iterator_types = ["parallel"]} outs(%a : memref<6xf32>) {
    ^bb0(%x: f32):
      %y = arith.negf %x : f32
      linalg.yield %y : f32
    }
  }
  func.return
}
"""


@pytest.mark.parametrize(
    ("text", "open_sizes", "cost"),
    [
        (MATMUL, None, Cost(2 * 4 * 2 * 8, 4 * (4 * 8 + 8 * 2 + 4 * 2))),  # the destination is filled, not read
        (ELEMENTWISE, 100, Cost(3 * 100, 4 * 200)),
        (GATHER, None, Cost(0, 3 * 8 + 2 * 4 * 3 * 8)),  # what is looked up counts, not the table
        (LOOP, None, Cost(5 * 6, 2 * 4 * 6)),
        (WINOGRAD, None, Cost(2 * 9 * 4 * 6 * 8 * 4, 4 * (8 * 10 * 4 + 36 * 4 * 4 + 6 * 8 * 4))),
    ],
)
def test_costs(text: str, open_sizes: int | None, cost: Cost):
    module = parse_text(text, make_context())
    kernel = next(op for op in module.ops if isinstance(op, FuncOp))
    sizes = {a: (open_sizes,) for a in kernel.body.block.args} if open_sizes else {}
    assert kernel_cost(kernel, sizes) == cost
