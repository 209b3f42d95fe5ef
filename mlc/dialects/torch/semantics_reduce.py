"""Meaning of ATen's reductions, scans, softmax and sorting."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mlc.dialects.torch.numpy_values import Call, aten, axes, axis, is_float, round_to, wide
from mlc.dialects.torch.types import bf16, f16


def _in_half(c: Call, x: np.ndarray) -> np.ndarray:
    """`x` in the half type that a dtype argument asks for: PyTorch converts before it sums."""
    return round_to(x, c.element()) if c.element() in (f16, bf16) else x


def total(c: Call, x: np.ndarray, where: tuple[int, ...], keepdim: bool) -> Any:
    """Sum in float64, or in the result's integers."""
    target = c.dtype()
    if target.kind in "fc":
        return wide(_in_half(c, x)).sum(axis=where, keepdims=keepdim)
    return x.astype(target).sum(axis=where, keepdims=keepdim, dtype=target)


@aten("sum")
def full_sum(c: Call, x: np.ndarray, _dtype: Any = None) -> Any:
    """Sum of all elements."""
    return total(c, x, axes(None, x.ndim), False)


@aten("sum.dim_IntList")
def sum_dims(c: Call, x: np.ndarray, dim: Any, keepdim: bool = False, _dtype: Any = None) -> Any:
    """Sum over dimensions."""
    return total(c, x, axes(dim, x.ndim), keepdim)


@aten("nansum")
def nansum(c: Call, x: np.ndarray, dim: Any = None, keepdim: bool = False, _dtype: Any = None) -> Any:
    """Sum without the NaNs."""
    return total(c, np.where(np.isnan(x), 0, x) if is_float(x) else x, axes(dim, x.ndim), keepdim)


@aten("prod")
def full_prod(c: Call, x: np.ndarray, _dtype: Any = None) -> Any:
    """Product of all elements."""
    return _product(c, x, axes(None, x.ndim), False)


@aten("prod.dim_int")
def prod_dim(c: Call, x: np.ndarray, dim: int, keepdim: bool = False, _dtype: Any = None) -> Any:
    """Product over a dimension."""
    return _product(c, x, axes(dim, x.ndim), keepdim)


def _product(c: Call, x: np.ndarray, where: tuple[int, ...], keepdim: bool) -> Any:
    target = c.dtype()
    source = wide(x) if target.kind in "fc" else x.astype(target)
    return source.prod(axis=where, keepdims=keepdim, dtype=source.dtype)


@aten("mean")
def full_mean(_c: Call, x: np.ndarray, _dtype: Any = None) -> Any:
    """Mean of all elements."""
    return wide(x).mean() if x.size else np.asarray(math.nan)


@aten("mean.dim")
def mean_dims(_c: Call, x: np.ndarray, dim: Any, keepdim: bool = False, _dtype: Any = None) -> Any:
    """Mean over dimensions; NaN of nothing."""
    return _mean(wide(x), axes(dim, x.ndim), keepdim)


def _mean(x: np.ndarray, where: tuple[int, ...], keepdim: bool) -> np.ndarray:
    return x.sum(axis=where, keepdims=keepdim) / np.float64(_count(x, where))


def _count(x: np.ndarray, where: tuple[int, ...]) -> int:
    return math.prod(x.shape[i] for i in where)


def _moments(x: np.ndarray, dim: Any, correction: Any, keepdim: bool) -> tuple[np.ndarray, np.ndarray]:
    """Variance with n - correction (0 at least) in the denominator, and mean."""
    where = axes(dim, x.ndim)
    x = wide(x)
    mean = _mean(x, where, True)
    squares = (np.abs(x - mean) ** 2).sum(axis=where, keepdims=keepdim)
    divisor = np.float64(max(0.0, _count(x, where) - (1 if correction is None else correction)))
    return squares / divisor, mean if keepdim else mean.reshape(squares.shape)


def _std(variance: np.ndarray) -> np.ndarray:
    return np.sqrt(variance)


def _keep(variance: np.ndarray) -> np.ndarray:
    return variance


def _register_moments(name: str, fn: Callable[[np.ndarray], np.ndarray]) -> None:
    aten(name)(lambda _c, x, unbiased=True: fn(_moments(x, None, int(unbiased), False)[0]))
    aten(f"{name}.dim")(
        lambda _c, x, dim, unbiased=True, keepdim=False: fn(_moments(x, dim, int(unbiased), keepdim)[0])
    )
    aten(f"{name}.correction")(
        lambda _c, x, dim=None, correction=None, keepdim=False: fn(_moments(x, dim, correction, keepdim)[0])
    )

    def both(x: np.ndarray, dim: Any, correction: Any, keepdim: bool) -> Any:
        variance, mean = _moments(x, dim, correction, keepdim)
        return fn(variance), mean

    aten(f"{name}_mean.correction")(
        lambda _c, x, dim=None, correction=None, keepdim=False: both(x, dim, correction, keepdim)
    )
    aten(f"{name}_mean.dim")(lambda _c, x, dim, unbiased=True, keepdim=False: both(x, dim, int(unbiased), keepdim))


