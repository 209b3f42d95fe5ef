"""Structured ops, slices and layouts against numpy and torch, bit for bit where the order of additions is defined."""

from __future__ import annotations

import numpy as np
import pytest

from mlc.errors import ExecutionError
from mlc.interp import evaluate_constant
from mlc.ir.resources import ResourceStore

RNG = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def bits(x: np.ndarray) -> list[int]:
    return x.reshape(-1).view(np.int32).tolist()


def test_matmul_adds_in_loop_order(run):
    text = """func.func @f(%a: tensor<3x20xf32>, %b: tensor<20x5xf32>, %c: tensor<3x5xf32>) -> tensor<3x5xf32> {
      %r = linalg.matmul ins(%a, %b : tensor<3x20xf32>, tensor<20x5xf32>) outs(%c : tensor<3x5xf32>) -> tensor<3x5xf32>
      func.return %r : tensor<3x5xf32>
    }"""
    a, b, c = floats(3, 20), floats(20, 5), floats(3, 5)
    want = c.copy()
    for i in range(3):
        for j in range(5):
            for k in range(20):
                want[i, j] = want[i, j] + a[i, k] * b[k, j]
    assert bits(run(text, a, b, c)[0]) == bits(want)


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_convolution(run, stride: int, dilation: int):
    torch = pytest.importorskip("torch")
    x, w = floats(2, 3, 9, 8), floats(4, 3, 3, 2)
    want = torch.conv2d(
        torch.from_numpy(x).double(), torch.from_numpy(w).double(), stride=stride, dilation=dilation
    ).numpy()
    t = "x".join(map(str, want.shape)) + "xf32"
    attrs = f"dilations = dense<{dilation}> : tensor<2xi64>, strides = dense<{stride}> : tensor<2xi64>"
    text = f"""func.func @f(%x: tensor<2x3x9x8xf32>, %w: tensor<4x3x3x2xf32>, %o: tensor<{t}>) -> tensor<{t}> {{
      %r = linalg.conv_2d_nchw_fchw {{{attrs}}} ins(%x, %w : tensor<2x3x9x8xf32>, tensor<4x3x3x2xf32>)
        outs(%o : tensor<{t}>) -> tensor<{t}>
      func.return %r : tensor<{t}>
    }}"""
    got = run(text, x, w, np.zeros(want.shape, np.float32))[0]
    assert np.max(np.abs(got - want)) < 1e-5
    acc = np.zeros(want.shape, np.float32)
    for c in range(3):
        for kh in range(3):
            for kw in range(2):
                h, v = kh * dilation, kw * dilation
                window = x[:, c, h : h + stride * want.shape[2] : stride, v : v + stride * want.shape[3] : stride]
                acc = acc + window[:, None][..., : want.shape[2], : want.shape[3]] * w[None, :, c, kh, kw, None, None]
    assert bits(got) == bits(acc)


GENERIC = """func.func @f(%x: tensor<{s}xf32>, %o: tensor<{o}xf32>) -> tensor<{o}xf32> {{
  %r = linalg.generic {{indexing_maps = [affine_map<{m}>, affine_map<{n}>], iterator_types = [{it}]}}
    ins(%x : tensor<{s}xf32>) outs(%o : tensor<{o}xf32>) {{
  ^bb0(%a: f32, %b: f32):
    %c = {body}
    linalg.yield %c : f32
  }} -> tensor<{o}xf32>
  func.return %r : tensor<{o}xf32>
}}"""


@pytest.mark.parametrize("rows", [3, 9000])
def test_row_sums_in_order_by_both_ways(run, rows: int):
    """Few rows take the accumulate path, many the step-by-step one; both are the loop nest."""
    x = floats(rows, 50)
    text = GENERIC.format(
        s=f"{rows}x50", o=f"{rows}", m="(i, j) -> (i, j)", n="(i, j) -> (i)", it='"parallel", "reduction"',
        body="arith.addf %a, %b : f32",
    )  # fmt: skip
    want = np.full(rows, np.float32(0.5))
    for j in range(50):
        want = want + x[:, j]
    assert bits(run(text, x, np.full(rows, np.float32(0.5)))[0]) == bits(want)


