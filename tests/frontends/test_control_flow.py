"""Control-flow ops of PyTorch in a model: `torch.cond` becomes a choice, the others are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._higher_order_ops.while_loop import while_loop

import mlc
from mlc.errors import ExecutionError, UnsupportedError
from mlc.frontends.torch import capture
from mlc.ir.resources import ResourceStore
from tests.frontends.replay import recorded

V = torch.rand(4, 6)


class Gate(nn.Module):
    """Two branches with weights of their own and a nested result."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 6)
        self.b = nn.Linear(6, 6)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> Any:
        def then(x: torch.Tensor) -> Any:
            return self.a(x).relu(), {"x": x * 2}

        def otherwise(x: torch.Tensor) -> Any:
            return self.b(x), {"x": x}

        return torch.cond(x.sum() > 0, then, otherwise, (x,))


class Counting(Gate):
    """Changes a buffer in one branch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def then(x: torch.Tensor) -> torch.Tensor:
            self.calls.add_(1)
            return x + self.calls

        return torch.cond(x.sum() > 0, then, torch.clone, (x,))


def _nested(x: torch.Tensor) -> torch.Tensor:
    inner = lambda x: torch.cond(x[0, 0] > 0.5, lambda x: x * 3, lambda x: x * 4, (x,))  # noqa: E731
    return torch.cond((x.sum() > 0).reshape(1), inner, lambda x: x.log(), (x,))


@pytest.mark.parametrize("model", [Gate(), _nested], ids=["module", "nested"])
@torch.no_grad()
def test_both_branches_are_in_the_program(model: Callable[..., Any]):
    made = recorded(model, V)
    for x in (V, -V, V - 0.9):
        torch.testing.assert_close(made((x,), {}), model(x), equal_nan=True)


def _looks_up(x: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
    return torch.cond(i.sum() > 9, lambda x, i: x[i] * 2, lambda x, i: x[i - 9] + i.view(2, 1) // (i[1:] - 4), (x, i))


@torch.no_grad()
@pytest.mark.parametrize("first", [[3, 2], [10, 11]])
def test_what_is_wrong_in_the_branch_not_taken_does_not_matter(first: list[int]):
    def model(x: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        return _looks_up(x, i) + torch.cond(i[0] > 6, lambda i: i % (i - 3), lambda i: i + 1, (i,)).sum()

    x = torch.rand(12, 3)
    compiled = mlc.compile(model)
    for i in (first, [10, 11], [3, 2], [10, 4], [12, -3]):
        given = torch.tensor(i)
        torch.testing.assert_close(compiled(x, given), model(x, given))
    with pytest.raises(ExecutionError, match="index out of range"):
        compiled(x, torch.tensor([12, 11]))
    with pytest.raises(ExecutionError, match=r"the model itself failed .* out of bounds"):
        mlc.compile(model)(x, torch.tensor([12, 11]))


def test_with_open_sizes():
    model = Gate()
    compiled = mlc.compile(model, (V,), dynamic_shapes=({0: "n"},))
    with torch.no_grad():
        for x in (V, V[:2], -V[:3]):
            torch.testing.assert_close(compiled(x), model(x))


def _asserts(x: torch.Tensor) -> torch.Tensor:
    torch.ops.aten._assert_async.msg((x >= 0).all(), "none may be negative")
    return torch.zeros(3)


def _asserts_a_number(x: torch.Tensor) -> torch.Tensor:
    torch.ops.aten._assert_async(x.sum() + 6)
    return x + 1


@pytest.mark.parametrize(
    ("model", "bad", "text"),
    [
        (_asserts, [-1.0, 0.0, 0.0], "none may be negative"),
        (_asserts_a_number, [-6.0, 1.0, -1.0], "the assertion does not hold"),
        (lambda x: F.binary_cross_entropy(x, torch.ones_like(x)), [0.5, 1.1, 0.0], "input should be between 0 and 1"),
        (lambda x: x.repeat_interleave(x.long() + 1, output_size=3), [-2.0, 1.0, 1.0], "repeats must not be negative"),
    ],
)
@torch.no_grad()
def test_checks_of_values_are_made_at_every_call(model: Callable[..., Any], bad: list[float], text: str):
    compiled = mlc.compile(model)
    x = torch.zeros(3)
    torch.testing.assert_close(compiled(x), model(x))
    with pytest.raises(ExecutionError, match=f"{text} at .*test_control_flow.py:"):
        compiled(torch.tensor(bad))


@torch.no_grad()
def test_checks_of_values_with_open_sizes():
    compiled = mlc.compile(_asserts_a_number, (torch.zeros(3),), dynamic_shapes=({0: "n"},))
    torch.testing.assert_close(compiled(torch.zeros(5)), torch.ones(5))
    with pytest.raises(ExecutionError, match="the assertion does not hold"):
        compiled(torch.full((2,), -3.0))


class Plain(Gate):
    """What torch.export takes: results that are new tensors."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda x: self.a(x).relu(), lambda x: self.b(x), (x,))


def test_in_exported_programs():
    model = Plain()
    compiled = mlc.compile(torch.export.export(model, (V,)))
    with torch.no_grad():
        for x in (V, -V):
            torch.testing.assert_close(compiled(x), model(x))

    class Loop(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return _loop(x)

    with pytest.raises(UnsupportedError, match="uses the control-flow op 'while_loop'"):
        mlc.compile(torch.export.export(Loop(), (V,)))(V)


def _change_an_operand(x: torch.Tensor) -> torch.Tensor:
    return torch.cond(x.sum() > 0, lambda x: x.add_(1), lambda x: x - 1, (x,))


def _change_what_is_outside(x: torch.Tensor) -> torch.Tensor:
    y = x * 2

    def then(x: torch.Tensor) -> torch.Tensor:
        y.add_(1)
        return x

    return torch.cond(x.sum() > 0, then, torch.clone, (x,)) + y


def _different_results(x: torch.Tensor) -> torch.Tensor:
    return torch.cond(x.sum() > 0, lambda x: x[:1] * 2, lambda x: x - 1, (x,))


def _loop(x: torch.Tensor) -> Any:
    return while_loop(lambda x: x.sum() < 100, lambda x: (x + 1,), (x,))


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (_change_an_operand, "changes a tensor in place in a branch"),
        (_change_what_is_outside, "changes a tensor in place in a branch"),
        (Counting(), "changes a tensor in place in a branch"),
        (_different_results, "branches of torch.cond that return different things"),
        (_loop, "uses the control-flow op 'while_loop'"),
    ],
)
@torch.no_grad()
def test_what_is_no_choice_is_refused(model: Callable[..., Any], text: str):
    with pytest.raises(UnsupportedError, match=text) as info:
        capture(model, (V.clone(),), {}, ResourceStore())
    assert "test_control_flow.py:" in str(info.value) and info.value.hint
    with pytest.raises(UnsupportedError) as info:
        mlc.compile(model, (V.clone(),), dynamic_shapes=({0: "n"},))
    assert text in str(info.value) and info.value.hint
