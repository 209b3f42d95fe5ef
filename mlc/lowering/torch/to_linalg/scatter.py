"""Writes into parts of a tensor: slices by `tensor.insert_slice`, single elements in a loop, in ATen's order."""

from __future__ import annotations

import math as pymath
from collections.abc import Callable, Sequence

from xdsl.dialects import arith, tensor
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import diagonal_length, need_strided, strided_place
from mlc.lowering.torch.to_linalg.dims import Dim, mlir_shape
from mlc.lowering.torch.to_linalg.dtypes import DType
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.indexing import checked
from mlc.lowering.torch.to_linalg.loop_nest import looped
from mlc.lowering.torch.to_linalg.masks import assigned_by_mask, single_mask
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import broadcast_shape, elementwise
from mlc.lowering.torch.to_linalg.tensor import Number, Scalar, Tensor, plain
from mlc.lowering.torch.to_linalg.view import index_in, slice_bounds, stretched, unsqueeze

Int = int | Scalar


def inserted(c: Conversion, x: Tensor, piece: Tensor, offsets: Sequence[Dim], strides: Sequence[int]) -> Tensor:
    """`x` with `piece` written at `offsets`."""
    x, piece = c.plain(x), c.plain(piece)
    op = tensor.InsertSliceOp.get(
        piece.value,
        x.value,
        static_sizes=list(mlir_shape(piece.shape)),
        sizes=[s for s in piece.shape if isinstance(s, SSAValue)],
        static_offsets=list(mlir_shape(offsets)),
        offsets=[o for o in offsets if isinstance(o, SSAValue)],
        static_strides=list(strides),
    )
    return plain(c.emit(op).results[0], x.dtype, x.shape)


@lowers("aten.slice_scatter")
def slice_scatter(
    c: Conversion,
    x: Tensor,
    source: Tensor,
    dim: int = 0,
    start: Int | None = None,
    end: Int | None = None,
    step: int = 1,
) -> Tensor:
    d = x.dim(dim)
    first, length = slice_bounds(c, x.shape[d], start, end, step)
    shape = (*x.shape[:d], length, *x.shape[d + 1 :])
    c.demand(length, "eq", source.shape[d], f"dimension {d} has not the elements that are written to")
    piece = stretched(c, cast(c, source, x.dtype), shape)
    return inserted(
        c, x, piece, [first if i == d else 0 for i in range(x.rank)], [step if i == d else 1 for i in range(x.rank)]
    )


@lowers("aten.select_scatter")
def select_scatter(c: Conversion, x: Tensor, source: Tensor, dim: int, index: Int) -> Tensor:
    d = x.dim(dim)
    at = index_in(c, x.shape[d], index)
    piece = unsqueeze(c, cast(c, source, x.dtype), d)
    for i in range(x.rank):
        if i != d:
            c.demand(x.shape[i], "eq", piece.shape[i], "what is written has not the slice's sizes")
    return inserted(c, x, piece, [at if i == d else 0 for i in range(x.rank)], [1] * x.rank)


