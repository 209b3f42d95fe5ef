"""Result types of ops that move, cut and join data: views, indexing, concatenation, padding."""

from __future__ import annotations

import math
from typing import Any

from mlc.dialects.torch.inference import aten, infers
from mlc.dialects.torch.promotion import CannotInfer, from_scalar_type, tensor_dtype
from mlc.dialects.torch.shapes import (
    Size,
    add,
    dims,
    known,
    like,
    product,
    size_of,
    sizes_of,
    slice_size,
    tensor,
    wrap_dim,
)
from mlc.dialects.torch.types import INT
from mlc.errors import ShapeError


@infers(*aten("view reshape _unsafe_view view_copy _reshape_alias"))
def view(x: Any, size: Any, *_: Any) -> Any:
    """The sizes asked for; -1 is what is left."""
    wanted = list(sizes_of(size))
    if -1 in wanted:
        wanted[wanted.index(-1)] = _left_over(dims(x), [s for s in wanted if s != -1])
    return like(x, wanted)


def _left_over(source: tuple[Size, ...], others: list[Size]) -> Size:
    """What -1 stands for: equal sizes on both sides cancel, so some unknown ones do not matter."""
    have, given = list(source), list(others)
    for s in source:
        if s is not None and s in given:
            have.remove(s)
            given.remove(s)
    total, divisor = product(have), product(given)
    if total is None or divisor is None or divisor == 0:
        return have[0] if len(have) == 1 and not given else None
    return total // divisor


@infers(*aten("view_as reshape_as expand_as"))
def view_as(x: Any, other: Any) -> Any:
    """The other's shape."""
    return like(x, dims(other))


@infers(*aten("view.dtype"))
def view_dtype(x: Any, dtype: Any) -> Any:
    """The bits as another dtype; the last size scales with the widths."""
    target = from_scalar_type(known(dtype))
    old, new = _bits(tensor_dtype(x)), _bits(target)
    shape = list(dims(x))
    if old != new:
        last = shape[-1]
        shape[-1] = None if last is None else last * old // new
    return like(x, shape, target)


def _bits(dtype: Any) -> int:
    text = str(dtype)
    if text.startswith("complex"):
        return 2 * _bits(text.removeprefix("complex<").removesuffix(">"))
    width = int("".join(c for c in text if c.isdigit()))
    return 8 if width == 1 else width


@infers(*aten("flatten.using_ints"))
def flatten(x: Any, start: Any = 0, end: Any = -1) -> Any:
    """Dimensions from `start` to `end` become one."""
    shape = dims(x)
    first, last = wrap_dim(start, len(shape)), wrap_dim(end, len(shape))
    return like(x, (*shape[:first], product(shape[first : last + 1]), *shape[last + 1 :]))


@infers(*aten("unflatten.int"))
def unflatten(x: Any, dim: Any, sizes: Any) -> Any:
    """One dimension becomes several."""
    shape = dims(x)
    at = wrap_dim(dim, len(shape))
    wanted = list(sizes_of(sizes))
    if -1 in wanted:
        wanted[wanted.index(-1)] = _left_over((shape[at],), [s for s in wanted if s != -1])
    return like(x, (*shape[:at], *wanted, *shape[at + 1 :]))


@infers(*aten("permute permute_copy"))
def permute(x: Any, order: Any) -> Any:
    """Sizes in another order."""
    shape = dims(x)
    return like(x, [shape[wrap_dim(d, len(shape))] for d in known(order)])


@infers(*aten("transpose.int swapaxes swapdims transpose_copy.int"))
def transpose(x: Any, a: Any, b: Any) -> Any:
    """Two sizes change places."""
    shape = list(dims(x))
    if shape:
        i, j = wrap_dim(a, len(shape)), wrap_dim(b, len(shape))
        shape[i], shape[j] = shape[j], shape[i]
    return like(x, shape)


@infers(*aten("t t_copy numpy_T mT"))
def matrix_transpose(x: Any) -> Any:
    """The two sizes change places; a vector stays."""
    shape = dims(x)
    return like(x, (*shape[:-2], *reversed(shape[-2:])))


@infers(*aten("movedim.int"))
def movedim(x: Any, source: Any, target: Any) -> Any:
    """One dimension moves."""
    shape = list(dims(x))
    size = shape.pop(wrap_dim(source, len(shape)))
    shape.insert(wrap_dim(target, len(shape) + 1), size)
    return like(x, shape)


