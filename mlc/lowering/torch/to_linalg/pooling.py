"""Pooling: the named 2-D ops for max and sum, reductions for global pools, position-dependent windows as generics."""

from __future__ import annotations

import math as pymath
from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineDimExpr

from mlc.dialects.linalg.structured_ops import PoolingNchwMaxOp, PoolingNchwSumOp, pair
from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dims import Dim, static
from mlc.lowering.torch.to_linalg.direct_convolution import padded, spread, window_count
from mlc.lowering.torch.to_linalg.dtypes import I64, DType
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.emitter import axes_map, expr_map
from mlc.lowering.torch.to_linalg.reduction import extreme, mean_over
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import elementwise
from mlc.lowering.torch.to_linalg.tensor import Number, Tensor, plain
from mlc.lowering.torch.to_linalg.view import drop_dims, unsqueeze

Ints = Sequence[int] | int


class Windows:
    """Geometry of a pooling over the last `n` dims of `x`."""

    def __init__(
        self,
        c: Conversion,
        x: Tensor,
        n: int,
        kernel: Ints,
        stride: Ints,
        padding: Ints,
        dilation: Ints,
        ceil_mode: bool,
    ) -> None:
        self.kernel = spread(kernel, n)
        self.stride = spread(stride, n) if stride != [] and stride is not None else list(self.kernel)
        self.padding = spread(padding, n)
        self.dilation = spread(dilation, n)
        self.sizes = x.shape[x.rank - n :]
        self.counts: list[Dim] = []
        self.high: list[Dim] = []
        for i in range(n):
            size, k, s, p, d = self.sizes[i], self.kernel[i], self.stride[i], self.padding[i], self.dilation[i]
            if ceil_mode:
                if not isinstance(size, int):
                    raise c.refuse("ceil_mode with a dynamic spatial size has no lowering")
                count = -(-(size + 2 * p - d * (k - 1) - 1) // s) + 1
                count -= (count - 1) * s >= size + p  # the last window must start inside
                self.counts.append(count)
                self.high.append(max(p, (count - 1) * s + d * (k - 1) + 1 - size - p))
            else:
                self.counts.append(window_count(c, c.dims.add(size, 2 * p), k, s, d))
                self.high.append(p)

    def border(self, x: Tensor) -> tuple[list[Dim], list[Dim]]:
        lead: list[Dim] = [0] * (x.rank - len(self.kernel))
        return [*lead, *self.padding], [*lead, *self.high]


def _batched(c: Conversion, x: Tensor, n: int) -> Tensor:
    return x if x.rank == n + 2 else unsqueeze(c, x, 0)


def _pool(c: Conversion, x: Tensor, w: Windows, init: Number, *, largest: bool) -> Tensor:
    """Maximum or sum over each window of a batched input padded with `init`."""
    n = len(w.kernel)
    if n == 1:
        flat = Windows.__new__(Windows)
        flat.kernel, flat.stride, flat.padding, flat.dilation = (
            [1, *w.kernel],
            [1, *w.stride],
            [0, *w.padding],
            [1, *w.dilation],
        )
        flat.sizes, flat.counts, flat.high = (1, *w.sizes), [1, *w.counts], [0, *w.high]
        return drop_dims(_pool(c, unsqueeze(c, x, 2), flat, init, largest=largest), [2])
    t = x.dtype
    x = c.plain(padded(c, x, *w.border(x), init))
    shape = (*x.shape[:2], *w.counts)
    out = c.fill(shape, t, init)
    window = c.empty(tuple(w.kernel), t)
    if n == 2 and not (largest and t.kind == "u"):  # upstream's op compares as signed
        cls = PoolingNchwMaxOp if largest else PoolingNchwSumOp
        steps = {"strides": pair(*w.stride), "dilations": pair(*w.dilation)}
        return plain(c.op(cls, [x.value, window], [out], [out.type], **steps), t, shape)
    loops = 2 + 2 * n
    dim = [AffineDimExpr(i) for i in range(loops)]
    places = [dim[2 + i] * w.stride[i] + dim[2 + n + i] * w.dilation[i] for i in range(n)]
    (value,) = c.generic(
        [(x.value, expr_map(loops, [dim[0], dim[1], *places])), (window, expr_map(loops, dim[2 + n :]))],
        [(out, expr_map(loops, dim[: 2 + n]))],
        "p" * (2 + n) + "r" * n,
        lambda b, v, _, acc: b.maximum(acc, v, t) if largest else b.add(acc, v, t),
    )
    return plain(value, t, shape)


def _lowest(t: DType) -> Number:
    return -pymath.inf if t.is_float else t.limits()[0]


def _max_pool(n: int) -> None:
    def lower(
        c: Conversion,
        x: Tensor,
        kernel: Ints,
        stride: Ints = (),
        padding: Ints = 0,
        dilation: Ints = 1,
        ceil: bool = False,
    ) -> Tensor:
        whole = _batched(c, x, n)
        w = Windows(c, whole, n, kernel, stride, padding, dilation, ceil)
        out = _pool(c, whole, w, _lowest(x.dtype), largest=True)
        return out if whole is x else drop_dims(out, [0])

    lowers(f"aten.max_pool{n}d")(lower)

    def with_indices(
        c: Conversion,
        x: Tensor,
        kernel: Ints,
        stride: Ints = (),
        padding: Ints = 0,
        dilation: Ints = 1,
        ceil: bool = False,
    ) -> tuple[Tensor, Tensor]:
        assert c.operation is not None
        if not c.operation.results[1].first_use:
            out = lower(c, x, kernel, stride, padding, dilation, ceil)
            return out, c.full(out.shape, I64, 0)
        whole = _batched(c, x, n)
        w = Windows(c, whole, n, kernel, stride, padding, dilation, ceil)
        found = _max_with_index(c, whole, w)
        return found if whole is x else (drop_dims(found[0], [0]), drop_dims(found[1], [0]))

    lowers(f"aten.max_pool{n}d_with_indices")(with_indices)


for _n in (1, 2, 3):
    _max_pool(_n)


def _max_with_index(c: Conversion, x: Tensor, w: Windows) -> tuple[Tensor, Tensor]:
    """Maximum of each window and its place in the unpadded plane; the last NaN, or the first maximum, wins."""
    n, t = len(w.kernel), x.dtype
    x = c.plain(padded(c, x, *w.border(x), _lowest(t)))
    shape = (*x.shape[:2], *w.counts)
    loops = 2 + 2 * n
    dim = [AffineDimExpr(i) for i in range(loops)]
    places = [dim[2 + i] * w.stride[i] + dim[2 + n + i] * w.dilation[i] for i in range(n)]
    sizes = [c.dims.value(s) for s in w.sizes]

    def fn(b: Body, v: SSAValue, _: SSAValue, best: SSAValue, where: SSAValue) -> tuple[SSAValue, SSAValue]:
        flat: SSAValue | None = None
        inside: SSAValue | None = None
        for i in range(n):
            at = b.op(
                arith.AddiOp,
                b.op(arith.MuliOp, b.loop_index(2 + i), b.index(w.stride[i])),
                b.op(arith.MuliOp, b.loop_index(2 + n + i), b.index(w.dilation[i])),
            )
            at = b.op(arith.SubiOp, at, b.index(w.padding[i]))
            within = b.emit(arith.CmpiOp(at, sizes[i], "ult")).results[0]
            inside = within if inside is None else b.logical_and(inside, within)
            flat = at if flat is None else b.op(arith.AddiOp, b.op(arith.MuliOp, flat, sizes[i]), at)
        assert flat is not None and inside is not None
        better = b.compare("gt", v, best, t)
        if t.is_float:
            better = b.logical_or(better, b.is_nan(v, t))
        none = b.compare("lt", where, b.const(0, I64), I64)
        take = b.logical_and(inside, b.logical_or(better, none))
        return b.select(take, v, best), b.select(take, b.from_index(flat, I64), where)

    window = c.empty(tuple(w.kernel), t)
    out_map = expr_map(loops, dim[: 2 + n])
    values, indices = c.generic(
        [(x.value, expr_map(loops, [dim[0], dim[1], *places])), (window, expr_map(loops, dim[2 + n :]))],
        [(c.fill(shape, t, _lowest(t)), out_map), (c.fill(shape, I64, -1), out_map)],
        "p" * (2 + n) + "r" * n,
        fn,
    )
    return plain(values, t, shape), plain(indices, I64, shape)


def _avg_pool(n: int) -> None:
    def lower(
        c: Conversion,
        x: Tensor,
        kernel: Ints,
        stride: Ints = (),
        padding: Ints = 0,
        ceil: bool = False,
        include_pad: bool = True,
        divisor: int | None = None,
    ) -> Tensor:
        whole = _batched(c, x, n)
        w = Windows(c, whole, n, kernel, stride, padding, 1, ceil)
        out = _average(c, whole, w, include_pad, divisor)
        return out if whole is x else drop_dims(out, [0])

    lowers(f"aten.avg_pool{n}d")(lower)


def _average(c: Conversion, x: Tensor, w: Windows, include_pad: bool, divisor: int | None) -> Tensor:
    stored = x.dtype
    t = stored.compute
    total = _pool(c, cast(c, x, t), w, 0, largest=False)
    full = pymath.prod(w.kernel)
    beyond = any(isinstance(h, int) and h > p for h, p in zip(w.high, w.padding, strict=True))
    uniform = divisor is not None or (not beyond and (include_pad or not any(w.padding)))
    if uniform:
        n = full if divisor is None else divisor
        return elementwise(c, [total], stored, lambda b, v: _divided(b, v, b.const(n, t), t))
    sizes = [c.dims.value(s) for s in w.sizes]

    def count(b: Body, at: list[SSAValue]) -> SSAValue:
        out: SSAValue | None = None
        for i, k in enumerate(w.kernel):
            pad = b.index(w.padding[i])
            start = b.op(arith.SubiOp, b.op(arith.MuliOp, at[i], b.index(w.stride[i])), pad)
            limit = b.op(arith.AddiOp, sizes[i], pad) if include_pad else sizes[i]
            end = b.op(arith.MinSIOp, b.op(arith.AddiOp, start, b.index(k)), limit)
            first = start if include_pad else b.op(arith.MaxSIOp, start, b.index(0))
            length = b.op(arith.SubiOp, end, first)
            out = length if out is None else b.op(arith.MuliOp, out, length)
        assert out is not None
        return b.from_index(out, t)

    counts = indexed(c, tuple(w.counts), t, count)
    return elementwise(c, [total, counts], stored, lambda b, v, k: _divided(b, v, k, t))


def _divided(b: Body, v: SSAValue, count: SSAValue, t: DType) -> SSAValue:
    """Sum over count; whole numbers are rounded towards zero, as eager has it for int64."""
    return b.divf(v, count) if t.is_float else b.truncated_div(v, count, t)


for _n in (1, 2, 3):
    _avg_pool(_n)


# -- adaptive pools ----------------------------------------------------------------------------------------------


def _adaptive(c: Conversion, x: Tensor, n: int, target: Sequence[object], *, largest: bool) -> Tensor:
    sizes = x.shape[x.rank - n :]
    wanted = [s if o is None else c.size(o) for o, s in zip(target, sizes, strict=True)]  # pyright: ignore[reportArgumentType]
    spatial = list(range(x.rank - n, x.rank))
    if all(c.dims.same(o, s) for o, s in zip(wanted, sizes, strict=True)):
        return x
    if all(o == 1 for o in wanted):
        if largest:
            c.need(x, spatial)
            return extreme(c, x, spatial, largest=True, keepdim=True)
        return mean_over(c, x, spatial, x.dtype, keepdim=True)
    if any(not isinstance(s, int) for s in (*wanted, *sizes)):
        raise c.refuse("adaptive pooling of a dynamic spatial size to another than one has no lowering")
    whole = _batched(c, x, n)
    ins, outs = [s for s in sizes if isinstance(s, int)], [o for o in wanted if isinstance(o, int)]
    if 0 in outs:
        return c.full((*x.shape[: x.rank - n], *outs), x.dtype, 0)
    if all(i % o == 0 for i, o in zip(ins, outs, strict=True)):
        kernel = [i // o for i, o in zip(ins, outs, strict=True)]
        w = Windows(c, whole, n, kernel, kernel, 0, 1, False)
        out = _pool(c, whole, w, _lowest(x.dtype), largest=True) if largest else _average(c, whole, w, True, None)
    else:
        out = _uneven(c, whole, ins, outs, largest=largest)
    return out if whole is x else drop_dims(out, [0])


def _uneven(c: Conversion, x: Tensor, ins: Sequence[int], outs: Sequence[int], *, largest: bool) -> Tensor:
    """Window `o` reads from floor(o * in / out) to ceil((o + 1) * in / out)."""
    n, stored = len(ins), x.dtype
    t = stored if largest else stored.compute
    x = c.plain(cast(c, x, t))
    reach = [max(-(-((o + 1) * i) // m) - o * i // m for o in range(m)) for i, m in zip(ins, outs, strict=True)]
    shape = (*x.shape[:2], *outs)
    loops = 2 + 2 * n
    init: Number = _lowest(t) if largest else 0

    def bounds(b: Body, i: int) -> tuple[SSAValue, SSAValue]:
        o, size, m = b.loop_index(2 + i), b.index(ins[i]), b.index(outs[i])
        scaled = b.op(arith.MuliOp, o, size)
        start = b.op(arith.DivUIOp, scaled, m)
        above = b.op(arith.AddiOp, b.op(arith.AddiOp, scaled, size), b.index(outs[i] - 1))
        return start, b.op(arith.DivUIOp, above, m)

    def fn(b: Body, *args: SSAValue) -> SSAValue:
        acc = args[-1]
        at = [b.loop_index(0), b.loop_index(1)]
        inside: SSAValue | None = None
        for i in range(n):
            start, end = bounds(b, i)
            place = b.op(arith.AddiOp, start, b.loop_index(2 + n + i))
            within = b.index_compare("lt", place, end)
            inside = within if inside is None else b.logical_and(inside, within)
            at.append(b.op(arith.MinSIOp, place, b.index(ins[i] - 1)))
        assert inside is not None
        v = b.select(inside, b.extract(x.value, at), b.const(init, t))
        return b.maximum(acc, v, t) if largest else b.add(acc, v, t)

    window = c.empty(tuple(reach), t)
    (value,) = c.generic(
        [(window, axes_map(loops, tuple(range(2 + n, loops))))],
        [(c.fill(shape, t, init), axes_map(loops, tuple(range(2 + n))))],
        "p" * (2 + n) + "r" * n,
        fn,
    )
    out = plain(value, t, shape)
    if largest:
        return out

    def count(b: Body, at: list[SSAValue]) -> SSAValue:
        area: SSAValue | None = None
        for i in range(n):
            scaled = b.op(arith.MuliOp, at[i], b.index(ins[i]))
            start = b.op(arith.DivUIOp, scaled, b.index(outs[i]))
            end = b.op(arith.DivUIOp, b.op(arith.AddiOp, scaled, b.index(ins[i] + outs[i] - 1)), b.index(outs[i]))
            length = b.op(arith.SubiOp, end, start)
            area = length if area is None else b.op(arith.MuliOp, area, length)
        assert area is not None
        return b.from_index(area, t)

    counts = indexed(c, tuple(outs), t, count)
    return elementwise(c, [out, counts], stored, lambda b, v, k: b.divf(v, k))


def _uneven_with_index(c: Conversion, x: Tensor, ins: Sequence[int], outs: Sequence[int]) -> tuple[Tensor, Tensor]:
    """As `_uneven`, with the place of each maximum in the plane; the last NaN, or the first maximum, wins."""
    n, t = len(ins), x.dtype
    whole = c.plain(x).value
    reach = [max(-(-((o + 1) * i) // m) - o * i // m for o in range(m)) for i, m in zip(ins, outs, strict=True)]
    shape, loops = (*x.shape[:2], *outs), 2 + 2 * n

    def fn(b: Body, _: SSAValue, best: SSAValue, where: SSAValue) -> tuple[SSAValue, SSAValue]:
        at = [b.loop_index(0), b.loop_index(1)]
        inside: SSAValue | None = None
        flat: SSAValue | None = None
        for i in range(n):
            size, m = b.index(ins[i]), b.index(outs[i])
            scaled = b.op(arith.MuliOp, b.loop_index(2 + i), size)
            above = b.op(arith.AddiOp, b.op(arith.AddiOp, scaled, size), b.index(outs[i] - 1))
            place = b.op(arith.AddiOp, b.op(arith.DivUIOp, scaled, m), b.loop_index(2 + n + i))
            within = b.index_compare("lt", place, b.op(arith.DivUIOp, above, m))
            inside = within if inside is None else b.logical_and(inside, within)
            at.append(b.op(arith.MinSIOp, place, b.index(ins[i] - 1)))
            flat = at[-1] if flat is None else b.op(arith.AddiOp, b.op(arith.MuliOp, flat, size), at[-1])
        assert inside is not None and flat is not None
        v = b.extract(whole, at)
        better = b.logical_or(b.compare("gt", v, best, t), b.compare("lt", where, b.const(0, I64), I64))
        if t.is_float:
            better = b.logical_or(better, b.is_nan(v, t))
        take = b.logical_and(inside, better)
        return b.select(take, v, best), b.select(take, b.from_index(flat, I64), where)

    out_map = axes_map(loops, tuple(range(2 + n)))
    values, indices = c.generic(
        [(c.empty(tuple(reach), t), axes_map(loops, tuple(range(2 + n, loops))))],
        [(c.fill(shape, t, _lowest(t)), out_map), (c.fill(shape, I64, -1), out_map)],
        "p" * (2 + n) + "r" * n,
        fn,
    )
    return plain(values, t, shape), plain(indices, I64, shape)


def _adaptive_pools(n: int) -> None:
    def average(c: Conversion, x: Tensor, target: Sequence[object]) -> Tensor:
        return _adaptive(c, x, n, target, largest=False)

    def maximum(c: Conversion, x: Tensor, target: Sequence[object]) -> tuple[Tensor, Tensor]:
        assert c.operation is not None
        if not c.operation.results[1].first_use:
            out = _adaptive(c, x, n, target, largest=True)
            return out, c.full(out.shape, I64, 0)
        ins, outs = list(x.shape[x.rank - n :]), list(target)
        if not static([*ins, *outs]):  # pyright: ignore[reportArgumentType]
            raise c.refuse("the indices of adaptive max pooling of a dynamic size have no lowering")
        if 0 in outs:
            shape = (*x.shape[: x.rank - n], *outs)  # pyright: ignore[reportArgumentType]
            return c.full(shape, x.dtype, 0), c.full(shape, I64, 0)  # pyright: ignore[reportArgumentType]
        found = _uneven_with_index(c, _batched(c, x, n), ins, outs)  # pyright: ignore[reportArgumentType]
        return found if x.rank == n + 2 else (drop_dims(found[0], [0]), drop_dims(found[1], [0]))

    names = [f"aten.adaptive_avg_pool{n}d"] + ([f"aten._adaptive_avg_pool{n}d"] if n > 1 else [])
    lowers(*names)(average)
    lowers(f"aten.adaptive_max_pool{n}d")(maximum)


for _n in (1, 2, 3):
    _adaptive_pools(_n)
