"""Changes in every kind of place that Python code can read a value from: noticed at the next call."""

from __future__ import annotations

import collections
import operator
import threading
import weakref
from array import array
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

import mlc

V = torch.randn(4, 6)
GAIN = ContextVar("GAIN", default=1.0)


class Base:
    """Class-level values of a base."""

    inherited: ClassVar[dict[str, float]] = {"a": 2.0}


class Config:
    """A class that is a namespace of namespaces."""

    class Inner:
        """The inner one."""

        y = 1.0
        deep: ClassVar[list[list[float]]] = [[1.0]]


@dataclass
class Node:
    """A chain of objects."""

    value: float = 1.0
    next: Any = None


def _chain(length: int) -> Node:
    node = Node()
    for _ in range(length):
        node = Node(next=node)
    return node


def _last(node: Node) -> Node:
    return node if node.next is None else _last(node.next)


def _nested(depth: int) -> Any:
    return {"s": 1.0} if depth == 0 else {"s": _nested(depth - 1)}


@dataclass
class Flags:
    """What a parameter can be given."""

    sizes: list[float] = field(default_factory=lambda: [1.0])


class Places(nn.Module, Base):
    """Reads a value from everywhere."""

    table: ClassVar[dict[str, float]] = {"a": 2.0}
    sizes: ClassVar[list[float]] = [2.0]
    weight_of_all = torch.ones(6)

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(6))
        self.lin = nn.Linear(6, 6)
        self.wide = [[1.0] for _ in range(150)]
        self.deep = _nested(12)
        self.chain = _chain(12)
        self.user = collections.UserDict(a=1.0)
        self.items = collections.UserList([1.0])
        self.maps = collections.ChainMap({"a": 1.0}, {"b": 1.0})
        self.hidden = {"a": 1.0}
        self.proxy = MappingProxyType(self.hidden)
        self.values = {"b": 1.0}
        self.view = self.values.values()
        self.get = {"c": 1.0}.get
        self.bytes = bytearray(b"\x01\x02")
        self.array = array("d", [1.0, float("nan")])
        self.memory = memoryview(bytearray(b"\x01"))
        self.local = threading.local()
        self.local.gain = 1.0
        self.target: nn.Module | None = nn.Linear(6, 6)
        self.ref = weakref.ref(self.chain)
        self.late = Flags()
        self.weak: weakref.WeakValueDictionary[str, Flags] = weakref.WeakValueDictionary(a=self.late)

    @classmethod
    def of_class(cls) -> float:
        return 1.0

    @staticmethod
    def static() -> float:
        return 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.lin(x) * self.w * self.weight_of_all
        node: Any = self.chain
        while node.next is not None:
            node = node.next
        deep = self.deep
        while isinstance(deep, dict):
            deep = deep["s"]
        factors = (
            *(self.table["a"], self.sizes[0], self.inherited["a"], self.of_class(), self.static()),
            *(Config.Inner.y, Config.Inner.deep[0][0], GAIN.get(), self.wide[120][0], node.value, deep),
            *(
                self.user["a"],
                self.items[0],
                self.maps["a"],
                self.maps["b"],
                self.proxy["a"],
                *self.view,
                self.get("c"),
            ),
            *(self.bytes[1], self.array[0], self.memory[0], self.local.gain, self.weak["a"].sizes[0]),
            getattr(self.w, "scale", 1.0),
        )
        for factor in factors:
            x = torch.sin(x) * factor
        x = x * 2 if self.w.requires_grad else x
        x = x * 3 if self.w.grad is None else x
        return x * 4 if torch.are_deterministic_algorithms_enabled() else x


def _of_array(m: Places) -> None:
    m.array[0] = 3.0


def _of_view(m: Places) -> None:
    m.memory[0] = 3


def _gradient(m: Places) -> None:
    m.w.grad = torch.zeros(6)


