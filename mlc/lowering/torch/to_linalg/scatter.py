"""Writes into parts of a tensor: slices by `tensor.insert_slice`, single elements in a loop, in ATen's order."""

from __future__ import annotations

import math as pymath
from collections.abc import Callable, Sequence

from xdsl.dialects import arith, tensor
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import strided_place
from mlc.lowering.torch.to_linalg.dims import Dim, mlir_shape
from mlc.lowering.torch.to_linalg.dtypes import DType
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.indexing import checked
from mlc.lowering.torch.to_linalg.ordered_writes import looped
from mlc.lowering.torch.to_linalg.masks import is_mask, masked_put
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
    piece = stretched(c, cast(c, source, x.dtype), shape)
    return inserted(
        c, x, piece, [first if i == d else 0 for i in range(x.rank)], [step if i == d else 1 for i in range(x.rank)]
    )


@lowers("aten.select_scatter")
def select_scatter(c: Conversion, x: Tensor, source: Tensor, dim: int, index: Int) -> Tensor:
    d = x.dim(dim)
    at = index_in(c, x.shape[d], index)
    piece = unsqueeze(c, cast(c, source, x.dtype), d)
    return inserted(c, x, piece, [at if i == d else 0 for i in range(x.rank)], [1] * x.rank)


@lowers("aten.diagonal_scatter")
def diagonal_scatter(c: Conversion, x: Tensor, source: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    a, b = x.dim(dim1), x.dim(dim2)
    rest = [d for d in range(x.rank) if d not in (a, b)]
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


def combiner(name: str | None, t: DType) -> Combine | None:
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


def neutral(name: str, t: DType) -> Number:
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
        wide = _scatter(c, unsqueeze(c, x, 0), 0, at_least_1d(c, index), _source_1d(c, source), name)
        return c.viewed(wide, ())
    d, t = x.dim(dim), x.dtype
    index, source = at_least_1d(c, index), _source_1d(c, source)
    places = c.plain(checked(c, index, x.shape[d], wraps=False)).value
    read = c.plain(cast(c, source, t)).value if isinstance(source, Tensor) else None
    combine = combiner(name, t)

    def step(b: Body, at: list[SSAValue], whole: SSAValue) -> SSAValue:
        place = b.to_index(b.extract(places, at))
        target = [place if i == d else v for i, v in enumerate(at)]
        new = b.extract(read, at) if read is not None else b.const(source, t)  # pyright: ignore[reportArgumentType]
        if combine is not None:
            new = combine(b, b.extract(whole, target), new)
        return b.op(tensor.InsertOp, new, whole, target)

    return plain(looped(c, index.shape, c.plain(x).value, step), t, x.shape)


def at_least_1d(c: Conversion, t: Tensor) -> Tensor:
    return t if t.rank else unsqueeze(c, t, 0)


def _source_1d(c: Conversion, source: Tensor | Number) -> Tensor | Number:
    return at_least_1d(c, source) if isinstance(source, Tensor) else source


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
    start = x if include_self else _scatter(c, x, dim, index, neutral(how, x.dtype), None)
    total = _scatter(c, start, dim, index, source, how)
    if how != "mean":
        return total
    ones = c.full(x.shape, x.dtype, 1)
    counted = ones if include_self else _scatter(c, ones, dim, index, 0, None)
    counted = _scatter(c, counted, dim, index, c.full(source.shape, x.dtype, 1), "sum")
    return divided(c, total, counted)


def divided(c: Conversion, total: Tensor, count: Tensor) -> Tensor:
    t = total.dtype
    if t.is_float:
        return elementwise(c, [total, count], t, lambda b, v, n: b.divf(v, n))

    def floored(b: Body, v: SSAValue, n: SSAValue) -> SSAValue:
        quotient = b.truncated_div(v, n, t)
        rest = b.sub(v, b.mul(quotient, n, t), t)
        return b.select(b.compare("lt", rest, b.const(0, t), t), b.sub(quotient, b.const(1, t), t), quotient)

    return elementwise(c, [total, count], t, floored)


@lowers("aten.index_put", "aten._index_put_impl", "aten._unsafe_index_put", "aten.index_put.hacked_twin")
def index_put(
    c: Conversion, x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False, *_: object
) -> Tensor:
    if any(i is not None and is_mask(i) for i in indices):
        return masked_put(c, x, indices, cast(c, values, x.dtype), accumulate)
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
    flat = c.viewed(x, (c.dims.product(x.shape),))
    return c.viewed(index_put(c, flat, [index], c.viewed(source, index.shape), accumulate), x.shape)


@lowers("aten.as_strided_scatter")
def as_strided_scatter(
    c: Conversion, x: Tensor, source: Tensor, sizes: Sequence[Int], strides: Sequence[Int], offset: Int | None = None
) -> Tensor:
    """Writes into the elements in row-major order: the storage of a functional program's tensor."""
    steps = [c.static_int(s, "a stride") for s in strides]
    first = 0 if offset is None else c.static_int(offset, "the storage offset")
    flat = c.plain(c.viewed(x, (c.dims.product(x.shape),)))
    read = c.plain(cast(c, source, x.dtype)).value

    def step(b: Body, at: list[SSAValue], whole: SSAValue) -> SSAValue:
        return b.op(tensor.InsertOp, b.extract(read, at), whole, [strided_place(b, at, steps, first)])

    out = looped(c, c.sizes(sizes), flat.value, step)
    return c.viewed(plain(out, x.dtype, flat.shape), x.shape)
