"""Winograd's matrix product whose rows are pixels: what is refused, and what it comes to beside a plain product."""

from __future__ import annotations

import numpy as np
import pytest

from mlc.errors import MlcError
from mlc.interp import run_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text
from mlc.ir.verifier import verify_module

TYPES = {
    "x": "tensor<2x3x4x5x4xf32>",
    "w": "tensor<2x15x8xf32>",
    "y": "tensor<2x2x4x5x8xf32>",
    "s": "tensor<2x4x5x1x64xf32>",
    "r": "tensor<6x2x4x5xf32>",
}


def program(depth: int = 12, **changed: str) -> str:
    """The product of 3 blocks of 4 channels, onto an argument."""
    types = {**TYPES, **changed}
    outs = ", ".join(types[k] for k in "ysr")
    return f"""
func.func @forward(%x: {types["x"]}, %p: tensor<2x12x8xf32>, %y: {types["y"]}, %s: {types["s"]}, %r: {types["r"]})
    -> {types["y"]} {{
  %w = "linalg_ext.winograd_matmul_weights"(%p) {{depth = 12 : i64}} : (tensor<2x12x8xf32>) -> {types["w"]}
  %a, %b, %c = "linalg_ext.winograd_matmul"(%x, %w, %y, %s, %r) {{depth = {depth} : i64}}
    : ({types["x"]}, {types["w"]}, {outs}) -> ({outs})
  func.return %a : {types["y"]}
}}"""


def test_pixels_are_rows_and_channels_terms():
    rng = np.random.default_rng(0)
    x, p, y = (rng.standard_normal(n).astype(np.float32) for n in ((2, 3, 4, 5, 4), (2, 12, 8), (2, 2, 4, 5, 8)))
    scratch = [np.zeros(n, np.float32) for n in ((2, 4, 5, 1, 64), (6, 2, 4, 5))]
    ctx = make_context()
    module = parse_text(program(), ctx)
    verify_module(module, ctx)
    (got,) = run_module(module, "forward", [x, p, y, *scratch])
    wanted = y + np.einsum("nchwk,fckl->nfhwl", x.astype(np.float64), p.reshape(2, 3, 4, 8))
    np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"depth": 6}, "a depth of whole blocks of 4 channels, got 6"),
        ({"x": "tensor<2x3x4x4xf32>"}, "the input to have 2 or 5 static dimensions"),
        ({"x": "tensor<2x?x4x5x4xf32>"}, "the input to have 2 or 5 static dimensions"),
        ({"y": "tensor<2x4x5x2x8xf32>"}, r"output of shape \[2, 2, 4, 5, 8\]"),
        ({"s": "tensor<40x1x64xf32>"}, "the scaled inputs to have 5 static dimensions"),
        ({"r": "tensor<6x2x5x4xf32>"}, r"rows of shape \[6, 2, 4, 5\]"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(changed: dict[str, object], message: str):
    ctx = make_context()
    with pytest.raises(MlcError, match=message):
        verify_module(parse_text(program(**changed), ctx), ctx)  # pyright: ignore[reportArgumentType]
