"""ATen products, convolutions, pooling, normalisation, attention and recurrent layers against PyTorch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.dialects.torch.draw import Case, Draw
from tests.dialects.torch.harness import check

pytestmark = pytest.mark.torch


def _dtype(d: Draw) -> torch.dtype:
    return d.pick(torch.float32, torch.float32, torch.float64)


def _mm(d: Draw, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    dtype = d.pick(torch.float32, torch.float32, torch.float64, torch.int64, torch.bfloat16)
    return [d.ints(s, dtype) if dtype == torch.int64 else d.normal(s, dtype) for s in shapes]


def _floats(d: Draw, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    dtype = _dtype(d)
    return [d.normal(s, dtype) for s in shapes]


def _conv(d: Draw, rank: int) -> tuple[Any, ...]:
    groups = d.pick(1, 1, 2, 4)
    out = d.pick(4, 8)
    size = {1: (9,), 2: (7, 6), 3: (5, 4, 5)}[rank]
    x, w, b = _floats(d, (d.pick(1, 2), 4, *size), (out, 4 // groups, *(d.pick(1, 2, 3) for _ in range(rank))), (out,))
    stride, dilation = ([d.pick(1, 2) for _ in range(rank)] for _ in range(2))
    pad = [d.pick(0, 1) for _ in range(rank)]
    return x, w, d.pick(None, b), stride, pad, dilation, groups


def _convolution(d: Draw) -> tuple[Any, ...]:
    x, w, b, stride, pad, dilation, groups = _conv(d, 2)
    return x, w, b, stride, pad, dilation, False, [0, 0], groups


def _transposed(d: Draw, rank: int) -> tuple[Any, ...]:
    groups = d.pick(1, 2)
    size = {1: (5,), 2: (4, 5), 3: (3, 2, 3)}[rank]
    x, w, b = _floats(d, (2, 4, *size), (4, 3, *(3 for _ in range(rank))), (3 * groups,))
    return (
        x,
        w,
        d.pick(None, b),
        [2] * rank,
        [d.pick(0, 1)] * rank,
        [d.pick(0, 1)] * rank,
        groups,
        [d.pick(1, 2)] * rank,
    )


def _convolution_transposed(d: Draw) -> tuple[Any, ...]:
    x, w, b, stride, pad, extra, groups, dilation = _transposed(d, 2)
    return x, w, b, stride, pad, dilation, True, extra, groups


def _image(d: Draw, rank: int) -> torch.Tensor:
    size = {1: (9,), 2: (7, 8), 3: (5, 6, 5)}[rank]
    x = d.normal((2, 3, *size))
    if d.pick(0, 0, 1):
        x.reshape(-1)[:: d.pick(5, 11)] = d.pick(math.nan, -math.inf)
    return x


def _pool(d: Draw, rank: int) -> tuple[Any, ...]:
    kernel = d.pick(2, 3)
    return _image(d, rank), [kernel] * rank, d.pick([], [2] * rank, [1] * rank), [d.pick(0, 1)] * rank


def _max_pool(d: Draw, rank: int) -> tuple[Any, ...]:
    return (*_pool(d, rank), [d.pick(1, 2)] * rank, d.pick(True, False))


def _avg_pool(d: Draw, rank: int) -> tuple[Any, ...]:
    x, *rest = _pool(d, rank)
    settings = (d.pick(True, False), d.pick(True, False))
    return (torch.nan_to_num(x, 0, 1, 1), *rest, *settings, *((d.pick(None, 3),) if rank > 1 else ()))


def _norm(d: Draw) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, w, b = _floats(d, (2, 4, 3, 5), (4,), (4,))
    return x, w, b


def _batch_norm(d: Draw) -> tuple[Any, ...]:
    x, w, b = _norm(d)
    return x, w, d.pick(None, b), d.normal((4,), x.dtype), d.normal((4,), x.dtype).abs()


def _attention(d: Draw) -> tuple[Any, ...]:
    q, k, v = _floats(d, (2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 6))
    mask = d.pick(None, d.bools((5, 7)), d.normal((2, 1, 5, 7), q.dtype))
    if mask is not None and mask.dtype == torch.bool:
        mask[:, 0] = True
    return q, k, v, mask, 0.0, False, d.pick(None, 0.3)


def _rnn(d: Draw, gates: int, states: int) -> tuple[Any, ...]:
    layers, both, biases = d.pick(1, 2), d.pick(True, False), d.pick(True, False)
    directions = 2 if both else 1
    weights: list[torch.Tensor] = []
    for layer in range(layers):
        for _ in range(directions):
            inputs = 5 if layer == 0 else 4 * directions
            weights += [d.normal((4 * gates, inputs)), d.normal((4 * gates, 4))]
            weights += [d.normal((4 * gates,)), d.normal((4 * gates,))] if biases else []
    x = d.normal((2, 6, 5))
    first = d.pick(True, False)
    hx = [d.normal((layers * directions, 2 if first else 6, 4)) for _ in range(states)]
    return x, hx if states > 1 else hx[0], weights, biases, layers, 0.0, False, both, first


def _cell(d: Draw, gates: int, states: int) -> tuple[Any, ...]:
    hx = [d.normal((3, 4)) for _ in range(states)]
    weights = (d.normal((4 * gates, 5)), d.normal((4 * gates, 4)), d.normal((4 * gates,)), d.normal((4 * gates,)))
    return d.normal((3, 5)), hx if states > 1 else hx[0], *weights


def _holed(x: torch.Tensor) -> torch.Tensor:
    """Infinite in a corner, which is not to be seen anywhere else."""
    x[(..., *[0] * (x.ndim - 1))] = float("inf")
    return x


CASES: dict[str, Case] = {
    "mm": lambda d: tuple(_mm(d, (3, 5), (5, 4))),
    "bmm": lambda d: tuple(_mm(d, (2, 3, 5), (2, 5, 4))),
    "mv": lambda d: tuple(_mm(d, (3, 5), (5,))),
    "dot": lambda d: tuple(_mm(d, (5,), (5,))),
    "outer": lambda d: tuple(_floats(d, (5,), (3,))),
    "matmul": lambda d: tuple(
        _mm(
            d,
            *d.pick(
                ((5,), (5,)),
                ((3, 5), (5,)),
                ((5,), (5, 4)),
                ((2, 1, 3, 5), (4, 5, 2)),
                ((0, 5), (5, 2)),
                ((2, 0), (0, 3)),
            ),
        )
    ),
    "addmm": lambda d: (*_floats(d, d.pick((4,), (3, 4)), (3, 5), (5, 4)), d.pick(1, 0, 0.5), d.pick(1, 2)),
    "addmv": lambda d: (*_floats(d, (3,), (3, 5), (5,)), d.pick(1, 0.5), d.pick(1, 2)),
    "baddbmm": lambda d: (*_floats(d, (2, 3, 4), (2, 3, 5), (2, 5, 4)), d.pick(1, 0), d.pick(1, 0.5)),
    "addbmm": lambda d: (*_floats(d, (3, 4), (2, 3, 5), (2, 5, 4)), 1, d.pick(1, 0.5)),
    "linear": lambda d: tuple(_floats(d, d.pick((3, 5), (2, 3, 5), (5,)), (4, 5), (4,))[: d.pick(2, 3)]),
    "bilinear": lambda d: tuple(_floats(d, (3, 5), (3, 4), (2, 5, 4), (2,))),
    "einsum": lambda d: (d.pick("bij,bjk->bik", "bij,bjk", "bij,bjk->kb"), _floats(d, (2, 3, 4), (2, 4, 5))),
    "_trilinear": lambda d: (*_floats(d, (3, 5), (2, 5, 4), (3, 4)), [1, 3], [0], [1, 2], [2, 3]),
    "conv1d": lambda d: _conv(d, 1),
    "conv2d": lambda d: _conv(d, 2),
    "conv3d": lambda d: _conv(d, 3),
    "conv2d.padding": lambda d: (
        *_floats(d, (1, 4, 7, 6), (3, 4, 3, 2)),
        None,
        [1, 1],
        d.pick("same", "valid"),
        [d.pick(1, 2), 1],
        1,
    ),
    "convolution": lambda d: d.pick(_convolution, _convolution_transposed)(d),
    "conv_transpose1d": lambda d: _transposed(d, 1),
    "conv_transpose2d.input": lambda d: _transposed(d, 2),
    "conv_transpose3d.input": lambda d: _transposed(d, 3),
    "max_pool1d": lambda d: _max_pool(d, 1),
    "max_pool2d": lambda d: _max_pool(d, 2),
    "max_pool3d": lambda d: _max_pool(d, 3),
    "max_pool1d_with_indices": lambda d: _max_pool(d, 1),
    "max_pool2d_with_indices": lambda d: _max_pool(d, 2),
    "max_pool3d_with_indices": lambda d: _max_pool(d, 3),
    "avg_pool1d": lambda d: _avg_pool(d, 1),
    "avg_pool2d": lambda d: _avg_pool(d, 2),
    "avg_pool3d": lambda d: _avg_pool(d, 3),
    "adaptive_avg_pool1d adaptive_max_pool1d": lambda d: (d.normal((2, 3, 9)), [d.pick(1, 2, 4)]),
    "adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d": lambda d: (
        d.normal((2, 3, 7, 8)),
        [d.pick(1, 3), d.pick(1, 5)],
    ),
    "adaptive_avg_pool3d _adaptive_avg_pool3d adaptive_max_pool3d": lambda d: (
        d.normal((1, 2, 5, 4, 6)),
        [2, 1, d.pick(3, 4)],
    ),
    "layer_norm": lambda d: (d.normal((2, 3, 5)), [5], *(d.pick(d.normal((5,)), None) for _ in range(2)), 1e-5, False),
    "native_layer_norm": lambda d: (d.normal((2, 3, 5)), [3, 5], d.normal((3, 5)), d.normal((3, 5)), 1e-5),
    "rms_norm": lambda d: (d.normal((2, 3, 5)), [5], d.pick(d.normal((5,)), None), d.pick(None, 1e-6)),
    "batch_norm": lambda d: (*_batch_norm(d), False, 0.1, 1e-5, False),
    "native_batch_norm": lambda d: (*_batch_norm(d), False, 0.1, 1e-5),
    "_native_batch_norm_legit_no_training": lambda d: (*_batch_norm(d), 0.1, 1e-5),
    "_native_batch_norm_legit.no_stats": lambda d: (*_norm(d), True, 0.1, 1e-5),
    "instance_norm": lambda d: (*_norm(d), None, None, True, 0.1, 1e-5, False),
    "group_norm": lambda d: (_norm(d)[0].float(), d.pick(1, 2, 4), *(d.normal((4,)) for _ in range(2)), 1e-5, False),
    "native_group_norm": lambda d: (
        d.normal((2, 4, 3, 5)),
        d.normal((4,)),
        d.normal((4,)),
        2,
        4,
        15,
        d.pick(1, 2, 4),
        1e-5,
    ),
    "scaled_dot_product_attention": _attention,
    "_scaled_dot_product_flash_attention_for_cpu": lambda d: (
        *_floats(d, *((2, 3, 5, 8),) * 3),
        0.0,
        d.pick(True, False),
    ),
    "lstm.input": lambda d: _rnn(d, 4, 2),
    "gru.input": lambda d: _rnn(d, 3, 1),
    "rnn_tanh.input rnn_relu.input": lambda d: _rnn(d, 1, 1),
    "lstm_cell": lambda d: _cell(d, 4, 2),
    "gru_cell": lambda d: _cell(d, 3, 1),
    "rnn_tanh_cell rnn_relu_cell": lambda d: _cell(d, 1, 1),
    "_upsample_bilinear2d_aa _upsample_bicubic2d_aa": lambda d: (
        d.normal((1, 2, 7, 5)),
        d.pick([3, 4], [9, 2], [7, 5]),
        d.pick(True, False),
    ),
    "_upsample_bilinear2d_aa.vec _upsample_bicubic2d_aa.vec": lambda d: (
        d.normal((1, 2, 7, 5)),
        None,
        False,
        d.pick([0.5, 1.5], [0.4, 1.0]),
    ),
    "grid_sampler_2d grid_sampler": lambda d: (
        _holed(d.normal((2, 3, 5, 4))),
        d.normal((2, 6, 3, 2)),
        d.pick(0, 1, 2),
        d.pick(0, 1, 2),
        d.pick(True, False),
    ),
    "grid_sampler_3d": lambda d: (
        _holed(d.normal((1, 2, 3, 4, 5))),
        d.normal((1, 2, 3, 4, 3)),
        d.pick(0, 1),
        d.pick(0, 1, 2),
        d.pick(True, False),
    ),
    "upsample_nearest1d": lambda d: (d.normal((1, 2, 5)), [d.pick(3, 8)]),
    "upsample_nearest3d": lambda d: (d.normal((1, 2, 3, 4, 2)), [d.pick(3, 5), 6, 4]),
    "upsample_nearest1d.vec": lambda d: (d.normal((1, 2, 5)), None, [d.pick(2.0, 1.7)]),
    "upsample_nearest3d.vec": lambda d: (d.normal((1, 2, 3, 4, 2)), None, [2.0, 1.5, 1.0]),
    "upsample_linear1d.vec": lambda d: (d.normal((1, 2, 5)), None, d.pick(True, False), [d.pick(2.0, 1.7)]),
    "upsample_nearest2d": lambda d: (d.normal((1, 2, 5, 4)), [d.pick(3, 8, 10), d.pick(4, 7)]),
    "upsample_nearest2d.vec": lambda d: (d.normal((1, 2, 5, 4)), None, [2.0, d.pick(1.5, 2.0)]),
    "upsample_linear1d": lambda d: (d.normal((1, 2, 5)), [d.pick(3, 8)], d.pick(True, False)),
    "upsample_bilinear2d": lambda d: (d.normal((1, 2, 5, 4)), [d.pick(3, 8), d.pick(4, 7)], d.pick(True, False)),
    "upsample_bilinear2d.vec": lambda d: (d.normal((1, 2, 5, 4)), None, d.pick(True, False), [2.0, 2.0]),
    "mse_loss l1_loss": lambda d: (*_floats(d, (3, 4), (3, 4)), d.pick(0, 1, 2)),
    "nll_loss_forward": lambda d: (
        d.normal((5, 4)),
        torch.tensor([0, 3, -100, 1, 2]),
        d.pick(None, d.normal((4,)).abs()),
        d.pick(0, 1, 2),
        -100,
    ),
    "cross_entropy_loss": lambda d: (
        d.normal((5, 4)),
        torch.tensor([0, 3, -100, 1, 2]),
        d.pick(None, d.normal((4,)).abs()),
        d.pick(0, 1, 2),
    ),
    "cdist": lambda d: (*_floats(d, (3, 4), (2, 4)), d.pick(1.0, 2.0)),
    "_fft_r2c": lambda d: (_floats(d, (3, 8))[0], d.pick([1], [0, 1]), d.pick(0, 1, 2), d.pick(True, False)),
}
EXACT = ("max_pool", "adaptive_max_pool", "upsample_nearest")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("name", "case"), [(n, c) for names, c in CASES.items() for n in names.split()])
def test_layer(name: str, case: Case, seed: int) -> None:
    exact = name.startswith(EXACT)
    check(f"aten.{name}", case(Draw(seed)), ulps=1 if exact else 3, scale=0 if exact else 8, dynamic_seed=seed)


def test_causal_attention_with_shared_heads() -> None:
    draw = Draw(0)
    q, k, v = draw.normal((1, 4, 5, 8)), draw.normal((1, 2, 5, 8)), draw.normal((1, 2, 5, 8))
    check("aten.scaled_dot_product_attention", (q, k, v, None, 0.0, True, None, True), ulps=3, scale=8)


def test_attention_to_nothing_gives_zero() -> None:
    draw = Draw(0)
    q, k, v = (draw.normal((1, 1, 3, 4)) for _ in range(3))
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    check("aten.scaled_dot_product_attention", (q, k, v, mask), ulps=3, scale=8)


def test_convolution_without_batch() -> None:
    draw = Draw(0)
    check("aten.conv2d", (draw.normal((4, 7, 6)), draw.normal((3, 4, 2, 2)), draw.normal((3,))), ulps=3, scale=8)
