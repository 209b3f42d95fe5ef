"""vector ops, compiled and run, against the reference semantics."""

from __future__ import annotations

import numpy as np
import pytest

from mlc.errors import LimitError, UnsupportedError
from mlc.interp import run_function
from tests.lowering.llvm.conftest import same_bits


def floats(*shape: int) -> np.ndarray:
    return (np.arange(int(np.prod(shape)), dtype=np.float32) * 1.25 - 7).reshape(shape)


CONSTANTS = "\n".join(f"  %c{i} = arith.constant {i} : index" for i in range(20))


def function(args: str, body: str) -> str:
    return f"func.func @f({args}) {{\n{CONSTANTS}\n{body}\n  func.return\n}}"


def one(source: tuple[int, ...], result: tuple[int, ...], op: str, ty: str = "f32", out: str | None = None) -> str:
    """Load all of %x as one vector, apply `op` giving %r, store it to all of %o."""
    out = out or ty
    src, dst = "x".join(map(str, source)), "x".join(map(str, result))
    zeros, zeros_out = ", ".join(["%c0"] * len(source)), ", ".join(["%c0"] * len(result))
    return function(
        f"%x: memref<{src}x{ty}>, %o: memref<{dst}x{out}>",
        f"""  %v = vector.load %x[{zeros}] : memref<{src}x{ty}>, vector<{src}x{ty}>
  %r = {op}
  vector.store %r, %o[{zeros_out}] : memref<{dst}x{out}>, vector<{dst}x{out}>""",
    )


@pytest.mark.parametrize(
    ("source", "result", "op"),
    [
        ((8,), (2, 8), "vector.broadcast %v : vector<8xf32> to vector<2x8xf32>"),
        ((2, 1), (2, 4), "vector.broadcast %v : vector<2x1xf32> to vector<2x4xf32>"),
        ((1, 4), (3, 4), "vector.broadcast %v : vector<1x4xf32> to vector<3x4xf32>"),
        ((2, 4), (3, 2, 4), "vector.broadcast %v : vector<2x4xf32> to vector<3x2x4xf32>"),
        ((2, 1, 4), (2, 3, 4), "vector.broadcast %v : vector<2x1x4xf32> to vector<2x3x4xf32>"),
        ((2, 3, 4), (3, 4), "vector.extract %v[1] : vector<3x4xf32> from vector<2x3x4xf32>"),
        ((2, 3, 4), (4,), "vector.extract %v[1, 2] : vector<4xf32> from vector<2x3x4xf32>"),
        ((8,), (4,), "vector.shuffle %v, %v [0, 9, 2, 15] : vector<8xf32>, vector<8xf32>"),
        ((2, 4), (3, 4), "vector.shuffle %v, %v [3, 0, 1] : vector<2x4xf32>, vector<2x4xf32>"),
        ((4, 4), (4, 4), "vector.transpose %v, [1, 0] : vector<4x4xf32> to vector<4x4xf32>"),
        ((16, 16), (16, 16), "vector.transpose %v, [1, 0] : vector<16x16xf32> to vector<16x16xf32>"),
        ((2, 4), (4, 2), "vector.transpose %v, [1, 0] : vector<2x4xf32> to vector<4x2xf32>"),
        ((2, 3, 4), (3, 2, 4), "vector.transpose %v, [1, 0, 2] : vector<2x3x4xf32> to vector<3x2x4xf32>"),
        ((2, 3, 4), (4, 2, 3), "vector.transpose %v, [2, 0, 1] : vector<2x3x4xf32> to vector<4x2x3xf32>"),
        ((2, 8), (4, 4), "vector.shape_cast %v : vector<2x8xf32> to vector<4x4xf32>"),
        ((4, 4), (16,), "vector.shape_cast %v : vector<4x4xf32> to vector<16xf32>"),
        ((16,), (2, 8), "vector.shape_cast %v : vector<16xf32> to vector<2x8xf32>"),
        ((2, 6), (3, 4), "vector.shape_cast %v : vector<2x6xf32> to vector<3x4xf32>"),
        ((8,), (8,), "arith.negf %v : vector<8xf32>"),
        ((2, 4), (2, 4), "arith.addf %v, %v : vector<2x4xf32>"),
        ((2, 4), (2, 4), "vector.fma %v, %v, %v : vector<2x4xf32>"),
        ((3,), (3,), "arith.mulf %v, %v : vector<3xf32>"),
        ((8, 8), (2, 3),
         "vector.extract_strided_slice %v {offsets = [1, 2], sizes = [2, 3], strides = [1, 1]} "
         ": vector<8x8xf32> to vector<2x3xf32>"),
    ],
)  # fmt: skip
def test_shapes(check, source, result, op):
    check(one(source, result, op), "f", [floats(*source), np.zeros(result, np.float32)])


