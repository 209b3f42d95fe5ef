"""Changes of what a model consists of (submodules, slots, hooks, functions, lists): noticed at the next call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mlc

V = torch.randn(4, 6)
FACTOR = 2.0
FACTORS = [1.0, 2.0]


def _double(x: torch.Tensor) -> torch.Tensor:
    return x * 2


class Settings:
    """A namespace of values."""

    shift = 1.0


class Slotted:
    """An object without a dict."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 1.0


def _scaled(x: torch.Tensor, by: float = 1.0, *, more: float = 1.0) -> torch.Tensor:
    return x * by * more


class Parts(nn.Module):
    """Everything that can hold something."""

    gain = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 6, bias=False), nn.ReLU())
        self.layers = nn.ModuleList([nn.Linear(6, 6)])
        self.heads = nn.ModuleDict({"a": nn.Linear(6, 6), "b": nn.Linear(6, 6)})
        self.weights = nn.ParameterList([torch.ones(6)])
        self.named = nn.ParameterDict({"a": torch.ones(6), "b": torch.full((6,), 2.0)})
        self.norm: nn.Module | None = None
        self.register_buffer("shift", None)
        self.register_parameter("scale", None)
        self.act = F.relu
        self.part = functools.partial(torch.clamp, min=-1.0)
        self.factors = [1.0, 2.0]
        self.table = {"x": 1.0, "y": 2.0}
        self.chosen = {1, 2}
        self.steps = [self._step]
        self.config = SimpleNamespace(size=1.0, sizes=[1.0])
        self.hidden = [nn.Linear(6, 6)]
        self.slotted = Slotted()
        self.few = np.array([1.0, 1.0])
        self.many = np.ones((4, 6), np.float32)

    def _step(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x)
        for layer in self.layers:
            x = layer(x)
        for head in self.heads.values():
            x = x + head(x)
        for weight in (*self.weights, *self.named.values()):
            x = torch.sin(x) * weight
        for size in self.table.values():
            x = torch.sin(x) * size
        for size in (*self.factors, self.config.size, *self.config.sizes, *self.chosen):
            x = x * size
        for step in self.steps:
            x = step(x)
        x = self.hidden[0](x) if self.norm is None else self.norm(x)
        x = _scaled(x, self.slotted.size, more=float(self.few[1])) * torch.from_numpy(self.many)
        x = x if self.shift is None else x + self.shift
        x = x if self.scale is None else x * self.scale
        return self._step(self.part(self.act(x))) * self.gain * getattr(self, "extra", 1.0) * FACTOR - Settings.shift


def _swap_hook(m: Parts) -> None:
    m.body[0]._forward_hooks.clear()
    m.body[0].register_forward_hook(lambda module, args, out: out - 3)


def _other_hooks(m: Parts) -> None:
    m.body[0]._forward_hooks = {}


def _other_method(m: Parts) -> None:
    m._step = lambda x: x - 1


def _reparametrized(m: Parts) -> None:
    nn.utils.parametrize.register_parametrization(m.layers[0], "weight", nn.Tanh())


def _first_last(table: dict[str, Any]) -> None:
    key = next(iter(table))
    table[key] = table.pop(key)


def _list_attribute(m: Parts) -> None:
    m.factors[1] = 7.0


