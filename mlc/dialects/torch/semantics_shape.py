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
    return x[at_dim(x, dim, slice(start, end, step))]


def at_dim(x: np.ndarray, dim: int, index: Any) -> tuple[Any, ...]:
    return (*(slice(None),) * axis(dim, x.ndim), index)


@aten("slice_scatter")
def slice_scatter(
    _c: Call, x: np.ndarray, source: np.ndarray, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Any:
    """The source written into a part of one dimension."""
    out = x.copy()
    out[at_dim(x, dim, slice(start, end, step))] = source
    return out


@aten("select_scatter")
def select_scatter(_c: Call, x: np.ndarray, source: np.ndarray, dim: int, index: int) -> Any:
    """The source written into one element of a dimension."""
    out = x.copy()
    out[at_dim(x, dim, index)] = source
    return out


@aten("narrow narrow_copy")
def narrow(_c: Call, x: np.ndarray, dim: int, start: int, length: int) -> Any:
    """`length` elements of one dimension."""
    begin = start % x.shape[axis(dim, x.ndim)] if start < 0 else start
    return x[at_dim(x, dim, slice(begin, begin + length))]


@aten("select.int select_copy.int")
def select(c: Call, x: np.ndarray, dim: int, index: int) -> Any:
    """One element of a dimension, which goes away."""
    size = x.shape[axis(dim, x.ndim)]
    if not -size <= index < size:
        c.fail(f"index {index} is out of range for a dimension of size {size}")
    return x[at_dim(x, dim, index)]


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
        out.append(x[at_dim(x, dim, slice(start, start + size))])
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


@aten("flip")
def flip(_c: Call, x: np.ndarray, dim: Any) -> Any:
    """Dimensions backwards."""
    return np.flip(x, tuple(axis(d, x.ndim) for d in dim)) if x.ndim else x


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
    if mode == "reflect":
        return reflection_pad(c, x, padding)
    if mode == "replicate":
        return replication_pad(c, x, padding)
    x, width = _crop(x, _pad_width(x, padding))
    return np.pad(x, width, mode="wrap")


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
    return windows[at_dim(windows, at, slice(None, None, step))]


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
