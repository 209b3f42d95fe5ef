"""Products by Winograd's inner product, interpreted and native: whole and ragged sizes, pieces, epilogues, plain rows,
blocks of rows in any order, vectors of any width. Beside eager: tests/api/test_winograd_matmul.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from mlc import setting
from mlc.backends.llvm import CPU_BACKEND
from mlc.backends.llvm.target import host_machine
from mlc.backends.machine import PRESETS, MachineModel, from_features
from mlc.dialects.linalg_ext.winograd_matmul_ops import WinogradMatmulWeightsOp
from mlc.dialects.scf import semantics
from mlc.driver import compile_module
from mlc.interp import run_module
from mlc.ir.context import MlcContext, make_context
from mlc.ir.parsing import parse_text
from mlc.ir.pipeline import make_pass, run_pipeline
from mlc.ir.pipeline_table import MODULE_ROWS
from mlc.lowering.linalg.linalg_winograd_matmul import depth_of
from mlc.options import Options

ID = "affine_map<(d0, d1) -> (d0, d1)>"
PARALLEL = 'iterator_types = ["parallel", "parallel"]'


def program(m: int, k: int, n: int, onto: bool = False) -> str:
    """A product, onto what another argument holds if so, bias, relu, a residual."""
    out, w = f"tensor<{m}x{n}xf32>", f"tensor<{k}x{n}xf32>"
    start = "%y" if onto else "%f"
    return f"""
