"""Writes where a mask says so, in order: the n-th true element takes the n-th element of the source.

x[mask] = rows, x.masked_scatter(mask, source)
-->  how many true elements stand before each position (a loop), then an elementwise choice that reads the source
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith, tensor
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import BOOL, I64
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.loop_nest import looped
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import broadcast_shape, elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain
from mlc.lowering.torch.to_linalg.view import sliced, stretched


@lowers("aten.masked_scatter")
def masked_scatter(c: Conversion, x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    shape = broadcast_shape(c, [x.shape, mask.shape])
    x, mask = stretched(c, x, shape), stretched(c, mask, shape)
    size = c.dims.product(shape)
    before = true_before(c, c.viewed(mask, (size,)), size)
    return _taken(c, x, mask, before, source)


def true_before(c: Conversion, mask: Tensor, size: Dim) -> SSAValue:
    """A tensor of one more element than the flat `mask`: how many true elements stand before each position."""
    flags = c.plain(mask).value

    def step(b: Body, at: list[SSAValue], whole: SSAValue) -> SSAValue:
        count = b.add(b.extract(whole, at), b.op(arith.ExtUIOp, b.extract(flags, at), I64.mlir), I64)
        return b.op(tensor.InsertOp, count, whole, [b.op(arith.AddiOp, at[0], b.index(1))])

    return looped(c, (size,), c.fill((c.dims.add(size, 1),), I64, 0), step)


def _taken(c: Conversion, x: Tensor, mask: Tensor, before: SSAValue, source: Tensor) -> Tensor:
    """Elements of `x`, or where `mask` is true those of `source` in order."""
    size, available = c.dims.product(x.shape), c.dims.product(source.shape)
    if available == 0:  # nothing to read: only a mask that is nowhere true is right
        available, source = 1, c.full((1,), x.dtype, 0)
        _check_count(c, before, size, 0)
    read = c.plain(c.viewed(cast(c, source, x.dtype), (available,))).value
    limit = c.dims.value(available)
    message = c.message("the source has fewer elements than the mask lets through")

    def place(b: Body, at: list[SSAValue], flag: SSAValue) -> SSAValue:
        count = b.select(flag, b.to_index(b.extract(before, at)), b.index(0))
        b.check(b.emit(arith.CmpiOp(count, limit, "ult")).results[0], message)
        return b.from_index(count, I64)

    places = indexed(c, (size,), I64, place, [c.viewed(mask, (size,))])
    return elementwise(
        c,
        [mask, x, c.viewed(places, x.shape)],
        x.dtype,
        lambda b, flag, old, at: b.select(flag, b.extract(read, [b.to_index(at)]), old),
        compute=x.dtype,
        own=(0, 2),
    )


def _check_count(c: Conversion, before: SSAValue, size: Dim, wanted: Dim) -> None:
    """Fail unless the mask is true `wanted` times."""
    count = c.op(tensor.ExtractOp, before, [c.dims.value(size)], I64.mlir)
    same = c.op(arith.CmpiOp, c.op(arith.IndexCastOp, count, c.index(0).type), c.dims.value(wanted), "eq")
    c.check(same, c.message("the mask must be true as often as there are values"))


def assigned_by_mask(
    c: Conversion, x: Tensor, mask: Tensor, lead: int, values: Tensor, accumulate: bool = False
) -> Tensor:
    """`x[:, ..., mask] = values`, or `+=`, with `lead` whole dims in front of those of the mask."""
    behind = x.rank - lead - mask.rank
    wide = c.viewed(mask, (*mask.shape, *(1,) * behind))
    if values.rank <= behind or values.shape[values.rank - behind - 1] == 1:  # the same at every place
        front, row = values.shape[: max(values.rank - behind - 1, 0)], values.shape[max(values.rank - behind, 0) :]
        same = c.viewed(cast(c, values, x.dtype), (*front, *(1,) * mask.rank, *row) if values.rank > behind else row)

        def fn(b: Body, m: SSAValue, v: SSAValue, old: SSAValue) -> SSAValue:
            return b.select(m, b.add(old, v, x.dtype) if accumulate else v, old)

        return elementwise(c, [wide, same, x], x.dtype, fn, compute=x.dtype, own=(0,))
    if lead or accumulate:
        raise c.refuse(
            "a mask behind a slice, or one to add at, with a value for each place needs sizes known only at run time",
            hint="use torch.where",
        )
    size = c.dims.product(mask.shape)
    before = true_before(c, c.viewed(mask, (size,)), size)
    rows, rest = values.shape[0], x.shape[mask.rank :]
    _check_count(c, before, size, rows)
    return _rows_taken(c, x, mask, before, stretched(c, values, (rows, *rest)))


def _rows_taken(c: Conversion, x: Tensor, mask: Tensor, before: SSAValue, rows: Tensor) -> Tensor:
    """As `_taken`, a row of trailing dims for each element of the mask."""
    if rows.shape[0] == 0:
        return x
    size = c.dims.product(mask.shape)
    flat = c.viewed(x, (size, *x.shape[mask.rank :]))
    flags = c.viewed(mask, (size, *(1,) * (x.rank - mask.rank)))
    read, last = c.plain(cast(c, rows, x.dtype)).value, c.op(arith.SubiOp, c.dims.value(rows.shape[0]), c.index(1))

    def fn(b: Body, at: list[SSAValue], old: SSAValue, flag: SSAValue) -> SSAValue:
        row = b.op(arith.MinUIOp, b.to_index(b.extract(before, at[:1])), last)
        return b.select(flag, b.extract(read, [row, *at[1:]]), old)

    return c.viewed(indexed(c, flat.shape, x.dtype, fn, [flat, flags]), x.shape)


def single_mask(indices: Sequence[Tensor | None]) -> tuple[Tensor, int] | None:
    """The mask of `x[:, mask]` and how many whole dims stand before it; None for other indices."""
    given = [i for i in indices if i is not None]
    if len(given) != 1 or given[0].dtype != BOOL or indices[-1] is None:
        return None
    return given[0], len(indices) - 1


@lowers("aten.nonzero_static")
def nonzero_static(c: Conversion, x: Tensor, size: int, fill: int = -1) -> Tensor:
    """Positions of what is not zero, in order, in exactly `size` rows; a row behind them takes what is too many."""
    if x.rank == 0:
        raise c.refuse("the places of a single number have no lowering")
    length = c.dims.product(x.shape)
    chosen = c.plain(cast(c, x, BOOL))
    before = true_before(c, c.viewed(chosen, (length,)), length)
    counts = sliced(c, plain(before, I64, (c.dims.add(length, 1),)), 0, 0, length)
    rank_of = c.plain(c.viewed(counts, x.shape)).value
    rows, rest = (c.dims.add(c.size(size), 1), x.rank), c.dims.value(c.size(size))

    def step(b: Body, at: list[SSAValue], whole: SSAValue) -> SSAValue:
        place = b.op(arith.MinSIOp, b.to_index(b.extract(rank_of, at)), rest)
        row = b.select(b.extract(chosen.value, at), place, rest)
        for d, position in enumerate(at):
            whole = b.op(tensor.InsertOp, b.from_index(position, I64), whole, [row, b.index(d)])
        return whole

    out = plain(looped(c, x.shape, c.fill(rows, I64, fill), step), I64, rows)
    return sliced(c, out, 0, 0, c.size(size))
