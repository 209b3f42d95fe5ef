"""plan-memory: no two live buffers overlap, arenas are near the peak, dynamic offsets hold for every size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlc.errors import UnsupportedError
from mlc.interp import run_module
from mlc.ir.pipeline import make_pass
from mlc.lowering.buffers.arena import ALIGNMENT, Item, aligned, peak, plan
from tests.lowering.buffers.checking import parsed

ITEMS = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 40), st.integers(0, 12)).map(
        lambda t: Item(aligned(t[0]), t[1], t[1] + t[2])
    ),
    max_size=40,
)


@settings(derandomize=True, max_examples=200, deadline=None, database=None)
@given(ITEMS)
def test_plans_are_sound(items: list[Item]) -> None:
    offsets, size = plan(items)
    assert all(o % ALIGNMENT == 0 for o in offsets)
    assert peak(items) <= size <= sum(i.size for i in items)
    for k, (a, x) in enumerate(zip(offsets, items, strict=True)):
        assert a + x.size <= size or not x.size
        for b, y in zip(offsets[:k], items[:k], strict=True):
            together = x.start <= y.end and y.start <= x.end
            assert not together or a + x.size <= b or b + y.size <= a or 0 in (x.size, y.size)


@settings(derandomize=True, max_examples=100, deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(1, 4096), st.integers(1, 3)), min_size=2, max_size=60))
def test_chains_reach_the_peak(chain: list[tuple[int, int]]) -> None:
    """A chain of layers with short skips, as models are: at most 1.1 times what is live at once."""
    items = [Item(aligned(64 * size), k, k + reach) for k, (size, reach) in enumerate(chain)]
    assert plan(items)[1] <= 1.1 * peak(items)


DYNAMIC = """
func.func @forward(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %c0 = arith.constant 0 : index
  %c40 = arith.constant 40 : index
  %n = tensor.dim %x, %c0 : tensor<?x3xf32>
  %m = arith.addi %n, %c40 : index
  %e0 = tensor.empty(%n) : tensor<?x3xf32>
  %a = func.call @twice(%x, %e0) : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %w = tensor.empty(%m) : tensor<?x3xf32>
  %z = func.call @zero(%w) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %b = tensor.insert_slice %a into %z[40, 0] [%n, 3] [1, 1] : tensor<?x3xf32> into tensor<?x3xf32>
  %e1 = tensor.empty(%m) : tensor<?x3xf32>
  %c = func.call @twice(%b, %e1) : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %s = tensor.extract_slice %c[40, 0] [%n, 3] [1, 1] : tensor<?x3xf32> to tensor<?x3xf32>
  %e2 = tensor.empty(%n) : tensor<?x3xf32>
  %d = func.call @add(%s, %a, %e2) : (tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %e3 = tensor.empty(%n) : tensor<?x3xf32>
  %r = func.call @add(%d, %x, %e3) : (tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  return %r : tensor<?x3xf32>
}
func.func private @zero(%out: tensor<?x3xf32>) -> tensor<?x3xf32> attributes {kernel} {
  %z = arith.constant 0.0 : f32
  %r = linalg.fill ins(%z : f32) outs(%out : tensor<?x3xf32>) -> tensor<?x3xf32>
  return %r : tensor<?x3xf32>
}
func.func private @twice(%x: tensor<?x3xf32>, %out: tensor<?x3xf32>) -> tensor<?x3xf32> attributes {kernel} {
  %r = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
    iterator_types = ["parallel", "parallel"]} ins(%x : tensor<?x3xf32>) outs(%out : tensor<?x3xf32>) {
  ^bb0(%a: f32, %o: f32):
    %y = arith.addf %a, %a : f32
    linalg.yield %y : f32
  } -> tensor<?x3xf32>
  return %r : tensor<?x3xf32>
}
func.func private @add(%x: tensor<?x3xf32>, %y: tensor<?x3xf32>, %out: tensor<?x3xf32>) -> tensor<?x3xf32>
    attributes {kernel} {
  %r = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>,
    affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}
    ins(%x, %y : tensor<?x3xf32>, tensor<?x3xf32>) outs(%out : tensor<?x3xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.addf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<?x3xf32>
  return %r : tensor<?x3xf32>
}
"""


@pytest.mark.parametrize("n", [0, 1, 5, 16, 17, 200])
def test_dynamic_offsets_hold_for_every_size(n: int) -> None:
    """The order is chosen at a nominal dim; smaller and larger ones must work too."""
    module, ctx = parsed(DYNAMIC, {})
    x = np.arange(n * 3, dtype=np.float32).reshape(n, 3)
    (expected,) = run_module(module, "forward", [x])
    for name in ("bufferize", "plan-memory"):
        make_pass(name, {}).apply(ctx, module)
    (got,) = run_module(module, "forward", [x], output_shapes=[x.shape])
    assert np.array_equal(expected, got)
    remark = next(r for r in ctx.remarks if r.pass_name == "plan-memory")
    assert remark.data["dynamic"] and remark.data["arena"] >= remark.data["peak"] > 0
    arena = run_module(module, "arena_size", [np.int64(n)])[0]
    assert arena >= 64 * (-(-n * 12 // 64)) and arena % 64 == 0


PRODUCTS = """
func.func @forward(%x: memref<?x?xf32>, %y: memref<?xf32>, %out: memref<4xf32>) attributes {num_inputs = 2 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = memref.dim %x, %c0 : memref<?x?xf32>
  %m = memref.dim %x, %c1 : memref<?x?xf32>
  %k = memref.dim %y, %c0 : memref<?xf32>
  %a = memref.alloc(%n, %m) : memref<?x?xf32>
  %b = memref.alloc(%k) : memref<?xf32>
  func.call @k(%a, %b, %out) : (memref<?x?xf32>, memref<?xf32>, memref<4xf32>) -> ()
  func.return
}
func.func private @k(%x: memref<?x?xf32>, %y: memref<?xf32>, %out: memref<4xf32>) attributes {kernel} {
  func.return
}"""


@pytest.mark.parametrize(
    ("dims", "size"),
    [
        ((3, 5, 7), 128),
        ((0, 1 << 62, 7), 64),
        ((1 << 30, 1 << 28, 16), (1 << 60) + 64),
        ((1 << 31, 1 << 31, 7), -1),
        ((1 << 32, 1 << 32, 7), -1),
        ((1 << 62, 4, 7), -1),
        ((1, 1, 1 << 62), -1),
        ((1, 1 << 59, 1 << 59), -1),
        (((1 << 63) - 1, 1, 1), -1),
    ],
)
def test_sizes_beyond_what_is_addressed(dims: tuple[int, ...], size: int) -> None:
    module, ctx = parsed(PRODUCTS, {})
    make_pass("plan-memory", {}).apply(ctx, module)
    with np.errstate(over="ignore"):
        assert run_module(module, "arena_size", [np.int64(n) for n in dims])[0] == size


def test_sizes_that_depend_on_data_are_refused() -> None:
    text = """
func.func @forward(%x: memref<1xindex>, %out: memref<4xf32>) attributes {num_inputs = 1 : i64} {
  %c0 = arith.constant 0 : index
  %n = memref.load %x[%c0] : memref<1xindex>
  %a = memref.alloc(%n) : memref<?xf32>
  func.call @k(%a, %out) : (memref<?xf32>, memref<4xf32>) -> ()
  func.return
}
func.func private @k(%x: memref<?xf32>, %out: memref<4xf32>) attributes {kernel} {
  func.return
}"""
    module, ctx = parsed(text, {})
    with pytest.raises(UnsupportedError, match="depends on data"):
        make_pass("plan-memory", {}).apply(ctx, module)
