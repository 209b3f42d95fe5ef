"""The modules and tensors that a program owns, and the places whose content decides what it computes.

net = nn.Linear(4, 4); scale = torch.ones(4)
mlc.compile(lambda x: net(x) * scale)      -->   modules [("net", Linear)], tensors {"scale": …}

A function reaches things by closure cells, by globals its code names, by default values, by `functools.partial` and by
the object it is a method of; a module by the methods of its class, by attributes that their code names, and by hooks.
Each of these places is a slot, a cell or a container whose content may change between two calls.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.nn.modules import container as nn_container

from mlc.frontends.torch.captured_values import PLAIN

TABLES = ("_parameters", "_buffers", "_modules")
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_DEPTH = 4
_WIDTH = 100
_LIBRARIES = ("torch", "numpy", "torchvision", "mlc", "builtins", "functools")
_NAMESPACES = (SimpleNamespace, argparse.Namespace)
_SETUP = {"__init__", "extra_repr", "reset_parameters", "__repr__", "__setstate__", "__getstate__"}


@dataclass
class Owned:
    """`modules` with their qualified names, `tensors` by name, and the places that lead to them and to other values.

    `slots`: attributes and globals; `containers`: lists, dicts and sets by name; `caches`: `lru_cache`s; `objects`:
    what has attributes of its own; `slotted`: attributes of objects with `__slots__`; `arrays`: of numpy; `classes`,
    `functions`: the user's code; `names`: what the code of functions names.
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
    classes: list[type] = field(default_factory=list)
    functions: list[FunctionType] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


def owned(program: object) -> Owned:
    """What `program` owns."""
    found = Owned()
    known = -1
    while len(found.names) > known:  # an attribute counts even if the code that names it is met after its owner
        known = len(found.names)
        found = Owned(names=found.names)
        _Walk(found).visit(program, "", _DEPTH)
    return found


def code_names(functions: Iterable[FunctionType]) -> set[str]:
    """Names of globals and attributes that the code of these functions, and of functions in them, mentions."""
    names: set[str] = set()
    rest: list[CodeType] = [f.__code__ for f in functions]
    while rest:
        code = rest.pop()
        names.update(code.co_names)
        rest += [c for c in code.co_consts if isinstance(c, CodeType)]
        if "getattr" in code.co_names or "hasattr" in code.co_names:
            names.update(c for c in code.co_consts if isinstance(c, str) and c.isidentifier())
    return names


@functools.lru_cache(maxsize=4096)
def class_names(cls: type) -> frozenset[str]:
    """Names that the methods of a class mention, those of set-up aside."""
    bases = [base for base in cls.__mro__ if base is not torch.nn.Module]
    return frozenset(code_names(f for base in bases for f in _methods(base)))


def is_library(module: str | None) -> bool:
    """Whether a Python module is nobody's own: its globals and classes are taken to stay as they are."""
    top = (module or "").partition(".")[0]
    if top in _LIBRARIES or (top in sys.stdlib_module_names and top != "__main__"):
        return True
    file = getattr(sys.modules.get(module or ""), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file


def is_torchs_leaf(cls: type) -> bool:
    """Whether a module class is one of PyTorch's that name their parameters and submodules one by one."""
    return cls.__module__.partition(".")[0] == "torch" and cls.__module__ != nn_container.__name__


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
        if id(value) in self._seen or depth < 0 or (isinstance(value, PLAIN) and not isinstance(value, tuple)):
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
            case functools.partial():
                self.found.containers.append((name, value.keywords))
                for i, item in enumerate((value.func, *value.args, *value.keywords.values())):
                    self.visit(item, name or f"partial{i}", depth - 1)
            case MethodType():
                self.visit(value.__self__, name, depth - 1)
                self.visit(value.__func__, name, depth - 1)
            case FunctionType():
                if depth == _DEPTH or not is_library(value.__module__):
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
            case _ if _is_users_object(value):
                self._visit_object(value, name, depth)
            case _:
                pass

    def _visit_module(self, path: str, module: torch.nn.Module, depth: int) -> None:
        table = vars(module)
        self._visit_class(type(module), depth)
        names = {"forward", *class_names(type(module)), *self.found.names}
        is_torchs = type(module).__module__.partition(".")[0] == "torch"
        kinds = (*PLAIN, dict, FunctionType, BuiltinFunctionType, MethodType) if is_torchs else object
        self._visit_attributes(table, names, path, depth, kinds)
        for hook in [h for kind in HOOKS for h in getattr(module, kind).values()]:
            self.visit(hook, path, depth - 1)

    def _visit_object(self, value: object, name: str, depth: int) -> None:
        self._visit_class(type(value), depth)
        if hasattr(value, "__dict__"):
            self.found.objects.append(value)
            self._visit_attributes(vars(value), {*class_names(type(value)), *self.found.names}, name, depth)
        for key in [k for cls in type(value).__mro__ for k in _slots_of(cls) if hasattr(value, k)]:
            self.found.slotted.append((value, key))
            self.visit(getattr(value, key), f"{name}.{key}" if name else key, depth - 1)
        if depth == _DEPTH:
            self.visit(inspect.getattr_static(type(value), "__call__", None), name, depth)

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
                for function in _methods(base):
                    self.visit(function, "", depth - 1)

    def _visit_function(self, function: FunctionType, depth: int) -> None:
        found = self.found
        found.functions.append(function)
        names = code_names([function])
        found.names |= names
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

    def _visit_container(self, value: Any, items: Iterable[tuple[Any, Any]], name: str, depth: int) -> None:
        if not isinstance(value, tuple | frozenset):
            self.found.containers.append((name, value))
        if len(value) <= _WIDTH:
            for key, item in list(items):
                self.visit(item, f"{name}.{key}", depth - 1)


def _methods(cls: type) -> Iterator[FunctionType]:
    """The functions that a class defines, those of set-up aside."""
    for name, value in vars(cls).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if isinstance(function, FunctionType) and name not in _SETUP:
            yield function


def _is_users_object(value: object) -> bool:
    if isinstance(value, _NAMESPACES):
        return True
    top = type(value).__module__.partition(".")[0]
    return top not in _LIBRARIES and (top not in sys.stdlib_module_names or top == "__main__")


def _slots_of(cls: type) -> list[str]:
    """Names that a class of the user's keeps in slots."""
    slots = () if is_library(cls.__module__) else vars(cls).get("__slots__", ())
    return [s for s in ((slots,) if isinstance(slots, str) else tuple(slots)) if s.isidentifier() and s[:2] != "__"]
