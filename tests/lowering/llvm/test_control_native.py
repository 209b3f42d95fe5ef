"""Control flow, calls and asserts, compiled and run, against the reference semantics."""

from __future__ import annotations

import numpy as np
import pytest

from mlc.errors import ExecutionError, UnsupportedError

CONSTANTS = "\n".join(f"  %c{i} = arith.constant {i} : index" for i in range(6))


def function(args: str, body: str) -> str:
    return f"func.func @f({args}) {{\n{CONSTANTS}\n{body}\n  func.return\n}}"


@pytest.mark.parametrize(
    ("low", "high", "step"), [(0, 0, 1), (0, 1, 1), (0, 7, 3), (2, 9, 2), (5, 3, 1), (-3, 4, 5), (0, 12, 4)]
)
@pytest.mark.parametrize("static", [True, False])
def test_for(check, low, high, step, static):
    bounds = ("%l", "%h", "%s")
    names = f"""  %l = arith.constant {low} : index
  %h = arith.constant {high} : index
  %s = arith.constant {step} : index""" if static else ""  # fmt: skip
    args = "" if static else ", %l: index, %h: index, %s: index"
    text = function(
        f"%o: memref<4xi64>{args}",
        f"""{names}
  %z = arith.constant 0 : i64
  %one = arith.constant 1 : i64
  %n, %t = scf.for %i = {bounds[0]} to {bounds[1]} step {bounds[2]} iter_args(%a = %z, %b = %one) -> (i64, i64) {{
    %v = arith.index_cast %i : index to i64
    %x = arith.addi %a, %one : i64
    %y = arith.muli %b, %v : i64
    %w = arith.addi %y, %a : i64
    scf.yield %x, %w : i64, i64
  }}
  memref.store %n, %o[%c0] : memref<4xi64>
  memref.store %t, %o[%c1] : memref<4xi64>""",
    )
    check(text, "f", [np.zeros(4, np.int64), *(() if static else (low, high, step))])


def test_for_over_integers_and_swapped_values(check):
    text = function(
        "%o: memref<4xi32>, %n: i32",
        """  %z = arith.constant 0 : i32
  %s = arith.constant 2 : i32
  %p = arith.constant 5 : i32
  %q = arith.constant 9 : i32
  %a, %b = scf.for %i = %z to %n step %s iter_args(%x = %p, %y = %q) -> (i32, i32) : i32 {
    %u = arith.addi %x, %i : i32
    scf.yield %y, %u : i32, i32
  }
  memref.store %a, %o[%c0] : memref<4xi32>
  memref.store %b, %o[%c1] : memref<4xi32>""",
    )
    for n in (0, 1, 5, -4):
        check(text, "f", [np.zeros(4, np.int32), n])


def test_vectors_and_memrefs_are_carried(check):
    text = function(
        "%x: memref<4x8xf32>, %y: memref<4x8xf32>, %n: index",
        """  %z = arith.constant dense<0.0> : vector<2x8xf32>
  %r, %m = scf.for %i = %c0 to %n step %c1 iter_args(%a = %z, %p = %x) -> (vector<2x8xf32>, memref<4x8xf32>) {
    %v = vector.load %p[%i, %c0] : memref<4x8xf32>, vector<2x8xf32>
    %s = arith.addf %a, %v : vector<2x8xf32>
    vector.store %s, %p[%i, %c0] : memref<4x8xf32>, vector<2x8xf32>
    scf.yield %s, %y : vector<2x8xf32>, memref<4x8xf32>
  }
  vector.store %r, %m[%c2, %c0] : memref<4x8xf32>, vector<2x8xf32>""",
    )
    x = np.arange(32, dtype=np.float32).reshape(4, 8)
    for n in (0, 1, 3):
        check(text, "f", [x, -x, n])


