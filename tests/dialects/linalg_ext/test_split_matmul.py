"""Ops of products of split numbers: verified; weights are prepared as said; products come to the plain ones, exactly
where numbers are those of a field."""

from __future__ import annotations

import numpy as np
import pytest

from mlc.dialects.linalg_ext.prepared_matmul import NUMBERS
from mlc.dialects.linalg_ext.split_matmul_ops import STEP, filled, panels_shape, parts_shape, weights_shape
from mlc.errors import MlcError
from mlc.interp import run_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text
from mlc.ir.verifier import verify_module


def tensor(shape: tuple[int, ...], element: str = "f32") -> str:
    return f"tensor<{'x'.join(map(str, shape))}x{element}>"


def prepared(panels: np.ndarray) -> np.ndarray:
    """What the op makes of `panels`."""
    source, result = tensor(panels.shape), tensor(weights_shape(panels.shape[0], panels.shape[1]))
    text = f"""
func.func @forward(%p: {source}) -> {result} {{
  %w = "linalg_ext.split_matmul_weights"(%p) : ({source}) -> {result}
  func.return %w : {result}
}}"""
    (w,) = run_module(parse_text(text, make_context()), "forward", [panels])
    return w


def scaled(w: np.ndarray) -> np.ndarray:
    """Weights as they are multiplied, with what the terms are filled up with."""
    return w[:, :-2]


def unscaled(w: np.ndarray, terms: int) -> np.ndarray:
    """Weights divided by the factors of columns."""
    return scaled(w)[:, :terms] * w[:, None, -2]


def is_plain(w: np.ndarray) -> bool:
    """Whether any column is to be multiplied plainly; all columns say the same."""
    (told,) = {float(v) for v in w[:, -1].flat}
    return bool(told)


def panels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("terms", [16, 32, 48, 80])
def test_weights_are_scaled_and_laid_out(terms: int):
    powers = np.resize([0, 20, -30, 3, 26, -24], 16)
    p = panels(2, terms, 16) * np.exp2(powers).astype(np.float32)
    w = prepared(p)
    np.testing.assert_array_equal(unscaled(w, terms), p)
    unscale = w[:, -2]
    np.testing.assert_array_equal(np.exp2(np.round(np.log2(unscale))), unscale)
    size = np.sqrt(np.mean(np.square(scaled(w)[:, :terms]), axis=1))[:, np.abs(powers) > 25]
    assert size.min() > 0.7 and size.max() < 1.42
    as_they_are = np.abs(powers) < 23  # parts of these, and their products, are no subnormal numbers
    np.testing.assert_array_equal(scaled(w)[:, :terms, as_they_are], p[:, :, as_they_are])
    assert not is_plain(w)
    assert not scaled(w)[:, terms:].any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("terms", [16, 32])
def test_a_column_beyond_what_is_scaled_is_told(terms: int, value: float):
    p = panels(2, terms, 16)
    p[1, :, 2] = value
    w = prepared(p)
    assert is_plain(w)
    assert w[1, -2, 2] == 1
    np.testing.assert_array_equal(unscaled(w, terms), p)


@pytest.mark.parametrize("size", [1e-15, 1e-30, 1e-38, 1e-41, 1e-45])
def test_a_column_of_tiny_weights_is_scaled(size: float):
    """Also of denormal numbers, the least one among them."""
    p = panels(2, 16, 16)
    p[1, :, 2] = np.float32(size) * np.array([1, 2, -1, 3] * 4, np.float32)
    w = prepared(p)
    assert not is_plain(w)
    np.testing.assert_array_equal(unscaled(w, 16), p)
    assert 0.7 < np.sqrt(np.mean(np.square(scaled(w)[1, :16, 2]))) < 1.42


def test_a_column_of_little_more_than_zeros_is_scaled():
    """By what is itself the least number there is, not by less."""
    p = panels(1, 64, 16)
    p[0, :, 2] = 0
    p[0, 7, 2] = 2.0**-149
    w = prepared(p)
    assert not is_plain(w) and w[0, -2, 2] == np.float32(2.0**-149)
    np.testing.assert_array_equal(unscaled(w, 64), p)