def test_maximum_with_nan_and_zeros(run):
    x = np.array([[-0.0, 0.0, -0.0, -1, -2], [np.nan, 1, 2, 3, 4], [-np.inf] * 5, [-0.0] * 5], np.float32)
    text = GENERIC.format(
        s="4x5", o="4", m="(i, j) -> (i, j)", n="(i, j) -> (i)", it='"parallel", "reduction"',
        body="arith.maximumf %a, %b : f32",
    )  # fmt: skip
    got = run(text, x, np.full(4, np.float32(-np.inf)))[0]
    assert got[0] == 0 and not np.signbit(got[0]) and np.isnan(got[1]) and got[2] == -np.inf and np.signbit(got[3])


def test_maps_with_constants_strides_and_division(run):
    x = floats(9)
    text = GENERIC.format(
        s="9", o="4x2", m="(i, j) -> (i * 2 + j)", n="(i, j) -> (i, j)", it='"parallel", "parallel"',
        body="arith.addf %a, %b : f32",
    )  # fmt: skip
    o = floats(4, 2)
    assert bits(run(text, x, o)[0]) == bits(x[:8].reshape(4, 2) + o)
    text = GENERIC.format(
        s="3x3",
        o="9",
        m="(i) -> (i floordiv 3, i mod 3)",
        n="(i) -> (i)",
        it='"parallel"',
        body="arith.addf %a, %b : f32",
    )
    o = floats(9)
    assert bits(run(text, x.reshape(3, 3), o)[0]) == bits(x + o)


def test_body_reads_index_and_gathers(run):
    text = """func.func @f(%t: tensor<5x3xf32>, %i: tensor<4xi64>, %o: tensor<4x3xf32>) -> tensor<4x3xf32> {
      %r = linalg.generic {indexing_maps = [affine_map<(a, b) -> (a)>, affine_map<(a, b) -> (a, b)>],
        iterator_types = ["parallel", "parallel"]} ins(%i : tensor<4xi64>) outs(%o : tensor<4x3xf32>) {
      ^bb0(%k: i64, %old: f32):
        %row = arith.index_cast %k : i64 to index
        %col = linalg.index 1 : index
        %v = tensor.extract %t[%row, %col] : tensor<5x3xf32>
        linalg.yield %v : f32
      } -> tensor<4x3xf32>
      func.return %r : tensor<4x3xf32>
    }"""
    t, i = floats(5, 3), np.array([4, 0, 0, 2])
    assert bits(run(text, t, i, floats(4, 3))[0]) == bits(t[i])
    with pytest.raises(ExecutionError, match=r"tensor\.extract.*outside"):
        run(text, t, np.array([4, 0, -1, 2]), floats(4, 3))


def test_body_with_control_flow_runs_point_by_point(run):
    text = """func.func @f(%x: tensor<2x3xf32>, %o: tensor<2x3xf32>) -> tensor<2x3xf32> {
      %r = linalg.generic {indexing_maps = [affine_map<(a, b) -> (a, b)>, affine_map<(a, b) -> (a, b)>],
        iterator_types = ["parallel", "parallel"]} ins(%x : tensor<2x3xf32>) outs(%o : tensor<2x3xf32>) {
      ^bb0(%v: f32, %old: f32):
        %z = arith.constant 0.0 : f32
        %neg = arith.cmpf olt, %v, %z : f32
        %w = scf.if %neg -> (f32) {
          %e = math.exp %v : f32
          scf.yield %e : f32
        } else {
          scf.yield %v : f32
        }
        linalg.yield %w : f32
      } -> tensor<2x3xf32>
      func.return %r : tensor<2x3xf32>
    }"""
    x = floats(2, 3)
    assert np.allclose(run(text, x, x)[0], np.where(x < 0, np.exp(x), x), rtol=1e-6)


def test_zero_sized_dims(run):
    text = GENERIC.format(
        s="2x0",
        o="2",
        m="(i, j) -> (i, j)",
        n="(i, j) -> (i)",
        it='"parallel", "reduction"',
        body="arith.addf %a, %b : f32",
    )
    o = floats(2)
    assert bits(run(text, floats(2, 0), o)[0]) == bits(o)


