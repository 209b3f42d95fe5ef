"""Sums, means or maxima of the embeddings of each bag: a loop over bags, and over the indices between two offsets."""

from __future__ import annotations

import math as pymath
from collections.abc import Callable

from xdsl.dialects import arith, scf, tensor
from xdsl.ir import Block, SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import I64, DType
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.indexing import checked
from mlc.lowering.torch.to_linalg.loop_nest import looped
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain
from mlc.lowering.torch.to_linalg.view import unsqueeze

_SUM, _MEAN, _MAX = 0, 1, 2


@lowers(
    "aten.embedding_bag",
    "aten.embedding_bag.padding_idx",
    "aten._embedding_bag",
    "aten._embedding_bag_forward_only",
)
def embedding_bag(
    c: Conversion,
    weight: Tensor,
    index: Tensor,
    offsets: Tensor,
    _by_frequency: bool = False,
    mode: int = _SUM,
    _sparse: bool = False,
    factors: Tensor | None = None,
    ends_with_total: bool = False,
    padding: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The bags; the bookkeeping that ATen returns beside them is for its backward pass alone."""
    assert c.operation is not None
    if any(r.first_use for r in c.operation.results[1:]):
        raise c.refuse("only the first result has a lowering", hint="use torch.nn.functional.embedding_bag")
    t = weight.dtype.compute
    padding = None if padding is None or padding < 0 else padding
    rows = c.plain(checked(c, index, weight.shape[0], wraps=False)).value
    starts = checked(c, cast(c, offsets, I64), c.dims.add(index.shape[0], 1), wraps=False)
    bags: Dim = c.dims.sub(offsets.shape[0], 1) if ends_with_total else offsets.shape[0]
    bounds = c.plain(starts).value
    known = offsets.shape[0]
    table = c.plain(cast(c, weight, t)).value
    scale = None if factors is None else c.plain(cast(c, factors, t)).value
    width = weight.shape[1]

    def over_bags(shape: tuple[Dim, ...], start: float, step: Callable[..., SSAValue]) -> SSAValue:
        """A tensor of `shape` that `step(body, [bag, …], row, i, whole)` fills for each index `i` that counts."""
        out = c.fill(shape, t, start)
        block = Block(arg_types=[c.index(0).type, out.type])
        with c.inside(block):
            bag, whole = block.args
            first, end = _bounds(c, bounds, bag, known, index.shape[0])
            inner = Block(arg_types=[bag.type, whole.type])
            with c.inside(inner):
                i, carried = inner.args
                row = Body(c.block, c.location).to_index(c.op(tensor.ExtractOp, rows, [i], I64.mlir))
                c.emit(scf.YieldOp(_columns(c, shape, carried, bag, lambda b, at, v: step(b, at, row, i, v))))
            c.emit(scf.YieldOp(c.emit(scf.ForOp(first, end, c.index(1), [whole], inner)).results[0]))
        return c.emit(scf.ForOp(c.index(0), c.dims.value(bags), c.index(1), [out], block)).results[0]

    def counts_row(b: Body, row: SSAValue) -> SSAValue | None:
        return None if padding is None else b.emit(arith.CmpiOp(row, b.index(padding), "ne")).results[0]

    def gather(b: Body, at: list[SSAValue], row: SSAValue, i: SSAValue, whole: SSAValue) -> SSAValue:
        new = b.extract(table, [row, at[1]])
        if scale is not None:
            new = b.mul(new, b.extract(scale, [i]), t)
        old = b.extract(whole, at)
        joined = b.maximum(old, new, t) if mode == _MAX else b.add(old, new, t)
        real = counts_row(b, row)
        return joined if real is None else b.select(real, joined, old)

    def count(b: Body, at: list[SSAValue], row: SSAValue, _i: SSAValue, whole: SSAValue) -> SSAValue:
        old = b.extract(whole, at)
        more = b.add(old, b.const(1.0, t), t)
        real = counts_row(b, row)
        return more if real is None else b.select(real, more, old)

    shape = (bags, width)
    out = plain(over_bags(shape, -pymath.inf if mode == _MAX else 0.0, gather), t, shape)
    if mode != _SUM:
        counted = unsqueeze(c, plain(over_bags((bags,), 0.0, count), t, (bags,)), 1)
        out = elementwise(c, [out, counted], t, lambda b, v, n: _finished(b, v, n, t, mode), compute=t)
    empty = c.full((0,), I64, 0)
    return cast(c, out, weight.dtype), empty, empty, empty


def _bounds(c: Conversion, offsets: SSAValue, bag: SSAValue, known: Dim, total: Dim) -> tuple[SSAValue, SSAValue]:
    """Where the indices of a bag start and end: at the next offset, the last one at the total."""
    body = Body(c.block, c.location)
    last = body.op(arith.SubiOp, c.dims.value(known), c.index(1))
    after = body.op(arith.AddiOp, bag, c.index(1))
    start = body.to_index(body.extract(offsets, [bag]))
    following = body.to_index(body.extract(offsets, [body.op(arith.MinUIOp, after, last)]))
    is_last = body.emit(arith.CmpiOp(after, last, "ugt")).results[0]
    return start, body.select(is_last, c.dims.value(total), following)


def _columns(
    c: Conversion, shape: tuple[Dim, ...], whole: SSAValue, bag: SSAValue, value: Callable[..., SSAValue]
) -> SSAValue:
    """`whole` with the elements of one bag replaced by `value(body, place, whole)`."""

    def step(b: Body, at: list[SSAValue], carried: SSAValue) -> SSAValue:
        place = [bag, *at]
        return b.op(tensor.InsertOp, value(b, place, carried), carried, place)

    return looped(c, shape[1:], whole, step)


def _finished(b: Body, v: SSAValue, count: SSAValue, t: DType, mode: int) -> SSAValue:
    """An empty bag is zero."""
    none = b.compare("eq", count, b.const(0.0, t), t)
    return b.select(none, b.const(0.0, t), b.divf(v, count) if mode == _MEAN else v)
