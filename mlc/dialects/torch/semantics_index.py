"""Meaning of ATen's indexing, gathering and scattering."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlc.dialects.torch.numpy_values import Call, aten, axis
from mlc.dialects.torch.semantics_shape import at_dim


def indices_of(c: Call, x: np.ndarray, indices: Any) -> tuple[Any, ...]:
    """An index list as numpy takes it; out of range is the program's error."""
    out: list[Any] = []
    for entry in indices:
        if entry is None:
            out.append(slice(None))
        elif entry.dtype in (np.bool_, np.uint8):
            out += list(np.nonzero(entry)) if entry.ndim else [entry.astype(bool)]
        else:
            out.append(entry)
    for at, entry in enumerate(out):
        if isinstance(entry, np.ndarray) and entry.dtype != np.bool_ and entry.size:
            size = x.shape[at]
            if entry.min() < -size or entry.max() >= size:
                worst = int(entry.min() if entry.min() < -size else entry.max())
                c.fail(f"index {worst} is out of bounds for dimension {at} with size {size}")
    return tuple(out)


@aten("index.Tensor _unsafe_index.Tensor index.Tensor_hacked_twin")
def index(c: Call, x: np.ndarray, indices: Any) -> Any:
    """Advanced indexing."""
    return x[indices_of(c, x, indices)]


@aten("index_put _index_put_impl index_put.hacked_twin")
def index_put(c: Call, x: np.ndarray, indices: Any, values: np.ndarray, accumulate: bool = False, *_: Any) -> Any:
    """Values written, or added, at indices."""
    out = x.copy()
    where = indices_of(c, x, indices)
    if accumulate:
        np.add.at(out, where, values.astype(x.dtype))
    else:
        out[where] = values
    return out


def _check_range(c: Call, index: np.ndarray, size: int) -> np.ndarray:
    if index.size and (index.min() < -size or index.max() >= size):
        worst = int(index.min() if index.min() < -size else index.max())
        c.fail(f"index {worst} is out of bounds for a dimension of size {size}")
    return index


@aten("index_select")
def index_select(c: Call, x: np.ndarray, dim: int, indices: np.ndarray) -> Any:
    """Elements of one dimension, chosen by number."""
    if x.ndim == 0:
        return x
    at = axis(dim, x.ndim)
    return np.take(x, _check_range(c, indices.reshape(-1), x.shape[at]), axis=at)


@aten("gather")
def gather(c: Call, x: np.ndarray, dim: int, indices: np.ndarray, *_: Any) -> Any:
    """out[i][j] = x[i][index[i][j]] for dim 1."""
    if x.ndim == 0 or indices.ndim == 0:
        return x.reshape(-1)[indices.reshape(-1)].reshape(indices.shape)
    return x[_grid(c, x, dim, indices)]


