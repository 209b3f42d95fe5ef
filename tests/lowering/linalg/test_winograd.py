"""Convolutions by Winograd against float64: interpreted and native, every tile, whole and partial tiles, batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from mlc.dialects.scf import semantics
from mlc.driver import compile_module
from mlc.interp import run_module
from mlc.ir.context import MlcContext, make_context
from mlc.ir.parsing import parse_text
from mlc.ir.pipeline import make_pass, run_pipeline
from mlc.ir.pipeline_table import MODULE_ROWS
from mlc.lowering.linalg import linalg_winograd_conv2d
from mlc.lowering.linalg.winograd_cost import GAIN, Layer, choose, depth_of
from mlc.options import Options
from tests.targets import runnable

ID = "affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>"
PARALLEL = 'iterator_types = ["parallel", "parallel", "parallel", "parallel"]'


def program(n: int, c: int, f: int, h: int, w: int) -> str:
    """Padding, convolution, bias, a residual, relu."""
    x, y, padded = (
        f"tensor<{n}x{c}x{h}x{w}xf32>",
        f"tensor<{n}x{f}x{h}x{w}xf32>",
        f"tensor<{n}x{c}x{h + 2}x{w + 2}xf32>",
    )
    return f"""
func.func @forward(%x: {x}, %r: {y}) -> {y} {{
  %w = arith.constant dense_resource<w> : tensor<{f}x{c}x3x3xf32>
  %b = arith.constant dense_resource<b> : tensor<{f}xf32>
  %zero = arith.constant 0.0 : f32
  %p = tensor.pad %x low[0, 0, 1, 1] high[0, 0, 1, 1] {{
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield %zero : f32
  }} : {x} to {padded}
  %e = tensor.empty() : {y}
  %z = linalg.fill ins(%zero : f32) outs(%e : {y}) -> {y}
  %c = linalg.conv_2d_nchw_fchw {{dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}}
    ins(%p, %w : {padded}, tensor<{f}x{c}x3x3xf32>) outs(%z : {y}) -> {y}
  %s = linalg.generic {{indexing_maps = [{ID}, {ID}, affine_map<(d0, d1, d2, d3) -> (d1)>, {ID}], {PARALLEL}}}
    ins(%c, %r, %b : {y}, {y}, tensor<{f}xf32>) outs(%e : {y}) {{
  ^bb0(%a: f32, %res: f32, %bias: f32, %o: f32):
    %0 = arith.addf %a, %bias : f32
    %1 = arith.addf %0, %res : f32
    %2 = arith.maximumf %1, %zero : f32
    linalg.yield %2 : f32
  }} -> {y}
  func.return %s : {y}
}}"""


def data(n: int, c: int, f: int, h: int, w: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, filters, bias, and the result in float64."""
    rng = np.random.default_rng(0)
    x, r = (rng.standard_normal((n, k, h, w)).astype(np.float32) for k in (c, f))
    weights = (rng.standard_normal((f, c, 3, 3)) / np.sqrt(9 * c)).astype(np.float32)
    bias = rng.standard_normal(f).astype(np.float32)
    p = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(p, (3, 3), axis=(2, 3))
    y = np.einsum("nchwij,fcij->nfhw", windows, weights.astype(np.float64)) + bias[:, None, None] + r
    return [x, r], weights, bias, np.maximum(y, 0)


def context(weights: np.ndarray, bias: np.ndarray) -> MlcContext:
    ctx = make_context()
    ctx.resources.set("w", weights)
    ctx.resources.set("b", bias)
    return ctx


SHAPES = [
    (1, 8, 8, 8, 8),  # whole tiles
    (1, 8, 16, 7, 6),  # partial ones of 4, in both directions
    (2, 8, 8, 5, 5),  # tiles that overlap by more than half
    (4, 16, 8, 4, 4),  # images in one block
    (1, 8, 8, 16, 28),  # blocks of tile rows
]


def to_buffers(module: ModuleOp, ctx: MlcContext, **winograd: object) -> None:
    """Every pass of the module rows, with blocks of 8 channels and these options of linalg-winograd-conv2d."""
    names = [
        row.pass_name for row in MODULE_ROWS if row.level != "torch" and row.pass_name != "convert-torch-to-linalg"
    ]
    options: dict[str, dict[str, object]] = {"linalg-block-layouts": {"block": 8}, "linalg-winograd-conv2d": winograd}
    run_pipeline([make_pass(name, options.get(name, {})) for name in names], ctx, module)


