"""Views: ops that only rename, reorder, cut or repeat elements. Most leave no op behind (see `tensor`)."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith, tensor
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.registry import Conversion, dims_of, lowers
from mlc.lowering.torch.to_linalg.structured import fitted
from mlc.lowering.torch.to_linalg.tensor import Scalar, Tensor, plain

Int = int | Scalar


@lowers("aten.view", "aten.reshape", "aten._unsafe_view", "aten._reshape_alias", "aten.view_copy", "aten._reshape_copy")
def view(c: Conversion, x: Tensor, sizes: Sequence[Int], *_: object) -> Tensor:
    return c.viewed(x, _resolved(c, x.shape, c.sizes(sizes)))


def _resolved(c: Conversion, old: Sequence[Dim], new: Sequence[Dim]) -> tuple[Dim, ...]:
    """`new` with its -1 worked out."""
    total = c.dims.product(old)
    if -1 in new:
        at = list(new).index(-1)
        rest = c.dims.product(d for i, d in enumerate(new) if i != at)
        quotient = c.dims.exact_quotient(total, rest)
        if quotient is None:
            quotient = 0 if rest == 0 else c.dims.floordiv(total, rest)
        new = (*new[:at], quotient, *new[at + 1 :])
    c.demand(total, "eq", c.dims.product(new), "the number of elements must stay the same")
    return tuple(new)


@lowers("aten.flatten.using_ints")
def flatten(c: Conversion, x: Tensor, start: int = 0, end: int = -1) -> Tensor:
    if x.rank == 0:
        return c.viewed(x, (1,))
    first, last = x.dim(start), x.dim(end)
    merged = c.dims.product(x.shape[first : last + 1])
    return c.viewed(x, (*x.shape[:first], merged, *x.shape[last + 1 :]))


@lowers("aten.unflatten.int")
def unflatten(c: Conversion, x: Tensor, dim: int, sizes: Sequence[Int]) -> Tensor:
    d = x.dim(dim)
    return c.viewed(x, (*x.shape[:d], *_resolved(c, x.shape[d : d + 1], c.sizes(sizes)), *x.shape[d + 1 :]))


@lowers("prims.collapse", "prims.collapse_view")
def prims_collapse(c: Conversion, x: Tensor, start: int, end: int) -> Tensor:
    return flatten(c, x, start, end)


@lowers(
    "aten.squeeze",
    "aten.squeeze.dim",
    "aten.squeeze.dims",
    "aten.squeeze_copy.dim",
    "aten.squeeze_copy.dims",
    "prims.squeeze",
)
def squeeze(c: Conversion, x: Tensor, dims: Sequence[int] | int | None = None) -> Tensor:
    if dims == []:
        return x
    chosen = dims_of(x, dims) if x.rank else []
    return drop_dims(x, [d for d in chosen if x.shape[d] == 1])


def drop_dims(x: Tensor, dims: Sequence[int]) -> Tensor:
    """`x` without `dims`, which have size one."""
    keep = [d for d in range(x.rank) if d not in dims]
    return x.with_view(tuple(x.shape[d] for d in keep), tuple(x.axes[d] for d in keep))


@lowers("aten.unsqueeze", "aten.unsqueeze_copy")
def unsqueeze(c: Conversion, x: Tensor, dim: int) -> Tensor:
    d = dim + x.rank + 1 if dim < 0 else dim
    shape, axes = (*x.shape[:d], 1, *x.shape[d:]), (*x.axes[:d], None, *x.axes[d:])
    return x.with_view(shape, axes)


@lowers("aten.permute", "aten.permute_copy")
def permute(c: Conversion, x: Tensor, dims: Sequence[int]) -> Tensor:
    return c.permuted(x, [x.dim(d) for d in dims])


@lowers("aten.transpose.int", "aten.transpose_copy.int", "aten.swapaxes", "aten.swapdims")
def transpose(c: Conversion, x: Tensor, a: int, b: int) -> Tensor:
    if x.rank == 0:
        return x
    perm = list(range(x.rank))
    i, j = x.dim(a), x.dim(b)
    perm[i], perm[j] = perm[j], perm[i]
    return c.permuted(x, perm)


@lowers("aten.t", "aten.numpy_T", "aten.t_copy")
def t(c: Conversion, x: Tensor) -> Tensor:
    return c.permuted(x, list(reversed(range(x.rank))))


@lowers("aten.mT", "aten.adjoint")
def matrix_transpose(c: Conversion, x: Tensor) -> Tensor:
    return transpose(c, x, -2, -1)


@lowers("aten.movedim.int", "aten.movedim.intlist")
def movedim(c: Conversion, x: Tensor, source: Sequence[int] | int, target: Sequence[int] | int) -> Tensor:
    sources, targets = dims_of(x, source), dims_of(x, target)
    perm: list[int | None] = [None] * x.rank
    for s, d in zip(sources, targets, strict=True):
        perm[d] = s
    rest = iter(d for d in range(x.rank) if d not in sources)
    return c.permuted(x, [next(rest) if p is None else p for p in perm])


@lowers("aten.expand", "aten.expand_copy")
def expand(c: Conversion, x: Tensor, sizes: Sequence[Int], implicit: bool = False) -> Tensor:
    return stretched(c, x, c.sizes(sizes))


def stretched(c: Conversion, x: Tensor, sizes: Sequence[Dim]) -> Tensor:
    """`x` broadcast to `sizes`; -1 keeps a size."""
    extra = len(sizes) - x.rank
    old = (1,) * extra + x.shape
    shape = tuple(had if size == -1 else size for size, had in zip(sizes, old, strict=True))
    for d, (size, had) in enumerate(zip(shape, old, strict=True)):
        if had != 1:
            _need_stretch(c, d, had, size)
    x = fitted(c, x, shape)
    axes = tuple(
        axis if c.dims.same(size, had) else None for size, had, axis in zip(shape, x.shape, x.axes, strict=True)
    )
    return x.with_view(shape, axes)


def _need_stretch(c: Conversion, d: int, had: Dim, size: Dim) -> None:
    """Check that a dimension has the size asked for, or is one where only the run can tell."""
    text = f"dimension {d} does not stretch to the size asked for"
    if isinstance(had, int):
        c.demand(size, "eq", had, text)
    elif not c.dims.same(had, size):
        fits = [c.op(arith.CmpiOp, had, c.dims.value(n), "eq") for n in (1, size)]
        c.check(c.op(arith.OrIOp, *fits), c.message(text))


@lowers("aten.expand_as")
def expand_as(c: Conversion, x: Tensor, other: Tensor) -> Tensor:
    return stretched(c, x, other.shape)


@lowers("aten.view_as", "aten.reshape_as")
def view_as(c: Conversion, x: Tensor, other: Tensor) -> Tensor:
    return c.viewed(x, _resolved(c, x.shape, other.shape))


@lowers("aten.broadcast_to")
def broadcast_to(c: Conversion, x: Tensor, sizes: Sequence[Int]) -> Tensor:
    return stretched(c, x, c.sizes(sizes))


@lowers("aten.repeat", "aten.tile")
def repeat(c: Conversion, x: Tensor, times: Sequence[Int]) -> Tensor:
    times = [*(1,) * (x.rank - len(times)), *times]
    extra = len(times) - x.rank
    old = (1,) * extra + x.shape
    split = [s for size in old for s in (1, size)]
    wide = [s for n, size in zip(c.sizes(times), old, strict=True) for s in (n, size)]
    tiled = stretched(c, c.viewed(x, split), wide)
    return c.viewed(tiled, [c.dims.mul(n, size) for n, size in zip(c.sizes(times), old, strict=True)])


@lowers("aten.repeat_interleave.self_int")
def repeat_interleave(
    c: Conversion, x: Tensor, times: Int, dim: int | None = None, output_size: Int | None = None
) -> Tensor:
    count = c.size(times)
    if dim is None:
        x, dim = c.viewed(x, (c.dims.product(x.shape),)), 0
    d = x.dim(dim)
    split = c.viewed(x, (*x.shape[: d + 1], 1, *x.shape[d + 1 :]))
    wide = stretched(c, split, (*x.shape[: d + 1], count, *x.shape[d + 1 :]))
    return c.viewed(wide, (*x.shape[:d], c.dims.mul(x.shape[d], count), *x.shape[d + 1 :]))


# -- slices ------------------------------------------------------------------------------------------------------


def sliced(c: Conversion, x: Tensor, d: int, start: Dim, size: Dim, step: int = 1) -> Tensor:
    """`size` elements of dimension `d` from `start`, every `step`-th; nothing is clamped."""
    shape = (*x.shape[:d], size, *x.shape[d + 1 :])
    if start == 0 and step == 1 and c.dims.same(size, x.shape[d]):
        return x
    axis = x.axes[d]
    if axis is None:
        return x.with_view(shape, x.axes)
    if sum(1 for a in x.axes if a == axis) > 1 or not c.dims.same(x.value_shape[axis], x.shape[d]):
        x = c.plain(x)
        axis = d
    value_shape = (*x.value_shape[:axis], size, *x.value_shape[axis + 1 :])
    offsets: list[SSAValue | int] = [0] * len(value_shape)
    strides: list[SSAValue | int] = [1] * len(value_shape)
    offsets[axis], strides[axis] = start, step
    value = c.op(tensor.ExtractSliceOp, x.value, offsets, list(value_shape), strides, c.type_of(value_shape, x.dtype))
    return Tensor(value, x.dtype, shape, x.axes, value_shape)


def slice_bounds(c: Conversion, size: Dim, start: Int | None, end: Int | None, step: int) -> tuple[Dim, Dim]:
    """First index and count of Python's `start:end:step` in a dimension of `size`."""

    def clamped(bound: Dim) -> Dim:
        if isinstance(bound, int):
            if bound >= 0:
                return c.dims.minimum(bound, size) if bound < 2**62 else size
            bound = c.dims.add(size, bound)
            return c.dims.maximum(bound, 0)
        # known only at run time: negative counts from the end
        counted = bound if c.dims.range(bound)[0] >= 0 else c.wrap_index(bound, size)
        return c.dims.minimum(c.dims.maximum(counted, 0), size)

    first = 0 if start is None else clamped(c.size(start))
    last = size if end is None else clamped(c.size(end))
    length = c.dims.sub(last, first)
    if not isinstance(length, int) or length < 0:
        length = c.dims.maximum(length, 0) if first != 0 else length
    if step != 1:
        length = c.dims.floordiv(c.dims.add(length, step - 1), step)
    return first, length


