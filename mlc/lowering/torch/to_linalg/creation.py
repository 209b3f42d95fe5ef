"""Tensors made from nothing: constants, ranges, copies of a shape; and ops whose value depends on the position."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import BOOL, F32, F64, I64, DType
from mlc.lowering.torch.to_linalg.elementwise import cast
from mlc.lowering.torch.to_linalg.emitter import axes_map
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import fitted
from mlc.lowering.torch.to_linalg.tensor import Number, Scalar, Tensor, plain

Int = int | Scalar


def indexed(
    c: Conversion,
    shape: Sequence[Dim],
    dtype: DType,
    fn: Callable[..., SSAValue],
    inputs: Sequence[Tensor] = (),
) -> Tensor:
    """Elementwise op that sees its position: `fn(body, [index per dim], *elements)`.

    `inputs` have the shape of the result or can be stretched to it.
    """
    shape = tuple(shape)
    n = len(shape)
    operands = []
    for x in inputs:
        view = fitted(c, x, shape)
        drop = [(view.shape[d] == 1 and shape[d] != 1) or view.axes[d] is None for d in range(n)]
        value = c.realize(view, tuple((d,) for d in range(n)), drop)
        operands.append((value, axes_map(n, tuple(d for d in range(n) if not drop[d]))))

    def body_of(body: Body, *args: SSAValue) -> SSAValue:
        return fn(body, [body.loop_index(d) for d in range(n)], *args[: len(operands)])

    out = [(c.empty(shape, dtype), axes_map(n, tuple(range(n))))]
    (value,) = c.generic(operands, out, "p" * n, body_of)
    return plain(value, dtype, shape)


def gathered(
    c: Conversion, source: Tensor, shape: Sequence[Dim], at: Callable[[Body, list[SSAValue]], list[SSAValue]]
) -> Tensor:
    """Tensor of `shape` whose element at `i` is `source[at(i)]`."""
    whole = c.plain(source).value
    return indexed(c, shape, source.dtype, lambda body, i: body.extract(whole, at(body, i)))


# -- filled tensors ----------------------------------------------------------------------------------------------


@lowers("aten.full", "aten.new_full", "aten.full_like")
def full(c: Conversion, first: object, *rest: object) -> Tensor:
    if isinstance(first, Tensor):
        sizes, value = (rest[0], rest[1]) if isinstance(rest[0], list) else (list(first.shape), rest[0])
    else:
        sizes, value = first, rest[0]
    return _filled(c, sizes, value)


def _filled(c: Conversion, sizes: object, value: object) -> Tensor:
    assert isinstance(sizes, list)
    dtype = c.out
    if isinstance(value, Scalar):
        value = c.cast_scalar(value, dtype)
    assert isinstance(value, bool | int | float | SSAValue)
    if not isinstance(value, SSAValue) and not dtype.is_float:
        value = bool(value) if dtype.is_bool else int(value)
    return c.full(c.sizes(sizes), dtype, value)


def _constant_fill(value: int, *names: str) -> None:
    def lower(c: Conversion, first: object, *rest: object) -> Tensor:
        if isinstance(first, Tensor):
            sizes = rest[0] if rest and isinstance(rest[0], list) else list(first.shape)
        else:
            sizes = first
        return _filled(c, sizes, value)

    lowers(*names)(lower)


_constant_fill(
    0,
    "aten.zeros", "aten.zeros_like", "aten.new_zeros", "aten.zero", "aten.empty.memory_format", "aten.empty_like",
    "aten.new_empty", "aten.empty_strided", "aten.new_empty_strided", "aten.empty_permuted",
)  # fmt: skip
_constant_fill(1, "aten.ones", "aten.ones_like", "aten.new_ones")


@lowers("aten.fill.Scalar", "aten.fill.Tensor")
def fill(c: Conversion, x: Tensor, value: Tensor | Number | Scalar) -> Tensor:
    if isinstance(value, Tensor):
        v = cast(c, value, c.out)
        return v.with_view(x.shape, (None,) * x.rank)
    return _filled(c, list(x.shape), value)


@lowers("aten.scalar_tensor", "prim.NumToTensor.Scalar", "aten.tensor.int", "aten.tensor.float", "aten.tensor.bool")
def scalar_tensor(c: Conversion, value: Number | Scalar, *_: object) -> Tensor:
    return _filled(c, [], value)


# -- ranges ------------------------------------------------------------------------------------------------------


@lowers("aten.arange")
def arange(c: Conversion, end: Number | Scalar, *_: object) -> Tensor:
    return _range(c, 0, end, 1)


@lowers("aten.arange.start")
def arange_start(c: Conversion, start: Number | Scalar, end: Number | Scalar, *_: object) -> Tensor:
    return _range(c, start, end, 1)


@lowers("aten.arange.start_step")
def arange_start_step(
    c: Conversion, start: Number | Scalar, end: Number | Scalar, step: Number | Scalar = 1, *_: object
) -> Tensor:
    return _range(c, start, end, step)


@lowers("prims.iota")
def iota(c: Conversion, length: Int, start: Int, step: Int, *_: object) -> Tensor:
    return _progression(c, c.size(length), start, step)


def _range(c: Conversion, start: Number | Scalar, end: Number | Scalar, step: Number | Scalar) -> Tensor:
    if isinstance(start, Scalar) or isinstance(end, Scalar) or isinstance(step, Scalar):
        if isinstance(step, Scalar) or step != 1:
            raise c.refuse("a range with a step and bounds known only at run time has no lowering")
        assert not isinstance(start, float) and not isinstance(end, float)
        length = c.dims.sub(c.size(end), c.size(start))
    else:
        length = max(0, math.ceil((end - start) / step))
    return _progression(c, length, start, step)


def _progression(c: Conversion, length: Dim, start: Number | Scalar, step: Number | Scalar) -> Tensor:
    """start + i * step, in i64 or f64 and then rounded."""
    dtype = c.out
    wide = F64 if dtype.is_float else I64
    outer = {i: c.cast_scalar(s, wide) for i, s in enumerate((start, step)) if isinstance(s, Scalar)}

    def fn(body: Body, at: list[SSAValue]) -> SSAValue:
        value = body.from_index(at[0], wide)
        if isinstance(step, Scalar) or step != 1:
            value = body.mul(value, outer[1] if isinstance(step, Scalar) else body.const(step, wide), wide)
        if isinstance(start, Scalar) or start != 0:
            value = body.add(outer[0] if isinstance(start, Scalar) else body.const(start, wide), value, wide)
        return body.cast(value, wide, dtype)

    return indexed(c, (length,), dtype, fn)


@lowers("aten.linspace")
def linspace(c: Conversion, start: float, end: float, steps: int, *_: object) -> Tensor:
    """Counted from both ends toward the middle, as ATen does."""
    dtype = c.out
    t = F64 if dtype == F64 else F32
    step = (end - start) / (steps - 1) if steps > 1 else 0.0

    def fn(body: Body, at: list[SSAValue]) -> SSAValue:
        i = at[0]
        up = body.add(body.const(start, t), body.mul(body.const(step, t), body.from_index(i, t), t), t)
        left = body.from_index(body.op(arith.SubiOp, body.index(steps - 1), i), t)
        down = body.sub(body.const(end, t), body.mul(body.const(step, t), left, t), t)
        value = body.select(body.index_compare("lt", i, body.index(steps // 2)), up, down)
        return body.cast(value, t, dtype)

    return indexed(c, (steps,), dtype, fn)


@lowers("aten.eye.m")
def eye_m(c: Conversion, n: Int, m: Int, *_: object) -> Tensor:
    dtype = c.out

    def fn(body: Body, at: list[SSAValue]) -> SSAValue:
        return body.cast(body.index_compare("eq", at[0], at[1]), BOOL, dtype)

    return indexed(c, c.sizes((n, m)), dtype, fn)


@lowers("aten.eye")
def eye(c: Conversion, n: Int, *_: object) -> Tensor:
    return eye_m(c, n, n)


# -- triangles, reversal, windows --------------------------------------------------------------------------------


def _triangle(name: str, *, lower_part: bool) -> None:
    def lower(c: Conversion, x: Tensor, diagonal: int = 0) -> Tensor:
        def fn(body: Body, at: list[SSAValue], v: SSAValue) -> SSAValue:
            edge = body.op(arith.AddiOp, at[-2], body.index(diagonal)) if diagonal else at[-2]
            keep = body.index_compare("le" if lower_part else "ge", at[-1], edge)
            return body.select(keep, v, body.const(0, x.dtype))

        if x.splat is not None:
            value = x.splat
            return indexed(c, x.shape, x.dtype, lambda body, at: fn(body, at, body.const(value, x.dtype)))
        return indexed(c, x.shape, x.dtype, fn, [x])

    lowers(f"aten.{name}")(lower)


_triangle("tril", lower_part=True)
_triangle("triu", lower_part=False)


@lowers("aten.flip")
def flip(c: Conversion, x: Tensor, dims: Sequence[int]) -> Tensor:
    if x.rank == 0:
        return x
    turned = {x.dim(d) for d in dims}
    ends = {d: c.dims.value(c.dims.sub(x.shape[d], 1)) for d in sorted(turned)}

    def at(body: Body, i: list[SSAValue]) -> list[SSAValue]:
        return [body.op(arith.SubiOp, ends[d], v) if d in ends else v for d, v in enumerate(i)]

    return gathered(c, x, x.shape, at)


@lowers("aten.fliplr")
def fliplr(c: Conversion, x: Tensor) -> Tensor:
    return flip(c, x, [1])


@lowers("aten.flipud")
def flipud(c: Conversion, x: Tensor) -> Tensor:
    return flip(c, x, [0])


@lowers("aten.unfold", "aten.unfold_copy")
def unfold(c: Conversion, x: Tensor, dim: int, size: int, step: int) -> Tensor:
    if x.rank == 0:
        return c.viewed(x, (1,))
    d = x.dim(dim)
    c.need(x, [d], size)
    count = c.dims.add(c.dims.floordiv(c.dims.maximum(c.dims.sub(x.shape[d], size), 0), step), 1)
    shape = (*x.shape[:d], count, *x.shape[d + 1 :], size)

    def at(body: Body, i: list[SSAValue]) -> list[SSAValue]:
        start = body.op(arith.MuliOp, i[d], body.index(step)) if step != 1 else i[d]
        return [*i[:d], body.op(arith.AddiOp, start, i[-1]), *i[d + 1 : -1]]

    return gathered(c, x, shape, at)


@lowers("aten.as_strided", "aten.as_strided_copy")
def as_strided(
    c: Conversion, x: Tensor, sizes: Sequence[Int], strides: Sequence[Int], offset: Int | None = None
) -> Tensor:
    """Reads the elements in row-major order: the storage of a functional program's tensor."""
    flat = c.viewed(x, (c.dims.product(x.shape),))
    steps = [c.static_int(s, "a stride") for s in strides]
    first = 0 if offset is None else c.static_int(offset, "the storage offset")
    need_strided(c, flat, c.sizes(sizes), steps, first)
    return gathered(c, flat, c.sizes(sizes), lambda b, i: [strided_place(b, i, steps, first)])