@infers(*aten("unsqueeze unsqueeze_copy"))
def unsqueeze(x: Any, dim: Any) -> Any:
    """A new dimension of size 1."""
    shape = list(dims(x))
    shape.insert(wrap_dim(dim, len(shape) + 1), 1)
    return like(x, shape)


@infers(*aten("squeeze"))
def squeeze(x: Any) -> Any:
    """Without dimensions of size 1."""
    shape = dims(x)
    if None in shape:
        raise CannotInfer("a dynamic size may be 1")
    return like(x, [s for s in shape if s != 1])


@infers(*aten("squeeze.dim squeeze.dims squeeze_copy.dim squeeze_copy.dims"))
def squeeze_dims(x: Any, dim: Any) -> Any:
    """Without the dimensions listed, where they have size 1; the rank is not known when one is dynamic."""
    shape = dims(x)
    listed = known(dim) if isinstance(dim, list) else [known(dim)]
    axes = {wrap_dim(d, len(shape)) for d in listed}
    if any(shape[i] is None for i in axes if i < len(shape)):
        raise CannotInfer("a dynamic size may be 1")
    return like(x, [s for i, s in enumerate(shape) if not (i in axes and s == 1)])


@infers(*aten("expand expand_copy"))
def expand(x: Any, size: Any, *_: Any) -> Any:
    """Sizes of 1 grow; -1 keeps a size."""
    shape, wanted = dims(x), list(sizes_of(size))
    for i, s in enumerate(wanted):
        if s == -1:
            wanted[i] = shape[i - len(wanted) + len(shape)]
    return like(x, wanted)


@infers(*aten("broadcast_to"))
def broadcast_to(x: Any, size: Any) -> Any:
    """As expand."""
    return expand(x, size)


@infers(*aten("repeat tile"))
def repeat(x: Any, repeats: Any) -> Any:
    """Sizes times the repeats."""
    shape, times = dims(x), sizes_of(repeats)
    rank = max(len(shape), len(times))
    padded = (1,) * (rank - len(shape)) + shape
    counts = (1,) * (rank - len(times)) + times
    return like(x, [product(pair) for pair in zip(padded, counts, strict=True)])


@infers(*aten("repeat_interleave.self_int"))
def repeat_interleave(x: Any, repeats: Any, dim: Any = None, *_: Any) -> Any:
    """One size times the repeats; without a dimension the tensor is flattened first."""
    shape = dims(x)
    if known(dim) is None:
        return like(x, [product((*shape, size_of(repeats)))])
    at = wrap_dim(dim, len(shape))
    return like(x, (*shape[:at], product((shape[at], size_of(repeats))), *shape[at + 1 :]))


@infers(*aten("repeat_interleave.self_Tensor"))
def repeat_interleave_tensor(x: Any, _repeats: Any, dim: Any = None, output_size: Any = None) -> Any:
    """The new size depends on data unless given."""
    shape = dims(x)
    size = size_of(output_size)
    if known(dim) is None:
        return like(x, [size])
    at = wrap_dim(dim, len(shape))
    return like(x, (*shape[:at], size, *shape[at + 1 :]))


@infers(*aten("repeat_interleave.Tensor"))
def repeat_indices(repeats: Any, output_size: Any = None) -> Any:
    """Indices, as many as the repeats say."""
    return tensor((size_of(output_size),), tensor_dtype(repeats))


@infers(*aten("slice.Tensor slice_copy.Tensor"))
def slice_(x: Any, dim: Any = 0, start: Any = None, end: Any = None, step: Any = 1) -> Any:
    """A part of one dimension."""
    shape = list(dims(x))
    at = wrap_dim(dim, len(shape))
    shape[at] = slice_size(shape[at], start, end, step)
    return like(x, shape)


@infers(*aten("narrow narrow_copy"))
def narrow(x: Any, dim: Any, _start: Any, length: Any) -> Any:
    """`length` elements of one dimension."""
    shape = list(dims(x))
    shape[wrap_dim(dim, len(shape))] = size_of(length)
    return like(x, shape)


@infers(*aten("select.int select_copy.int"))
def select(x: Any, dim: Any, index: Any) -> Any:
    """One element of a dimension, which goes away."""
    shape = list(dims(x))
    at = wrap_dim(dim, len(shape))
    size = shape[at]
    if isinstance(index, int) and size is not None and not -size <= index < size:
        raise ShapeError(f"index {index} of a dimension of size {size}")
    del shape[at]
    return like(x, shape)