func.func @forward(%x: tensor<{m}x{k}xf32>, %y: {out}) -> {out} {{
  %w = arith.constant dense_resource<w> : {w}
  %b = arith.constant dense_resource<b> : tensor<{n}xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : {out}
  %f = linalg.fill ins(%zero : f32) outs(%e : {out}) -> {out}
  %p = linalg.matmul ins(%x, %w : tensor<{m}x{k}xf32>, {w}) outs({start} : {out}) -> {out}
  %r = linalg.generic {{indexing_maps = [{ID}, affine_map<(d0, d1) -> (d1)>, {ID}, {ID}], {PARALLEL}}}
    ins(%p, %b, %y : {out}, tensor<{n}xf32>, {out}) outs(%e : {out}) {{
  ^bb0(%a: f32, %bias: f32, %z: f32, %o: f32):
    %s = arith.addf %a, %bias : f32
    %u = arith.maximumf %s, %zero : f32
    %v = arith.addf %u, %z : f32
    linalg.yield %v : f32
  }} -> {out}
  func.return %r : {out}
}}"""


Data = dict[str, np.ndarray]
SPOILERS = [np.nan, np.inf, -np.inf, 3e38, 1e30, 1e-30, 1e-42]


def data(m: int, k: int, n: int) -> Data:
    rng = np.random.default_rng(0)
    shapes = {"x": (m, k), "y": (m, n), "w": (k, n), "b": (n,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def spoiled(given: Data, value: float) -> Data:
    """One number in the first row, or the whole row, with nothing added, where it is small; zeros in the last."""
    x, y = given["x"].copy(), given["y"].copy()
    if abs(value) < 1:
        x[0] *= value
        y[0] = 0
    else:
        x[0, -1] = value
    x[-1] = 0
    return {**given, "x": x, "y": y}


def exact(given: Data, onto: bool) -> np.ndarray:
    """In float64, but for NaN and infinities, which are those of float32."""
    x, y, w, b = (given[name].astype(np.float64) for name in "xywb")
    with np.errstate(all="ignore"):
        product = np.sum(x[:, :, None] * w, axis=1) + (y if onto else 0)
        product[np.abs(product) > np.finfo(np.float32).max] *= np.inf
        return np.maximum(product + b, 0) + y


def assert_same(y: np.ndarray, wanted: np.ndarray) -> None:
    """By the size of every row."""
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
    np.testing.assert_array_equal(np.isinf(y), np.isinf(wanted))
    for row, other in zip(y, wanted, strict=True):
        scale = np.max(np.abs(other), where=np.isfinite(other), initial=0.0)
        np.testing.assert_allclose(row, other, atol=2e-6 * scale + 300 * 2.0**-150, rtol=2e-6)


def context(given: Data) -> MlcContext:
    ctx = make_context()
    for name in "wb":
        ctx.resources.set(name, given[name])
    return ctx


def to_buffers(module: ModuleOp, ctx: MlcContext, depth: int) -> None:
    """Every pass of the module rows, with panels of 8 columns and every product by pairs."""
    names = [r.pass_name for r in MODULE_ROWS if r.level != "torch" and r.pass_name != "convert-torch-to-linalg"]
    options: dict[str, dict[str, Any]] = {
        "linalg-pack-matmul": {"block": 8},
        "linalg-winograd-matmul": {"columns": 1, "depth": depth},
    }
    run_pipeline([make_pass(name, options.get(name, {})) for name in names], ctx, module)
    assert "linalg_ext.winograd_matmul" in {op.name for op in module.walk()}


SHAPES = [(8, 12, 16), (5, 7, 17), (1, 2, 8), (23, 18, 9), (41, 13, 8), (4, 48, 24)]


@pytest.mark.parametrize("onto", [False, True])
@pytest.mark.parametrize("depth", [6, 256])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_interpreted_before_and_after_expansion(shape: tuple[int, int, int], depth: int, onto: bool):
    for value in (1.0, np.nan, -np.inf, 1e30, 1e-30):
        given = data(*shape) if value == 1.0 else spoiled(data(*shape), value)
        given["b"] *= abs(value) >= 1 or np.isnan(value)
        ctx = context(given)
        module = parse_text(program(*shape, onto), ctx)
        to_buffers(module, ctx, depth)
        inputs, wanted = [given["x"], given["y"]], exact(given, onto)
        (y,) = run_module(module, "forward", inputs, resources=ctx.resources)
        assert_same(y, wanted)
        make_pass("expand-winograd-matmul", {"rows": 6}).apply(ctx, module)
        assert "linalg_ext.winograd_matmul" not in {op.name for op in module.walk()}
        (z,) = run_module(module, "forward", inputs, resources=ctx.resources)
        assert_same(z, wanted)


@pytest.mark.parametrize("onto", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e36, 1e30, 1e-30, 1e-42, 0.0])
def test_weights_of_any_value_interpreted(value: float, onto: bool):
    given = data(5, 12, 17)
    given["w"][:, 9] = value
    ctx = context(given)
    module = parse_text(program(5, 12, 17, onto), ctx)
    to_buffers(module, ctx, 6)
    make_pass("expand-winograd-matmul").apply(ctx, module)
    (y,) = run_module(module, "forward", [given["x"], given["y"]], resources=ctx.resources)
    wanted = exact(given, onto)
    assert_same(y[:, :9], wanted[:, :9])
    assert_same(y[:, 9:10], wanted[:, 9:10])
    assert_same(y[:, 10:], wanted[:, 10:])


def test_what_is_added_to_stays_as_it_is():
    """A destination that is read later, and by the product itself, is copied."""
    text = """
