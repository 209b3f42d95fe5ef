"""The engines that are compared. Each turns (model, inputs) into a callable; one that is not installed is left out."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import mlc

Run = Callable[[], Any]


def eager(model: nn.Module, inputs: tuple[Any, ...]) -> Run:
    """PyTorch as it is."""
    return lambda: model(*inputs)


def compiled(model: nn.Module, inputs: tuple[Any, ...]) -> Run:
    """mlc."""
    fn = mlc.compile(model)
    fn(*inputs)
    return lambda: fn(*inputs)


def jit(model: nn.Module, inputs: tuple[Any, ...]) -> Run:
    """torch.jit: trace, freeze, optimize for inference."""
    traced = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, inputs, strict=False)))
    for _ in range(3):
        traced(*inputs)
    return lambda: traced(*inputs)


def inductor(model: nn.Module, inputs: tuple[Any, ...]) -> Run:
    """torch.compile with freezing."""
    inductor_config = importlib.import_module("torch._inductor.config")
    inductor_config.freezing = True
    fn = torch.compile(model)
    fn(*inputs)
    return lambda: fn(*inputs)


ENGINES: dict[str, Callable[[nn.Module, tuple[Any, ...]], Run]] = {
    "eager": eager,
    "mlc": compiled,
    "jit": jit,
    "inductor": inductor,
}


def available(name: str) -> bool:
    """Whether the engine can run here."""
    return name in ENGINES and (name != "inductor" or importlib.util.find_spec("torch._inductor") is not None)
