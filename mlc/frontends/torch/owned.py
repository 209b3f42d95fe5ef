"""The modules and tensors that a program owns, and the places whose content decides what it computes.

net = nn.Linear(4, 4); scale = torch.ones(4)
mlc.compile(lambda x: net(x) * scale)      -->   modules [("net", Linear)], tensors {"scale": …}

A function reaches things by closure cells, by globals its code names, by default values, by `functools.partial` and by
the object it is a method of; a module by the methods and attributes of its class, by attributes that their code names
(all, where code computes names), and by hooks. Each of these places is a slot, a cell or a container whose content may
change between two calls.
"""

from __future__ import annotations

import argparse
import collections
import functools
import gc
import inspect
import threading
import weakref
from array import array
from collections import deque
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    MappingProxyType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

import numpy as np
import torch
from torch.nn.modules import container as nn_container

from mlc.frontends.torch.captured_values import PLAIN
from mlc.frontends.torch.named import (
    asked_names,
    class_names,
    code_names,
    computes_names,
    is_library,
    is_users_object,
    methods,
)

TABLES = ("_parameters", "_buffers", "_modules")
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
WIDTH = 1000
"""Items of a container up to which they are looked at."""
MANY = 20_000
DEPTH = 40
"""Values up to which a program is followed, and how far from one to the next."""
_NAMESPACES = (SimpleNamespace, argparse.Namespace)
_WRAPPERS = {
    **dict.fromkeys((collections.UserDict, collections.UserList, collections.UserString), "data"),
    **dict.fromkeys((weakref.WeakKeyDictionary, weakref.WeakValueDictionary), "data"),
    collections.ChainMap: "maps",
}
_VIEWS = (MappingProxyType, type({}.keys()), type({}.values()), type({}.items()))
_TORCHS_OWN = frozenset(vars(torch.nn.Module()))
CODE = (FunctionType, property, staticmethod, classmethod)


