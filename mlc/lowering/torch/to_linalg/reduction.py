"""Reductions: sums, means, extremes, variance, norms, arg-extremes."""

from __future__ import annotations

import math as pymath
from collections.abc import Sequence

from xdsl.dialects import math
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import BOOL, F64, I64, DType
from mlc.lowering.torch.to_linalg.elementwise import cast, in_half
from mlc.lowering.torch.to_linalg.registry import Conversion, dims_of, lowers
from mlc.lowering.torch.to_linalg.structured import elementwise, reduce
from mlc.lowering.torch.to_linalg.tensor import Number, Tensor
from mlc.lowering.torch.to_linalg.view import drop_dims

Dims = Sequence[int] | int | None


def count_of(c: Conversion, x: Tensor, dims: Sequence[int]) -> Dim:
    """Number of elements that a reduction over `dims` reads."""
    return c.dims.product(x.shape[d] for d in dims)


def as_number(c: Conversion, n: Dim, dtype: DType) -> SSAValue | Number:
    """A size as a number of `dtype`: constant, or a value made outside the loops."""
    if isinstance(n, int):
        return n
    return Body(c.block, c.location).from_index(n, dtype)


def body_number(b: Body, n: SSAValue | Number, t: DType) -> SSAValue:
    return n if isinstance(n, SSAValue) else b.const(n, t)


def sum_over(c: Conversion, x: Tensor, dims: Sequence[int], dtype: DType, *, keepdim: bool = False) -> Tensor:
    """Sum in `dtype` (its compute type), rounded at the end."""
    t = dtype.compute
    (out,) = reduce(c, [x], dims, t, 0, lambda b, v, acc: b.add(acc, b.cast(v, x.dtype, t), t), keepdim=keepdim)
    return cast(c, out, dtype)


@lowers("aten.sum", "aten.sum.dim_IntList", "prims.sum")
def sum_(c: Conversion, x: Tensor, dims: Dims = None, keepdim: bool = False, *_: object) -> Tensor:
    assert c.operation is not None
    if c.operation.name == "torch.aten.sum":  # its second operand is a dtype
        dims, keepdim = None, False
    elif c.operation.name == "torch.prims.sum":
        keepdim = False
        if dims == []:
            return x
    x = in_half(c, x, c.out)
    return sum_over(c, x, dims_of(x, dims), c.out, keepdim=keepdim)


def mean_over(c: Conversion, x: Tensor, dims: Sequence[int], dtype: DType, *, keepdim: bool = False) -> Tensor:
    """Sum divided by the count."""
    t = dtype.compute
    total = sum_over(c, x, dims, t, keepdim=keepdim)
    n = as_number(c, count_of(c, x, dims), t)
    return elementwise(c, [total], dtype, lambda b, v: b.divf(v, body_number(b, n, t)))


@lowers("aten.mean", "aten.mean.dim")
def mean(c: Conversion, x: Tensor, dims: Dims = None, keepdim: bool = False, *_: object) -> Tensor:
    assert c.operation is not None
    if c.operation.name == "torch.aten.mean":
        dims, keepdim = None, False
    return mean_over(c, x, dims_of(x, dims), c.out, keepdim=keepdim)


def _product(c: Conversion, x: Tensor, dims: Sequence[int], keepdim: bool) -> Tensor:
    t = c.out.compute
    (out,) = reduce(c, [x], dims, t, 1, lambda b, v, acc: b.mul(acc, b.cast(v, x.dtype, t), t), keepdim=keepdim)
    return cast(c, out, c.out)


@lowers("aten.prod")
def prod(c: Conversion, x: Tensor, *_: object) -> Tensor:
    return _product(c, x, dims_of(x, None), False)


@lowers("aten.prod.dim_int")
def prod_dim(c: Conversion, x: Tensor, dim: int, keepdim: bool = False, *_: object) -> Tensor:
    return _product(c, x, dims_of(x, dim), keepdim)


