"""What mixtures of experts are made of: a product whose right side depends on the row, and counts of equal numbers."""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dtypes import I64
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.emitter import axes_map
from mlc.lowering.torch.to_linalg.miscellaneous import count_before
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import reduce
from mlc.lowering.torch.to_linalg.tensor import Number, Tensor, plain
from mlc.lowering.torch.to_linalg.view import unsqueeze


@lowers("aten._grouped_mm")
def grouped_mm(
    c: Conversion, a: Tensor, b: Tensor, ends: Tensor | None = None, bias: Tensor | None = None, *_: object
) -> Tensor:
    """Rows of `a` up to ends[g] (from ends[g - 1]) times b[g]; rows behind the last group are 0."""
    if a.rank != 2 or b.rank != 3 or ends is None or bias is not None:
        raise c.refuse("only groups of rows times one matrix each, without bias, have a lowering")
    t = a.dtype.compute
    rows, inner, columns, groups = a.shape[0], a.shape[1], b.shape[2], c.dims.value(b.shape[0])
    place = indexed(c, (rows,), I64, lambda o, at: o.from_index(at[0], I64))
    group = c.plain(count_before(c, place, ends, right=True)).value
    left, right = c.plain(cast(c, a, t)).value, c.plain(b).value

    def fn(o: Body, x: SSAValue, number: SSAValue, acc: SSAValue) -> SSAValue:
        g = o.to_index(number)
        inside = o.index_compare("lt", g, groups)
        w = o.extract(right, [o.select(inside, g, o.index(0)), o.loop_index(1), o.loop_index(2)])
        term = o.mul(x, o.cast(w, b.dtype, t), t)
        return o.select(inside, o.add(acc, term, t), acc)

    (value,) = c.generic(
        [(left, axes_map(3, (0, 1))), (group, axes_map(3, (0,)))],
        [(c.fill((rows, columns), t, 0), axes_map(3, (0, 2)))],
        "prp",
        fn,
    )
    if inner == 0:
        return c.full((rows, columns), c.out, 0)
    return cast(c, plain(value, t, (rows, columns)), c.out)


@lowers("aten.histc")
def histc(c: Conversion, x: Tensor, bins: int = 100, low: Number = 0, high: Number = 0) -> Tensor:
    """How many elements fall into each of `bins` parts of low..high; those outside do not count."""
    if not low < high:
        raise c.refuse("a histogram between the extremes of the data has no lowering", hint="give min and max")
    t = x.dtype
    flat = c.viewed(x, (1, c.dims.product(x.shape)))
    numbers = unsqueeze(c, indexed(c, (bins,), I64, lambda o, at: o.from_index(at[0], I64)), 1)

    def fn(o: Body, v: SSAValue, number: SSAValue, acc: SSAValue) -> SSAValue:
        first, last = o.const(low, t), o.const(high, t)
        inside = o.logical_and(o.compare("ge", v, first, t), o.compare("le", v, last, t))
        place = o.divf(o.mul(o.sub(v, first, t), o.const(bins, t), t), o.const(float(high) - float(low), t))
        at = o.op(arith.FPToSIOp, o.select(inside, place, o.const(0.0, t)), I64.mlir)
        at = o.op(arith.MinSIOp, at, o.const(bins - 1, I64))
        hit = o.logical_and(inside, o.compare("eq", at, number, I64))
        return o.select(hit, o.add(acc, o.const(1.0, t), t), acc)

    (count,) = reduce(c, [flat, numbers], [1], t, 0, fn)
    return count
