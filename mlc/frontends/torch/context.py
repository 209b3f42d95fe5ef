"""PyTorch's thread-wide settings that decide what a model computes, as they were when it was captured.

with torch.autocast("cpu"): compiled(x)     is another program than     compiled(x)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

SETTINGS: dict[str, Callable[[], Any]] = {
    f.__name__: f
    for f in (
        torch.are_deterministic_algorithms_enabled,
        torch.get_deterministic_debug_mode,
        torch.get_float32_matmul_precision,
        torch.get_num_interop_threads,
        torch.get_num_threads,
        torch.initial_seed,
        torch.is_anomaly_enabled,
        torch.is_deterministic_algorithms_warn_only_enabled,
        torch.is_inference_mode_enabled,
    )
}
"""Settings that no op depends on: they count where the program's code names the functions that tell them."""


@dataclass(frozen=True)
class Context:
    """`autocast`: the dtype autocast casts to on the CPU, None where it is off. `gradients`: whether autograd was on;
    None for a program that does the same either way."""

    default_dtype: torch.dtype
    autocast: torch.dtype | None
    gradients: bool | None = None

    @classmethod
    def now(cls, *, gradients: bool | None = None) -> Context:
        """The settings of the calling thread."""
        autocast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        return cls(torch.get_default_dtype(), autocast, gradients)

    def holds(self) -> bool:
        """Whether they are those of the calling thread."""
        return self == Context.now(gradients=None if self.gradients is None else torch.is_grad_enabled())
