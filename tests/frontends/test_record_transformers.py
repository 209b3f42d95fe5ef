"""`nn.Transformer*` layers, whose eager runs look at the values of masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mlc.frontends.torch import capture
from mlc.ir.resources import ResourceStore
from tests.frontends.replay import check, recorded

torch.manual_seed(0)
X = torch.randn(2, 5, 8)
AT_THE_END = torch.tensor([[False] * 4 + [True], [False] * 3 + [True] * 2])
ELSEWHERE = torch.tensor([[True] + [False] * 4, [False] * 5])


def encoder(norm: bool = False, **kwargs: Any) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, **kwargs)
    made = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8) if norm else None).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.3)
    return made


@pytest.mark.parametrize("padding", [AT_THE_END, ELSEWHERE], ids=["at the end", "elsewhere"])
@pytest.mark.parametrize("norm", [False, True], ids=["", "norm"])
@torch.no_grad()
def test_padded_positions_are_what_eager_makes_them(padding: torch.Tensor, norm: bool):
    check(encoder(norm), X, src_key_padding_mask=padding)


def test_eager_packs_only_without_gradients():
    def zeroes() -> bool:
        made = recorded(encoder(), X, src_key_padding_mask=AT_THE_END)
        return any(op.name.startswith("torch.aten.where") for op in made.captured.module.walk())

    assert not zeroes()
    with torch.no_grad():
        assert zeroes()


@torch.no_grad()
def test_a_causal_mask_may_be_an_input():
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    check(encoder(), X, mask=mask)
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 12, batch_first=True), 1).eval()
    check(decoder, X, X + 1, tgt_mask=mask)


def test_libraries_see_that_they_are_compiled():
    """transformers looks at the values of attention masks unless it is being compiled."""

    def model(x: torch.Tensor) -> torch.Tensor:
        return x + 1 if torch.compiler.is_compiling() or x.sum() > 0 else x

    capture(model, (X,), {}, ResourceStore())
    assert not torch.compiler.is_compiling()


def test_a_way_for_compilers_that_is_broken_is_not_taken():
    """As in models of the T5 family that are called without a mask."""
    lin = nn.Linear(8, 8)

    def model(x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        x = lin(x)
        if mask is None and not torch.compiler.is_compiling():
            mask = torch.ones(x.shape[1])
        return x * mask[:, None]  # pyright: ignore[reportOptionalSubscript]

    made = recorded(model, X)
    torch.testing.assert_close(made((X,), {}), model(X).detach())
    assert "<lin.weight>" in str(made.captured.module) and not torch.compiler.is_compiling()
