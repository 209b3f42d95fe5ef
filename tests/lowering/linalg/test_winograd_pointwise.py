"""1x1 convolutions by Winograd's inner product against float64: interpreted and native, strides, batches, odd
numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from mlc.backends.machine import preset
from mlc.driver import compile_module
from mlc.interp import run_module
from mlc.ir.context import MlcContext, make_context
from mlc.ir.parsing import parse_text
from mlc.ir.pipeline import make_pass, run_pipeline
from mlc.ir.pipeline_table import MODULE_ROWS
from mlc.lowering.linalg import linalg_winograd_pointwise
from mlc.lowering.linalg.linalg_winograd_pointwise import GAIN, LinalgWinogradPointwise, cost
from mlc.options import Options
from tests.targets import runnable

ID = "affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>"
PARALLEL = 'iterator_types = ["parallel", "parallel", "parallel", "parallel"]'
PASS = "linalg-winograd-pointwise"
Shape = tuple[int, int, int, int, int, int]  # images, channels, filters, height, width, stride


def program(n: int, c: int, f: int, h: int, w: int, stride: int) -> str:
    """Convolution, bias, a residual, relu; all of it once more in an image with a border."""
    x, (oh, ow) = f"tensor<{n}x{c}x{h}x{w}xf32>", ((h - 1) // stride + 1, (w - 1) // stride + 1)
    y, p = f"tensor<{n}x{f}x{oh}x{ow}xf32>", f"tensor<{n}x{f}x{oh + 2}x{ow + 2}xf32>"
    return f"""