def test_if_and_switch(check):
    text = function(
        "%o: memref<4xi32>, %n: index",
        """  %big = arith.cmpi sgt, %n, %c2 : index
  %k = arith.constant 10 : i32
  %r, %s = scf.if %big -> (i32, index) {
    %v = arith.constant 7 : i32
    memref.store %v, %o[%c3] : memref<4xi32>
    scf.yield %v, %n : i32, index
  } else {
    %d = arith.addi %n, %c1 : index
    scf.yield %k, %d : i32, index
  }
  scf.if %big {
    memref.store %k, %o[%c2] : memref<4xi32>
  }
  memref.store %r, %o[%c0] : memref<4xi32>
  %t = scf.index_switch %s -> i32
  case 1 {
    %v = arith.constant 100 : i32
    scf.yield %v : i32
  }
  case 3 {
    %v = arith.constant 300 : i32
    scf.yield %v : i32
  }
  default {
    scf.yield %r : i32
  }
  memref.store %t, %o[%c1] : memref<4xi32>""",
    )
    for n in range(5):
        check(text, "f", [np.zeros(4, np.int32), n])


def test_while(check):
    text = function(
        "%o: memref<2xi64>, %n: i64",
        """  %one = arith.constant 1 : i64
  %two = arith.constant 2 : i64
  %three = arith.constant 3 : i64
  %z = arith.constant 0 : i64
  %r, %steps = scf.while (%x = %n, %k = %z) : (i64, i64) -> (i64, i64) {
    %more = arith.cmpi sgt, %x, %one : i64
    scf.condition(%more) %x, %k : i64, i64
  } do {
  ^bb0(%x: i64, %k: i64):
    %rest = arith.remsi %x, %two : i64
    %even = arith.cmpi eq, %rest, %z : i64
    %next = scf.if %even -> (i64) {
      %h = arith.divsi %x, %two : i64
      scf.yield %h : i64
    } else {
      %t = arith.muli %x, %three : i64
      %u = arith.addi %t, %one : i64
      scf.yield %u : i64
    }
    %k1 = arith.addi %k, %one : i64
    scf.yield %next, %k1 : i64, i64
  }
  memref.store %r, %o[%c0] : memref<2xi64>
  memref.store %steps, %o[%c1] : memref<2xi64>""",
    )
    for n in (1, 6, 27, 0):
        check(text, "f", [np.zeros(2, np.int64), n])


def test_parallel_with_reductions(check):
    text = function(
        "%x: memref<5x3xi32>, %o: memref<2xi32>",
        """  %z = arith.constant 0 : i32
  %m = arith.constant -1000 : i32
  %r:2 = "scf.parallel"(%c0, %c0, %c5, %c3, %c1, %c1, %z, %m) <{operandSegmentSizes = array<i32: 2, 2, 2, 2>}> ({
  ^bb0(%i: index, %j: index):
    %v = memref.load %x[%i, %j] : memref<5x3xi32>
    "scf.reduce"(%v, %v) ({
    ^bb1(%a: i32, %b: i32):
      %s = arith.addi %a, %b : i32
      scf.reduce.return %s : i32
    }, {
    ^bb2(%a: i32, %b: i32):
      %s = arith.maxsi %a, %b : i32
      scf.reduce.return %s : i32
    }) : (i32, i32) -> ()
  }) : (index, index, index, index, index, index, i32, i32) -> (i32, i32)
  memref.store %r#0, %o[%c0] : memref<2xi32>
  memref.store %r#1, %o[%c1] : memref<2xi32>""",
    )
    check(text, "f", [np.arange(15, dtype=np.int32).reshape(5, 3) * 7 % 11, np.zeros(2, np.int32)])


def test_branches_between_blocks(check):
    text = """
func.func @f(%o: memref<2xi64>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  cf.br ^loop(%c0, %c1 : index, index)
^loop(%i: index, %acc: index):
  %more = arith.cmpi slt, %i, %n : index
  cf.cond_br %more, ^body, ^done(%acc : index)
^body:
  %next = arith.addi %i, %c1 : index
  %k = arith.remsi %i, %c2 : index
  %t = arith.muli %acc, %next : index
  cf.switch %flag : i32, [
    default: ^loop(%next, %t : index, index),
    1: ^loop(%next, %acc : index, index)
  ]
^done(%r: index):
  %v = arith.index_cast %r : index to i64
  memref.store %v, %o[%c0] : memref<2xi64>
  func.return
}""".replace("%t = arith.muli", "%flag = arith.index_cast %k : index to i32\n  %t = arith.muli")
    for n in (0, 1, 5):
        check(text, "f", [np.zeros(2, np.int64), n])


