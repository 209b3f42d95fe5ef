"""Meaning of ATen ops that make tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlc.dialects.torch.numpy_values import Call, aten, torch_semantics


@aten("zeros empty.memory_format empty_permuted empty_strided")
def zeros(_c: Call, size: Any, *_: Any) -> Any:
    """Zeros; what is left uninitialised is 0, so that runs are deterministic."""
    return np.zeros(size)


@aten("ones")
def ones(_c: Call, size: Any, *_: Any) -> Any:
    """Ones."""
    return np.ones(size)


@aten("full")
def full(_c: Call, size: Any, value: Any, *_: Any) -> Any:
    """One value everywhere."""
    return np.full(size, value)


@aten("zeros_like empty_like")
def zeros_like(_c: Call, x: np.ndarray, *_: Any) -> Any:
    """Zeros in the tensor's shape."""
    return np.zeros(x.shape)


@aten("ones_like")
def ones_like(_c: Call, x: np.ndarray, *_: Any) -> Any:
    """Ones in the tensor's shape."""
    return np.ones(x.shape)


@aten("full_like")
def full_like(_c: Call, x: np.ndarray, value: Any, *_: Any) -> Any:
    """One value in the tensor's shape."""
    return np.full(x.shape, value)


@aten("new_zeros new_empty new_empty_strided")
def new_zeros(_c: Call, _x: np.ndarray, size: Any, *_: Any) -> Any:
    """Zeros in another shape."""
    return np.zeros(size)


@aten("new_ones")
def new_ones(_c: Call, _x: np.ndarray, size: Any, *_: Any) -> Any:
    """Ones in another shape."""
    return np.ones(size)


@aten("new_full")
def new_full(_c: Call, _x: np.ndarray, size: Any, value: Any, *_: Any) -> Any:
    """One value in another shape."""
    return np.full(size, value)


@torch_semantics("aten.scalar_tensor prim.NumToTensor.Scalar prim.NumToTensor.bool")
def scalar_tensor(_c: Call, value: Any, *_: Any) -> Any:
    """A number as a 0-d tensor."""
    return np.asarray(value)


def _arange(c: Call, start: Any, step: Any) -> Any:
    (count,) = c.shape()
    return start + np.arange(count, dtype=c.dtype() if c.dtype().kind in "iu" else np.float64) * step


@aten("arange")
def arange(c: Call, _end: Any, *_: Any) -> Any:
    """From 0 by 1."""
    return _arange(c, 0, 1)


@aten("arange.start")
def arange_start(c: Call, start: Any, _end: Any, *_: Any) -> Any:
    """By 1."""
    return _arange(c, start, 1)


@aten("arange.start_step")
def arange_step(c: Call, start: Any, _end: Any, step: Any = 1, *_: Any) -> Any:
    """Every number from start to before end."""
    return _arange(c, start, step)


@torch_semantics("prims.iota")
def iota(_c: Call, length: int, start: int, step: int, *_: Any) -> Any:
    """`length` numbers."""
    return start + np.arange(length) * step


@aten("linspace")
def linspace(c: Call, start: Any, end: Any, steps: int, *_: Any) -> Any:
    """From start to end, the second half counted from the end as PyTorch does."""
    if steps == 1:
        return np.asarray([start], np.float64)
    dtype = c.dtype() if c.dtype().kind == "f" else np.dtype(np.float64)
    step = (end - start) / np.float64(max(steps - 1, 1))
    n = np.arange(steps, dtype=np.float64)
    out = np.where(n < steps // 2, start + step * n, end - step * (steps - 1 - n))
    return out.astype(dtype) if c.dtype().kind == "f" else np.trunc(out)


@aten("eye")
def eye(_c: Call, n: int, *_: Any) -> Any:
    """The unit matrix."""
    return np.eye(n)


@aten("eye.m")
def eye_m(_c: Call, n: int, m: int, *_: Any) -> Any:
    """A unit matrix of other than square shape."""
    return np.eye(n, m)


@aten("tril_indices")
def tril_indices(_c: Call, rows: int, columns: int, offset: int = 0, *_: Any) -> Any:
    """Row and column numbers of the lower triangle."""
    return np.stack(np.tril_indices(rows, offset, columns))


@aten("triu_indices")
def triu_indices(_c: Call, rows: int, columns: int, offset: int = 0, *_: Any) -> Any:
    """Row and column numbers of the upper triangle."""
    return np.stack(np.triu_indices(rows, offset, columns))
