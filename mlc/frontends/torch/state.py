"""The model's state during a capture: names of weights, buffers wrapped so that changes are seen, attributes watched.

What must not change after it is the business of `state_guard.py`.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from xdsl.dialects.builtin import LocationAttr

from mlc.frontends.torch.functional import is_wrapped, wrap
from mlc.frontends.torch.owned import owned
from mlc.frontends.torch.problems import KEEPS_STATE, Problems


def state_names(model: object) -> dict[int, str]:
    """Qualified name by `id` of every parameter, buffer and plain tensor attribute."""
    names: dict[int, str] = {}
    mine = owned(model)
    for path, module in mine.modules:
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                names.setdefault(id(tensor), f"{path}.{name}" if path else name)
    for name, tensor in mine.tensors.items():
        names.setdefault(id(tensor), name)
    for path, module in mine.modules:
        for key, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                names.setdefault(id(value), f"{path}.{key}" if path else key)
    return names


class StateWatch:
    """Wraps the buffers for the length of a run and finds out what the run left behind."""

    def __init__(self, model: object) -> None:
        self._modules = owned(model).modules
        self.wrapped: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._slots: list[tuple[dict[str, Any], str, torch.Tensor]] = []
        self._before: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def wrapping(self) -> Iterator[None]:
        """Buffers are functional wrappers inside."""
        for _, module in self._modules:
            for key, buffer in module._buffers.items():
                if buffer is not None:
                    self._slots.append((module._buffers, key, buffer))
        try:
            for table, key, buffer in self._slots:
                if id(buffer) not in self.wrapped:
                    self.wrapped[id(buffer)] = (buffer, wrap(buffer))
                table[key] = self.wrapped[id(buffer)][1]
            self._before = [dict(vars(module)) for _, module in self._modules]
            yield
        finally:
            for table, key, buffer in self._slots:
                table[key] = buffer

    def finals(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Each buffer with what its slot holds now: its wrapper, or what forward assigned to it."""
        found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        for table, key, buffer in self._slots:
            now = table.get(key)
            if now is not None:
                found.setdefault(id(buffer), (buffer, now))
        return list(found.values())

    def check(self, problems: Problems, location: LocationAttr) -> None:
        """Refuse tensors that the run left in attributes; warn of other attributes it set."""
        changed: list[str] = []
        for (path, module), before in zip(self._modules, self._before, strict=True):
            now = vars(module)
            for key, value in list(now.items()):
                name = f"{path}.{key}" if path else key
                leaves = value if isinstance(value, list | tuple) else [value]
                if isinstance(value, dict) and not key.startswith("_"):
                    leaves = list(value.values())
                if any(is_wrapped(v) for v in leaves):
                    problems.add(f"keeps a tensor in the attribute '{name}' during forward", location, KEEPS_STATE)
                    if key in before:
                        setattr(module, key, before[key])
                    else:
                        delattr(module, key)
                elif key in before and value is not before[key] and isinstance(value, int | float | str):
                    changed.append(name)
        if changed:
            warnings.warn(
                f"forward changes Python attributes ({', '.join(changed)}): compiled calls will not repeat that",
                stacklevel=2,
            )
