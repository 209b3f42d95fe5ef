"""The modules and tensors that a program owns: a module's own, or what a function reaches by name.

net = nn.Linear(4, 4); scale = torch.ones(4)
mlc.compile(lambda x: net(x) * scale)      -->   modules [("net", Linear)], tensors {"scale": …}

A function reaches things by closure cells, by globals its code names, by default values, by `functools.partial` and by
the object it is a method of. Each of these places is a slot whose content may change between two calls.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import torch

_DEPTH = 4
_LIBRARIES = ("torch", "numpy", "torchvision", "mlc")


@dataclass
class Owned:
    """`modules` with their qualified names, `tensors` by name, and the slots that lead to them and to plain values."""

    modules: list[tuple[str, torch.nn.Module]] = field(default_factory=list)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    slots: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    cells: list[CellType] = field(default_factory=list)


def owned(program: object) -> Owned:
    """What `program` owns."""
    found = Owned()
    if isinstance(program, torch.nn.Module):
        found.modules += program.named_modules()
    else:
        _visit(program, "", found, set(), _DEPTH)
    return found


def code_names(functions: Iterator[FunctionType]) -> set[str]:
    """Names of globals and attributes that the code of these functions, and of functions in them, mentions."""
    names: set[str] = set()
    rest: list[CodeType] = [f.__code__ for f in functions]
    while rest:
        code = rest.pop()
        names.update(code.co_names)
        rest += [c for c in code.co_consts if isinstance(c, CodeType)]
    return names


def _visit(value: object, name: str, found: Owned, seen: set[int], depth: int) -> None:
    if id(value) in seen or depth < 0:
        return
    seen.add(id(value))
    match value:
        case torch.nn.Module():
            known = {id(m) for _, m in found.modules}
            found.modules += [m for m in value.named_modules(prefix=name) if id(m[1]) not in known]
        case torch.Tensor():
            found.tensors.setdefault(name, value)
        case functools.partial():
            for i, item in enumerate((value.func, *value.args, *value.keywords.values())):
                _visit(item, name or f"partial{i}", found, seen, depth - 1)
        case MethodType():
            _visit(value.__self__, name, found, seen, depth - 1)
            _visit(value.__func__, name, found, seen, depth - 1)
        case FunctionType():
            if value.__module__.partition(".")[0] not in _LIBRARIES:
                _visit_function(value, found, seen, depth - 1)
        case list() | tuple():
            for i, item in enumerate(value[:100]):
                _visit(item, f"{name}.{i}", found, seen, depth - 1)
        case dict():
            for key, item in list(value.items())[:100]:
                _visit(item, f"{name}.{key}", found, seen, depth - 1)
        case _ if _is_users_object(value):
            found.slots += [(vars(value), key) for key in vars(value)]
            for key, item in list(vars(value).items()):
                _visit(item, f"{name}.{key}" if name else key, found, seen, depth - 1)
            if depth == _DEPTH:
                _visit(inspect.getattr_static(type(value), "__call__", None), name, found, seen, depth)


def _visit_function(function: FunctionType, found: Owned, seen: set[int], depth: int) -> None:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        found.cells.append(cell)
        _visit(contents(cell), name, found, seen, depth)
    for name in sorted(code_names(iter([function]))):
        if name in function.__globals__:
            found.slots.append((function.__globals__, name))
            _visit(function.__globals__[name], name, found, seen, depth)
    for name, value in (function.__kwdefaults__ or {}).items():
        _visit(value, name, found, seen, depth)
    for value in function.__defaults__ or ():
        _visit(value, "default", found, seen, depth)


def contents(cell: CellType) -> Any:
    """What a closure's variable holds; None while it holds nothing."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _is_users_object(value: object) -> bool:
    if isinstance(value, type) or inspect.ismodule(value) or not hasattr(value, "__dict__"):
        return False
    return type(value).__module__.partition(".")[0] not in (*_LIBRARIES, "builtins", "functools")