func.func @forward(%x: {x}, %r: {y}) -> {p} {{
  %w = arith.constant dense_resource<w> : tensor<{f}x{c}x1x1xf32>
  %b = arith.constant dense_resource<b> : tensor<{f}xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : {y}
  %z = linalg.fill ins(%zero : f32) outs(%e : {y}) -> {y}
  %c = linalg.conv_2d_nchw_fchw {{dilations = dense<1> : tensor<2xi64>, strides = dense<{stride}> : tensor<2xi64>}}
    ins(%x, %w : {x}, tensor<{f}x{c}x1x1xf32>) outs(%z : {y}) -> {y}
  %s = linalg.generic {{indexing_maps = [{ID}, {ID}, affine_map<(d0, d1, d2, d3) -> (d1)>, {ID}], {PARALLEL}}}
    ins(%c, %r, %b : {y}, {y}, tensor<{f}xf32>) outs(%e : {y}) {{
  ^bb0(%a: f32, %res: f32, %bias: f32, %o: f32):
    %0 = arith.addf %a, %bias : f32
    %1 = arith.addf %0, %res : f32
    %2 = arith.maximumf %1, %zero : f32
    linalg.yield %2 : f32
  }} -> {y}
  %p = tensor.pad %s low[0, 0, 1, 1] high[0, 0, 1, 1] {{
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield %zero : f32
  }} : {y} to {p}
  func.return %p : {p}
}}"""


Data = tuple[list[np.ndarray], np.ndarray, np.ndarray]


def data(n: int, c: int, f: int, h: int, w: int, stride: int) -> Data:
    """Inputs, filters, bias."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, c, h, w)).astype(np.float32)
    r = rng.standard_normal((n, f, (h - 1) // stride + 1, (w - 1) // stride + 1)).astype(np.float32)
    weights = (rng.standard_normal((f, c, 1, 1)) / np.sqrt(c)).astype(np.float32)
    return [x, r], weights, rng.standard_normal(f).astype(np.float32)


def exact(given: Data, stride: int) -> np.ndarray:
    """The result in float64."""
    (x, r), weights, bias = given
    with np.errstate(invalid="ignore"):
        y = np.einsum("nchw,fc->nfhw", x[:, :, ::stride, ::stride].astype(np.float64), weights[:, :, 0, 0])
        y = np.maximum(y + bias[:, None, None] + r, 0)
    return np.pad(y, ((0, 0), (0, 0), (1, 1), (1, 1)))


def context(given: Data) -> MlcContext:
    ctx = make_context()
    ctx.resources.set("w", given[1])
    ctx.resources.set("b", given[2])
    return ctx


def to_buffers(module: ModuleOp, ctx: MlcContext, **pointwise: object) -> None:
    """Every pass of the module rows, with blocks of 8 channels and these options of the pass."""
    names = [
        row.pass_name for row in MODULE_ROWS if row.level != "torch" and row.pass_name != "convert-torch-to-linalg"
    ]
    options: dict[str, dict[str, object]] = {"linalg-block-layouts": {"block": 8}, PASS: pointwise}
    run_pipeline([make_pass(name, options.get(name, {})) for name in names], ctx, module)


def native(shape: Shape, given: Data, monkeypatch: pytest.MonkeyPatch, **options: object):
    """Compiled, Winograd's wherever that is possible."""
    monkeypatch.setattr(LinalgWinogradPointwise, "limit", lambda *_: 1 << 20)
    for least in ("LEAST_SAVED", "LEAST_PART"):
        monkeypatch.setattr(linalg_winograd_pointwise, least, -(1 << 40))
    ctx = context(given)
    compiled = compile_module(parse_text(program(*shape), ctx), ctx, Options(cache_dir="", **options))  # pyright: ignore[reportArgumentType]
    assert [r.kind for r in ctx.remarks if r.pass_name == PASS] == ["applied"]
    return ctx, compiled


SHAPES: list[Shape] = [
    (1, 8, 8, 1, 1, 1),  # one pixel
    (1, 16, 8, 3, 4, 1),  # two pieces, several rows of pixels in a tile
    (2, 8, 16, 2, 23, 1),  # parts of rows of pixels, the last one smaller
    (1, 24, 8, 5, 6, 2),  # every second pixel
    (2, 8, 8, 7, 7, 3),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_interpreted_before_and_after_expansion(shape: Shape):
    given = data(*shape)
    ctx = context(given)
    module = parse_text(program(*shape), ctx)
    to_buffers(module, ctx, gain=1 << 20, depth=8)
    assert "linalg_ext.winograd_matmul" in {op.name for op in module.walk()}
    (y,) = run_module(module, "forward", given[0], resources=ctx.resources)
    np.testing.assert_allclose(y, exact(given, shape[-1]), atol=1e-5)
    make_pass("expand-winograd-matmul", {}).apply(ctx, module)
    assert "linalg_ext.winograd_matmul" not in {op.name for op in module.walk()}
    (z,) = run_module(module, "forward", given[0], resources=ctx.resources)
    np.testing.assert_allclose(z, exact(given, shape[-1]), atol=1e-5)


@pytest.mark.parametrize(
    "shape",
    [
        (1, 64, 96, 14, 14, 1),
        (1, 512, 128, 7, 7, 1),
        (2, 32, 160, 9, 27, 1),
        (1, 256, 64, 13, 55, 1),
        (1, 96, 96, 28, 28, 2),
    ],
    ids=str,
)
def test_native(shape: Shape, monkeypatch: pytest.MonkeyPatch):
    given = data(*shape)
    ctx, compiled = native(shape, given, monkeypatch)
    assert not [r for r in ctx.remarks if r.pass_name == "vectorize-structured" and r.kind == "missed"]
    (y,) = compiled.run(given[0])
    np.testing.assert_allclose(y, exact(given, shape[-1]), atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 1e-30, 0.0])
def test_a_pixel_that_cannot_be_scaled_spoils_no_other(value: float, monkeypatch: pytest.MonkeyPatch):
    shape = (1, 64, 96, 14, 14, 1)
    given = data(*shape)
    _, compiled = native(shape, given, monkeypatch)
    (x, _), _, _ = given
    x[0, :, 3, 5] = value
    x[0, 7, 9, 13] = value
    wanted = exact(given, 1)
    (y,) = compiled.run(given[0])
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
    np.testing.assert_allclose(y, wanted, atol=1e-5, rtol=1e-5)


def test_filters_that_cannot_be_scaled(monkeypatch: pytest.MonkeyPatch):
    shape = (1, 32, 64, 7, 9, 1)
    given = data(*shape)
    given[1][5] = 0
    given[1][17, 3] = np.inf
    given[1][40] *= 1e-6
    _, compiled = native(shape, given, monkeypatch)
    wanted = exact(given, 1)
    (y,) = compiled.run(given[0])
    np.testing.assert_allclose(y, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 128, 256, 14, 14, 1), (2, 256, 128, 28, 28, 1)], ids=str)