func.func @forward(%x: tensor<5x12xf32>, %w: tensor<2x16x4xf32>, %y: tensor<5x2x4xf32>)
    -> (tensor<5x2x4xf32>, tensor<5x2x4xf32>) {
  %s = tensor.empty() : tensor<5x2x64xf32>
  %r = tensor.empty() : tensor<7x5xf32>
  %p, %a, %b = "linalg_ext.winograd_matmul"(%x, %w, %y, %s, %r) {depth = 6 : i64}
    : (tensor<5x12xf32>, tensor<2x16x4xf32>, tensor<5x2x4xf32>, tensor<5x2x64xf32>, tensor<7x5xf32>)
    -> (tensor<5x2x4xf32>, tensor<5x2x64xf32>, tensor<7x5xf32>)
  func.return %p, %y : tensor<5x2x4xf32>, tensor<5x2x4xf32>
}"""
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(shape).astype(np.float32) for shape in ((5, 12), (2, 16, 4), (5, 2, 4))]
    ctx = make_context()
    module = parse_text(text, ctx)
    before = run_module(module, "forward", inputs)
    make_pass("bufferize").apply(ctx, module)
    after = run_module(module, "forward", inputs)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(after[1], inputs[2])


@pytest.mark.parametrize("onto", [False, True])
def test_blocks_run_in_any_order(onto: bool, monkeypatch: pytest.MonkeyPatch):
    given = spoiled(data(23, 13, 17), 1e30)
    ctx = context(given)
    module = parse_text(program(23, 13, 17, onto), ctx)
    to_buffers(module, ctx, 256)
    make_pass("expand-winograd-matmul", {"rows": 5}).apply(ctx, module)
    inputs = [given["x"], given["y"]]
    (in_order,) = run_module(module, "forward", inputs, resources=ctx.resources)
    monkeypatch.setattr(semantics, "product", lambda *ranges, p=semantics.product: reversed([*p(*ranges)]))
    (backwards,) = run_module(module, "forward", inputs, resources=ctx.resources)
    np.testing.assert_array_equal(backwards, in_order)


class AddsBeside:
    """A machine, as if it added beside its multiply-adds."""

    def machine(self, target: str) -> MachineModel:
        return replace(CPU_BACKEND.machine(target), adds_beside_fma=True)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(CPU_BACKEND, attribute)


MACHINES = [m.name for m in PRESETS.values() if m.arch == host_machine().arch]
RUNNABLE = [name for name in MACHINES if set(PRESETS[name].features) <= set(host_machine().features)]


@pytest.mark.parametrize("onto", [False, True])
@pytest.mark.parametrize("shape", [(8, 96, 96), (23, 257, 100)], ids=str)
@pytest.mark.parametrize("target", RUNNABLE)
def test_vectors_of_any_width(target: str, shape: tuple[int, int, int], onto: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(setting, "load_backend", lambda target: AddsBeside())
    given = data(*shape)
    ctx = context(given)
    compiled = compile_module(parse_text(program(*shape, onto), ctx), ctx, Options(cache_dir="", target=target))
    assert [r.kind for r in ctx.remarks if r.pass_name == "linalg-winograd-matmul"] == ["applied"]
    assert not [r for r in ctx.remarks if r.pass_name == "vectorize-structured" and r.kind == "missed"]
    for value in (1.0, *SPOILERS):
        now = given if value == 1.0 else spoiled(given, value)
        (y,) = compiled.run([now["x"], now["y"]])
        assert_same(y, exact(now, onto))


@pytest.mark.parametrize(
    ("options", "shape", "reason"),
    [
        ({"columns": 0}, (8, 12, 96), "switched off"),
        ({"columns": -1}, (8, 12, 96), "additions take the place of multiply-adds"),
        ({"columns": 97}, (8, 12, 96), "96 columns"),
        ({"columns": 1}, (8, 1, 96), "1 terms"),
        ({"columns": 1}, (0, 12, 96), "dynamic or empty sizes"),
    ],
)
def test_a_refusal_says_why(options: dict[str, object], shape: tuple[int, int, int], reason: str):
    ctx = context(data(*shape))
    module = parse_text(program(*shape), ctx)
    run_pipeline(
        [make_pass("linalg-pack-matmul", {"block": 8}), make_pass("linalg-winograd-matmul", options)], ctx, module
    )
    (remark,) = [r for r in ctx.remarks if r.pass_name == "linalg-winograd-matmul"]
    assert (remark.kind, remark.reason) == ("missed", reason)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [((5, 48, 96), "5 rows"), ((6, 47, 96), "47 terms"), ((6, 48, 88), "88 columns"), ((6, 48, 96), "")],
)
def test_least_sizes_on_a_machine_that_gains(shape: tuple[int, int, int], reason: str):
    ctx = context(data(*shape))
    ctx.machine = replace(PRESETS["x86-64-avx512"], adds_beside_fma=True)
    module = parse_text(program(*shape), ctx)
    run_pipeline([make_pass("linalg-pack-matmul", {"block": 8}), make_pass("linalg-winograd-matmul", {})], ctx, module)
    (remark,) = [r for r in ctx.remarks if r.pass_name == "linalg-winograd-matmul"]
    assert (remark.kind, remark.reason) == ("missed" if reason else "applied", reason)


def test_what_is_written_says_what_it_took_along():
    given = data(8, 12, 16)
    for onto in (False, True):
        ctx = context(given)
        module = parse_text(program(8, 12, 16, onto), ctx)
        to_buffers(module, ctx, 6)
        make_pass("expand-winograd-matmul").apply(ctx, module)
        (remark,) = [r for r in ctx.remarks if r.pass_name == "expand-winograd-matmul"]
        assert (remark.kind, remark.data) == ("applied", {"epilogue": 1, "filled": not onto})


def tied(m: int, k: int, n: int) -> str:
    """A product, and three rows of its weights' transpose."""
    return f"""
func.func @forward(%x: tensor<{m}x{k}xf32>, %at: tensor<3xindex>) -> (tensor<{m}x{n}xf32>, tensor<3x{k}xf32>) {{
  %w = arith.constant dense_resource<w> : tensor<{n}x{k}xf32>
  %zero = arith.constant 0.0 : f32
  %o = tensor.empty() : tensor<3x{k}xf32>
  %g = linalg.generic {{indexing_maps = [affine_map<(d0, d1) -> (d0)>, affine_map<(d0, d1) -> (d0, d1)>],
      iterator_types = ["parallel", "parallel"]}} ins(%at : tensor<3xindex>) outs(%o : tensor<3x{k}xf32>) {{
  ^bb0(%row: index, %old: f32):
    %column = linalg.index 1 : index
    %v = tensor.extract %w[%row, %column] : tensor<{n}x{k}xf32>
    linalg.yield %v : f32
  }} -> tensor<3x{k}xf32>
  %t = tensor.empty() : tensor<{k}x{n}xf32>
  %c = linalg.transpose ins(%w : tensor<{n}x{k}xf32>) outs(%t : tensor<{k}x{n}xf32>) permutation = [1, 0]
  %e = tensor.empty() : tensor<{m}x{n}xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<{m}x{n}xf32>) -> tensor<{m}x{n}xf32>
  %p = linalg.matmul ins(%x, %c : tensor<{m}x{k}xf32>, tensor<{k}x{n}xf32>) outs(%f : tensor<{m}x{n}xf32>)
    -> tensor<{m}x{n}xf32>
  func.return %p, %g : tensor<{m}x{n}xf32>, tensor<3x{k}xf32>
}}"""