def _grid(c: Call, x: np.ndarray, dim: int, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    """Full coordinates of an index along one dimension."""
    at = axis(dim, x.ndim)
    _check_range(c, indices, x.shape[at])
    coordinates: list[np.ndarray] = list(np.indices(indices.shape, sparse=True))
    coordinates[at] = indices
    return tuple(coordinates)


def _corner(source: Any, shape: tuple[int, ...]) -> Any:
    return source[tuple(slice(0, s) for s in shape)] if isinstance(source, np.ndarray) and source.ndim else source


@aten("scatter.src scatter.value")
def scatter(c: Call, x: np.ndarray, dim: int, indices: np.ndarray, source: Any) -> Any:
    """x[i][index[i][j]] = source[i][j] for dim 1."""
    out = x.copy()
    if x.ndim == 0:
        return np.asarray(source, x.dtype).reshape(()) if indices.size else out
    out[_grid(c, x, dim, indices)] = _corner(source, indices.shape)
    return out


@aten("scatter_add")
def scatter_add(c: Call, x: np.ndarray, dim: int, indices: np.ndarray, source: np.ndarray) -> Any:
    """x[i][index[i][j]] += source[i][j] for dim 1."""
    return scatter_reduce(c, x, dim, indices, source, "sum")


@aten("scatter_reduce.two")
def scatter_reduce(
    c: Call, x: np.ndarray, dim: int, indices: np.ndarray, source: np.ndarray, reduce: str, include_self: bool = True
) -> Any:
    """Elements that meet at one place are summed, multiplied, averaged or compared."""
    ufuncs = {"sum": np.add, "mean": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum}
    flat = x.ndim == 0
    work = x.reshape(1) if flat else x
    where = _grid(c, work, dim, indices.reshape(-1) if flat else indices)
    out = work.astype(np.float64) if x.dtype.kind == "f" else work.copy()
    if not include_self:
        out[where] = _neutral(reduce, out.dtype)
    ufuncs[reduce].at(
        out, where, _corner(source.reshape(-1) if flat else source, where[0].shape if flat else indices.shape)
    )
    if reduce == "mean":
        count = np.full(work.shape, int(include_self), np.int64)
        np.add.at(count, where, 1)
        count = np.maximum(count, 1)
        out = out / count if x.dtype.kind == "f" else np.floor_divide(out, count)
    return out.reshape(x.shape)


@aten("index_reduce")
def index_reduce(
    c: Call, x: np.ndarray, dim: int, indices: np.ndarray, source: np.ndarray, reduce: str, include_self: bool = True
) -> Any:
    """As scatter_reduce, one index for a whole slice."""
    shape = [1] * source.ndim
    shape[axis(dim, source.ndim)] = indices.size
    wide = np.broadcast_to(indices.reshape(shape), source.shape)
    return scatter_reduce(c, x, dim, wide, source, reduce, include_self)


@aten("put")
def put(c: Call, x: np.ndarray, indices: np.ndarray, source: np.ndarray, accumulate: bool = False) -> Any:
    """Elements written, or added, by their number in row-major order."""
    return index_put(c, x.reshape(-1), [indices.reshape(-1)], source.reshape(-1), accumulate).reshape(x.shape)


def _neutral(reduce: str, dtype: np.dtype[Any]) -> Any:
    if reduce in ("sum", "mean"):
        return 0
    if reduce == "prod":
        return 1
    if dtype.kind == "f":
        return -np.inf if reduce == "amax" else np.inf
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    low, high = (limits.min, limits.max) if limits else (False, True)
    return low if reduce == "amax" else high


@aten("index_add")
def index_add(c: Call, x: np.ndarray, dim: int, indices: np.ndarray, source: np.ndarray, alpha: Any = 1) -> Any:
    """Rows of the source added at numbered rows."""
    at = axis(dim, x.ndim)
    _check_range(c, indices, x.shape[at] if x.ndim else 1)
    out = x.reshape(1).copy() if x.ndim == 0 else x.copy()
    np.add.at(
        out, at_dim(out, at, indices.reshape(-1)), (source.reshape(1) if x.ndim == 0 else source) * x.dtype.type(alpha)
    )
    return out.reshape(x.shape)


@aten("index_copy")
def index_copy(c: Call, x: np.ndarray, dim: int, indices: np.ndarray, source: np.ndarray) -> Any:
    """Rows of the source written at numbered rows."""
    out = x.copy()
    out[at_dim(x, dim, _check_range(c, indices, x.shape[axis(dim, x.ndim)]))] = source
    return out


@aten("index_fill.int_Scalar index_fill.int_Tensor")
def index_fill(c: Call, x: np.ndarray, dim: int, indices: np.ndarray, value: Any) -> Any:
    """Numbered rows filled."""
    out = x.copy()
    out[at_dim(x, dim, _check_range(c, indices, x.shape[axis(dim, x.ndim)]))] = value
    return out


@aten("masked_scatter")
def masked_scatter(_c: Call, x: np.ndarray, mask: np.ndarray, source: np.ndarray) -> Any:
    """The source's elements in order where the mask is set."""
    full = np.broadcast_to(mask, np.broadcast_shapes(x.shape, mask.shape)).astype(bool)
    out = np.broadcast_to(x, full.shape).copy()
    out[full] = source.reshape(-1)[: int(full.sum())]
    return out


@aten("masked_select")
def masked_select(_c: Call, x: np.ndarray, mask: np.ndarray) -> Any:
    """Elements where the mask is set, in order."""
    x, full = np.broadcast_arrays(x, mask.astype(bool))
    return x[full]


@aten("take")
def take(c: Call, x: np.ndarray, indices: np.ndarray) -> Any:
    """Elements by their number in row-major order."""
    return x.reshape(-1)[_check_range(c, indices, x.size)]


@aten("take_along_dim")
def take_along_dim(c: Call, x: np.ndarray, indices: np.ndarray, dim: Any = None) -> Any:
    """Elements by number along a dimension, shapes broadcast."""
    if dim is None:
        return take(c, x, indices)
    return np.take_along_axis(x, indices, axis(dim, x.ndim))


@aten("nonzero argwhere")
def nonzero(_c: Call, x: np.ndarray) -> Any:
    """Indices of the elements that are not 0, one row each."""
    return np.argwhere(x)


@aten("embedding")
def embedding(c: Call, weight: np.ndarray, indices: np.ndarray, *_: Any) -> Any:
    """A row for each index."""
    if indices.size and (indices.min() < 0 or indices.max() >= weight.shape[0]):
        worst = int(indices.min() if indices.min() < 0 else indices.max())
        c.fail(f"index {worst} is out of range for an embedding of {weight.shape[0]} rows")
    return weight[indices]


@aten("as_strided as_strided_copy")
def as_strided(c: Call, x: np.ndarray, size: Any, stride: Any, offset: Any = None) -> Any:
    """Elements of a contiguous tensor by offset and strides."""
    flat = np.ascontiguousarray(x).reshape(-1)
    where = np.asarray(offset or 0)
    for count, step in zip(size, stride, strict=True):
        where = where[..., None] + np.arange(count) * step
    return flat[_check_range(c, where, flat.size)]


@aten("nonzero_static")
def nonzero_static(_c: Call, x: np.ndarray, size: int, fill_value: int = -1) -> Any:
    """The first `size` rows of nonzero, filled up."""
    found = np.argwhere(x)[:size]
    return np.concatenate([found, np.full((size - len(found), x.ndim), fill_value, found.dtype)])


@aten("as_strided_scatter")
def as_strided_scatter(c: Call, x: np.ndarray, source: np.ndarray, size: Any, stride: Any, offset: Any = None) -> Any:
    """A contiguous tensor with elements by offset and strides written."""
    flat = np.ascontiguousarray(x).reshape(-1).copy()
    where = np.asarray(offset or 0)
    for count, step in zip(size, stride, strict=True):
        where = where[..., None] + np.arange(count) * step
    flat[_check_range(c, where, flat.size)] = source
    return flat.reshape(x.shape)