@pytest.mark.parametrize("kind", ["add", "mul", "minnumf", "maxnumf", "minimumf", "maximumf"])
@pytest.mark.parametrize("acc", [False, True])
def test_float_reduction(check, kind, acc):
    """Without reassociation the order is that of the lanes, so every bit is given."""
    extra, types = (", %a", "") if acc else ("", "")
    text = function(
        "%x: memref<16xf32>, %o: memref<1xf32>",
        f"""  %v = vector.load %x[%c0] : memref<16xf32>, vector<16xf32>
  %a = memref.load %x[%c3] : memref<16xf32>
  %r = vector.reduction <{kind}>, %v{extra} : vector<16xf32> into f32{types}
  memref.store %r, %o[%c0] : memref<1xf32>""",
    )
    rng = np.random.default_rng(1)
    for x in (rng.standard_normal(16), rng.standard_normal(16) * 1e20, np.ones(16) / 3):
        check(text, "f", [x.astype(np.float32), np.zeros(1, np.float32)])


def test_float_reduction_nan(check):
    for kind in ("minimumf", "maximumf", "minnumf", "maxnumf", "add"):
        text = function(
            "%x: memref<4xf32>, %o: memref<1xf32>",
            f"""  %v = vector.load %x[%c0] : memref<4xf32>, vector<4xf32>
  %r = vector.reduction <{kind}>, %v : vector<4xf32> into f32
  memref.store %r, %o[%c0] : memref<1xf32>""",
        )
        check(text, "f", [np.array([1, np.nan, 3, -2], np.float32), np.zeros(1, np.float32)])


@pytest.mark.parametrize("kind", ["add", "mul", "and", "or", "xor", "minsi", "maxsi", "minui", "maxui"])
def test_int_reduction(check, kind):
    text = function(
        "%x: memref<8xi32>, %o: memref<2xi32>",
        f"""  %v = vector.load %x[%c0] : memref<8xi32>, vector<8xi32>
  %a = memref.load %x[%c2] : memref<8xi32>
  %r = vector.reduction <{kind}>, %v : vector<8xi32> into i32
  %s = vector.reduction <{kind}>, %v, %a : vector<8xi32> into i32
  memref.store %r, %o[%c0] : memref<2xi32>
  memref.store %s, %o[%c1] : memref<2xi32>""",
    )
    check(text, "f", [np.array([3, -5, 7, 2**31 - 1, -(2**31), 12, -1, 9], np.int32), np.zeros(2, np.int32)])


def test_half_reduction_is_wide(parse, native):
    """16-bit floats are summed in f32 and rounded once at the end."""
    text = function(
        "%x: memref<16xf16>, %o: memref<1xf16>",
        """  %v = vector.load %x[%c0] : memref<16xf16>, vector<16xf16>
  %r = vector.reduction <add>, %v : vector<16xf16> into f16
  memref.store %r, %o[%c0] : memref<1xf16>""",
    )
    x = (np.arange(16) / 7).astype(np.float16)
    out = np.zeros(1, np.float16)
    native(parse(text), "f")(x, out)
    assert out[0] == np.float16(np.add.accumulate(x.astype(np.float32))[-1])


def test_extract_and_insert_lanes(check):
    text = function(
        "%x: memref<2x8xf32>, %o: memref<2x8xf32>, %n: index",
        """  %v = vector.load %x[%c0, %c0] : memref<2x8xf32>, vector<2x8xf32>
  %a = vector.extract %v[1, 3] : f32 from vector<2x8xf32>
  %row = vector.extract %v[0] : vector<8xf32> from vector<2x8xf32>
  %b = vector.extract %row[%n] : f32 from vector<8xf32>
  %s = arith.addf %a, %b : f32
  %w = vector.insert %s, %v [0, 2] : f32 into vector<2x8xf32>
  %r2 = vector.insert %a, %row [%n] : f32 into vector<8xf32>
  %z = vector.insert %r2, %w [1] : vector<8xf32> into vector<2x8xf32>
  vector.store %z, %o[%c0, %c0] : memref<2x8xf32>, vector<2x8xf32>""",
    )
    for n in (0, 5, 7):
        check(text, "f", [floats(2, 8), np.zeros((2, 8), np.float32), n])


def test_masked_memory(check):
    text = function(
        "%x: memref<3x20xf32>, %o: memref<3x20xf32>, %n: index",
        """  %m = vector.create_mask %n : vector<16xi1>
  %p = arith.constant dense<-1.0> : vector<16xf32>
  scf.for %i = %c0 to %c3 step %c1 {
    %v = vector.maskedload %x[%i, %c2], %m, %p : memref<3x20xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
    vector.maskedstore %o[%i, %c1], %m, %v : memref<3x20xf32>, vector<16xi1>, vector<16xf32>
    %e = vector.extract %v[15] : f32 from vector<16xf32>
    memref.store %e, %o[%i, %c0] : memref<3x20xf32>
  }""",
    )
    for n in (0, 1, 7, 15, 16, 100, -3):
        check(text, "f", [floats(3, 20), np.zeros((3, 20), np.float32), n])


