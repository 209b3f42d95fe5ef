"""`mlc.dialects.linalg.products`: large products of constants, in float64; everything else in the nest's order."""

from __future__ import annotations

import numpy as np
import pytest

from mlc.dialects.linalg import products
from mlc.interp import evaluate_constant, run_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text

MAPS = {
    "matmul": ("(d0, d2)", "(d2, d1)", (90, 300), (300, 200), "ab,bc->ac"),
    "transposed": ("(d0, d2)", "(d1, d2)", (90, 300), (200, 300), "ab,cb->ac"),
    "a row for all": ("(d2)", "(d2, d1)", (300,), (300, 200), "b,bc->c"),
    "nothing of the second": ("(d0, d2)", "(0, 0)", (90, 300), (1, 1), "ab,cd->a"),
}


def text_of(way: str, *, body: str = "") -> str:
    first, second, a, b, _ = MAPS[way]
    kinds = [f"tensor<{'x'.join(map(str, shape))}xf32>" for shape in (a, b)]
    return f"""
func.func private @const.c() -> tensor<90x200xf32> attributes {{constant}} {{
  %a = arith.constant dense_resource<a> : {kinds[0]}
  %b = arith.constant dense_resource<b> : {kinds[1]}
  %one = arith.constant 1.0 : f32
  %e = tensor.empty() : tensor<90x200xf32>
  %i = linalg.fill ins(%one : f32) outs(%e : tensor<90x200xf32>) -> tensor<90x200xf32>
  %c = linalg.generic {{
    indexing_maps = [affine_map<(d0, d1, d2) -> {first}>, affine_map<(d0, d1, d2) -> {second}>,
                     affine_map<(d0, d1, d2) -> (d0, d1)>], iterator_types = ["parallel", "parallel", "reduction"]
  }} ins(%a, %b : {kinds[0]}, {kinds[1]}) outs(%i : tensor<90x200xf32>) {{
  ^bb0(%x: f32, %y: f32, %acc: f32):
    %p = arith.mulf %x, %y : f32
    {body or "%s = arith.addf %acc, %p : f32"}
    linalg.yield %s : f32
  }} -> tensor<90x200xf32>
  return %c : tensor<90x200xf32>
}}"""


@pytest.mark.parametrize("way", MAPS)
def test_a_constant_is_rounded_once(way: str, monkeypatch: pytest.MonkeyPatch):
    *_, a_shape, b_shape, sums = MAPS[way]
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal(a_shape).astype(np.float32), rng.standard_normal(b_shape).astype(np.float32)
    ctx = make_context()
    ctx.resources.set("a", a)
    ctx.resources.set("b", b)
    module = parse_text(text_of(way), ctx)
    exact = np.einsum(sums, a.astype(np.float64), b.astype(np.float64)) + 1.0
    exact = np.broadcast_to(exact if way != "nothing of the second" else exact[:, None], (90, 200))
    got = evaluate_constant(module, "const.c", ctx.resources)
    assert np.abs(got - exact).max() <= np.spacing(np.float32(np.abs(exact).max()))
    (in_order,) = run_module(module, "const.c", [], resources=ctx.resources)
    assert not np.array_equal(in_order, got)  # the nest's order rounds after each term
    monkeypatch.setattr(products, "LEAST", 1 << 30)
    assert np.array_equal(evaluate_constant(module, "const.c", ctx.resources), in_order)


@pytest.mark.parametrize(
    "body",
    ["%s = arith.maximumf %acc, %p : f32", "%q = arith.negf %p : f32\n %s = arith.addf %acc, %q : f32"],
)
def test_other_bodies_keep_their_order(body: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(np, "einsum", lambda *_, **__: pytest.fail("that is no sum of products"))
    ctx = make_context()
    for name, shape in (("a", (90, 300)), ("b", (300, 200))):
        ctx.resources.set(name, np.ones(shape, dtype=np.float32))
    evaluate_constant(parse_text(text_of("matmul", body=body), ctx), "const.c", ctx.resources)
