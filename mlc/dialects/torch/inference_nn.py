"""Result types of products, convolutions, pooling, normalisation, attention and recurrent layers."""

from __future__ import annotations

from typing import Any

from xdsl.dialects.builtin import ComplexType

from mlc.dialects.torch.inference import aten, infers
from mlc.dialects.torch.promotion import CannotInfer, is_low_precision, result_type, tensor_dtype
from mlc.dialects.torch.shapes import (
    Size,
    add,
    broadcast,
    broadcast2,
    dims,
    known,
    like,
    product,
    reduced,
    size_of,
    sizes_of,
    spread,
    tensor,
    window,
)
from mlc.dialects.torch.types import BaseTensorType, f32, si64


@infers(*aten("mm"))
def mm(a: Any, b: Any) -> Any:
    """[n,k] x [k,m] = [n,m]."""
    return like(a, (dims(a)[0], dims(b)[1]))


@infers(*aten("bmm"))
def bmm(a: Any, b: Any) -> Any:
    """[b,n,k] x [b,k,m] = [b,n,m]."""
    batch = dims(a)[0] if dims(a)[0] is not None else dims(b)[0]
    return like(a, (batch, dims(a)[1], dims(b)[2]))


@infers(*aten("mv"))
def mv(a: Any, _b: Any) -> Any:
    """[n,k] x [k] = [n]."""
    return like(a, (dims(a)[0],))


@infers(*aten("dot vdot"))
def dot(a: Any, _b: Any) -> Any:
    """A number."""
    return like(a, ())


@infers(*aten("outer ger"))
def outer(a: Any, b: Any) -> Any:
    """[n] x [m] = [n,m]."""
    return tensor((dims(a)[0], dims(b)[0]), result_type((a, b)))


@infers(*aten("matmul linalg_matmul"))
def matmul(a: Any, b: Any) -> Any:
    """Vectors, matrices, and batches of these that broadcast."""
    left, right = dims(a), dims(b)
    if len(left) == 1 and len(right) == 1:
        return like(a, ())
    if len(left) == 1:
        return like(a, (*right[:-2], right[-1]))
    if len(right) == 1:
        return like(a, left[:-1])
    return like(a, (*broadcast2(left[:-2], right[:-2]), left[-2], right[-1]))


@infers(*aten("addmm"))
def addmm(_bias: Any, a: Any, b: Any, *_: Any) -> Any:
    """bias + a x b."""
    return mm(a, b)


@infers(*aten("addmv"))
def addmv(_bias: Any, a: Any, b: Any, *_: Any) -> Any:
    """bias + a x b."""
    return mv(a, b)


@infers(*aten("addbmm"))
def addbmm(_bias: Any, a: Any, b: Any, *_: Any) -> Any:
    """bias + the sum of all products."""
    return like(a, (dims(a)[1], dims(b)[2]))


@infers(*aten("baddbmm"))
def baddbmm(_bias: Any, a: Any, b: Any, *_: Any) -> Any:
    """bias + a x b."""
    return bmm(a, b)


@infers(*aten("linear"))
def linear(x: Any, weight: Any, _bias: Any = None) -> Any:
    """The last size becomes the weight's first."""
    out = dims(weight)
    return like(x, (*dims(x)[:-1], *out[:-1]))


@infers(*aten("bilinear"))
def bilinear(a: Any, _b: Any, weight: Any, _bias: Any = None) -> Any:
    """The last size becomes the weight's first."""
    return like(a, (*dims(a)[:-1], dims(weight)[0]))


@infers(*aten("einsum"))
def einsum(equation: Any, tensors: Any, *_: Any, **__: Any) -> Any:
    """Sizes of the letters of the result."""
    if not isinstance(tensors, list) or "." in known(equation):
        raise CannotInfer("ellipsis")
    left, arrow, right = equation.replace(" ", "").partition("->")
    sizes: dict[str, Size] = {}
    for letters, t in zip(left.split(","), tensors, strict=True):
        for letter, size in zip(letters, dims(t), strict=True):
            if sizes.get(letter) in (None, 1):
                sizes[letter] = size
    if not arrow:
        flat = left.replace(",", "")
        right = "".join(sorted(c for c in set(flat) if flat.count(c) == 1))
    return tensor([sizes[c] for c in right], result_type(tensors))


