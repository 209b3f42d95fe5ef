"""Upstream's syntax where xDSL has another one: both tools read what either prints, with and without locations."""

from __future__ import annotations

import subprocess

import pytest

from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text
from mlc.ir.verifier import verify_module

pytestmark = pytest.mark.upstream

PROGRAM = """
func.func @flags(%a: i32, %b: i32, %v: tensor<4xi32>) -> (i32, i8, i32) {
  %q = arith.divsi %a, %b exact : i32
  %p = arith.divui %a, %b exact : i32
  %r = arith.shrsi %a, %b exact : i32
  %s = arith.shrui %a, %b exact : i32
  %t = arith.trunci %a overflow<nsw> : i32 to i8
  %u = arith.trunci %v overflow<nsw, nuw> : tensor<4xi32> to tensor<4xi8>
  %c = arith.cmpi slt, %a, %b : i32
  cf.cond_br %c weights([10, 20]), ^x(%p : i32), ^y
^x(%k: i32):
  return %q, %t, %k : i32, i8, i32
^y:
  return %r, %t, %s : i32, i8, i32
}
func.func @loops(%n: index, %x: f32, %z: f32) -> (f32, f32, f32, index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %i = scf.for %j = %c0 to %n step %c1 iter_args(%k = %c1) -> index {
    %m = arith.addi %k, %k : index
    scf.yield %m : index
  }
  scf.for %j = %c0 to %n step %c1 {
    %m = arith.addi %j, %j : index
  }
  %cond = arith.cmpi slt, %n, %c1 : index
  %h = scf.if %cond -> index {
    scf.yield %n : index
  } else {
    scf.yield %i : index
  }
  scf.parallel (%j) = (%c0) to (%h) step (%c1) {
  }
  %s:2 = scf.parallel (%j, %l) = (%c0, %c0) to (%n, %n) step (%c1, %c1) init (%x, %z) -> (f32, f32) {
    scf.reduce(%x, %z : f32, f32) {
    ^bb0(%a: f32, %b: f32):
      %d = arith.addf %a, %b : f32
      scf.reduce.return %d : f32
    }, {
    ^bb0(%a: f32, %b: f32):
      %d = arith.mulf %a, %b : f32
      scf.reduce.return %d : f32
    }
  }
  %t = scf.parallel (%j) = (%c0) to (%n) step (%c1) init (%x) -> f32 {
    scf.reduce(%x : f32) {
    ^bb0(%a: f32, %b: f32):
      %d = arith.addf %a, %b : f32
      scf.reduce.return %d : f32
    }
  } {foo.bar = 1 : i32}
  %w:2 = scf.while (%a = %x, %b = %n) : (f32, index) -> (f32, index) {
    %e = arith.cmpi slt, %b, %c1 : index
    scf.condition(%e) %a, %b : f32, index
  } do {
  ^bb0(%a: f32, %b: index):
    scf.yield %a, %b : f32, index
  }
  return %s#0, %w#0, %t, %i : f32, f32, f32, index
}
func.func @tensors(%x: tensor<2x3xf32>, %y: tensor<2xf32>, %i: index, %e: tensor<4xindex>)
    -> (tensor<2xf32>, tensor<2xf32>, tensor<4xindex>) {
  %w = arith.constant dense_resource<"a name"> : tensor<2xf32> loc(fused<"meta">["a", "m.py":1:2])
  %0 = linalg.reduce { arith.addf } ins(%x : tensor<2x3xf32>) outs(%w : tensor<2xf32>) dimensions = [1]
  %1 = linalg.reduce { arith.maximumf {fastmath = #arith.fastmath<nnan>} }
      ins(%x : tensor<2x3xf32>) outs(%y : tensor<2xf32>) dimensions = [1]
  %2 = linalg.reduce ins(%x : tensor<2x3xf32>) outs(%y : tensor<2xf32>) dimensions = [1]
      (%in: f32 loc("m.py":3:4), %init: f32 loc("m.py":5:6)) {
    %3 = arith.mulf %in, %in : f32
    %4 = arith.addf %3, %init : f32
    linalg.yield %4 : f32
  }
  %5 = linalg.add ins(%0, %1 : tensor<2xf32>, tensor<2xf32>) outs(%y : tensor<2xf32>) -> tensor<2xf32>
  %6 = linalg.fill ins(%i : index) outs(%e : tensor<4xindex>) -> tensor<4xindex>
  %7 = linalg.copy ins(%e : tensor<4xindex>) outs(%6 : tensor<4xindex>) -> tensor<4xindex>
  %g:2 = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>, affine_map<(i) -> (i)>,
      affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%0, %1 : tensor<2xf32>, tensor<2xf32>) outs(%y, %y : tensor<2xf32>, tensor<2xf32>) {
  ^bb0(%p: f32, %q: f32, %s: f32, %t: f32):
    linalg.yield %p, %q : f32, f32
  } -> (tensor<2xf32>, tensor<2xf32>)
  return %2, %5, %7 : tensor<2xf32>, tensor<2xf32>, tensor<4xindex>
}
"""


def upstream(text: str, *flags: str) -> str:
    """What `torch-mlir-opt` prints for `text`."""
    done = subprocess.run(["torch-mlir-opt", *flags, "-"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ours(text: str, *, generic: bool = False, debuginfo: bool = False) -> str:
    ctx = make_context()
    module = parse_text(text, ctx, name="-")
    verify_module(module, ctx)
    return print_text(module, generic=generic, debuginfo=debuginfo)


@pytest.mark.parametrize("generic", [False, True])
def test_it_means_the_same_to_both(generic: bool) -> None:
    wanted = upstream(PROGRAM)
    assert upstream(ours(PROGRAM, generic=generic)) == wanted
    assert upstream(ours(wanted, generic=generic)) == wanted


@pytest.mark.parametrize("generic", [False, True])
def test_locations_go_both_ways(generic: bool) -> None:
    """Each tool reads the locations that the other prints, on bodies that the text leaves out as well."""
    located = ours(PROGRAM, debuginfo=True)
    assert 'fused<"meta">["a", "m.py":1:2]' in located and 'f32 loc("m.py":3:4)' in located
    assert ours(located, debuginfo=True) == located
    theirs = upstream(located, "--mlir-print-debuginfo")
    assert upstream(ours(PROGRAM, generic=generic, debuginfo=True), "--mlir-print-debuginfo") == theirs
    assert upstream(ours(theirs, debuginfo=True), "--mlir-print-debuginfo") == theirs


def test_what_the_text_leaves_out_has_the_place_of_its_op() -> None:
    module = parse_text(PROGRAM, make_context(), name="m.mlir")
    assert not [op.name for op in module.walk() if "unknown" in str(op.location)]
