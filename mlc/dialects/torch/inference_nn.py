"""Result types of products, convolutions, pooling, normalisation, attention and recurrent layers."""

from __future__ import annotations

from typing import Any

from mlc.dialects.torch.inference import aten, infers
from mlc.dialects.torch.promotion import CannotInfer, is_low_precision, result_type, tensor_dtype
from mlc.dialects.torch.shapes import (
    broadcast,
    broadcast2,
    dims,
    known,
    like,
    product,
    size_of,
    sizes_of,
    tensor,
)
from mlc.dialects.torch.types import BaseTensorType, f32
from mlc.errors import ShapeError


@infers(*aten("batch_norm instance_norm group_norm"))
def norm(x: Any, *_: Any) -> Any:
    """The input's type."""
    return like(x)


@infers(*aten("layer_norm rms_norm"))
def norm_of_last(x: Any, normalized: Any, *_: Any) -> Any:
    """The input's type; the last sizes are those to be normalized."""
    sizes, shape = sizes_of(normalized), dims(x)
    last = shape[len(shape) - len(sizes) :] if len(sizes) <= len(shape) else ()
    if len(last) != len(sizes) or any(a != b and None not in (a, b) for a, b in zip(last, sizes, strict=True)):
        raise ShapeError(f"normalized_shape {list(sizes)} for sizes {list(shape)}", expected="the last sizes")
    return like(x)


def _statistics_dtype(x: Any, *parameters: Any) -> Any:
    """Statistics of low precision tensors are kept in f32 when the parameters are."""
    dtype = tensor_dtype(x)
    if is_low_precision(dtype) and any(isinstance(p, BaseTensorType) and p.element_type == f32 for p in parameters):
        return f32
    return dtype


@infers(*aten("native_layer_norm"))
def native_layer_norm(x: Any, normalized: Any, weight: Any, bias: Any, _eps: Any) -> Any:
    """The result, mean and reciprocal deviation."""
    shape, count = dims(x), len(sizes_of(normalized))
    kept = shape[: len(shape) - count]
    statistics = tensor((*kept, *(1 for _ in range(count))), _statistics_dtype(x, weight, bias))
    return like(x), statistics, statistics


@infers(*aten("native_group_norm"))
def native_group_norm(x: Any, weight: Any, bias: Any, n: Any, _c: Any, _hw: Any, group: Any, _eps: Any) -> Any:
    """The result, mean and reciprocal deviation."""
    statistics = tensor((size_of(n), size_of(group)), _statistics_dtype(x, weight, bias))
    return like(x), statistics, statistics


@infers(*aten("native_batch_norm"))
def native_batch_norm(x: Any, weight: Any, _bias: Any, mean: Any, _var: Any, training: Any, *_: Any) -> Any:
    """The result and, when training, mean and reciprocal deviation."""
    dtype = _statistics_dtype(x, weight, mean)
    statistics = tensor((dims(x)[1] if known(training) else 0,), dtype)
    return like(x), statistics, statistics


@infers(*aten("_native_batch_norm_legit_no_training"))
def batch_norm_no_training(x: Any, weight: Any, _bias: Any, mean: Any, *_: Any) -> Any:
    """The result and two empty tensors."""
    return native_batch_norm(x, weight, None, mean, None, False)


@infers(*aten("_native_batch_norm_legit.no_stats"))
def batch_norm_no_stats(x: Any, weight: Any, bias: Any, training: Any, *_: Any) -> Any:
    """The result, mean and reciprocal deviation."""
    statistics = tensor((dims(x)[1] if known(training) else 0,), _statistics_dtype(x, weight, bias))
    return like(x), statistics, statistics


@infers(*aten("scaled_dot_product_attention"))
def attention(
    query: Any,
    key: Any,
    value: Any,
    _mask: Any = None,
    _dropout_p: Any = 0.0,
    _is_causal: Any = False,
    _scale: Any = None,
    grouped: Any = False,
) -> Any:
    """The query's sizes with the value's last; grouped queries have more heads than keys and values."""
    q, k, v = dims(query), dims(key), dims(value)
    lead = q[:-2] if known(grouped) else broadcast2(broadcast2(q[:-2], k[:-2]), v[:-2])
    return like(query, (*lead, q[-2], v[-1]))


