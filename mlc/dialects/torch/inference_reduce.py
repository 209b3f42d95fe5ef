"""Result types of reductions, scans, sorting."""

from __future__ import annotations

from typing import Any

from xdsl.ir import Attribute

from mlc.dialects.torch.inference import aten, infers
from mlc.dialects.torch.promotion import from_scalar_type, result_type, tensor_dtype, to_float, to_real, to_sum
from mlc.dialects.torch.shapes import Size, dims, known, like, reduced, size_of, tensor, wrap_dim
from mlc.dialects.torch.types import i1, si32, si64


def axes_of(x: Any, dim: Any) -> tuple[int, ...]:
    """The reduced dimensions: all of them for None or an empty list."""
    rank = len(dims(x))
    listed = known(dim)
    if listed is None or listed == []:
        return tuple(range(rank))
    return tuple(wrap_dim(d, rank) for d in (listed if isinstance(listed, list | tuple) else [listed]) if rank)


def _dtype(dtype: Any, otherwise: Attribute) -> Attribute:
    return otherwise if known(dtype) is None else from_scalar_type(dtype)


def _reduce(x: Any, dim: Any, keepdim: Any, dtype: Attribute) -> Any:
    return tensor(reduced(dims(x), axes_of(x, dim), bool(known(keepdim))), dtype)


@infers(*aten("sum nansum prod"))
def full_sum(x: Any, dtype: Any = None, *rest: Any) -> Any:
    """Ints and bools sum to 64 bit ints. (nansum has dims first.)"""
    if rest:
        return sum_dims(x, dtype, *rest)
    return tensor((), _dtype(dtype, to_sum(tensor_dtype(x))))


@infers(*aten("sum.dim_IntList prod.dim_int"))
def sum_dims(x: Any, dim: Any, keepdim: Any = False, dtype: Any = None) -> Any:
    """Ints and bools sum to 64 bit ints."""
    return _reduce(x, dim, keepdim, _dtype(dtype, to_sum(tensor_dtype(x))))


@infers(*aten("mean"))
def full_mean(x: Any, dtype: Any = None) -> Any:
    """The tensor's dtype, or the one asked for."""
    return tensor((), _dtype(dtype, tensor_dtype(x)))


@infers(*aten("mean.dim nanmean"))
def mean_dims(x: Any, dim: Any, keepdim: Any = False, dtype: Any = None) -> Any:
    """The tensor's dtype, or the one asked for."""
    return _reduce(x, dim, keepdim, _dtype(dtype, tensor_dtype(x)))


@infers(*aten("var std"))
def full_var(x: Any, *_: Any) -> Any:
    """A real float."""
    return tensor((), to_real(tensor_dtype(x)))


@infers(*aten("var.dim std.dim"))
def var_dims(x: Any, dim: Any, _unbiased: Any = True, keepdim: Any = False) -> Any:
    """A real float."""
    return _reduce(x, dim, keepdim, to_real(tensor_dtype(x)))


@infers(*aten("var.correction std.correction"))
def var_correction(x: Any, dim: Any = None, _correction: Any = None, keepdim: Any = False) -> Any:
    """A real float."""
    return _reduce(x, dim, keepdim, to_real(tensor_dtype(x)))


@infers(*aten("var_mean.correction std_mean.correction"))
def var_mean(x: Any, dim: Any = None, _correction: Any = None, keepdim: Any = False) -> Any:
    """Variance and mean."""
    return var_correction(x, dim, None, keepdim), _reduce(x, dim, keepdim, tensor_dtype(x))


@infers(*aten("var_mean.dim std_mean.dim"))
def var_mean_dim(x: Any, dim: Any, _unbiased: Any = True, keepdim: Any = False) -> Any:
    """Variance and mean."""
    return var_mean(x, dim, None, keepdim)


@infers(*aten("amax amin logsumexp"))
def amax(x: Any, dim: Any = (), keepdim: Any = False) -> Any:
    """The tensor's dtype."""
    return _reduce(x, list(known(dim)) if isinstance(dim, tuple) else dim, keepdim, tensor_dtype(x))


@infers(*aten("aminmax"))
def aminmax(x: Any, dim: Any = None, keepdim: Any = False) -> Any:
    """Both extremes."""
    out = _reduce(x, dim, keepdim, tensor_dtype(x))
    return out, out


@infers(*aten("max min median nanmedian"))
def full_extreme(x: Any) -> Any:
    """One element."""
    return tensor((), tensor_dtype(x))


@infers(*aten("max.dim min.dim median.dim nanmedian.dim mode"))
def extreme_dim(x: Any, dim: Any = -1, keepdim: Any = False) -> Any:
    """Values and their indices."""
    return _reduce(x, dim, keepdim, tensor_dtype(x)), _reduce(x, dim, keepdim, si64)


@infers(*aten("kthvalue"))
def kthvalue(x: Any, _k: Any, dim: Any = -1, keepdim: Any = False) -> Any:
    """Values and their indices."""
    return extreme_dim(x, dim, keepdim)


@infers(*aten("argmax argmin"))
def argmax(x: Any, dim: Any = None, keepdim: Any = False) -> Any:
    """Indices."""
    return _reduce(x, dim, keepdim, si64)


@infers(*aten("any all"))
def full_any(x: Any) -> Any:
    """One bool (ui8 for ui8)."""
    return tensor((), _bool(x))