def test_pack_unpack_round_trip_and_values(run):
    text = """func.func @f(%x: tensor<5x7xf32>, %z: f32, %p: tensor<4x2x2x3xf32>, %o: tensor<5x7xf32>)
        -> (tensor<4x2x2x3xf32>, tensor<5x7xf32>) {
      %0 = linalg.pack %x padding_value(%z : f32) outer_dims_perm = [1, 0] inner_dims_pos = [1, 0] inner_tiles = [2, 3]
        into %p : tensor<5x7xf32> -> tensor<4x2x2x3xf32>
      %1 = linalg.unpack %0 outer_dims_perm = [1, 0] inner_dims_pos = [1, 0] inner_tiles = [2, 3]
        into %o : tensor<4x2x2x3xf32> -> tensor<5x7xf32>
      func.return %0, %1 : tensor<4x2x2x3xf32>, tensor<5x7xf32>
    }"""
    x = floats(5, 7)
    packed, back = run(text, x, np.float32(9), np.zeros((4, 2, 2, 3), np.float32), np.zeros((5, 7), np.float32))
    assert bits(back) == bits(x)
    for co, ro, ci, ri in np.ndindex(4, 2, 2, 3):
        r, c = ro * 3 + ri, co * 2 + ci
        assert packed[co, ro, ci, ri] == (x[r, c] if r < 5 and c < 7 else 9)


def test_softmax_pad_slice_concat(run):
    text = """func.func @f(%x: tensor<3x4xf32>) -> (tensor<3x4xf32>, tensor<5x7xf32>, tensor<2xf32>, tensor<3x8xf32>) {
      %e = tensor.empty() : tensor<3x4xf32>
      %s = linalg.softmax dimension(1) ins(%x : tensor<3x4xf32>) outs(%e : tensor<3x4xf32>) -> tensor<3x4xf32>
      %z = arith.constant 2.0 : f32
      %p = tensor.pad %x low[1, 0] high[1, 3] {
      ^bb0(%i: index, %j: index):
        tensor.yield %z : f32
      } : tensor<3x4xf32> to tensor<5x7xf32>
      %w = tensor.extract_slice %x[1, 0] [1, 2] [1, 3] : tensor<3x4xf32> to tensor<2xf32>
      %c = tensor.concat dim(1) %x, %s : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x8xf32>
      func.return %s, %p, %w, %c : tensor<3x4xf32>, tensor<5x7xf32>, tensor<2xf32>, tensor<3x8xf32>
    }"""
    x = floats(3, 4)
    s, p, w, c = run(text, x)
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    assert np.allclose(s, e / e.sum(1, keepdims=True), rtol=1e-6)
    assert bits(p) == bits(np.pad(x, ((1, 1), (0, 3)), constant_values=2))
    assert bits(w) == bits(x[1, 0::3].copy()) and bits(c) == bits(np.concatenate([x, s], 1))


def test_slices_that_leave_the_tensor_are_refused(run):
    text = """func.func @f(%x: tensor<4xf32>, %o: index) -> tensor<2xf32> {
      %r = tensor.extract_slice %x[%o] [2] [1] : tensor<4xf32> to tensor<2xf32>
      func.return %r : tensor<2xf32>
    }"""
    assert run(text, floats(4), np.int64(2))[0].shape == (2,)
    with pytest.raises(ExecutionError, match="outside size 4"):
        run(text, floats(4), np.int64(3))


def test_constants_from_weights(parse):
    module = parse("""func.func private @const.w() -> tensor<2x3x2xf32> attributes {constant} {
      %w = arith.constant dense_resource<w> : tensor<4x3xf32>
      %e = tensor.empty() : tensor<2x3x2xf32>
      %p = linalg.pack %w inner_dims_pos = [0] inner_tiles = [2] into %e : tensor<4x3xf32> -> tensor<2x3x2xf32>
      func.return %p : tensor<2x3x2xf32>
    }""")
    store = ResourceStore()
    w = floats(4, 3)
    store.add("w", w)
    assert bits(evaluate_constant(module, "const.w", store)) == bits(w.reshape(2, 2, 3).transpose(0, 2, 1).copy())


def test_bf16_constants_are_bits_as_in_the_weight_store(parse):
    module = parse("""func.func private @const.w() -> tensor<3xbf16> attributes {constant} {
      %w = arith.constant dense<[1.0, -2.5, 0.25]> : tensor<3xbf16>
      func.return %w : tensor<3xbf16>
    }""")
    got = evaluate_constant(module, "const.w", ResourceStore())
    assert got.dtype == np.uint16 and got.tolist() == [0x3F80, 0xC020, 0x3E80]


def test_reading_an_undefined_tensor_shows(run):
    text = """func.func @f() -> tensor<2xf32> {
      %e = tensor.empty() : tensor<2xf32>
      func.return %e : tensor<2xf32>
    }"""
    assert np.isnan(run(text)[0]).all()
