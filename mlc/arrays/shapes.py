"""The same elements in another order or shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def reshape(shape: Sequence[int], x: np.ndarray) -> np.ndarray:
    """In another shape; a view where strides say it."""
    return np.reshape(x, tuple(shape))


def transpose(permutation: Sequence[int], x: np.ndarray) -> np.ndarray:
    """Dimension i is dimension `permutation[i]` of `x`."""
    return np.transpose(x, permutation)