OF_INSTANCES: dict[str, Callable[[Places], object]] = {
    "a wide list": lambda m: m.wide[120].__setitem__(0, 3.0),
    "nested dicts": lambda m: m.deep["s"]["s"]["s"]["s"]["s"]["s"]["s"]["s"]["s"]["s"]["s"]["s"].update(s=3.0),
    "a chain of objects": lambda m: setattr(_last(m.chain), "value", 3.0),
    "UserDict": lambda m: m.user.update(a=3.0),
    "data of a UserDict": lambda m: setattr(m.user, "data", {"a": 3.0}),
    "UserList": lambda m: m.items.__setitem__(0, 3.0),
    "ChainMap": lambda m: m.maps.update(a=3.0),
    "another map of a ChainMap": lambda m: m.maps.maps[1].update(b=3.0),
    "behind a MappingProxyType": lambda m: m.hidden.update(a=3.0),
    "behind a view of a dict": lambda m: m.values.update(b=3.0),
    "behind a method of a dict": lambda m: m.get.__self__.update(c=3.0),
    "bytearray": lambda m: m.bytes.__setitem__(1, 3),
    "array": _of_array,
    "memoryview": _of_view,
    "threading.local": lambda m: setattr(m.local, "gain", 3.0),
    "WeakValueDictionary": lambda m: m.late.sizes.__setitem__(0, 3.0),
    "attribute of a parameter": lambda m: setattr(m.w, "scale", 3.0),
    "requires_grad": lambda m: m.w.requires_grad_(False),
    "grad": _gradient,
}


@pytest.mark.parametrize("change", OF_INSTANCES)
def test_changes_in_places_of_a_module(change: str, captures: list[Any]):
    model = Places()
    compiled = mlc.compile(model)
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(compiled(V), model(V))
        OF_INSTANCES[change](model)
        for _ in range(2):
            torch.testing.assert_close(compiled(V), model(V))
    assert len(captures) == 2


OF_CLASSES: dict[str, Callable[[pytest.MonkeyPatch], object]] = {
    "item of a dict": lambda patch: patch.setitem(Places.table, "a", 3.0),
    "dict": lambda patch: patch.setattr(Places, "table", {"a": 3.0}),
    "tensor": lambda patch: patch.setattr(Places, "weight_of_all", torch.full((6,), 3.0)),
    "dict of a base": lambda patch: patch.setitem(Base.inherited, "a", 3.0),
    "attribute in front of that of a base": lambda patch: patch.setattr(Places, "inherited", {"a": 3.0}, raising=False),
    "classmethod": lambda patch: patch.setattr(Places, "of_class", classmethod(lambda cls: 3.0)),
    "staticmethod": lambda patch: patch.setattr(Places, "static", staticmethod(lambda: 3.0)),
    "nested class": lambda patch: patch.setattr(Config.Inner, "y", 3.0),
    "another nested class": lambda patch: patch.setattr(Config, "Inner", type("Inner", (Config.Inner,), {"y": 3.0})),
}


@pytest.mark.parametrize("change", OF_CLASSES)
def test_changes_of_classes(change: str, monkeypatch: pytest.MonkeyPatch, captures: list[Any]):
    model = Places()
    compiled = mlc.compile(model)
    with torch.no_grad():
        torch.testing.assert_close(compiled(V), model(V))
        OF_CLASSES[change](monkeypatch)
        for _ in range(2):
            torch.testing.assert_close(compiled(V), model(V))
        assert len(captures) == 2
        monkeypatch.undo()
        torch.testing.assert_close(compiled(V), model(V))


def test_changes_of_lists_of_classes(captures: list[Any]):
    model = Places()
    compiled = mlc.compile(model)
    with torch.no_grad():
        for n, held in enumerate((Places.sizes, Config.Inner.deep[0])):
            torch.testing.assert_close(compiled(V), model(V))
            before, held[0] = held[0], 3.0
            torch.testing.assert_close(compiled(V), model(V))
            held[0] = before
            assert len(captures) == n + 2


