"""A second tree of modules on the same weights, for tracers that write into the modules they trace.

torch.export puts fake tensors into the slots of a module while it runs. On a shadow, other threads that use the model,
compiled or not, never see them: the shadow has slots of its own, and shares parameters, buffers and plain values.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch


def shadow(model: torch.nn.Module) -> torch.nn.Module:
    """A tree like `model`. What refers to modules of it in lists, dicts and bound methods refers to their shadows."""
    return _shadow_of(model, {})


def _shadow_of(module: torch.nn.Module, made: dict[int, torch.nn.Module]) -> torch.nn.Module:
    if id(module) in made:
        return made[id(module)]
    twin = made[id(module)] = type(module).__new__(type(module))
    twin.__dict__.update(vars(module))
    for table in ("_parameters", "_buffers"):
        twin.__dict__[table] = dict(vars(module)[table])
    twin.__dict__["_modules"] = {
        name: None if child is None else _shadow_of(child, made) for name, child in module._modules.items()
    }
    for key, value in vars(module).items():
        if key not in ("_parameters", "_buffers", "_modules"):
            twin.__dict__[key] = _translated(value, made)
    return twin


def _translated(value: Any, made: dict[int, torch.nn.Module]) -> Any:
    match value:
        case torch.nn.Module():
            return made.get(id(value), value)
        case MethodType(__self__=torch.nn.Module() as owner):
            return MethodType(value.__func__, made.get(id(owner), owner))
        case list() if type(value) is list:
            return [_translated(v, made) for v in value]
        case dict() if type(value) is dict:
            return {k: _translated(v, made) for k, v in value.items()}
        case _:
            return value
