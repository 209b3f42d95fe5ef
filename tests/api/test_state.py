"""Changes of what a compiled model was made from: noticed at the next call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mlc
from mlc.errors import ExecutionError, UnsupportedError

V = torch.randn(4, 6)
SCALE = 2.0
WEIGHT = torch.full((6,), 2.0)
NET = nn.BatchNorm1d(6).eval()


class Gain(nn.Module):
    """Python values, a tensor attribute, a submodule and a helper method."""

    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6)
        self.scale = 2.0
        self.mode = "double"
        self.pads = (1, 2)
        self.shift = torch.ones(6)
        self.epoch = 0

    def helper(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale if self.mode == "double" else x - self.pads[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.helper(self.norm(self.lin(x))) + self.shift


def _other_memory(m: Gain) -> None:
    m.lin.weight.data = torch.randn(6, 6)


def _magnitude_pruning(m: Gain) -> None:
    m.lin.weight.data[m.lin.weight.abs() < 0.1] = 0.0


def _numpy_view(m: Gain) -> None:
    m.lin.weight.detach().numpy()[:] = 2.0


def _fused_optimizer(m: Gain) -> None:
    optimizer = torch.optim.Adam(m.parameters(), lr=0.1, fused=True)
    with torch.enable_grad():
        m(V).sum().backward()
    optimizer.step()


def _shift_in_place(m: Gain) -> None:
    m.shift.add_(1)


def _hook(m: Gain) -> None:
    m.lin.register_forward_hook(lambda module, args, out: out + 1)


def _pre_hook(m: Gain) -> None:
    m.lin.register_forward_pre_hook(lambda module, args: (args[0] + 1,))


def _replaced_forward(m: Gain) -> None:
    m.forward = lambda x: x * 3


CHANGES: dict[str, Callable[[Gain], object]] = {
    "data": _other_memory,
    "data transposed": lambda m: setattr(m.lin.weight, "data", m.lin.weight.data.T),
    "data stepped over": lambda m: setattr(m.shift, "data", torch.ones(12)[::2]),
    "data in place": lambda m: m.lin.weight.data.mul_(2.0),
    "data clamped": lambda m: m.lin.weight.data.clamp_(-0.3, 0.3),
    "half of data": _magnitude_pruning,
    "numpy view": _numpy_view,
    "fused optimizer": _fused_optimizer,
    "half and back": lambda m: m.half().float(),
    "new parameter": lambda m: setattr(m.lin, "bias", nn.Parameter(torch.ones(6))),
    "no bias": lambda m: setattr(m.lin, "bias", None),
    "submodule": lambda m: setattr(m, "lin", nn.Linear(6, 6)),
    "number": lambda m: setattr(m, "scale", 3.0),
    "string": lambda m: setattr(m, "mode", "shift"),
    "tensor attribute": lambda m: setattr(m, "shift", torch.zeros(6)),
    "tensor attribute in place": _shift_in_place,
    "eps of a torch module": lambda m: setattr(m.norm, "eps", 0.5),
    "statistics": lambda m: m.norm.running_mean.add_(1),
    "hook": _hook,
    "pre-hook": _pre_hook,
    "forward": _replaced_forward,
    "load_state_dict": lambda m: m.load_state_dict(Gain().state_dict()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_of_a_module_are_noticed(change: str, captures: list[Any]):
    model = Gain().eval()
    compiled = mlc.compile(model)
    with torch.no_grad():
        torch.testing.assert_close(compiled(V), model(V))
        CHANGES[change](model)
        torch.testing.assert_close(compiled(V), model(V))
        made = len(captures)
        torch.testing.assert_close(compiled(V), model(V))
    assert made == 2 == len(captures)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.bfloat16, torch.complex64, torch.int8, torch.uint8, torch.int64, torch.bool]
)
def test_writes_behind_the_version_counter_in_every_dtype(dtype: torch.dtype, captures: list[Any]):
    weight = torch.tensor([[0, 3, 1], [1, 0, 2]]).to(dtype)
    compiled = mlc.compile(lambda x: x * weight)
    x = torch.ones(2, 3)
    for _ in range(2):
        assert torch.equal(compiled(x), x * weight)
    weight.data.copy_(torch.tensor([[1, 0, 0], [0, 1, 0]]))
    assert torch.equal(compiled(x), x * weight) and len(captures) == 2


@pytest.mark.parametrize("view", [lambda w: w.data[:2], lambda w: w.data[:, :1], lambda w: w.data[:1].expand(4, 4)])
def test_other_sizes_and_strides_of_the_same_memory(view: Callable[[Any], torch.Tensor], captures: list[Any]):
    model = nn.Linear(4, 4, bias=False)
    compiled, x = mlc.compile(model), torch.randn(3, 4)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
        address = model.weight.data_ptr()
        model.weight.data = view(model.weight)
        assert model.weight.data_ptr() == address
        x = x[:, : model.weight.shape[1]].clone()
        torch.testing.assert_close(compiled(x), model(x))


def test_modes_and_gradients_that_nobody_asks_for_are_no_change(captures: list[Any]):
    model = Gain().eval()
    compiled = mlc.compile(model)
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad, torch.inference_mode):
        with mode():
            compiled(V)
    model.requires_grad_(False)
    torch.testing.assert_close(compiled(V), model(V))
    assert len(captures) == 1


STRIDED: dict[str, Callable[[Any], Any]] = {
    "whole": lambda base: base[0],
    "transposed": lambda base: base[0].reshape(4, 16).T,
    "stepped over": lambda base: base.reshape(-1)[::5],
    "columns": lambda base: base[:, 5],
    "large": lambda base: base.reshape(-1)[:200],
    "large transposed": lambda base: base.T,
}


@pytest.mark.filterwarnings("ignore:Casting complex values")
@pytest.mark.parametrize("name", STRIDED)
@pytest.mark.parametrize("kind", ["tensor", "float32", "complex64", "longdouble", "object", "U8", "int8"])
def test_writes_to_arrays_and_to_memory_with_gaps(name: str, kind: str, captures: list[Any]):
    base = np.arange(1.0, 257).reshape(4, 64).astype("float32" if kind == "tensor" else kind)
    held = STRIDED[name](base)

    def program(x: torch.Tensor) -> torch.Tensor:
        return x * (weight if kind == "tensor" else torch.from_numpy(held.astype("float32")))

    weight = STRIDED[name](torch.from_numpy(base)) if kind == "tensor" else torch.zeros(0)
    compiled, x = mlc.compile(program), torch.ones(())
    assert torch.equal(compiled(x), program(x))
    if "large" in name:
        held[...] = np.ones_like(held)
    else:
        held[(3,) * held.ndim] = 0
    assert torch.equal(compiled(x), program(x)) and len(captures) == 2


def test_arrays_of_another_shape(captures: list[Any]):
    held = np.arange(6.0)
    compiled = mlc.compile(lambda x: x * torch.from_numpy(held.copy()))
    assert compiled(torch.ones(())).shape == (6,)
    held.shape = (2, 3)
    assert compiled(torch.ones(())).shape == (2, 3)


def test_equal_values_and_strangers_are_no_change(captures: list[Any]):
    model = Gain().eval()
    compiled = mlc.compile(model)
    compiled(V)
    model.scale = float("2.0")
    model.pads = (*[1], 2)
    model.epoch = 7  # no method mentions it
    compiled(V)
    assert len(captures) == 1
    model.scale = 3.0
    compiled(V)
    model.scale = 2.0
    compiled(V)
    assert len(captures) == 2, "the first version fits again"


def test_functions_and_what_they_reach(captures: list[Any]):
    global SCALE, WEIGHT
    net = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)).eval()
    weight, factor = torch.ones(6), 1.0

    def local(x: torch.Tensor) -> torch.Tensor:
        return net(x) * weight * factor * SCALE * WEIGHT + NET(x)

    compiled = mlc.compile(local)

    def agree(versions: int) -> None:
        for _ in range(2):
            torch.testing.assert_close(compiled(V), local(V).detach())
        assert len(captures) == versions

    agree(1)
    assert "_0.weight" in compiled.ir("torch") or "net.0.weight" in compiled.ir("torch"), "weights have their names"
    factor = 2.0
    agree(2)
    weight = torch.zeros(6)
    agree(3)
    before = SCALE, WEIGHT
    SCALE = 4.0
    agree(4)
    WEIGHT = torch.ones(6)
    agree(5)
    SCALE, WEIGHT = before
    NET.train()
    compiled(V)
    assert NET.num_batches_tracked == 1, "buffers of a module in a function are updated"
    NET.eval()
    agree(7)


def test_partials_and_bound_methods(captures: list[Any]):
    model = Gain().eval()
    for function in (model.helper, functools.partial(model.helper), functools.partial(lambda m, x: m(x), model)):
        compiled = mlc.compile(function)
        torch.testing.assert_close(compiled(V), function(V).detach())
        model.scale += 1.0
        torch.testing.assert_close(compiled(V), function(V).detach())


def test_settings_of_torch_are_part_of_the_program(captures: list[Any]):
    lin = nn.Linear(6, 6)

    def program(x: torch.Tensor) -> torch.Tensor:
        return lin(x) + torch.full((6,), 1.0)

    compiled = mlc.compile(program)
    with torch.no_grad():
        for _ in range(2):
            assert compiled(V).dtype is torch.float32
            with torch.autocast("cpu", torch.bfloat16):
                torch.testing.assert_close(compiled(V), program(V))
            torch.set_default_dtype(torch.float64)
            try:
                assert compiled(V).dtype is torch.float64
            finally:
                torch.set_default_dtype(torch.float32)
    assert len(captures) == 3


def test_negative_zero_is_another_number(captures: list[Any]):
    compiled = mlc.compile(lambda x, n: x / n)
    ones = torch.ones(2)
    for n in (0.0, -0.0, float("nan"), float("nan"), 1, 1.0, True):
        torch.testing.assert_close(compiled(ones, n), ones / n, equal_nan=True)
    assert len(captures) == 6


class Leaky(nn.Module):
    """Leaves tensors behind in every kind of place, one at a time."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.lin = nn.Linear(6, 6)
        self.register_buffer("filled", torch.zeros(6))
        self.register_buffer("empty", None)
        self.last: torch.Tensor | None = None
        self.seen: list[torch.Tensor] = []
        self.cache: dict[str, torch.Tensor] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.lin(x)
        match self.how.removesuffix(" and fails"):
            case "attribute":
                self.last = y
            case "new attribute":
                self.other = y
            case "list":
                self.seen.append(y)
            case "dict":
                self.cache["y"] = y
            case "empty buffer":
                self.empty = y[0]
            case "no buffer":
                self.filled = None
            case "new buffer":
                self.register_buffer("made", y[0])
            case "new module":
                self.made = nn.ReLU()
            case "no module":
                self.lin = None
        if self.how.endswith("fails"):
            raise ValueError("after that")
        return y


