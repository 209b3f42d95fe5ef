"""What must be as it was at the capture for compiled code to be right: checked at every call, so written out as code.

Weights are constants of the compiled code and Python values are folded into it. Noticed are: a weight changed in place
(its version, samples of it), given other memory, another shape or other strides (`weight.data = t`) or replaced;
submodules, parameters and buffers that are added, removed, put where None was or put into another order; train() and
eval(); another class of a module, other methods and values of classes; attributes that the code of the model's classes
names, and what lists, dicts, objects and the holders of Python's library in them hold, in what order; forward hooks;
of functions (hooks and methods are some), their code, their default values, what their closures and the globals they
name hold; and what forward asked a weight (`requires_grad`, `grad`) or PyTorch's settings.
Not noticed: writes to a part of a weight that bypass the version counter (`weight.data[0] = 0`, a numpy view), or of a
large array; containers of more than `WIDTH` items; and what belongs to installed packages.

A call compares identities (`guard_code.py`), of large models words of memory that tell of any change (`marks.py`).
Where the identity of a plain value differs, its value is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from types import CellType, ModuleType
from typing import Any

import torch
from torch.nn.modules import module as nn_module

from mlc.frontends.torch.captured_values import PLAIN, same_value
from mlc.frontends.torch.context import SETTINGS
from mlc.frontends.torch.guard_code import Checks, Guard, like
from mlc.frontends.torch.named import class_names, is_library
from mlc.frontends.torch.owned import HOOKS, TABLES, WIDTH, Owned, attributes_of, contents, is_torchs_leaf, owned
from mlc.frontends.torch.samples import Run, array_samples, read, samples

_MISSING: Any = object()
_GLOBAL_HOOKS: tuple[dict[int, Any], ...] = (nn_module._global_forward_hooks, nn_module._global_forward_pre_hooks)


class Steady:
    """Which attributes, globals and containers a run of the model leaves alone: only those can be guarded."""

    def __init__(self, mine: Owned) -> None:
        self._mine = mine
        self._slots = {(id(table), key): table[key] for table, key in mine.slots}
        self._containers = {id(c): (c, _items(c)) for _, c in mine.containers}
        self._members = {(cls, name): attributes_of(cls)[name] for cls, name in mine.members}

    def slot(self, table: dict[str, Any], key: str) -> bool:
        """Whether this slot holds what it held, or a plain value."""
        value = table[key]
        return isinstance(value, PLAIN) or self._slots.get((id(table), key), _MISSING) is value

    def member(self, cls: type, name: str, value: Any) -> bool:
        """Whether an attribute of a class is what it was, or a plain value."""
        return isinstance(value, PLAIN) or self._members.get((cls, name), _MISSING) is value

    def container(self, container: Any) -> bool:
        """Whether this container holds what it held; one made by the run itself is none to guard."""
        _, before = self._containers.get(id(container), (None, None))
        now = _items(container)
        return before is not None and len(now) == len(before) and all(map(is_, now, before))


@dataclass(frozen=True)
class _Slot:
    """What is in a dict, list or cell (which has no keys); `expected` is where the checks keep what it was."""

    container: Any
    key: Any
    expected: str

    def now(self) -> Any:
        return contents(self.container) if isinstance(self.container, CellType) else self.container[self.key]


@dataclass(frozen=True)
class _Attributes:
    """The attributes of an object: those it had, and those that code names. `count`: where the checks keep how many."""

    table: Mapping[str, Any]
    had: frozenset[str]
    named: frozenset[str]
    count: str


@dataclass(frozen=True)
class _Soft:
    """What may be another object and yet the same."""

    slots: Sequence[_Slot]
    attributes: Sequence[_Attributes]
    weights: Sequence[_Weight]

    def is_equal(self, space: dict[str, Any]) -> bool:
        """Whether values are equal and no attribute that code names was added; then that is what is expected next."""
        now = [s.now() for s in self.slots]
        sizes = [len(a.table) for a in self.attributes]
        same = (
            all(map(same_value, (space[s.expected] for s in self.slots), now))
            and not any((a.table.keys() - a.had) & a.named for a in self.attributes)
            and not any(map(_own_hooks, _GLOBAL_HOOKS))
            and all(_layout(w.tensor) == w.layout for w in self.weights)
        )
        if same:
            if self.weights:
                space["alike"] = like([w.tensor for w in self.weights])
            space.update(zip((s.expected for s in self.slots), now, strict=True))
            space.update(zip((a.count for a in self.attributes), sizes, strict=True))
        return same


@dataclass(frozen=True)
class _Weight:
    """A tensor whose values were used, and what tells of changes. `alias` keeps the memory that `samples` are in."""

    tensor: torch.Tensor
    alias: torch.Tensor
    version: int | None
    address: int
    layout: tuple[Any, ...]
    samples: Sequence[Run]
    values: Sequence[bytes]

    @classmethod
    def of(cls, tensor: torch.Tensor) -> _Weight:
        found = samples(tensor)
        layout = _layout(tensor)
        return cls(tensor, tensor.detach(), _version(tensor), tensor.data_ptr(), layout, found, read(found))

    def is_same(self) -> bool:
        return (
            _version(self.tensor) == self.version
            and self.tensor.data_ptr() == self.address
            and _layout(self.tensor) == self.layout
            and read(self.samples) == self.values
        )


@dataclass(frozen=True)
class StateGuard:
    """See the module. `weights`: the tensors whose values were used; `places`: where modules hold them.

    `guard` looks whether anything changed, at some 50 ns for each thing that might and is not marked.
    """

    weights: Sequence[_Weight]
    places: Sequence[tuple[dict[str, Any], str, torch.Tensor]]
    guard: Guard

    @property
    def holds(self) -> Callable[[], bool]:
        """Whether nothing changed."""
        return self.guard.holds

    def quicker(self, same_words: Callable[[int], int] | None) -> Callable[[], bool]:
        """The same, asked natively where that is of use and can be."""
        natively = self.guard.natively
        return natively(same_words) if natively is not None and same_words is not None else self.guard.holds

    @classmethod
    def of(
        cls,
        model: object,
        used: Sequence[torch.Tensor],
        steady: Steady | None = None,
        asked: Sequence[tuple[torch.Tensor, str]] = (),
    ) -> StateGuard:
        """Guard the tensors whose values a capture used, and what decided what the model did.

        `asked`: tensors, and attributes of theirs that decided.
        """
        mine = owned(model)
        wanted = {id(t) for t in used}
        modules = [module for _, module in mine.modules]
        tables = [(table, key) for m in modules for table in (*_tables(m), vars(m)) for key in table]
        weights = [_Weight.of(t) for t in used]
        return cls(
            weights,
            [(table, key, table[key]) for table, key in tables if id(table[key]) in wanted],
            _checks(mine, weights, steady, asked),
        )

    def is_stale(self) -> bool:
        """Whether a weight changed or was replaced: no later call can use the capture again."""
        same = all(w.is_same() for w in self.weights)
        return not same or any(table.get(key) is not held for table, key, held in self.places)


def _checks(
    mine: Owned, weights: Sequence[_Weight], steady: Steady | None, asked: Sequence[tuple[torch.Tensor, str]]
) -> Guard:
    checks = Checks()
    soft: list[_Slot] = []
    wanted = {id(w.tensor) for w in weights}

    def slot(container: Any, key: Any) -> None:
        is_plain = isinstance(container[key], PLAIN)
        expected = checks.slot(container, key, soft=is_plain)
        if is_plain:
            soft.append(_Slot(container, key, expected))

    for weight in weights:
        checks.weight(weight.tensor)
    checks.memory([w.alias for w in weights], [run for w in weights for run in w.samples], are_weights=True)
    checks.layouts([w.tensor for w in weights])
    checks.classes([*(m for _, m in mine.modules), *mine.objects])
    for _, module in mine.modules:
        for table in _tables(module):
            if len(table) < 2 or (is_torchs_leaf(type(module)) and not any(table is h for h in _hooks(module))):
                checks.size(table)
            else:
                checks.order(table)
            for key in table:
                slot(table, key)
    for table, key in _slots(mine, wanted, steady):
        slot(table, key)
    for _, container in mine.containers:
        if len(container) <= WIDTH and (steady is None or steady.container(container)):
            if isinstance(container, set):
                checks.items(container)
                continue
            if isinstance(container, dict) and len(container) > 1:
                checks.order(container)
            else:
                checks.size(container)
            for key in list(container) if isinstance(container, dict) else range(len(container)):
                slot(container, key)
    for cls, known in {cls: attributes_of(cls) for cls, _ in mine.members}.items():
        for name in [name for owner, name in mine.members if owner is cls and _is_watched(known[name], wanted)]:
            if steady is None or steady.member(cls, name, known[name]):
                checks.member(cls, name, known[name])
    for function in mine.functions:
        for name in ("__code__", "__defaults__", "__kwdefaults__"):
            checks.attribute(function, name, getattr(function, name))
    for tensor, name in dict.fromkeys(asked):
        checks.attribute(tensor, name, getattr(tensor, name))
    named = mine.names.union(*map(class_names, mine.classes))
    for name in sorted(named & SETTINGS.keys()):
        checks.answer(SETTINGS[name])
    for variable in mine.variables:
        checks.variable(variable)
    for reference in mine.references:
        checks.alive(reference)
    for buffer in mine.buffers:
        checks.buffer(buffer)
    for owner, name in mine.slotted:
        checks.attribute(owner, name, getattr(owner, name))
    for array in mine.arrays:
        checks.array(array)
    checks.memory(mine.arrays, [run for array in mine.arrays for run in array_samples(array)])
    for cell in mine.cells:
        if cell != CellType() and _is_watched(contents(cell), wanted):
            soft.append(_Slot(cell, None, checks.cell(cell)))
    attributes: list[_Attributes] = []
    for thing in (*(m for _, m in mine.modules), *mine.objects):
        table = vars(thing)
        count = checks.soft_size(table)
        attributes.append(_Attributes(table, frozenset(table), _named(type(thing), mine.names), count))
    for base in dict.fromkeys(b for cls in mine.classes for b in cls.__mro__ if not is_library(b.__module__)):
        count = checks.soft_size(vars(base))
        attributes.append(_Attributes(vars(base), frozenset(vars(base)), _named(base, mine.names), count))
    for hooks in _GLOBAL_HOOKS:
        checks.soft_size(hooks)
        for key in hooks:
            slot(hooks, key)
    return checks.compiled(_Soft(soft, attributes, weights).is_equal)


def _slots(mine: Owned, wanted: set[int], steady: Steady | None) -> list[tuple[dict[str, Any], str]]:
    """Modes of the modules, tables that have something in them, and what code names."""
    found: dict[tuple[int, str], tuple[dict[str, Any], str]] = {}
    for _, module in mine.modules:
        table = vars(module)
        for key in ("training", *TABLES, *HOOKS):
            if table.get(key) or (key == "training" and key in table):
                found[id(table), key] = table, key
        for key, value in table.items():
            if id(value) in wanted:
                found[id(table), key] = table, key
    for table, key in mine.slots:
        if _is_watched(table[key], wanted) and (steady is None or steady.slot(table, key)):
            found[id(table), key] = table, key
    return list(found.values())


def _tables(module: torch.nn.Module) -> list[dict[Any, Any]]:
    return [*(getattr(module, name) for name in TABLES), *_hooks(module)]


def _hooks(module: torch.nn.Module) -> list[dict[Any, Any]]:
    return [getattr(module, name) for name in HOOKS]


def _items(container: Any) -> list[Any]:
    return [*container, *container.values()] if isinstance(container, dict) else [*container]


def _named(cls: type, names: Iterable[str]) -> frozenset[str]:
    """What may be looked up on an object of a class."""
    return frozenset(("forward", *class_names(cls), *names))


def _own_hooks(hooks: dict[int, Any]) -> list[Callable[..., Any]]:
    """Hooks for all modules, other than those of a capture that runs in another thread."""
    return [h for h in list(hooks.values()) if not str(getattr(h, "__module__", "")).startswith("mlc.frontends")]


def _version(tensor: torch.Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


def _layout(tensor: torch.Tensor) -> tuple[Any, ...]:
    strides = tensor.stride() if tensor.layout is torch.strided else ()
    return tensor.dtype, tensor.shape, strides, tensor.is_conj(), tensor.is_neg()


def _is_watched(value: object, used: set[int]) -> bool:
    """Whether a capture may rest on what a slot holds."""
    if isinstance(value, torch.Tensor):
        return id(value) in used
    return not isinstance(value, ModuleType)
