"""The llvm dialect as LLVM IR text: what is written, what is refused, and that it computes."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from mlc.backends.llvm import load_objects
from mlc.backends.llvm.compile import compile_llvm_module, llvm_ir
from mlc.errors import LimitError, MlcError, UnsupportedError
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text


def parse(text: str):
    module = parse_text(text, make_context(), name="<test>")
    module.verify()
    return module


def run(text: str, name: str, restype, *args):
    """Compile an llvm-dialect module and call a function: (ctypes type, value) pairs."""
    module = parse(text)
    again = parse(print_text(module))
    assert llvm_ir(module) == llvm_ir(again)
    library = load_objects([compile_llvm_module(module)])
    function = ctypes.CFUNCTYPE(restype, *(t for t, _ in args))(library.address(name))
    return function(*(v for _, v in args))


def test_integer_instructions_and_flags():
    text = """
llvm.func @f(%a: i32, %b: i32) -> i32 {
  %0 = llvm.add %a, %b overflow<nsw, nuw> : i32
  %1 = llvm.sub %0, %b overflow<nsw> : i32
  %2 = llvm.mul %1, %b : i32
  %3 = llvm.udiv exact %2, %b : i32
  %4 = llvm.or disjoint %3, %a : i32
  %5 = llvm.lshr exact %4, %b : i32
  %6 = llvm.zext nneg %5 : i32 to i64
  %7 = llvm.trunc %6 overflow<nuw> : i64 to i32
  llvm.return %7 : i32
}"""
    ir = llvm_ir(parse(text))
    for line in (
        "add nuw nsw i32", "sub nsw i32", "mul i32", "udiv exact i32", "or disjoint i32", "lshr exact i32",
        "zext nneg i32", "trunc nuw i64",
    ):  # fmt: skip
        assert line in ir


def test_control_flow_and_phis():
    text = """
llvm.func @gauss(%n: i64) -> i64 {
  %zero = llvm.mlir.constant(0) : i64
  %one = llvm.mlir.constant(1) : i64
  llvm.br ^loop(%zero, %zero : i64, i64)
^loop(%i: i64, %sum: i64):
  %next = llvm.add %i, %one : i64
  %more = llvm.add %sum, %next : i64
  %again = llvm.icmp "slt" %next, %n : i64
  llvm.cond_br %again, ^loop(%next, %more : i64, i64), ^done(%more : i64)
^done(%r: i64):
  llvm.return %r : i64
}"""
    assert run(text, "gauss", ctypes.c_int64, (ctypes.c_int64, 10)) == 55


def test_switch_and_second_edges():
    """Two edges between the same blocks with different values need a block of their own in LLVM."""
    text = """
llvm.func @f(%n: i32) -> i32 {
  %a = llvm.mlir.constant(10 : i32) : i32
  %b = llvm.mlir.constant(20 : i32) : i32
  %c = llvm.mlir.constant(30 : i32) : i32
  llvm.switch %n : i32, ^out(%a : i32) [
    1: ^out(%b : i32),
    -2: ^other,
    3: ^out(%c : i32)
  ]
^other:
  %t = llvm.icmp "eq" %n, %a : i32
  llvm.cond_br %t, ^out(%a : i32), ^out(%n : i32)
^out(%r: i32):
  llvm.return %r : i32
}"""
    assert [run(text, "f", ctypes.c_int32, (ctypes.c_int32, n)) for n in (0, 1, -2, 3)] == [10, 20, -2, 30]


def test_unreachable_block_with_arguments():
    text = """
llvm.func @f(%n: i32) -> i32 {
  llvm.return %n : i32
^dead(%x: i32):
  llvm.return %x : i32
}"""
    assert run(text, "f", ctypes.c_int32, (ctypes.c_int32, 4)) == 4


def test_memory_globals_aggregates():
    text = """