@pytest.mark.parametrize("block", [0, 11])
def test_a_column_among_many_is_told(block: int):
    p = panels(12, 1536, 16)
    p[block, 3, 7] = np.nan
    assert is_plain(prepared(p))


def test_a_column_of_zeros_is_no_reason():
    p = panels(2, 16, 16)
    p[0, :, 3] = 0
    w = prepared(p)
    assert not is_plain(w) and w[0, -2, 3] == 0 and w[:, -2].astype(bool).sum() == 31


def test_shapes_are_of_whole_tiles():
    for n in range(1, 200):
        assert filled(n) % STEP == 0 and n <= filled(n) < n + STEP
        rows, steps, _, *tile = parts_shape(n, n)
        assert rows * tile[0] >= n > (rows - 1) * tile[0] and steps * tile[1] == filled(n)


@pytest.mark.parametrize(
    ("terms", "depth", "steps"),
    [(16, 768, 1), (768, 768, 24), (784, 768, 13), (3072, 768, 24), (3104, 768, 20), (160, 64, 2), (160, 1, 1)],
)
def test_pieces_are_as_even_as_can_be(terms: int, depth: int, steps: int):
    assert panels_shape(terms, depth)[1] == steps
    pieces = -(-filled(terms) // (steps * STEP))
    assert steps * STEP <= max(depth, STEP) and pieces == -(-filled(terms) // (max(depth // STEP, 1) * STEP))


def multiplied(x: np.ndarray, p: np.ndarray, y: np.ndarray, domain: str = "ieee") -> np.ndarray:
    """What the two ops add to `y`."""
    grid = (x.shape[0], *x.shape[2:-1])
    terms, (blocks, *_) = p.shape[1], p.shape
    kinds = [tensor(v.shape) for v in (x, p, y)]
    w = tensor(weights_shape(blocks, terms))
    s, r = tensor(parts_shape(int(np.prod(grid)), terms), "bf16"), tensor((NUMBERS, *grid))
    q = tensor(panels_shape(terms, terms), "bf16")
    text = f"""
func.func @forward(%x: {kinds[0]}, %p: {kinds[1]}, %y: {kinds[2]}) -> {kinds[2]} {{
  %w = "linalg_ext.split_matmul_weights"(%p) : ({kinds[1]}) -> {w}
  %e = tensor.empty() : {s}
  %f = tensor.empty() : {r}
  %g = tensor.empty() : {q}
  %o, %a, %b, %c = "linalg_ext.split_matmul"(%x, %w, %y, %e, %f, %g)
    : ({kinds[0]}, {w}, {kinds[2]}, {s}, {r}, {q}) -> ({kinds[2]}, {s}, {r}, {q})
  func.return %o : {kinds[2]}
}}"""
    ctx = make_context()
    module = parse_text(text, ctx)
    verify_module(module, ctx)
    (out,) = run_module(module, "forward", [x, p, y], domain=domain)
    return out


@pytest.mark.parametrize("terms", [16, 48, 64])
def test_rows_come_to_the_plain_product(terms: int):
    x, p, y = panels(5, terms), panels(2, terms, 16), panels(5, 2, 16)
    wide = np.einsum("mk,bkl->mbl", x.astype(np.float64), p.astype(np.float64)) + y
    np.testing.assert_allclose(multiplied(x, p, y), wide, atol=1e-5)


def test_pixels_come_to_the_plain_product():
    x, p, y = panels(2, 3, 4, 5, 16), panels(2, 48, 16), panels(2, 2, 4, 5, 16)
    split = p.reshape(2, 3, 16, 16).astype(np.float64)
    wide = np.einsum("nchwk,bckl->nbhwl", x.astype(np.float64), split) + y
    np.testing.assert_allclose(multiplied(x, p, y), wide, atol=1e-5)


def test_products_in_a_field_are_exact():
    """Nothing is scaled there: what is added up are the products themselves."""
    rng = np.random.default_rng(0)
    x, p, y = (rng.integers(-9, 10, shape).astype(np.float32) for shape in ((3, 16), (2, 16, 16), (3, 2, 16)))
    wide = np.einsum("mk,bkl->mbl", x, p) + y
    np.testing.assert_array_equal(multiplied(x, p, y, "field"), wide)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e36, 1e30, 1e-30, 1e-42, 0.0])
