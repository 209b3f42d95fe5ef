"""The model's state around a capture: names of weights, buffers wrapped so that changes are seen, attributes watched.

Weights become constants of the compiled code, so a later change of one (load_state_dict, an optimizer step, a new
Parameter, train()/eval()) must be noticed: `StateGuard.holds()` compares identities and version counters.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any

import torch
from xdsl.dialects.builtin import LocationAttr

from mlc.frontends.torch.functional import is_wrapped, wrap
from mlc.frontends.torch.problems import KEEPS_STATE, Problems


@dataclass(frozen=True)
class StateGuard:
    """What the captured constants rest on."""

    slots: list[tuple[dict[str, Any], str]]
    held: list[torch.Tensor]
    watched: list[torch.Tensor]
    versions: list[int]
    modules: list[torch.nn.Module]
    modes: list[bool]

    @classmethod
    def of(cls, model: object, used: Sequence[torch.Tensor]) -> StateGuard:
        """Guard the tensors whose values a capture used, and the model's train/eval flags."""
        modules = list(model.modules()) if isinstance(model, torch.nn.Module) else []
        wanted = {id(t) for t in used}
        slots: list[tuple[dict[str, Any], str]] = []
        for module in modules:
            for table in (module._parameters, module._buffers):
                slots += [(table, key) for key, tensor in table.items() if id(tensor) in wanted]
        watched = [t for t in used if not t.is_inference()]
        return cls(
            slots,
            [table[key] for table, key in slots],
            watched,
            [t._version for t in watched],
            modules,
            [m.training for m in modules],
        )

    def holds(self) -> bool:
        """Whether nothing changed; costs some 100 ns a weight."""
        return [m.training for m in self.modules] == self.modes and not self.is_stale()

    def is_stale(self) -> bool:
        """Whether a weight changed or was replaced: no later call can use the capture again."""
        return [t._version for t in self.watched] != self.versions or not all(
            map(is_, [table.get(key) for table, key in self.slots], self.held)
        )


def state_names(model: object) -> dict[int, str]:
    """Qualified name by `id` of every parameter, buffer and plain tensor attribute."""
    names: dict[int, str] = {}
    if not isinstance(model, torch.nn.Module):
        return names
    for found in (model.named_parameters(), model.named_buffers()):
        for name, tensor in found:
            names.setdefault(id(tensor), name)
    for path, module in model.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                names.setdefault(id(value), f"{path}.{key}" if path else key)
    return names


class StateWatch:
    """Wraps the buffers for the length of a run and finds out what the run left behind."""

    def __init__(self, model: object) -> None:
        self._modules = list(model.named_modules()) if isinstance(model, torch.nn.Module) else []
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