llvm.mlir.global internal constant @table(dense<[10, 20, 30]> : tensor<3xi32>) : !llvm.array<3 x i32>
llvm.mlir.global private constant @text("hi\\00") : !llvm.array<3 x i8>
llvm.mlir.global internal @counter(5 : i32) : i32
llvm.func @f(%i: i64) -> i32 {
  %p = llvm.mlir.addressof @table : !llvm.ptr
  %q = llvm.getelementptr inbounds %p[0, %i] : (!llvm.ptr, i64) -> !llvm.ptr, !llvm.array<3 x i32>
  %v = llvm.load %q : !llvm.ptr -> i32
  %c = llvm.mlir.addressof @counter : !llvm.ptr
  %n = llvm.load %c {alignment = 4 : i64} : !llvm.ptr -> i32
  %s = llvm.add %n, %v : i32
  llvm.store %s, %c {alignment = 4 : i64} : i32, !llvm.ptr
  %t = llvm.mlir.addressof @text : !llvm.ptr
  %h = llvm.load %t : !llvm.ptr -> i8
  %w = llvm.zext %h : i8 to i32
  %u = llvm.mlir.undef : !llvm.struct<(i32, i32)>
  %a = llvm.insertvalue %s, %u[0] : !llvm.struct<(i32, i32)>
  %b = llvm.insertvalue %w, %a[1] : !llvm.struct<(i32, i32)>
  %x = llvm.extractvalue %b[0] : !llvm.struct<(i32, i32)>
  %y = llvm.extractvalue %b[1] : !llvm.struct<(i32, i32)>
  %r = llvm.add %x, %y : i32
  llvm.return %r : i32
}"""
    assert run(text, "f", ctypes.c_int32, (ctypes.c_int64, 2)) == 5 + 30 + ord("h")


def test_float_constants_are_exact():
    """Written in hexadecimal: NaN, infinities, denormals and negative zero survive."""
    text = """
llvm.func @f(%p: !llvm.ptr) {
  %0 = llvm.mlir.constant(dense<[0.1, -0.0, 1.0e+30, 1.0e-45]> : vector<4xf32>) : vector<4xf32>
  llvm.store %0, %p {alignment = 4 : i64} : vector<4xf32>, !llvm.ptr
  %q = llvm.getelementptr %p[4] : (!llvm.ptr) -> !llvm.ptr, f32
  %1 = llvm.mlir.constant(dense<[1.5, -2.0]> : vector<2xf16>) : vector<2xf16>
  llvm.store %1, %q {alignment = 2 : i64} : vector<2xf16>, !llvm.ptr
  %r = llvm.getelementptr %p[5] : (!llvm.ptr) -> !llvm.ptr, f32
  %2 = llvm.mlir.constant(1.00390625 : bf16) : bf16
  llvm.store %2, %r {alignment = 2 : i64} : bf16, !llvm.ptr
  %s = llvm.getelementptr %p[6] : (!llvm.ptr) -> !llvm.ptr, f32
  %3 = llvm.mlir.constant(0x7FC00000 : f32) : f32
  llvm.store %3, %s {alignment = 4 : i64} : f32, !llvm.ptr
  %t = llvm.getelementptr %p[7] : (!llvm.ptr) -> !llvm.ptr, f32
  %4 = llvm.mlir.constant(0xFF800000 : f32) : f32
  llvm.store %4, %t {alignment = 4 : i64} : f32, !llvm.ptr
  llvm.return
}"""
    out = np.zeros(8, np.float32)
    run(text, "f", None, (ctypes.c_void_p, out.ctypes.data))
    want = np.array([0.1, -0.0, 1e30, 1e-45], np.float32)
    assert np.array_equal(out[:4].view(np.uint32), want.view(np.uint32))
    assert np.array_equal(out[4:5].view(np.float16), np.array([1.5, -2.0], np.float16))
    assert out[5:6].view(np.uint16)[0] == 0x3F80  # a tie to even
    assert np.isnan(out[6]) and out[7] == -np.inf


def test_calls_and_intrinsics():
    text = """