@pytest.mark.parametrize("where", ["row", "column"])
def test_a_row_or_column_of_any_value_spoils_no_other(where: str, value: float):
    x, p = panels(4, 16), panels(2, 16, 16)
    if where == "row":
        x[2] = value
    else:
        p[1, :, 9] = value
    with np.errstate(all="ignore"):
        wide = np.einsum("mk,bkl->mbl", x.astype(np.float64), p.astype(np.float64)).astype(np.float32)
        found = multiplied(x, p, np.zeros((4, 2, 16), np.float32))
    others = np.ones(wide.shape, bool)
    others[(2,) if where == "row" else (slice(None), 1, 9)] = False
    np.testing.assert_allclose(found[others], wide[others], atol=1e-5)
    rest = ~others & np.isfinite(wide)
    np.testing.assert_allclose(found[rest], wide[rest], rtol=1e-4, atol=max(1e-5 * min(abs(value), 1.0), 2.0**-145))
    assert not np.isfinite(found[~others & ~np.isfinite(wide)]).any()


TYPES = {
    "x": "memref<5x48xf32>",
    "w": "memref<2x66x16xf32>",
    "y": "memref<5x2x16xf32>",
    "s": "memref<1x2x3x16x32xbf16>",
    "r": "memref<5x5xf32>",
    "q": "memref<2x2x3x16x32xbf16>",
}


def product(results: str = "", **change: str) -> str:
    types = {**TYPES, **change}
    arguments = ", ".join(f"%{n}: {t}" for n, t in types.items())
    bound = "%a, %b, %c, %d = " if results else ""
    return f"""
func.func @f({arguments}) {{
  {bound}"linalg_ext.split_matmul"({", ".join(f"%{n}" for n in types)}) : ({", ".join(types.values())}) -> ({results})
  func.return
}}"""


RESULTS = "tensor<5x2x16xf32>, tensor<1x2x3x16x32xbf16>, tensor<5x5xf32>, tensor<2x2x3x16x32xbf16>"
PIXELS = {"x": "memref<2x3x4x5x16xf32>", "y": "memref<2x2x4x5x16xf32>", "s": "memref<3x2x3x16x32xbf16>"}


