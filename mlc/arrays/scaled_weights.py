"""Packed weights whose columns are brought near one by powers of two, with what a product of them needs besides.

    split_weights(770, w of 48x768x16)           -->  48x770x16: scaled, one by each factor, whether any is plain
    paired_weights(256, 6, 779, w of 48x768x16)  -->  48x779x16: pieces filled up, sums of pairs, the same two

`columns`, `number` and `pairs` are those of IEEE numbers; the meanings of the ops give others for other domains.
Tests: tests/dialects/linalg_ext/test_split_matmul.py, test_winograd_matmul.py, tests/arrays/test_recipes.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

SMALLEST, LARGEST = 2.0**-100, 2.0**100
"""Of the mean of squares of what is scaled."""
LINE = 64
"""Bytes."""
LEAST = 149
"""2^-149 is the least number of single precision."""
NEAR = 24
"""Powers of two: parts of numbers that are at most so far from one, and their products, are no subnormal numbers."""
AT_ONCE = 1 << 16
"""Elements prepared at a time: they stay in the second-level cache."""

Columns = Callable[[Any], tuple[Any, Any, bool]]


def column_factors(w: Any, near: int = 0) -> tuple[Any, Any, bool]:
    """Per block and column of [blocks, terms, columns]: the factor (None: all are one), one by it; whether any is
    multiplied plainly. Columns whose factor would be from 2^-near to 2^near are left as they are."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("bkl,bkl->bl", w, w) / np.float32(w.shape[1])
        fits = (squares >= SMALLEST) & (squares <= LARGEST)
        if fits.all():
            empty = ~fits
        else:  # weights of units that training has left for dead are often tiny: double precision squares them
            wide = w.astype(np.float64)
            squares = np.einsum("bkl,bkl->bl", wide, wide) / w.shape[1]
            empty = squares == 0
            fits = (squares > 0) & (squares <= LARGEST)
    exponent = -np.rint(0.5 * np.log2(np.where(fits, squares, 1.0))).astype(np.int32)
    exponent = np.where(np.abs(exponent) <= near, 0, np.minimum(exponent, LEAST))
    if not exponent.any():
        return None, np.where(empty, np.float32(0), np.float32(1)), not bool((fits | empty).all())
    factor = np.ldexp(np.float64(1), exponent)  # one by it is a number of single precision, even where it is none
    if exponent.max(initial=0) < 128:
        factor = factor.astype(np.float32)
    unscale = np.where(empty, np.float32(0), np.ldexp(np.float32(1), -exponent))
    return factor, unscale, not bool((fits | empty).all())


def distant_factors(w: Any) -> tuple[Any, Any, bool]:
    """`column_factors` of those columns alone whose parts could become too small or too large otherwise."""
    return column_factors(w, NEAR)


def split_weights(
    rows: int, panels: np.ndarray, columns: Columns = distant_factors, number: Callable[[float], Any] = np.float32
) -> np.ndarray:
    """Blocks of `rows`: scaled weights, zeros, one by the factor of each column, whether any is multiplied plainly."""
    blocks, terms, lanes = panels.shape
    out = _aligned((blocks, rows, lanes), panels.dtype)
    plain = False
    for w, here in _some(panels, out):
        factor, unscale, odd = columns(w)
        if factor is None:
            here[:, :terms] = w
        else:  # repeated: long rows multiply faster than many of `lanes`
            flat, scaled = w.reshape(len(w), -1), here.reshape(len(w), -1)[:, : terms * lanes]
            np.multiply(flat, np.tile(factor, (1, terms)), out=scaled, casting="same_kind")
        here[:, terms:-2] = number(0)
        here[:, -2] = unscale
        plain = plain or odd
    out[:, -1] = number(plain)
    return out


def sums_of_pairs(w: Any) -> Any:
    """Per piece and column of [blocks, pieces, groups, 6, columns]: the sum of the products of pairs, those with turned
    signs taken off."""
    with np.errstate(over="ignore", invalid="ignore"):
        first, turned = (np.einsum("bpgl,bpgl->bpl", w[..., s, :], w[..., s + 1, :]) for s in (0, 3))
        return first - turned


def paired_weights(
    depth: int,
    group: int,
    rows: int,
    panels: np.ndarray,
    columns: Columns = column_factors,
    number: Callable[[float], Any] = np.float32,
    pairs: Callable[[Any], Any] = sums_of_pairs,
) -> np.ndarray:
    """Blocks of `rows`: scaled weights in pieces of `depth`, filled up to whole groups; the sums of pairs of each; one
    by the factor of each column; whether any is multiplied plainly."""
    blocks, terms, lanes = panels.shape
    pieces, whole = terms // depth, -(-depth // group) * group
    out = _aligned((blocks, rows, lanes), panels.dtype)
    plain = False
    for w, here in _some(panels, out):
        factor, unscale, odd = columns(w)
        main = here[:, : pieces * whole].reshape(-1, pieces, whole, lanes)
        if factor is not None:  # repeated: long rows multiply faster than many of `lanes`
            w = w.reshape(-1, pieces, depth * lanes) * np.tile(factor, (1, depth))[:, None]
        main[:, :, :depth] = w.reshape(-1, pieces, depth, lanes)
        main[:, :, depth:] = number(0)
        here[:, pieces * whole : -2] = pairs(main.reshape(-1, pieces, whole // group, group, lanes))
        here[:, -2] = unscale
        plain = plain or odd
    out[:, -1] = number(plain)
    return out


def _some(panels: np.ndarray, out: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some blocks at a time, and their place in `out`. (Panels may be a view of weights that lie otherwise.)"""
    step = max(1, AT_ONCE // max(1, panels.shape[1] * panels.shape[2]))
    for first in range(0, len(panels), step):
        yield np.ascontiguousarray(panels[first : first + step]), out[first : first + step]


def _aligned(shape: Sequence[int], dtype: np.dtype[Any]) -> np.ndarray:
    """An array that begins where a cache line does, so that whoever runs native code need not copy it."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + LINE, np.uint8)
    return raw[-raw.ctypes.data % LINE :][:size].view(dtype).reshape(shape)
