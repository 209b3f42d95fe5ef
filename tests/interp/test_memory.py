"""Buffers: strides, views, aliasing, and refusal of everything outside; vectors; the llvm level's flat memory."""

from __future__ import annotations

import numpy as np
import pytest

from mlc.errors import ExecutionError, UnsupportedError
from mlc.interp import run_module
from mlc.interp.run_llvm import run_kernel
from mlc.ir.resources import ResourceStore


def iota(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_subview_of_subview_writes_through(run):
    text = """func.func @f(%m: memref<6x8xf32>, %i: index) -> f32 {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %a = memref.subview %m[2, %i] [4, 4] [1, 2] : memref<6x8xf32> to memref<4x4xf32, strided<[8, 2], offset: ?>>
      %x = memref.load %m[%c0, %c1] : memref<6x8xf32>
      func.return %x : f32
    }"""
    with pytest.raises(ExecutionError, match="outside size 8"):
        run(text, iota(6, 8), np.int64(2))
    text = """func.func @f(%m: memref<6x8xf32>, %i: index) -> f32 {
      %c1 = arith.constant 1 : index
      %v = arith.constant -1.0 : f32
      %a = memref.subview %m[2, 1] [4, 3] [1, 2] : memref<6x8xf32> to memref<4x3xf32, strided<[8, 2], offset: 17>>
      %b = memref.subview %a[%i, 1] [2, 2] [1, 1] : memref<4x3xf32, strided<[8, 2], offset: 17>>
        to memref<2x2xf32, strided<[8, 2], offset: ?>>
      memref.store %v, %b[%c1, %c1] : memref<2x2xf32, strided<[8, 2], offset: ?>>
      %x = memref.load %a[%c1, %c1] : memref<4x3xf32, strided<[8, 2], offset: 17>>
      func.return %x : f32
    }"""
    x, m = run(text, iota(6, 8), np.int64(2))
    want = iota(6, 8)
    want[5, 5] = -1
    assert x == 27 and np.array_equal(m, want)


@pytest.mark.parametrize("index", [-1, 4, 2**40])
def test_loads_and_stores_outside_are_refused(run, index: int):
    for op in ("%x = memref.load %m[%i] : memref<4xf32>", "memref.store %v, %m[%i] : memref<4xf32>"):
        text = f'func.func @f(%m: memref<4xf32>, %i: index, %v: f32) {{\n {op} loc("k.py":5:1)\n func.return\n}}'
        with pytest.raises(ExecutionError, match=r"k\.py:5.*outside \[4\]"):
            run(text, iota(4), np.int64(index), np.float32(0))


def test_one_arena_many_types(run):
    text = """func.func @f(%arena: memref<?xi8>) -> (f32, i16, f16) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %o4 = arith.constant 4 : index
      %a = memref.view %arena[%c0][] : memref<?xi8> to memref<4xf32>
      %b = memref.view %arena[%o4][] : memref<?xi8> to memref<2xi16>
      %v = arith.constant 1.5 : f32
      memref.store %v, %a[%c1] : memref<4xf32>
      %x = memref.load %a[%c1] : memref<4xf32>
      %y = memref.load %b[%c1] : memref<2xi16>
      %h = memref.view %arena[%o4][] : memref<?xi8> to memref<2xf16>
      %z = memref.load %h[%c1] : memref<2xf16>
      func.return %x, %y, %z : f32, i16, f16
    }"""
    x, y, z, _ = run(text, np.zeros(16, np.int8))
    assert x == 1.5 and y == 0x3FC0 and z == np.int16(0x3FC0).view(np.float16)
    with pytest.raises(ExecutionError, match=r"bytes 0\.\.16"):
        run(text, np.zeros(15, np.int8))


@pytest.mark.parametrize("element", ["f32", "f64", "f16"])
@pytest.mark.parametrize("domain", ["ieee", "field", "bound", "integers"])
def test_an_arena_holds_floats_of_every_domain(run, domain: str, element: str):
    text = """func.func @f(%arena: memref<?xi8>, %x: memref<3xEL>, %y: memref<3xEL>) {
      %o = arith.constant 20 : index
      %t = memref.view %arena[%o][] : memref<?xi8> to memref<3xEL>
      "memref.copy"(%x, %t) : (memref<3xEL>, memref<3xEL>) -> ()
      "memref.copy"(%t, %y) : (memref<3xEL>, memref<3xEL>) -> ()
      func.return
    }"""
    dtype = {"f16": np.float16, "f32": np.float32, "f64": np.float64}[element]
    x, y = iota(3).astype(dtype), np.zeros(3, dtype)
    got = run(text.replace("EL", element), np.zeros(64, np.int8), x, y, domain=domain)
    assert np.array_equal(got[2], iota(3))


def test_expand_collapse_reinterpret_and_metadata(run):
    text = """func.func @f(%m: memref<4x6xf32>) -> (f32, f32, f32, index, index) {
      %c1 = arith.constant 1 : index
      %c2 = arith.constant 2 : index
      %e = memref.expand_shape %m [[0], [1, 2]] output_shape [4, 2, 3] : memref<4x6xf32> into memref<4x2x3xf32>
      %a = memref.load %e[%c1, %c1, %c2] : memref<4x2x3xf32>
      %c = memref.collapse_shape %m [[0, 1]] : memref<4x6xf32> into memref<24xf32>
      %n = arith.constant 23 : index
      %b = memref.load %c[%n] : memref<24xf32>
      %r = memref.reinterpret_cast %m to offset: [3], sizes: [2, 2], strides: [6, 2]
        : memref<4x6xf32> to memref<2x2xf32, strided<[6, 2], offset: 3>>
      %d = memref.load %r[%c1, %c1] : memref<2x2xf32, strided<[6, 2], offset: 3>>
      %base, %o, %s0, %s1, %t0, %t1 = "memref.extract_strided_metadata"(%r)
        : (memref<2x2xf32, strided<[6, 2], offset: 3>>) -> (memref<f32>, index, index, index, index, index)
      func.return %a, %b, %d, %o, %t0 : f32, f32, f32, index, index
    }"""
    got = run(text, iota(4, 6))
    assert [float(g) for g in got[:5]] == [11, 23, 11, 3, 6]


def test_freed_constant_and_uninitialised_buffers(run):
    free = """func.func @f() {
      %c0 = arith.constant 0 : index
      %m = memref.alloc() : memref<4xf32>
      "memref.dealloc"(%m) : (memref<4xf32>) -> ()
      %x = memref.load %m[%c0] : memref<4xf32>
      func.return
    }"""
    with pytest.raises(ExecutionError, match="freed"):
        run(free)
    constant = """memref.global "private" constant @w : memref<2xf32> = dense<[1.0, 2.0]>
    func.func @f(%v: f32) -> f32 {
      %c1 = arith.constant 1 : index
      %m = memref.get_global @w : memref<2xf32>
      %x = memref.load %m[%c1] : memref<2xf32>
      memref.store %v, %m[%c1] : memref<2xf32>
      func.return %x : f32
    }"""
    with pytest.raises(ExecutionError, match="constant"):
        run(constant, np.float32(0))
    narrow = """memref.global "private" constant @w : memref<2xbf16> = dense<[1.0, 2.5]>
    func.func @f() -> f32 {
      %c1 = arith.constant 1 : index
      %m = memref.get_global @w : memref<2xbf16>
      %x = memref.load %m[%c1] : memref<2xbf16>
      %y = arith.extf %x : bf16 to f32
      func.return %y : f32
    }"""
    assert run(narrow)[0] == 2.5, "bf16 lies in memory as its upper half"
    fresh = """func.func @f() -> f32 {
      %c0 = arith.constant 0 : index
      %m = memref.alloca() : memref<4xf32>
      %x = memref.load %m[%c0] : memref<4xf32>
      func.return %x : f32
    }"""
    assert np.isnan(run(fresh)[0])


def test_buffers_level_entry_allocates_outputs_and_arena(parse):
    module = parse("""memref.global "private" constant @w : memref<3xf32> = dense_resource<w>
    func.func @arena_size(%n: index) -> index {
      %c = arith.constant 12 : index
      func.return %c : index
    }
    func.func @forward(%x: memref<?x3xf32>, %y: memref<3xf32>, %arena: memref<?xi8>) {
      %c0 = arith.constant 0 : index
      %t = memref.view %arena[%c0][] : memref<?xi8> to memref<3xf32>
      %w = memref.get_global @w : memref<3xf32>
      "memref.copy"(%w, %t) : (memref<3xf32>, memref<3xf32>) -> ()
      linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>],
        iterator_types = ["reduction", "parallel"]} ins(%x : memref<?x3xf32>) outs(%t : memref<3xf32>) {
      ^bb0(%a: f32, %b: f32):
        %s = arith.addf %b, %a : f32
        linalg.yield %s : f32
      }
      "memref.copy"(%t, %y) : (memref<3xf32>, memref<3xf32>) -> ()
      func.return
    }""")
    store = ResourceStore()
    store.add("w", np.array([1, 2, 3], np.float32))
    (y,) = run_module(module, "forward", [iota(4, 3)], resources=store)
    assert np.array_equal(y, iota(4, 3).sum(0) + np.array([1, 2, 3]))


def test_vectors(run):
    text = """func.func @f(%m: memref<2x8xf32>, %n: index) -> (f32, f32) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %z = arith.constant 0.0 : f32
      %v = vector.load %m[%c1, %c0] : memref<2x8xf32>, vector<8xf32>
      %s = vector.reduction <add>, %v : vector<8xf32> into f32
      %mask = vector.create_mask %n : vector<4xi1>
      %p = vector.broadcast %z : f32 to vector<4xf32>
      %c6 = arith.constant 6 : index
      %w = vector.maskedload %m[%c1, %c6], %mask, %p : memref<2x8xf32>, vector<4xi1>, vector<4xf32> into vector<4xf32>
      %t = vector.reduction <maximumf>, %w : vector<4xf32> into f32
      %d = vector.fma %w, %w, %p : vector<4xf32>
      vector.maskedstore %m[%c0, %c6], %mask, %d : memref<2x8xf32>, vector<4xi1>, vector<4xf32>
      func.return %s, %t : f32, f32
    }"""
    s, t, m = run(text, iota(2, 8), np.int64(2))
    assert s == sum(range(8, 16)) and t == 15
    assert m[0].tolist() == [0, 1, 2, 3, 4, 5, 14 * 14, 15 * 15]
    with pytest.raises(ExecutionError, match=r"lanes at 6\.\.8"):
        run(text, iota(2, 8), np.int64(3))


def test_vector_loads_do_not_run_into_the_next_row(run):
    text = """func.func @f(%m: memref<2x8xf32>, %i: index) -> vector<4xf32> {
      %c0 = arith.constant 0 : index
      %v = vector.load %m[%c0, %i] : memref<2x8xf32>, vector<4xf32>
      func.return %v : vector<4xf32>
    }"""
    assert run(text, iota(2, 8), np.int64(4))[0].tolist() == [4, 5, 6, 7]
    with pytest.raises(ExecutionError, match="outside size 8"):
        run(text, iota(2, 8), np.int64(5))


def test_transfers_pad_and_permute(run):
    text = """func.func @f(%m: memref<3x4xf32>, %i: index) -> (vector<4x2xf32>, vector<2xf32>) {
      %c0 = arith.constant 0 : index
      %p = arith.constant -1.0 : f32
      %a = vector.transfer_read %m[%i, %c0], %p
        {permutation_map = affine_map<(d0, d1) -> (d1, d0)>, in_bounds = [true, false]}
        : memref<3x4xf32>, vector<4x2xf32>
      %b = vector.transfer_read %m[%c0, %i], %p {permutation_map = affine_map<(d0, d1) -> (0)>, in_bounds = [true]}
        : memref<3x4xf32>, vector<2xf32>
      func.return %a, %b : vector<4x2xf32>, vector<2xf32>
    }"""
    a, b, _ = run(text, iota(3, 4), np.int64(2))
    assert np.array_equal(a[:, 0], iota(3, 4)[2]) and (a[:, 1] == -1).all() and b.tolist() == [2, 2]


LLVM = """llvm.func @f(%p: !llvm.ptr, %q: !llvm.ptr, %n: i64) -> i32 {
  %zero = llvm.mlir.constant(0 : i64) : i64
  %one = llvm.mlir.constant(1 : i64) : i64
  %ok = llvm.mlir.constant(0 : i32) : i32
  llvm.br ^head(%zero : i64)
^head(%i: i64):
  %go = llvm.icmp "slt" %i, %n : i64
  llvm.cond_br %go, ^body, ^end
^body:
  %a = llvm.getelementptr %p[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
  %x = llvm.load %a : !llvm.ptr -> f32
  %y = llvm.fadd %x, %x : f32
  %b = llvm.getelementptr %q[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
  llvm.store %y, %b : f32, !llvm.ptr
  %j = llvm.add %i, %one : i64
  llvm.br ^head(%j : i64)
^end:
  llvm.return %ok : i32
}"""


def test_llvm_runs_on_flat_memory(parse):
    module = parse(LLVM)
    (status,), (_, q) = run_kernel(module, "f", [iota(5), np.zeros(5, np.float32), np.int64(5)])
    assert status == 0 and np.array_equal(q, 2 * iota(5))
    with pytest.raises(ExecutionError, match=r"llvm\.load.*lie in no allocation"):
        run_kernel(module, "f", [iota(5), np.zeros(9, np.float32), np.int64(6)])


def test_llvm_has_no_field(parse, run):
    text = "llvm.func @f(%p: !llvm.ptr) -> f32 {\n %x = llvm.load %p : !llvm.ptr -> f32\n llvm.return %x : f32\n}"
    with pytest.raises(UnsupportedError, match="field domain"):
        run(text, np.int64(65536), domain="field")


def test_a_loaded_value_is_not_changed_by_later_stores(run):
    text = """func.func @f(%m: memref<2xf32>, %v: f32) -> f32 {
      %c0 = arith.constant 0 : index
      %x = memref.load %m[%c0] : memref<2xf32>
      memref.store %v, %m[%c0] : memref<2xf32>
      func.return %x : f32
    }"""
    for domain in ("ieee", "field", "bound", "integers"):
        assert run(text, iota(2) + 1, np.float32(7), domain=domain)[0] == 1, domain
