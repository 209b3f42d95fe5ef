"""Words of memory that tell of changes of dicts, tensors and classes; the guard of a large model that looks there."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mlc.backends.llvm.same_words import same_words
from mlc.frontends.torch import marks as marks_module
from mlc.frontends.torch.marks import Marks
from mlc.frontends.torch.samples import look
from mlc.frontends.torch.state_guard import StateGuard

DEEP = 20


def seen(marks: Marks) -> bytes:
    return look(marks.places).tobytes()


DICT_CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "replaced": lambda d: d.__setitem__("a", 7),
    "added": lambda d: d.setdefault("z", 7),
    "updated": lambda d: d.update(a=8),
    "deleted": lambda d: d.__delitem__("a"),
    "popped": lambda d: d.popitem(),
    "cleared": lambda d: d.clear(),
    "merged": lambda d: d.__ior__({"b": 1}),
}


@pytest.mark.parametrize("table", [{"a": 1, "b": 2}, {}, OrderedDict(a=1)], ids=["dict", "empty", "ordered"])
@pytest.mark.parametrize("change", DICT_CHANGES)
def test_every_change_of_a_dict_is_seen(table: dict[str, Any], change: str) -> None:
    table = table.copy()
    marks = Marks()
    assert marks.dict(table)
    before, old = seen(marks), list(table.items())
    assert seen(marks) == before
    try:
        DICT_CHANGES[change](table)
    except KeyError:
        assert not old
    assert list(table.items()) == old or seen(marks) != before


def test_an_ordered_dict_may_change_its_order_unseen_so_it_is_not_marked() -> None:
    assert not Marks().dict(OrderedDict(a=1, b=2))
    assert not Marks().dict([1, 2])


def test_an_attribute_that_is_set_again_and_again_is_seen_every_time() -> None:
    module = nn.ReLU()
    marks = Marks()
    assert marks.dict(vars(module))
    states = set()
    for i in range(200):
        module.inplace = i  # pyright: ignore[reportAttributeAccessIssue]
        states.add(seen(marks))
    assert len(states) == 200


TENSOR_CHANGES: dict[str, Callable[[torch.Tensor], Any]] = {
    "in place": lambda t: t.add_(1),
    "other memory": lambda t: setattr(t, "data", torch.zeros(3, 4)),
    "a view of other memory": lambda t: t.set_(torch.zeros(24)[12:].view(3, 4)),  # pyright: ignore[reportArgumentType]
    "shape": lambda t: t.resize_(4, 3),
    "strides": lambda t: t.as_strided_((3, 4), (1, 3)),
    "dtype": lambda t: setattr(t, "data", t.data.view(torch.int32)),
    "more memory": lambda t: t.resize_(30, 40),
}


@pytest.mark.parametrize("change", TENSOR_CHANGES)
def test_every_change_of_a_tensor_is_seen(change: str) -> None:
    tensor = torch.rand(3, 4)
    alias = tensor.detach()
    marks = Marks()
    assert marks.tensor(tensor)
    before = seen(marks)
    _ = tensor.sum(), tensor[1:], tensor.t().contiguous(), tensor.clone().numpy()
    assert seen(marks) == before
    TENSOR_CHANGES[change](tensor)
    assert seen(marks) != before
    del alias


def test_where_things_are_is_found_whatever_lay_in_memory_before() -> None:
    """Freed tensors of all sizes leave their words in the memory that the next ones get but do not fill."""
    pick = random.Random(0)
    kept: list[torch.Tensor] = []
    found: set[object] = set()
    for _ in range(2000):
        kept.append(torch.rand([pick.randint(1, 4) for _ in range(5)]))
        kept.append(kept[-1].detach())
        pick.shuffle(kept)
        del kept[pick.randint(0, 6) :]
        found.add(marks_module._tensor_layout.__wrapped__())
    assert len(found) == 1
    assert None not in found


def test_a_tensor_that_is_swapped_with_another_no_longer_consists_of_the_same() -> None:
    tensor, other = torch.rand(3), torch.rand(3)
    marks = Marks()
    assert marks.tensor(tensor)
    assert look(marks.owners).tobytes() == marks.impls
    torch.utils.swap_tensors(tensor, other)
    assert look(marks.owners).tobytes() != marks.impls


def test_what_is_laid_out_otherwise_is_not_marked() -> None:
    with torch.inference_mode():
        inference = torch.rand(3)
    for tensor in (inference, torch.rand(1, 1, 1, 1, 1, 2), torch.rand(3).to_sparse(), torch.empty(3, device="meta")):
        assert not Marks().tensor(tensor)


def deep() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(DEEP))).eval()


CHANGES: dict[str, Callable[[nn.Sequential], Any]] = {
    "mode": lambda m: m[3][1].train(),  # pyright: ignore[reportIndexIssue, reportCallIssue]
    "weight in place": lambda m: m[DEEP - 1][0].weight.data.mul_(2),  # pyright: ignore[reportIndexIssue, reportCallIssue]
    "weight by another": lambda m: setattr(m[5][0], "weight", nn.Parameter(torch.zeros(4, 4))),  # pyright: ignore[reportIndexIssue]
    "weight's memory": lambda m: setattr(m[5][0].bias, "data", torch.zeros(4)),  # pyright: ignore[reportIndexIssue]
    "module": lambda m: m.__setitem__(7, nn.Identity()),
    "hook": lambda m: nn.Module.register_forward_hook(m[9], lambda *_: None),
    "class": lambda m: setattr(m[2][1], "__class__", nn.Identity),  # pyright: ignore[reportIndexIssue]
    "buffer": lambda m: m[0].register_buffer("late", torch.zeros(1)),
}


def guard_of(model: nn.Module, *, natively: bool = False) -> Callable[[], bool]:
    return StateGuard.of(model, [*model.parameters()]).quicker(same_words() if natively else None)


@torch.no_grad()
@pytest.mark.parametrize("natively", [False, True], ids=["numpy", "native"])
@pytest.mark.parametrize("asked", [0, 3], ids=["at once", "later"])
@pytest.mark.parametrize("known", [True, False], ids=["marked", "asked"])
@pytest.mark.parametrize("change", CHANGES)
def test_the_guard_of_a_large_model_sees_each_change(
    change: str, known: bool, asked: int, natively: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not known:
        monkeypatch.setattr(marks_module, "_tensor_layout", lambda: None)
        monkeypatch.setattr(marks_module, "_dict_version", lambda: None)
    model = deep()
    holds = guard_of(model, natively=natively)
    assert [holds() for _ in range(asked)] == [True] * asked
    CHANGES[change](model)
    assert [holds() for _ in range(2)] == [False] * 2


@torch.no_grad()
@pytest.mark.parametrize("natively", [False, True], ids=["numpy", "native"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_while_the_guard_is_being_built_is_seen(
    change: str, natively: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another thread may make it, after what is expected was read and before the marks are."""
    model = deep()
    places = Marks.places.fget
    assert places is not None

    def changed(self: Marks) -> Any:
        CHANGES[change](model)
        return places(self)

    monkeypatch.setattr(Marks, "places", property(changed))
    holds = guard_of(model, natively=natively)
    assert [holds() for _ in range(2)] == [False] * 2


