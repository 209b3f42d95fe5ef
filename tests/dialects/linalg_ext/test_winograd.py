"""The transforms as data: F(m, 3) is the convolution, exactly; ops are verified; filters are transformed as said."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from mlc.arrays.winograd import POINTS, TAPS, filtering, run_program, some_outputs
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
        u = run_program(f.filter, g, Exact)
        v = run_program(f.input, d, Exact)
        y = run_program(f.output, [a * b for a, b in zip(u, v, strict=True)], Exact)
        assert y == [f.scale * sum(g[k] * d[i + k] for k in range(TAPS)) for i in range(tile)]


@pytest.mark.parametrize("tile", POINTS)
def test_a_program_for_some_outputs(tile: int):
    for program in (filtering(tile).input, filtering(tile).filter, filtering(tile).output):
        values = [Fraction(7 * k + 3) for k in range(program.inputs)]
        for first in range(len(program.outputs)):
            some = some_outputs(program, range(first, len(program.outputs)))
            assert run_program(some, values, Exact) == run_program(program, values, Exact)[first:]
            assert first == 0 or len(some.steps) <= len(program.steps)
        assert len(some_outputs(program, [0]).steps) < len(program.steps)


@pytest.mark.parametrize("tile", POINTS)
def test_coefficients_are_exact_in_f32(tile: int):
    f = filtering(tile)
    factors = [step.factor for p in (f.input, f.filter, f.output) for step in p.steps]
    assert all(float(np.float32(x)) == x for x in (*factors, float(f.scale)))
    assert f.scale == Fraction(float(f.scale))


def transform(tile: tuple[int, int], shape: tuple[int, int], depth: int, lanes: int) -> str:
    size = (tile[0] + 2) * (tile[1] + 2)
    w = f"tensor<{shape[0] // lanes}x{shape[1] // 4}x3x3x4x{lanes}xf32>"
    u = f"tensor<{shape[1] // depth}x{size}x{shape[0] // lanes}x{depth}x{lanes}xf32>"
    return f"""
func.func @forward(%w: {w}) -> {u} {{
  %u = "linalg_ext.winograd_filter_transform"(%w) {{tile = array<i64: {tile[0]}, {tile[1]}>, depth = {depth} : i64}}
    : ({w}) -> {u}
  func.return %u : {u}
}}"""


def fractions(rows: list[list[Fraction]]) -> np.ndarray:
    return np.array([[float(x) for x in row] for row in rows])


@pytest.mark.parametrize("tile", [(4, 4), (2, 4), (2, 2)])
@pytest.mark.parametrize("depth", [4, 12])
def test_filters_are_transformed_and_laid_out(tile: tuple[int, int], depth: int):
    w = np.random.default_rng(0).standard_normal((16, 12, 3, 3)).astype(np.float32)
    packed = np.ascontiguousarray(w.reshape(2, 8, 3, 4, 3, 3).transpose(0, 2, 4, 5, 3, 1))
    (u,) = run_module(parse_text(transform(tile, (16, 12), depth, 8), make_context()), "forward", [packed])
    g = []
    for t in tile:
        f = filtering(t)
        unit = [[Fraction(i == j) for j in range(TAPS)] for i in range(TAPS)]
        g.append(fractions([run_program(f.filter, row, Exact) for row in unit]).T / float(f.scale))
    plain = np.einsum("ik,fckl,jl->ijcf", g[0], w.astype(np.float64), g[1])
    wanted = plain.reshape(-1, 12 // depth, depth, 2, 8).transpose(1, 0, 3, 2, 4)
    np.testing.assert_allclose(u, wanted, rtol=2e-7, atol=1e-12)


def convolution(**change: str) -> str:
    types = {
        "x": "memref<1x1x8x10x4xf32>",
        "w": "memref<2x1x3x3x4x4xf32>",
        "y": "memref<1x2x6x8x4xf32>",
        "v": "memref<1x36x1x2x2x1x4xf32>",
        "m": "memref<36x2x1x2x2x4xf32>",
        "u": "memref<1x36x2x5x4xf32>",
        "tile": "4, 4",
        "block": "1, 2, 2",
        "more": "",
        **change,
    }
    names = ("x", "w", "y", "v", "m", "u")
    arguments = ", ".join(f"%{n}: {types[n]}" for n in names)
    attributes = f"tile = array<i64: {types['tile']}>, block = array<i64: {types['block']}>{types['more']}"
    return f"""
func.func @f({arguments}) {{
  "linalg_ext.winograd_conv_2d"({", ".join(f"%{n}" for n in names)}) {{{attributes}}}
    : ({", ".join(types[n] for n in names)}) -> ()
  func.return
}}"""


ONE_GROUP = {"m": "memref<36x1x1x2x2x4xf32>", "u": "memref<1x12x1x5x4xf32>"}


@pytest.mark.parametrize("change", [{}, {"more": ", transformed"}, ONE_GROUP])
def test_a_convolution_verifies_and_prints_as_it_was_read(change: dict[str, str]):
    ctx = make_context()
    module = parse_text(convolution(**change), ctx)
    verify_module(module, ctx)
    text = print_text(module)
    assert print_text(parse_text(text, ctx)) == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tile": "3, 4"}, "tile sizes out of"),
        ({"tile": "4"}, "tile sizes out of"),
        ({"block": "1, 2, 3"}, "a block that divides the tiles"),
        ({"x": "memref<1x1x10x10x4xf32>"}, "two rows and columns more"),
        ({"x": "memref<1x1x5x10x4xf32>", "y": "memref<1x2x3x8x4xf32>", "block": "1, 1, 2"}, "no smaller than a tile"),
        ({"x": "memref<1x1x8x10x4xf64>"}, "f32"),
        ({"w": "memref<2x1x5x5x4x4xf32>"}, "do not fit the input"),
        ({"w": "memref<2x2x3x3x4x4xf32>"}, "do not fit the input"),
        ({"u": "memref<1x36x2x3x4xf32>"}, "divide channels and filters"),
        ({**ONE_GROUP, "u": "memref<1x9x1x5x4xf32>"}, "positions of whole rows"),
        ({**ONE_GROUP, "more": ", transformed"}, "expected all transformed filters"),
        ({"y": "memref<1x3x6x8x4xf32>"}, "expected output of shape"),
        ({"v": "memref<1x36x1x2x1x1x4xf32>"}, "expected tiles of shape"),
        ({"m": "memref<36x2x1x2x2x8xf32>"}, "expected products of shape"),
        ({"m": "memref<?x1x1x2x2x4xf32>"}, "static dimensions"),
        ({"u": "memref<1x36x2x5x8xf32>"}, "expected filters of shape"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, str], message: str):
    ctx = make_context()
    with pytest.raises(MlcError, match=message):
        verify_module(parse_text(convolution(**change), ctx), ctx)
