"""Result types of indexing, joining, cutting into parts, and padding."""

from __future__ import annotations

from typing import Any

from mlc.dialects.torch.inference import Unknown, aten, infers
from mlc.dialects.torch.promotion import INTEGER, CannotInfer, category, result_type, tensor_dtype
from mlc.dialects.torch.shapes import (
    Size,
    add,
    broadcast,
    broadcast2,
    dims,
    known,
    like,
    product,
    size_of,
    sizes_of,
    tensor,
    wrap_dim,
)
from mlc.dialects.torch.types import BaseTensorType, i1, si64


@infers(*aten("cat concat concatenate"))
def cat(tensors: Any, dim: Any = 0) -> Any:
    """Sizes along `dim` add up; empty one-dimensional tensors do not count."""
    if not isinstance(tensors, list) or not tensors:
        raise CannotInfer("list unknown")
    rank = max(len(dims(t)) for t in tensors)
    parts = [t for t in tensors if len(dims(t)) == rank and dims(t) != (0,)] or [tensors[0]]
    at = wrap_dim(dim, rank)
    shape: list[Size] = []
    for i in range(rank):
        sizes = [dims(t)[i] for t in parts]
        shape.append(add(*sizes) if i == at else next((s for s in sizes if s is not None), None))
    return tensor(shape, result_type(tensors))


@infers(*aten("stack"))
def stack(tensors: Any, dim: Any = 0) -> Any:
    """A new dimension, as long as the list."""
    if not isinstance(tensors, list) or not tensors:
        raise CannotInfer("list unknown")
    shape: list[Size] = [
        next((dims(t)[i] for t in tensors if dims(t)[i] is not None), None) for i in range(len(dims(tensors[0])))
    ]
    shape.insert(wrap_dim(dim, len(shape) + 1), len(tensors))
    return tensor(shape, result_type(tensors))


