"""Arithmetic that a capture leaves out: the same graph, the same refusals, and right values wherever one is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import mlc
from mlc.errors import UnsupportedError
from mlc.frontends.torch import deferred
from mlc.frontends.torch.deferred import Deferred
from mlc.frontends.torch.record import capture
from mlc.ir.context import MlcContext
from mlc.ir.locations import format_location
from mlc.ir.parsing import print_text
from mlc.ir.resources import ResourceStore
from tests.models.zoo import ZOO

aten = torch.ops.aten
W = torch.randn(4, 4)


class Layers(nn.Module):
    """Equal layers, `look` at what the last one gives."""

    def __init__(self, look: Callable[[torch.Tensor], Any], layer: nn.Module | None = None) -> None:
        super().__init__()
        self.layer = layer or nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.LayerNorm(4)).eval()
        self.look = look
        self.seen: list[Any] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            x = self.layer(x)
        object.__setattr__(self, "seen", [*self.seen, self.look(x)])
        return x


def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left out any more."""
    monkeypatch.setattr(deferred, "DEFERRED", {})
    deferred._kinds.cache_clear()


@pytest.fixture(autouse=True)
def fresh_names() -> Any:
    yield
    deferred._kinds.cache_clear()


def described(model: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """All that a capture knows, but for objects of its own."""
    ctx = MlcContext()
    captured = capture(model, inputs, {}, ctx.resources)
    weights = {name: ctx.resources.get(name).tobytes() for name in ctx.resources}
    return (
        print_text(captured.module),
        [format_location(op.location) for op in captured.module.walk()],
        weights,
        captured.guards,
        captured.inputs,
        list(map(repr, captured.outputs)),
        [(repr(m.target), m.index) for m in captured.mutations],
        [id(w.tensor) for w in captured.state.weights],
        captured.layouts,
        captured.context,
        captured.asks_gradients,
        captured.identities,
    )


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the calls that are left out from now on."""
    names: list[str] = []
    leave_out = Deferred._leave_out

    def note(self: Deferred, func: Any, *rest: Any) -> Any:
        names.append(func._schema.name)
        return leave_out(self, func, *rest)

    monkeypatch.setattr(Deferred, "_leave_out", note)
    return names


@pytest.mark.parametrize("name", ZOO)
def test_models_are_captured_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = ZOO[name].build(batch=2, small=True)
    ours = described(model, inputs)
    without(monkeypatch)
    assert ours == described(model, inputs)


def test_equal_layers_run_once_and_products_never(monkeypatch: pytest.MonkeyPatch) -> None:
    names, run = counted(monkeypatch), torch._ops.OpOverload.__call__
    ran: list[str] = []

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        ran.append(self._schema.name)
        return run(self, *args, **kwargs)

    monkeypatch.setattr(torch._ops.OpOverload, "__call__", call)
    described(Layers(id), (torch.randn(2, 4),))
    assert names == ["aten::linear", "aten::gelu", "aten::layer_norm"] * 3
    assert ran == ["aten::gelu", "aten::layer_norm"]


@pytest.mark.parametrize(
    "look",
    [
        lambda x: float(x.sum()),
        lambda x: x[0].tolist(),
        lambda x: x.t().numpy().reshape(-1).tolist(),
        lambda x: bool((x > 0).all()),
        lambda x: x.argmax().item(),
        lambda x: float((x.t() + 0).cumsum_(0).sum()),  # laid out as before the change in place
        lambda x: float((x + 0).t().tril_().sum()),
    ],
)
def test_values_that_are_read_are_those_of_eager(look: Any) -> None:
    """Such a model is refused, after a run in which Python saw what it sees in eager."""
    model = Layers(look)
    x = torch.randn(2, 4)
    with torch.no_grad():
        model(x)
    with pytest.raises(UnsupportedError, match="reads the value of a tensor"):
        capture(model, (x,), {}, ResourceStore())
    (theirs, ours) = model.seen
    assert ours == pytest.approx(theirs)


def test_values_are_made_up_for_in_order_and_through_views() -> None:
    calls = Deferred()
    first, second = torch.randn(4, 4), torch.randn(4, 4)
    calls.run(aten.tanh.default, (calls.run(aten.mm.default, (first, W), {}),), {})
    product = calls.run(aten.mm.default, (second, W), {})
    row = calls.run(aten.select.int, (calls.run(aten.tanh.default, (product,), {}), 0, 1), {})
    calls.settle([row])
    assert torch.equal(row, (second @ W).tanh()[1])
    assert torch.equal(product, second @ W)


def test_a_call_on_what_was_left_out_only_shows_what_it_gives() -> None:
    """An op seen for the first time runs on any memory: its own result must not be taken for right."""
    calls = Deferred()
    calls.run(aten.mm.default, (W, W), {})
    x = torch.randn(4, 4)
    product = calls.run(aten.mm.default, (x, W), {})
    result = calls.run(aten.sigmoid.default, (product,), {})
    calls.settle([result])
    assert torch.equal(result, (x @ W).sigmoid())


def test_ops_that_check_values_get_them() -> None:
    table = nn.Embedding(4, 4)

    def look(x: torch.Tensor) -> torch.Tensor:
        return table((x * 0 + 9).long())

    with pytest.raises(Exception, match="index out of range") as eager:
        Layers(look)(torch.randn(2, 4))
    with pytest.raises(mlc.MlcError) as ours:
        mlc.compile(Layers(look))(torch.randn(2, 4))
    assert str(eager.value) in str(ours.value)


@pytest.mark.parametrize("check", [aten.linalg_inv_ex.default, aten.nonzero.default, aten.embedding.default])
def test_ops_that_may_refuse_values_are_never_left_out(check: torch._ops.OpOverload) -> None:
    assert deferred._kinds(check) is None


def test_integers_that_are_divided_are_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    names = counted(monkeypatch)

    def model(x: torch.Tensor) -> torch.Tensor:
        return (x.div(2, rounding_mode="floor") + 1).div(2, rounding_mode="floor") + 1

    described(model, (torch.arange(4),))
    assert not names
    described(model, (torch.randn(4),))
    assert len(names) == 2


def test_layouts_of_memory_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def model(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        for _ in range(3):
            x = F.relu(x * 2, inplace=True)
            x = F.scaled_dot_product_attention(x, x, x)
            x.add_(1)
        return x, x.transpose(1, 2).reshape(2, 4, -1), torch.tensor(x.stride())

    x = torch.randn(2, 4, 3, 6).to(memory_format=torch.channels_last)
    ours = described(model, (x,))
    assert ours[8] is not None
    without(monkeypatch)
    assert ours == described(model, (x,))


def test_settings_inside_of_the_model_count() -> None:
    """Under other settings an op may run another kernel, with other results."""

    def model(x: torch.Tensor) -> torch.Tensor:
        y = x @ W
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = x @ W
        return y + z

    assert "bf16" in described(model, (torch.randn(4, 4),))[0]


def test_nothing_is_left_out_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = Layers(id), (torch.randn(2, 4),)
    ours = described(model, inputs)
    monkeypatch.setattr(deferred, "HELD_LIMIT", 0)
    names = counted(monkeypatch)
    assert ours == described(model, inputs)
    assert names == ["aten::linear", "aten::linear", "aten::layer_norm", "aten::gelu"]  # each settled before the next


def test_hooks_run_once_and_random_numbers_stay() -> None:
    ran: list[int] = []
    model = Layers(id)
    model.layer.register_forward_hook(lambda *_: ran.append(1))
    state = torch.get_rng_state()
    with pytest.warns(UserWarning, match="changes Python values"):
        capture(model, (torch.ones(2, 4),), {}, ResourceStore())
    assert len(ran) == 3
    assert torch.equal(state, torch.get_rng_state())


def test_a_mode_of_the_caller_sees_every_op() -> None:
    seen: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func._schema.name)
            return func(*args, **(kwargs or {}))

    with Watch():
        capture(Layers(id), (torch.randn(2, 4),), {}, ResourceStore())
    assert seen.count("aten::layer_norm") + seen.count("aten::native_layer_norm") == 3


def test_training_is_refused_as_before() -> None:
    layer = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    with pytest.raises(UnsupportedError, match="draws random numbers"):
        capture(Layers(id, layer), (torch.randn(2, 4),), {}, ResourceStore())


def test_statistics_of_batches_are_updated() -> None:
    layer = nn.BatchNorm2d(4).train()
    model, x = Layers(id, layer), torch.randn(3, 4, 5, 5)
    reference = nn.BatchNorm2d(4).train()
    compiled = mlc.compile(model)
    compiled(x)
    with torch.no_grad():
        y = x
        for _ in range(3):
            y = reference(y)
    for ours, theirs in zip(layer.buffers(), reference.buffers(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
