"""Meaning of ATen's sorting, ranking and counting."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mlc.dialects.torch.numpy_values import Call, aten, axis, is_float
from mlc.dialects.torch.semantics_reduce import pick


def sorted_indices(x: np.ndarray, dim: int, descending: bool) -> np.ndarray:
    """Indices of a stable sort; NaN is the largest."""
    if x.ndim == 0:
        return np.zeros((), np.int64)
    at = axis(dim, x.ndim)
    if not descending:
        return np.argsort(x, axis=at, kind="stable")
    backwards = np.argsort(np.flip(x, at), axis=at, kind="stable")
    return np.flip(x.shape[at] - 1 - backwards, at)


def _along(x: np.ndarray, index: np.ndarray, dim: int) -> np.ndarray:
    return np.take_along_axis(x, index, axis(dim, x.ndim)) if x.ndim else x


@aten("sort")
def sort(_c: Call, x: np.ndarray, dim: int = -1, descending: bool = False) -> Any:
    """Values in order and where they stood; equal ones keep their order."""
    index = sorted_indices(x, dim, descending)
    return _along(x, index, dim), index


@aten("sort.stable")
def sort_stable(c: Call, x: np.ndarray, _stable: Any, dim: int = -1, descending: bool = False) -> Any:
    """Values in order and where they stood."""
    return sort(c, x, dim, descending)


@aten("argsort")
def argsort(_c: Call, x: np.ndarray, dim: int = -1, descending: bool = False) -> Any:
    """Where the values in order stood."""
    return sorted_indices(x, dim, descending)


@aten("argsort.stable")
def argsort_stable(_c: Call, x: np.ndarray, _stable: bool, dim: int = -1, descending: bool = False) -> Any:
    """Where the values in order stood."""
    return sorted_indices(x, dim, descending)


@aten("topk")
def topk(_c: Call, x: np.ndarray, k: int, dim: int = -1, largest: bool = True, _sorted: bool = True) -> Any:
    """The k largest (smallest) values in order, and where they stood; of equal ones the first."""
    index = sorted_indices(x, dim, largest)
    if x.ndim:
        index = np.take(index, np.arange(k), axis=axis(dim, x.ndim))
    return _along(x, index, dim), index


@aten("kthvalue")
def kthvalue(_c: Call, x: np.ndarray, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest value and where it stands."""
    if x.ndim == 0:
        return x, np.zeros((), np.int64)
    at = axis(dim, x.ndim)
    return pick(x, np.take(sorted_indices(x, dim, False), k - 1, axis=at), at, keepdim)


@aten("median")
def median(_c: Call, x: np.ndarray) -> Any:
    """The lower median of all elements; NaN if there is one."""
    flat = np.sort(x.reshape(-1))
    if flat.size == 0:
        return _nan_as(x)
    return flat[-1] if is_float(x) and np.isnan(flat[-1]) else flat[(flat.size - 1) // 2]


def _nan_as(x: np.ndarray) -> np.ndarray:
    """NaN in the dtype of `x`, converted by way of 32 bits at least, of which the smallest number is left."""
    return np.asarray(np.iinfo(x.dtype).min if x.dtype in (np.int32, np.int64) else math.nan)


@aten("median.dim")
def median_dim(_c: Call, x: np.ndarray, dim: int = -1, keepdim: bool = False) -> Any:
    """The lower median and where it stands; the first NaN if there is one."""
    return _of_rows(x, dim, keepdim, _median_place)


@aten("nanmedian")
def nanmedian(_c: Call, x: np.ndarray) -> Any:
    """The lower median of all elements that are not NaN."""
    flat = x.reshape(-1)
    return flat[_nanmedian_place(flat)] if flat.size else _nan_as(x)


@aten("nanmedian.dim")
def nanmedian_dim(_c: Call, x: np.ndarray, dim: int = -1, keepdim: bool = False) -> Any:
    """The lower median of what is not NaN, and where it stands."""
    return _of_rows(x, dim, keepdim, _nanmedian_place)


@aten("mode")
def mode(_c: Call, x: np.ndarray, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent value, the smallest of several, and where it last stands."""
    return _of_rows(x, dim, keepdim, _mode_place)


@aten("msort")
def msort(_c: Call, x: np.ndarray) -> Any:
    """Sorted along the first dimension."""
    return np.sort(x, axis=0) if x.ndim else x


def _of_rows(x: np.ndarray, dim: int, keepdim: bool, place: Callable[[np.ndarray], int]) -> Any:
    """Values at the place that `place` finds in each row, and the places."""
    if x.ndim == 0:
        return x, np.zeros((), np.int64)
    at = axis(dim, x.ndim)
    return pick(x, np.apply_along_axis(place, at, x).astype(np.int64), at, keepdim)


def _median_place(row: np.ndarray) -> int:
    if is_float(row) and np.isnan(row).any():
        return int(np.argmax(np.isnan(row)))
    return int(np.argsort(row, kind="stable")[(row.size - 1) // 2])


def _nanmedian_place(row: np.ndarray) -> int:
    count = row.size - (int(np.isnan(row).sum()) if is_float(row) else 0)
    return int(np.argsort(row, kind="stable")[max(count - 1, 0) // 2])


def _mode_place(row: np.ndarray) -> int:
    values, counts = np.unique(row, return_counts=True)
    return int(np.flatnonzero(row == values[np.argmax(counts)])[-1])


@aten("bincount")
def bincount(c: Call, x: np.ndarray, weights: Any = None, minlength: int = 0) -> Any:
    """How often each number occurs."""
    if np.any(x < 0):
        c.fail("bincount of negative numbers")
    return np.bincount(x, weights, minlength)


def _insertion_places(ordered: np.ndarray, x: Any, right: bool) -> np.ndarray:
    """Binary search in the last dim, step by step as PyTorch's, which shows where the row is not in order; NaN goes
    last. `ordered` has one row, or one for each row of `x`."""
    x = np.asarray(x)
    low = np.zeros(x.shape, np.int64)
    high = np.full(x.shape, ordered.shape[-1], np.int64)
    for _ in range(ordered.shape[-1].bit_length()):
        middle = low + (high - low) // 2
        at = np.minimum(middle, ordered.shape[-1] - 1)
        edge = ordered[at] if ordered.ndim == 1 else np.take_along_axis(ordered, at, -1)
        past = (low < high) & ~(edge > x if right else edge >= x)
        low, high = np.where(past, middle + 1, low), np.where(past, high, np.minimum(middle, high))
    return low


@aten("bucketize.Tensor bucketize.Scalar")
def bucketize(_c: Call, x: Any, boundaries: np.ndarray, _int32: bool = False, right: bool = False) -> Any:
    """How many boundaries lie before (or at, when `right`) each number."""
    return _insertion_places(boundaries, x, right)


@aten("searchsorted.Tensor searchsorted.Scalar")
def searchsorted(
    _c: Call,
    ordered: np.ndarray,
    x: Any,
    _int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Any:
    """Where each number is to be inserted, in the row of the same place where there are several."""
    if sorter is not None:
        ordered = np.take_along_axis(ordered, sorter, -1)
    return _insertion_places(ordered, x, right or side == "right")