@lowers("aten.diagonal_scatter")
def diagonal_scatter(c: Conversion, x: Tensor, source: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    a, b = x.dim(dim1), x.dim(dim2)
    rest = [d for d in range(x.rank) if d not in (a, b)]
    sizes = [*(x.shape[d] for d in rest), diagonal_length(c, x, a, b, offset)]
    for size, given in zip(sizes, source.shape, strict=True):
        c.demand(size, "eq", given, "what is written has not the diagonal's sizes")
    read = c.plain(cast(c, source, x.dtype)).value

    def step(body: Body, at: list[SSAValue], whole: SSAValue) -> SSAValue:
        place: dict[int, SSAValue] = dict(zip(rest, at, strict=False))
        place[a] = body.op(arith.AddiOp, at[-1], body.index(-offset)) if offset < 0 else at[-1]
        place[b] = body.op(arith.AddiOp, at[-1], body.index(offset)) if offset > 0 else at[-1]
        return body.op(tensor.InsertOp, body.extract(read, at), whole, [place[d] for d in range(x.rank)])

    return plain(looped(c, source.shape, c.plain(x).value, step), x.dtype, x.shape)


@lowers("aten.copy", "aten.copy_")
def copy(c: Conversion, x: Tensor, source: Tensor, *_: object) -> Tensor:
    return stretched(c, cast(c, source, x.dtype), x.shape)


# -- elements ----------------------------------------------------------------------------------------------------

Combine = Callable[[Body, SSAValue, SSAValue], SSAValue]


def _combiner(name: str | None, t: DType) -> Combine | None:
    """How an old and a new element meet; None: the new one replaces it."""
    match name:
        case None:
            return None
        case "sum" | "add" | "mean":
            return lambda b, x, y: b.add(x, y, t)
        case "prod" | "multiply":
            return lambda b, x, y: b.mul(x, y, t)
        case "amax":
            return lambda b, x, y: b.maximum(x, y, t)
        case _:
            return lambda b, x, y: b.minimum(x, y, t)


def _neutral(name: str, t: DType) -> Number:
    match name:
        case "prod":
            return 1
        case "amax":
            return -pymath.inf if t.is_float else False if t.is_bool else t.limits()[0]
        case "amin":
            return pymath.inf if t.is_float else True if t.is_bool else t.limits()[1]
        case _:
            return 0


def _scatter(c: Conversion, x: Tensor, dim: int, index: Tensor, source: Tensor | Number, name: str | None) -> Tensor:
    """x[…, index[i], …] = combine(x[…], source[i]) for all i, in row-major order."""
    if x.rank == 0:
        wide = _scatter(c, unsqueeze(c, x, 0), 0, _at_least_1d(c, index), _source_1d(c, source), name)
        return c.viewed(wide, ())
    d, t = x.dim(dim), x.dtype
    index, source = _at_least_1d(c, index), _source_1d(c, source)
    for i in range(x.rank) if 0 not in index.shape else ():
        if i != d:
            c.demand(x.shape[i], "ge", index.shape[i], f"the index is larger than the tensor in dimension {i}")
        if isinstance(source, Tensor):
            c.demand(source.shape[i], "ge", index.shape[i], f"the index is larger than the source in dimension {i}")
    once, spread = _unexpanded(index)
    places = c.plain(checked(c, once, x.shape[d], wraps=False)).value
    read = c.plain(cast(c, source, t)).value if isinstance(source, Tensor) else None
    combine = _combiner(name, t)

    def step(b: Body, at: list[SSAValue], whole: SSAValue) -> SSAValue:
        place = b.to_index(b.extract(places, [b.index(0) if i in spread else v for i, v in enumerate(at)]))
        target = [place if i == d else v for i, v in enumerate(at)]
        new = b.extract(read, at) if read is not None else b.const(source, t)  # pyright: ignore[reportArgumentType]
        if combine is not None:
            new = combine(b, b.extract(whole, target), new)
        return b.op(tensor.InsertOp, new, whole, target)

    return plain(looped(c, index.shape, c.plain(x).value, step), t, x.shape)


def _unexpanded(index: Tensor) -> tuple[Tensor, list[int]]:
    """`index` as it was before dimensions of it were expanded, with size one there, and which: a row of a source that
    goes to one place is then known to be a row."""
    if not all(isinstance(n, int) and n for n in index.shape) or index.splat is not None:
        return index, []
    spread = [i for i, (axis, n) in enumerate(zip(index.axes, index.shape, strict=True)) if axis is None and n != 1]
    shape = tuple(1 if i in spread else n for i, n in enumerate(index.shape))
    return index.with_view(shape, index.axes), spread


def _at_least_1d(c: Conversion, t: Tensor) -> Tensor:
    return t if t.rank else unsqueeze(c, t, 0)


def _source_1d(c: Conversion, source: Tensor | Number) -> Tensor | Number:
    return _at_least_1d(c, source) if isinstance(source, Tensor) else source


@lowers("aten.scatter.src", "aten.scatter.value", "aten.scatter.reduce", "aten.scatter.value_reduce")
def scatter(
    c: Conversion, x: Tensor, dim: int, index: Tensor, source: Tensor | Number, how: str | None = None
) -> Tensor:
    return _scatter(c, x, dim, index, source, how)


@lowers("aten.scatter_add")
def scatter_add(c: Conversion, x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    return _scatter(c, x, dim, index, source, "sum")


@lowers("aten.scatter_reduce.two")
def scatter_reduce(
    c: Conversion, x: Tensor, dim: int, index: Tensor, source: Tensor, how: str, include_self: bool = True
) -> Tensor:
    start = x if include_self else _scatter(c, x, dim, index, _neutral(how, x.dtype), None)
    total = _scatter(c, start, dim, index, source, how)
    if how != "mean":
        return total
    ones = c.full(x.shape, x.dtype, 1)
    counted = ones if include_self else _scatter(c, ones, dim, index, 0, None)
    counted = _scatter(c, counted, dim, index, c.full(source.shape, x.dtype, 1), "sum")
    return _divided(c, total, counted)


def _divided(c: Conversion, total: Tensor, count: Tensor) -> Tensor:
    t = total.dtype
    if t.is_float:
        return elementwise(c, [total, count], t, lambda b, v, n: b.divf(v, n))

    def floored(b: Body, v: SSAValue, n: SSAValue) -> SSAValue:
        quotient = b.truncated_div(v, n, t)
        rest = b.sub(v, b.mul(quotient, n, t), t)
        return b.select(b.compare("lt", rest, b.const(0, t), t), b.sub(quotient, b.const(1, t), t), quotient)

    return elementwise(c, [total, count], t, floored)


def _along(
    c: Conversion,
    x: Tensor,
    dim: int,
    index: Tensor,
    value: Callable[[Body, list[SSAValue]], SSAValue],
    combine: Combine | None,
) -> Tensor:
    """Whole slices x[…, index[i], …] replaced by or combined with what `value` gives at (…, i, …)."""
    if x.rank == 0:
        return c.viewed(_along(c, unsqueeze(c, x, 0), 0, index, value, combine), ())
    d, t = x.dim(dim), x.dtype
    index = _at_least_1d(c, index)
    places = c.plain(checked(c, index, x.shape[d], wraps=True)).value
    sizes = (*x.shape[:d], index.shape[0], *x.shape[d + 1 :])

    def step(b: Body, at: list[SSAValue], whole: SSAValue) -> SSAValue:
        place = b.to_index(b.extract(places, [at[d]]))
        target = [place if i == d else v for i, v in enumerate(at)]
        new = value(b, at)
        if combine is not None:
            new = combine(b, b.extract(whole, target), new)
        return b.op(tensor.InsertOp, new, whole, target)

    return plain(looped(c, sizes, c.plain(x).value, step), t, x.shape)


def _slices(c: Conversion, x: Tensor, dim: int, index: Tensor, source: Tensor) -> SSAValue:
    """The elements of `source`: as many slices of `x` as there are indices."""
    source = _at_least_1d(c, source)
    d = x.dim(dim) if x.rank else 0
    for i, size in enumerate(source.shape):
        wanted = _at_least_1d(c, index).shape[0] if i == d else x.shape[i]
        c.demand(size, "eq", wanted, f"dimension {i} of the source does not fit")
    return c.plain(cast(c, source, x.dtype)).value


@lowers("aten.index_add")
def index_add(c: Conversion, x: Tensor, dim: int, index: Tensor, source: Tensor, alpha: Number = 1) -> Tensor:
    t = x.dtype
    read = _slices(c, x, dim, index, source)

    def value(b: Body, at: list[SSAValue]) -> SSAValue:
        v = b.extract(read, at)
        return v if alpha == 1 else b.mul(v, b.const(alpha, t), t)

    return _along(c, x, dim, index, value, lambda b, p, q: b.add(p, q, t))


@lowers("aten.index_copy")
def index_copy(c: Conversion, x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    read = _slices(c, x, dim, index, source)
    return _along(c, x, dim, index, lambda b, at: b.extract(read, at), None)


@lowers("aten.index_fill.int_Scalar", "aten.index_fill.int_Tensor")
def index_fill(c: Conversion, x: Tensor, dim: int, index: Tensor, number: Number | Scalar | Tensor) -> Tensor:
    if isinstance(number, Tensor):
        read = c.plain(cast(c, number, x.dtype)).value
        return _along(c, x, dim, index, lambda b, at: b.extract(read, []), None)
    value = c.cast_scalar(number, x.dtype)
    return _along(c, x, dim, index, lambda b, at: value, None)


@lowers("aten.as_strided_scatter")
def as_strided_scatter(
    c: Conversion, x: Tensor, source: Tensor, sizes: Sequence[Int], strides: Sequence[Int], offset: Int | None = None
) -> Tensor:
    """Writes into the elements in row-major order: the storage of a functional program's tensor."""
    steps = [c.static_int(s, "a stride") for s in strides]
    first = 0 if offset is None else c.static_int(offset, "the storage offset")
    flat = c.plain(c.viewed(x, (c.dims.product(x.shape),)))
    need_strided(c, flat, c.sizes(sizes), steps, first)
    read = c.plain(cast(c, source, x.dtype)).value

    def step(b: Body, at: list[SSAValue], whole: SSAValue) -> SSAValue:
        return b.op(tensor.InsertOp, b.extract(read, at), whole, [strided_place(b, at, steps, first)])

    out = looped(c, c.sizes(sizes), flat.value, step)
    return c.viewed(plain(out, x.dtype, flat.shape), x.shape)


@lowers("aten.index_put", "aten._index_put_impl", "aten._unsafe_index_put", "aten.index_put.hacked_twin")
def index_put(
    c: Conversion, x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False, *_: object
) -> Tensor:
    masked = single_mask(indices)
    if masked is not None:
        return assigned_by_mask(c, x, *masked, values, accumulate)
    if any(i is not None and i.dtype.bits <= 8 for i in indices):
        raise c.refuse(
            "assignment by several masks, or by a mask beside other indices, has no lowering", hint="use torch.where"
        )
    used = [d for d, i in enumerate(indices) if i is not None]
    given = [i for i in indices if i is not None]
    together = broadcast_shape(c, [i.shape for i in given])
    adjacent = used == list(range(used[0], used[0] + len(used)))
    rest = [d for d in range(x.rank) if d not in used]
    before = [d for d in rest if d < used[0]] if adjacent else []
    after = [d for d in rest if d not in before]
    sizes = (*(x.shape[d] for d in before), *together, *(x.shape[d] for d in after))
    places = [
        c.plain(stretched(c, checked(c, i, x.shape[d], wraps=True), together)).value
        for d, i in zip(used, given, strict=True)
    ]
    read = c.plain(stretched(c, cast(c, values, x.dtype), sizes)).value
    first, count = len(before), len(together)

    def step(b: Body, at: list[SSAValue], whole: SSAValue) -> SSAValue:
        where = at[first : first + count]
        place: dict[int, SSAValue] = dict(zip(before, at, strict=False))
        place.update(zip(after, at[first + count :], strict=True))
        place.update({d: b.to_index(b.extract(p, where)) for d, p in zip(used, places, strict=True)})
        target = [place[d] for d in range(x.rank)]
        new = b.extract(read, at)
        if accumulate:
            new = b.add(b.extract(whole, target), new, x.dtype)
        return b.op(tensor.InsertOp, new, whole, target)

    return plain(looped(c, sizes, c.plain(x).value, step), x.dtype, x.shape)


@lowers("aten.put")
def put(c: Conversion, x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Elements counted in row-major order."""
    flat = [c.viewed(t, (c.dims.product(t.shape),)) for t in (x, index, source)]
    return c.viewed(index_put(c, flat[0], [flat[1]], flat[2], accumulate), x.shape)


@lowers("aten.index_reduce")
def index_reduce(
    c: Conversion, x: Tensor, dim: int, index: Tensor, source: Tensor, how: str, include_self: bool = True
) -> Tensor:
    """As scatter_reduce, one index for a whole slice."""
    d = x.dim(dim) if x.rank else 0
    source = _at_least_1d(c, source)
    wide = c.viewed(index, tuple(c.dims.product(index.shape) if i == d else 1 for i in range(source.rank)))
    return scatter_reduce(c, x, dim, stretched(c, wide, source.shape), source, how, include_self)