PLACES = ["attribute", "new attribute", "list", "dict", "empty buffer", "no buffer", "new buffer", "new module"]


@pytest.mark.parametrize("fails", ["", " and fails"])
@pytest.mark.parametrize("how", [*PLACES, "no module"])
def test_a_refused_model_is_as_it_was(how: str, fails: str, captures: list[Any]):
    model = Leaky(how + fails)
    names = set(vars(model))
    with pytest.raises(ExecutionError if fails else UnsupportedError) as info:
        mlc.compile(model)(V)
    assert fails or "during forward" in str(info.value)
    assert set(vars(model)) == names and model.seen == [] and model.cache == {} and model.last is None
    assert list(model._buffers) == ["filled", "empty"] and list(model._modules) == ["lin"]
    assert model.empty is None and torch.equal(model.filled, torch.zeros(6))
    model.how = "nothing"
    torch.testing.assert_close(mlc.compile(model)(V), model(V).detach())


def test_the_order_of_free_keywords_counts(captures: list[Any]):
    compiled = mlc.compile(lambda **named: torch.stack(list(named.values())))
    for names in ("ab", "ba", "ab"):
        given = {n: V + ord(n) for n in names}
        assert torch.equal(compiled(**given), torch.stack(list(given.values())))
    assert len(captures) == 2
    fixed = mlc.compile(lambda *, a, b: a - b)
    assert torch.equal(fixed(b=V, a=V + 1), fixed(a=V + 1, b=V)) and len(captures) == 3


