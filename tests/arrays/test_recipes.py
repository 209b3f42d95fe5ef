"""Derived constants by recipes: the bits that the interpreter gives, for every kind of step, and what is left to it."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from mlc.arrays import recipes, reduction
from mlc.arrays.recipes import Recipes
from mlc.errors import ExecutionError, InternalError
from mlc.interp import constants_of
from mlc.interp.recipes import recipes_of
from mlc.ir.context import MlcContext, make_context
from mlc.ir.parsing import parse_text

# what passes make of weights: packed, padded, folded batch norms, transforms, bf16 in pairs, transposed and broadcast
TEXT = """
func.func private @packed() -> tensor<2x3x16x4xf32> attributes {constant} {
  %w = arith.constant dense_resource<w> : tensor<12x32xf32>
  %e = tensor.empty() : tensor<2x3x16x4xf32>
  %p = linalg.pack %w outer_dims_perm = [1, 0] inner_dims_pos = [1, 0] inner_tiles = [16, 4] into %e
      : tensor<12x32xf32> -> tensor<2x3x16x4xf32>
  func.return %p : tensor<2x3x16x4xf32>
}
func.func private @padded() -> tensor<1x32x16xbf16> attributes {constant} {
  %w = arith.constant dense_resource<w> : tensor<12x32xf32>
  %e = tensor.empty() : tensor<12x32xbf16>
  %t = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]} ins(%w : tensor<12x32xf32>) outs(%e : tensor<12x32xbf16>) {
  ^bb0(%a: f32, %b: bf16):
    %c = arith.truncf %a : f32 to bf16
    linalg.yield %c : bf16
  } -> tensor<12x32xbf16>
  %z = arith.constant 1.5 : bf16
  %q = tensor.empty() : tensor<1x32x16xbf16>
  %p = linalg.pack %t padding_value(%z : bf16) inner_dims_pos = [0] inner_tiles = [16] into %q
      : tensor<12x32xbf16> -> tensor<1x32x16xbf16>
  func.return %p : tensor<1x32x16xbf16>
}
func.func private @folded() -> tensor<12x4x8xf32> attributes {constant} {
  %w = arith.constant dense_resource<w> : tensor<12x32xf32>
  %v = arith.constant dense_resource<v> : tensor<12xf32>
  %e = tensor.empty() : tensor<12xf32>
  %s = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
      iterator_types = ["parallel"]} ins(%v : tensor<12xf32>) outs(%e : tensor<12xf32>) {
  ^bb0(%a: f32, %b: f32):
    %eps = arith.constant 1.0e-05 : f64
    %one = arith.constant 1.0 : f64
    %0 = arith.extf %a : f32 to f64
    %1 = arith.addf %0, %eps : f64
    %2 = math.sqrt %1 : f64
    %3 = arith.divf %one, %2 : f64
    %4 = arith.negf %3 : f64
    %5 = arith.truncf %4 : f64 to f32
    linalg.yield %5 : f32
  } -> tensor<12xf32>
  %f = tensor.empty() : tensor<12x32xf32>
  %m = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>,
      affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}
      ins(%w, %s : tensor<12x32xf32>, tensor<12xf32>) outs(%f : tensor<12x32xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %0 = arith.mulf %a, %b : f32
    linalg.yield %0 : f32
  } -> tensor<12x32xf32>
  %x = tensor.expand_shape %m [[0], [1, 2]] output_shape [12, 4, 8] : tensor<12x32xf32> into tensor<12x4x8xf32>
  func.return %x : tensor<12x4x8xf32>
}
func.func private @shift() -> tensor<12xf32> attributes {constant} {
  %v = arith.constant dense_resource<v> : tensor<12xf32>
  %e = tensor.empty() : tensor<12xf32>
  %s = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>],
      iterator_types = ["parallel"]} ins(%v : tensor<12xf32>) outs(%e : tensor<12xf32>) {
  ^bb0(%a: f32, %b: f32):
    %eps = arith.constant 1.0e-05 : f64
    %one = arith.constant 1.0 : f64
    %0 = arith.extf %a : f32 to f64
    %1 = arith.addf %0, %eps : f64
    %2 = math.sqrt %1 : f64
    %3 = arith.divf %one, %2 : f64
    %4 = arith.negf %3 : f64
    %5 = arith.truncf %4 : f64 to f32
    linalg.yield %5 : f32
  } -> tensor<12xf32>
  %t = linalg.sub ins(%v, %s : tensor<12xf32>, tensor<12xf32>) outs(%e : tensor<12xf32>) -> tensor<12xf32>
  func.return %t : tensor<12xf32>
}
func.func private @transposed() -> tensor<32x3x4xf32> attributes {constant} {
  %w = arith.constant dense_resource<w> : tensor<12x32xf32>
  %t = arith.constant dense<[0.5, -0.0, 2.0, 0.25, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]> : tensor<12xf32>
  %n = arith.constant dense<2.5> : tensor<32xf32>
  %two = arith.constant 2.0 : f32
  %e = tensor.empty() : tensor<32x12xf32>
  %f = linalg.fill ins(%two : f32) outs(%e : tensor<32x12xf32>) -> tensor<32x12xf32>
  %m = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>,
      affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (j, i)>], iterator_types = ["parallel", "parallel"]}
      ins(%w, %t, %n : tensor<12x32xf32>, tensor<12xf32>, tensor<32xf32>) outs(%f : tensor<32x12xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32, %d: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.maximumf %0, %c : f32
    %2 = arith.divf %1, %d : f32
    %3 = arith.subf %2, %two : f32
    linalg.yield %3 : f32
  } -> tensor<32x12xf32>
  %g = tensor.empty() : tensor<12x32xf32>
  %u = linalg.transpose ins(%m : tensor<32x12xf32>) outs(%g : tensor<12x32xf32>) permutation = [1, 0]
  %h = tensor.empty() : tensor<32x12xf32>
  %k = linalg.transpose ins(%u : tensor<12x32xf32>) outs(%h : tensor<32x12xf32>) permutation = [1, 0]
  %x = tensor.expand_shape %k [[0], [1, 2]] output_shape [32, 3, 4] : tensor<32x12xf32> into tensor<32x3x4xf32>
  func.return %x : tensor<32x3x4xf32>
}
func.func private @widened() -> tensor<96xf32> attributes {constant} {
  %h = arith.constant dense_resource<h> : tensor<8x12xbf16>
  %e = tensor.empty() : tensor<8x12xf32>
  %t = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]} ins(%h : tensor<8x12xbf16>) outs(%e : tensor<8x12xf32>) {
  ^bb0(%a: bf16, %b: f32):
    %c = arith.extf %a : bf16 to f32
    linalg.yield %c : f32
  } -> tensor<8x12xf32>
  %x = tensor.collapse_shape %t [[0, 1]] : tensor<8x12xf32> into tensor<96xf32>
  func.return %x : tensor<96xf32>
}
func.func private @itself() -> tensor<12x8xbf16> attributes {constant} {
  %h = arith.constant dense_resource<h> : tensor<8x12xbf16>
  %e = tensor.empty() : tensor<12x8xbf16>
  %t = linalg.transpose ins(%h : tensor<8x12xbf16>) outs(%e : tensor<12x8xbf16>) permutation = [1, 0]
  func.return %t : tensor<12x8xbf16>
}
func.func private @filters() -> tensor<2x36x2x4x4xf32> attributes {constant} {
  %u = arith.constant dense_resource<u> : tensor<2x2x3x3x4x4xf32>
  %r = "linalg_ext.winograd_filter_transform"(%u) {tile = array<i64: 4, 4>, depth = 4 : i64}
      : (tensor<2x2x3x3x4x4xf32>) -> tensor<2x36x2x4x4xf32>
  func.return %r : tensor<2x36x2x4x4xf32>
}"""
# what int8 makes of weights: the largest of each row, its factor, the numbers, sums of them
QUANTIZED = """
func.func private @sums() -> tensor<12xi32> attributes {constant} {
  %w = arith.constant dense_resource<w> : tensor<12x32xf32>
  %least = arith.constant 1.0e-30 : f32
  %e = tensor.empty() : tensor<12xf32>
  %i = linalg.fill ins(%least : f32) outs(%e : tensor<12xf32>) -> tensor<12xf32>
  %m = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>],
      iterator_types = ["parallel", "reduction"]} ins(%w : tensor<12x32xf32>) outs(%i : tensor<12xf32>) {
  ^bb0(%a: f32, %b: f32):
    %0 = math.absf %a : f32
    %1 = arith.maximumf %b, %0 : f32
    linalg.yield %1 : f32
  } -> tensor<12xf32>
  %f = tensor.empty() : tensor<12x32xi8>
  %q = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>,
      affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}
      ins(%w, %m : tensor<12x32xf32>, tensor<12xf32>) outs(%f : tensor<12x32xi8>) {
  ^bb0(%a: f32, %b: f32, %c: i8):
    %most = arith.constant 127.0 : f32
    %0 = arith.divf %a, %b : f32
    %1 = arith.mulf %0, %most : f32
    %2 = math.roundeven %1 : f32
    %3 = arith.fptosi %2 : f32 to i8
    linalg.yield %3 : i8
  } -> tensor<12x32xi8>
  %h = tensor.empty() : tensor<3x8x4x4xi8>
  %p = linalg.pack %q inner_dims_pos = [0, 1] inner_tiles = [4, 4] into %h : tensor<12x32xi8> -> tensor<3x8x4x4xi8>
  %zero = arith.constant 0 : i32
  %g = tensor.empty() : tensor<4x3xi32>
  %z = linalg.fill ins(%zero : i32) outs(%g : tensor<4x3xi32>) -> tensor<4x3xi32>
  %s = linalg.generic {indexing_maps = [affine_map<(i, j, k, l) -> (i, j, l, k)>, affine_map<(i, j, k, l) -> (l, i)>],
      iterator_types = ["parallel", "reduction", "reduction", "parallel"]}
      ins(%p : tensor<3x8x4x4xi8>) outs(%z : tensor<4x3xi32>) {
  ^bb0(%a: i8, %b: i32):
    %many = arith.constant 128 : i32
    %0 = arith.extsi %a : i8 to i32
    %1 = arith.muli %0, %many : i32
    %2 = arith.subi %b, %1 : i32
    linalg.yield %2 : i32
  } -> tensor<4x3xi32>
  %x = tensor.collapse_shape %s [[0, 1]] : tensor<4x3xi32> into tensor<12xi32>
  func.return %x : tensor<12xi32>
}"""
REDUCED = """
func.func private @reduced() -> tensor<4x2xE> attributes {constant} {
  %r = arith.constant dense_resource<r> : tensor<3x4x5x2xE>
  %i = arith.constant dense_resource<i> : tensor<2x4xE>
  %m = linalg.generic {indexing_maps = [affine_map<(i, j, k, l) -> (i, j, k, l)>, affine_map<(i, j, k, l) -> (l, j)>],
      iterator_types = ["reduction", "parallel", "reduction", "parallel"]}
      ins(%r : tensor<3x4x5x2xE>) outs(%i : tensor<2x4xE>) {
  ^bb0(%a: E, %b: E):
    %1 = COMBINE : E
    linalg.yield %1 : E
  } -> tensor<2x4xE>
  %e = tensor.empty() : tensor<4x2xE>
  %t = linalg.transpose ins(%m : tensor<2x4xE>) outs(%e : tensor<4x2xE>) permutation = [1, 0]
  func.return %t : tensor<4x2xE>
}"""
OTHERS = """
func.func private @by_position() -> tensor<12xf32> attributes {constant} {
  %v = arith.constant dense_resource<v> : tensor<12xf32>
  %e = tensor.empty() : tensor<12xf32>
  %s = linalg.generic {indexing_maps = [affine_map<(i) -> (i floordiv 2)>, affine_map<(i) -> (i)>],
      iterator_types = ["parallel"]} ins(%v : tensor<12xf32>) outs(%e : tensor<12xf32>) {
  ^bb0(%a: f32, %b: f32):
    linalg.yield %a : f32
  } -> tensor<12xf32>
  func.return %s : tensor<12xf32>
}
func.func private @indices() -> tensor<12xi64> attributes {constant} {
  %e = tensor.empty() : tensor<12xi64>
  %s = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      outs(%e : tensor<12xi64>) {
  ^bb0(%b: i64):
    %i = linalg.index 0 : index
    %j = arith.index_cast %i : index to i64
    linalg.yield %j : i64
  } -> tensor<12xi64>
  func.return %s : tensor<12xi64>
}
func.func private @product() -> tensor<12x12xf32> attributes {constant} {
  %w = arith.constant dense_resource<w> : tensor<12x32xf32>
  %x = tensor.empty() : tensor<32x12xf32>
  %t = linalg.transpose ins(%w : tensor<12x32xf32>) outs(%x : tensor<32x12xf32>) permutation = [1, 0]
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<12x12xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<12x12xf32>) -> tensor<12x12xf32>
  %r = linalg.matmul ins(%w, %t : tensor<12x32xf32>, tensor<32x12xf32>) outs(%z : tensor<12x12xf32>)
      -> tensor<12x12xf32>
  func.return %r : tensor<12x12xf32>
}"""


def parsed(text: str) -> tuple[ModuleOp, MlcContext, list[str]]:
    ctx = make_context()
    module = parse_text(text, ctx)
    rng = np.random.default_rng(0)
    ctx.resources.set("w", rng.standard_normal((12, 32), dtype=np.float32))
    ctx.resources.set("v", np.array([0.0, -1.0, np.nan, np.inf, *rng.random(8)], np.float32))
    ctx.resources.set("h", rng.integers(0, 1 << 16, (8, 12)).astype(np.uint16))
    ctx.resources.set("u", rng.standard_normal((2, 2, 3, 3, 4, 4), dtype=np.float32))
    return module, ctx, [op.sym_name.data for op in module.ops if isinstance(op, FuncOp)]


def stored(made: Recipes) -> Recipes:
    return Recipes.from_json(json.loads(json.dumps(made.to_json())))


@pytest.mark.parametrize("keeps", [True, False])
def test_the_bits_of_the_interpreter(keeps: bool, monkeypatch: pytest.MonkeyPatch):
    module, ctx, names = parsed(TEXT)
    if not keeps:
        monkeypatch.setattr(recipes._Computer, "_keep", lambda *_: None)
    made = recipes_of(module)
    assert sorted(made.results) == sorted(names)
    expected = constants_of(module, ctx.resources)
    for turn in (names, names[::-1]):
        compute = stored(made).computer(ctx.resources.get)
        for name in turn:
            got, wanted = np.ascontiguousarray(compute(name)), np.ascontiguousarray(expected(name))
            assert (got.dtype, got.shape, got.tobytes()) == (wanted.dtype, wanted.shape, wanted.tobytes()), name


def test_numbers_of_8_bits():
    module, ctx, _ = parsed(QUANTIZED)
    got = stored(recipes_of(module)).computer(ctx.resources.get)("sums")
    assert got.dtype == np.int32 and got.tobytes() == constants_of(module, ctx.resources)("sums").tobytes()
    ctx.resources.set("w", np.full((12, 32), np.nan, np.float32))
    for compute in (stored(recipes_of(module)).computer(ctx.resources.get), constants_of(module, ctx.resources)):
        with pytest.raises(ExecutionError, match=r"'arith\.fptosi': a float does not fit"):
            compute("sums")


@pytest.mark.parametrize("terms", [6, 1 << 18])
@pytest.mark.parametrize(
    ("e", "combine"),
    [
        *(("f32", f"arith.{n} %b, %a") for n in ("maximumf", "minimumf", "maxnumf", "minnumf")),
        *(("bf16", f"arith.{n} %a, %b") for n in ("maximumf", "minnumf")),
        *(("i16", f"arith.{n} %b, %a") for n in ("addi", "subi", "muli", "andi", "ori", "xori")),
    ],
)
def test_reductions(e: str, combine: str, terms: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reduction, "MAX_TERMS", terms)
    module, ctx, _ = parsed(REDUCED.replace("COMBINE", combine).replace("E", e))
    rng = np.random.default_rng(3)
    for name, shape in (("r", (3, 4, 5, 2)), ("i", (2, 4))):
        if e == "i16":
            ctx.resources.set(name, rng.integers(-(1 << 15), 1 << 15, shape).astype(np.int16))
            continue
        x = rng.choice(
            np.array([-1, -0.0, 0, 1, np.nan, np.inf], np.float32), shape, p=[0.2, 0.3, 0.3, 0.1, 0.05, 0.05]
        )
        ctx.resources.set(name, x if e == "f32" else (x.view(np.uint32) >> 16).astype(np.uint16))
    got = np.ascontiguousarray(stored(recipes_of(module)).computer(ctx.resources.get)("reduced"))
    wanted = np.ascontiguousarray(constants_of(module, ctx.resources)("reduced"))
    assert (got.dtype, got.shape, got.tobytes()) == (wanted.dtype, wanted.shape, wanted.tobytes())


def test_what_two_constants_take_is_computed_once(monkeypatch: pytest.MonkeyPatch):
    module, ctx, names = parsed(TEXT)
    made = stored(recipes_of(module))
    called: Counter[str] = Counter()
    plain = recipes.function
    monkeypatch.setattr(recipes, "function", lambda kind: called.update([kind]) or plain(kind))
    compute = made.computer(ctx.resources.get)
    for name in names:
        compute(name)
    assert called["elementwise"] == sum(kind == "elementwise" for kind, _, _ in made.steps)
    called.clear()
    compute = made.computer(ctx.resources.get)
    monkeypatch.setattr(recipes._Computer, "_keep", lambda *_: None)
    for name in names:
        compute(name)
    assert called["elementwise"] == 1 + sum(kind == "elementwise" for kind, _, _ in made.steps)


def test_other_functions_have_none():
    module, _, names = parsed(OTHERS + REDUCED.replace("COMBINE", "arith.addf %b, %a").replace("E", "f32"))
    assert len(names) == 4 and recipes_of(module) == Recipes()


@pytest.mark.parametrize(
    "data", [[], [[]], [[["pack", [], [0]]], {}], [[["weight", [], []]], {"x": 1}], [[["weight", []]], {}], 3]
)
def test_data_that_is_no_recipe(data: list[object]):
    with pytest.raises((ValueError, TypeError)):
        Recipes.from_json(data)


def test_what_goes_wrong_says_where():
    made = Recipes([("weight", ["w", "<f4", False], []), ("transpose", [[0, 1, 2]], [0])], {"const.w": 1})
    with pytest.raises(InternalError, match=r"@const\.w could not be computed"):
        made.computer({"w": np.zeros((2, 3), np.float32)}.__getitem__)("const.w")