def extreme(c: Conversion, x: Tensor, dims: Sequence[int], *, largest: bool, keepdim: bool = False) -> Tensor:
    """Maximum or minimum; NaN wins."""
    t = x.dtype
    if t.is_float:
        init: Number = -pymath.inf if largest else pymath.inf
    elif t.is_bool:
        init = not largest
    else:
        init = t.limits()[0 if largest else 1]
    (out,) = reduce(
        c,
        [x],
        dims,
        t,
        init,
        lambda b, v, acc: b.maximum(acc, v, t) if largest else b.minimum(acc, v, t),
        keepdim=keepdim,
    )
    return out


def _extreme(c: Conversion, x: Tensor, dims: Sequence[int], *, largest: bool, keepdim: bool = False) -> Tensor:
    """The same of one element at least."""
    c.need(x, dims)
    return extreme(c, x, dims, largest=largest, keepdim=keepdim)


@lowers("aten.amax")
def amax(c: Conversion, x: Tensor, dims: Dims = None, keepdim: bool = False) -> Tensor:
    return _extreme(c, x, dims_of(x, dims), largest=True, keepdim=keepdim)


@lowers("aten.amin")
def amin(c: Conversion, x: Tensor, dims: Dims = None, keepdim: bool = False) -> Tensor:
    return _extreme(c, x, dims_of(x, dims), largest=False, keepdim=keepdim)


@lowers("aten.max")
def max_(c: Conversion, x: Tensor) -> Tensor:
    return _extreme(c, x, dims_of(x, None), largest=True)


@lowers("aten.min")
def min_(c: Conversion, x: Tensor) -> Tensor:
    return _extreme(c, x, dims_of(x, None), largest=False)


def arg_extreme(c: Conversion, x: Tensor, d: int, *, largest: bool, keepdim: bool) -> tuple[Tensor, Tensor]:
    """Extreme value along `d` and its first position; the first NaN wins over everything."""
    c.need(x, [d])
    t = x.dtype
    positions = indexed(c, (x.shape[d],), I64, lambda b, at: b.from_index(at[0], I64))
    lead = Tensor(
        positions.value,
        I64,
        tuple(x.shape[d] if i == d else 1 for i in range(x.rank)),
        tuple(0 if i == d else None for i in range(x.rank)),
        positions.value_shape,
    )

    def fn(b: Body, v: SSAValue, at: SSAValue, best: SSAValue, where: SSAValue) -> tuple[SSAValue, SSAValue]:
        better = b.compare("gt" if largest else "lt", v, best, t)
        if t.is_float:
            fresh = b.logical_and(b.is_nan(v, t), b.logical_not(b.is_nan(best, t)))
            better = b.logical_or(b.logical_and(better, b.logical_not(b.is_nan(best, t))), fresh)
        # nothing was seen yet, or this comes earlier among equals
        none = b.compare("lt", where, b.const(0, I64), I64)
        earlier = b.logical_and(
            b.logical_and(b.compare("eq", v, best, t), b.compare("lt", at, where, I64)), b.logical_not(none)
        )
        take = b.logical_or(b.logical_or(better, none), earlier)
        return b.select(take, v, best), b.select(take, at, where)

    init: Number = (-pymath.inf if largest else pymath.inf) if t.is_float else 0
    values, places = reduce(c, [x, lead], [d], t, [init, -1], fn, keepdim=keepdim, dtypes=[t, I64])
    return values, places


