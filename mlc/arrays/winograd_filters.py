"""Winograd's transform of 3x3 filters in float64, rounded once.

    transform_filters(4, 4, 1, w of 8x4x3x3x16x16)  -->  1x36x8x64x16: piece, position, block, channel, lane

Tests: tests/dialects/linalg_ext/test_winograd.py
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np

from mlc.arrays.winograd import TAPS, Filtering, filtering, run_program


def transform_filters(rows: int, columns: int, pieces: int, w: np.ndarray) -> np.ndarray:
    """Blocked filters for F(rows, 3) x F(columns, 3), without their scale."""
    matrix = _both(rows, columns)
    filters, channels, _, _, in_lanes, lanes = w.shape
    positions, depth = len(matrix), channels * in_lanes // pieces
    out = np.empty((pieces, positions, filters, depth, lanes), np.float32)
    for piece, block in product(range(pieces), range(filters)):  # few at a time: in the cache, and on this thread
        taps = w[block].reshape(pieces, -1, TAPS * TAPS, in_lanes, lanes)[piece]
        taps = taps.transpose(1, 0, 2, 3).reshape(TAPS * TAPS, -1)
        out[piece, :, block] = (matrix @ taps.astype(np.float64)).reshape(positions, depth, lanes)
    return out


@cache
def _both(rows: int, columns: int) -> np.ndarray:
    down, along = filtering(rows), filtering(columns)
    return np.kron(_matrix(down), _matrix(along)) / float(down.scale * along.scale)


def _matrix(f: Filtering) -> np.ndarray:
    """G in float64, where it is exact."""
    return np.array(run_program(f.filter, list(np.eye(TAPS)), _Numbers))


class _Numbers:
    """Arithmetic on arrays of float64."""

    @staticmethod
    def add(a: Any, b: Any) -> Any:
        return a + b

    @staticmethod
    def sub(a: Any, b: Any) -> Any:
        return a - b

    @staticmethod
    def mul(factor: float, a: Any) -> Any:
        return factor * a

    @staticmethod
    def fma(factor: float, a: Any, b: Any) -> Any:
        return factor * a + b
