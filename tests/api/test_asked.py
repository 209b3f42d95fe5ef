"""Programs that ask for more of their inputs than shapes and values: strides, gradients, autograd's mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import mlc
from mlc.errors import UnsupportedError

V = torch.randn(4, 6)


@pytest.mark.parametrize(
    "program",
    [
        lambda x: x * x.stride(0),
        lambda x: x * 2 if x.is_contiguous() else x * 3,
        lambda x: (x + 1) * (2 if x.t().is_contiguous() else 3),
    ],
)
def test_strides_that_were_asked_for_are_part_of_the_program(program: Callable[..., Any], captures: list[Any]):
    compiled = mlc.compile(program)
    for x in (V, V.t().contiguous().t(), V, torch.randn(4, 12)[:, ::2]):
        for given in (x, x.numpy()):
            torch.testing.assert_close(torch.as_tensor(compiled(given)), program(x))
    assert len(captures) == 3


def test_strides_that_nobody_asks_for_are_not(captures: list[Any]):
    compiled = mlc.compile(lambda x: x * 2)
    for x in (V, V.t().contiguous().t()):
        assert torch.equal(compiled(x), x * 2)
    assert len(captures) == 1


def test_gradients_that_were_asked_for(captures: list[Any]):
    compiled = mlc.compile(lambda x: x * 2 if x.requires_grad else x * 3)
    assert torch.equal(compiled(V), V * 3)
    with torch.no_grad(), pytest.raises(UnsupportedError, match="'x' requires a gradient"):
        compiled(V.clone().requires_grad_())
    compiled = mlc.compile(lambda x: x * 2 if torch.is_grad_enabled() else x * 3)
    with torch.no_grad():
        assert torch.equal(compiled(V), V * 3)
    with pytest.raises(UnsupportedError, match=r"asks torch.is_grad_enabled\(\)"):
        compiled(V)


def test_an_encoder_packs_without_gradients_only(captures: list[Any]):
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 1).eval()
    x, padding = torch.randn(2, 5, 8), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    compiled = mlc.compile(model)
    for _ in range(2):
        with torch.no_grad():
            assert not compiled(x, src_key_padding_mask=padding)[1, 3:].any()
        assert compiled(x, src_key_padding_mask=padding)[1, 3:].any()
    assert len(captures) == 2


def test_an_expanded_input_that_is_changed_is_refused(captures: list[Any]):
    compiled = mlc.compile(lambda x: x.add_(1))
    for x in (torch.randn(1, 6).expand(4, 6), V[:, :1].expand(4, 6)):
        with pytest.raises(UnsupportedError, match=r"changes input 'x' in place, whose elements share memory") as info:
            compiled(x)
        assert "x.clone()" in str(info.value)
