"""The recorder: what a run becomes, checked by replaying the captured module with PyTorch's own ops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlc.frontends.torch.decompose import BY_CHOICE, decomposition
from mlc.ir.locations import format_location
from mlc.lowering.torch.to_linalg.all_lowerings import LOWERINGS
from tests.frontends.replay import check, ops, recorded

torch.manual_seed(0)
X = torch.randn(2, 3, 8, 8)
W = torch.randn(5, 6)
K2, K3 = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 3, 3)
V = torch.randn(4, 6)


WHOLE = {
    "linear": (lambda x: F.linear(x, W, W[:, 0]), (V,), ["select.int", "linear"]),
    "linear of rank 1": (lambda x: F.linear(x[0], W), (V,), ["select.int", "linear"]),
    "conv2d": (lambda x: F.conv2d(x, K3), (X,), ["conv2d"]),
    "conv2d same": (lambda x: F.conv2d(x, K2, padding="same"), (X,), ["constant_pad_nd", "conv2d"]),
    "conv2d valid": (lambda x: F.conv2d(x, K2, padding="valid"), (X,), ["conv2d"]),
    "layer_norm": (lambda x: F.layer_norm(x, (6,)), (V,), ["layer_norm"]),
    "group_norm": (lambda x: F.group_norm(x, 3), (X,), ["group_norm"]),
    "softmax": (lambda x: x.softmax(-1), (V,), ["softmax.int"]),
    "gelu": (lambda x: F.gelu(x, approximate="tanh"), (V,), ["gelu"]),
    "attention": (
        lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True),
        (X,),
        ["scaled_dot_product_attention"],
    ),
    "in-place activations": (lambda x: F.silu(F.relu(x + 1, inplace=True), inplace=True), (V,), None),
    "chunk": (lambda x: x.chunk(3, 1)[2] * 2, (V,), ["slice.Tensor", "mul.Scalar"]),
    "split": (lambda x: x.split([1, 5], 1)[1] * 2, (V,), ["slice.Tensor", "mul.Scalar"]),
    "unbind": (lambda x: list(x)[1] * 2, (V,), ["select.int", "mul.Scalar"]),
    "reshape of a transpose": (lambda x: x.t().reshape(-1), (V,), ["t", "view"]),
    "numbers": (lambda x: 2 - x * 0.5 + 1 / x, (V,), None),
    "comparison with a number": (lambda x: torch.where(x > 0, x, 0.0), (V,), None),
    "to": (lambda x: x.to(torch.float64).float(), (V,), ["to.dtype", "to.dtype"]),
    "clone and detach": (lambda x: (x + 1).clone().detach().contiguous(), (V,), ["add.Scalar"]),
    "einsum": (lambda x: torch.einsum("ij,kj->ik", x, x), (V,), None),
    "tuple of results": (lambda x: torch.max(x, 1), (V,), ["max.dim"]),
    "cat and stack": (lambda x: torch.cat([torch.stack([x, x]), x[None]]), (V,), None),
    "gather by index": (lambda x: x[:, torch.tensor([2, 0])], (V,), None),
    "mask known beforehand": (lambda x: x[torch.tensor([True, False, True, True])], (V,), ["index.Tensor"]),
    "expand": (lambda x: x[:, None].expand(-1, 5, -1) + 0, (V,), None),
    "copy with conversion": (lambda x: torch.zeros(2, 4, 6, dtype=torch.float64).copy_(x) * 2, (V,), None),
    "autocast": (lambda x: _autocast(x), (V,), None),
    "pad": (lambda x: F.pad(x, (1, 2, 0, 1), value=3.0), (V,), ["pad"]),
    "interpolate": (lambda x: F.interpolate(x, scale_factor=2, mode="nearest"), (X,), None),
    "multi-head attention": (nn.MultiheadAttention(6, 2, batch_first=True).eval(), (V[None], V[None], V[None]), None),
    "encoder layer": (nn.TransformerEncoderLayer(6, 2, 8, batch_first=True).eval(), (V[None],), None),
    "vmap": (lambda x: torch.vmap(lambda r: r * 2 + 1)(x), (V,), None),
    "custom autograd function": (lambda x: _Double.apply(x), (V,), ["mul.Scalar"]),
    "dropout in eval mode": (nn.Sequential(nn.Dropout(inplace=True), nn.ReLU()).eval(), (V,), ["relu"]),
}


def _autocast(x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return F.linear(x, W).float() + x[:, :5]


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> torch.Tensor:
        return grad[0] * 2


@pytest.mark.parametrize("name", WHOLE)
def test_ops_come_whole_and_mean_the_same(name: str):
    model, inputs, expected = WHOLE[name]
    binding = check(model, *inputs)
    if expected is not None:
        assert ops(binding) == expected


@pytest.mark.parametrize(
    "inplace",
    [
        lambda x: F.relu6(x, inplace=True),
        lambda x: F.elu(x, inplace=True),
        lambda x: F.celu(x, inplace=True),
        lambda x: F.selu(x, inplace=True),
        lambda x: F.leaky_relu(x, inplace=True),
        lambda x: F.hardtanh(x, inplace=True),
        lambda x: F.hardswish(x, inplace=True),
        lambda x: F.hardsigmoid(x, inplace=True),
        lambda x: F.mish(x, inplace=True),
        lambda x: F.threshold(x, 0.1, 2.0, inplace=True),
        lambda x: F.rrelu(x, inplace=True),
        lambda x: F.dropout(x, training=False, inplace=True),
        lambda x: F.alpha_dropout(x, inplace=True),
        lambda x: F.dropout2d(x, training=False, inplace=True),
        lambda x: torch.dropout_(x, 0.5, False),
        lambda x: x.clamp_(-1, 1).mul_(2).sub_(1).exp_(),
    ],
)
def test_inplace_functions(inplace: Any):
    check(lambda x: inplace(x + 1), V)


@pytest.mark.parametrize(
    "model",
    [
        lambda x: torch.einsum("ij,kj,l->ikl", x, x, x[0]),
        lambda x: F.cosine_similarity(x, x + 1),
        lambda x: F.one_hot(x.argmax(1), 6),
        lambda x: F.cross_entropy(x, x.argmax(1), label_smoothing=0.1),
        lambda x: F.nll_loss(x, x.argmax(1)),
        lambda x: F.mse_loss(x, x + 1) + F.huber_loss(x, 2 * x) + F.binary_cross_entropy_with_logits(x, x),
        lambda x: F.glu(x),
        lambda x: x.rot90(),
        lambda x: torch.kron(x, x),
        lambda x: sum(torch.meshgrid(x[0], x[1], indexing="ij")),
        lambda x: x.diff(n=2),
        lambda x: torch.trapezoid(x),
        lambda x: x.tile(2, 3, 1),
        lambda x: torch.where(x > 0, x, torch.nan).nanmean(1),
        lambda x: torch.diag(x[0]),
        lambda x: F.fold(F.unfold(x.reshape(1, 1, 4, 6), 2, stride=2), (4, 6), 2, stride=2),
        lambda x: F.grid_sample(x.reshape(1, 1, 4, 6), x[:, :4].reshape(1, 2, 4, 2), align_corners=True),
        lambda x: F.interpolate(x.reshape(1, 1, 4, 6), scale_factor=2, mode="bicubic"),
        nn.utils.parametrizations.weight_norm(nn.Linear(6, 3)).eval(),
        lambda x: F.rrelu(x),
        lambda x: torch.hstack([x, torch.vstack([x[:2], x[2:]])]),
        lambda x: torch.isin(x.round(), torch.tensor([0.0, 1.0])),
        lambda x: torch.cov(x),
        lambda x: torch.vander(x[0], 3),
        lambda x: nn.MaxUnpool1d(2)(*F.max_pool1d(x, 2, return_indices=True)),
        lambda x: F.embedding_bag(x.argsort(1), x.t().contiguous(), mode="mean"),
        lambda x: torch.column_stack((x.flipud(), x.fliplr())),
        lambda x: torch.block_diag(x, x[:2]),
        lambda x: torch.repeat_interleave(x, torch.tensor([1, 0, 2, 1]), 0),
        lambda x: x.take(torch.tensor([0, 5, -1])),
        lambda x: torch.quantile(x, 0.3, 1),
        lambda x: torch.tensordot(x, x, 2),
    ],
)
def test_exotic_ops_are_recorded_as_their_definitions(model: Any):
    binding = check(model, V)
    assert ops(binding) and not any("einsum" in name or "loss" in name for name in ops(binding))


@pytest.mark.parametrize(
    "index",
    [
        lambda x, i: x[i],
        lambda x, i: x[:, i],
        lambda x, i: x[i, i - 1],
        lambda x, i: x[..., i],
        lambda x, i: x[None, i, 1:3],
        lambda x, i: x[i, [0, 2]],
    ],
)
@pytest.mark.parametrize("at", [1, -2])
def test_an_index_in_a_tensor(index: Any, at: int):
    check(index, V, torch.tensor(at))


@pytest.mark.parametrize("shape", [(4, 4), (7, 3), (3, 7), (3, 3, 3)])
@pytest.mark.parametrize("wrap", [False, True])
def test_fill_diagonal(shape: tuple[int, ...], wrap: bool):
    check(lambda x: (x + 1).fill_diagonal_(2.0, wrap), torch.zeros(shape))


@pytest.mark.parametrize("view", [lambda x: x.t(), lambda x: x[1:, 2:], lambda x: x[1:], lambda x: x[:1].expand(3, 6)])
def test_strides_count_in_memory(view: Any):
    check(lambda x: view(x + 1).as_strided((2, 3), (6, 1)) + 1, V)
    check(lambda x: view(x + 1).as_strided((2, 3), (1, 2), 3) * 2, V)


def test_splits_at_known_places():
    check(lambda x: torch.tensor_split(x, torch.tensor([1, 3]), dim=1), V)


def test_ops_that_have_a_lowering_are_recorded_whole():
    for name in torch._C._dispatch_get_all_op_names():
        base, _, overload = name.removeprefix("aten::").partition(".")
        short = f"aten.{base}.{overload}".rstrip(".")
        if name.startswith("aten::") and f"torch.{short}" in LOWERINGS and short not in BY_CHOICE:
            assert decomposition(getattr(getattr(torch.ops.aten, base), overload or "default")) is None, short


def test_every_op_has_its_place():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(6, 6), nn.ReLU())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers(x) + 1

    binding = recorded(nn.Sequential(Block(), Block()), V)
    places = {
        op.name.removeprefix("torch.aten."): format_location(op.location)
        for op in binding.captured.module.walk()
        if op.name.startswith("torch.aten")
    }
    assert places["linear"].endswith("(1.layers.0)") and "test_record.py:" in places["linear"]
    assert places["add.Scalar"].endswith("(1)")


def test_the_dtype_is_that_of_eagers_kernel():
    """The definition of huber_loss promotes; the kernel returns the dtype of its input."""
    check(lambda x, y: F.huber_loss(x, y, reduction="none"), torch.ones(3).bfloat16(), torch.zeros(3))
