"""Ops of Winograd's inner product: verified; weights are prepared as said; pairs come to the plain product, exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from mlc.dialects.linalg_ext.winograd_matmul_ops import GROUP, PERIOD, padded, room, weight_rows
from mlc.errors import MlcError
from mlc.interp import run_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text
from mlc.ir.verifier import verify_module


def prepared(panels: np.ndarray, depth: int) -> np.ndarray:
    """What the op makes of `panels`."""
    blocks, terms, lanes = panels.shape
    source = f"tensor<{blocks}x{terms}x{lanes}xf32>"
    result = f"tensor<{blocks}x{weight_rows(terms, depth)}x{lanes}xf32>"
    text = f"""
func.func @forward(%p: {source}) -> {result} {{
  %w = "linalg_ext.winograd_matmul_weights"(%p) {{depth = {depth} : i64}} : ({source}) -> {result}
  func.return %w : {result}
}}"""
    (w,) = run_module(parse_text(text, make_context()), "forward", [panels])
    return w


def unscaled(w: np.ndarray, terms: int, depth: int) -> np.ndarray:
    """Weights of all pieces without their padding, divided by the factors of columns."""
    pieces = w[:, : terms // depth * padded(depth)].reshape(w.shape[0], -1, padded(depth), w.shape[2])
    return pieces[:, :, :depth].reshape(w.shape[0], terms, -1) * w[:, None, -2]


def panels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("depth", [2, 5, 6, 10, 30])
def test_weights_are_scaled_and_laid_out(depth: int):
    p = panels(2, 30, 4) * np.exp2(np.array([0, 20, -30, 3])).astype(np.float32)
    w = prepared(p, depth)
    np.testing.assert_array_equal(unscaled(w, 30, depth), p)
    np.testing.assert_array_equal(np.exp2(np.round(np.log2(w[:, -2]))), w[:, -2])
    size = np.sqrt(np.mean(np.square(p * (1 / w[:, None, -2])), axis=1))
    assert size.min() > 0.7 and size.max() < 1.42
    assert not w[:, -1].any()
    whole = w[:, : 30 // depth * padded(depth)].reshape(2, -1, padded(depth), 4)
    assert not whole[:, :, depth:].any()


@pytest.mark.parametrize("depth", [2, 5, 6, 10, 30])
def test_pairs_come_to_the_plain_product(depth: int):
    """In fractions: the identity that the product rests on, with the sums that are stored."""
    p = np.round(4 * panels(1, 30, 2)) / 4
    x = [Fraction(int(v), 4) for v in np.random.default_rng(1).integers(-9, 10, 30)]
    w = prepared(p.astype(np.float32), depth)
    pieces = 30 // depth
    for lane in range(2):
        column = [Fraction(float(v)) for v in w[0, :, lane]]
        total = Fraction(0)
        for k in range(pieces):
            a = [*x[k * depth : (k + 1) * depth], *[Fraction(0)] * (padded(depth) - depth)]
            b = column[k * padded(depth) : (k + 1) * padded(depth)]
            total += paired(a, b) - of_inputs(a) - column[pieces * padded(depth) + k]
        assert total * column[-2] == sum(u * Fraction(float(v)) for u, v in zip(x, p[0, :, lane], strict=True))


def paired(a: list[Fraction], b: list[Fraction]) -> Fraction:
    total = Fraction(0)
    for g in range(0, len(a), GROUP):
        x, w = a[g : g + GROUP], b[g : g + GROUP]
        total += (x[0] + w[1]) * (x[1] + w[0]) + x[2] * w[2] - (w[4] - x[3]) * (w[3] - x[4]) + x[5] * w[5]
    return total


def of_inputs(a: list[Fraction]) -> Fraction:
    return sum((a[g] * a[g + 1] - a[g + 3] * a[g + 4] for g in range(0, len(a), GROUP)), Fraction(0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_a_column_beyond_what_is_scaled_is_told(value: float):
    p = panels(2, 12, 4)
    p[1, :, 2] = value
    w = prepared(p, 6)
    assert (w[:, -1] == 1).all()
    np.testing.assert_array_equal(w[1, -2, 2], np.float32(1))
    np.testing.assert_array_equal(unscaled(w, 12, 6), p)


@pytest.mark.parametrize("size", [1e-15, 1e-30, 1e-38, 1e-41, 1e-45])
def test_a_column_of_tiny_weights_is_scaled(size: float):
    """Also of denormal numbers, the least one among them."""
    p = panels(2, 12, 4)
    p[1, :, 2] = np.float32(size) * np.array([1, 2, -1, 3] * 3, np.float32)
    w = prepared(p, 6)
    assert not w[:, -1].any()
    np.testing.assert_array_equal(unscaled(w, 12, 6), p)
    assert 0.7 < np.sqrt(np.mean(np.square(w[1, :12, 2]))) < 1.42


def test_a_column_of_little_more_than_zeros_is_scaled():
    """By what is itself the least number there is, not by less."""
    p = panels(1, 60, 4)
    p[0, :, 2] = 0
    p[0, 7, 2] = 2.0**-149
    w = prepared(p, 30)
    assert not w[:, -1].any() and w[0, -2, 2] == np.float32(2.0**-149)
    np.testing.assert_array_equal(unscaled(w, 60, 30), p)


@pytest.mark.parametrize("block", [0, 11])
def test_a_column_among_many_is_told(block: int):
    p = panels(12, 1536, 16)
    p[block, 3, 7] = np.nan
    assert (prepared(p, 256)[:, -1] == 1).all()


def test_a_column_of_zeros_is_no_reason():
    p = panels(2, 12, 4)
    p[0, :, 3] = 0
    w = prepared(p, 6)
    assert not w[:, -1].any() and w[0, -2, 3] == 0 and w[:, -2].astype(bool).sum() == 7


def test_room_for_terms():
    for depth in range(1, 200):
        assert padded(depth) % GROUP == 0 and depth <= padded(depth) < depth + GROUP
        assert room(depth) > -(-depth // PERIOD) * PERIOD >= padded(depth)


def product(**change: Any) -> str:
    types = {
        "x": "memref<5x12xf32>",
        "w": "memref<2x16x4xf32>",
        "y": "memref<5x2x4xf32>",
        "s": "memref<5x2x64xf32>",
        "r": "memref<7x5xf32>",
        "depth": 6,
        **change,
    }
    names = ("x", "w", "y", "s", "r")
    arguments = ", ".join(f"%{n}: {types[n]}" for n in names)
    return f"""