def test_the_same_bits_on_two_threads(shape: Shape, monkeypatch: pytest.MonkeyPatch):
    given = data(*shape)
    results: list[np.ndarray] = []
    for threads in (1, 2):
        ctx, compiled = native(shape, given, monkeypatch, num_threads=threads)
        assert [r for r in ctx.remarks if r.pass_name == "scf-parallel-outline" and r.kind == "applied"]
        results += [compiled.run(given[0])[0] for _ in range(3)]
    for y in results[1:]:
        np.testing.assert_array_equal(y, results[0])


@pytest.mark.parametrize("target", runnable("x86-64-avx2", "x86-64-sse2"))
def test_other_machines_keep_them_direct(target: str):
    shape = (1, 128, 128, 14, 14, 1)
    given = data(*shape)
    ctx = context(given)
    compile_module(parse_text(program(*shape), ctx), ctx, Options(cache_dir="", target=target))
    reasons = [r.reason for r in ctx.remarks if r.pass_name == PASS and r.kind == "missed"]
    assert reasons == ["additions take the place of multiply-adds"]


def test_blocks_that_do_not_fill_a_vector_stay_direct():
    """120 filters are blocks of 8."""
    shape = (1, 512, 120, 14, 14, 1)
    given = data(*shape)
    ctx = context(given)
    ctx.machine = replace(preset("x86-64-avx512"), adds_beside_fma=True)
    module = parse_text(program(*shape), ctx)
    to_buffers(module, ctx)
    reasons = [r.reason for r in ctx.remarks if r.pass_name == PASS and r.kind == "missed"]
    assert reasons == ["blocks of 8 filters do not fill a vector"]


@pytest.mark.parametrize(
    ("filters", "least", "part", "taken"),
    [(128, 3_000_000, 0.0, False), (2048, 3_000_000, 0.0, True), (2048, 0, 0.5, False), (2048, 0, 0.1, True)],
)
def test_a_kernel_that_saves_little_is_not_worth_compiling(
    filters: int, least: int, part: float, taken: bool, monkeypatch: pytest.MonkeyPatch
):
    """All take less than nine tenths of the direct time. `least`: cycles to save; `part`: of those of all."""
    monkeypatch.setattr(linalg_winograd_pointwise, "LEAST_SAVED", least)
    monkeypatch.setattr(linalg_winograd_pointwise, "LEAST_PART", part)
    shape = (1, 1024, filters, 14, 14, 1)
    ctx = context(data(*shape))
    ctx.machine = replace(preset("x86-64-avx512"), adds_beside_fma=True)
    module = parse_text(program(*shape), ctx)
    run_pipeline([make_pass(name) for name in ("linalg-block-layouts", PASS)], ctx, module)
    assert cost(1024, filters, 196, 16, 16) < GAIN
    (remark,) = [r for r in ctx.remarks if r.pass_name == PASS]
    assert remark.kind == "applied" if taken else "would save" in remark.reason


def test_what_is_estimated():
    """Preparing a pixel costs the same for few filters and for many."""
    assert cost(128, 512, 784, 16, 16) < GAIN < cost(144, 32, 3136, 16, 16)
    assert cost(16, 96, 12544, 16, 16) > 100  # few channels: the work per pixel is not paid for
    assert cost(512, 512, 4, 16, 16) > 100  # few pixels: multiply-adds wait for each other
    costs = [cost(256, filters, 196, 16, 16) for filters in (32, 64, 128, 256, 512)]
    assert costs == sorted(costs, reverse=True)
