"""@forward, @arena_size and @output_dims as C entry points, called as the runtime calls them."""

from __future__ import annotations

import numpy as np
import pytest

from mlc.backends.llvm import load_objects
from mlc.backends.llvm.compile import compile_llvm_module
from mlc.errors import ExecutionError, UnsupportedError
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text
from mlc.lowering.llvm.convert_to_llvm import ConvertToLLVM
from mlc.runtime.executable import Executable, NativeCode, TensorSpec

RESOURCE = """
{-# dialect_resources: { builtin: {
  v: "0x040000000000803f000000400000404000008040",
  w: "0x040000000000803f000000400000404000008040"
} } #-}"""

MODEL = """
memref.global "private" constant @v : memref<4xf32> = dense_resource<v>
memref.global "private" constant @w : memref<4xf32> = dense_resource<w>
func.func private @k(%x: memref<?x4xf32>, %b: memref<4xf32>, %o: memref<?x4xf32>) attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %limit = arith.constant 1000.0 : f32
  %n = memref.dim %x, %c0 : memref<?x4xf32>
  %bias = vector.load %b[%c0] : memref<4xf32>, vector<4xf32>
  scf.for %i = %c0 to %n step %c1 {
    %v = vector.load %x[%i, %c0] : memref<?x4xf32>, vector<4xf32>
    %s = arith.addf %v, %bias : vector<4xf32>
    %m = vector.reduction <maximumf>, %s : vector<4xf32> into f32
    %ok = arith.cmpf olt, %m, %limit : f32
    cf.assert %ok, "value too large"
    vector.store %s, %o[%i, %c0] : memref<?x4xf32>, vector<4xf32>
  }
  func.return
}
func.func @forward(%x: memref<?x4xf32>, %y: memref<3xi1>, %o: memref<?x4xf32>, %p: memref<4xf32>, %arena: memref<?xi8>)
    attributes {num_inputs = 2 : i64} {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %c64 = arith.constant 64 : index
  %n = memref.dim %x, %c0 : memref<?x4xf32>
  %flag = memref.load %y[%c2] : memref<3xi1>
  cf.assert %flag, "the third flag must be set"
  %t = memref.view %arena[%c64][%n] : memref<?xi8> to memref<?x4xf32>
  %w = memref.get_global @w : memref<4xf32>
  %v = memref.get_global @v : memref<4xf32>
  func.call @k(%x, %w, %t) : (memref<?x4xf32>, memref<4xf32>, memref<?x4xf32>) -> ()
  %h = memref.dim %o, %c0 : memref<?x4xf32>
  %half = memref.subview %t[0, 0] [%h, 4] [1, 1] : memref<?x4xf32> to memref<?x4xf32, strided<[4, 1]>>
  %dense = memref.cast %half : memref<?x4xf32, strided<[4, 1]>> to memref<?x4xf32>
  func.call @k(%dense, %v, %o) : (memref<?x4xf32>, memref<4xf32>, memref<?x4xf32>) -> ()
  memref.copy %v, %p : memref<4xf32> to memref<4xf32>
  func.return
}
func.func @arena_size(%n: index) -> index {
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  %b = arith.muli %n, %c16 : index
  %s = arith.addi %b, %c64 : index
  func.return %s : index
}
func.func @output_dims(%n: index) -> index {
  %c2 = arith.constant 2 : index
  %h = arith.divsi %n, %c2 : index
  func.return %h : index
}"""


def lower(text: str):
    ctx = make_context()
    module = parse_text(text, ctx, name="<test>")
    module.verify()
    ConvertToLLVM().apply(ctx, module)
    module.verify()
    return module


@pytest.fixture(scope="module")
def model() -> Executable:
    library = load_objects([compile_llvm_module(lower(MODEL + RESOURCE))])
    code = NativeCode(
        library.address("mlc_forward"), library.address("mlc_arena_size"), library.find("mlc_output_dims"), library
    )
    float32 = np.dtype(np.float32)
    return Executable(
        code,
        (TensorSpec((None, 4), float32, "x"), TensorSpec((3,), np.dtype(np.bool_), "y")),
        (TensorSpec((None, 4), float32), TensorSpec((4,), float32)),
        [np.array([1, 2, 3, 4], np.float32), np.array([10, 20, 30, 40], np.float32)],
        {1: "the third flag must be set", (1 << 16) | 1: "first call", (2 << 16) | 1: "second call"},
    )


FLAGS = np.array([False, False, True])


def test_inputs_outputs_constants_arena(model):
    for n in (0, 1, 2, 5):
        x = np.arange(4 * n, dtype=np.float32).reshape(n, 4)
        out, copy = model.run([x, FLAGS])
        want = (x + np.array([11, 22, 33, 44], np.float32))[: n // 2]
        assert out.shape == (n // 2, 4) and np.array_equal(out, want)
        assert np.array_equal(copy, [1, 2, 3, 4])
    assert model.arena_bytes([5]) == 64 + 5 * 16


def test_failures_say_which_call(model):
    x = np.zeros((4, 4), np.float32)
    with pytest.raises(ExecutionError, match="third flag"):
        model.run([x, np.zeros(3, bool)])
    x[3] = 990
    with pytest.raises(ExecutionError, match="first call"):
        model.run([x, FLAGS])
    x[3], x[0, 0] = 0, 989
    with pytest.raises(ExecutionError, match="second call"):
        model.run([x, FLAGS])


def test_kernels_may_live_in_other_objects():
    """The entry's module only declares them."""
    start = MODEL.index("func.func private @k")
    end = MODEL.index("func.func @forward")
    kernel = MODEL[start:end]
    declaration = "func.func private @k(memref<?x4xf32>, memref<4xf32>, memref<?x4xf32>) attributes {kernel}\n"
    objects = [compile_llvm_module(lower(t)) for t in (MODEL[:start] + declaration + MODEL[end:] + RESOURCE, kernel)]
    assert load_objects(objects).find("mlc_forward") is not None


@pytest.mark.upstream
def test_upstream_accepts_the_llvm_level():
    ir = pytest.importorskip("torch_mlir.ir")
    with ir.Context():
        assert ir.Module.parse(print_text(lower(MODEL + RESOURCE))).operation.verify()


def test_refusals():
    strided = """
func.func @forward(%x: memref<4x4xf32, strided<[8, 1], offset: ?>>, %o: memref<?xf32>, %arena: memref<?xi8>) attributes {num_inputs = 1 : i64} {
  func.return
}"""  # noqa: E501
    with pytest.raises(UnsupportedError, match="output_dims"):
        lower(strided)
    with pytest.raises(UnsupportedError, match="arena last"):
        lower("func.func @forward(%x: f32) { func.return }")