@infers(*aten("any.dims all.dims"))
def any_list(x: Any, dim: Any = None, keepdim: Any = False) -> Any:
    """Bools (ui8 for ui8); no dims are no dims, not all of them."""
    return like(x, dtype=_bool(x)) if known(dim) == [] else any_dims(x, dim, keepdim)


@infers(*aten("any.dim all.dim"))
def any_dims(x: Any, dim: Any, keepdim: Any = False) -> Any:
    """Bools (ui8 for ui8)."""
    return _reduce(x, dim, keepdim, _bool(x))


def _bool(x: Any) -> Attribute:
    dtype = tensor_dtype(x)
    return dtype if str(dtype) == "ui8" else i1


@infers(*aten("count_nonzero count_nonzero.dim_IntList"))
def count_nonzero(x: Any, dim: Any = None) -> Any:
    """Counts."""
    return _reduce(x, dim, False, si64)


@infers(*aten("linalg_vector_norm"))
def vector_norm(x: Any, _ord: Any = 2, dim: Any = None, keepdim: Any = False, dtype: Any = None) -> Any:
    """A real float."""
    return _reduce(x, dim, keepdim, to_real(_dtype(dtype, to_float(tensor_dtype(x)))))


@infers(*aten("norm.Scalar"))
def norm(x: Any, _p: Any = 2) -> Any:
    """A real float."""
    return tensor((), to_real(tensor_dtype(x)))


@infers(*aten("norm.ScalarOpt_dim"))
def norm_dim(x: Any, _p: Any, dim: Any, keepdim: Any = False) -> Any:
    """A real float."""
    return _reduce(x, dim, keepdim, to_real(tensor_dtype(x)))


@infers(*aten("cumsum cumprod"))
def cumsum(x: Any, _dim: Any, dtype: Any = None) -> Any:
    """Ints and bools scan to 64 bit ints."""
    return like(x, dtype=_dtype(dtype, to_sum(tensor_dtype(x))))


@infers(*aten("logcumsumexp"))
def logcumsumexp(x: Any, _dim: Any) -> Any:
    """The tensor's dtype."""
    return like(x)


@infers(*aten("cummax cummin"))
def cummax(x: Any, _dim: Any) -> Any:
    """Values and indices."""
    return like(x), like(x, dtype=si64)


@infers(*aten("softmax.int log_softmax.int"))
def softmax(x: Any, _dim: Any, dtype: Any = None) -> Any:
    """The dtype asked for, if any; ints become floats."""
    return like(x, dtype=_dtype(dtype, to_float(tensor_dtype(x))))


@infers(*aten("_softmax _log_softmax _safe_softmax"))
def core_softmax(x: Any, _dim: Any, to_float_or_dtype: Any = False) -> Any:
    """The tensor's dtype; the half-to-float flag (a dtype for _safe_softmax) may widen it."""
    if known(to_float_or_dtype) in (False, None):
        return like(x)
    return like(x, dtype=from_scalar_type(6 if to_float_or_dtype is True else to_float_or_dtype))


@infers(*aten("sort sort.stable"))
def sort(x: Any, *_: Any, **__: Any) -> Any:
    """Values and indices."""
    return like(x), like(x, dtype=si64)


@infers(*aten("msort"))
def msort(x: Any) -> Any:
    """Values."""
    return like(x)


@infers(*aten("argsort argsort.stable"))
def argsort(x: Any, *_: Any, **__: Any) -> Any:
    """Indices."""
    return like(x, dtype=si64)


@infers(*aten("topk"))
def topk(x: Any, k: Any, dim: Any = -1, *_: Any) -> Any:
    """`k` values and indices."""
    shape: list[Size] = list(dims(x))
    if shape:
        shape[wrap_dim(dim, len(shape))] = size_of(k)
    return like(x, shape), like(x, shape, si64)


@infers(*aten("bincount"))
def bincount(_x: Any, weights: Any = None, _minlength: Any = 0) -> Any:
    """Counts, as many as the largest value."""
    return tensor((None,), si64 if weights is None else to_float(tensor_dtype(weights)))


@infers(*aten("bucketize.Tensor"))
def bucketize(x: Any, _boundaries: Any, out_int32: Any = False, right: Any = False) -> Any:
    """Indices."""
    return like(x, dtype=si32 if known(out_int32) else si64)


@infers(*aten("bucketize.Scalar"))
def bucketize_number(_x: Any, _boundaries: Any, out_int32: Any = False, right: Any = False) -> Any:
    """An index."""
    return tensor((), si32 if known(out_int32) else si64)


@infers(*aten("searchsorted.Scalar"))
def searchsorted_number(_sorted: Any, _x: Any, out_int32: Any = False, *_: Any) -> Any:
    """An index."""
    return tensor((), si32 if known(out_int32) else si64)


@infers(*aten("searchsorted.Tensor"))
def searchsorted(
    _sorted: Any, x: Any, out_int32: Any = False, right: Any = False, side: Any = None, sorter: Any = None
) -> Any:
    """Indices."""
    return like(x, dtype=si32 if known(out_int32) else si64)


@infers(*aten("dist"))
def dist(a: Any, b: Any, _p: Any = 2) -> Any:
    """A real float."""
    return tensor((), to_real(result_type((a, b))))


@infers(*aten("cosine_similarity"))
def cosine_similarity(a: Any, b: Any, dim: Any = 1, _eps: Any = 1e-8) -> Any:
    """One dimension reduced."""
    return _reduce(a, dim, False, result_type((a, b)))
