"""`linalg_ext.attention`: verified, and run as PyTorch defines it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mlc.errors import MlcError
from mlc.interp import run_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text
from mlc.ir.verifier import verify_module

Q, K, V, O = "tensor<4x5x3xf32>", "tensor<4x7x3xf32>", "tensor<4x7x2xf32>", "tensor<4x5x2xf32>"


def attention(attributes: str, *types: str) -> str:
    """A function of the inputs."""
    names = [f"%a{k}" for k in range(len(types) - 1)]
    given = ", ".join(f"{n}: {t}" for n, t in zip(names, types, strict=False))
    return f"""
func.func @forward({given}) -> {types[-1]} {{
  %o = tensor.empty() : {types[-1]}
  %y = "linalg_ext.attention"({", ".join([*names, "%o"])}) {attributes}
    : ({", ".join([*types[:-1], types[-1]])}) -> {types[-1]}
  func.return %y : {types[-1]}
}}"""


def random(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s).astype(np.float32) for s in shapes]


def run(attributes: str, inputs: list[np.ndarray], output: str) -> np.ndarray:
    kinds = {"float32": "f32", "bool": "i1"}
    types = [f"tensor<{'x'.join(map(str, a.shape))}x{kinds[a.dtype.name]}>" for a in inputs]
    module = parse_text(attention(attributes, *types, output), make_context())
    verify_module(module, make_context())
    return run_module(module, "forward", inputs)[0]


MASKS: dict[str, Any] = {
    "one for all": (1, 1, 7),
    "by row": (1, 5, 7),
    "by group": (2, 1, 7),
    "by head": (4, 5, 7),
}


@pytest.mark.parametrize("kind", ["seen", "added"])
@pytest.mark.parametrize("name", MASKS)
def test_masks(name: str, kind: str) -> None:
    q, k, v = random((4, 5, 3), (4, 7, 3), (4, 7, 2))
    mask = np.random.default_rng(1).standard_normal(MASKS[name]).astype(np.float32)
    if kind == "seen":
        mask = mask > -0.5
        mask[0, 0] = False  # a row that sees nothing
    every = torch.from_numpy(np.repeat(mask, 4 // len(mask), axis=0))
    want = F.scaled_dot_product_attention(*map(torch.from_numpy, (q, k, v)), attn_mask=every, scale=0.25)
    got = run("{scale = 0.25 : f32}", [q, k, v, mask], O)
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_without_a_mask(causal: bool) -> None:
    q, k, v = random((3, 6, 4), (3, 6, 4), (3, 6, 4))
    want = F.scaled_dot_product_attention(*map(torch.from_numpy, (q, k, v)), is_causal=causal, scale=0.5)
    got = run(f"{{scale = 0.5 : f32{', causal' if causal else ''}}}", [q, k, v], "tensor<3x6x4xf32>")
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-5, atol=1e-6)


def test_text_is_read_again() -> None:
    text = attention("{scale = 0.5 : f32}", Q, K, V, "tensor<2x1x7xi1>", O)
    module = parse_text(text, make_context())
    assert print_text(parse_text(print_text(module), make_context())) == print_text(module)


WRONG: dict[str, tuple[str, tuple[str, ...], str]] = {
    "dynamic": ("", ("tensor<4x?x3xf32>", K, V, O), "3 static dimensions"),
    "element": ("", ("tensor<4x5x3xf64>", K, V, O), "memref of f32"),
    "width": ("", (Q, "tensor<4x7x4xf32>", V, O), r"expected the key to be of shape \[4, 7, 3\]"),
    "keys": ("", (Q, "tensor<4x6x3xf32>", V, O), r"expected the key to be of shape \[4, 7, 3\]"),
    "result": ("", (Q, K, V, "tensor<4x5x3xf32>"), r"expected the output to be of shape \[4, 5, 2\]"),
    "causal": (", causal", (Q, K, V, O), "as many keys as rows"),
    "none": ("", (Q, "tensor<4x0x3xf32>", "tensor<4x0x2xf32>", O), "at least one key"),
    "groups": ("", (Q, K, V, "tensor<3x1x7xi1>", O), "groups of the 4 heads"),
    "rows of a mask": ("", (Q, K, V, "tensor<4x4x7xi1>", O), "5 rows or 1"),
    "numbers of a mask": ("", (Q, K, V, "tensor<4x5x7xi8>", O), "f32 or i1"),
    "operands": ("", (Q, K, V, "tensor<4x5x7xi1>", "tensor<4x5x7xi1>", O), "perhaps a mask, got 5"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_named(name: str) -> None:
    more, types, message = WRONG[name]
    with pytest.raises(MlcError, match=message):
        verify_module(parse_text(attention(f"{{scale = 0.5 : f32{more}}}", *types), make_context()), make_context())
