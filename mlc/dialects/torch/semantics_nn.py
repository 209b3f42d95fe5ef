"""Meaning of ATen's products, normalisation, attention, recurrent layers and losses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mlc.dialects.torch.numpy_values import Call, aten, wide
from mlc.dialects.torch.semantics_reduce import log_softmax_wide
from mlc.errors import UnsupportedError

_WIDE_LIMIT = 1 << 24


def product_operand(x: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """An operand of a product: float64, or its own float32 where copies would be large (numpy then sums in float32)."""
    if x.dtype.kind in "iub":
        return x.astype(np.int64) if x.dtype != bool else x
    if x.dtype.kind == "c":
        return x.astype(np.complex128)
    if x.dtype == np.float32 and x.size + sum(o.size for o in others) > _WIDE_LIMIT:
        return x
    return x.astype(np.float64)


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matrix product of batches; ints wrap."""
    return np.matmul(product_operand(a, b), product_operand(b, a))


@aten("mm bmm matmul linalg_matmul")
def matmul(_c: Call, a: np.ndarray, b: np.ndarray) -> Any:
    """Products of matrices, vectors and batches of them."""
    return product(a, b)


@aten("mv dot")
def vector_product(_c: Call, a: np.ndarray, b: np.ndarray) -> Any:
    """Product with a vector."""
    return product(a, b)


@aten("outer ger")
def outer(_c: Call, a: np.ndarray, b: np.ndarray) -> Any:
    """All products of two vectors' elements."""
    return np.outer(wide(a) if a.dtype.kind == "f" else a, b)


def _combine(c: Call, bias: np.ndarray, value: np.ndarray, beta: Any, alpha: Any) -> np.ndarray:
    """beta * bias + alpha * value; a bias that counts 0 is not looked at, be it NaN."""
    scaled = value if alpha == 1 else value * alpha
    if beta == 0:
        return scaled
    term = wide(bias) if c.dtype().kind in "fc" else bias
    return (term if beta == 1 else term * beta) + scaled


