"""What forward and hooks leave behind outside of the model: refused and taken back, or the same as in eager."""

from __future__ import annotations

import functools
import gc
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import mlc
from mlc.errors import ExecutionError, UnsupportedError
from mlc.frontends.torch.functional import is_wrapped

V = torch.randn(4, 6)
SEEN: list[Any] = []
TABLES: dict[int, torch.Tensor] = {}


class Extractor:
    """Keeps what hooks are given, in each kind of place."""

    def __init__(self) -> None:
        self.features: dict[str, Any] = {}
        self.last: Any = None
        self.rows: list[Any] = []

    def fill(self, module: nn.Module, args: Any, out: torch.Tensor) -> None:
        self.features["out"] = out

    def keep(self, module: nn.Module, args: Any, out: torch.Tensor) -> None:
        self.last = out

    def detached(self, module: nn.Module, args: Any, out: torch.Tensor) -> None:
        self.rows.append(out.detach() + 1)

    def before(self, module: nn.Module, args: Any) -> None:
        self.last = args[0]

    def nested(self, module: nn.Module, args: Any, out: torch.Tensor) -> None:
        self.rows.append([out])


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("hook", ["fill", "keep", "detached", "before", "nested"])
def test_hooks_that_keep_tensors_are_refused(hook: str, fails: bool, captures: list[Any]):
    model, extractor = nn.Sequential(nn.Linear(6, 6), nn.ReLU()), Extractor()
    method = getattr(extractor, hook)
    if hook == "before":
        model[1].register_forward_pre_hook(method)
    else:
        model[1].register_forward_hook(method)
    if fails:
        model.append(nn.Linear(5, 5))
    with pytest.raises(ExecutionError if fails else UnsupportedError) as info:
        mlc.compile(model)(V)
    left = [extractor.last, *extractor.features.values(), *extractor.rows]
    if fails:  # the same as after a call that fails in eager
        assert not any(map(is_wrapped, left))
        return
    assert "keeps a tensor in" in str(info.value) and "test_left_behind.py:" in str(info.value)
    assert hook == "detached" or f"'Extractor.{hook}' of '1'" in str(info.value)
    assert [*filter(None, left)] == []


def test_a_closure_of_a_hook_is_named(captures: list[Any]):
    model, acts = nn.Sequential(nn.Linear(6, 6), nn.ReLU()), []
    handle = model[0].register_forward_hook(lambda module, args, out: acts.append(out))
    compiled = mlc.compile(model)
    with pytest.raises(UnsupportedError, match=r"in 'acts', by the forward hook '<lambda>' of '0'") as info:
        compiled(V)
    assert "handle.remove()" in str(info.value) and acts == []
    handle.remove()
    torch.testing.assert_close(compiled(V), model(V).detach())


class Keeper(nn.Module):
    """Keeps a tensor in a global."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        SEEN.append(y)
        return y * 2


def _unknown_place() -> Callable[[torch.Tensor], None]:
    inner = itertools.repeat([])  # into which nobody looks

    def keep(x: torch.Tensor) -> None:
        next(inner).append(x + 1)

    keep.place = inner
    return keep


def test_tensors_kept_in_globals_and_anywhere_are_refused(captures: list[Any]):
    with pytest.raises(UnsupportedError, match="keeps a tensor in 'SEEN' during forward"):
        mlc.compile(Keeper())(V)
    assert SEEN == []
    keep = _unknown_place()
    with pytest.raises(UnsupportedError, match="keeps a tensor in a list or dict"):
        mlc.compile(lambda x: (keep(x), x * 2)[1])(V)
    assert next(keep.place) == []


@functools.lru_cache(maxsize=4)
def _ramp(n: int) -> torch.Tensor:
    return torch.arange(n).float()


def _table(n: int) -> torch.Tensor:
    if n not in TABLES:
        TABLES[n] = torch.arange(n).float().sin()
    return TABLES[n]


def test_tables_that_no_input_decides_stay_as_eager_leaves_them(captures: list[Any]):
    compiled = mlc.compile(lambda x: x * _table(x.shape[-1]) + _ramp(x.shape[-1]))
    for x in (V, V[:, :3], V):
        want = x * torch.arange(x.shape[-1]).sin() + torch.arange(x.shape[-1])
        torch.testing.assert_close(compiled(x), want)
    assert len(captures) == 2 and sorted(TABLES) == [3, 6]
    assert all(not torch._is_functional_tensor(t) for t in (*TABLES.values(), _ramp(6), _ramp(3)))  # pyright: ignore


def test_plain_values_that_hooks_keep_are_warned_of(captures: list[Any]):
    model, shapes = nn.Sequential(nn.Linear(6, 6), nn.ReLU()), []
    model[0].register_forward_hook(lambda module, args, out: shapes.append(out.shape))
    with pytest.warns(UserWarning, match=r"changes Python values \(shapes\)"):
        mlc.compile(model)(V)
    assert shapes == [V.shape]


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_attributes_that_no_input_decides_stay_as_eager_leaves_them(captures: list[Any]):
    """The old weight_norm and spectral_norm set an attribute before each forward."""
    for norm in (nn.utils.weight_norm, nn.utils.spectral_norm):
        model = norm(nn.Linear(6, 6)).eval()
        compiled = mlc.compile(model)
        for _ in range(2):
            torch.testing.assert_close(compiled(V), model(V).detach())
            assert not torch._is_functional_tensor(model.weight)  # pyright: ignore[reportAttributeAccessIssue]
            with torch.no_grad():
                next(model.parameters()).add_(1.0)


KEPT: list[torch.Tensor] = []


@pytest.mark.parametrize(
    "view", [lambda y: y[0], lambda y: y[0][1:], lambda y: y.split(2, 1), lambda y: (y.t(), y.sum())]
)
def test_views_of_what_nobody_holds_are_no_reason_to_collect_all_garbage(view: Any, monkeypatch: pytest.MonkeyPatch):
    collect = gc.collect
    collected: list[int] = []

    def counted(generation: int = 2) -> int:
        collected.append(generation)
        return collect(generation)

    monkeypatch.setattr(gc, "collect", counted)
    x = torch.randn(2, 4)
    torch.testing.assert_close(mlc.compile(lambda x: view(x * 2))(x), view(x * 2))
    assert 2 not in collected

    def keeps(x: torch.Tensor) -> Any:
        y = x * 2
        KEPT.append(y)
        return view(y)

    with pytest.raises(UnsupportedError, match="keeps a tensor"):
        mlc.compile(keeps)(x)
    assert not KEPT
