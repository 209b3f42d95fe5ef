"""linalg-pack-matmul keeps every bit: products with constant weights before and after, tails included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from xdsl.dialects.builtin import ModuleOp

import mlc
from mlc.backends.llvm.backend import CPU_BACKEND
from mlc.dialects.linalg.relayout_ops import PackOp
from mlc.interp import run_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text
from mlc.ir.pipeline import make_pass, run_pipeline
from mlc.ir.resources import ResourceStore
from mlc.ir.verifier import verify_module
from mlc.lowering.linalg.structure import shape_of
from tests.targets import runnable

ID = "affine_map<(d0, d1) -> (d0, d1)>"
KINDS = 'iterator_types = ["parallel", "parallel"]'


def program(m: int, k: int, n: int, transposed: bool) -> str:
    """product, bias, relu, residual."""
    out = f"tensor<{m}x{n}xf32>"
    weight = f"tensor<{n}x{k}xf32>" if transposed else f"tensor<{k}x{n}xf32>"
    turn = f"""%te = tensor.empty() : tensor<{k}x{n}xf32>
  %t = linalg.transpose ins(%w : {weight}) outs(%te : tensor<{k}x{n}xf32>) permutation = [1, 0]"""
    rhs = "%t" if transposed else "%w"
    return f"""
func.func @forward(%x: tensor<{m}x{k}xf32>, %y: {out}) -> {out} {{
  %w = arith.constant dense_resource<w> : {weight}
  %b = arith.constant dense_resource<b> : tensor<{n}xf32>
  %zero = arith.constant 0.0 : f32
  {turn if transposed else ""}
  %e = tensor.empty() : {out}
  %f = linalg.fill ins(%zero : f32) outs(%e : {out}) -> {out}
  %p = linalg.matmul ins(%x, {rhs} : tensor<{m}x{k}xf32>, tensor<{k}x{n}xf32>) outs(%f : {out}) -> {out}
  %r = linalg.generic {{indexing_maps = [{ID}, affine_map<(d0, d1) -> (d1)>, {ID}, {ID}], {KINDS}}}
    ins(%p, %b, %y : {out}, tensor<{n}xf32>, {out}) outs(%e : {out}) {{
  ^bb0(%a: f32, %bias: f32, %z: f32, %o: f32):
    %s = arith.addf %a, %bias : f32
    %u = arith.maximumf %s, %zero : f32
    %v = arith.addf %u, %z : f32
    linalg.yield %v : f32
  }} -> {out}
  func.return %r : {out}
}}"""


def packed_matrices(module: ModuleOp) -> list[tuple[int, ...]]:
    """Shapes of what is packed, in order."""
    found = [op for op in module.walk() if isinstance(op, PackOp)]
    return [shape_of(op.results[0]) for op in found if len(shape_of(op.results[0])) == 3]


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 7, 16), (5, 3, 48), (4, 20, 33), (2, 5, 10), (0, 4, 16)])
def test_same_bits(m: int, k: int, n: int, transposed: bool):
    rng = np.random.default_rng(1)
    x, y, w, b = (rng.standard_normal(s).astype(np.float32) for s in [(m, k), (m, n), (n, k), (n,)])
    if m and n > 16:
        x[0, 0], w[1, 2] = np.inf, np.nan
    store = ResourceStore()
    store.set("w", w if transposed else np.ascontiguousarray(w.T))
    store.set("b", b)
    ctx = make_context()
    ctx.resources = store
    module = parse_text(program(m, k, n, transposed), ctx)
    (expected,) = run_module(module, "forward", [x, y], resources=store)
    run_pipeline([make_pass("linalg-pack-matmul", {"block": 16})], ctx, module)
    verify_module(module, ctx)
    (got,) = run_module(module, "forward", [x, y], resources=store)
    np.testing.assert_array_equal(got, expected)
    in_place = m == 1 and transposed  # the one row reads each weight once
    assert any(op.name == "linalg.pack" for op in module.walk()) == (n >= 16 and not in_place)


@pytest.mark.parametrize(("m", "k", "n"), [(8, 7, 16), (12, 3, 9), (16, 20, 33)])
def test_same_bits_with_weights_as_they_lie(m: int, k: int, n: int):
    rng = np.random.default_rng(1)
    x, y, w, b = (rng.standard_normal(s).astype(np.float32) for s in [(m, k), (m, n), (n, k), (n,)])
    x[0, 0], w[1, 2] = np.inf, np.nan
    store = ResourceStore()
    store.set("w", w)
    store.set("b", b)
    ctx = make_context()
    ctx.resources = store
    module = parse_text(program(m, k, n, True), ctx)
    (expected,) = run_module(module, "forward", [x, y], resources=store)
    run_pipeline([make_pass("linalg-pack-matmul", {"block": 4, "in_place": True})], ctx, module)
    verify_module(module, ctx)
    assert packed_matrices(module) == [(m // 4, k, 4)]
    (got,) = run_module(module, "forward", [x, y], resources=store)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("m", "k", "transposed"), [(4, 5, True), (9, 5, True), (8, 5, False), (8, 1024, True)])
def test_weights_are_packed_where_rows_fill_no_blocks_or_share_sets(m: int, k: int, transposed: bool):
    store = ResourceStore()
    store.set("w", np.ones((9, k) if transposed else (k, 9), np.float32))
    store.set("b", np.ones(9, np.float32))
    ctx = make_context()
    ctx.resources = store
    module = parse_text(program(m, k, 9, transposed), ctx)
    run_pipeline([make_pass("linalg-pack-matmul", {"block": 4, "in_place": True})], ctx, module)
    assert packed_matrices(module)[0] == (3, k, 4)


@pytest.mark.parametrize(
    ("target", "rows", "taken"),
    [
        *[("x86-64-avx2", rows, rows in (96, 384)) for rows in (88, 96, 100, 384, 392)],
        *[("x86-64-sse2", 96, False), ("x86-64-amx", 96, False)],
    ],
)
def test_machines_of_few_registers_read_weights_in_place_for_some_blocks_of_rows(target: str, rows: int, taken: bool):
    """Whatever the cache sets that their rows fall on."""
    store = ResourceStore()
    store.set("w", np.ones((40, 1024), np.float32))
    store.set("b", np.ones(40, np.float32))
    ctx = make_context()
    ctx.resources, ctx.machine = store, CPU_BACKEND.machine(target)
    module = parse_text(program(rows, 1024, 40, True), ctx)
    run_pipeline([make_pass("linalg-pack-matmul")], ctx, module)
    assert (packed_matrices(module) == [(rows // 8, 1024, 8)]) == taken


@pytest.mark.parametrize("rows", [96, 104, 112, 128])  # blocks of rows in threes, with one or two left over
@pytest.mark.parametrize("columns", [40, 43])
@pytest.mark.parametrize("target", runnable("x86-64-avx2"))
def test_three_blocks_of_rows_at_once_compute_the_same(rows: int, columns: int, target: str, tmp_path: Path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(136, columns), nn.GELU(), nn.Linear(columns, 24)).requires_grad_(False)
    x = torch.randn(rows, 136)
    y = mlc.compile(model, (x,), target=target, cache_dir=tmp_path)(x)
    exact = model.double()(x.double())
    torch.testing.assert_close(y, exact.float(), rtol=1e-5, atol=1e-6)
