"""The model's state during a capture: names of weights, buffers wrapped so that changes are seen, attributes watched.

What must not change after it is the business of `state_guard.py`.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from mlc.frontends.torch.functional import is_wrapped, unwrap, wrap
from mlc.frontends.torch.graph import Location
from mlc.frontends.torch.owned import TABLES, Owned
from mlc.frontends.torch.problems import KEEPS_STATE
from mlc.frontends.torch.recorder import Recorder


def state_names(mine: Owned) -> dict[int, str]:
    """Qualified name by `id` of every parameter, buffer and plain tensor attribute."""
    names: dict[int, str] = {}
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
    """Wraps the buffers for the length of a run, finds out what the run left behind, and takes it back."""

    def __init__(self, mine: Owned) -> None:
        self._modules = mine.modules
        self.wrapped: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._slots: list[tuple[dict[str, Any], str, torch.Tensor]] = []
        # per module: its attributes, and copies of what those that are containers held
        self._before: list[tuple[dict[str, Any], dict[str, Any]]] = []

    @contextlib.contextmanager
    def wrapping(self) -> Iterator[None]:
        """Buffers are functional wrappers inside. None of them is left in the modules afterwards."""
        for _, module in self._modules:
            for key, buffer in module._buffers.items():
                if buffer is not None:
                    self._slots.append((module._buffers, key, buffer))
            table = vars(module)
            self._before.append((dict(table), {k: v.copy() for k, v in table.items() if isinstance(v, list | dict)}))
        try:
            for table, key, buffer in self._slots:
                if id(buffer) not in self.wrapped:
                    self.wrapped[id(buffer)] = (buffer, wrap(buffer))
                table[key] = self.wrapped[id(buffer)][1]
            yield
        finally:
            for table, key, buffer in self._slots:  # first, and calling nothing: Ctrl-C may come here, too
                table[key] = buffer
            for module, key in self._kept():
                self._take_back(module, key)
            for (_, module), (_, contents) in zip(self._modules, self._before, strict=True):
                for key in TABLES:
                    refill(vars(module)[key], contents[key])

    def finals(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Each buffer with what its slot holds now: its wrapper, or what forward assigned to it."""
        found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        for table, key, buffer in self._slots:
            now = table.get(key)
            if now is not None:
                found.setdefault(id(buffer), (buffer, now))
        return list(found.values())

    def check(self, recorder: Recorder, location: Location) -> list[str]:
        """Refuse tensors that the run left in attributes; the result names other attributes it set.

        Those that no input decides stay there, as eager leaves them (`torch.nn.utils.weight_norm` keeps the weight).
        """
        problems = recorder.problems
        paths = {id(module): path for path, module in self._modules}

        def name(module: torch.nn.Module, key: str) -> str:
            return f"{paths[id(module)]}.{key}" if paths[id(module)] else key

        for module, key in self._kept():
            value = vars(module)[key]
            if not any(recorder.depends_on_inputs(unwrap(t)) for t in _inside(key, value) if is_wrapped(t)):
                vars(module)[key] = unwrap_all(value)
                continue
            problems.add(f"keeps a tensor in the attribute '{name(module, key)}' during forward", location, KEEPS_STATE)
        changed: list[str] = []
        for (_, module), (before, contents) in zip(self._modules, self._before, strict=True):
            for kind in TABLES:
                now, then = vars(module)[kind], contents[kind]
                for key in {**now, **then}:
                    was_buffer = kind == "_buffers" and then.get(key) is not None
                    if now.get(key) is not then.get(key) and (now.get(key) is None or not was_buffer):
                        what = f"replaces, adds or removes '{name(module, key)}' during forward"
                        problems.add(what, location, KEEPS_STATE)
            for key, value in vars(module).items():
                if key in before and value is not before[key] and isinstance(value, int | float | str):
                    changed.append(name(module, key))
        return changed

    def _kept(self) -> list[tuple[torch.nn.Module, str]]:
        """Attributes that hold wrapped tensors, themselves or in a container."""
        found: list[tuple[torch.nn.Module, str]] = []
        for _, module in self._modules:
            for key, value in vars(module).items():
                if any(map(is_wrapped, _inside(key, value))):
                    found.append((module, key))
        return found

    def _take_back(self, module: torch.nn.Module, key: str) -> None:
        at = next(i for i, (_, m) in enumerate(self._modules) if m is module)
        before, contents = self._before[at]
        if key not in before:
            del vars(module)[key]
            return
        vars(module)[key] = before[key]
        if key in contents:
            refill(before[key], contents[key])


def _inside(key: str, value: Any) -> Sequence[Any]:
    """What an attribute holds."""
    if isinstance(value, dict):
        return () if key in TABLES else list(value.values())
    return value if isinstance(value, list | tuple) else (value,)


def unwrap_all(value: Any) -> Any:
    """A list or dict with plain tensors in the place of wrappers, the same one; a tuple or tensor of them anew."""
    if isinstance(value, dict):
        value.update({k: unwrap(v) for k, v in value.items() if is_wrapped(v)})
    elif isinstance(value, list):
        value[:] = map(unwrap, value)
    elif isinstance(value, tuple):
        return tuple(map(unwrap, value)) if type(value) is tuple else value
    return unwrap(value)


def refill(container: Any, contents: Any) -> None:
    """Make a list, dict, set or deque hold what it held, unless it still does."""
    if isinstance(container, list):
        if len(container) != len(contents) or any(a is not b for a, b in zip(container, contents, strict=True)):
            container[:] = contents
    elif isinstance(container, dict):
        if list(container) != list(contents) or any(container[k] is not contents[k] for k in contents):
            container.clear()
            container.update(contents)
    else:
        container.clear()
        container.extend(contents) if isinstance(container, deque) else container.update(contents)