@pytest.mark.parametrize("change", ["conj", "neg"])
def test_the_same_memory_read_in_another_way(change: str, captures: list[Any]):
    """Conjugate and negative views differ from their base by a bit of the tensor alone."""
    model = ByWeight(torch.randn(4, dtype=torch.complex64))
    compiled, x = mlc.compile(model), torch.randn(3, 4)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
        model.w.data = model.w.data.conj() if change == "conj" else torch._neg_view(model.w.data)
        torch.testing.assert_close(compiled(x), model(x))


class ByWeight(nn.Module):
    def __init__(self, w: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("w", w)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(x * self.w)


@pytest.mark.parametrize("view", [lambda f: f.conj(), torch._neg_view, lambda f: f.conj().imag, lambda f: f.imag])
def test_two_weights_of_one_memory(view: Callable[[torch.Tensor], torch.Tensor], captures: list[Any]):
    f = torch.polar(torch.ones(4), torch.arange(4.0))
    model = Both(f, view(f))
    x = torch.randn(4)
    with torch.no_grad():
        for got, wanted in zip(mlc.compile(model)(x), model(x), strict=True):
            torch.testing.assert_close(got, wanted)


class Both(nn.Module):
    def __init__(self, a: torch.Tensor, b: torch.Tensor) -> None:
        super().__init__()
        self.a, self.b, self.c = a, b, a.imag

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        made = [x * w for w in (self.a, self.b, self.c)]
        return [torch.view_as_real(v) if v.is_complex() else v for v in made]