def test_settings_and_variables_of_the_caller(captures: list[Any]):
    model = Places()
    compiled = mlc.compile(model)
    with torch.no_grad():
        torch.testing.assert_close(compiled(V), model(V))
        token = GAIN.set(3.0)
        torch.testing.assert_close(compiled(V), model(V))
        GAIN.reset(token)
        torch.testing.assert_close(compiled(V), model(V))
        assert len(captures) == 2
        torch.use_deterministic_algorithms(True)
        try:
            torch.testing.assert_close(compiled(V), model(V))
        finally:
            torch.use_deterministic_algorithms(False)
        assert len(captures) == 3


class Named(nn.Module):
    """Reads attributes by names in several ways."""

    def __init__(self, read: Callable[[Any], float]) -> None:
        super().__init__()
        self.read = read
        self.s1 = 2.0

    def name(self) -> str:
        return "s1"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.read(self)


READS: dict[str, Callable[[Any], float]] = {
    "vars": lambda m: vars(m)["s1"],
    "__dict__": lambda m: m.__dict__["s1"],
    "__getattribute__": lambda m: object.__getattribute__(m, "s1"),
    "attrgetter": lambda m: operator.attrgetter("s1")(m),
    "constant": lambda m: getattr(m, "s1"),  # noqa: B009
    "default": lambda m: getattr(m, "s1", m.read),
    "f-string": lambda m: getattr(m, f"s{len('1')}"),
    "joined": lambda m: getattr(m, "".join(["s", "1"])),
    "sum": lambda m: getattr(m, "s" + str(len("1"))),
    "variable": lambda m: sum(getattr(m, name) for name in dir(m) if name == "s1"),
    "called": lambda m: getattr(m, m.name()),
}


@pytest.mark.parametrize("read", READS)
def test_attributes_whose_names_are_computed(read: str, captures: list[Any]):
    model = Named(READS[read])
    compiled = mlc.compile(model)
    assert torch.equal(compiled(V), model(V))
    model.s1 = 3.0
    assert torch.equal(compiled(V), model(V)) and len(captures) == 2


class Store:
    """Answers for a dict that no code names."""

    def __init__(self, **held: float) -> None:
        self.__dict__["_held"] = held

    def __getattr__(self, name: str) -> float:
        return self.__dict__["_held"][name]


def test_an_object_that_answers_for_a_dict(captures: list[Any]):
    store = Store(scale=2.0)
    compiled = mlc.compile(lambda x: x * store.scale)
    assert torch.equal(compiled(V), V * 2)
    store._held["scale"] = 3.0
    assert torch.equal(compiled(V), V * 3) and len(captures) == 2


def test_attributes_of_functions_and_replaced_defaults(captures: list[Any]):
    def program(x: torch.Tensor, *, by: float = 2.0) -> torch.Tensor:
        return x * by * program.scale

    program.scale = 2.0
    compiled = mlc.compile(program)
    assert torch.equal(compiled(V), V * 4)
    program.scale = 3.0
    assert torch.equal(compiled(V), V * 6)
    program.__kwdefaults__ = {"by": 4.0}
    assert torch.equal(compiled(V), V * 12) and len(captures) == 3


def test_a_dead_weak_reference(captures: list[Any]):
    node = Node(3.0)
    held = [node]
    link = weakref.ref(node)
    del node

    def program(x: torch.Tensor) -> torch.Tensor:
        target = link()
        return x if target is None else x * target.value

    compiled = mlc.compile(program)
    assert torch.equal(compiled(V), V * 3)
    held[0].value = 4.0
    assert torch.equal(compiled(V), V * 4) and len(captures) == 2


def test_values_deeper_than_are_followed_are_told(captures: list[Any]):
    chain = _chain(100)
    with pytest.warns(UserWarning, match="more Python values than are followed"):
        mlc.compile(lambda x: x * _last(chain).value)(V)


def test_more_values_than_are_followed_are_told(captures: list[Any]):
    many = [[[float(i)] for i in range(200)] for _ in range(200)]
    with pytest.warns(UserWarning, match="more Python values than are followed"):
        mlc.compile(lambda x: x * many[3][4][0])(V)