def need_strided(c: Conversion, flat: Tensor, sizes: Sequence[Dim], steps: Sequence[int], first: int) -> None:
    """Check that the last place lies in `flat`."""
    end: Dim = first + 1
    for size, step in zip(sizes, steps, strict=True):
        end = c.dims.add(end, c.dims.mul(c.dims.sub(c.dims.maximum(size, 1), 1), step))
    if 0 not in sizes:
        c.demand(flat.shape[0], "ge", end, "the strides reach beyond the tensor's elements")


def strided_place(b: Body, at: Sequence[SSAValue], steps: Sequence[int], first: int) -> SSAValue:
    """first + sum of index times stride."""
    place = b.index(first)
    for v, step in zip(at, steps, strict=True):
        if step:
            place = b.op(arith.AddiOp, place, b.op(arith.MuliOp, v, b.index(step)) if step != 1 else v)
    return place


def diagonal_length(c: Conversion, x: Tensor, a: int, b: int, offset: int) -> Dim:
    """How many elements the diagonal of two dimensions has."""
    rows, columns = (c.dims.sub(x.shape[a], max(-offset, 0)), c.dims.sub(x.shape[b], max(offset, 0)))
    return c.dims.maximum(c.dims.minimum(rows, columns), 0)


@lowers("aten.diagonal", "aten.diagonal_copy")
def diagonal(c: Conversion, x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    a, b = x.dim(dim1), x.dim(dim2)
    length = diagonal_length(c, x, a, b, offset)
    rest = [d for d in range(x.rank) if d not in (a, b)]

    def at(body: Body, i: list[SSAValue]) -> list[SSAValue]:
        place: dict[int, SSAValue] = dict(zip(rest, i, strict=False))
        place[a] = body.op(arith.AddiOp, i[-1], body.index(-offset)) if offset < 0 else i[-1]
        place[b] = body.op(arith.AddiOp, i[-1], body.index(offset)) if offset > 0 else i[-1]
        return [place[d] for d in range(x.rank)]

    return gathered(c, x, (*(x.shape[d] for d in rest), length), at)