def test_elements_of_tied_weights_are_read_as_they_were():
    """Weights that an embedding reads too: prepared once, and no other numbers for it."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((8, 20), (32, 20)))
    w *= np.exp2(rng.integers(-9, 9, (32, 1))).astype(np.float32)
    at = rng.integers(0, 32, 3)
    ctx = make_context()
    ctx.resources.set("w", w)
    module = parse_text(tied(8, 20, 32), ctx)
    pairs = make_pass("linalg-winograd-matmul", {"columns": 1, "depth": 6})
    run_pipeline([make_pass("linalg-pack-matmul", {"block": 4}), pairs], ctx, module)
    read = [op.operands[0].owner for op in module.walk() if op.name == "tensor.extract"]
    assert read and all(isinstance(op, WinogradMatmulWeightsOp) for op in read)
    y, rows = run_module(module, "forward", [x, at], resources=ctx.resources)
    np.testing.assert_array_equal(rows, w[at])
    sizes = np.linalg.norm(w, axis=1)
    np.testing.assert_allclose(y / sizes, x @ w.T / sizes, atol=1e-5)


def test_even_pieces():
    assert [depth_of(terms, 256) for terms in (12, 256, 768, 1024, 3072, 2048)] == [12, 256, 256, 256, 256, 256]
    assert [depth_of(terms, 256) for terms in (1542, 1021, 521)] == [257, 1021, 521]
    assert [depth_of(terms, 256) for terms in (257, 300, 514, 1000, 784)] == [257, 150, 257, 250, 196]


def test_machines_that_add_beside_multiply_adds():
    wide = set(PRESETS["x86-64-avx512"].features)
    assert from_features("x86_64", wide, name="znver4").adds_beside_fma
    assert from_features("x86_64", wide, name="znver5").adds_beside_fma
    assert not from_features("x86_64", wide, name="sapphirerapids").adds_beside_fma
    assert not from_features("x86_64", wide).adds_beside_fma
    assert not from_features("x86_64", set(PRESETS["x86-64-avx2"].features), name="znver4").adds_beside_fma
    assert not any(machine.adds_beside_fma for machine in PRESETS.values())
