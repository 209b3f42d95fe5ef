"""Loops over whole tensors: running sums, products and extremes along one dim, Euclid's algorithm."""

from __future__ import annotations

import math as pymath

from xdsl.dialects import arith, scf, tensor
from xdsl.ir import Block, SSAValue

from mlc.lowering.torch.to_linalg.binary import binary
from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dims import Dim, mlir_shape
from mlc.lowering.torch.to_linalg.dtypes import I64, DType
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import broadcast_shape, elementwise
from mlc.lowering.torch.to_linalg.tensor import Scalar, Tensor, plain
from mlc.lowering.torch.to_linalg.view import sliced


def scan(c: Conversion, x: Tensor, d: int, dtype: DType, name: str) -> Tensor:
    """Running sum, product or logaddexp along `d`."""
    total: Dim = x.shape[d]
    x = c.plain(cast(c, x, dtype))
    if total == 0 or x.rank == 0:
        return x
    one = (*x.shape[:d], 1, *x.shape[d + 1 :])
    first = sliced(c, x, d, 0, 1)
    out = _put(c, first, c.empty(x.shape, dtype), x, d, 0)
    block = Block(arg_types=[c.index(0).type, out.type, c.type_of(one, dtype)])
    step, whole, before = block.args
    with c.inside(block):
        now = binary(c, name, plain(before, dtype, one), sliced(c, x, d, step, 1), dtype)
        now = c.plain(now)
        whole = _put(c, now, whole, x, d, step)
        c.emit(scf.YieldOp(whole, now.value))
    loop = scf.ForOp(c.index(1), c.dims.value(total), c.index(1), [out, first.value], block)
    return plain(c.emit(loop).results[0], dtype, x.shape)


def _put(c: Conversion, piece: Tensor, into: SSAValue, x: Tensor, d: int, at: Dim) -> SSAValue:
    dynamic = isinstance(at, SSAValue)
    op = tensor.InsertSliceOp.get(
        piece.value,
        into,
        static_sizes=list(mlir_shape(piece.shape)),
        sizes=[s for s in piece.shape if isinstance(s, SSAValue)],
        static_offsets=[(mlir_shape((at,))[0]) if i == d else 0 for i in range(x.rank)],
        offsets=[at] if dynamic else [],
        static_strides=[1] * x.rank,
    )
    return c.emit(op).results[0]


@lowers("aten.cumsum")
def cumsum(c: Conversion, x: Tensor, dim: int, *_: object) -> Tensor:
    return scan(c, x, x.dim(dim), c.out, "add") if x.rank else cast(c, x, c.out)


@lowers("aten.cumprod")
def cumprod(c: Conversion, x: Tensor, dim: int, *_: object) -> Tensor:
    return scan(c, x, x.dim(dim), c.out, "mul") if x.rank else cast(c, x, c.out)


@lowers("aten.logcumsumexp")
def logcumsumexp(c: Conversion, x: Tensor, dim: int) -> Tensor:
    return scan(c, x, x.dim(dim), c.out, "logaddexp") if x.rank else x


def _running_extreme(name: str, kind: str) -> None:
    """The extreme so far, and where it stands: the last of equals, and the last NaN once there is one."""

    def lower(c: Conversion, x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        t = x.dtype
        if x.rank == 0:
            return x, c.full((), I64, 0)
        d = x.dim(dim)
        total = x.shape[d]
        x = c.plain(x)
        if total == 0:
            return x, c.full(x.shape, I64, 0)
        one = (*x.shape[:d], 1, *x.shape[d + 1 :])

        def newer(b: Body, v: SSAValue, best: SSAValue) -> SSAValue:
            better = b.compare(kind, v, best, t)
            return b.logical_or(better, b.is_nan(v, t)) if t.is_float else better

        first = c.plain(sliced(c, x, d, 0, 1))
        start = c.plain(c.full(one, I64, 0))
        values = _put(c, first, c.empty(x.shape, t), x, d, 0)
        places = _put(c, start, c.empty(x.shape, I64), x, d, 0)
        carried = [values, places, first.value, start.value]
        block = Block(arg_types=[c.index(0).type, *(v.type for v in carried)])
        step, all_values, all_places, best, where = block.args
        with c.inside(block):
            now, old = sliced(c, x, d, step, 1), plain(best, t, one)
            at = Scalar(Body(c.block, c.location).from_index(step, I64), I64)
            place = elementwise(
                c,
                [now, old, plain(where, I64, one), at],
                I64,
                lambda b, v, w, p, k: b.select(newer(b, v, w), k, p),
                compute=I64,
                own=(0, 1),
            )
            value = elementwise(c, [now, old], t, lambda b, v, w: b.select(newer(b, v, w), v, w), compute=t)
            value, place = c.plain(value), c.plain(place)
            c.emit(
                scf.YieldOp(
                    _put(c, value, all_values, x, d, step),
                    _put(c, place, all_places, x, d, step),
                    value.value,
                    place.value,
                )
            )
        loop = c.emit(scf.ForOp(c.index(1), c.dims.value(total), c.index(1), carried, block))
        return plain(loop.results[0], t, x.shape), plain(loop.results[1], I64, x.shape)

    lowers(f"aten.{name}")(lower)


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
    t = c.out

    def fn(k: Body, x: SSAValue, y: SSAValue, g: SSAValue) -> SSAValue:
        zero = k.const(0, t)
        divisor = k.select(k.compare("eq", g, zero, t), k.const(1, t), g)
        return k.abs(k.mul(k.truncated_div(x, divisor, t), y, t), t)

    return elementwise(c, [a, b, gcd(c, a, b)], t, fn, compute=t)
