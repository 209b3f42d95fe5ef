"""Inputs that are one tensor, and inputs that are a tensor of the model's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import mlc
from mlc.errors import UnsupportedError
from mlc.frontends.torch import MISS
from tests.frontends.replay import recorded, same

A, B = torch.arange(3.0), torch.tensor([5.0, -1.0, 2.0])


def plain(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x + 2 * y


def asks(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x * 3 if x is y else x - y


def in_place(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x.add_(1)
    return x * y


@pytest.mark.parametrize("first", [(A, A), (A, B)], ids=["one", "two"])
@pytest.mark.parametrize("model", [plain, asks, in_place])
def test_calls_with_one_tensor_and_with_two(model: Any, first: tuple[torch.Tensor, torch.Tensor]):
    def both(function: Any, x: torch.Tensor, y: torch.Tensor) -> Any:
        a = x.clone()
        b = a if x is y else y.clone()
        return function(a, b), a, b

    compiled = mlc.compile(model)
    both(compiled, *first)
    for x, y in ((A, B), (A, A), (B, A), (B, B)):
        same(both(compiled, x, y), both(model, x, y))


def test_a_capture_with_one_tensor_serves_any_where_the_model_does_not_ask():
    binding = recorded(plain, A, A)
    for x, y in ((A, B), (A, A)):
        same(binding((x, y), {}), plain(x, y))
    nested = recorded(lambda pair: plain(*pair), [A, A])
    same(nested(([A, B],), {}), plain(A, B))
    assert recorded(asks, A, A)((A, B), {}) is MISS
    assert recorded(asks, A, B)((A, A), {}) is MISS


def test_many_inputs():
    def model(*xs: torch.Tensor) -> torch.Tensor:
        return sum((x * i for i, x in enumerate(xs)), torch.zeros(3)) + (1 if xs[4] is xs[5] else 0)

    compiled = mlc.compile(model)
    given = [torch.full((3,), float(i)) for i in range(6)]
    for xs in (given, [*given[:5], given[4]], [*given[:5], given[0]], [A] * 6, given):
        same(compiled(*xs), model(*xs))


def test_attention_of_a_tensor_to_itself_and_to_another():
    model = nn.MultiheadAttention(8, 2, batch_first=True).eval().requires_grad_(False)
    x, y = torch.randn(2, 4, 8), torch.randn(2, 4, 8)
    compiled = mlc.compile(model)
    for given in ((x, x, x), (x, y, y), (x, x, x), (x, y, x)):
        same(compiled(*given), model(*given))


def test_an_input_that_is_a_tensor_of_the_model():
    model = nn.Linear(3, 3).requires_grad_(False)
    compiled = mlc.compile(model)
    for x in (model.weight, torch.randn(3, 3)):
        same(compiled(x), model(x))
    held = torch.ones(3)
    compiled = mlc.compile(lambda x: x + held)
    same([compiled(held), compiled(A)], [held * 2, A + 1])


def test_changes_of_an_input_that_is_a_tensor_of_the_model_are_refused():
    held = torch.ones(3)

    def changes_it(x: torch.Tensor) -> torch.Tensor:
        x.mul_(2)
        return x + held

    class Counts(nn.Module):
        count: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.ones(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count.add_(1)
            return x + self.count

    with pytest.raises(UnsupportedError, match="a weight of the model and input 'x' share memory"):
        mlc.compile(changes_it)(held)
    counts = Counts()
    with pytest.raises(UnsupportedError, match="a buffer of the model and input 'x' share memory"):
        mlc.compile(counts)(counts.count)
    same([held, counts.count], [torch.ones(3)] * 2)
    same(mlc.compile(changes_it)(A.clone()), A * 2 + 1)


def test_examples_of_open_sizes_that_are_one_tensor_or_the_models():
    held = torch.ones(3)
    sizes = {0: torch.export.Dim("n")}
    same(mlc.compile(plain, (A, A), dynamic_shapes=(sizes, sizes))(A, B), plain(A, B))
    compiled = mlc.compile(lambda x: x + held[:1], (held,), dynamic_shapes=(sizes,))
    same(compiled(torch.zeros(5)), torch.ones(5))