@aten("addmm addmv baddbmm")
def addmm(c: Call, bias: np.ndarray, a: np.ndarray, b: np.ndarray, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta * bias + alpha * a x b."""
    return _combine(c, bias, product(a, b), beta, alpha)


@aten("addbmm")
def addbmm(c: Call, bias: np.ndarray, a: np.ndarray, b: np.ndarray, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta * bias + alpha * the sum of all products."""
    return _combine(c, bias, product(a, b).sum(0), beta, alpha)


@aten("linear")
def linear(_c: Call, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> Any:
    """x times the weight's transpose, plus bias."""
    out = product(x, weight.T)
    return out if bias is None else out + wide(bias)


@aten("bilinear")
def bilinear(_c: Call, a: np.ndarray, b: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> Any:
    """a W b for each W."""
    out = np.einsum("...i,oij,...j->...o", wide(a), wide(weight), wide(b), optimize=True)
    return out if bias is None else out + wide(bias)


@aten("einsum")
def einsum(_c: Call, equation: str, tensors: Any, *_: Any) -> Any:
    """Sums of products, by letters."""
    return np.einsum(equation, *map(product_operand, tensors), optimize=True)


@aten("_trilinear")
def trilinear(
    _c: Call,
    a: np.ndarray,
    b: np.ndarray,
    c3: np.ndarray,
    expand1: Any,
    expand2: Any,
    expand3: Any,
    sumdim: Any,
    _unroll: int = 1,
) -> Any:
    """The product of three tensors after new dimensions, summed over some."""
    spread = []
    for x, dims in ((a, expand1), (b, expand2), (c3, expand3)):
        for d in dims:
            x = np.expand_dims(x, d)
        spread.append(wide(x))
    return (spread[0] * spread[1] * spread[2]).sum(axis=tuple(sumdim))


# Normalisation


def _affine(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    if weight is not None:
        x = x * wide(weight).reshape(shape)
    return x if bias is None else x + wide(bias).reshape(shape)


def _normalized(x: np.ndarray, axes: tuple[int, ...], eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x - mean) / sqrt(var + eps), mean, 1 / sqrt(var + eps), in float64."""
    x = wide(x)
    count = np.float64(math.prod(x.shape[i] for i in axes))
    mean = x.sum(axis=axes, keepdims=True) / count
    rstd = 1 / np.sqrt(((x - mean) ** 2).sum(axis=axes, keepdims=True) / count + eps)
    return (x - mean) * rstd, mean, rstd


@aten("native_layer_norm")
def native_layer_norm(_c: Call, x: np.ndarray, size: Any, weight: Any, bias: Any, eps: float) -> Any:
    """The last dimensions normalised; mean and reciprocal deviation."""
    axes = tuple(range(x.ndim - len(size), x.ndim))
    out, mean, rstd = _normalized(x, axes, eps)
    return _affine(out, weight, bias, tuple(size)), mean, rstd


@aten("layer_norm")
def layer_norm(
    c: Call, x: np.ndarray, size: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Any:
    """The last dimensions normalised."""
    return native_layer_norm(c, x, size, weight, bias, eps)[0]


@aten("rms_norm")
def rms_norm(c: Call, x: np.ndarray, size: Any, weight: Any = None, eps: float | None = None) -> Any:
    """The last dimensions divided by their root mean square."""
    axes = tuple(range(x.ndim - len(size), x.ndim))
    wide_x = wide(x)
    if eps is None:
        eps = float(np.finfo(c.dtype()).eps) if str(c.element()) != "bf16" else 2.0**-7
    mean = (wide_x**2).mean(axis=axes, keepdims=True)
    return _affine(wide_x / np.sqrt(mean + eps), weight, None, tuple(size))


def _channels(x: np.ndarray) -> tuple[int, ...]:
    return (1, -1, *(1,) * (x.ndim - 2))


def batch_norm_values(
    x: np.ndarray, weight: Any, bias: Any, mean: Any, var: Any, training: bool, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalised by channel: with the batch's own statistics in training, the given ones otherwise."""
    if training:
        axes = (0, *range(2, x.ndim))
        out, batch_mean, rstd = _normalized(x, axes, eps)
        return _affine(out, weight, bias, _channels(x)), batch_mean.reshape(-1), rstd.reshape(-1)
    shape = _channels(x)
    rstd = 1 / np.sqrt(wide(var) + eps)
    out = (wide(x) - wide(mean).reshape(shape)) * rstd.reshape(shape)
    return _affine(out, weight, bias, shape), np.zeros(0), np.zeros(0)


@aten("batch_norm")
def batch_norm(
    _c: Call,
    x: np.ndarray,
    weight: Any,
    bias: Any,
    mean: Any,
    var: Any,
    training: bool,
    _momentum: float,
    eps: float,
    _cudnn: bool,
) -> Any:
    """Normalised by channel."""
    return batch_norm_values(x, weight, bias, mean, var, training, eps)[0]


@aten("native_batch_norm")
def native_batch_norm(
    _c: Call, x: np.ndarray, weight: Any, bias: Any, mean: Any, var: Any, training: bool, _momentum: float, eps: float
) -> Any:
    """Normalised by channel; mean and reciprocal deviation of the batch."""
    return batch_norm_values(x, weight, bias, mean, var, training, eps)


@aten("_native_batch_norm_legit_no_training")
def batch_norm_no_training(
    _c: Call, x: np.ndarray, weight: Any, bias: Any, mean: Any, var: Any, _momentum: float, eps: float
) -> Any:
    """Normalised by channel with given statistics."""
    return batch_norm_values(x, weight, bias, mean, var, False, eps)


@aten("_native_batch_norm_legit.no_stats")
def batch_norm_no_stats(
    _c: Call, x: np.ndarray, weight: Any, bias: Any, training: bool, _momentum: float, eps: float
) -> Any:
    """Normalised by channel with the batch's own statistics."""
    if not training:
        raise UnsupportedError("batch norm without statistics outside training")
    return batch_norm_values(x, weight, bias, None, None, True, eps)


@aten("instance_norm")
def instance_norm(
    _c: Call,
    x: np.ndarray,
    weight: Any,
    bias: Any,
    mean: Any,
    var: Any,
    use_input_stats: bool,
    _momentum: float,
    eps: float,
    _cudnn: bool,
) -> Any:
    """Normalised by channel of each sample."""
    if not use_input_stats:
        return batch_norm_values(x, weight, bias, mean, var, False, eps)[0]
    return _affine(_normalized(x, tuple(range(2, x.ndim)), eps)[0], weight, bias, _channels(x))


def _group_norm(x: np.ndarray, groups: int, weight: Any, bias: Any, eps: float) -> Any:
    parts = x.reshape(x.shape[0], groups, -1)
    out, mean, rstd = _normalized(parts, (2,), eps)
    flat = (x.shape[0], groups)
    return _affine(out.reshape(x.shape), weight, bias, _channels(x)), mean.reshape(flat), rstd.reshape(flat)


@aten("group_norm")
def group_norm(
    _c: Call, x: np.ndarray, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Any:
    """Normalised by group of channels."""
    return _group_norm(x, groups, weight, bias, eps)[0]


@aten("native_group_norm")
def native_group_norm(
    _c: Call, x: np.ndarray, weight: Any, bias: Any, _n: int, _channels: int, _size: int, groups: int, eps: float
) -> Any:
    """Normalised by group of channels; mean and reciprocal deviation."""
    return _group_norm(x, groups, weight, bias, eps)


# Attention


def _scores(q: np.ndarray, k: np.ndarray, mask: Any, causal: bool, scale: float | None) -> np.ndarray:
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = np.matmul(wide(q), np.swapaxes(wide(k), -1, -2)) * factor
    if causal:
        allowed = np.tril(np.ones(scores.shape[-2:], bool))
        scores = np.where(allowed, scores, -np.inf)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + wide(mask)
    return scores


@aten("scaled_dot_product_attention")
def attention(
    _c: Call,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """softmax(q k' * scale + mask) v; rows with nothing to attend to are 0."""
    if dropout_p != 0:
        raise UnsupportedError("attention with dropout draws random numbers", hint="call model.eval() first")
    if enable_gqa and q.shape[-3] != k.shape[-3]:
        k = np.repeat(k, q.shape[-3] // k.shape[-3], axis=-3)
        v = np.repeat(v, q.shape[-3] // v.shape[-3], axis=-3)
    scores = _scores(q, k, mask, is_causal, scale)
    return np.matmul(_softmax_or_zero(scores), wide(v))


def _softmax_or_zero(scores: np.ndarray) -> np.ndarray:
    if scores.shape[-1] == 0:
        return scores
    peak = scores.max(axis=-1, keepdims=True)
    e = np.exp(scores - np.where(np.isneginf(peak), 0, peak))
    total = e.sum(axis=-1, keepdims=True)
    return np.where(np.isneginf(peak), 0, e / total)


@aten("_scaled_dot_product_flash_attention_for_cpu")
def flash_attention(
    c: Call,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    mask: Any = None,
    scale: float | None = None,
) -> Any:
    """Attention, and the logarithm of the softmax's sums."""
    out = attention(c, q, k, v, mask, dropout_p, is_causal, scale)
    scores = _scores(q, k, mask, is_causal, scale)
    peak = scores.max(axis=-1, keepdims=True)
    return out, (np.log(np.exp(scores - peak).sum(axis=-1, keepdims=True)) + peak)[..., 0]


# Recurrent layers: gates in PyTorch's order, states rounded to the tensor's dtype at every step.


# Losses: reduction 0 none, 1 mean, 2 sum.


def _reduced(value: np.ndarray, reduction: int) -> Any:
    return value if reduction == 0 else value.mean() if reduction == 1 else value.sum()


@aten("mse_loss")
def mse_loss(_c: Call, a: np.ndarray, b: np.ndarray, reduction: int = 1) -> Any:
    """Squared differences."""
    return _reduced((wide(a) - wide(b)) ** 2, reduction)


@aten("l1_loss")
def l1_loss(_c: Call, a: np.ndarray, b: np.ndarray, reduction: int = 1) -> Any:
    """Absolute differences."""
    return _reduced(np.abs(wide(a) - wide(b)), reduction)


def _nll(x: np.ndarray, target: np.ndarray, weight: Any, reduction: int, ignore: int) -> tuple[np.ndarray, np.ndarray]:
    """Negative log likelihood of rows (or one row), and the weights' sum."""
    rows = wide(x) if x.ndim > 1 else wide(x)[None]
    wanted = np.atleast_1d(target)
    counts = wanted != ignore
    safe = np.where(counts, wanted, 0)
    w = np.where(counts, np.ones(rows.shape[1])[safe] if weight is None else wide(weight)[safe], 0)
    losses = -np.take_along_axis(rows, safe[:, None], 1)[:, 0] * w
    total = w.sum()
    if reduction == 0:
        return losses.reshape(target.shape), np.asarray(0.0)
    return np.asarray(losses.sum() / total if reduction == 1 else losses.sum()), total


@aten("nll_loss_forward")
def nll_loss_forward(_c: Call, x: np.ndarray, target: np.ndarray, weight: Any, reduction: int, ignore: int) -> Any:
    """Negative log likelihood."""
    return _nll(x, target, weight, reduction, ignore)


@aten("cross_entropy_loss")
def cross_entropy_loss(
    _c: Call,
    x: np.ndarray,
    target: np.ndarray,
    weight: Any = None,
    reduction: int = 1,
    ignore: int = -100,
    label_smoothing: float = 0.0,
) -> Any:
    """Log softmax and negative log likelihood of class numbers."""
    if x.ndim > 2 or label_smoothing or target.dtype.kind == "f":
        raise UnsupportedError(
            "this form of cross entropy has no reference semantics", hint="use class numbers, two dimensions"
        )
    return _nll(log_softmax_wide(x, x.ndim - 1), target, weight, reduction, ignore)[0]


@aten("cdist")
def cdist(_c: Call, a: np.ndarray, b: np.ndarray, p: float = 2, _mode: Any = None) -> Any:
    """Distances of all pairs of rows."""
    difference = np.abs(wide(a)[..., :, None, :] - wide(b)[..., None, :, :])
    if p == math.inf:
        return difference.max(-1)
    return (difference**p).sum(-1) ** (1 / p) if p else (difference != 0).sum(-1).astype(np.float64)


@aten("_fft_r2c")
def fft_r2c(_c: Call, x: np.ndarray, dim: Any, normalization: int, onesided: bool) -> Any:
    """Fourier transform of real numbers; normalization 0 none, 1 by sqrt(n), 2 by n."""
    listed = [d % x.ndim for d in dim]
    work = wide(x)
    out = np.fft.rfft(work, axis=listed[-1]) if onesided else np.fft.fft(work, axis=listed[-1])
    for d in listed[:-1]:
        out = np.fft.fft(out, axis=d)
    count = math.prod(x.shape[d] for d in listed)
    return out / (1, math.sqrt(count), count)[normalization]