@lowers("aten.slice.Tensor", "aten.slice_copy.Tensor")
def slice_tensor(
    c: Conversion, x: Tensor, dim: int = 0, start: Int | None = None, end: Int | None = None, step: int = 1
) -> Tensor:
    d = x.dim(dim)
    first, length = slice_bounds(c, x.shape[d], start, end, step)
    return sliced(c, x, d, first, length, step)


@lowers("aten.select.int", "aten.select_copy.int")
def select_int(c: Conversion, x: Tensor, dim: int, index: Int) -> Tensor:
    d = x.dim(dim)
    return drop_dims(sliced(c, x, d, index_in(c, x.shape[d], index), 1), [d])


def index_in(c: Conversion, size: Dim, index: Int) -> Dim:
    """A Python index as one from the front; checked at run time when it is not known before."""
    at = c.size(index)
    if isinstance(at, int):
        if isinstance(size, int) and not -size <= at < size:
            raise c.refuse(f"index {at} is out of range for a dimension of size {size}")
        c.demand(size, "ge", -at if at < 0 else at + 1, f"index {at} needs a larger dimension")
        return at if at >= 0 else c.dims.add(size, at)
    return c.checked_index(at, size)


@lowers("aten.narrow", "aten.narrow_copy")
def narrow(c: Conversion, x: Tensor, dim: int, start: Int, length: Int) -> Tensor:
    d = x.dim(dim)
    first, count = index_in(c, c.dims.add(x.shape[d], 1), start), c.size(length)
    c.demand(x.shape[d], "ge", c.dims.add(first, count), f"dimension {d} ends before what is taken of it")
    return sliced(c, x, d, first, count)


