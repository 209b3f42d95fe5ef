"""Matrix products: `linalg.matmul` and `linalg.batch_matmul` in f32, f64 or integers, bias added afterwards, before
the sums of half types are rounded.

The right operand of a linear layer is `linalg.transpose` of the weight, a constant expression that is packed once.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.linalg import ops as linalg

from mlc.dialects.linalg.structured_ops import BatchMatmulOp
from mlc.lowering.torch.to_linalg.binary import binary
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import DType
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import broadcast_shape, elementwise, reduce
from mlc.lowering.torch.to_linalg.tensor import Number, Tensor
from mlc.lowering.torch.to_linalg.view import stretched, unsqueeze


def _merged(c: Conversion, value_shape: tuple[Dim, ...], shape: tuple[Dim, ...], dtype: DType, value: object) -> Tensor:
    """A product's value seen as `shape`: (rows, columns) or (batch, rows, columns) with leading dims split."""
    from_value = Tensor(value, dtype, value_shape, tuple(range(len(value_shape))), value_shape)  # pyright: ignore[reportArgumentType]
    return c.viewed(from_value, shape)


def product(c: Conversion, a: Tensor, b: Tensor, start: Tensor | None = None) -> Tensor:
    """a @ b for a of shape (..., m, k) and b of shape (k, n), or equal leading dims; accumulates in at least f32.

    `start`: matrices only, and of a type that sums are made in: what the sums begin with."""
    return cast(c, sums(c, a, b, start), a.dtype)


def sums(c: Conversion, a: Tensor, b: Tensor, start: Tensor | None = None) -> Tensor:
    """The same in the type that sums are made in, for what is added before they are rounded."""
    t = a.dtype.compute
    a, b = cast(c, a, t), cast(c, b, t)
    *lead, rows, inner = a.shape
    columns = b.shape[-1]
    shape = (*lead, rows, columns)
    n = a.rank
    batched = b.rank > 2 and c.dims.product(b.shape[:-2]) != 1
    c.demand(inner, "eq", b.shape[-2], "the inner sizes of a product do not match")
    for size, other in zip(lead, b.shape[:-2], strict=True) if batched else ():
        c.demand(size, "eq", other, "the batches of a product do not match")
    if inner == 0:
        return start or c.full(shape, t, 0)
    if not batched:
        x = c.realize(a, (tuple(range(n - 1)), (n - 1,)))
        y = c.realize(b, (tuple(range(b.rank - 1)), (b.rank - 1,)))
        value_shape = (c.dims.product((*lead, rows)), columns)
        first = c.fill(value_shape, t, 0) if start is None else c.realize(start, ((0,), (1,)))
        value = c.op(linalg.MatmulOp, [x, y], [first])
    else:
        x = c.realize(a, (tuple(range(n - 2)), (n - 2,), (n - 1,)))
        y = c.realize(b, (tuple(range(n - 2)), (n - 2,), (n - 1,)))
        value_shape = (c.dims.product(lead), rows, columns)
        value = c.op(BatchMatmulOp, [x, y], [c.fill(value_shape, t, 0)])
    return _merged(c, value_shape, shape, t, value)


@lowers("aten.mm", "aten.bmm")
def mm(c: Conversion, a: Tensor, b: Tensor) -> Tensor:
    return product(c, a, b)


@lowers("aten._int_mm")
def int_mm(c: Conversion, a: Tensor, b: Tensor) -> Tensor:
    return product(c, cast(c, a, c.out), cast(c, b, c.out))


@lowers("aten.matmul")
def matmul(c: Conversion, a: Tensor, b: Tensor) -> Tensor:
    return cast(c, matmul_sums(c, a, b), a.dtype)