@dataclass
class Owned:
    """`modules` with their qualified names, `tensors` by name, and the places that lead to them and to other values.

    `slots`: attributes and globals; `containers`: lists, dicts and sets by name; `caches`: `lru_cache`s; `objects`:
    what has attributes of its own; `slotted`: attributes that are in no dict; `arrays`: of numpy; `buffers`: bytearrays
    and arrays of Python's; `variables`, `references`: context variables and weak references; `classes`, `functions`:
    the user's code; `members`: attributes of classes; `names`: what the code of functions names, `asked`: what it asks
    for by `getattr`, `computes`: whether by names it computes. `cut`: whether there is more than is followed.
    """

    modules: list[tuple[str, torch.nn.Module]] = field(default_factory=list)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    slots: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    cells: list[CellType] = field(default_factory=list)
    containers: list[tuple[str, Any]] = field(default_factory=list)
    caches: list[Any] = field(default_factory=list)
    objects: list[Any] = field(default_factory=list)
    slotted: list[tuple[Any, str]] = field(default_factory=list)
    arrays: list[np.ndarray] = field(default_factory=list)
    buffers: list[bytearray | array[Any]] = field(default_factory=list)
    variables: list[ContextVar[Any]] = field(default_factory=list)
    references: list[weakref.ref[Any]] = field(default_factory=list)
    classes: list[type] = field(default_factory=list)
    functions: list[FunctionType] = field(default_factory=list)
    members: list[tuple[type, str]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    computes: bool = False
    cut: bool = False


def owned(program: object) -> Owned:
    """What `program` owns."""
    found = Owned()
    known = None
    while known != (known := (len(found.names), len(found.asked), found.computes)):
        # an attribute counts even if the code that names it is met after its owner
        found = Owned(names=found.names, asked=found.asked, computes=found.computes)
        _Walk(found).visit(program, "", DEPTH)
    return found


def is_torchs(cls: type) -> bool:
    """Whether a class is PyTorch's own."""
    return cls.__module__.partition(".")[0] == "torch"


def is_torchs_leaf(cls: type) -> bool:
    """Whether a module class is one of PyTorch's that name their parameters and submodules one by one."""
    return is_torchs(cls) and cls.__module__ != nn_container.__name__


def attributes_of(cls: type) -> dict[str, Any]:
    """What a class has itself or from its bases, as it is kept there."""
    return {name: value for base in reversed(cls.__mro__) for name, value in vars(base).items()}


def contents(cell: CellType) -> Any:
    """What a closure's variable holds; None while it holds nothing."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


class _Walk:
    """Visits each value once."""

    def __init__(self, found: Owned) -> None:
        self.found = found
        self._seen: set[int] = set()
        self._alive: list[object] = []  # keeps bound methods, so that no `id` comes twice

    def visit(self, value: Any, name: str, depth: int) -> None:
        """Add what `value`, called `name`, leads to."""
        if id(value) in self._seen or (isinstance(value, PLAIN) and not isinstance(value, tuple)):
            return
        if depth < 0 or len(self._alive) >= MANY:
            self.found.cut = True
            return
        self._seen.add(id(value))
        self._alive.append(value)
        match value:
            case torch.nn.Module():
                for path, module in value.named_modules(prefix=name):
                    if module is value or id(module) not in self._seen:
                        self._seen.add(id(module))
                        self.found.modules.append((path, module))
                        self._visit_module(path, module, depth)
            case torch.Tensor():
                self.found.tensors.setdefault(name, value)
                self._visit_tensor(value, name, depth)
            case functools.partial():
                self.found.containers.append((name, value.keywords))
                for i, item in enumerate((value.func, *value.args, *value.keywords.values())):
                    self.visit(item, name or f"partial{i}", depth - 1)
            case MethodType():
                self.visit(value.__self__, name, depth - 1)
                self.visit(value.__func__, name, depth - 1)
            case FunctionType():
                if depth == DEPTH or not is_library(value.__module__):
                    self._visit_function(value, depth - 1)
            case list() | tuple() | set() | frozenset() | deque():
                self._visit_container(value, enumerate(value), name, depth)
            case dict():
                self._visit_container(value, value.items(), name, depth)
            case functools._lru_cache_wrapper():
                self.found.caches.append(value)
                self.visit(value.__wrapped__, name, depth)
            case type():
                self._visit_class(value, depth)
            case ModuleType():
                if not is_library(value.__name__):
                    self._visit_attributes(vars(value), self.found.names, name, depth)
            case np.ndarray():
                self.found.arrays.append(value)
            case _:
                self._visit_other(value, name, depth)

    def _visit_other(self, value: Any, name: str, depth: int) -> None:
        """Holders of Python's library, and objects of the user's classes."""
        match value:
            case bytearray() | array():
                self.found.buffers.append(value)
            case memoryview():
                self.visit(value.obj, name, depth - 1)
            case BuiltinFunctionType() | MethodWrapperType():
                self.visit(value.__self__, name, depth - 1)
            case _ if isinstance(value, _VIEWS):
                for inner in gc.get_referents(value):
                    self.visit(inner, name, depth - 1)
            case ContextVar():
                self.found.variables.append(value)
                self.visit(value.get(None), name, depth - 1)
            case weakref.ref():
                self.found.references.append(value)
                self.visit(value(), name, depth - 1)
            case threading.local():
                for key in sorted(vars(value).keys() & self.found.names):
                    self.found.slotted.append((value, key))
                    self.visit(getattr(value, key), f"{name}.{key}", depth - 1)
            case _ if isinstance(value, (*_WRAPPERS, *_NAMESPACES)) or is_users_object(value):
                wrapped = {key for kind, key in _WRAPPERS.items() if isinstance(value, kind)}
                self._visit_object(value, name, wrapped, depth)
            case _:
                pass

    def _visit_module(self, path: str, module: torch.nn.Module, depth: int) -> None:
        table = vars(module)
        cls = type(module)
        self._visit_class(cls, depth)
        names = {"forward", *class_names(cls), *self.found.names}
        kinds = (*PLAIN, dict, FunctionType, BuiltinFunctionType, MethodType) if is_torchs(cls) else object
        if not is_library(cls.__module__):
            if self.found.computes:
                names |= table.keys() - _TORCHS_OWN
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if tensor is not None:
                    self._visit_tensor(tensor, path, depth)
        self._visit_attributes(table, names, path, depth, kinds)
        for hook in [h for kind in HOOKS for h in getattr(module, kind).values()]:
            self.visit(hook, path, depth - 1)

    def _visit_tensor(self, tensor: torch.Tensor, name: str, depth: int) -> None:
        """Attributes that the program gave a tensor."""
        self._visit_attributes(vars(tensor), self.found.names, name, depth)
        if self.found.asked:
            self.found.objects.append(tensor)

    def _visit_object(self, value: object, name: str, known: set[str], depth: int) -> None:
        """The attributes that code names, and those in `known`."""
        cls = type(value)
        self._visit_class(cls, depth)
        if hasattr(value, "__dict__"):
            self.found.objects.append(value)
            names = {*known, *class_names(cls), *self.found.names}
            if self.found.computes and not is_library(cls.__module__):
                names |= vars(value).keys()
            self._visit_attributes(vars(value), names, name, depth)
        for key in [k for base in cls.__mro__ for k in _slots_of(base) if hasattr(value, k)]:
            self.found.slotted.append((value, key))
            self.visit(getattr(value, key), f"{name}.{key}" if name else key, depth - 1)
        if depth == DEPTH:
            self.visit(inspect.getattr_static(cls, "__call__", None), name, depth)

    def _visit_attributes(
        self, table: dict[str, Any], names: Iterable[str], prefix: str, depth: int, kinds: Any = object
    ) -> None:
        """Slots of an object's attributes that code names."""
        for key in sorted(table.keys() & names):
            value = table[key]
            if key in TABLES or key in HOOKS or not isinstance(value, kinds):
                continue
            self.found.slots.append((table, key))
            self.visit(value, f"{prefix}.{key}" if prefix else key, depth - 1)

    def _visit_class(self, cls: type, depth: int) -> None:
        if cls in self.found.classes or is_library(cls.__module__):
            return
        self.found.classes.append(cls)
        for base in cls.__mro__:
            if not is_library(base.__module__):
                for function in methods(base):
                    self.visit(function, "", depth - 1)
        known = attributes_of(cls)
        for name in sorted(known.keys() & {"forward", *class_names(cls), *self.found.names}):
            if name[:2] != "__":
                self.found.members.append((cls, name))
                if not isinstance(known[name], CODE):
                    self.visit(known[name], name, depth - 1)

    def _visit_function(self, function: FunctionType, depth: int) -> None:
        found = self.found
        found.functions.append(function)
        names = code_names([function])
        found.names |= names
        found.asked |= asked_names(function)
        found.computes |= computes_names(function)
        if function.__kwdefaults__:
            found.containers.append((function.__name__, function.__kwdefaults__))
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            found.cells.append(cell)
            self.visit(contents(cell), name, depth)
        for name in sorted(names & function.__globals__.keys()):
            found.slots.append((function.__globals__, name))
            self.visit(function.__globals__[name], name, depth)
        for name, value in (function.__kwdefaults__ or {}).items():
            self.visit(value, name, depth)
        for value in function.__defaults__ or ():
            self.visit(value, "default", depth)
        self._visit_attributes(vars(function), found.names, function.__name__, depth)

    def _visit_container(self, value: Any, items: Iterable[tuple[Any, Any]], name: str, depth: int) -> None:
        if not isinstance(value, tuple | frozenset):
            self.found.containers.append((name, value))
        if len(value) <= WIDTH:
            for key, item in list(items):
                self.visit(item, f"{name}.{key}", depth - 1)


def _slots_of(cls: type) -> list[str]:
    """Names that a class of the user's keeps in slots."""
    slots = () if is_library(cls.__module__) else vars(cls).get("__slots__", ())
    return [s for s in ((slots,) if isinstance(slots, str) else tuple(slots)) if s.isidentifier() and s[:2] != "__"]
