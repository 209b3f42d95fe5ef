"""The transforms as data: F(m, 3) is the convolution, exactly; ops are verified; filters are transformed as said."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from mlc.dialects.linalg_ext.winograd import POINTS, TAPS, filtering, run_program
from mlc.errors import MlcError
from mlc.interp import run_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text
from mlc.ir.verifier import verify_module


class Exact:
    """Arithmetic on fractions."""

    @staticmethod
    def add(a: Any, b: Any) -> Any:
        return a + b

    @staticmethod
    def sub(a: Any, b: Any) -> Any:
        return a - b

    @staticmethod
    def mul(factor: float, a: Any) -> Any:
        return Fraction(factor) * a

    @staticmethod
    def fma(factor: float, a: Any, b: Any) -> Any:
        return Fraction(factor) * a + b


@pytest.mark.parametrize("tile", POINTS)
def test_minimal_filtering_is_the_convolution(tile: int):
    rng = np.random.default_rng(tile)
    f = filtering(tile)
    assert f.size == tile + TAPS - 1
    for _ in range(20):
        d = [Fraction(int(v)) for v in rng.integers(-99, 100, f.size)]
        g = [Fraction(int(v)) for v in rng.integers(-99, 100, TAPS)]
        u = [sum(c * x for c, x in zip(row, g, strict=True)) / k for row, k in zip(f.filter_rows, f.filter_divisors)]
        v = run_program(f.input, d, Exact)
        y = run_program(f.output, [a * b for a, b in zip(u, v, strict=True)], Exact)
        assert y == [sum(g[k] * d[i + k] for k in range(TAPS)) for i in range(tile)]


@pytest.mark.parametrize("tile", POINTS)
def test_coefficients_are_exact_in_f32(tile: int):
    f = filtering(tile)
    factors = [step.factor for p in (f.input, f.output) for step in p.steps]
    assert all(float(np.float32(x)) == x for x in factors)
    assert all(float(np.float32(float(x))) == x for row in f.filter_rows for x in row)


def transform(tile: tuple[int, int], shape: tuple[int, int], depth: int, lanes: int) -> str:
    size = (tile[0] + 2) * (tile[1] + 2) + 9
    w = f"tensor<{shape[0]}x{shape[1]}x3x3xf32>"
    u = f"tensor<{size}x{shape[1] // depth}x{shape[0] // lanes}x{depth}x{lanes}xf32>"
    return f"""
func.func @forward(%w: {w}) -> {u} {{
  %u = "linalg_ext.winograd_filter_transform"(%w) {{tile = array<i64: {tile[0]}, {tile[1]}>, depth = {depth} : i64, lanes = {lanes} : i64}} : ({w}) -> {u}
  func.return %u : {u}
}}"""


@pytest.mark.parametrize("tile", [(4, 4), (2, 4), (2, 2)])
def test_filters_are_transformed_and_laid_out(tile: tuple[int, int]):
    w = np.random.default_rng(0).standard_normal((16, 12, 3, 3)).astype(np.float32)
    (u,) = run_module(parse_text(transform(tile, (16, 12), 4, 8), make_context()), "forward", [w])
    g = []
    for t in tile:
        f = filtering(t)
        g.append(np.array([[float(x / k) for x in row] for row, k in zip(f.filter_rows, f.filter_divisors)]))
    plain = np.einsum("ik,fckl,jl->ijcf", g[0], w.astype(np.float64), g[1])
    wanted = plain.reshape(-1, 3, 4, 2, 8).transpose(0, 1, 3, 2, 4)  # position, piece, depth, block, lane -> as u
    np.testing.assert_allclose(u[:-9], wanted, rtol=2e-7, atol=1e-12)
    taps = w.transpose(2, 3, 1, 0).reshape(-1, 3, 4, 2, 8).transpose(0, 1, 3, 2, 4)
    np.testing.assert_array_equal(u[-9:], taps)


def convolution(**change: str) -> str:
    types = {
        "x": "memref<1x1x8x10x4xf32>",
        "u": "memref<45x1x1x4x4xf32>",
        "y": "memref<1x1x6x8x4xf32>",
        "v": "memref<36x1x1x2x2x1x4xf32>",
        "m": "memref<36x1x1x2x2x4xf32>",
        "tile": "4, 4",
        "block": "1, 2, 2",
        **change,
    }
    names = ("x", "u", "y", "v", "m")
    arguments = ", ".join(f"%{n}: {types[n]}" for n in names)
    return f"""
func.func @f({arguments}) {{
  "linalg_ext.winograd_conv_2d"(%x, %u, %y, %v, %m) {{tile = array<i64: {types["tile"]}>, block = array<i64: {types["block"]}>}}
    : ({", ".join(types[n] for n in names)}) -> ()
  func.return
}}"""


def test_a_convolution_verifies_and_prints_as_it_was_read():
    ctx = make_context()
    text = print_text(parse_text(convolution(), ctx))
    assert print_text(parse_text(text, ctx)) == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tile": "3, 4"}, "tile sizes out of"),
        ({"tile": "4"}, "tile sizes out of"),
        ({"block": "1, 2, 3"}, "a block that divides the tiles"),
        ({"x": "memref<1x1x10x10x4xf32>"}, "two rows and columns more"),
        ({"x": "memref<1x1x5x10x4xf32>", "y": "memref<1x1x3x8x4xf32>", "block": "1, 1, 2"}, "no smaller than a tile"),
        ({"x": "memref<1x1x8x10x4xf64>"}, "f32"),
        ({"u": "memref<36x1x1x4x4xf32>"}, "do not fit"),
        ({"u": "memref<45x2x1x4x4xf32>"}, "do not fit"),
        ({"y": "memref<1x2x6x8x4xf32>"}, "expected output of shape"),
        ({"v": "memref<36x1x1x2x1x1x4xf32>"}, "expected tiles of shape"),
        ({"m": "memref<36x1x1x2x2x8xf32>"}, "expected products of shape"),
        ({"m": "memref<?x1x1x2x2x4xf32>"}, "static dimensions"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, str], message: str):
    ctx = make_context()
    with pytest.raises(MlcError, match=message):
        verify_module(parse_text(convolution(**change), ctx), ctx)