@infers(*aten("diagonal diagonal_copy"))
def diagonal(x: Any, offset: Any = 0, dim1: Any = 0, dim2: Any = 1) -> Any:
    """Two dimensions become their diagonal, at the end."""
    shape = dims(x)
    i, j = wrap_dim(dim1, len(shape)), wrap_dim(dim2, len(shape))
    a, b, shift = shape[i], shape[j], known(offset)
    size = None if a is None or b is None else max(min(a, b - shift) if shift >= 0 else min(a + shift, b), 0)
    return like(x, (*(s for n, s in enumerate(shape) if n not in (i, j)), size))


@infers(*aten("diag_embed"))
def diag_embed(x: Any, offset: Any = 0, dim1: Any = -2, dim2: Any = -1) -> Any:
    """The last dimension becomes a diagonal of two new ones."""
    shape = list(dims(x))
    size = add(shape.pop(), abs(known(offset)))
    rank = len(shape) + 2
    i, j = sorted((wrap_dim(dim1, rank), wrap_dim(dim2, rank)))
    shape.insert(i, size)
    shape.insert(j, size)
    return like(x, shape)


@infers(*aten("unfold unfold_copy"))
def unfold(x: Any, dim: Any, size: Any, step: Any) -> Any:
    """Windows of one dimension, in a new last one."""
    shape = list(dims(x))
    if not shape:
        return like(x, (known(size),))
    at = wrap_dim(dim, len(shape))
    whole = shape[at]
    shape[at] = None if whole is None else (whole - known(size)) // known(step) + 1
    return like(x, (*shape, known(size)))


@infers(*aten("as_strided as_strided_copy"))
def as_strided(x: Any, size: Any, *_: Any) -> Any:
    """The sizes asked for."""
    return like(x, sizes_of(size))


@infers(*aten("pixel_shuffle"))
def pixel_shuffle(x: Any, factor: Any) -> Any:
    """Channels become pixels."""
    *lead, channels, height, width = dims(x)
    r = known(factor)
    return like(
        x, (*lead, None if channels is None else channels // (r * r), product((height, r)), product((width, r)))
    )


@infers(*aten("pixel_unshuffle"))
def pixel_unshuffle(x: Any, factor: Any) -> Any:
    """Pixels become channels."""
    *lead, channels, height, width = dims(x)
    r = known(factor)
    return like(
        x,
        (
            *lead,
            product((channels, r * r)),
            None if height is None else height // r,
            None if width is None else width // r,
        ),
    )


@infers(*aten("channel_shuffle"))
def channel_shuffle(x: Any, _groups: Any) -> Any:
    """The same shape."""
    return like(x)


@infers(*aten("rot90"))
def rot90(x: Any, k: Any = 1, plane: Any = (0, 1)) -> Any:
    """Two sizes change places for odd `k`."""
    return transpose(x, *known(plane)) if known(k) % 2 else like(x)


@infers(*aten("im2col"))
def im2col(x: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    """Columns of patches."""
    *lead, channels, height, width = dims(x)
    k, d, p, s = known(kernel), known(dilation), known(padding), known(stride)
    blocks = [
        None if size is None else (size + 2 * p[i] - d[i] * (k[i] - 1) - 1) // s[i] + 1
        for i, size in enumerate((height, width))
    ]
    return like(x, (*lead, product((channels, math.prod(k))), product(blocks)))


@infers(*aten("size.int sym_size.int numel sym_numel dim"))
def integer(*_: Any) -> Any:
    """An int."""
    return INT


@infers("prims.squeeze")
def prims_squeeze(x: Any, dimensions: Any) -> Any:
    """Without the dimensions listed, all of size 1."""
    shape = dims(x)
    gone = {wrap_dim(d, len(shape)) for d in known(dimensions)}
    return like(x, [s for i, s in enumerate(shape) if i not in gone])


@infers("prims.collapse")
def prims_collapse(x: Any, start: Any, end: Any) -> Any:
    """Dimensions from start to end become one."""
    return flatten(x, start, end)


@infers("prims.split_dim")
def prims_split_dim(x: Any, dim: Any, outer: Any) -> Any:
    """One dimension becomes an outer one of a given size and an inner one."""
    shape = dims(x)
    at, size = wrap_dim(dim, len(shape)), size_of(outer)
    whole = shape[at]
    inner = whole // size if whole is not None and size else None
    return like(x, (*shape[:at], size, inner, *shape[at + 1 :]))


@infers("prims.view_of", "prims.sqrt")
def prims_same(x: Any) -> Any:
    """The same type."""
    return like(x)
