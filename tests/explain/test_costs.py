"""FLOPs and bytes of kernels, against counts by hand."""

from __future__ import annotations

import pytest
from xdsl.dialects.func import FuncOp

from mlc.arrays.winograd import filtering, run_both_ways
from mlc.explain.costs import Cost, Sizes, kernel_cost
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

WIDENED = """
func.func private @k(%a: memref<4x8x{in}>, %b: memref<8x2x{in}>, %c: memref<4x2x{out}>) attributes {kernel} {
  linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>,
      affine_map<(m, n, k) -> (m, n)>], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%a, %b : memref<4x8x{in}>, memref<8x2x{in}>) outs(%c : memref<4x2x{out}>) {
  ^bb0(%x: {in}, %y: {in}, %s: {out}):
    %v = arith.{ext} %x : {in} to {out}
    %w = arith.{ext} %y : {in} to {out}
    %p = arith.{mul} %v, %w : {out}
    %t = arith.{add} %s, %p : {out}
    linalg.yield %t : {out}
  }
  func.return
}
"""


def _widened(**words: str) -> str:
    text = WIDENED
    for name, word in words.items():
        text = text.replace("{" + name.strip("_") + "}", word)
    return text


MATMUL_BF16 = _widened(in_="bf16", out="f32", ext="extf", mul="mulf", add="addf")
MATMUL_INT8 = _widened(in_="i8", out="i32", ext="extsi", mul="muli", add="addi")

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
func.func private @k(%x: memref<1x1x8x10x4xf32>, %w: memref<1x1x3x3x4x4xf32>, %y: memref<1x1x6x8x4xf32>,
    %v: memref<1x36x1x2x2x1x4xf32>, %m: memref<36x1x1x2x2x4xf32>, %u: memref<1x36x1x4x4xf32>) attributes {kernel} {
  "linalg_ext.winograd_conv_2d"(%x, %w, %y, %v, %m, %u) {tile = array<i64: 4, 4>, block = array<i64: 1, 2, 2>,
    transformed}
    : (memref<1x1x8x10x4xf32>, memref<1x1x3x3x4x4xf32>, memref<1x1x6x8x4xf32>, memref<1x36x1x2x2x1x4xf32>,
       memref<36x1x1x2x2x4xf32>, memref<1x36x1x4x4xf32>) -> ()
  func.return
}
"""

WINOGRAD_MATMUL = """
func.func private @k(%x: memref<5x12xf32>, %w: memref<2x16x4xf32>, %y: memref<5x2x4xf32>, %s: memref<5x2x64xf32>,
    %r: memref<7x5xf32>) attributes {kernel} {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%y : memref<5x2x4xf32>)
  "linalg_ext.winograd_matmul"(%x, %w, %y, %s, %r) {depth = 6 : i64}
    : (memref<5x12xf32>, memref<2x16x4xf32>, memref<5x2x4xf32>, memref<5x2x64xf32>, memref<7x5xf32>) -> ()
  func.return
}
"""
SPLIT_MATMUL = """
func.func private @k(%x: memref<5x48xf32>, %w: memref<2x66x16xf32>, %y: memref<5x2x16xf32>,
    %s: memref<1x2x3x16x32xbf16>, %r: memref<5x5xf32>, %q: memref<2x2x3x16x32xbf16>) attributes {kernel} {
  "linalg_ext.split_matmul"(%x, %w, %y, %s, %r, %q)
    : (memref<5x48xf32>, memref<2x66x16xf32>, memref<5x2x16xf32>, memref<1x2x3x16x32xbf16>, memref<5x5xf32>,
       memref<2x2x3x16x32xbf16>) -> ()
  func.return
}
"""
SPLIT_POINTWISE = """
func.func private @k(%x: memref<2x1x3x3x16xf32>, %w: memref<4x34x16xf32>, %y: memref<2x4x3x3x16xf32>,
    %s: memref<2x1x3x16x32xbf16>, %r: memref<5x2x3x3xf32>, %q: memref<2x1x3x16x32xbf16>) attributes {kernel} {
  "linalg_ext.split_matmul"(%x, %w, %y, %s, %r, %q)
    : (memref<2x1x3x3x16xf32>, memref<4x34x16xf32>, memref<2x4x3x3x16xf32>, memref<2x1x3x16x32xbf16>,
       memref<5x2x3x3xf32>, memref<2x1x3x16x32xbf16>) -> ()
  func.return
}
"""
ATTENTION = """
func.func private @k(%q: memref<2x5x3xf32>, %k: memref<2x7x3xf32>, %v: memref<2x7x4xf32>, %y: memref<2x5x4xf32>)
    attributes {kernel} {
  "linalg_ext.attention"(%q, %k, %v, %y) {scale = 0.5 : f32}
    : (memref<2x5x3xf32>, memref<2x7x3xf32>, memref<2x7x4xf32>, memref<2x5x4xf32>) -> ()
  func.return
}
"""
_SCORE = 2 * 3 + 2 * 4 + 5
CAUSAL = ATTENTION.replace("0.5 : f32", "0.5 : f32, causal").replace("x7x", "x5x")
ONTO = WINOGRAD_MATMUL.replace("linalg.fill ins(%zero : f32) outs(%y : memref<5x2x4xf32>)", "")

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

SCALARS = """
func.func private @k(%a: memref<4x100xf32>, %b: memref<4x5xf64>, %s: memref<4x100xi64> {mlc.scratch})
    attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c5 = arith.constant 5 : index
  %c100 = arith.constant 100 : index
  scf.for %i = %c0 to %c4 step %c1 {
    %first = memref.load %s[%i, %c0] : memref<4x100xi64>
    %sorted = arith.index_cast %first : i64 to index
    %yes = arith.cmpi eq, %sorted, %c0 : index
    %end = {end}
    scf.for %j = %c0 to %end step %c1 {
      %x = memref.load %a[%i, %j] : memref<4x100xf32>
      %at = arith.remui %j, %c5 : index
      %y = arith.extf %x : f32 to f64
      memref.store %y, %b[%i, %at] : memref<4x5xf64>
    }
  }
  func.return
}
"""
BAGS = """
func.func private @k(%ends: memref<3xi64>, %rows: memref<20xi64>, %table: memref<1000x8xf32>, %y: memref<3x8xf32>)
    attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %c8 = arith.constant 8 : index
  scf.for %i = %c0 to %c3 step %c1 {
    %l = memref.load %ends[%i] : memref<3xi64>
    %end = arith.index_cast %l : i64 to index
    scf.for %j = %c0 to %end step %c1 {
      %r = memref.load %rows[%j] : memref<20xi64>
      %row = arith.index_cast %r : i64 to index
      scf.for %k = %c0 to %c8 step %c1 {
        %v = memref.load %table[%row, %k] : memref<1000x8xf32>
        memref.store %v, %y[%i, %k] : memref<3x8xf32>
      }
    }
  }
  func.return
}
"""
RUNNING = """
func.func private @k(%a: memref<6xf32>, %b: memref<6xf32>) attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c6 = arith.constant 6 : index
  %zero = arith.constant 0.0 : f32
  memref.store %zero, %b[%c0] : memref<6xf32>
  scf.for %i = %c1 to %c6 step %c1 {
    %at = arith.subi %i, %c1 : index
    %s = memref.load %b[%at] : memref<6xf32>
    %x = memref.load %a[%i] : memref<6xf32>
    %t = arith.addf %s, %x : f32
    memref.store %t, %b[%i] : memref<6xf32>
  }
  func.return
}
"""


class Counting:
    """Arithmetic of a transform that counts its operations."""

    done = 0

    def add(self, a: int, b: int) -> int:
        self.done += 1
        return 0

    sub = add

    def mul(self, factor: float, a: int) -> int:
        self.done += 1
        return 0

    def fma(self, factor: float, a: int, b: int) -> int:
        self.done += 2
        return 0


def _transforms(tile: int) -> int:
    """Operations of both transforms of one tile of one channel."""
    on, found = Counting(), filtering(tile)
    run_both_ways(found.input, found.input, [[0] * found.size] * found.size, on)
    run_both_ways(found.output, found.output, [[0] * found.size] * found.size, on)
    return on.done


def _filter_transforms(tile: int) -> int:
    """Operations of the transform of one filter of one channel."""
    on, found = Counting(), filtering(tile)
    run_both_ways(found.filter, found.filter, [[0] * 3] * 3, on)
    return on.done


DONE = 4 * (2 * 36 * 4 * 4 + 4 * _transforms(4))
AT_RUN_TIME = 4 * 4 * _filter_transforms(4) + 4 * 4 * 16  # and outputs are divided by the scale


@pytest.mark.parametrize(
    ("text", "open_sizes", "cost"),
    [
        # the destination is filled, not read
        (MATMUL, None, Cost(2 * 4 * 2 * 8, 4 * (4 * 8 + 8 * 2 + 4 * 2), {"f32": 2 * 4 * 2 * 8})),
        (MATMUL_BF16, None, Cost(2 * 4 * 2 * 8, 2 * (4 * 8 + 8 * 2) + 4 * 4 * 2 * 2, {"bf16": 2 * 4 * 2 * 8})),
        (MATMUL_INT8, None, Cost(2 * 4 * 2 * 8, 4 * 8 + 8 * 2 + 4 * 4 * 2 * 2, {"int8": 2 * 4 * 2 * 8})),
        (ELEMENTWISE, 100, Cost(3 * 100, 4 * 200, {"f32": 3 * 100})),
        (ELEMENTWISE.replace("f32", "f64"), 100, Cost(3 * 100, 8 * 200, {"f64": 3 * 100})),
        (GATHER, None, Cost(0, 3 * 8 + 2 * 4 * 3 * 8, {})),  # what is looked up counts, not the table
        (LOOP, None, Cost(5 * 6, 2 * 4 * 6, {"f32": 5 * 6})),
        (WINOGRAD, None, Cost(2 * 9 * 4 * 6 * 8 * 4, 4 * (8 * 10 * 4 + 36 * 4 * 4 + 6 * 8 * 4), {"f32": DONE})),
        (
            WINOGRAD.replace(",\n    transformed", ""),
            None,
            Cost(2 * 9 * 4 * 6 * 8 * 4, 4 * (8 * 10 * 4 + 9 * 4 * 4 + 6 * 8 * 4), {"f32": DONE + AT_RUN_TIME}),
        ),
        # per group of six terms four multiply-adds and four additions
        (WINOGRAD_MATMUL, None, Cost(2 * 5 * 12 * 8, 4 * (5 * 12 + 2 * 16 * 4 + 5 * 8), {"f32": 2 * 5 * 8 * (8 + 4)})),
        # six products of parts, of rows and terms filled up to whole tiles
        (
            SPLIT_MATMUL,
            None,
            Cost(2 * 5 * 48 * 32, 4 * (5 * 48 + 2 * 66 * 16 + 2 * 5 * 32), {"bf16": 6 * 2 * 16 * 64 * 32}),
        ),
        (
            SPLIT_POINTWISE,
            None,
            Cost(2 * 18 * 16 * 64, 4 * (18 * 16 + 4 * 34 * 16 + 2 * 18 * 64), {"bf16": 6 * 2 * 32 * 32 * 64}),
        ),
        (ATTENTION, None, Cost(70 * _SCORE, 4 * 2 * (15 + 21 + 28 + 20), {"f32": 70 * _SCORE})),
        (CAUSAL, None, Cost(30 * _SCORE, 4 * 2 * (15 + 15 + 20 + 20), {"f32": 30 * _SCORE})),
        # how far loops go is known, decided by the data among known ends, or not known: what they go through is whole
        (SCALARS.replace("{end}", "arith.maxsi %c5, %c100 : index"), None, Cost(0, 4 * 400 + 8 * 20, {})),
        (SCALARS.replace("{end}", "arith.select %yes, %c0, %c100 : index"), None, Cost(0, 4 * 400 + 8 * 20, {})),
        (SCALARS.replace("{end}", "arith.addi %sorted, %c1 : index"), None, Cost(0, 4 * 400 + 8 * 20, {})),
        (BAGS, None, Cost(0, 8 * 3 + 8 * 20 + 4 * 20 * 8 + 4 * 3 * 8, {})),  # rows that are looked up, not the table
        (RUNNING, None, Cost(5, 4 * 5 + 4 * 5, {"f32": 5})),  # what it wrote itself is not read from memory
        (ONTO, None, Cost(2 * 5 * 12 * 8, 4 * (5 * 12 + 2 * 16 * 4 + 2 * 5 * 8), {"f32": 2 * 5 * 8 * (8 + 4)})),
    ],
)
def test_costs(text: str, open_sizes: int | None, cost: Cost):
    module = parse_text(text, make_context())
    kernel = next(op for op in module.ops if isinstance(op, FuncOp))
    sizes: Sizes = {a: (open_sizes,) for a in kernel.body.block.args} if open_sizes else {}
    found = kernel_cost(kernel, sizes)
    assert (found.flops, found.bytes, found.done) == (cost.flops, cost.bytes, cost.done)


def test_bytes_of_weights_and_of_results():
    kernel = next(op for op in parse_text(MATMUL, make_context()).ops if isinstance(op, FuncOp))
    cost = kernel_cost(kernel, {}, {1})
    assert (cost.bytes, cost.written, cost.weights) == (4 * (4 * 8 + 8 * 2 + 4 * 2), 4 * 4 * 2, 4 * 8 * 2)