def _with_index(name: str, largest: bool) -> None:
    def lower(c: Conversion, x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
        assert c.operation is not None
        if x.rank == 0:
            return x, c.full((), I64, 0)
        d = x.dim(dim)
        if not c.operation.results[1].first_use:
            only = _extreme(c, x, [d], largest=largest, keepdim=keepdim)
            return only, c.full(only.shape, I64, 0)
        return arg_extreme(c, x, d, largest=largest, keepdim=keepdim)

    lowers(f"aten.{name}.dim")(lower)


def _arg(name: str, largest: bool) -> None:
    def lower(c: Conversion, x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
        if x.rank == 0:
            return c.full((), I64, 0)
        if dim is None:
            c.need(x, range(x.rank))
            flat = c.viewed(x, (c.dims.product(x.shape),))
            return c.viewed(
                arg_extreme(c, flat, 0, largest=largest, keepdim=False)[1], (1,) * x.rank if keepdim else ()
            )
        return arg_extreme(c, x, x.dim(dim), largest=largest, keepdim=keepdim)[1]

    lowers(f"aten.{name}")(lower)


_with_index("max", True)
_with_index("min", False)
_arg("argmax", True)
_arg("argmin", False)


@lowers("aten.aminmax")
def aminmax(c: Conversion, x: Tensor, dim: int | None = None, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    dims = dims_of(x, dim)
    return (
        _extreme(c, x, dims, largest=False, keepdim=keepdim),
        _extreme(c, x, dims, largest=True, keepdim=keepdim),
    )


def _quantifier(name: str, every: bool) -> None:
    def lower(c: Conversion, x: Tensor, dims: Dims = None, keepdim: bool = False) -> Tensor:
        assert c.operation is not None
        if dims == [] and c.operation.name.endswith(".dims"):  # here, and only here, no dims are no dims
            return cast(c, cast(c, x, BOOL), c.out)

        def fn(b: Body, v: SSAValue, acc: SSAValue) -> SSAValue:
            truth = b.cast(v, x.dtype, BOOL)
            return b.logical_and(acc, truth) if every else b.logical_or(acc, truth)

        (out,) = reduce(c, [x], dims_of(x, dims), BOOL, every, fn, keepdim=keepdim)
        return cast(c, out, c.out)

    lowers(f"aten.{name}", f"aten.{name}.dim", f"aten.{name}.dims")(lower)


_quantifier("any", False)
_quantifier("all", True)


@lowers("aten.count_nonzero", "aten.count_nonzero.dim_IntList")
def count_nonzero(c: Conversion, x: Tensor, dims: Dims = None) -> Tensor:
    (out,) = reduce(
        c,
        [x],
        dims_of(x, dims),
        I64,
        0,
        lambda b, v, acc: b.add(acc, b.cast(b.cast(v, x.dtype, BOOL), BOOL, I64), I64),
    )
    return out


# -- variance ----------------------------------------------------------------------------------------------------


def moments(
    c: Conversion,
    x: Tensor,
    dims: Sequence[int],
    t: DType,
    correction: Number,
    *,
    keepdim: bool,
    sums: DType | None = None,
) -> tuple[Tensor, Tensor]:
    """Variance and mean over `dims`, in `t`, in two passes; squares are summed and divided in `sums` (`t`).

    A mean that was rounded leaves gaps whose sum is not zero: it is put right by that, so that equal numbers have no
    gaps; where sums are wider than gaps, so are squares.
    """
    rough = mean_over(c, x, dims, t, keepdim=True)
    wide = sums or t

    def gaps_of(b: Body, v: SSAValue, m: SSAValue, squares: SSAValue, gaps: SSAValue) -> tuple[SSAValue, SSAValue]:
        gap = b.cast(b.sub(b.cast(v, x.dtype, t), m, t), t, wide)
        return b.add(squares, b.mul(gap, gap, wide), wide), b.add(gaps, gap, wide)

    squares, gaps = reduce(c, [x, rough], dims, wide, (0, 0), gaps_of, keepdim=True, dtypes=[wide, wide])
    n = as_number(c, count_of(c, x, dims), wide)

    def put_right(b: Body, m: SSAValue, shift: SSAValue) -> SSAValue:
        is_finite = b.compare("lt", b.abs(shift, t), b.const(pymath.inf, t), t)
        return b.select(is_finite, b.add(m, shift, t), m)

    shift = cast(c, elementwise(c, [gaps], wide, lambda b, v: b.divf(v, body_number(b, n, wide))), t)
    average = elementwise(c, [rough, shift], t, put_right)

    def divided(b: Body, v: SSAValue, *gap: SSAValue) -> SSAValue:
        if isinstance(n, SSAValue):
            left = b.maximum(b.sub(n, b.const(correction, wide), wide), b.const(0, wide), wide)
        else:
            left = b.const(max(n - correction, 0), wide)
        if gap:
            excess = b.divf(b.mul(gap[0], gap[0], wide), body_number(b, n, wide))
            v = b.maximum(b.sub(v, excess, wide), b.const(0, wide), wide)
        return b.divf(v, left)

    variance = elementwise(c, [squares, gaps] if wide.bits > t.bits else [squares], wide, divided)
    return (variance, average) if keepdim else (drop_dims(variance, dims), drop_dims(average, dims))


def _spread(
    c: Conversion, x: Tensor, dims: Sequence[int], correction: Number, *, keepdim: bool
) -> tuple[Tensor, Tensor]:
    """Variance, its squares summed in float64 as eager does (those of 1e19 are no float32), and mean."""
    return moments(c, x, dims, x.dtype.compute, correction, keepdim=keepdim, sums=F64)


def _variance_args(c: Conversion, x: Tensor, args: Sequence[object]) -> tuple[list[int], Number, bool]:
    """(dims, correction, keepdim) of any overload of var, std, var_mean, std_mean."""
    assert c.operation is not None
    overload = c.operation.name.rpartition(".")[2]
    if overload == "correction":
        dims, correction, keepdim = (*args, None, None, False)[:3]
        number = 1 if correction is None else correction
    elif overload == "dim":
        dims, unbiased, keepdim = (*args, True, False)[:3]
        number = int(bool(unbiased))
    else:
        dims, number, keepdim = None, int(bool(args[0])) if args else 1, False
    assert isinstance(number, int | float)
    return dims_of(x, dims), number, bool(keepdim)  # pyright: ignore[reportArgumentType]


@lowers("aten.var", "aten.var.dim", "aten.var.correction")
def var(c: Conversion, x: Tensor, *args: object) -> Tensor:
    dims, correction, keepdim = _variance_args(c, x, args)
    return cast(c, _spread(c, x, dims, correction, keepdim=keepdim)[0], c.out)


@lowers("prims.var")
def primitive_var(
    c: Conversion, x: Tensor, dims: Sequence[int] | None, correction: Number | None = 1, *_: object
) -> Tensor:
    number = 1 if correction is None else correction
    return cast(c, _spread(c, x, dims_of(x, dims), number, keepdim=False)[0], c.out)


@lowers("aten.std", "aten.std.dim", "aten.std.correction")
def std(c: Conversion, x: Tensor, *args: object) -> Tensor:
    dims, correction, keepdim = _variance_args(c, x, args)
    variance, _ = _spread(c, x, dims, correction, keepdim=keepdim)
    return elementwise(c, [variance], c.out, lambda b, v: b.op(math.SqrtOp, v), compute=F64)


@lowers("aten.var_mean", "aten.var_mean.dim", "aten.var_mean.correction")
def var_mean(c: Conversion, x: Tensor, *args: object) -> tuple[Tensor, Tensor]:
    dims, correction, keepdim = _variance_args(c, x, args)
    variance, average = _spread(c, x, dims, correction, keepdim=keepdim)
    return cast(c, variance, c.out), cast(c, average, c.out)


@lowers("aten.std_mean", "aten.std_mean.dim", "aten.std_mean.correction")
def std_mean(c: Conversion, x: Tensor, *args: object) -> tuple[Tensor, Tensor]:
    dims, correction, keepdim = _variance_args(c, x, args)
    variance, average = _spread(c, x, dims, correction, keepdim=keepdim)
    return elementwise(c, [variance], c.out, lambda b, v: b.op(math.SqrtOp, v), compute=F64), cast(c, average, c.out)


# -- norms, log-sum-exp ------------------------------------------------------------------------------------------


def norm_over(c: Conversion, x: Tensor, order: Number, dims: Sequence[int], dtype: DType, *, keepdim: bool) -> Tensor:
    """Vector p-norm; of one element its magnitude, which no power over- or underflows."""
    if order != 0 and all(x.shape[d] == 1 for d in dims):
        size = elementwise(c, [x], dtype, lambda b, v: b.abs(v, dtype.compute))
        return size if keepdim else drop_dims(size, dims)
    return power_norm(c, x, order, dims, dtype, keepdim=keepdim)


def power_norm(c: Conversion, x: Tensor, order: Number, dims: Sequence[int], dtype: DType, *, keepdim: bool) -> Tensor:
    """The p-norm by its formula."""
    t = dtype.compute
    if order in (pymath.inf, -pymath.inf):
        c.need(x, dims)
        sized = elementwise(c, [x], t, lambda b, v: b.abs(v, t))
        return cast(c, extreme(c, sized, dims, largest=order > 0, keepdim=keepdim), dtype)

    def term(b: Body, v: SSAValue) -> SSAValue:
        v = b.cast(v, x.dtype, t)
        if order == 2:
            return b.mul(v, v, t)
        if order == 0:
            return b.cast(b.compare("ne", v, b.const(0.0, t), t), BOOL, t)
        size = b.abs(v, t)
        return size if order == 1 else b.op(math.PowFOp, size, b.const(order, t))

    (total,) = reduce(c, [x], dims, t, 0, lambda b, v, acc: b.add(acc, term(b, v), t), keepdim=keepdim)

    def root(b: Body, v: SSAValue) -> SSAValue:
        if order in (0, 1):
            return v
        return b.op(math.SqrtOp, v) if order == 2 else b.op(math.PowFOp, v, b.const(1.0 / float(order), t))

    return elementwise(c, [total], dtype, root)


@lowers("aten.linalg_vector_norm")
def linalg_vector_norm(
    c: Conversion, x: Tensor, order: Number = 2, dims: Dims = None, keepdim: bool = False, *_: object
) -> Tensor:
    return norm_over(c, x, order, dims_of(x, dims), c.out, keepdim=keepdim)


@lowers("aten.norm.Scalar", "aten.norm.ScalarOpt_dim", "aten.norm.ScalarOpt_dim_dtype")
def norm(
    c: Conversion, x: Tensor, order: Number | None = 2, dims: Dims = None, keepdim: bool = False, *_: object
) -> Tensor:
    return norm_over(c, x, 2 if order is None else order, dims_of(x, dims), c.out, keepdim=keepdim)


@lowers("aten.logsumexp")
def logsumexp(c: Conversion, x: Tensor, dims: Dims, keepdim: bool = False) -> Tensor:
    t = c.out.compute
    axes = dims_of(x, dims)
    x = cast(c, x, t)
    high = extreme(c, x, axes, largest=True, keepdim=True)
    # an infinite maximum is not subtracted: inf - inf would be NaN
    inf = pymath.inf
    high = elementwise(
        c, [high], t, lambda b, v: b.select(b.compare("eq", b.abs(v, t), b.const(inf, t), t), b.const(0.0, t), v)
    )
    (total,) = reduce(
        c, [x, high], axes, t, 0, lambda b, v, m, acc: b.add(acc, b.op(math.ExpOp, b.sub(v, m, t)), t), keepdim=keepdim
    )
    if not keepdim:
        high = drop_dims(high, axes)
    return elementwise(c, [total, high], c.out, lambda b, v, m: b.add(b.op(math.LogOp, v), m, t))