@pytest.mark.parametrize(
    "change",
    [{}, {**PIXELS, "r": "memref<5x2x4x5xf32>"}, {"q": "memref<2x1x3x16x32xbf16>"}],
    ids=["rows", "pixels", "pieces"],
)
def test_a_product_verifies_and_prints_as_it_was_read(change: dict[str, str]):
    ctx = make_context()
    module = parse_text(product(**change), ctx)
    verify_module(module, ctx)
    text = print_text(module)
    assert print_text(parse_text(text, ctx)) == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": "memref<5x40xf32>"}, "expected a multiple of 16 terms, got 40"),
        ({"x": "memref<5x0xf32>"}, "expected a multiple of 16 terms, got 0"),
        ({"x": "memref<5x48xf64>"}, "the input to be a tensor or memref of f32"),
        ({"x": "memref<?x48xf32>"}, "the input to have 2 or 5 static dimensions"),
        ({"x": "memref<5x3x16xf32>"}, "the input to have 2 or 5 static dimensions"),
        ({**PIXELS, "x": "memref<2x6x4x5x8xf32>"}, "expected blocks of 16 channels"),
        ({**PIXELS, "r": "memref<5x40xf32>"}, "the rows to have 4 static dimensions"),
        ({"w": "memref<2x50x16xf32>"}, "expected weights of shape"),
        ({"w": "memref<2x65x16xf32>"}, "expected weights of shape"),
        ({"w": "memref<66x32xf32>"}, "the weights to have 3 static dimensions"),
        ({"y": "memref<5x2x8xf32>"}, "expected output of shape"),
        ({"y": "memref<4x2x16xf32>"}, "expected output of shape"),
        ({"y": "memref<5x1x16xf32>"}, "expected output of shape"),
        ({"s": "memref<1x2x3x16x32xf32>"}, "the parts to be a tensor or memref of bf16"),
        ({"s": "memref<1x1x3x16x32xbf16>"}, "expected parts of shape"),
        ({"s": "memref<2x2x3x16x32xbf16>"}, "expected parts of shape"),
        ({"r": "memref<4x5xf32>"}, "expected rows of shape"),
        ({"r": "memref<5x4xf32>"}, "expected rows of shape"),
        ({"q": "memref<2x3x3x16x32xbf16>"}, "expected pieces of 1 to 2 steps, got 3"),
        ({"q": "memref<2x0x3x16x32xbf16>"}, "expected pieces of 1 to 2 steps, got 0"),
        ({"q": "memref<1x2x3x16x32xbf16>"}, "expected panels of shape"),
        ({"q": "memref<2x2x2x16x32xbf16>"}, "expected panels of shape"),
        (
            {
                "x": "memref<0x48xf32>",
                "y": "memref<0x2x16xf32>",
                "s": "memref<0x2x3x16x32xbf16>",
                "r": "memref<5x0xf32>",
            },
            "expected rows, got memref<0x48xf32>",
        ),
        (
            {"q": "memref<2x2x3x16x32xbf16, strided<[3072, 1536, 512, 32, 1], offset: ?>>"},
            "expected the panels to have no layout",
        ),
        (
            {"s": "memref<1x2x3x16x32xbf16, strided<[9999, 3072, 1024, 64, 2], offset: ?>>"},
            "expected the parts to have no layout",
        ),
        ({"q": "memref<2x2x3x16x32xf32>"}, "the panels to be a tensor or memref of bf16"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, str], message: str):
    ctx = make_context()
    with pytest.raises(MlcError, match=message):
        verify_module(parse_text(product(**change), ctx), ctx)


@pytest.mark.parametrize(
    ("outs", "results", "message"),
    [
        ("tensor", "", "expected results on tensors"),
        ("memref", RESULTS, "types of the results"),
        ("tensor", RESULTS.replace("5x5", "4x5"), "types of the results"),
    ],
)
def test_results_are_those_of_destinations(outs: str, results: str, message: str):
    change = {n: t.replace("memref", outs if n in "ysrq" else "tensor") for n, t in TYPES.items()}
    ctx = make_context()
    with pytest.raises(MlcError, match=message):
        verify_module(parse_text(product(results, **change), ctx), ctx)


@pytest.mark.parametrize(
    ("source", "result", "message"),
    [
        ((2, 16, 16), (2, 18, 16), "expected a result of shape"),
        ((2, 16, 16), (1, 34, 16), "expected a result of shape"),
        ((2, 24, 16), (2, 34, 16), "panels of a multiple of 16 terms"),
        ((2, 0, 16), (2, 2, 16), "panels of a multiple of 16 terms"),
        ((2, 16, 8), (2, 34, 16), "and 16 columns"),
    ],
)
def test_prepared_weights_that_do_not_fit_are_refused(source: tuple[int, ...], result: tuple[int, ...], message: str):
    text = f"""
func.func @f(%p: {tensor(source)}) -> {tensor(result)} {{
  %w = "linalg_ext.split_matmul_weights"(%p) : ({tensor(source)}) -> {tensor(result)}
  func.return %w : {tensor(result)}
}}"""
    ctx = make_context()
    with pytest.raises(MlcError, match=message):
        verify_module(parse_text(text, ctx), ctx)
