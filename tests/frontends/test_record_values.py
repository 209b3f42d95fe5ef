"""What the recorder folds, and how weights, inputs and outputs stand in the captured module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from mlc.frontends.torch import capture
from mlc.ir.context import make_context
from tests.frontends.modules import Tied
from tests.frontends.replay import check, ops, recorded

torch.manual_seed(0)
V = torch.randn(4, 6)


# what depends on no input is folded


def test_masks_are_folded():
    binding = check(lambda x: x.masked_fill(torch.triu(torch.ones(6, 6, dtype=torch.bool), 1), -1.0), torch.randn(6, 6))
    assert ops(binding) == ["masked_fill.Scalar"]


def test_uniform_constants_are_one_op():
    assert ops(check(lambda x: x + torch.zeros(4, 6), V)) == ["full", "add.Tensor"]


def test_values_of_folded_tensors_may_be_read():
    def model(x: torch.Tensor) -> torch.Tensor:
        mask = torch.arange(6) % 2 == 0
        if mask.any() and mask.sum().item() == 3 and mask.tolist()[0] and mask.numpy()[0]:
            return x[:, mask.nonzero()[:, 0]]
        return x

    check(model, V)


def test_uninitialised_memory_is_zero():
    assert ops(check(lambda x: torch.empty(4, 6).copy_(x) + 1, V))[-1] == "add.Scalar"


# weights


def test_weights_are_references():
    model = Tied().eval()
    ctx = make_context()
    capture(model, (V,), {}, ctx.resources)
    assert list(ctx.resources) == ["a.weight", "a.bias", "b.bias", "table"]
    assert np.shares_memory(ctx.resources.get("a.weight"), model.a.weight.detach().numpy())
    check(model, V)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(dtype: torch.dtype):
    model = nn.Linear(6, 5).to(dtype).eval()
    check(model, V.to(dtype))


def test_integer_and_bool_tensors():
    check(lambda i, b: (i * 2, ~b, i.to(torch.uint8), torch.where(b, i, -i)), torch.arange(6), torch.arange(6) > 2)


def test_literals_of_every_kind():
    def model(x: torch.Tensor) -> list[torch.Tensor]:
        few = [
            torch.tensor([1, -2]),
            torch.tensor([True, False]),
            torch.tensor(2.5),
            torch.tensor([0.1], dtype=torch.float64),
        ]
        few += [torch.tensor([1.5, 2.5], dtype=torch.bfloat16), torch.zeros(0, 3), torch.full((40,), -0.0)]
        few += [torch.arange(40), torch.arange(40) % 3 == 0, torch.ones(5, 5, dtype=torch.bool)]
        return [f + 0 if f.dtype != torch.bool else ~f for f in few] + [x + 1, x * few[2]]

    check(model, V)


# inputs and outputs


class Pair(NamedTuple):
    first: torch.Tensor
    second: Any


@dataclass
class Output:
    value: torch.Tensor
    note: str


pytree.register_dataclass(Output)


def test_nested_inputs_and_outputs():
    def model(d: dict[str, Any], p: Pair, *, scale: float) -> Any:
        return {"a": [d["x"] * scale, None, 3], "b": Pair(p.first + 1, (p.second,)), "c": Output(d["x"] - 1, "note")}

    check(model, {"x": V, "n": 2}, Pair(V, "text"), scale=2.0)


@pytest.mark.parametrize(
    "x",
    [
        torch.tensor(2.0),
        torch.zeros(0, 3),
        torch.randn(6, 4).t(),
        torch.randn(1, 6).expand(4, 6),
        torch.randn(8, 12)[::2, ::2],
        torch.tensor([float("nan"), float("inf"), -0.0, 1e-42]),
        nn.Parameter(torch.randn(3)),
    ],
    ids=["0-d", "zero-size", "transposed", "expanded", "strided", "special", "parameter"],
)
def test_unusual_inputs(x: torch.Tensor):
    check(lambda x: torch.relu(x) + x, x)


def test_numpy_in_numpy_out():
    binding = recorded(lambda x, y: (x + y, x), V.numpy(), V.numpy())
    total, same_input = binding((V.numpy(), V.numpy()), {})
    assert isinstance(total, np.ndarray) and np.array_equal(total, 2 * V.numpy())
    assert np.shares_memory(same_input, V.numpy())


def test_no_tensor_inputs():
    check(lambda n: torch.arange(n) * 2, 4)
