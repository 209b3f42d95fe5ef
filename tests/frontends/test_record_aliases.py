"""Views, changes in place, and which arguments and weights a captured module is valid for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlc.errors import UnsupportedError
from mlc.frontends.torch import MISS
from mlc.frontends.torch.captured import Alias, FromResult
from tests.frontends.modules import Counting, Tied
from tests.frontends.replay import check, ops, recorded, same

torch.manual_seed(0)
X = torch.randn(2, 3, 8, 8)
V = torch.randn(4, 6)


# aliases and mutations


def test_returned_inputs_are_the_inputs():
    x = V.clone()
    binding = recorded(lambda x: (x, x.t(), x[1:, 2], x + 1), x)
    out = binding((x,), {})
    assert out[0] is x
    for view in out[1:3]:
        assert view.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
    same(out, (x, x.t(), x[1:, 2], x + 1))
    assert [type(o) for o in binding.captured.outputs] == [Alias, Alias, Alias, FromResult]


def test_views_of_outputs_share_memory():
    out = recorded(lambda x: (lambda y: (y, y.t(), y))(x + 1), V)((V,), {})
    assert out[2] is out[0]
    assert out[1].data_ptr() == out[0].data_ptr()


def test_views_returned_before_what_they_are_views_of():
    def model(x: torch.Tensor) -> Any:
        y = x * 2
        return y.detach(), y.t(), [y, x + 1]

    out = check(model, V)((V,), {})
    assert out[0].data_ptr() == out[1].data_ptr() == out[2][0].data_ptr()
    out[0][0, 0] = 7
    same([out[1][0, 0], out[2][0][0, 0], out[2][1]], [torch.tensor(7.0)] * 2 + [V + 1])


def test_returned_parameters_are_the_parameters():
    model = nn.Linear(6, 2)
    model.forward = lambda x: (model.weight, F.linear(x, model.weight))  # pyright: ignore
    assert recorded(model, V)((V,), {})[0] is model.weight


def test_inplace_changes_of_inputs_are_written_back():
    def model(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x.add_(1)
        y[1:].mul_(x[1:])
        return x, y.sum()

    binding = check(model, V.clone(), V.clone())
    x = V.clone()
    assert binding((x, V.clone()), {})[0] is x


def test_capture_in_inference_mode():
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        y[1:].mul_(3)
        x.add_(1)
        return y

    with torch.inference_mode():
        check(model, V.clone())


def test_a_mask_assignment():
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        y[y > 0] = -1.0
        y[:, 1] = 7
        return y

    check(model, V)


def test_buffers_that_change_are_written_back():
    model = Counting()
    binding = check(model, V)
    assert model.steps == 1, "the capture itself leaves no trace"
    assert len(binding.captured.inputs) == 3
    for count in (2, 3):
        out = binding((V,), {})
        assert out is not MISS and model.steps == count


def test_batch_norm_in_training_mode():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4, momentum=0.3)).train()
    check(model, X)


def test_copies_of_weights_may_be_changed_in_place():
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.randn(6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bias = self.bias.clone()
            bias[2:4].zero_()
            scale = self.bias.mul(2)
            scale.add_(1)
            return x * scale + bias

    check(Model(), V)


def test_masks_that_no_input_decides_become_positions():
    mask = torch.tensor([True, False, True, True, False, False])

    def model(x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        y[:, mask] = x[:, :3] * 2
        return y

    assert "nonzero" not in ops(check(model, V))


def test_inputs_that_overlap():
    binding = recorded(lambda x, y: (x.add_(1), y * 2)[1], V.clone(), V.clone())
    x = torch.zeros(5, 6)
    with pytest.raises(UnsupportedError, match="share memory"):
        binding((x[:4], x[1:]), {})
    assert binding((x[:4], x[:4].clone()), {}) is not MISS


# guards


@pytest.mark.parametrize(
    "args",
    [(V[:2], 2), (V.double(), 2), (V, 3), (V, 2.0), (V,), (V, 2, 1), ([V], 2), (V[0], 2), ("text", 2)],
)
def test_other_arguments_miss(args: tuple[Any, ...]):
    binding = recorded(lambda x, n=2, m=1: x * n, V, 2)
    assert binding((V + 1, 2), {}) is not MISS
    assert binding(args, {}) is MISS


def test_changed_weights_miss():
    model = Tied().eval()
    binding = recorded(model, V)
    for change in (
        lambda: model.a.bias.mul_(2),
        lambda: setattr(model.a, "bias", nn.Parameter(torch.ones(6))),
        lambda: model.load_state_dict({k: v + 1 for k, v in model.state_dict().items()}),
        lambda: model.b.train(),
    ):
        binding = recorded(model, V)
        assert binding((V,), {}) is not MISS
        with torch.no_grad():
            change()
        assert binding((V,), {}) is MISS


def test_gradients_are_refused():
    binding = recorded(lambda x: x * 2, V)
    with pytest.raises(UnsupportedError, match="'x' requires a gradient"):
        binding((V.clone().requires_grad_(),), {})
    with torch.no_grad():
        same(binding((V.clone().requires_grad_(),), {}), V * 2)


UNANNOUNCED = {
    "atleast_2d": torch.atleast_2d,
    "type_as": lambda y: y.type_as(y),
    "sum_to_size": lambda y: y.sum_to_size(*y.shape),
    "einsum": lambda y: torch.einsum("ij->ij", y),
    "broadcast_tensors": lambda y: torch.broadcast_tensors(y, torch.zeros(6))[0],
}


@pytest.mark.parametrize("name", UNANNOUNCED)
def test_ops_that_return_their_input_share_its_changes(name: str):
    op = UNANNOUNCED[name]

    def changes_the_result(x: torch.Tensor) -> Any:
        y = x + 1
        op(y).mul_(2)
        return y

    def changes_the_input(x: torch.Tensor) -> Any:
        y = op(x)
        x.mul_(2)
        return y + 1

    check(changes_the_result, V)
    check(changes_the_input, V)


@pytest.mark.parametrize(
    "op",
    [
        torch.atleast_3d,
        lambda y: torch.einsum("ij->ji", y),
        lambda y: torch.broadcast_tensors(y, torch.zeros(2, 4, 6))[0][0],
        lambda y: y[torch.tensor(1)],
    ],
)
def test_views_that_nobody_announces_may_not_be_changed(op: Any):
    def model(x: torch.Tensor) -> Any:
        y = x + 1
        op(y).mul_(2)
        return y

    with pytest.raises(UnsupportedError, match="shares memory with another") as info:
        recorded(model, V)
    assert "test_record_aliases.py:" in str(info.value) and "clone" in (info.value.hint or "")
    check(lambda x: op(x + 1) * 2, V)


def test_changes_put_back_by_a_tensor_index_and_fills_of_expanded_tensors():
    def put_back(x: torch.Tensor) -> Any:
        y = x + 1
        y[torch.tensor(1)] += 5
        return y

    def filled(x: torch.Tensor) -> Any:
        y, z = x[0] + 1, x[0] + 2
        y.expand(3, 6).fill_(7)
        z.expand(3, 6).zero_()
        return y, z

    check(put_back, V)
    check(filled, V)


def test_a_strided_view_resized_to_its_own_size():
    def model(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = x * 2
        column = y[..., 0]
        column.resize_(column.shape).add_(1)
        return y, x.t().resize_as_(y.t()) + 1

    check(model, V)
    check(lambda x: (x * 2).t().resize_(4, 6) + 1, V)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.cumsum_(0),
        lambda v: v.scatter_(0, torch.zeros(6, 4, dtype=torch.int64), 2.0),
        lambda v: v.__setitem__(v > 0, 0.0),
        lambda v: torch.cumsum(v, 0, out=v),
        lambda v: v.tril_(),
    ],
)
def test_changes_through_a_transpose_while_a_flat_view_lives(change: Any):
    def model(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = x * 1
        flat = y.view(-1)
        change(y.t())
        flat.add_(1)
        return flat, y.view(3, 8)

    check(model, V)