def matmul_sums(c: Conversion, a: Tensor, b: Tensor) -> Tensor:
    """a @ b of any ranks, not rounded yet."""
    vector_a, vector_b = a.rank == 1, b.rank == 1
    a = unsqueeze(c, a, 0) if vector_a else a
    b = unsqueeze(c, b, 1) if vector_b else b
    if b.rank > 2:
        batch = broadcast_shape(c, [a.shape[:-2], b.shape[:-2]])
        a = stretched(c, a, (*batch, *a.shape[-2:]))
        b = c.viewed(b, b.shape[-2:]) if c.dims.product(b.shape[:-2]) == 1 else stretched(c, b, (*batch, *b.shape[-2:]))
    out = sums(c, a, b)
    shape = out.shape
    if vector_a:
        shape = (*shape[:-2], shape[-1])
    return c.viewed(out, shape[:-1] if vector_b else shape) if vector_a or vector_b else out


@lowers("aten.mv")
def mv(c: Conversion, a: Tensor, v: Tensor) -> Tensor:
    return matmul(c, a, v)


@lowers("aten.dot", "aten.vdot")
def dot(c: Conversion, a: Tensor, b: Tensor) -> Tensor:
    t = a.dtype.compute
    (total,) = reduce(
        c,
        [a, b],
        [0],
        t,
        0,
        lambda body, x, y, acc: body.add(acc, body.mul(body.cast(x, a.dtype, t), body.cast(y, b.dtype, t), t), t),
    )
    return cast(c, total, a.dtype)


@lowers("aten.outer", "aten.ger")
def outer(c: Conversion, a: Tensor, b: Tensor) -> Tensor:
    return binary(c, "mul", unsqueeze(c, a, 1), b, c.out)


def linear_of(c: Conversion, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x @ weight.T + bias; a weight of one dim is one feature, whose dim the result lacks."""
    if weight.rank == 1:
        out = linear_of(c, x, unsqueeze(c, weight, 0), bias)
        return c.viewed(out, x.shape[:-1])
    flat = unsqueeze(c, x, 0) if x.rank == 1 else x
    out = sums(c, flat, c.permuted(weight, (1, 0)))
    out = cast(c, out, x.dtype) if bias is None else binary(c, "add", out, bias, x.dtype)
    return c.viewed(out, (*x.shape[:-1], weight.shape[0])) if x.rank == 1 else out


@lowers("aten.linear")
def linear(c: Conversion, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return linear_of(c, x, weight, bias)


@lowers("aten.addmm", "aten.baddbmm", "aten.addmv", "aten.addr")
def addmm(c: Conversion, bias: Tensor, a: Tensor, b: Tensor, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * bias + alpha * (a @ b); a bias times zero is not read."""
    out = outer(c, a, b) if a.rank == 1 else matmul_sums(c, a, b)
    return _scaled_sum(c, bias, out, beta, alpha)


@lowers("aten.addbmm")
def addbmm(c: Conversion, bias: Tensor, a: Tensor, b: Tensor, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """The batches' products summed: one product over batch and inner dims together."""
    batch, rows, inner = a.shape
    columns = b.shape[-1]
    for size, other in zip((batch, inner), b.shape[:-1], strict=True):
        c.demand(size, "eq", other, "batches or inner sizes of the products do not match")
    merged = c.dims.mul(batch, inner)
    left = c.viewed(c.permuted(a, (1, 0, 2)), (rows, merged))
    return _scaled_sum(c, bias, sums(c, left, c.viewed(b, (merged, columns))), beta, alpha)


def _scaled_sum(c: Conversion, bias: Tensor, out: Tensor, beta: Number, alpha: Number) -> Tensor:
    t = c.out.compute
    inputs: Sequence[Tensor] = [out] if beta == 0 else [out, bias]
    if beta == 0 and alpha == 1:
        return cast(c, out, c.out)

    def fn(body, x, *rest):
        scaled = x if alpha == 1 else body.mul(x, body.const(alpha, t), t)
        if not rest:
            return scaled
        return body.add(scaled, rest[0] if beta == 1 else body.mul(rest[0], body.const(beta, t), t), t)

    return elementwise(c, inputs, c.out, fn, shape=out.shape)
