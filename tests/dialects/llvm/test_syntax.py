"""The llvm ops that mlc adds: upstream's syntax both ways, and upstream MLIR takes what is printed."""

from __future__ import annotations

import pytest

from mlc.dialects.llvm.intrinsics import BINARY_FLOAT, BINARY_INT, REDUCE_FLOAT, REDUCE_INT, UNARY_FLOAT, UNARY_INT
from mlc.errors import ParseError
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text

INTRINSICS = "\n".join(
    [
        *(f"  %u{k} = llvm.intr.{n}(%v) : (vector<4xf32>) -> vector<4xf32>" for k, n in enumerate(UNARY_FLOAT)),
        *(f"  %b{k} = llvm.intr.{n}(%x, %x) : (f32, f32) -> f32" for k, n in enumerate(BINARY_FLOAT)),
        *(f"  %c{k} = llvm.intr.{n}(%i, %i) : (i32, i32) -> i32" for k, n in enumerate(BINARY_INT)),
        *(f"  %d{k} = llvm.intr.{n}(%i) : (i32) -> i32" for k, n in enumerate(UNARY_INT)),
        *(f'  %e{k} = "llvm.intr.vector.reduce.{n}"(%w) : (vector<4xi32>) -> i32' for k, n in enumerate(REDUCE_INT)),
        *(f"  %g{k} = llvm.intr.vector.reduce.{n}(%v) : (vector<4xf32>) -> f32" for k, n in enumerate(REDUCE_FLOAT)),
    ]
)

PROGRAM = """
llvm.func @f(%x: f32, %v: vector<4xf32>, %w: vector<4xi32>, %i: i32, %p: !llvm.ptr, %m: vector<4xi1>,
             %ps: vector<4x!llvm.ptr>, %n: i64) {
INTRINSICS
  %abs = "llvm.intr.abs"(%i) <{is_int_min_poison = false}> : (i32) -> i32
  %ctlz = "llvm.intr.ctlz"(%i) <{is_zero_poison = false}> : (i32) -> i32
  %fast = llvm.intr.roundeven(%x) {fastmathFlags = #llvm.fastmath<nnan>} : (f32) -> f32
  %ma = llvm.intr.fmuladd(%x, %x, %x) : (f32, f32, f32) -> f32
  %0 = llvm.fptosi %v : vector<4xf32> to vector<4xi32>
  %1 = llvm.fptoui %x : f32 to i32
  %2 = llvm.uitofp %i : i32 to f32
  %3 = llvm.select %m, %v, %v : vector<4xi1>, vector<4xf32>
  %4 = llvm.mlir.zero : vector<4xf32>
  %5 = llvm.mlir.poison : f32
  %6 = llvm.freeze %5 : f32
  %7 = llvm.extractelement %v[%i : i32] : vector<4xf32>
  %8 = llvm.fcmp "olt" %v, %v : vector<4xf32>
  %9 = llvm.fcmp "une" %x, %x {fastmathFlags = #llvm.fastmath<nnan>} : f32
  %10 = llvm.intr.masked.load %p, %m, %v {alignment = 4 : i32} : (!llvm.ptr, vector<4xi1>, vector<4xf32>) -> vector<4xf32>
  llvm.intr.masked.store %w, %p, %m {alignment = 4 : i32} : vector<4xi32>, vector<4xi1> into !llvm.ptr
  %11 = llvm.intr.masked.gather %ps, %m, %v {alignment = 4 : i32} : (vector<4x!llvm.ptr>, vector<4xi1>, vector<4xf32>) -> vector<4xf32>
  llvm.intr.masked.scatter %v, %ps, %m {alignment = 4 : i32} : vector<4xf32>, vector<4xi1> into vector<4x!llvm.ptr>
  "llvm.intr.memcpy"(%p, %p, %n) <{isVolatile = false}> : (!llvm.ptr, !llvm.ptr, i64) -> ()
  "llvm.intr.memmove"(%p, %p, %n) <{isVolatile = false}> : (!llvm.ptr, !llvm.ptr, i64) -> ()
  %zero = llvm.mlir.constant(0 : i8) : i8
  "llvm.intr.memset"(%p, %zero, %n) <{isVolatile = false}> : (!llvm.ptr, i8, i64) -> ()
  llvm.intr.assume %9 : i1
  llvm.switch %i : i32, ^bb1(%x : f32) [
    3: ^bb1(%6 : f32),
    -7: ^bb2
  ]
^bb1(%a: f32):
  llvm.switch %n : i64, ^bb2 [
  ]
^bb2:
  llvm.return
}""".replace("INTRINSICS", INTRINSICS)  # noqa: E501


def test_round_trip():
    module = parse_text(PROGRAM, make_context(), name="<test>")
    module.verify()
    text = print_text(module)
    again = parse_text(text, make_context(), name="<test>")
    again.verify()
    assert print_text(again) == text


@pytest.mark.upstream
def test_upstream_accepts_what_is_printed():
    ir = pytest.importorskip("torch_mlir.ir")
    text = print_text(parse_text(PROGRAM, make_context(), name="<test>"))
    with ir.Context():
        assert ir.Module.parse(text).operation.verify()


@pytest.mark.upstream
def test_what_upstream_prints_is_accepted():
    ir = pytest.importorskip("torch_mlir.ir")
    with ir.Context():
        text = str(ir.Module.parse(PROGRAM))
    module = parse_text(text, make_context(), name="<upstream>")
    module.verify()


@pytest.mark.parametrize(
    "text",
    [
        'llvm.func @f(%x: f32) { %0 = llvm.fcmp "less" %x, %x : f32 llvm.return }',
        "llvm.func @f(%x: f32) { %0 = llvm.extractelement %x[%x : f32] : f32 llvm.return }",
        "llvm.func @f(%x: i32) { llvm.switch %x : i32, ^bb1 [ 1 ^bb1 ] ^bb1: llvm.return }",
    ],
)
def test_syntax_errors(text):
    with pytest.raises(ParseError):
        parse_text(text, make_context(), name="<test>")