llvm.func @cosf(f32) -> f32
llvm.func internal @twice(%x: f32) -> f32 {
  %y = llvm.fadd %x, %x {fastmathFlags = #llvm.fastmath<nnan, contract>} : f32
  llvm.return %y : f32
}
llvm.func @f(%x: f32) -> f32 {
  %0 = llvm.call @twice(%x) : (f32) -> f32
  %1 = llvm.call @cosf(%0) : (f32) -> f32
  %2 = llvm.intr.fabs(%1) : (f32) -> f32
  %3 = llvm.intr.maximum(%2, %x) : (f32, f32) -> f32
  %4 = llvm.call_intrinsic "llvm.minnum.f32"(%3, %x) : (f32, f32) -> f32
  llvm.return %4 : f32
}"""
    assert run(text, "f", ctypes.c_float, (ctypes.c_float, 0.5)) == 0.5
    assert "fadd nnan contract float" in llvm_ir(parse(text))


def test_indirect_call():
    text = """
llvm.func internal @g(%x: i32) -> i32 {
  %y = llvm.mul %x, %x : i32
  llvm.return %y : i32
}
llvm.func @f(%x: i32) -> i32 {
  %p = llvm.mlir.addressof @g : !llvm.ptr
  %0 = llvm.call %p(%x) : !llvm.ptr, (i32) -> i32
  llvm.return %0 : i32
}"""
    assert run(text, "f", ctypes.c_int32, (ctypes.c_int32, 7)) == 49


def test_argument_attributes_are_written():
    text = """
llvm.func @f(%p: !llvm.ptr {llvm.noalias, llvm.nonnull, llvm.align = 64 : i64, llvm.readonly}) {
  llvm.return
}"""
    assert "ptr noalias nonnull align 64 readonly %0" in llvm_ir(parse(text))


def test_nontemporal_store():
    text = """
llvm.func @f(%p: !llvm.ptr, %v: vector<4xf32>) {
  llvm.store %v, %p {alignment = 16 : i64, nontemporal} : vector<4xf32>, !llvm.ptr
  llvm.return
}"""
    ir = llvm_ir(parse(text))
    assert "!nontemporal !{i32 1}" in ir
    assert compile_llvm_module(parse(text))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (LimitError, "llvm.func @f(%x: vector<1048576xf32>) { llvm.return }"),
        (LimitError, "llvm.func @f(%x: i4096) { llvm.return }"),
        (LimitError, "llvm.mlir.global internal @g(dense<0> : tensor<4294967296xi8>) : !llvm.array<4294967296 x i8>"),
        (UnsupportedError, "llvm.func @f(%x: f80) { llvm.return }"),
        (UnsupportedError, "llvm.func @llvm.x(%x: f32) { llvm.return }"),
        (UnsupportedError, 'llvm.func @f() attributes {passthrough = ["} declare void @g() {"]} { llvm.return }'),
        (UnsupportedError, """llvm.func @f(%x: i32) -> i32 {
  %0 = llvm.call_intrinsic "llvm.x86.rdtsc"() : () -> i32
  llvm.return %0 : i32
}"""),
        (UnsupportedError, "func.func @f() { func.return }"),
    ],
)  # fmt: skip
def test_refused_before_llvm_sees_it(error, text):
    with pytest.raises(error):
        compile_llvm_module(parse_text(text, make_context(), name="<test>"))


def test_names_cannot_break_out_of_the_text():
    """Symbols are quoted, whatever they hold."""
    name = 'a b"\\0A} define void @evil() { ret void'
    text = 'llvm.func @"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"() { llvm.return }'
    module = parse(text)
    ir = llvm_ir(module)
    assert ir.count("\n") == 4 and ir.startswith('define void @"a b\\22\\5C0A} define')
    compile_llvm_module(module)


def test_invalid_llvm_is_a_typed_error():
    """Well-formed for our verifier, not for LLVM's."""
    text = """
llvm.func @f(%x: f32) -> i32 {
  llvm.return %x : f32
}"""
    with pytest.raises(MlcError, match="LLVM rejects"):
        compile_llvm_module(parse_text(text, make_context(), name="<test>"))


def test_deterministic():
    text = """
llvm.func @f(%x: vector<8xf32>) -> vector<8xf32> {
  %0 = llvm.intr.sqrt(%x) : (vector<8xf32>) -> vector<8xf32>
  %1 = llvm.fmul %0, %x : vector<8xf32>
  llvm.return %1 : vector<8xf32>
}"""
    assert llvm_ir(parse(text)) == llvm_ir(parse(text))
    assert compile_llvm_module(parse(text)) == compile_llvm_module(parse(text))


def bits_of_bfloat16(x: np.ndarray) -> np.ndarray:
    return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize(
    ("op", "fn"),
    [
        ("%r = llvm.fadd %x, %y : {v}", np.add),
        ("%r = llvm.fmul %x, %y : {v}", np.multiply),
        ("%r = llvm.fneg %x : {v}", lambda x, y: -x),
        ("%r = llvm.intr.fabs(%x) : ({v}) -> {v}", lambda x, y: abs(x)),
        ("%r = llvm.intr.maximum(%x, %y) : ({v}, {v}) -> {v}", np.maximum),
        ('%c = llvm.fcmp "olt" %x, %y : {v}\n  %r = llvm.select %c, %x, %y : {b}, {v}', np.minimum),
        ("%w = llvm.fpext %x : {v} to {f}\n  %r = llvm.fptrunc %w : {f} to {v}", lambda x, y: x),
        ("%w = llvm.fpext %x : {v} to {d}\n  %r = llvm.fptrunc %w : {d} to {v}", lambda x, y: x),
        ("%w = llvm.fptosi %x : {v} to {i}\n  %r = llvm.sitofp %w : {i} to {v}", lambda x, y: np.trunc(x)),
    ],
)
@pytest.mark.parametrize("lanes", [1, 4, 9, 17])
def test_arithmetic_on_bfloat16(op: str, fn: Any, lanes: int):
    """Written by way of float: no vector width ends the process, and no denormal is flushed."""
    kinds = {k: f"vector<{lanes}x{t}>" for k, t in zip("vbfdi", ("bf16", "i1", "f32", "f64", "i32"), strict=True)}
    text = f"""
llvm.func @f(%p: !llvm.ptr, %q: !llvm.ptr, %o: !llvm.ptr) {{
  %x = llvm.load %p {{alignment = 2 : i64}} : !llvm.ptr -> {kinds["v"]}
  %y = llvm.load %q {{alignment = 2 : i64}} : !llvm.ptr -> {kinds["v"]}
  {op.format(**kinds)}
  llvm.store %r, %o {{alignment = 2 : i64}} : {kinds["v"]}, !llvm.ptr
  llvm.return
}}"""
    x = (np.arange(lanes) - 3).astype(np.float32) * 1.5
    y = np.full(lanes, 0.25, np.float32)
    if "to" not in op.split():
        x[0] = 2.0**-130
    memory = [bits_of_bfloat16(x), bits_of_bfloat16(y), np.zeros(lanes, np.uint16)]
    run(text, "f", None, *((ctypes.c_void_p, m.ctypes.data) for m in memory))
    assert memory[2].tolist() == bits_of_bfloat16(fn(x, y)).tolist()


def test_a_double_becomes_bfloat16_in_one_rounding():
    text = """
llvm.func @f(%x: f64) -> i16 {
  %r = llvm.fptrunc %x : f64 to bf16
  %b = llvm.bitcast %r : bf16 to i16
  llvm.return %b : i16
}"""
    for value, bits in ((1 + 2.0**-8 + 2.0**-40, 0x3F81), (1 + 2.0**-8, 0x3F80), (-np.inf, 0xFF80), (1e39, 0x7F80)):
        assert run(text, "f", ctypes.c_uint16, (ctypes.c_double, value)) == bits


@pytest.mark.parametrize(
    "op",
    [
        "%r = llvm.sitofp %n : i64 to bf16",
        '%r = llvm.call_intrinsic "llvm.fabs.bf16"(%z) : (bf16) -> bf16',
    ],
)
def test_what_bfloat16_lacks_is_refused(op: str):
    text = f"llvm.func @f(%n: i64, %z: bf16) -> bf16 {{\n  {op}\n  llvm.return %r : bf16\n}}"
    with pytest.raises(UnsupportedError, match="bf16"):
        llvm_ir(parse(text))
