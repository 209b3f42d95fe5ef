"""Running sums, products and extremes along one dim; Euclid's algorithm on whole tensors."""

from __future__ import annotations

import math as pymath
from collections.abc import Callable, Sequence

from xdsl.dialects import arith, scf, tensor
from xdsl.ir import Block, SSAValue

from mlc.lowering.torch.to_linalg.binary import binary, scalar_binary
from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dims import mlir_shape
from mlc.lowering.torch.to_linalg.dtypes import F32, F64, I32, I64, DType
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.loop_nest import Values, counted, looped_all
from mlc.lowering.torch.to_linalg.order_keys import key_type, order_keys
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.row_loops import RowLoops
from mlc.lowering.torch.to_linalg.structured import broadcast_shape, elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain
from mlc.lowering.torch.to_linalg.view import sliced

Update = Callable[[Body, SSAValue, SSAValue, Values, SSAValue], Values]


def running(
    c: Conversion, x: Tensor, d: int, held: Sequence[DType], update: Update, outs: Sequence[DType]
) -> list[Tensor]:
    """Results that say, at each place along `d`, what was found up to there: `update(body, first, element, held,
    place)` returns what is held on. The loop along `d` runs inside those over the dims before it and outside those
    behind, whose values are held in a row; with none behind, in numbers."""
    x = c.plain(x)
    shape, behind = x.shape, x.shape[d + 1 :]
    zero, one = c.index(0), c.index(1)
    rows = [c.plain(c.full(behind, t, 0)).value for t in held] if behind else []

    def one_line(b: Body, at: Values, carried: Values) -> Values:
        def along(b: Body, k: SSAValue, now: Values) -> Values:
            first = b.index_compare("eq", k, zero)

            def written(b: Body, at: Values, results: Values, values: Values) -> Values:
                numbers = [b.cast(v, t, o) for v, t, o in zip(values, held, outs, strict=True)]
                return [b.op(tensor.InsertOp, v, r, at) for v, r in zip(numbers, results, strict=True)]

            def element(b: Body, last: Values, now: Values) -> Values:
                results, before = now[: len(outs)], now[len(outs) :]
                here = [*at, k, *last]
                found = update(b, first, b.extract(x.value, here), [b.extract(r, last) for r in before], k)
                kept = [b.op(tensor.InsertOp, v, r, last) for v, r in zip(found, before, strict=True)]
                return [*written(b, here, results, found), *kept]

            if behind:
                return looped_all(c, behind, now, element)
            results, before = now[: len(outs)], now[len(outs) :]
            found = update(b, first, b.extract(x.value, [*at, k]), before, k)
            return [*written(b, [*at, k], results, found), *found]

        numbers = [] if behind else [b.const(0, t) for t in held]
        return counted(c, (zero, c.dims.value(shape[d]), one), [*carried, *numbers], along)[: len(carried)]

    starts = [c.empty(shape, t) for t in outs]
    values = looped_all(c, shape[:d], [*starts, *rows], one_line)
    return [plain(v, t, shape) for v, t in zip(values, outs, strict=False)]


def scan(c: Conversion, x: Tensor, d: int, dtype: DType, name: str) -> Tensor:
    """Running sum or product along `d`, held in what ATen holds it in: twice the width."""
    x = cast(c, x, dtype)
    t = dtype if not dtype.is_float else F32 if dtype.bits == 16 else F64
    fn = scalar_binary(name)

    def update(b: Body, first: SSAValue, v: SSAValue, held: Values, _: SSAValue) -> Values:
        v = b.cast(v, dtype, t)
        return [b.select(first, v, fn(b, held[0], v, t))]

    return running(c, x, d, [t], update, [dtype])[0]


@lowers("aten.cumsum")
def cumsum(c: Conversion, x: Tensor, dim: int, *_: object) -> Tensor:
    return scan(c, x, x.dim(dim), c.out, "add") if x.rank else cast(c, x, c.out)


@lowers("aten.cumprod")
def cumprod(c: Conversion, x: Tensor, dim: int, *_: object) -> Tensor:
    return scan(c, x, x.dim(dim), c.out, "mul") if x.rank else cast(c, x, c.out)


@lowers("aten.logcumsumexp")
def logcumsumexp(c: Conversion, x: Tensor, dim: int) -> Tensor:
    """A loop over slices, so that the exponentials of a slice are taken together."""
    if x.rank == 0 or x.shape[x.dim(dim)] == 0:  # a loop over no slices holds one that does not exist
        return x
    d, t = x.dim(dim), x.dtype
    x = c.plain(x)
    one = (*x.shape[:d], 1, *x.shape[d + 1 :])

    def step(b: Body, k: SSAValue, carried: Values) -> Values:
        before = plain(carried[1], t.compute, one)
        now = c.plain(binary(c, "logaddexp", before, cast(c, sliced(c, x, d, k, 1), t.compute), t.compute))
        return [_put(c, c.plain(cast(c, now, t)), carried[0], x, d, k), now.value]

    starts = [c.empty(x.shape, t), c.plain(c.full(one, t.compute, -pymath.inf)).value]
    whole = counted(c, (c.index(0), c.dims.value(x.shape[d]), c.index(1)), starts, step)[0]
    return plain(whole, t, x.shape)