def test_constant_masks_and_rows_of_masks(check):
    text = function(
        "%o: memref<3x4xi1>, %p: memref<2x4xi1>, %n: index",
        """  %m = vector.create_mask %c2, %n : vector<3x4xi1>
  vector.store %m, %o[%c0, %c0] : memref<3x4xi1>, vector<3x4xi1>
  %k = vector.constant_mask [1, 3] : vector<2x4xi1>
  vector.store %k, %p[%c0, %c0] : memref<2x4xi1>, vector<2x4xi1>""",
    )
    for n in (0, 2, 4):
        check(text, "f", [np.zeros((3, 4), bool), np.zeros((2, 4), bool), n])


def test_transfers(check):
    """A transfer that may run over the end reads padding there and writes nothing."""
    text = """
#rows = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d1)>
""" + function(
        "%x: memref<3x?xf32>, %o: memref<3x?xf32>",
        """  %pad = arith.constant 9.0 : f32
  %n = memref.dim %x, %c1 : memref<3x?xf32>
  scf.for %j = %c0 to %n step %c8 {
    %v = vector.transfer_read %x[%c1, %j], %pad {in_bounds = [false], permutation_map = #row} :
      memref<3x?xf32>, vector<8xf32>
    %w = arith.addf %v, %v : vector<8xf32>
    vector.transfer_write %w, %o[%c1, %j] {in_bounds = [false], permutation_map = #row} : vector<8xf32>, memref<3x?xf32>
  }
  %a = vector.transfer_read %x[%c0, %c0], %pad {in_bounds = [true, false], permutation_map = #rows} :
    memref<3x?xf32>, vector<2x4xf32>
  vector.transfer_write %a, %o[%c0, %c1] {in_bounds = [true, false], permutation_map = #rows} :
    vector<2x4xf32>, memref<3x?xf32>""",
    )
    for n in (1, 5, 8, 9, 17):
        check(text, "f", [floats(3, n), np.zeros((3, n), np.float32)])


def test_gather_and_scatter(check):
    text = function(
        "%x: memref<4x8xf32>, %i: memref<8xi32>, %m: memref<8xi1>, %o: memref<4x8xf32>",
        """  %ix = vector.load %i[%c0] : memref<8xi32>, vector<8xi32>
  %mask = vector.load %m[%c0] : memref<8xi1>, vector<8xi1>
  %p = arith.constant dense<-3.0> : vector<8xf32>
  %v = vector.gather %x[%c1, %c0] [%ix], %mask, %p :
    memref<4x8xf32>, vector<8xi32>, vector<8xi1>, vector<8xf32> into vector<8xf32>
  vector.store %v, %o[%c3, %c0] : memref<4x8xf32>, vector<8xf32>
  vector.scatter %o[%c0, %c0] [%ix], %mask, %v : memref<4x8xf32>, vector<8xi32>, vector<8xi1>, vector<8xf32>""",
    )
    index = np.array([7, 0, 3, 1, 6, 2, 5, 4], np.int32)
    mask = np.array([1, 1, 0, 1, 0, 1, 1, 1], bool)
    check(text, "f", [floats(4, 8), index, mask, np.zeros((4, 8), np.float32)])


def test_bitcast_step_select(check):
    text = function(
        "%x: memref<8xf32>, %o: memref<8xi32>, %p: memref<16xi16>, %q: memref<8xindex>, %r: memref<8xf32>",
        """  %v = vector.load %x[%c0] : memref<8xf32>, vector<8xf32>
  %b = vector.bitcast %v : vector<8xf32> to vector<8xi32>
  vector.store %b, %o[%c0] : memref<8xi32>, vector<8xi32>
  %h = vector.bitcast %v : vector<8xf32> to vector<16xi16>
  vector.store %h, %p[%c0] : memref<16xi16>, vector<16xi16>
  %s = vector.step : vector<8xindex>
  vector.store %s, %q[%c0] : memref<8xindex>, vector<8xindex>
  %z = arith.constant dense<0.0> : vector<8xf32>
  %pos = arith.cmpf ogt, %v, %z : vector<8xf32>
  %w = arith.select %pos, %v, %z : vector<8xi1>, vector<8xf32>
  vector.store %w, %r[%c0] : memref<8xf32>, vector<8xf32>""",
    )
    zeros = [np.zeros(8, np.int32), np.zeros(16, np.int16), np.zeros(8, np.int64), np.zeros(8, np.float32)]
    check(text, "f", [floats(8), *zeros])