class Loud(nn.Linear):
    """Another linear layer."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input) * 3


CHANGES: dict[str, Callable[[Parts], object]] = {
    "Sequential.append": lambda m: m.body.append(nn.Tanh()),
    "Sequential.insert": lambda m: m.body.insert(0, nn.Tanh()),
    "del of a Sequential": lambda m: m.body.__delitem__(1),
    "ModuleList.append": lambda m: m.layers.append(nn.Linear(6, 6)),
    "ModuleList assignment": lambda m: m.layers.__setitem__(0, nn.Linear(6, 6)),
    "ModuleDict key": lambda m: m.heads.update({"c": nn.Linear(6, 6)}),
    "other table of parameters": lambda m: setattr(
        m.body[0], "_parameters", {"weight": torch.ones(6, 6), "bias": None}
    ),
    "order of a Sequential": lambda m: _first_last(m.body._modules),
    "order of a ModuleDict": lambda m: m.heads.update({"a": m.heads.pop("a")}),
    "order of a ParameterDict": lambda m: m.named.update({"a": m.named.pop("a")}),
    "order of a dict": lambda m: _first_last(m.table),
    "order of hooks": lambda m: _first_last(m.body[0]._forward_hooks),
    "ParameterList": lambda m: m.weights.append(torch.full((6,), 2.0)),
    "ParameterDict": lambda m: m.named.update({"c": torch.full((6,), 2.0)}),
    "bias where None was": lambda m: setattr(m.body[0], "bias", nn.Parameter(torch.ones(6))),
    "buffer where None was": lambda m: setattr(m, "shift", torch.ones(6)),
    "parameter where None was": lambda m: setattr(m, "scale", nn.Parameter(torch.full((6,), 2.0))),
    "module where None was": lambda m: setattr(m, "norm", nn.LayerNorm(6)),
    "tensor where None was": lambda m: m.__dict__.update(norm=nn.Tanh()),
    "function": lambda m: setattr(m, "act", F.gelu),
    "partial": lambda m: setattr(m, "part", functools.partial(torch.clamp, min=0.5)),
    "argument of a partial": lambda m: m.part.keywords.update(min=0.5),
    "method of the instance": _other_method,
    "forward of a submodule": lambda m: setattr(m.body[1], "forward", lambda x: x - 1),
    "forward of the class": lambda m: setattr(m.body[0], "__class__", Loud),
    "class attribute on the instance": lambda m: setattr(m, "gain", 3.0),
    "attribute asked for by getattr": lambda m: setattr(m, "extra", 3.0),
    "rebound list": lambda m: setattr(m, "factors", [5.0]),
    "item of a list": _list_attribute,
    "longer list": lambda m: m.factors.append(2.0),
    "value of a dict": lambda m: m.table.update(x=3.0),
    "key of a dict": lambda m: m.table.update(z=3.0),
    "set": lambda m: m.chosen.add(3),
    "function in a list": lambda m: m.steps.append(_double),
    "module in a list": lambda m: m.hidden.__setitem__(0, nn.Tanh()),
    "mode of a module in a list": lambda m: m.hidden[0].eval(),
    "attribute of an object": lambda m: setattr(m.config, "size", 3.0),
    "list of an object": lambda m: m.config.sizes.append(3.0),
    "attribute in a slot": lambda m: setattr(m.slotted, "size", 3.0),
    "element of a small array": lambda m: m.few.__setitem__(1, 3.0),
    "large array": lambda m: m.many.fill(3.0),
    "another array": lambda m: setattr(m, "many", np.full((4, 6), 2.0, np.float32)),
    "another object": lambda m: setattr(m, "config", SimpleNamespace(size=4.0, sizes=[])),
    "other hook": _swap_hook,
    "other table of hooks": _other_hooks,
    "parametrization": _reparametrized,
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_of_the_structure_are_noticed(change: str, captures: list[Any]):
    model = Parts().eval()
    model.body[0].register_forward_hook(lambda module, args, out: out + 1)
    model.body[0].register_forward_hook(lambda module, args, out: out * 2)
    compiled = mlc.compile(model)
    with torch.no_grad():
        torch.testing.assert_close(compiled(V), model(V))
        compiled(V)
        assert len(captures) == 1
        CHANGES[change](model)
        torch.testing.assert_close(compiled(V), model(V))
        assert len(captures) == 2
        torch.testing.assert_close(compiled(V), model(V))
    assert len(captures) == 2


def _globals(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(f"{__name__}.FACTOR", 3.0)


def _namespace(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Settings, "shift", 3.0)


def _method_of_the_class(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Parts, "_step", lambda self, x: x - 1)


def _forward_of_the_class(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Parts, "forward", lambda self, x: self.body(x))


def _code(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Parts._step, "__code__", (lambda self, x: x - 1).__code__)


def _attribute_of_the_class(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Parts, "gain", 3.0)


@pytest.mark.parametrize(
    "change", [_globals, _namespace, _method_of_the_class, _forward_of_the_class, _code, _attribute_of_the_class]
)
def test_changes_of_the_code_are_noticed(
    change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch, captures: list[Any]
):
    model = Parts().eval()
    compiled = mlc.compile(model)
    with torch.no_grad():
        torch.testing.assert_close(compiled(V), model(V))
        change(monkeypatch)
        torch.testing.assert_close(compiled(V), model(V))
        assert len(captures) == 2
        monkeypatch.undo()
        torch.testing.assert_close(compiled(V), model(V))
    assert len(captures) == 2, "the first version fits again"


def test_what_hooks_reach_is_noticed(captures: list[Any]):
    model, by, items = nn.Sequential(nn.Linear(6, 6), nn.ReLU()), 2.0, [1.0]
    model[0].register_forward_hook(lambda module, args, out: out * by * FACTORS[0] + sum(items))
    compiled = mlc.compile(model)

    def agree(versions: int) -> None:
        torch.testing.assert_close(compiled(V), model(V).detach())
        assert len(captures) == versions

    agree(1)
    by = 3.0
    agree(2)
    items.append(4.0)
    agree(3)
    try:
        FACTORS[0] = 5.0
        agree(4)
    finally:
        FACTORS[0] = 1.0
    agree(4)


def test_default_values_are_noticed(captures: list[Any]):
    def program(x: torch.Tensor, by: float = 2.0, *, more: float = 3.0) -> torch.Tensor:
        return x * by * more

    def outer(x: torch.Tensor) -> torch.Tensor:
        return program(x)

    compiled = mlc.compile(outer)
    assert torch.equal(compiled(V), V * 2 * 3)
    program.__defaults__ = (4.0,)
    assert torch.equal(compiled(V), V * 4 * 3)
    program.__kwdefaults__["more"] = 5.0
    assert torch.equal(compiled(V), V * 4 * 5) and len(captures) == 3


def test_a_module_wrapped_by_another_compiler(captures: list[Any]):
    model = nn.Linear(6, 6)
    compiled = mlc.compile(torch.compile(model, backend="eager"))
    torch.testing.assert_close(compiled(V), model(V).detach())
    with torch.no_grad():
        model.weight.add_(1)
    torch.testing.assert_close(compiled(V), model(V).detach())
    assert len(captures) == 2


def test_hooks_for_all_modules_are_noticed(captures: list[Any]):
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
    compiled = mlc.compile(model)
    torch.testing.assert_close(compiled(V), model(V).detach())
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, out: out + 1)
    try:
        torch.testing.assert_close(compiled(V), model(V).detach())
        assert len(captures) == 2
    finally:
        handle.remove()
    torch.testing.assert_close(compiled(V), model(V).detach())
    assert len(captures) == 2


class Forgetful(nn.Module):
    """Rebinds and fills lists of plain values when it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(6, 6)
        self.sizes: list[int] = []
        self.log: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes = [len(x)]
        self.log.append(len(x))
        return self.lin(x) * sum(self.sizes)


@pytest.mark.filterwarnings("ignore:forward changes Python values")
def test_what_forward_itself_rebinds_compiles_once_for_each_shape(captures: list[Any]):
    model = Forgetful()
    compiled = mlc.compile(model)
    for x in (V, V[:2], V, V[:2]):
        torch.testing.assert_close(compiled(x), model(x).detach())
    assert len(captures) == 2


def test_strangers_are_no_change(captures: list[Any]):
    model = Parts().eval()
    compiled = mlc.compile(model)
    compiled(V)
    model.remark = "unknown to forward"
    model.factors[0] = float("1.0")
    model.config.other = 3
    model.body[1].note = []
    compiled(V)
    assert len(captures) == 1
    model.extra = 2.0
    torch.testing.assert_close(compiled(V), model(V).detach())
    assert len(captures) == 2
