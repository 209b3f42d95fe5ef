"""Normalisations and softmax.

Row statistics are reductions; scale and shift are one elementwise op over rows, so that it fuses with its neighbours.
Where a variance leaves the type's range (values beyond about 1e18), eager's layer and group norm give 0 or NaN, by the
way their sums are split; here it is NaN. Its batch and instance norm give 0, and so do these.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import math
from xdsl.ir import SSAValue

from mlc.dialects.linalg.relayout_ops import SoftmaxOp
from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dims import Dim
from mlc.lowering.torch.to_linalg.dtypes import DType
from mlc.lowering.torch.to_linalg.elementwise import cast, in_half
from mlc.lowering.torch.to_linalg.reduction import extreme, mean_over, moments, reduce
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor


def _inverse_deviation(c: Conversion, variance: Tensor, eps: float, *, finite: bool = False) -> Tensor:
    """1 / sqrt(variance + eps); `finite`: as sqrt(v) / v, which is NaN and not 0 where v has left the type's range."""
    t = variance.dtype

    def fn(b: Body, v: SSAValue) -> SSAValue:
        shifted = b.add(v, b.const(eps, t), t)
        root = b.op(math.SqrtOp, shifted)
        return b.divf(root, shifted) if finite else b.divf(b.const(1.0, t), root)

    return elementwise(c, [variance], t, fn)


def normalized(
    c: Conversion,
    x: Tensor,
    mean: Tensor,
    inverse: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    dtype: DType,
) -> Tensor:
    """(x - mean) * inverse * weight + bias, everything stretched to x."""
    t = dtype.compute
    inputs = [x, mean, inverse, *(p for p in (weight, bias) if p is not None)]

    def fn(b: Body, v: SSAValue, m: SSAValue, s: SSAValue, *affine: SSAValue) -> SSAValue:
        rest = list(affine)
        out = b.mul(b.sub(v, m, t), s, t)
        if weight is not None:
            out = b.mul(out, rest.pop(0), t)
        return b.add(out, rest.pop(0), t) if bias is not None else out

    return elementwise(c, inputs, dtype, fn, shape=x.shape)