@infers(*aten("chunk unsafe_chunk"))
def chunk(x: Any, chunks: Any, dim: Any = 0) -> Any:
    """At most `chunks` parts of equal size, the last one smaller."""
    size = dims(x)[wrap_dim(dim, len(dims(x)))]
    if size is None:
        raise CannotInfer("number of chunks unknown")
    part = -(-size // known(chunks))
    return [like(x, _with(x, dim, 0))] * known(chunks) if part == 0 else split(x, part, dim)


@infers(*aten("split.Tensor unsafe_split.Tensor"))
def split(x: Any, size: Any, dim: Any = 0) -> Any:
    """Parts of `size`, the last one smaller."""
    whole = dims(x)[wrap_dim(dim, len(dims(x)))]
    if whole is None:
        raise CannotInfer("number of parts unknown")
    part = known(size)
    counts = [min(part, whole - at) for at in range(0, whole, part)] if part else [0]
    return [like(x, _with(x, dim, n)) for n in counts or [0]]


@infers(*aten("split_with_sizes unsafe_split_with_sizes split_with_sizes_copy split.sizes"))
def split_sizes(x: Any, sizes: Any, dim: Any = 0) -> Any:
    """Parts of the sizes listed."""
    return [like(x, _with(x, dim, s)) for s in sizes_of(sizes)]


@infers(*aten("tensor_split.sections"))
def tensor_split(x: Any, sections: Any, dim: Any = 0) -> Any:
    """`sections` parts; the first ones are larger by one."""
    whole = dims(x)[wrap_dim(dim, len(dims(x)))]
    if whole is None:
        return [like(x, _with(x, dim, None))] * known(sections)
    base, extra = divmod(whole, known(sections))
    return [like(x, _with(x, dim, base + (i < extra))) for i in range(known(sections))]


@infers(*aten("unbind.int"))
def unbind(x: Any, dim: Any = 0) -> Any:
    """All elements of one dimension."""
    shape = list(dims(x))
    at = wrap_dim(dim, len(shape))
    size = shape.pop(at)
    if size is None:
        raise CannotInfer("number of parts unknown")
    return [like(x, shape)] * size


def _with(x: Any, dim: Any, size: Size) -> list[Size]:
    shape = list(dims(x))
    shape[wrap_dim(dim, len(shape))] = size
    return shape


@infers(*aten("index.Tensor _unsafe_index.Tensor"))
def index(x: Any, indices: Any) -> Any:
    """Advanced indexing: index tensors broadcast; their place is the first one's, or the front when apart."""
    shape = dims(x)
    if not isinstance(indices, list):
        raise CannotInfer("indices unknown")
    expanded: list[Any] = []
    for i in indices:
        if isinstance(i, BaseTensorType) and _is_mask(i):
            expanded += [tensor((None,), si64)] * len(dims(i))
        else:
            expanded.append(i)
    expanded += [None] * (len(shape) - len(expanded))
    places = [n for n, i in enumerate(expanded) if i is not None]
    if any(isinstance(expanded[n], Unknown) for n in places):
        raise CannotInfer("indices unknown")
    common = broadcast(*(expanded[n] for n in places))
    kept = [shape[n] for n in range(len(shape)) if n not in places]
    if not places:
        return like(x)
    at = places[0] if places == list(range(places[0], places[-1] + 1)) else 0
    return like(x, (*kept[:at], *common, *kept[at:]))


def _is_mask(t: BaseTensorType) -> bool:
    dtype = tensor_dtype(t)
    return dtype == i1 or (category(dtype) == INTEGER and str(dtype) == "ui8")


@infers(*aten("index.Tensor_hacked_twin"))
def index_twin(x: Any, indices: Any) -> Any:
    """As index.Tensor, without gaps."""
    return index(x, indices)


@infers(*aten("index_select"))
def index_select(x: Any, dim: Any, indices: Any) -> Any:
    """As many of one dimension as there are indices."""
    shape = list(dims(x))
    if not shape:
        return like(x)
    shape[wrap_dim(dim, len(shape))] = product(dims(indices))
    return like(x, shape)


@infers(*aten("gather"))
def gather(x: Any, _dim: Any, indices: Any, *_: Any) -> Any:
    """The shape of the indices."""
    return like(x, dims(indices))


@infers(*aten("take take_along_dim"))
def take(x: Any, indices: Any, dim: Any = None) -> Any:
    """The shape of the indices."""
    if known(dim) is None:
        return like(x, dims(indices))
    shape, wanted = list(dims(x)), list(dims(indices))
    at = wrap_dim(dim, len(shape))
    length = wanted[at]
    shape[at] = wanted[at] = 1
    out = list(broadcast2(shape, wanted))
    out[at] = length
    return like(x, out)


@infers(*aten("masked_select"))
def masked_select(x: Any, _mask: Any) -> Any:
    """As many as the mask lets through."""
    return like(x, (None,))


@infers(*aten("nonzero argwhere"))
def nonzero(x: Any) -> Any:
    """Rows of indices, as many as there are."""
    return tensor((None, len(dims(x))), si64)


@infers(*aten("nonzero_static"))
def nonzero_static(x: Any, size: Any, fill_value: Any = -1) -> Any:
    """Rows of indices, as many as asked for."""
    return tensor((size_of(size), len(dims(x))), si64)


@infers(*aten("embedding"))
def embedding(weight: Any, indices: Any, *_: Any) -> Any:
    """A row for each index."""
    return like(weight, (*dims(indices), dims(weight)[1]))


@infers(*aten("embedding_bag embedding_bag.padding_idx _embedding_bag _embedding_bag_forward_only"))
def embedding_bag(
    weight: Any,
    _indices: Any,
    offsets: Any,
    _by_frequency: Any = False,
    _mode: Any = 0,
    _sparse: Any = False,
    _factors: Any = None,
    ends_with_total: Any = False,
    _padding: Any = None,
) -> Any:
    """A row for each bag; what else is returned serves the backward pass."""
    bags = dims(offsets)[0]
    rows = None if bags is None else bags - bool(known(ends_with_total))
    rest = tensor((None,), si64)
    return like(weight, (rows, dims(weight)[1])), rest, rest, rest


@infers(
    *aten(
        """
        constant_pad_nd pad reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
        replication_pad3d
        """
    )
)
def pad(x: Any, padding: Any, *_: Any) -> Any:
    """The last dimensions grow by pairs of paddings, the last dimension first."""
    shape, amounts = list(dims(x)), sizes_of(padding)
    for pair in range(len(amounts) // 2):
        at = len(shape) - 1 - pair
        shape[at] = add(shape[at], amounts[2 * pair], amounts[2 * pair + 1])
    return like(x, shape)


@infers(*aten("glu"))
def glu(x: Any, dim: Any = -1) -> Any:
    """Half of one dimension."""
    shape = list(dims(x))
    at = wrap_dim(dim, len(shape))
    size = shape[at]
    shape[at] = None if size is None else size // 2
    return like(x, shape)


@infers(*aten("meshgrid meshgrid.indexing"))
def meshgrid(tensors: Any, indexing: Any = "ij") -> Any:
    """Each input along its own dimension."""
    if not isinstance(tensors, list):
        raise CannotInfer("list unknown")
    shape = [product(dims(t)) for t in tensors]
    if known(indexing) == "xy" and len(shape) > 1:
        shape[0], shape[1] = shape[1], shape[0]
    return [like(t, shape) for t in tensors]


@infers(*aten("broadcast_tensors"))
def broadcast_tensors(tensors: Any) -> Any:
    """All in the common shape."""
    if not isinstance(tensors, list):
        raise CannotInfer("list unknown")
    return [like(t, broadcast(*tensors)) for t in tensors]