_register_moments("var", _keep)
_register_moments("std", _std)


def _nonempty(c: Call, x: np.ndarray, where: tuple[int, ...]) -> None:
    if any(x.shape[i] == 0 for i in where):
        c.fail("the maximum or minimum of no elements")


@aten("amax")
def amax(c: Call, x: np.ndarray, dim: Any = (), keepdim: bool = False) -> Any:
    """Largest over dimensions; NaN wins."""
    where = axes(dim, x.ndim)
    _nonempty(c, x, where)
    return x.max(axis=where, keepdims=keepdim)


@aten("amin")
def amin(c: Call, x: np.ndarray, dim: Any = (), keepdim: bool = False) -> Any:
    """Smallest over dimensions; NaN wins."""
    where = axes(dim, x.ndim)
    _nonempty(c, x, where)
    return x.min(axis=where, keepdims=keepdim)


@aten("aminmax")
def aminmax(c: Call, x: np.ndarray, dim: Any = None, keepdim: bool = False) -> Any:
    """Smallest and largest."""
    return amin(c, x, dim, keepdim), amax(c, x, dim, keepdim)


@aten("max")
def full_max(c: Call, x: np.ndarray) -> Any:
    """Largest of all."""
    return amax(c, x)


@aten("min")
def full_min(c: Call, x: np.ndarray) -> Any:
    """Smallest of all."""
    return amin(c, x)


def pick(x: np.ndarray, index: np.ndarray, dim: int, keepdim: bool) -> tuple[np.ndarray, np.ndarray]:
    """Elements at `index` along `dim`, and the index, without the dimension unless kept."""
    if x.ndim == 0:
        return x, np.zeros((), np.int64)
    index = np.expand_dims(index, dim)
    values = np.take_along_axis(x, index, dim)
    return (values, index) if keepdim else (values.squeeze(dim), index.squeeze(dim))


def _arg(x: np.ndarray, dim: int, fn: Any) -> np.ndarray:
    return fn(x, axis=dim) if x.ndim else np.zeros((), np.int64)


@aten("max.dim")
def max_dim(c: Call, x: np.ndarray, dim: int, keepdim: bool = False) -> Any:
    """Largest along a dimension and where it first stands."""
    at = axis(dim, x.ndim)
    _nonempty(c, x, (at,) if x.ndim else ())
    return pick(x, _arg(x, at, np.argmax), at, keepdim)


@aten("min.dim")
def min_dim(c: Call, x: np.ndarray, dim: int, keepdim: bool = False) -> Any:
    """Smallest along a dimension and where it first stands."""
    at = axis(dim, x.ndim)
    _nonempty(c, x, (at,) if x.ndim else ())
    return pick(x, _arg(x, at, np.argmin), at, keepdim)


def _arg_extreme(x: np.ndarray, dim: Any, keepdim: bool, fn: Any) -> np.ndarray:
    if dim is None:
        out = fn(x.reshape(-1))
        return np.asarray(out).reshape((1,) * x.ndim if keepdim else ())
    at = axis(dim, x.ndim)
    return pick(x, _arg(x, at, fn), at, keepdim)[1]


@aten("argmax")
def argmax(c: Call, x: np.ndarray, dim: Any = None, keepdim: bool = False) -> Any:
    """Where the largest first stands; a NaN is the largest."""
    _nonempty(c, x, axes(dim, x.ndim))
    return _arg_extreme(x, dim, keepdim, np.argmax)


@aten("argmin")
def argmin(c: Call, x: np.ndarray, dim: Any = None, keepdim: bool = False) -> Any:
    """Where the smallest first stands; a NaN is the smallest."""
    _nonempty(c, x, axes(dim, x.ndim))
    return _arg_extreme(x, dim, keepdim, np.argmin)