WAYS = {"when compiled": 0, "one block": 1, "two blocks": 2}


@pytest.mark.parametrize("group", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("tile", [4, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_interpreted_before_and_after_expansion(shape: tuple[int, ...], tile: int, group: int):
    inputs, weights, bias, wanted = data(*shape)
    ctx = context(weights, bias)
    module = parse_text(program(*shape), ctx)
    to_buffers(module, ctx, tile=tile, group=group, depth=8)
    assert "linalg_ext.winograd_conv_2d" in {op.name for op in module.walk()}
    (y,) = run_module(module, "forward", inputs, resources=ctx.resources)
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    in_turn = module.clone()
    make_pass("expand-winograd", {}).apply(ctx, module)
    assert "linalg_ext.winograd_conv_2d" not in {op.name for op in module.walk()}
    (z,) = run_module(module, "forward", inputs, resources=ctx.resources)
    np.testing.assert_allclose(z, wanted, atol=1e-5)
    # Few registers: transforms are written one way after the other. The arithmetic is the same.
    make_pass("expand-winograd", {"vector_registers": 2}).apply(ctx, in_turn)
    assert _most_operands(in_turn) < _most_operands(module)
    (same,) = run_module(in_turn, "forward", inputs, resources=ctx.resources)
    np.testing.assert_array_equal(same, z)


def _most_operands(module: ModuleOp) -> int:
    return max(len(op.operands) for op in module.walk())


@pytest.mark.parametrize("tiles", [1, 2, 7])
@pytest.mark.parametrize("shape", [(1, 8, 8, 27, 9), (1, 8, 8, 9, 27), (2, 8, 8, 13, 15)], ids=str)
def test_blocks_run_in_any_order(shape: tuple[int, ...], tiles: int, monkeypatch: pytest.MonkeyPatch):
    """A last tile overlaps the one before it with other bits: which one is written last may not depend on threads."""
    inputs, weights, bias, wanted = data(*shape)
    ctx = context(weights, bias)
    module = parse_text(program(*shape), ctx)
    to_buffers(module, ctx, tile=4, tiles=tiles, group=0)
    (before,) = run_module(module, "forward", inputs, resources=ctx.resources)
    make_pass("expand-winograd", {}).apply(ctx, module)
    (in_order,) = run_module(module, "forward", inputs, resources=ctx.resources)
    monkeypatch.setattr(semantics, "product", lambda *ranges: reversed([*product(*ranges)]))
    (backwards,) = run_module(module, "forward", inputs, resources=ctx.resources)
    np.testing.assert_allclose(in_order, wanted, atol=1e-5)
    np.testing.assert_array_equal(backwards, in_order)
    np.testing.assert_allclose(before, in_order, atol=1e-5)


@pytest.mark.parametrize(
    "shape", [(1, 64, 32, 14, 14), (1, 192, 64, 7, 9), (2, 16, 16, 28, 28), (3, 64, 64, 6, 6)], ids=str
)
def test_native(shape: tuple[int, ...]):
    inputs, weights, bias, wanted = data(*shape)
    ctx = context(weights, bias)
    compiled = compile_module(parse_text(program(*shape), ctx), ctx, Options(cache_dir=""))
    chosen = [r for r in ctx.remarks if r.pass_name == "linalg-winograd-conv2d"]
    assert [r.kind for r in chosen] == ["applied"]
    assert not [r for r in ctx.remarks if r.pass_name == "vectorize-structured" and r.kind == "missed"]
    (y,) = compiled.run(inputs)
    np.testing.assert_allclose(y, wanted, atol=1e-5)


@contextmanager
def forced(most: int) -> Iterator[None]:
    """Every layer in this way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            linalg_winograd_conv2d,
            "choose",
            lambda layer, machine, tile, tiles, group=0: choose(layer, machine, 4, tiles, group and most),
        )
        patch.setattr(
            linalg_winograd_conv2d, "settle", lambda layers, _: [w.in_groups if most else w.held for w in layers]
        )
        yield


@pytest.mark.parametrize("group", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("shape", [(1, 64, 32, 14, 14), (1, 192, 64, 7, 9), (3, 64, 64, 6, 6)], ids=str)
def test_native_in_every_way(shape: tuple[int, ...], group: int):
    inputs, weights, bias, wanted = data(*shape)
    ctx = context(weights, bias)
    with forced(group):
        compiled = compile_module(parse_text(program(*shape), ctx), ctx, Options(cache_dir=""))
    assert not [r for r in ctx.remarks if r.pass_name == "vectorize-structured" and r.kind == "missed"]
    (y,) = compiled.run(inputs)
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    for value in SPOILERS:
        inputs, _, _, expected = spoiled(shape, value)
        weights[shape[2] // 2] = 0
        (y,) = compiled.run(inputs)
        np.testing.assert_array_equal(np.isfinite(y[:, : shape[2] // 2]), np.isfinite(expected[:, : shape[2] // 2]))


@pytest.mark.parametrize("group", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("shape", [(1, 128, 128, 14, 14), (1, 64, 64, 27, 55)], ids=str)
def test_the_same_bits_on_two_threads(shape: tuple[int, ...], group: int):
    inputs, weights, bias, _ = data(*shape)
    results: list[np.ndarray] = []
    for threads in (1, 2):
        ctx = context(weights, bias)
        with forced(group):
            options = Options(cache_dir="", num_threads=threads)
            compiled = compile_module(parse_text(program(*shape), ctx), ctx, options)
        split = [r for r in ctx.remarks if r.pass_name == "scf-parallel-outline" and r.kind == "applied"]
        assert split
        results += [compiled.run(inputs)[0] for _ in range(3)]
    for y in results[1:]:
        np.testing.assert_array_equal(y, results[0])


@pytest.mark.parametrize("target", runnable("x86-64-avx2", "x86-64-sse2"))
def test_narrower_vectors(target: str):
    shape = (1, 32, 16, 9, 10)
    inputs, weights, bias, wanted = data(*shape)
    ctx = context(weights, bias)
    compiled = compile_module(parse_text(program(*shape), ctx), ctx, Options(cache_dir="", target=target))
    (y,) = compiled.run(inputs)
    np.testing.assert_allclose(y, wanted, atol=1e-5)


SPOILERS = [np.nan, np.inf, -np.inf, 3e38, 1e37, -1e15]


def spoiled(shape: tuple[int, ...], value: float) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Inputs with `value` in one pixel, filters, bias, and the direct convolution in float32, term by term."""
    (x, r), weights, bias, _ = data(*shape)
    n, c, f, h, w = shape
    x[n - 1, c // 2, h // 2, w // 3] = value
    weights[f // 2] = 0  # infinity times zero is NaN
    p = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = np.zeros((n, f, h, w), np.float32)
    with np.errstate(all="ignore"):
        for k in range(c):
            for i in range(3):
                for j in range(3):
                    y += p[:, k, i : i + h, j : j + w][:, None] * weights[:, k, i, j][:, None, None]
        y = np.maximum(y + bias[:, None, None] + r, 0)
    return [x, r], weights, bias, y


def assert_same(y: np.ndarray, wanted: np.ndarray, value: float) -> None:
    """NaN and infinities in the same places; elsewhere as far apart as sums of such numbers are."""
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
    np.testing.assert_array_equal(np.isinf(y), np.isinf(wanted))
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)
    assert np.count_nonzero(np.abs(wanted) < 100) > wanted.size // 4, (
        "the test is about outputs beside the spoiled ones"
    )
    assert np.isnan(wanted).any() == (not np.isfinite(value))


@pytest.mark.parametrize("value", SPOILERS)
@pytest.mark.parametrize("registers", [32, 16])
@pytest.mark.parametrize(("tile", "group"), [(4, 0), (2, 0), (4, 1), (2, 1), (4, 2)])
def test_one_pixel_spoils_only_what_it_reaches_interpreted(tile: int, group: int, registers: int, value: float):
    shape = (1, 8, 16, 7, 10)
    inputs, weights, bias, wanted = spoiled(shape, value)
    ctx = context(weights, bias)
    module = parse_text(program(*shape), ctx)
    to_buffers(module, ctx, tile=tile, tiles=1, group=group)
    (y,) = run_module(module, "forward", inputs, resources=ctx.resources)
    assert_same(y, wanted, value)
    make_pass("expand-winograd", {"vector_registers": registers}).apply(ctx, module)
    (z,) = run_module(module, "forward", inputs, resources=ctx.resources)
    assert_same(z, wanted, value)


@pytest.mark.parametrize("target", runnable("native", "x86-64-avx2"))
@pytest.mark.parametrize("shape", [(1, 64, 32, 14, 14), (1, 192, 64, 7, 9), (3, 64, 64, 6, 6)], ids=str)
def test_one_pixel_spoils_only_what_it_reaches(shape: tuple[int, ...], target: str):
    _, weights, bias, _ = spoiled(shape, 1.0)
    ctx = context(weights, bias)
    compiled = compile_module(parse_text(program(*shape), ctx), ctx, Options(cache_dir="", target=target))
    assert "applied" in [r.kind for r in ctx.remarks if r.pass_name == "expand-winograd"]
    assert not [r for r in ctx.remarks if r.pass_name == "vectorize-structured" and r.kind == "missed"]
    for value in SPOILERS:
        inputs, _, _, wanted = spoiled(shape, value)
        (y,) = compiled.run(inputs)
        assert_same(y, wanted, value)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e37])
def test_filters_of_any_value(value: float):
    shape = (1, 64, 32, 14, 14)
    inputs, weights, bias, _ = data(*shape)
    weights[3, 5, 1, 1] = value
    p = np.pad(inputs[0], ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(p, (3, 3), axis=(2, 3))
    with np.errstate(all="ignore"):
        y = np.einsum("nchwij,fcij->nfhw", windows, weights) + bias[:, None, None] + inputs[1]
    ctx = context(weights, bias)
    compiled = compile_module(parse_text(program(*shape), ctx), ctx, Options(cache_dir=""))
    np.testing.assert_allclose(compiled.run(inputs)[0], np.maximum(y, 0), rtol=1e-4, atol=1e-4)


def test_switched_off():
    shape = (1, 64, 32, 14, 14)
    inputs, weights, bias, wanted = data(*shape)
    ctx = context(weights, bias)
    compiled = compile_module(parse_text(program(*shape), ctx), ctx, Options(cache_dir="", winograd=False))
    assert "winograd" not in compiled.ir("kernels")
    np.testing.assert_allclose(compiled.run(inputs)[0], wanted, atol=1e-5)


def test_a_refusal_says_why():
    _, weights, bias, _ = data(1, 8, 8, 2, 3)
    ctx = context(weights, bias)
    module = parse_text(program(1, 8, 8, 2, 3), ctx)
    run_pipeline(
        [make_pass("linalg-block-layouts", {"block": 8}), make_pass("linalg-winograd-conv2d", {})], ctx, module
    )
    (remark,) = [r for r in ctx.remarks if r.pass_name == "linalg-winograd-conv2d"]
    assert remark.kind == "missed"
    assert "of the direct time" in remark.reason


@pytest.mark.parametrize("size", [7, 14, 28, 56, 112, 224])
@pytest.mark.parametrize("channels", [64, 128, 256, 512])
def test_large_tiles_for_the_layers_of_networks(channels: int, size: int):
    choice = choose(Layer(1, channels, channels, size, size, 16), None)
    assert choice.tile == (4, 4) or size == 7
    assert choice.cost < GAIN


def test_blocks_keep_their_data_near():
    def block(channels: int, size: int, images: int = 1) -> tuple[int, int, int]:
        return choose(Layer(images, channels, channels, size, size, 16), None, tile=4).block

    assert block(64, 56) == (1, 1, 7)
    assert block(64, 224) == (1, 1, 7)
    assert block(256, 14) == (1, 2, 4)
    assert block(64, 7, images=8) == (2, 2, 2)
    # filters of 38 MB: read as rarely as possible
    assert block(512, 28) == (1, 7, 7)
    assert block(512, 14, images=4) == (4, 4, 4)


def test_pieces_are_whole_blocks_of_channels():
    assert [depth_of(c, 16) for c in (16, 48, 64, 96, 112, 512)] == [16, 48, 64, 48, 16, 64]
    assert depth_of(128, 128) == 128
