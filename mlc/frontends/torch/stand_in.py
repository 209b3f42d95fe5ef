"""What a compiled model answers in the place of the model that it was made from, as `torch.compile`'s result does.

compiled.state_dict(), .named_parameters(), .config     -->   those of the model
compiled.eval(), .train(), .to(torch.float64)           -->   done to the model; the compiled model comes back
compiled.forward(x)                                     -->   compiled(x)
compiled.__len__, compiled.save                         -->   AttributeError that names both
"""

from __future__ import annotations

import functools
from types import FunctionType
from typing import Any

import torch

_ON_ITSELF = frozenset(
    {
        *("eval", "train", "to", "cpu", "cuda", "float", "double", "half", "bfloat16", "type", "to_empty"),
        *("requires_grad_", "apply", "share_memory", "zero_grad"),
    }
)
"""Methods of `torch.nn.Module` that change the module and return it."""


def unwrapped(model: Any) -> Any:
    """The model that `torch.compile` was given, where this is what it returned."""
    while True:
        inner = getattr(model, "_torchdynamo_orig_callable", None) if isinstance(model, FunctionType) else None
        if isinstance(model, torch.nn.Module) and type(model).__name__ == "OptimizedModule":
            inner = model._orig_mod
        if inner is None:
            return model
        model = inner


def attribute(model: Any, name: str, compiled: Any) -> Any:
    """`compiled.<name>`, which `compiled` itself has not."""
    if name.startswith("__") or not hasattr(model, name):
        raise AttributeError(f"neither the compiled model nor {_named(model)} has an attribute '{name}'", name=name)
    found = getattr(model, name)
    if not isinstance(model, torch.nn.Module):
        return found
    if name == "forward":
        return compiled.__call__
    if name not in _ON_ITSELF:
        return found

    @functools.wraps(found)
    def on_the_model(*args: Any, **kwargs: Any) -> Any:
        out = found(*args, **kwargs)
        return compiled if out is model else out

    return on_the_model


def _named(model: Any) -> str:
    """`function 'f'`, `Net`."""
    name = getattr(model, "__name__", None)
    return f"function '{name}'" if name else f"its {type(model).__name__}"