@lowers(
    "aten.split.Tensor",
    "aten.split.sizes",
    "aten.split_with_sizes",
    "aten.split_with_sizes_copy",
    "aten.unsafe_split.Tensor",
    "aten.unsafe_split_with_sizes",
)
def split(c: Conversion, x: Tensor, sizes: Sequence[Int] | Int, dim: int = 0) -> list[Tensor]:
    d = x.dim(dim)
    if isinstance(sizes, list):
        lengths = list(c.sizes(sizes))
    else:
        assert isinstance(sizes, int | Scalar)
        total = x.shape[d]
        if not isinstance(total, int):
            raise c.refuse("splitting a dimension of dynamic size gives a number of results known only at run time")
        each = c.static_int(sizes, "the size of the parts")
        lengths = [min(each, total - at) for at in range(0, total, each)] if each else [0]
        lengths = lengths or [0]
    out: list[Tensor] = []
    at: Dim = 0
    for length in lengths:
        out.append(sliced(c, x, d, at, length))
        at = c.dims.add(at, length)
    return out


@lowers("aten.chunk", "aten.unsafe_chunk")
def chunk(c: Conversion, x: Tensor, count: int, dim: int = 0) -> list[Tensor]:
    total = x.shape[x.dim(dim)]
    if not isinstance(total, int):
        raise c.refuse("chunks of a dimension of dynamic size are known in number only at run time")
    each = -(-total // count)
    if each == 0:
        return [x] * count
    return split(c, x, each, dim)


@lowers("aten.tensor_split.sections")
def tensor_split(c: Conversion, x: Tensor, count: int, dim: int = 0) -> list[Tensor]:
    total = x.shape[x.dim(dim)]
    if not isinstance(total, int):
        raise c.refuse("splitting a dimension of dynamic size gives sizes known only at run time")
    return split(c, x, [total // count + (i < total % count) for i in range(count)], dim)


@lowers("aten.unbind.int", "aten.unbind_copy.int")
def unbind(c: Conversion, x: Tensor, dim: int = 0) -> list[Tensor]:
    d = x.dim(dim)
    total = x.shape[d]
    if not isinstance(total, int):
        raise c.refuse("unbinding a dimension of dynamic size gives a number of results known only at run time")
    return [select_int(c, x, d, i) for i in range(total)]


# -- joining -----------------------------------------------------------------------------------------------------


@lowers("aten.cat", "aten.concat", "aten.concatenate")
def cat(c: Conversion, xs: Sequence[Tensor], dim: int = 0) -> Tensor:
    dtype = c.out
    rank = max(x.rank for x in xs)
    # ATen leaves out empty one-dimensional tensors whatever the others look like
    kept = [cast(c, x, dtype) for x in xs if not (x.shape == (0,) and rank > 1)]
    return concatenated(c, kept, kept[0].dim(dim))


def concatenated(c: Conversion, xs: Sequence[Tensor], d: int, whole: Dim | None = None) -> Tensor:
    """Tensors of one type, joined along `d`; `whole`: the size there, where it is known."""
    xs = [x for x in xs if x.shape[d] != 0] or list(xs[:1])
    if len(xs) == 1:
        return xs[0]
    total: Dim = 0
    for x in xs:
        total = c.dims.add(total, x.shape[d])
        for i in range(x.rank):
            if i != d:
                c.demand(xs[0].shape[i], "eq", x.shape[i], f"the tensors differ in dimension {i}")
    total = total if whole is None else whole
    first = xs[0]
    shape = tuple(
        total if i == d else next((x.shape[i] for x in xs if isinstance(x.shape[i], int)), size)
        for i, size in enumerate(first.shape)
    )
    value = c.op(tensor.ConcatOp, [c.plain(x).value for x in xs], d, c.type_of(shape, first.dtype))
    return plain(value, first.dtype, shape)


@lowers("aten.stack")
def stack(c: Conversion, xs: Sequence[Tensor], dim: int = 0) -> Tensor:
    d = dim + xs[0].rank + 1 if dim < 0 else dim
    return concatenated(c, [unsqueeze(c, cast(c, x, c.out), d) for x in xs], d)