@infers(*aten("_trilinear"))
def trilinear(a: Any, b: Any, c: Any, expand1: Any, expand2: Any, expand3: Any, sumdim: Any, _unroll: Any = 1) -> Any:
    """The common shape after new dimensions, without those summed over."""
    shape: tuple[Size, ...] = ()
    for t, places in ((a, expand1), (b, expand2), (c, expand3)):
        grown = list(dims(t))
        for place in known(places):
            grown.insert(place, 1)
        shape = broadcast2(shape, grown)
    return like(a, reduced(shape, known(sumdim), False))


def _convolved(x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, rank: int) -> Any:
    shape, kernel = dims(x), dims(weight)
    batch = shape[: len(shape) - rank - 1]
    strides, dilations = spread(stride, rank), spread(dilation, rank)
    if isinstance(padding, str):
        out = [
            size if padding == "same" else _window(size, kernel[2 + i], strides[i], 0, dilations[i])
            for i, size in enumerate(shape[len(shape) - rank :])
        ]
    else:
        pads = spread(padding, rank)
        out = [
            _window(size, kernel[2 + i], strides[i], pads[i], dilations[i])
            for i, size in enumerate(shape[len(shape) - rank :])
        ]
    return like(x, (*batch, kernel[0], *out))


def _window(size: Size, kernel: Size, stride: int, padding: int, dilation: int) -> Size:
    return None if kernel is None else window(size, kernel, stride, padding, dilation)


@infers(*aten("conv1d conv2d conv3d conv1d.padding conv2d.padding conv3d.padding"))
def conv(x: Any, weight: Any, _bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, *_: Any) -> Any:
    """Windows along each spatial dimension."""
    return _convolved(x, weight, stride, padding, dilation, len(dims(weight)) - 2)


def _transposed(x: Any, weight: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any, groups: Any) -> Any:
    shape, kernel = dims(x), dims(weight)
    rank = len(kernel) - 2
    strides, pads, extra, dilations = (spread(v, rank) for v in (stride, padding, output_padding, dilation))
    out: list[Size] = []
    for i, size in enumerate(shape[len(shape) - rank :]):
        k = kernel[2 + i]
        known_size = (
            None if size is None or k is None else (size - 1) * strides[i] - 2 * pads[i] + dilations[i] * (k - 1)
        )
        out.append(None if known_size is None else known_size + extra[i] + 1)
    channels = product((kernel[1], known(groups)))
    return like(x, (*shape[: len(shape) - rank - 1], channels, *out))


@infers(*aten("conv_transpose1d conv_transpose2d.input conv_transpose3d.input"))
def conv_transpose(
    x: Any,
    weight: Any,
    _bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: Any = 1,
    dilation: Any = 1,
) -> Any:
    """The size whose convolution gives the input's."""
    return _transposed(x, weight, stride, padding, output_padding, dilation, groups)


@infers(*aten("convolution _convolution _convolution.deprecated convolution_overrideable"))
def convolution(
    x: Any,
    weight: Any,
    _bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: Any,
    output_padding: Any,
    groups: Any,
    *_: Any,
) -> Any:
    """Either kind."""
    if known(transposed):
        return _transposed(x, weight, stride, padding, output_padding, dilation, groups)
    return _convolved(x, weight, stride, padding, dilation, len(dims(weight)) - 2)


def _pooled(
    x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, rank: int
) -> tuple[Size, ...]:
    shape = dims(x)
    kernels = spread(kernel, rank)
    strides = kernels if not known(stride) else spread(stride, rank)
    pads, dilations = spread(padding, rank), spread(dilation, rank)
    start = len(shape) - rank
    return (
        *shape[:start],
        *(
            window(shape[start + i], kernels[i], strides[i], pads[i], dilations[i], bool(known(ceil_mode)))
            for i in range(rank)
        ),
    )


def _max_pool(rank: int):
    def rule(
        x: Any, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: Any = False
    ) -> Any:
        return like(x, _pooled(x, kernel, stride, padding, dilation, ceil_mode, rank))

    return rule


