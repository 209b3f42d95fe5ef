"""Ops of `torch.library` namespaces that other packages bring: what stands for them at the linalg level.

A model calls `torch.ops.tacc.bias_relu`; its capture records `torch.operator "tacc.bias_relu"`. The package that knows
the namespace names a table in the entry point group `mlc.torch_ops` (entry name = namespace):

    TORCH_OPS = {"bias_relu": bias_relu}

    def bias_relu(arguments, result_types):
        x, bias = arguments
        return [BiasReluOp(operands=[x, bias], result_types=result_types)]

A function gets the arguments in the order of the op's schema, defaults written out: tensors as values of builtin tensor
type, numbers, strings, None and lists as Python has them. It returns new ops, the last of which has the results.
Overloads have their name behind a dot (`"bias_relu.out"`), the default one none. `convert-torch-to-linalg` asks here.
Namespaces of which mlc has ops itself (`aten`, `prim`, ...) stay mlc's. Tests: tests/repo/test_custom_ops.py
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

from mlc.errors import PluginError
from mlc.ir import plugins

GROUP = "mlc.torch_ops"
Make = Callable[..., Any]
_NAMES = re.compile(r'torch\.operator "(?:torch\.)?(\w+)\.')


@dataclass(frozen=True)
class CustomOp:
    """The function for one op, and which entry point brought it."""

    name: str
    make: Make
    entry: EntryPoint

    def failure(self, cause: BaseException) -> PluginError:
        """The error that names op, package and cause."""
        error = plugins.failure(self.entry, cause, f"function for torch.library op '{self.name}'")
        error.__cause__ = cause
        return error


_tables: dict[str, tuple[EntryPoint, Mapping[str, Any]] | None] = {}


def find(name: str) -> CustomOp | None:
    """Who stands for `tacc.bias_relu`; None where no package does. PluginError where the package does not load."""
    namespace, _, op = name.partition(".")
    if namespace not in _tables:
        _tables[namespace] = _load(namespace)
    loaded = _tables[namespace]
    make = loaded[1].get(op) if loaded is not None else None
    if loaded is None or make is None:
        return None
    if not callable(make):
        raise plugins.failure(loaded[0], TypeError(f"'{op}' is {make!r}, expected a function that makes ops"))
    return CustomOp(name, make, loaded[0])


def _load(namespace: str) -> tuple[EntryPoint, Mapping[str, Any]] | None:
    """The table of the first package that has the namespace."""
    entries = plugins.found(GROUP, namespace)
    if not entries:
        return None
    table = plugins.load(entries[0])
    if not isinstance(table, Mapping):
        what = f"it is of type {type(table).__name__}, expected a dict: name of the op -> function that makes ops"
        raise plugins.failure(entries[0], TypeError(what))
    return entries[0], table


def packages(names: Iterable[str]) -> list[EntryPoint]:
    """The entry points that stand for ops of these names."""
    return [e for namespace in sorted({n.partition(".")[0] for n in names}) for e in plugins.found(GROUP, namespace)]


def names_in(text: str) -> set[str]:
    """Namespaces of ops known by name only in a torch-level text. (A string in it that looks like one does no harm.)"""
    return set(_NAMES.findall(text))
