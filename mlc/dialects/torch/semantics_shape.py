"""Meaning of ATen ops that move, cut, join and index data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mlc.dialects.torch.numpy_values import Call, aten, axis, pair, torch_semantics
from mlc.errors import UnsupportedError


@aten("view reshape _unsafe_view view_copy _reshape_alias")
def view(_c: Call, x: np.ndarray, size: Any, *_: Any) -> Any:
    """The elements in order, in another shape."""
    wanted = list(size)
    if -1 in wanted:
        rest = math.prod(s for s in wanted if s != -1)
        wanted[wanted.index(-1)] = x.size // rest if rest else 0
    return x.reshape(wanted)


@aten("view_as reshape_as")
def view_as(_c: Call, x: np.ndarray, other: np.ndarray) -> Any:
    """In the other's shape."""
    return x.reshape(other.shape)


@aten("view.dtype")
def view_dtype(c: Call, x: np.ndarray, _dtype: int) -> Any:
    """The bits as another dtype."""
    if str(c.element()) == "bf16" or str(c.argument_element(0)) == "bf16":
        raise UnsupportedError("view of the bits of a bf16 tensor has no reference semantics")
    return np.ascontiguousarray(x).reshape(x.shape).view(c.dtype())


@torch_semantics("aten.flatten.using_ints prims.collapse")
def flatten(_c: Call, x: np.ndarray, start: int = 0, end: int = -1) -> Any:
    """Dimensions from start to end become one."""
    first, last = axis(start, x.ndim), axis(end, x.ndim)
    return x.reshape(*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :])


@aten("unflatten.int")
def unflatten(_c: Call, x: np.ndarray, dim: int, sizes: Any) -> Any:
    """One dimension becomes several."""
    at = axis(dim, x.ndim)
    wanted = list(sizes)
    if -1 in wanted:
        rest = math.prod(s for s in wanted if s != -1)
        wanted[wanted.index(-1)] = x.shape[at] // rest
    return x.reshape(*x.shape[:at], *wanted, *x.shape[at + 1 :])