def _max_pool_indices(rank: int):
    def rule(
        x: Any, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: Any = False
    ) -> Any:
        shape = _pooled(x, kernel, stride, padding, dilation, ceil_mode, rank)
        return like(x, shape), like(x, shape, si64)

    return rule


def _avg_pool(rank: int):
    def rule(x: Any, kernel: Any, stride: Any = None, padding: Any = 0, ceil_mode: Any = False, *_: Any) -> Any:
        return like(x, _pooled(x, kernel, stride, padding, 1, ceil_mode, rank))

    return rule


def _adaptive(rank: int):
    def rule(x: Any, size: Any) -> Any:
        shape = dims(x)
        return like(x, (*shape[: len(shape) - rank], *_adaptive_sizes(size, shape, rank)))

    return rule


def _adaptive_indices(rank: int):
    def rule(x: Any, size: Any) -> Any:
        out = _adaptive(rank)(x, size)
        return out, like(out, dtype=si64)

    return rule


def _adaptive_sizes(size: Any, shape: tuple[Size, ...], rank: int) -> list[Size]:
    wanted = list(sizes_of(size))
    return wanted * rank if len(wanted) == 1 else wanted


for _rank in (1, 2, 3):
    infers(f"aten.max_pool{_rank}d")(_max_pool(_rank))
    infers(f"aten.max_pool{_rank}d_with_indices")(_max_pool_indices(_rank))
    infers(f"aten.avg_pool{_rank}d")(_avg_pool(_rank))
    infers(f"aten.adaptive_avg_pool{_rank}d")(_adaptive(_rank))
    infers(f"aten.adaptive_max_pool{_rank}d")(_adaptive_indices(_rank))
infers("aten._adaptive_avg_pool2d")(_adaptive(2))
infers("aten._adaptive_avg_pool3d")(_adaptive(3))


@infers(*aten("batch_norm instance_norm layer_norm group_norm rms_norm"))
def norm(x: Any, *_: Any) -> Any:
    """The input's type."""
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


def _upsampled(rank: int):
    def rule(x: Any, size: Any, *_: Any) -> Any:
        return like(x, (*dims(x)[: len(dims(x)) - rank], *sizes_of(size)))

    return rule


def _upsampled_vec(rank: int):
    def rule(x: Any, size: Any, *rest: Any) -> Any:
        shape = dims(x)
        start = len(shape) - rank
        if known(size) is not None:
            return like(x, (*shape[:start], *sizes_of(size)))
        factors = known(rest[-1])
        out = [None if s is None else int(s * f) for s, f in zip(shape[start:], factors, strict=True)]
        return like(x, (*shape[:start], *out))

    return rule


for _name, _count in (
    ("nearest1d", 1),
    ("nearest2d", 2),
    ("nearest3d", 3),
    ("linear1d", 1),
    ("bilinear2d", 2),
    ("bicubic2d", 2),
):
    infers(f"aten.upsample_{_name}")(_upsampled(_count))
    infers(f"aten.upsample_{_name}.vec")(_upsampled_vec(_count))


@infers(*aten("grid_sampler_2d grid_sampler"))
def grid_sampler(x: Any, grid: Any, *_: Any) -> Any:
    """The input's channels on the grid."""
    return like(x, (*dims(x)[:2], *dims(grid)[1:-1]))


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


@infers(*aten("cdist"))
def cdist(a: Any, b: Any, *_: Any) -> Any:
    """All pairs of rows."""
    left, right = dims(a), dims(b)
    return like(a, (*broadcast2(left[:-2], right[:-2]), left[-2], right[-2]))


@infers(*aten("_fft_r2c"))
def fft_r2c(x: Any, dim: Any, _normalization: Any, onesided: Any) -> Any:
    """Half of the last transformed dimension."""
    shape = list(dims(x))
    last = known(dim)[-1]
    if known(onesided):
        size = shape[last]
        shape[last] = None if size is None else add(size // 2, 1)
    return like(x, shape, ComplexType(tensor_dtype(x)))  # pyright: ignore[reportArgumentType]
