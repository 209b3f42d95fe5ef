"""Bags of embedding rows: each bag's rows are summed, averaged or compared while they are looked up."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects import arith, scf, tensor
from xdsl.ir import Block, SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import I64, DType
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.indexing import checked
from mlc.lowering.torch.to_linalg.ordered_writes import looped
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain

_SUM, _MEAN, _MAX = range(3)

Entry = Callable[[Body, SSAValue], tuple[SSAValue, SSAValue | None]]
"""The value at a place of the indices, and whether it counts (None: always)."""


@lowers(
    "aten.embedding_bag",
    "aten.embedding_bag.padding_idx",
    "aten._embedding_bag",
    "aten._embedding_bag_forward_only",
)
def embedding_bag(
    c: Conversion,
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding: int | None = -1,
) -> Tensor | tuple[Tensor, ...]:
    """Bag i holds the indices from offsets[i] up to the next offset; `padding` does not count, an empty bag is 0."""
    assert c.operation is not None
    if any(r.first_use for r in c.operation.results[1:]):
        raise c.refuse("only the first result, the bags, has a lowering")
    t, rows, total = weight.dtype.compute, weight.shape[0], indices.shape[0]
    bags = c.dims.sub(offsets.shape[0], 1) if include_last_offset else offsets.shape[0]
    places = c.plain(checked(c, indices, rows, wraps=False)).value
    starts = c.plain(checked(c, offsets, c.dims.add(total, 1), wraps=False)).value
    table = c.plain(weight).value
    scales = None if per_sample_weights is None else c.plain(cast(c, per_sample_weights, t)).value
    skipped = _skipped(c, padding, rows)

    def entry(b: Body, i: SSAValue, column: SSAValue) -> tuple[SSAValue, SSAValue | None]:
        place = b.to_index(b.extract(places, [i]))
        value = b.cast(b.extract(table, [place, column]), weight.dtype, t)
        if scales is not None:
            value = b.mul(value, b.extract(scales, [i]), t)
        return value, None if skipped is None else b.index_compare("ne", place, skipped)

    def step(b: Body, at: list[SSAValue], whole: SSAValue) -> SSAValue:
        bag, column = at
        first, end = _bounds(c, b, starts, bag, bags, total, include_last_offset)
        value, count = _over_bag(c, first, end, mode, t, lambda inner, i: entry(inner, i, column))
        if mode == _MEAN:
            value = b.divf(value, b.from_index(b.op(arith.MaxSIOp, count, b.index(1)), t))
        elif mode == _MAX:
            value = b.select(b.index_compare("gt", count, b.index(0)), value, b.const(0, t))
        return b.op(tensor.InsertOp, b.cast(value, t, weight.dtype), whole, [bag, column])

    shape = (bags, weight.shape[1])
    out = plain(looped(c, shape, c.empty(shape, weight.dtype), step), weight.dtype, shape)
    return out if len(c.operation.results) == 1 else (out, *(c.full((0,), I64, 0) for _ in range(3)))


def _skipped(c: Conversion, padding: int | None, rows: Dim) -> SSAValue | None:
    """The padding index from the front; -1 of the inner ops means none."""
    assert c.operation is not None
    wraps = c.operation.name.endswith("padding_idx")
    if padding is None or (padding < 0 and not wraps):
        return None
    return c.dims.value(padding if padding >= 0 else c.dims.add(rows, padding))


def _bounds(
    c: Conversion, b: Body, starts: SSAValue, bag: SSAValue, bags: Dim, total: Dim, include_last: bool
) -> tuple[SSAValue, SSAValue]:
    """First index of a bag and the one behind its last."""
    first = b.to_index(b.extract(starts, [bag]))
    following = b.op(arith.AddiOp, bag, b.index(1))
    if include_last:
        return first, b.to_index(b.extract(starts, [following]))
    last = b.op(arith.SubiOp, c.dims.value(bags), b.index(1))
    given = b.to_index(b.extract(starts, [b.op(arith.MinSIOp, following, last)]))
    return first, b.select(b.index_compare("eq", bag, last), c.dims.value(total), given)


def _over_bag(
    c: Conversion, first: SSAValue, end: SSAValue, mode: int, t: DType, entry: Entry
) -> tuple[SSAValue, SSAValue]:
    """Sum or maximum of the entries of a bag, and how many count."""
    outer = Body(c.block, c.location)
    start = outer.min_value(t) if mode == _MAX else outer.const(0, t)
    block = Block(arg_types=[first.type, start.type, first.type])
    i, acc, count = block.args
    with c.inside(block):
        b = Body(c.block, c.location)
        value, counts = entry(b, i)
        new = b.maximum(acc, value, t) if mode == _MAX else b.add(acc, value, t)
        more = b.op(arith.AddiOp, count, b.index(1))
        if counts is not None:
            new, more = b.select(counts, new, acc), b.select(counts, more, count)
        c.emit(scf.YieldOp(new, more))
    value, count = c.emit(scf.ForOp(first, end, c.index(1), [start, c.index(0)], block)).results
    return value, count
