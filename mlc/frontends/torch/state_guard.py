"""What must be as it was at the capture for compiled code to be right: checked at every call, so made of few C calls.

Weights are constants of the compiled code and Python values are folded into it. Noticed are: a weight changed in place
(its version), given other memory (`weight.data = t`: its address) or replaced (identity of what its slot holds); other
submodules; train() and eval(); numbers, strings and tuples in attributes that the code of the model's classes names;
forward hooks added or removed; and, of a function, what its closure and the globals it names hold.
Not noticed: writes that bypass the version counter (`weight.data.mul_()`, a numpy view), and what lists, dicts and
objects in attributes contain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter, is_
from types import CellType, FunctionType
from typing import Any

import torch

from mlc.frontends.torch.captured_values import PLAIN, same_value
from mlc.frontends.torch.owned import Owned, code_names, contents, owned

_version = attrgetter("_version")
_address = torch.Tensor.data_ptr
_get = dict.get
_SETUP = {"__init__", "extra_repr", "reset_parameters", "__repr__", "__setstate__", "__getstate__"}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


@dataclass(frozen=True)
class StateGuard:
    """See the module. `keys` name slots of `tables` that held `held`; the first `weights` of them hold weights."""

    tables: list[dict[str, Any]]
    keys: list[str]
    held: list[Any]
    weights: int
    cells: list[CellType]
    contents: list[Any]
    versioned: list[torch.Tensor]
    versions: list[int]
    addressed: list[torch.Tensor]
    addresses: list[int]
    hooks: list[dict[Any, Any]]
    hook_count: int

    @classmethod
    def of(cls, model: object, used: Sequence[torch.Tensor]) -> StateGuard:
        """Guard the tensors whose values a capture used, and the settings of the model's modules."""
        mine = owned(model)
        wanted = {id(t) for t in used}
        weights: list[tuple[dict[str, Any], str]] = []
        settings: list[tuple[dict[str, Any], str]] = []
        for _, module in mine.modules:
            for table in (module._parameters, module._buffers, vars(module)):
                weights += [(table, key) for key, tensor in table.items() if id(tensor) in wanted]
            settings += _settings(module)
        settings += [(table, key) for table, key in mine.slots if _is_watched(table[key], mine, wanted)]
        cells = [c for c in mine.cells if _is_watched(contents(c), mine, wanted)]
        slots = weights + settings
        versioned = [t for t in used if not t.is_inference()]
        hooks = [getattr(module, name) for _, module in mine.modules for name in _HOOKS]
        return cls(
            [table for table, _ in slots],
            [key for _, key in slots],
            [table.get(key) for table, key in slots],
            len(weights),
            cells,
            [contents(c) for c in cells],
            versioned,
            [t._version for t in versioned],
            list(used),
            [t.data_ptr() for t in used],
            hooks,
            sum(map(len, hooks)),
        )

    def holds(self) -> bool:
        """Whether nothing changed; costs some 100 ns a weight or module."""
        return (
            [*map(_version, self.versioned)] == self.versions
            and [*map(_address, self.addressed)] == self.addresses
            and (all(map(is_, map(_get, self.tables, self.keys), self.held)) or self._are_equal())
            and sum(map(len, self.hooks)) == self.hook_count
            and (not self.cells or all(map(same_value, self.contents, map(contents, self.cells))))
        )

    def is_stale(self) -> bool:
        """Whether a weight changed or was replaced: no later call can use the capture again."""
        return (
            [*map(_version, self.versioned)] != self.versions
            or [*map(_address, self.addressed)] != self.addresses
            or not all(
                table.get(key) is held
                for table, key, held in zip(self.tables[: self.weights], self.keys, self.held, strict=False)
            )
        )

    def _are_equal(self) -> bool:
        """The same values in other objects: `self.scale = 2.0` once more."""
        return all(
            now is held or (isinstance(now, PLAIN) and same_value(held, now))
            for now, held in zip(map(_get, self.tables, self.keys), self.held, strict=True)
        )


def _settings(module: torch.nn.Module) -> Iterator[tuple[dict[str, Any], str]]:
    """Slots of a module that decide what it computes: submodules, its mode, a forward of its own, plain attributes."""
    for key in module._modules:
        yield module._modules, key  # pyright: ignore[reportReturnType]
    table = vars(module)
    yield table, "training"
    if type(module).__module__.partition(".")[0] != "torch":
        yield table, "forward"
    names = _names_in_code(type(module))
    for key, value in table.items():
        if key in names and isinstance(value, PLAIN):
            yield table, key


def _is_watched(value: object, mine: Owned, used: set[int]) -> bool:
    """Of a closure or a global: what the capture may rest on."""
    if isinstance(value, torch.Tensor):
        return id(value) in used
    if isinstance(value, torch.nn.Module):
        return any(value is m for _, m in mine.modules)
    return isinstance(value, (*PLAIN, FunctionType))


@lru_cache(maxsize=4096)
def _names_in_code(cls: type) -> set[str]:
    """Names that the methods of a class mention, those of set-up aside."""
    methods = (
        f for base in cls.__mro__ if base is not torch.nn.Module for n, f in vars(base).items() if n not in _SETUP
    )
    functions = (f.fget if isinstance(f, property) else f for f in methods)
    return code_names(f for f in functions if isinstance(f, FunctionType))