@infers(*aten("_scaled_dot_product_flash_attention_for_cpu"))
def flash_attention(query: Any, key: Any, value: Any, *_: Any) -> Any:
    """The result and the logarithm of the sums."""
    q = dims(query)
    dtype = tensor_dtype(query)
    return like(query), tensor((q[0], q[1], q[2]), f32 if is_low_precision(dtype) else dtype)


def _recurrent(
    x: Any, hidden: Any, layers: Any, bidirectional: Any, batch_first: Any, weights: Any, biases: Any
) -> Any:
    shape, state = dims(x), dims(hidden)
    directions = 2 if known(bidirectional) else 1
    width = state[-1]
    if isinstance(weights, list) and len(weights) % (known(layers) * directions) == 0:
        each = len(weights) // (known(layers) * directions)
        if each == (5 if known(biases) else 3):  # the last weight of a cell projects its output
            width = dims(weights[each - 1])[0]
    return like(x, (*shape[:-1], product((width, directions)))), state


@infers(*aten("lstm.input"))
def lstm(
    x: Any,
    hx: Any,
    weights: Any,
    biases: Any,
    layers: Any,
    _dropout: Any,
    _train: Any,
    bidirectional: Any,
    batch_first: Any,
) -> Any:
    """The sequence and the last hidden and cell state."""
    if not isinstance(hx, list):
        raise CannotInfer("state unknown")
    out, _ = _recurrent(x, hx[0], layers, bidirectional, batch_first, weights, biases)
    return out, like(hx[0]), like(hx[1])


@infers(*aten("gru.input rnn_tanh.input rnn_relu.input"))
def gru(
    x: Any,
    hx: Any,
    weights: Any,
    biases: Any,
    layers: Any,
    _dropout: Any,
    _train: Any,
    bidirectional: Any,
    batch_first: Any,
) -> Any:
    """The sequence and the last state."""
    out, _ = _recurrent(x, hx, layers, bidirectional, batch_first, weights, biases)
    return out, like(hx)


@infers(*aten("lstm_cell"))
def lstm_cell(_x: Any, hx: Any, *_: Any) -> Any:
    """Hidden and cell state."""
    if not isinstance(hx, list):
        raise CannotInfer("state unknown")
    return like(hx[0]), like(hx[1])


@infers(*aten("gru_cell rnn_tanh_cell rnn_relu_cell"))
def gru_cell(_x: Any, hx: Any, *_: Any) -> Any:
    """The state."""
    return like(hx)


def _loss(a: Any, b: Any, reduction: Any) -> Any:
    dtype = result_type((a, b))
    return tensor(broadcast(a, b) if known(reduction) == 0 else (), dtype)


@infers(*aten("mse_loss l1_loss"))
def pair_loss(a: Any, b: Any, reduction: Any = 1) -> Any:
    """One number, or one an element."""
    return _loss(a, b, reduction)


@infers(*aten("smooth_l1_loss huber_loss"))
def beta_loss(a: Any, b: Any, reduction: Any = 1, *_: Any) -> Any:
    """One number, or one an element."""
    return _loss(a, b, reduction)


@infers(*aten("binary_cross_entropy binary_cross_entropy_with_logits"))
def bce(a: Any, b: Any, *rest: Any) -> Any:
    """One number, or one an element."""
    return _loss(a, b, rest[-1] if rest else 1)


@infers(*aten("nll_loss_forward"))
def nll_loss_forward(x: Any, target: Any, _weight: Any, reduction: Any, _ignore: Any) -> Any:
    """The loss and the total weight."""
    return like(x, dims(target) if known(reduction) == 0 and len(dims(x)) == 2 else ()), like(x, ())


@infers(*aten("cross_entropy_loss"))
def cross_entropy_loss(x: Any, target: Any, _weight: Any = None, reduction: Any = 1, *_: Any) -> Any:
    """One number, or one a target."""
    if known(reduction) != 0:
        return like(x, ())
    if dims(x) == dims(target) and tensor_dtype(target) == tensor_dtype(x):
        return like(x, (dims(x)[0], *dims(x)[2:]))
    return like(x, dims(target))