func.func @f({arguments}) {{
  "linalg_ext.winograd_matmul"({", ".join(f"%{n}" for n in names)}) {{depth = {types["depth"]} : i64}}
    : ({", ".join(str(types[n]) for n in names)}) -> ()
  func.return
}}"""


def test_a_product_verifies_and_prints_as_it_was_read():
    ctx = make_context()
    module = parse_text(product(), ctx)
    verify_module(module, ctx)
    text = print_text(module)
    assert print_text(parse_text(text, ctx)) == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 5}, "a depth that divides the 12 terms"),
        ({"depth": 0}, "a depth that divides the 12 terms"),
        ({"depth": 12}, "expected weights of 15 rows, got 16"),
        ({"x": "memref<5x12xf64>"}, "the input to be a tensor or memref of f32"),
        ({"x": "memref<?x12xf32>"}, "the input to have 2 or 5 static dimensions"),
        ({"x": "memref<5x3x4xf32>"}, "the input to have 2 or 5 static dimensions"),
        ({"w": "memref<2x15x4xf32>"}, "expected weights of 16 rows, got 15"),
        ({"w": "memref<2x64xf32>"}, "the weights to have 3 static dimensions"),
        ({"y": "memref<5x2x8xf32>"}, "expected output of shape"),
        ({"y": "memref<4x2x4xf32>"}, "expected output of shape"),
        ({"s": "memref<5x2x48xf32>"}, "expected scaled inputs of shape"),
        ({"s": "memref<5x1x64xf32>"}, "expected scaled inputs of shape"),
        ({"r": "memref<6x5xf32>"}, "expected rows of shape"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str):
    ctx = make_context()
    with pytest.raises(MlcError, match=message):
        verify_module(parse_text(product(**change), ctx), ctx)


@pytest.mark.parametrize(
    ("outs", "results", "message"),
    [
        ("tensor", "", "expected results on tensors"),
        ("memref", "tensor<5x2x4xf32>, tensor<5x2x64xf32>, tensor<7x5xf32>", "types of the results"),
        ("tensor", "tensor<5x2x4xf32>, tensor<5x2x64xf32>, tensor<5x5xf32>", "types of the results"),
    ],
)
def test_results_are_those_of_destinations(outs: str, results: str, message: str):
    kinds = [f"tensor<{s}xf32>" for s in ("5x12", "2x16x4")]
    kinds += [f"{outs}<{s}xf32>" for s in ("5x2x4", "5x2x64", "7x5")]
    arguments = ", ".join(f"%{n}: {t}" for n, t in zip("xwysr", kinds, strict=True))
    bound = "%a, %b, %c = " if results else ""
    text = f"""
func.func @f({arguments}) {{
  {bound}"linalg_ext.winograd_matmul"(%x, %w, %y, %s, %r) {{depth = 6 : i64}} : ({", ".join(kinds)}) -> ({results})
  func.return
}}"""
    ctx = make_context()
    with pytest.raises(MlcError, match=message):
        verify_module(parse_text(text, ctx), ctx)


@pytest.mark.parametrize(("rows", "depth"), [(15, 6), (16, 5)])
def test_prepared_weights_that_do_not_fit_are_refused(rows: int, depth: int):
    text = f"""
func.func @f(%p: tensor<2x12x4xf32>) -> tensor<2x{rows}x4xf32> {{
  %w = "linalg_ext.winograd_matmul_weights"(%p) {{depth = {depth} : i64}}
    : (tensor<2x12x4xf32>) -> tensor<2x{rows}x4xf32>
  func.return %w : tensor<2x{rows}x4xf32>
}}"""
    ctx = make_context()
    with pytest.raises(MlcError, match=r"expected a (result of shape|depth)"):
        verify_module(parse_text(text, ctx), ctx)