@lowers("aten.native_layer_norm")
def native_layer_norm(
    c: Conversion, x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    dims = list(range(x.rank - len(shape), x.rank))
    variance, mean = moments(c, x, dims, x.dtype.compute, 0, keepdim=True)
    inverse = _inverse_deviation(c, variance, eps, finite=True)
    return normalized(c, x, mean, inverse, weight, bias, x.dtype), cast(c, mean, x.dtype), cast(c, inverse, x.dtype)


@lowers("aten.layer_norm")
def layer_norm(
    c: Conversion,
    x: Tensor,
    shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: object,
) -> Tensor:
    return native_layer_norm(c, x, shape, weight, bias, eps)[0]


@lowers("aten.rms_norm")
def rms_norm(
    c: Conversion, x: Tensor, shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    t = x.dtype.compute
    dims = list(range(x.rank - len(shape), x.rank))
    small = {"f32": 1.1920928955078125e-07, "f64": 2.220446049250313e-16}[t.name] if eps is None else eps
    squares = elementwise(c, [x], t, lambda b, v: b.mul(v, v, t))
    inverse = _inverse_deviation(c, mean_over(c, squares, dims, t, keepdim=True), small)
    inputs = [x, inverse, *([weight] if weight is not None else [])]

    def fn(b: Body, v: SSAValue, s: SSAValue, *w: SSAValue) -> SSAValue:
        out = b.mul(v, s, t)
        return b.mul(out, w[0], t) if w else out

    return elementwise(c, inputs, x.dtype, fn, shape=x.shape)


def _per_channel(c: Conversion, p: Tensor, rank: int) -> Tensor:
    """(channels,) as (1, channels, 1, …)."""
    return c.viewed(p, (1, p.shape[0], *(1,) * (rank - 2)))


def batch_norm_of(
    c: Conversion,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    eps: float,
) -> Tensor:
    """x * scale + shift with scale and shift per channel computed from the statistics alone."""
    t = x.dtype.compute
    inverse = _inverse_deviation(c, cast(c, variance, t), eps)
    scale = inverse if weight is None else elementwise(c, [inverse, weight], t, lambda b, v, w: b.mul(v, w, t))

    def shifted(b: Body, s: SSAValue, m: SSAValue, *rest: SSAValue) -> SSAValue:
        low = b.mul(s, m, t)
        return b.sub(rest[0], low, t) if rest else b.neg(low, t)

    shift = elementwise(c, [scale, mean, *([bias] if bias is not None else [])], t, shifted)
    inputs = [x, _per_channel(c, scale, x.rank), _per_channel(c, shift, x.rank)]
    return elementwise(c, inputs, x.dtype, lambda b, v, s, m: b.add(b.mul(v, s, t), m, t), shape=x.shape)


def _batch_statistics(c: Conversion, x: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = moments(c, x, [0, *range(2, x.rank)], x.dtype.compute, 0, keepdim=False)
    return variance, mean


@lowers("aten.batch_norm")
def batch_norm(
    c: Conversion,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    *_: object,
) -> Tensor:
    if mean is None or variance is None:
        variance, mean = _batch_statistics(c, x)
    elif training:
        raise c.refuse("batch norm in training mode updates its statistics", hint="call model.eval() first")
    return batch_norm_of(c, x, weight, bias, mean, variance, eps)


@lowers("aten._native_batch_norm_legit_no_training")
def batch_norm_no_training(
    c: Conversion,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    empty = c.full((0,), x.dtype, 0)
    return batch_norm_of(c, x, weight, bias, mean, variance, eps), empty, empty


@lowers("aten.native_batch_norm")
def native_batch_norm(
    c: Conversion,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    if training and mean is None:
        return batch_norm_no_stats(c, x, weight, bias, training, momentum, eps)
    out = batch_norm(c, x, weight, bias, mean, variance, training, momentum, eps)
    empty = c.full((0,), x.dtype, 0)
    return out, empty, empty


@lowers("aten._native_batch_norm_legit.no_stats")
def batch_norm_no_stats(
    c: Conversion,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    variance, mean = _batch_statistics(c, x)
    return (
        batch_norm_of(c, x, weight, bias, mean, variance, eps),
        mean,
        _inverse_deviation(c, variance, eps),
    )


def _group_norm(
    c: Conversion,
    x: Tensor,
    groups: Dim,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    *,
    finite: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    batch, channels, *spatial = x.shape
    each = c.dims.floordiv(channels, groups)
    c.demand(c.dims.mul(each, groups), "eq", channels, "the channels are no multiple of the groups")
    for p in (weight, bias):
        if p is not None:
            c.demand(p.shape[0], "eq", channels, "weight and bias have one element per channel")
    split = c.viewed(x, (batch, groups, each, *spatial))
    dims = list(range(2, split.rank))
    variance, mean = moments(c, split, dims, x.dtype.compute, 0, keepdim=True)
    inverse = _inverse_deviation(c, variance, eps, finite=finite)
    affine = [None if p is None else c.viewed(p, (1, groups, each, *(1,) * len(spatial))) for p in (weight, bias)]
    out = normalized(c, split, mean, inverse, affine[0], affine[1], x.dtype)
    flat = (batch, groups)
    return c.viewed(out, x.shape), cast(c, c.viewed(mean, flat), x.dtype), cast(c, c.viewed(inverse, flat), x.dtype)


@lowers("aten.group_norm")
def group_norm(
    c: Conversion,
    x: Tensor,
    groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: object,
) -> Tensor:
    return _group_norm(c, x, groups, weight, bias, eps)[0]


@lowers("aten.native_group_norm")
def native_group_norm(
    c: Conversion,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    n: object,
    channels: object,
    area: object,
    groups: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return _group_norm(c, x, groups, weight, bias, eps)


@lowers("aten.instance_norm")
def instance_norm(
    c: Conversion,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    *_: object,
) -> Tensor:
    if not use_input_stats:
        assert mean is not None and variance is not None
        return batch_norm_of(c, x, weight, bias, mean, variance, eps)
    if x.shape[1] == 0:  # no channels, no groups
        return x
    return _group_norm(c, x, x.shape[1], weight, bias, eps, finite=False)[0]  # 0 there in eager, as for batch_norm


# -- softmax -----------------------------------------------------------------------------------------------------


def _without_elements(c: Conversion, x: Tensor, dtype: DType) -> Tensor:
    """Softmax of integers, which PyTorch has for tensors without elements only."""
    if 0 not in x.shape:
        raise c.refuse(f"softmax of {dtype.name} has no lowering", hint="convert to a float dtype first")
    return c.full(x.shape, dtype, 0)


def softmax_of(c: Conversion, x: Tensor, d: int, dtype: DType) -> Tensor:
    """Softmax along `d`, in the compute type of `dtype`."""
    if not dtype.is_float:
        return _without_elements(c, x, dtype)
    t = dtype.compute
    if x.rank == 0:  # exp(x - x): NaN of what is not finite
        return elementwise(c, [cast(c, x, t)], dtype, lambda b, v: b.add(b.sub(v, v, t), b.const(1.0, t), t))
    x = cast(c, x, t)
    axis = x.axes[d]
    if axis is None or sum(1 for a in x.axes if a == axis) > 1 or len(x.value_shape) != len({*x.axes} - {None}):
        x = c.plain(x)
        axis = d
    value = c.op(SoftmaxOp, x.value, c.empty(x.value_shape, t), axis)
    return cast(c, Tensor(value, t, x.shape, x.axes, x.value_shape), dtype)


@lowers("aten.softmax.int", "aten._softmax")
def softmax(c: Conversion, x: Tensor, dim: int, *_: object) -> Tensor:
    return softmax_of(c, in_half(c, x, c.out), x.dim(dim), c.out)


@lowers("aten._safe_softmax")
def safe_softmax(c: Conversion, x: Tensor, dim: int, *_: object) -> Tensor:
    return without_masked_rows(c, x, softmax_of(c, x, x.dim(dim), c.out), x.dim(dim))


def without_masked_rows(c: Conversion, scores: Tensor, weights: Tensor, d: int) -> Tensor:
    """Softmax with the rows that are -inf throughout (all masked) made zero instead of NaN."""
    high = extreme(c, scores, [d], largest=True, keepdim=True) if scores.rank else scores
    t = weights.dtype.compute
    low = float("-inf")
    return elementwise(
        c,
        [weights, high],
        weights.dtype,
        lambda b, w, h: b.select(b.compare("eq", h, b.const(low, t), t), b.const(0.0, t), w),
    )


@lowers("aten.log_softmax.int", "aten._log_softmax")
def log_softmax(c: Conversion, x: Tensor, dim: int, *_: object) -> Tensor:
    if not c.out.is_float:
        return _without_elements(c, x, c.out)
    t, d = c.out.compute, x.dim(dim)
    x = cast(c, in_half(c, x, c.out), t)
    if x.rank == 0:
        return elementwise(c, [x], c.out, lambda b, v: b.sub(v, v, t))
    high = extreme(c, x, [d], largest=True, keepdim=True)
    (total,) = reduce(
        c, [x, high], [d], t, 0, lambda b, v, m, acc: b.add(acc, b.op(math.ExpOp, b.sub(v, m, t)), t), keepdim=True
    )
    shift = elementwise(c, [total], t, lambda b, v: b.op(math.LogOp, v))
    return elementwise(c, [x, high, shift], c.out, lambda b, v, m, s: b.sub(b.sub(v, m, t), s, t))


@lowers("aten.softmin.int")
def softmin(c: Conversion, x: Tensor, dim: int, *_: object) -> Tensor:
    negated = elementwise(c, [x], c.out, lambda b, v: b.neg(v, c.out.compute))
    return softmax_of(c, negated, x.dim(dim), c.out)