def test_calls_pass_memrefs_and_scalars(check):
    text = """
func.func private @scale(%x: memref<?x4xf32, strided<[?, 1], offset: ?>>, %s: f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = memref.dim %x, %c0 : memref<?x4xf32, strided<[?, 1], offset: ?>>
  %b = vector.broadcast %s : f32 to vector<4xf32>
  scf.for %i = %c0 to %n step %c1 {
    %v = vector.load %x[%i, %c0] : memref<?x4xf32, strided<[?, 1], offset: ?>>, vector<4xf32>
    %w = arith.mulf %v, %b : vector<4xf32>
    vector.store %w, %x[%i, %c0] : memref<?x4xf32, strided<[?, 1], offset: ?>>, vector<4xf32>
  }
  func.return
}
func.func private @half(%n: index) -> index {
  %c2 = arith.constant 2 : index
  %r = arith.divsi %n, %c2 : index
  func.return %r : index
}
func.func @f(%x: memref<6x8xf32>, %s: f32, %n: index) {
  %h = func.call @half(%n) : (index) -> index
  %v = memref.subview %x[%h, 3] [%h, 4] [1, 1] : memref<6x8xf32> to memref<?x4xf32, strided<[8, 1], offset: ?>>
  %w = memref.cast %v : memref<?x4xf32, strided<[8, 1], offset: ?>> to memref<?x4xf32, strided<[?, 1], offset: ?>>
  func.call @scale(%w, %s) : (memref<?x4xf32, strided<[?, 1], offset: ?>>, f32) -> ()
  func.return
}"""
    x = np.arange(48, dtype=np.float32).reshape(6, 8)
    for n in (0, 1, 4, 6):
        check(text, "f", [x, 2.5, n])


ASSERTS = """
func.func private @inner(%x: memref<4xi32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %z = arith.constant 0 : i32
  scf.for %i = %c0 to %n step %c1 {
    %v = memref.load %x[%i] : memref<4xi32>
    %ok = arith.cmpi sge, %v, %z : i32
    cf.assert %ok, "negative"
    %t = arith.constant 100 : i32
    %small = arith.cmpi slt, %v, %t : i32
    cf.assert %small, "too big"
    cf.assert %ok, "negative"
    memref.store %t, %x[%i] : memref<4xi32>
  }
  func.return
}
func.func @f(%x: memref<4xi32>, %n: index) {
  func.call @inner(%x, %n) : (memref<4xi32>, index) -> ()
  func.return
}"""


def test_failed_asserts_return_their_number(parse, native):
    module = parse(ASSERTS)
    kernel = native(module, "inner")
    assert kernel.messages == ["negative", "too big"]
    x = np.array([1, 2, 300, -1], np.int32)
    kernel(x.copy(), 2)
    with pytest.raises(ExecutionError, match="too big"):
        kernel(x, 4)
    assert list(x) == [100, 100, 300, -1]
    outer = native(module, "f")
    assert outer.pointer(*outer.arguments([np.array([5, -5, 0, 0], np.int32), 4])) == 1


def test_refusals(parse, native):
    with pytest.raises(UnsupportedError, match="destinations"):
        native(parse("func.func @f(%x: f32) -> (f32, f32) { func.return %x, %x : f32, f32 }"), "f")
    text = """
func.func @f(%x: tensor<4xf32>, %o: memref<4xf32>) {
  func.return
}"""
    with pytest.raises(UnsupportedError, match="no form in the llvm dialect"):
        native(parse(text), "f")


def test_unknown_op_names_op_and_line(parse, native):
    text = """func.func @f(%o: memref<4xf32>) {
  %t = tensor.empty() : tensor<4xf32> loc("model.py":12:3)
  func.return
}"""
    with pytest.raises(UnsupportedError) as e:
        native(parse(text), "f")
    assert "tensor.empty" in e.value.message and e.value.where is not None and "model.py:12" in e.value.where
