"""scf-parallel-to-for gives the same results: with and without reductions, nested, of no iterations."""

from __future__ import annotations

import numpy as np
import pytest

from mlc.interp import run_function
from mlc.ir.pipeline import make_pass
from mlc.ir.verifier import verify_module
from tests.lowering.buffers.checking import parsed

TEXT = """
func.func @f(%x: memref<4x5xf32>, %y: memref<4x5xf32>, %n: index, %m: index) -> (f32, f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %z = arith.constant 0.5 : f32
  %r:2 = "scf.parallel"(%c0, %c0, %n, %m, %c2, %c1, %z, %z) <{operandSegmentSizes = array<i32: 2, 2, 2, 2>}> ({
  ^bb0(%i: index, %j: index):
    %v = memref.load %x[%i, %j] : memref<4x5xf32>
    "scf.parallel"(%c0, %c1, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
    ^bb1(%k: index):
      memref.store %v, %y[%i, %j] : memref<4x5xf32>
      "scf.reduce"() : () -> ()
    }) : (index, index, index) -> ()
    "scf.reduce"(%v, %v) ({
    ^bb2(%a: f32, %b: f32):
      %s = arith.addf %a, %b : f32
      "scf.reduce.return"(%s) : (f32) -> ()
    }, {
    ^bb3(%a: f32, %b: f32):
      %s = arith.maximumf %a, %b : f32
      "scf.reduce.return"(%s) : (f32) -> ()
    }) : (f32, f32) -> ()
  }) : (index, index, index, index, index, index, f32, f32) -> (f32, f32)
  func.return %r#0, %r#1 : f32, f32
}"""


@pytest.mark.parametrize(("n", "m"), [(4, 5), (3, 1), (0, 5), (4, 0)])
def test_same_results(n: int, m: int) -> None:
    module, ctx = parsed(TEXT, {})
    x = np.random.default_rng(n + m).standard_normal((4, 5)).astype(np.float32)
    inputs = [x, np.zeros_like(x), np.int64(n), np.int64(m)]
    expected = run_function(module, "f", [np.array(v) for v in inputs])
    make_pass("scf-parallel-to-for", {}).apply(ctx, module)
    verify_module(module, ctx)
    assert not any(op.name == "scf.parallel" for op in module.walk())
    got = run_function(module, "f", [np.array(v) for v in inputs])
    for a, b in zip((*expected[0], *expected[1]), (*got[0], *got[1]), strict=True):
        assert np.array_equal(a, b)