@pytest.mark.parametrize("natively", [False, True], ids=["numpy", "native"])
def test_what_changes_without_meaning_does_not_end_a_guard(natively: bool) -> None:
    model = deep()
    holds = guard_of(model, natively=natively)
    assert holds()
    for _ in range(3):
        model[3].training = bool(0)  # the dict was written to
        model[4][0].weight.requires_grad_(not model[4][0].weight.requires_grad)  # pyright: ignore[reportIndexIssue, reportCallIssue]
        model(torch.ones(1, 4)).sum().backward()
        assert [holds() for _ in range(2)] == [True] * 2
    model[3].training = True
    assert not holds()
    model[3].training = False
    assert holds()


@torch.no_grad()
def test_memory_of_a_weight_that_was_given_back_is_not_read() -> None:
    """What a large array had is no memory of the process afterwards: reading there would end it."""
    model = nn.Sequential(*(nn.Linear(2048, 2048) for _ in range(3))).eval()
    holds = guard_of(model, natively=True)
    assert holds()
    for layer in model:
        layer.weight.untyped_storage().resize_(0)  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
    assert [holds() for _ in range(2)] == [False] * 2


@torch.no_grad()
def test_a_write_behind_the_back_of_the_versions_is_seen_natively() -> None:
    model = deep()
    holds = guard_of(model, natively=True)
    assert [holds() for _ in range(2)] == [True] * 2
    model[5][0].weight.detach().numpy()[...] *= 2  # pyright: ignore[reportIndexIssue, reportCallIssue]
    assert not holds()
    model[5][0].weight.detach().numpy()[...] /= 2  # pyright: ignore[reportIndexIssue, reportCallIssue]
    assert holds()