def _put(c: Conversion, piece: Tensor, into: SSAValue, x: Tensor, d: int, at: SSAValue) -> SSAValue:
    op = tensor.InsertSliceOp.get(
        piece.value,
        into,
        static_sizes=list(mlir_shape(piece.shape)),
        sizes=[s for s in piece.shape if isinstance(s, SSAValue)],
        static_offsets=[(mlir_shape((at,))[0]) if i == d else 0 for i in range(x.rank)],
        offsets=[at],
        static_strides=[1] * x.rank,
    )
    return c.emit(op).results[0]


def _running_extreme(name: str, kind: str) -> None:
    """The extreme so far, and where it stands: the last of equals, and the last NaN once there is one."""

    def lower(c: Conversion, x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        t = x.dtype
        if x.rank == 0:
            return x, c.full((), I64, 0)
        if t.is_float and x.dim(dim) == x.rank - 1:
            return _extreme_by_keys(c, x, descending=kind == "le")

        def update(b: Body, first: SSAValue, v: SSAValue, held: Values, k: SSAValue) -> Values:
            best, where = held
            newer = b.logical_or(first, b.compare(kind, v, best, t))
            if t.is_float:
                newer = b.logical_or(newer, b.is_nan(v, t))
            return [b.select(newer, v, best), b.select(newer, b.from_index(k, I64), where)]

        values, places = running(c, x, x.dim(dim), [t, I64], update, [t, I64])
        return values, places

    lowers(f"aten.{name}")(lower)


def _extreme_by_keys(c: Conversion, x: Tensor, *, descending: bool) -> tuple[Tensor, Tensor]:
    """Along the last dim each step waits for the one before: comparing integers takes a fraction of comparing
    floats."""
    x = c.plain(x)
    key, keys = key_type(x.dtype), order_keys(c, x, descending=descending, nan_last=True).value
    r = RowLoops(c, {"values": c.empty(x.shape, x.dtype), "places": c.empty(x.shape, I64)})

    def row() -> None:
        def step(i: SSAValue, best: SSAValue, where: SSAValue) -> Values:
            new = r.load(keys, i)
            newer = r.b.compare("ge", new, best, key)
            where = r.b.select(newer, i, where)
            r.store("values", r.load(x.value, where), i)
            r.store("places", r.b.from_index(where, I64), i)
            return [r.b.select(newer, new, best), where]

        r.fold(c.dims.value(x.shape[-1]), [r.const(key.limits()[0], key), r.index(0)], step)

    values, places = r.rows(x.shape[:-1], row)
    return plain(values, x.dtype, x.shape), plain(places, I64, x.shape)


_running_extreme("cummax", "ge")
_running_extreme("cummin", "le")


@lowers("aten.gcd")
def gcd(c: Conversion, a: Tensor, b: Tensor) -> Tensor:
    """Euclid's algorithm, as many steps as the largest pair of the dtype needs, on all elements at once."""
    t = c.out
    shape = broadcast_shape(c, [a.shape, b.shape])
    x, y = (c.plain(elementwise(c, [v], t, lambda k, e: e, compute=t, shape=shape)) for v in (a, b))
    kind = x.value.type
    block = Block(arg_types=[c.index(0).type, kind, kind])
    left, right = (plain(v, t, shape) for v in block.args[1:])
    with c.inside(block):

        def rest(k: Body, p: SSAValue, q: SSAValue) -> SSAValue:
            zero, one = k.const(0, t), k.const(1, t)
            done = k.compare("eq", q, zero, t)
            unit = k.compare("eq", q, k.const(-1, t), t) if t.kind == "i" else done  # the quotient may overflow
            divisor = k.select(k.logical_or(done, unit), one, q)
            return k.op(arith.RemSIOp if t.kind == "i" else arith.RemUIOp, p, divisor)

        kept = elementwise(
            c, [left, right], t, lambda k, p, q: k.select(k.compare("eq", q, k.const(0, t), t), p, q), compute=t
        )
        c.emit(scf.YieldOp(c.plain(kept).value, c.plain(elementwise(c, [left, right], t, rest, compute=t)).value))
    steps = pymath.ceil(t.bits * pymath.log(2) / pymath.log((1 + pymath.sqrt(5)) / 2)) + 1
    loop = c.emit(scf.ForOp(c.index(0), c.index(steps), c.index(1), [x.value, y.value], block))
    return elementwise(c, [plain(loop.results[0], t, shape)], t, lambda k, v: k.abs(v, t), compute=t)


@lowers("aten.lcm")
def lcm(c: Conversion, a: Tensor, b: Tensor) -> Tensor:
    """The size of the product is taken in C's int, and loses its upper bits afterwards."""
    t = c.out
    wide = I32 if t.bits < 32 else t

    def fn(k: Body, x: SSAValue, y: SSAValue, g: SSAValue) -> SSAValue:
        x, y, g = (k.cast(v, t, wide) for v in (x, y, g))
        divisor = k.select(k.compare("eq", g, k.const(0, wide), wide), k.const(1, wide), g)
        return k.cast(k.abs(k.mul(k.truncated_div(x, divisor, wide), y, wide), wide), wide, t)

    return elementwise(c, [a, b, gcd(c, a, b)], t, fn, compute=t)
