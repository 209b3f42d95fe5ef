"""Boolean masks that select places to write or count.

A mask that is known only at run time never changes a shape here: one value for all places is a select, several values
are read by the number of places before each (a prefix sum), and `nonzero_static` states its size.
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
from mlc.lowering.torch.to_linalg.ordered_writes import looped
from mlc.lowering.torch.to_linalg.scans import scan
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import broadcast_shape, elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain
from mlc.lowering.torch.to_linalg.view import sliced, stretched


def is_mask(index: Tensor) -> bool:
    """Whether an index tensor is a mask: bool, or unsigned bytes in their old role."""
    return index.dtype.bits <= 8 and index.dtype.kind in "bu"


def _places_up_to(c: Conversion, mask: Tensor) -> Tensor:
    """How many places the mask selects up to and with each, in row-major order; in the shape of the mask."""
    flat = c.viewed(c.plain(cast(c, cast(c, mask, BOOL), I64)), (c.dims.product(mask.shape),))
    return c.viewed(scan(c, flat, 0, I64, "add"), mask.shape)


@lowers("aten.masked_scatter")
def masked_scatter(c: Conversion, x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    shape = broadcast_shape(c, [x.shape, mask.shape])
    mask = c.plain(stretched(c, cast(c, mask, BOOL), shape))
    return _written(c, stretched(c, x, shape), mask, source, ())


def _written(c: Conversion, x: Tensor, mask: Tensor, source: Tensor, rows: Sequence[Dim]) -> Tensor:
    """`x` (of shape `mask.shape + rows`) where selected place number k is row k of `source`."""
    length = c.dims.product(source.shape) if not rows else source.shape[0]
    read = c.plain(c.viewed(cast(c, source, x.dtype), (length, *rows))).value
    limit, last = c.dims.value(length), c.dims.value(c.dims.maximum(c.dims.sub(length, 1), 0))
    message = c.message("more places are selected than there are values")
    count = _places_up_to(c, mask)
    if length == 0:
        nothing = elementwise(
            c, [mask, x], x.dtype, lambda b, m, v: _unset(b, m, v, message), own=(0,), compute=x.dtype
        )
        return c.plain(nothing)
    wide = (*mask.shape, *(1,) * len(rows))
    n = mask.rank

    def fn(b: Body, at: list[SSAValue], chosen: SSAValue, number: SSAValue, old: SSAValue) -> SSAValue:
        place = b.op(arith.SubiOp, b.to_index(number), b.index(1))
        b.check(b.logical_or(b.logical_not(chosen), b.index_compare("lt", place, limit)), message)
        inside = b.op(arith.MinSIOp, b.op(arith.MaxSIOp, place, b.index(0)), last)
        return b.select(chosen, b.extract(read, [inside, *at[n:]]), old)

    return indexed(c, x.shape, x.dtype, fn, [c.viewed(mask, wide), c.viewed(count, wide), x])


def _unset(b: Body, chosen: SSAValue, old: SSAValue, message: str) -> SSAValue:
    b.check(b.logical_not(chosen), message)
    return old


def masked_put(c: Conversion, x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool) -> Tensor:
    """`x[…, mask, …] = values`, or `+=`; the values have a dimension for the selected places, or are the same in all."""
    given = [i for i in indices if i is not None]
    if len(given) != 1:
        raise c.refuse("a mask beside other indices has no lowering", hint="use torch.where, or index in two steps")
    mask = cast(c, given[0], BOOL)
    before = next(i for i, index in enumerate(indices) if index is not None)
    after = x.rank - before - mask.rank
    wide = c.viewed(mask, (*mask.shape, *(1,) * after))
    if values.rank <= after or values.shape[values.rank - after - 1] == 1:
        lead, row = values.shape[: max(values.rank - after - 1, 0)], values.shape[max(values.rank - after, 0) :]
        same = c.viewed(values, (*lead, *(1,) * mask.rank, *row) if values.rank > after else row)

        def fn(b: Body, m: SSAValue, v: SSAValue, old: SSAValue) -> SSAValue:
            return b.select(m, b.add(old, v, x.dtype) if accumulate else v, old)

        return stretched(c, elementwise(c, [wide, same, x], x.dtype, fn, compute=x.dtype, own=(0,)), x.shape)
    if before or accumulate:
        raise c.refuse(
            "a mask behind other dimensions, or one to add at, with a value for each place has no lowering",
            hint="use torch.where, or move the dimension to the front",
        )
    rows = x.shape[mask.rank :]
    length = values.shape[values.rank - after - 1]
    return _written(c, x, c.plain(mask), stretched(c, values, (length, *rows)), rows)


@lowers("aten.nonzero_static")
def nonzero_static(c: Conversion, x: Tensor, size: int, fill: int = -1) -> Tensor:
    """Positions of what is not zero, in order, in exactly `size` rows; a row behind them takes what is too many."""
    if x.rank == 0:
        raise c.refuse("the places of a single number have no lowering")
    chosen = c.plain(cast(c, x, BOOL))
    count = c.plain(_places_up_to(c, chosen)).value
    rows = (c.dims.add(c.size(size), 1), x.rank)
    rest = c.dims.value(c.size(size))

    def step(b: Body, at: list[SSAValue], whole: SSAValue) -> SSAValue:
        place = b.op(arith.MinSIOp, b.op(arith.SubiOp, b.to_index(b.extract(count, at)), b.index(1)), rest)
        row = b.select(b.extract(chosen.value, at), place, rest)
        for d, position in enumerate(at):
            whole = b.op(tensor.InsertOp, b.from_index(position, I64), whole, [row, b.index(d)])
        return whole

    out = plain(looped(c, x.shape, c.fill(rows, I64, fill), step), I64, rows)
    return sliced(c, out, 0, 0, c.size(size))