@torch_semantics("prims.split_dim")
def split_dim(_c: Call, x: np.ndarray, dim: int, outer: int) -> Any:
    """One dimension becomes an outer one of a given size and an inner one."""
    return x.reshape(*x.shape[:dim], outer, x.shape[dim] // outer, *x.shape[dim + 1 :])


@aten("permute permute_copy")
def permute(_c: Call, x: np.ndarray, order: Any) -> Any:
    """Dimensions in another order."""
    return x.transpose([axis(d, x.ndim) for d in order])


@aten("transpose.int swapaxes swapdims transpose_copy.int")
def transpose(_c: Call, x: np.ndarray, a: int, b: int) -> Any:
    """Two dimensions change places."""
    return x.swapaxes(a, b) if x.ndim else x


@aten("t t_copy")
def matrix_transpose(_c: Call, x: np.ndarray) -> Any:
    """Rows become columns."""
    return x.T


@aten("numpy_T")
def numpy_t(_c: Call, x: np.ndarray) -> Any:
    """Dimensions in reverse."""
    return x.T


@aten("mT")
def batch_transpose(_c: Call, x: np.ndarray) -> Any:
    """The last two dimensions change places."""
    return x.swapaxes(-1, -2)


@aten("movedim.int")
def movedim(_c: Call, x: np.ndarray, source: int, target: int) -> Any:
    """One dimension moves."""
    return np.moveaxis(x, source, target)


@aten("unsqueeze unsqueeze_copy")
def unsqueeze(_c: Call, x: np.ndarray, dim: int) -> Any:
    """A new dimension of size 1."""
    return np.expand_dims(x, axis(dim, x.ndim + 1))


@aten("squeeze")
def squeeze(_c: Call, x: np.ndarray) -> Any:
    """Without dimensions of size 1."""
    return x.squeeze()


@torch_semantics("aten.squeeze.dim aten.squeeze.dims aten.squeeze_copy.dim aten.squeeze_copy.dims prims.squeeze")
def squeeze_dims(_c: Call, x: np.ndarray, dim: Any) -> Any:
    """Without the dimensions listed, where they have size 1."""
    listed = {axis(d, x.ndim) for d in (dim if isinstance(dim, list) else [dim])}
    return x.reshape([s for i, s in enumerate(x.shape) if not (i in listed and s == 1)])


@aten("expand expand_copy broadcast_to")
def expand(_c: Call, x: np.ndarray, size: Any, *_: Any) -> Any:
    """Sizes of 1 grow; -1 keeps a size."""
    wanted = [x.shape[i - len(size) + x.ndim] if s == -1 else s for i, s in enumerate(size)]
    return np.broadcast_to(x, wanted)


@aten("expand_as")
def expand_as(_c: Call, x: np.ndarray, other: np.ndarray) -> Any:
    """In the other's shape."""
    return np.broadcast_to(x, other.shape)


@aten("broadcast_tensors")
def broadcast_tensors(_c: Call, tensors: Any) -> Any:
    """All in the common shape."""
    return [np.asarray(t) for t in np.broadcast_arrays(*tensors)]


@aten("repeat tile")
def repeat(_c: Call, x: np.ndarray, repeats: Any) -> Any:
    """The tensor repeated along its dimensions."""
    return np.tile(x, list(repeats))


@aten("repeat_interleave.self_int")
def repeat_interleave(_c: Call, x: np.ndarray, repeats: int, dim: Any = None, *_: Any) -> Any:
    """Each element repeated."""
    return np.repeat(x, repeats, dim)


@aten("repeat_interleave.self_Tensor")
def repeat_interleave_tensor(_c: Call, x: np.ndarray, repeats: np.ndarray, dim: Any = None, *_: Any) -> Any:
    """Each element repeated its own number of times."""
    return np.repeat(x, repeats, dim)


@aten("repeat_interleave.Tensor")
def repeat_indices(_c: Call, repeats: np.ndarray, _size: Any = None) -> Any:
    """Each index repeated its number of times."""
    return np.repeat(np.arange(repeats.size), repeats)


@aten("slice.Tensor slice_copy.Tensor")
def slice_(_c: Call, x: np.ndarray, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    """A part of one dimension."""
    return x[_at(x, dim, slice(start, end, step))]


def _at(x: np.ndarray, dim: int, index: Any) -> tuple[Any, ...]:
    return (*(slice(None),) * axis(dim, x.ndim), index)


@aten("slice_scatter")
def slice_scatter(
    _c: Call, x: np.ndarray, source: np.ndarray, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Any:
    """The source written into a part of one dimension."""
    out = x.copy()
    out[_at(x, dim, slice(start, end, step))] = source
    return out


@aten("select_scatter")
def select_scatter(_c: Call, x: np.ndarray, source: np.ndarray, dim: int, index: int) -> Any:
    """The source written into one element of a dimension."""
    out = x.copy()
    out[_at(x, dim, index)] = source
    return out


@aten("narrow narrow_copy")
def narrow(_c: Call, x: np.ndarray, dim: int, start: int, length: int) -> Any:
    """`length` elements of one dimension."""
    begin = start % x.shape[axis(dim, x.ndim)] if start < 0 else start
    return x[_at(x, dim, slice(begin, begin + length))]


@aten("select.int select_copy.int")
def select(c: Call, x: np.ndarray, dim: int, index: int) -> Any:
    """One element of a dimension, which goes away."""
    size = x.shape[axis(dim, x.ndim)]
    if not -size <= index < size:
        c.fail(f"index {index} is out of range for a dimension of size {size}")
    return x[_at(x, dim, index)]


@aten("cat concat concatenate")
def cat(c: Call, tensors: Any, dim: int = 0) -> Any:
    """Tensors one after the other; empty one-dimensional ones do not count."""
    dtype = c.dtype()
    parts = [t.astype(dtype) for t in tensors if t.shape != (0,)] or [tensors[0]]
    return np.concatenate(parts, axis(dim, parts[0].ndim))


@aten("stack")
def stack(c: Call, tensors: Any, dim: int = 0) -> Any:
    """Tensors along a new dimension."""
    return np.stack([t.astype(c.dtype()) for t in tensors], axis(dim, tensors[0].ndim + 1))


def _pieces(x: np.ndarray, sizes: Any, dim: int) -> list[np.ndarray]:
    out: list[np.ndarray] = []
    start = 0
    for size in sizes:
        out.append(x[_at(x, dim, slice(start, start + size))])
        start += size
    return out


@aten("split.Tensor unsafe_split.Tensor")
def split(_c: Call, x: np.ndarray, size: int, dim: int = 0) -> Any:
    """Parts of `size`, the last one smaller."""
    whole = x.shape[axis(dim, x.ndim)]
    starts = range(0, whole, size) if size else range(0)
    return _pieces(x, [min(size, whole - at) for at in starts] or [0], dim)


@aten("split_with_sizes unsafe_split_with_sizes split_with_sizes_copy split.sizes")
def split_sizes(_c: Call, x: np.ndarray, sizes: Any, dim: int = 0) -> Any:
    """Parts of the sizes listed."""
    return _pieces(x, sizes, dim)


@aten("chunk unsafe_chunk")
def chunk(c: Call, x: np.ndarray, chunks: int, dim: int = 0) -> Any:
    """At most `chunks` parts of equal size, the last one smaller."""
    size = -(-x.shape[axis(dim, x.ndim)] // chunks)
    return split(c, x, size, dim) if size else [x] * chunks


@aten("tensor_split.sections")
def tensor_split(_c: Call, x: np.ndarray, sections: int, dim: int = 0) -> Any:
    """`sections` parts; the first ones are larger by one."""
    return list(np.array_split(x, sections, axis(dim, x.ndim)))


@aten("unbind.int")
def unbind(_c: Call, x: np.ndarray, dim: int = 0) -> Any:
    """All elements of one dimension."""
    return [np.asarray(part) for part in np.moveaxis(x, dim, 0)]


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
    coordinates = list(np.indices(indices.shape, sparse=True))
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
        out, _at(out, at, indices.reshape(-1)), (source.reshape(1) if x.ndim == 0 else source) * x.dtype.type(alpha)
    )
    return out.reshape(x.shape)


@aten("index_copy")
def index_copy(c: Call, x: np.ndarray, dim: int, indices: np.ndarray, source: np.ndarray) -> Any:
    """Rows of the source written at numbered rows."""
    out = x.copy()
    out[_at(x, dim, _check_range(c, indices, x.shape[axis(dim, x.ndim)]))] = source
    return out


@aten("index_fill.int_Scalar index_fill.int_Tensor")
def index_fill(c: Call, x: np.ndarray, dim: int, indices: np.ndarray, value: Any) -> Any:
    """Numbered rows filled."""
    out = x.copy()
    out[_at(x, dim, _check_range(c, indices, x.shape[axis(dim, x.ndim)]))] = value
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


@aten("flip")
def flip(_c: Call, x: np.ndarray, dim: Any) -> Any:
    """Dimensions backwards."""
    return np.flip(x, [axis(d, x.ndim) for d in dim]) if x.ndim else x


@aten("fliplr")
def fliplr(_c: Call, x: np.ndarray) -> Any:
    """Columns backwards."""
    return np.fliplr(x)


@aten("flipud")
def flipud(_c: Call, x: np.ndarray) -> Any:
    """Rows backwards."""
    return np.flipud(x)


@aten("roll")
def roll(_c: Call, x: np.ndarray, shifts: Any, dim: Any = ()) -> Any:
    """Elements shifted round."""
    shifts = shifts if isinstance(shifts, list) else [shifts]
    return np.roll(x, shifts, [axis(d, x.ndim) for d in dim]) if dim else np.roll(x, shifts[0])


@aten("rot90")
def rot90(_c: Call, x: np.ndarray, k: int = 1, plane: Any = (0, 1)) -> Any:
    """Turned by quarter turns."""
    return np.rot90(x, k, plane)


def _pad_width(x: np.ndarray, padding: Any) -> list[tuple[int, int]]:
    width = [(0, 0)] * x.ndim
    for i in range(len(padding) // 2):
        width[x.ndim - 1 - i] = (padding[2 * i], padding[2 * i + 1])
    return width


def _crop(x: np.ndarray, width: list[tuple[int, int]]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Negative paddings cut; what is left are paddings of 0 or more."""
    cut = tuple(slice(max(-a, 0), x.shape[i] - max(-b, 0)) for i, (a, b) in enumerate(width))
    return x[cut], [(max(a, 0), max(b, 0)) for a, b in width]


@aten("constant_pad_nd")
def constant_pad(_c: Call, x: np.ndarray, padding: Any, value: Any = 0) -> Any:
    """A constant around the last dimensions."""
    x, width = _crop(x, _pad_width(x, padding))
    return np.pad(x, width, constant_values=np.asarray(value).astype(x.dtype))


@aten("reflection_pad1d reflection_pad2d reflection_pad3d")
def reflection_pad(_c: Call, x: np.ndarray, padding: Any) -> Any:
    """The border mirrored without the edge."""
    x, width = _crop(x, _pad_width(x, padding))
    return np.pad(x, width, mode="reflect")


@aten("replication_pad1d replication_pad2d replication_pad3d")
def replication_pad(_c: Call, x: np.ndarray, padding: Any) -> Any:
    """The edge repeated."""
    x, width = _crop(x, _pad_width(x, padding))
    return np.pad(x, width, mode="edge")


@aten("pad")
def pad(c: Call, x: np.ndarray, padding: Any, mode: str = "constant", value: Any = None) -> Any:
    """Any kind of padding."""
    if mode == "constant":
        return constant_pad(c, x, padding, 0 if value is None else value)
    numpy_mode = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    x, width = _crop(x, _pad_width(x, padding))
    return np.pad(x, width, mode=numpy_mode)


@aten("diagonal diagonal_copy")
def diagonal(_c: Call, x: np.ndarray, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The diagonal of two dimensions, as the last one."""
    return np.diagonal(x, offset, dim1, dim2)


@aten("diag_embed")
def diag_embed(c: Call, x: np.ndarray, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """The last dimension as a diagonal."""
    size = x.shape[-1] + abs(offset)
    out = np.zeros((*x.shape[:-1], size, size), x.dtype)
    n = np.arange(x.shape[-1])
    out[..., n + max(-offset, 0), n + max(offset, 0)] = x
    rank = out.ndim
    return np.moveaxis(out, (-2, -1), (axis(dim1, rank), axis(dim2, rank)))


@aten("diagonal_scatter")
def diagonal_scatter(_c: Call, x: np.ndarray, source: np.ndarray, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The source written on a diagonal."""
    out = x.copy()
    moved = np.moveaxis(out, (dim1, dim2), (-2, -1))
    n = np.arange(source.shape[-1])
    moved[..., n + max(-offset, 0), n + max(offset, 0)] = source
    return out


@aten("unfold unfold_copy")
def unfold(_c: Call, x: np.ndarray, dim: int, size: int, step: int) -> Any:
    """Windows of one dimension, in a new last one."""
    if x.ndim == 0:
        return x.reshape(1)[:size]
    at = axis(dim, x.ndim)
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=at)
    return windows[_at(windows, at, slice(None, None, step))]


@aten("as_strided as_strided_copy")
def as_strided(c: Call, x: np.ndarray, size: Any, stride: Any, offset: Any = None) -> Any:
    """Elements of a contiguous tensor by offset and strides."""
    flat = np.ascontiguousarray(x).reshape(-1)
    where = np.asarray(offset or 0)
    for count, step in zip(size, stride, strict=True):
        where = where[..., None] + np.arange(count) * step
    return flat[_check_range(c, where, flat.size)]


@aten("pixel_shuffle")
def pixel_shuffle(_c: Call, x: np.ndarray, r: int) -> Any:
    """Channels become pixels."""
    *lead, channels, height, width = x.shape
    parts = x.reshape(*lead, channels // (r * r), r, r, height, width)
    n = len(lead)
    moved = parts.transpose(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return moved.reshape(*lead, channels // (r * r), height * r, width * r)


@aten("pixel_unshuffle")
def pixel_unshuffle(_c: Call, x: np.ndarray, r: int) -> Any:
    """Pixels become channels."""
    *lead, channels, height, width = x.shape
    parts = x.reshape(*lead, channels, height // r, r, width // r, r)
    n = len(lead)
    moved = parts.transpose(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return moved.reshape(*lead, channels * r * r, height // r, width // r)


@aten("channel_shuffle")
def channel_shuffle(_c: Call, x: np.ndarray, groups: int) -> Any:
    """Channels dealt out in turn."""
    parts = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    return parts.swapaxes(1, 2).reshape(x.shape)


@aten("glu")
def glu(_c: Call, x: np.ndarray, dim: int = -1) -> Any:
    """One half times the sigmoid of the other."""
    a, b = np.split(x.astype(np.float64), 2, axis(dim, x.ndim))
    return a / (1 + np.exp(-b))


@aten("meshgrid")
def meshgrid(_c: Call, tensors: Any) -> Any:
    """Each input along its own dimension."""
    return [np.asarray(t) for t in np.meshgrid(*tensors, indexing="ij")]


@aten("meshgrid.indexing")
def meshgrid_indexing(_c: Call, tensors: Any, indexing: str) -> Any:
    """Each input along its own dimension."""
    return [np.asarray(t) for t in np.meshgrid(*tensors, indexing="xy" if indexing == "xy" else "ij")]


@aten("im2col")
def im2col(_c: Call, x: np.ndarray, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    """Columns of patches."""
    p = pair(padding, 2)
    padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(p[0], p[0]), (p[1], p[1])])
    d, s = pair(dilation, 2), pair(stride, 2)
    span = [d[i] * (kernel[i] - 1) + 1 for i in range(2)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(-2, -1))
    windows = windows[..., :: s[0], :: s[1], :: d[0], :: d[1]]
    n = x.ndim - 3
    moved = windows.transpose(*range(n), n, n + 3, n + 4, n + 1, n + 2)
    *lead, channels, kh, kw, oh, ow = moved.shape
    return moved.reshape(*lead, channels * kh * kw, oh * ow)