def test_bools_are_bytes_in_memory(check, parse, native):
    text = function(
        "%x: memref<16xi1>, %o: memref<16xi1>, %n: memref<1xi32>",
        """  %v = vector.load %x[%c0] : memref<16xi1>, vector<16xi1>
  %t = arith.constant dense<true> : vector<16xi1>
  %w = arith.xori %v, %t : vector<16xi1>
  vector.store %w, %o[%c0] : memref<16xi1>, vector<16xi1>
  %s = memref.load %x[%c5] : memref<16xi1>
  %e = arith.extui %s : i1 to i32
  memref.store %e, %n[%c0] : memref<1xi32>""",
    )
    check(text, "f", [np.arange(16) % 3 == 0, np.zeros(16, bool), np.zeros(1, np.int32)])
    x = np.full(16, 2, np.uint8)  # any non-zero byte is true
    out, n = np.zeros(16, np.uint8), np.zeros(1, np.int32)
    native(parse(text), "f")(x, out, n)
    assert not out.any() and n[0] == 1


def test_dense_vector_constants(check):
    text = function(
        "%o: memref<2x4xf32>, %p: memref<4xi8>",
        """  %v = arith.constant dense<[[1.0, -0.0, 0x7FC00000, 4.5],
    [5.0, 1.0e-45, 7.0, 0xFF800000]]> : vector<2x4xf32>
  vector.store %v, %o[%c0, %c0] : memref<2x4xf32>, vector<2x4xf32>
  %w = arith.constant dense<[1, -128, 127, -1]> : vector<4xi8>
  vector.store %w, %p[%c0] : memref<4xi8>, vector<4xi8>""",
    )
    check(text, "f", [np.zeros((2, 4), np.float32), np.zeros(4, np.int8)])


def _bf16_parts_of() -> np.ndarray:
    """All exponents; what rounds up to the next power of two, what lies between two of bf16, what is no number."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, (256, 2, 16), dtype=np.uint32)
    bits[::4] |= 0x7F8000
    bits[1::4] = bits[1::4] & 0xFFFF0000 | 0x8000
    bits[2] &= 0x80000000
    bits[3, 0, :6] = [0x7F800000, 0xFF800000, 0x7FC00000, 0x7FFFFFFF, 0x7F7FFFFF, 1]
    return bits.view(np.float32)


@pytest.mark.parametrize("opt_level", [0, 2])
def test_bf16_parts(parse, native, opt_level):
    text = function(
        "%x: memref<256x2x16xf32>, %o: memref<256x3x32xbf16>, %n: index",
        """  scf.for %i = %c0 to %n step %c1 {
    %a = vector.load %x[%i, %c0, %c0] : memref<256x2x16xf32>, vector<16xf32>
    %b = vector.load %x[%i, %c1, %c0] : memref<256x2x16xf32>, vector<16xf32>
    %p, %q, %r = "linalg_ext.bf16_parts"(%a, %b)
      : (vector<16xf32>, vector<16xf32>) -> (vector<32xbf16>, vector<32xbf16>, vector<32xbf16>)
    vector.store %p, %o[%i, %c0, %c0] : memref<256x3x32xbf16>, vector<32xbf16>
    vector.store %q, %o[%i, %c1, %c0] : memref<256x3x32xbf16>, vector<32xbf16>
    vector.store %r, %o[%i, %c2, %c0] : memref<256x3x32xbf16>, vector<32xbf16>
  }""",
    )
    module, x, out = parse(text), _bf16_parts_of(), np.zeros((256, 3, 32), np.uint16)
    _, after = run_function(module, "f", [x, np.array(out), 256])
    native(module, "f", opt_level=opt_level)(x, out, 256)
    got = (out.astype(np.uint32) << 16).view(np.float32)
    assert same_bits(got, np.asarray(after[1], np.float32))
    assert np.isnan(got).any() and np.isinf(got).any()


def test_refusals(parse, native):
    huge = function(
        "%x: memref<1048576xf32>, %o: memref<1048576xf32>",
        """  %v = vector.load %x[%c0] : memref<1048576xf32>, vector<1048576xf32>
  vector.store %v, %o[%c0] : memref<1048576xf32>, vector<1048576xf32>""",
    )
    with pytest.raises(LimitError, match="too large"):
        native(parse(huge), "f")
    strided = function(
        "%x: memref<4x4xf32, strided<[1, 4]>>, %o: memref<4xf32>",
        """  %v = vector.load %x[%c0, %c0] : memref<4x4xf32, strided<[1, 4]>>, vector<4xf32>
  vector.store %v, %o[%c0] : memref<4xf32>, vector<4xf32>""",
    )
    with pytest.raises(UnsupportedError, match="not contiguous"):
        native(parse(strided), "f")
