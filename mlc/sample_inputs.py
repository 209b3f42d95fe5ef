"""Inputs to measure a captured version on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlc.runtime.executable import TensorSpec

if TYPE_CHECKING:
    from mlc.frontends.torch import Captured

PROFILE_SIZE = 8


def random_inputs(captured: Captured, specs: Sequence[TensorSpec]) -> list[np.ndarray]:
    """Inputs of the shapes a version was captured for; open sizes get a small value they may have."""
    sizes: dict[tuple[int, int], int] = {}
    for symbol in captured.symbols:
        n = max(symbol.low, PROFILE_SIZE if symbol.high is None else min(PROFILE_SIZE, symbol.high))
        sizes.update({(p.leaf, p.dim): p.scale * n + p.offset for p in symbol.places})
    rng = np.random.default_rng(0)
    inputs: list[np.ndarray] = []
    for source, spec in zip(captured.inputs, specs, strict=True):
        leaf = source if isinstance(source, int) else -1
        shape = [sizes[leaf, k] if d is None else d for k, d in enumerate(spec.shape)]
        floats = spec.dtype.kind == "f"
        inputs.append(rng.standard_normal(shape).astype(spec.dtype) if floats else np.zeros(shape, spec.dtype))
    return inputs
