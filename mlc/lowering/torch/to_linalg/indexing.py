"""Gathers: indices are checked and wrapped by an elementwise op of their own, the gather reads what it yields."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import I64
from mlc.lowering.torch.to_linalg.emitter import axes_map
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import broadcast_shape, elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain
from mlc.lowering.torch.to_linalg.view import stretched, unsqueeze


def checked(c: Conversion, index: Tensor, size: Dim, *, wraps: bool) -> Tensor:
    """Indices in range, as i64; negative ones count from the end where `wraps`, and fail otherwise."""
    limit = c.dims.value(size)
    message = c.message("index out of range")

    def fn(b: Body, v: SSAValue) -> SSAValue:
        at = b.to_index(v)
        if wraps:
            negative = b.index_compare("lt", at, b.index(0))
            at = b.select(negative, b.op(arith.AddiOp, at, limit), at)
        b.check(b.emit(arith.CmpiOp(at, limit, "ult")).results[0], message)
        return b.from_index(at, I64)

    return elementwise(c, [index], I64, fn)


@lowers("aten.embedding")
def embedding(c: Conversion, weight: Tensor, index: Tensor, *_: object) -> Tensor:
    return take(c, weight, index, 0, wraps=False)


def take(c: Conversion, source: Tensor, index: Tensor, d: int, *, wraps: bool) -> Tensor:
    """Dimension `d` of `source` replaced by the dims of `index`, whose elements are positions in it."""
    safe = checked(c, index, source.shape[d], wraps=wraps)
    flat_shape = (c.dims.product(index.shape),)
    flat = c.realize(safe, (tuple(range(safe.rank)),)) if safe.rank else c.reshape(safe.value, (), (1,), I64)
    whole = c.plain(source).value
    shape = (*source.shape[:d], *flat_shape, *source.shape[d + 1 :])
    n = len(shape)

    def fn(b: Body, at: SSAValue, _: SSAValue) -> SSAValue:
        place = [b.loop_index(i) for i in range(n) if i != d]
        place.insert(d, b.to_index(at))
        return b.extract(whole, place)

    (value,) = c.generic(
        [(flat, axes_map(n, (d,)))],
        [(c.empty(shape, source.dtype), axes_map(n, tuple(range(n))))],
        "p" * n,
        fn,
    )
    out = plain(value, source.dtype, shape)
    return c.viewed(out, (*source.shape[:d], *index.shape, *source.shape[d + 1 :]))


@lowers("aten.take")
def take_flat(c: Conversion, x: Tensor, index: Tensor) -> Tensor:
    return take(c, c.viewed(x, (c.dims.product(x.shape),)), index, 0, wraps=True)


@lowers("aten.index_select")
def index_select(c: Conversion, x: Tensor, dim: int, index: Tensor) -> Tensor:
    if x.rank == 0:
        return c.viewed(take(c, unsqueeze(c, x, 0), index, 0, wraps=False), ())
    if index.rank == 0:
        index = unsqueeze(c, index, 0)
    return take(c, x, index, x.dim(dim), wraps=False)


@lowers("aten.gather")
def gather(c: Conversion, x: Tensor, dim: int, index: Tensor, *_: object) -> Tensor:
    if x.rank == 0:
        return c.viewed(x, index.shape)
    d = x.dim(dim)
    index = index if index.rank else unsqueeze(c, index, 0)
    for i in range(x.rank) if 0 not in index.shape else ():
        if i != d:
            c.demand(x.shape[i], "ge", index.shape[i], f"the index is larger than the tensor in dimension {i}")
    safe = checked(c, index, x.shape[d], wraps=False)
    whole = c.plain(x).value

    def fn(b: Body, at: list[SSAValue], v: SSAValue) -> SSAValue:
        return b.extract(whole, [b.to_index(v) if i == d else p for i, p in enumerate(at)])

    return indexed(c, index.shape, x.dtype, fn, [safe])


@lowers("aten.take_along_dim")
def take_along_dim(c: Conversion, x: Tensor, index: Tensor, dim: int | None = None) -> Tensor:
    if dim is None:
        flat = c.viewed(x, (c.dims.product(x.shape),))
        return gather(c, flat, 0, c.viewed(index, (c.dims.product(index.shape),)))
    d = x.dim(dim)
    shape = broadcast_shape(c, [[1 if i == d else s for i, s in enumerate(t.shape)] for t in (x, index)])
    wide = stretched(c, x, [x.shape[d] if i == d else s for i, s in enumerate(shape)])
    return gather(c, wide, d, stretched(c, index, [index.shape[d] if i == d else s for i, s in enumerate(shape)]))


@lowers("aten.index.Tensor", "aten.index.Tensor_hacked_twin", "aten._unsafe_index.Tensor")
def index_tensor(c: Conversion, x: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """NumPy's advanced indexing: index tensors broadcast together; their dims stand where the first index stood,
    or in front when indices are apart."""
    if any(i is not None and i.dtype.bits <= 8 and i.dtype.kind in "bu" for i in indices):
        raise c.refuse(
            "indexing by a mask gives a size known only at run time", hint="use torch.where, or mask by multiplication"
        )
    used = [d for d, i in enumerate(indices) if i is not None]
    given = [i for i in indices if i is not None]
    if len(used) == 1:
        return take(c, x, given[0], used[0], wraps=True)
    together = broadcast_shape(c, [i.shape for i in given])
    adjacent = used == list(range(used[0], used[0] + len(used)))
    rest = [d for d in range(x.rank) if d not in used]
    before = [d for d in rest if d < used[0]] if adjacent else []
    after = [d for d in rest if d not in before]
    shape = (*(x.shape[d] for d in before), *together, *(x.shape[d] for d in after))
    safe = [checked(c, i, x.shape[d], wraps=True) for d, i in zip(used, given, strict=True)]
    whole = c.plain(x).value
    first, count = len(before), len(together)
    placed = [_placed(i, count, len(after)) for i in safe]

    def fn(b: Body, at: list[SSAValue], *values: SSAValue) -> SSAValue:
        place: dict[int, SSAValue] = dict(zip(before, at, strict=False))
        place.update(zip(after, at[first + count :], strict=True))
        place.update({d: b.to_index(v) for d, v in zip(used, values, strict=True)})
        return b.extract(whole, [place[d] for d in range(x.rank)])

    return indexed(c, shape, x.dtype, fn, placed)


def _placed(index: Tensor, rank: int, behind: int) -> Tensor:
    """`index` with its dims aligned to the index part of the result, `behind` dims before the end."""
    pad = rank - index.rank
    shape = (*(1,) * pad, *index.shape, *(1,) * behind)
    axes = (*(None,) * pad, *index.axes, *(None,) * behind)
    return index.with_view(shape, axes)
