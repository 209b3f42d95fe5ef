"""Errors against a float64 run of the same model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def relative_error(got: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> float:
    """Largest difference relative to the largest exact value, over all outputs. Infinite where a result is not finite
    though the exact one is."""
    worst = 0.0
    for g, e in zip(got, exact, strict=True):
        if g.shape != e.shape:
            raise ValueError(f"a result has shape {g.shape}, the float64 run's has {e.shape}")
        if not e.size:
            continue
        difference = float(np.abs(g.astype(np.float64) - e).max())
        scale = float(np.abs(e).max())
        error = difference / scale if scale else difference
        worst = max(worst, error if np.isfinite(error) else float("inf"))
    return worst


def save_exact(directory: Path, arrays: Sequence[np.ndarray]) -> None:
    """Results of the float64 run, for the workers."""
    np.savez(directory / "exact.npz", *arrays)


def load_exact(directory: Path) -> list[np.ndarray]:
    """What `save_exact` wrote."""
    with np.load(directory / "exact.npz") as stored:
        return [stored[f"arr_{i}"] for i in range(len(stored.files))]