@aten("any any.dim")
def any_(_c: Call, x: np.ndarray, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether some element is not 0."""
    return (x != 0).any(axis=axes(dim, x.ndim), keepdims=keepdim)


@aten("all all.dim")
def all_(_c: Call, x: np.ndarray, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether no element is 0."""
    return (x != 0).all(axis=axes(dim, x.ndim), keepdims=keepdim)


@aten("any.dims")
def any_dims(c: Call, x: np.ndarray, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether some element is not 0; over no dims, each for itself."""
    return x != 0 if dim == [] else any_(c, x, dim, keepdim)


@aten("all.dims")
def all_dims(c: Call, x: np.ndarray, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether no element is 0; over no dims, each for itself."""
    return x != 0 if dim == [] else all_(c, x, dim, keepdim)


@aten("count_nonzero count_nonzero.dim_IntList")
def count_nonzero(_c: Call, x: np.ndarray, dim: Any = None) -> Any:
    """How many elements are not 0."""
    return (x != 0).sum(axis=axes(dim, x.ndim), dtype=np.int64)


@aten("linalg_vector_norm")
def vector_norm(
    _c: Call, x: np.ndarray, ord: float = 2, dim: Any = None, keepdim: bool = False, _dtype: Any = None
) -> Any:
    """The `ord` norm over dimensions."""
    where = axes(dim, x.ndim)
    magnitude = np.abs(wide(x))
    if ord == math.inf:
        return magnitude.max(axis=where, keepdims=keepdim)
    if ord == -math.inf:
        return magnitude.min(axis=where, keepdims=keepdim)
    if ord == 0:
        return (magnitude != 0).sum(axis=where, keepdims=keepdim).astype(np.float64)
    return (magnitude**ord).sum(axis=where, keepdims=keepdim) ** (1 / ord)


@aten("norm.Scalar")
def norm(c: Call, x: np.ndarray, p: float = 2) -> Any:
    """The `p` norm of all elements."""
    return vector_norm(c, x, p)


@aten("norm.ScalarOpt_dim")
def norm_dim(c: Call, x: np.ndarray, p: float | None, dim: Any, keepdim: bool = False) -> Any:
    """The `p` norm over dimensions."""
    return vector_norm(c, x, 2 if p is None else p, dim, keepdim)


@aten("logsumexp")
def logsumexp(_c: Call, x: np.ndarray, dim: Any, keepdim: bool = False) -> Any:
    """log(sum(exp(x))) without overflow."""
    where = axes(dim, x.ndim)
    x = wide(x)
    if _count(x, where) == 0:
        return np.full(x.sum(axis=where, keepdims=keepdim).shape, -math.inf)
    peak = x.max(axis=where, keepdims=True)
    shift = np.where(np.isfinite(peak), peak, 0)
    out = np.log(np.exp(x - shift).sum(axis=where, keepdims=True)) + shift
    return out if keepdim else out.squeeze(where)


@aten("cumsum")
def cumsum(c: Call, x: np.ndarray, dim: int, _dtype: Any = None) -> Any:
    """Running sums."""
    return _scan(c, x, dim, np.cumsum)


@aten("cumprod")
def cumprod(c: Call, x: np.ndarray, dim: int, _dtype: Any = None) -> Any:
    """Running products."""
    return _scan(c, x, dim, np.cumprod)


def _scan(c: Call, x: np.ndarray, dim: int, fn: Any) -> np.ndarray:
    target = c.dtype()
    source = wide(x) if target.kind in "fc" else x.astype(target)
    return fn(source, axis=axis(dim, x.ndim), dtype=source.dtype) if x.ndim else source


@aten("logcumsumexp")
def logcumsumexp(_c: Call, x: np.ndarray, dim: int) -> Any:
    """Running log(sum(exp(x)))."""
    return np.logaddexp.accumulate(wide(x), axis=axis(dim, x.ndim)) if x.ndim else x


@aten("cummax")
def cummax(_c: Call, x: np.ndarray, dim: int) -> Any:
    """Running largest and where it last stands."""
    return _running(x, dim, np.maximum)


@aten("cummin")
def cummin(_c: Call, x: np.ndarray, dim: int) -> Any:
    """Running smallest and where it last stands."""
    return _running(x, dim, np.minimum)


def _running(x: np.ndarray, dim: int, fn: Any) -> Any:
    if x.ndim == 0:
        return x, np.zeros((), np.int64)
    at = axis(dim, x.ndim)
    values = fn.accumulate(x, axis=at)
    here = np.arange(x.shape[at]).reshape([-1 if i == at else 1 for i in range(x.ndim)])
    same = (x == values) | (is_float(x) & np.isnan(values) & np.isnan(x) if is_float(x) else False)
    return values, np.maximum.accumulate(np.where(same, here, 0), axis=at)


def softmax_wide(x: np.ndarray, dim: int) -> np.ndarray:
    """Softmax in float64."""
    x = wide(x)
    if x.size == 0:
        return x
    at = axis(dim, x.ndim)
    if x.ndim == 0:
        x = x.reshape(1)
        return np.exp(x - x).reshape(())
    e = np.exp(x - x.max(axis=at, keepdims=True))
    return e / e.sum(axis=at, keepdims=True)


@aten("softmax.int _softmax")
def softmax(c: Call, x: np.ndarray, dim: int, _dtype: Any = None) -> Any:
    """exp(x) / sum(exp(x))."""
    return softmax_wide(_in_half(c, x), dim)


@aten("_safe_softmax")
def safe_softmax(_c: Call, x: np.ndarray, dim: int, _dtype: Any = None) -> Any:
    """Softmax that is 0 where all is -inf."""
    masked = np.all(np.isneginf(x), axis=axis(dim, x.ndim), keepdims=True)
    return np.where(masked, 0, softmax_wide(x, dim))


@aten("log_softmax.int _log_softmax")
def log_softmax(c: Call, x: np.ndarray, dim: int, _dtype: Any = None) -> Any:
    """x - log(sum(exp(x)))."""
    return log_softmax_wide(_in_half(c, x), dim)


def log_softmax_wide(x: np.ndarray, dim: int) -> np.ndarray:
    """Log softmax in float64."""
    x = wide(x)
    if x.size == 0:
        return x
    if x.ndim == 0:
        return x - x
    at = axis(dim, x.ndim)
    shifted = x - x.max(axis=at, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=at, keepdims=True))
