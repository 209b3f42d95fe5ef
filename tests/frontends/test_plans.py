"""Plans of calls change how long a recording takes, not what is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlc.errors import MlcError
from mlc.frontends.torch.plans import Plans
from mlc.frontends.torch.record import capture
from mlc.ir.locations import format_location
from mlc.ir.parsing import print_text
from mlc.ir.resources import ResourceStore
from tests.models.zoo import ZOO

X = torch.randn(6, 4, 8)


def recorded(model: Callable[..., Any], *inputs: Any) -> tuple[str, list[str], list[str]]:
    captured = capture(model, inputs, {}, ResourceStore())
    places = [format_location(op.location) for op in captured.module.walk()]
    return print_text(captured.module), places, list(map(repr, captured.outputs))


def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plans, "key", lambda *_: None)


def followed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the calls that follow plans from now on."""
    names: list[str] = []
    follow = Plans.follow

    def note(self: Plans, plan: Any, func: Any, *rest: Any) -> Any:
        names.append(func._schema.name.removeprefix("aten::"))
        return follow(self, plan, func, *rest)

    monkeypatch.setattr(Plans, "follow", note)
    return names


@pytest.mark.parametrize("name", ZOO)
def test_models_are_recorded_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = ZOO[name].build(batch=2, small=True)
    ours = recorded(model, *inputs)
    without(monkeypatch)
    assert ours == recorded(model, *inputs)


def steps(body: Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]) -> Callable[[torch.Tensor], Any]:
    def model(x: torch.Tensor) -> torch.Tensor:
        h = x[0] * 1.5
        for t in range(6):
            h = body(h, x, t)
        return h

    return model


W = nn.Linear(8, 16)
CELLS = nn.LSTMCell(8, 8), nn.GRUCell(8, 8), nn.RNNCell(8, 8)
FEW: dict[str, Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]] = {
    "a cell": lambda h, x, t: torch.tanh(W(x[t]).chunk(2, -1)[0] + h),
    "one tensor twice, then two": lambda h, x, t: h * h if t % 2 else h * x[t],
    "two tensors, then one twice": lambda h, x, t: h * x[t] if t % 2 else h * h,
    "one value in two tensors": lambda h, x, t: h.clone() * h if t < 3 else h * x[t],
    "rows from the end": lambda h, x, t: h + x[-t - 1],
    "the index is the dim": lambda h, x, t: h + x.select(0, t) + x.select(1, 1)[:4] if t else h + x.select(0, 0),
    "numbers": lambda h, x, t: (h * 0.5 + t).clamp(-1, 1) - 1,
    "zeros of both signs": lambda h, x, t: F.hardtanh(F.relu(h), 0.0 if t % 2 else -0.0),
    "views of views": lambda h, x, t: h.t().reshape(2, 16).view(4, 8).unsqueeze(0).squeeze(0),
    "constants": lambda h, x, t: h + torch.full((4, 8), float(t)),
    "views of constants": lambda h, x, t: (
        torch.maximum(h, torch.full((3, 8), t - 3.0)[:1]) + torch.full((3, 8), t + 0.5)[1]
    ),
    "masks": lambda h, x, t: h.masked_fill(torch.full((4, 8), t % 2 == 0), 9.0) * x[t],
    "constants in lists": lambda h, x, t: torch.cat([h, torch.full((4, 8), float(t))])[2:6],
    "in place": lambda h, x, t: h.clone().add_(x[t]).mul_(h),
    "rows written": lambda h, x, t: torch.zeros(4, 8).index_copy(0, torch.tensor([t % 4]), h[:1]) + h,
    "other strides": lambda h, x, t: (h if t % 2 else h.t().contiguous().t()) + 1,
    "another dtype": lambda h, x, t: (h.double() if t == 3 else h) * 2,
    "lists": lambda h, x, t: torch.cat([h, x[t]]).split(4)[1] + torch.stack([h, x[t]]).sum(0),
    "PyTorch's cells": lambda h, x, t: CELLS[0](CELLS[1](x[t], h), (CELLS[2](h), h))[0],
    "lists of one tensor twice": lambda h, x, t: torch.cat([h, h] if t % 2 else [h, x[t]])[2:6],
    "a list that is longer": lambda h, x, t: torch.stack([h, x[t], x[0]] if t > 3 else [h, x[t]]).sum(0),
    "a view that is returned": lambda h, x, t: h[:, :8],
}


@pytest.mark.parametrize("body", FEW.values(), ids=FEW)
def test_steps_are_recorded_the_same(body: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names = followed(monkeypatch)
    ours = recorded(steps(body), X)
    assert names
    without(monkeypatch)
    assert ours == recorded(steps(body), X)


def test_a_step_like_the_one_before_follows_plans_only(monkeypatch: pytest.MonkeyPatch) -> None:
    names = followed(monkeypatch)
    recorded(steps(FEW["a cell"]), X)
    assert names[-5:] == ["select", "linear", "split", "add", "tanh"]


def test_settings_that_change_on_the_way_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        h = x[0]
        for _ in range(3):
            h = h @ h.t() @ h
        with torch.autocast("cpu", torch.bfloat16):
            for _ in range(3):
                h = h @ h.t() @ h
        return h

    ours = recorded(model, X)
    assert "bf16" in ours[0]
    without(monkeypatch)
    assert ours == recorded(model, X)


def test_rows_that_are_not_there() -> None:
    with pytest.raises(MlcError, match=r"out of (range|bounds)"):
        recorded(lambda x: sum(x[t] for t in range(7)), X)
