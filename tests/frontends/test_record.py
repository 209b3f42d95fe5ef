"""The recorder: what a run becomes, checked by replaying the captured module with PyTorch's own ops."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils import _pytree as pytree

from mlc.errors import DTypeError, ExecutionError, UnsupportedError
from mlc.frontends.torch import MISS, capture
from mlc.frontends.torch.captured import Alias, FromResult
from mlc.frontends.torch.decompose import BY_CHOICE, decomposition
from mlc.ir.context import make_context
from mlc.ir.locations import format_location
from mlc.lowering.torch.to_linalg.all_lowerings import LOWERINGS
from tests.frontends.replay import check, recorded, same

torch.manual_seed(0)
X = torch.randn(2, 3, 8, 8)
W = torch.randn(5, 6)
K2, K3 = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 3, 3)
V = torch.randn(4, 6)


def ops(binding: Any) -> list[str]:
    return [
        op.name.removeprefix("torch.aten.") for op in binding.captured.module.walk() if op.name.startswith("torch.aten")
    ]


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


# what depends on no input is folded


def test_masks_are_folded():
    binding = check(lambda x: x.masked_fill(torch.triu(torch.ones(6, 6, dtype=torch.bool), 1), -1.0), torch.randn(6, 6))
    assert ops(binding) == ["masked_fill.Scalar"]


def test_uniform_constants_are_one_op():
    assert ops(check(lambda x: x + torch.zeros(4, 6), V)) == ["full", "add.Tensor"]


def test_values_of_folded_tensors_may_be_read():
    def model(x: torch.Tensor) -> torch.Tensor:
        mask = torch.arange(6) % 2 == 0
        if mask.any() and mask.sum().item() == 3 and mask.tolist()[0] and mask.numpy()[0]:
            return x[:, mask.nonzero()[:, 0]]
        return x

    check(model, V)


def test_uninitialised_memory_is_zero():
    assert ops(check(lambda x: torch.empty(4, 6).copy_(x) + 1, V))[-1] == "add.Scalar"


# weights


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 6)
        self.b = nn.Linear(6, 6)
        self.b.weight = self.a.weight
        self.table = torch.randn(6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x)) + self.table


def test_weights_are_references():
    model = Tied().eval()
    ctx = make_context()
    capture(model, (V,), {}, ctx)
    assert list(ctx.resources) == ["a.weight", "a.bias", "b.bias", "table"]
    assert np.shares_memory(ctx.resources.get("a.weight"), model.a.weight.detach().numpy())
    check(model, V)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(dtype: torch.dtype):
    model = nn.Linear(6, 5).to(dtype).eval()
    check(model, V.to(dtype))


def test_integer_and_bool_tensors():
    check(lambda i, b: (i * 2, ~b, i.to(torch.uint8), torch.where(b, i, -i)), torch.arange(6), torch.arange(6) > 2)


def test_literals_of_every_kind():
    def model(x: torch.Tensor) -> list[torch.Tensor]:
        few = [
            torch.tensor([1, -2]),
            torch.tensor([True, False]),
            torch.tensor(2.5),
            torch.tensor([0.1], dtype=torch.float64),
        ]
        few += [torch.tensor([1.5, 2.5], dtype=torch.bfloat16), torch.zeros(0, 3), torch.full((40,), -0.0)]
        few += [torch.arange(40), torch.arange(40) % 3 == 0, torch.ones(5, 5, dtype=torch.bool)]
        return [f + 0 if f.dtype != torch.bool else ~f for f in few] + [x + 1, x * few[2]]

    check(model, V)


# inputs and outputs


class Pair(NamedTuple):
    first: torch.Tensor
    second: Any


@dataclass
class Output:
    value: torch.Tensor
    note: str


pytree.register_dataclass(Output)


def test_nested_inputs_and_outputs():
    def model(d: dict[str, Any], p: Pair, *, scale: float) -> Any:
        return {"a": [d["x"] * scale, None, 3], "b": Pair(p.first + 1, (p.second,)), "c": Output(d["x"] - 1, "note")}

    check(model, {"x": V, "n": 2}, Pair(V, "text"), scale=2.0)


@pytest.mark.parametrize(
    "x",
    [
        torch.tensor(2.0),
        torch.zeros(0, 3),
        torch.randn(6, 4).t(),
        torch.randn(1, 6).expand(4, 6),
        torch.randn(8, 12)[::2, ::2],
        torch.tensor([float("nan"), float("inf"), -0.0, 1e-42]),
        nn.Parameter(torch.randn(3)),
    ],
    ids=["0-d", "zero-size", "transposed", "expanded", "strided", "special", "parameter"],
)
def test_unusual_inputs(x: torch.Tensor):
    check(lambda x: torch.relu(x) + x, x)


def test_numpy_in_numpy_out():
    binding = recorded(lambda x, y: (x + y, x), V.numpy(), V.numpy())
    total, same_input = binding((V.numpy(), V.numpy()), {})
    assert isinstance(total, np.ndarray) and np.array_equal(total, 2 * V.numpy())
    assert np.shares_memory(same_input, V.numpy())


def test_no_tensor_inputs():
    check(lambda n: torch.arange(n) * 2, 4)


# aliases and mutations


def test_returned_inputs_are_the_inputs():
    x = V.clone()
    binding = recorded(lambda x: (x, x.t(), x[1:, 2], x + 1), x)
    out = binding((x,), {})
    assert out[0] is x
    for view in out[1:3]:
        assert view.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
    same(out, (x, x.t(), x[1:, 2], x + 1))
    assert [type(o) for o in binding.captured.outputs] == [Alias, Alias, Alias, FromResult]


def test_views_of_outputs_share_memory():
    out = recorded(lambda x: (lambda y: (y, y.t(), y))(x + 1), V)((V,), {})
    assert out[2] is out[0]
    assert out[1].data_ptr() == out[0].data_ptr()


def test_returned_parameters_are_the_parameters():
    model = nn.Linear(6, 2)
    model.forward = lambda x: (model.weight, F.linear(x, model.weight))  # pyright: ignore
    assert recorded(model, V)((V,), {})[0] is model.weight


def test_inplace_changes_of_inputs_are_written_back():
    def model(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x.add_(1)
        y[1:].mul_(x[1:])
        return x, y.sum()

    binding = check(model, V.clone(), V.clone())
    x = V.clone()
    assert binding((x, V.clone()), {})[0] is x


def test_capture_in_inference_mode():
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        y[1:].mul_(3)
        x.add_(1)
        return y

    with torch.inference_mode():
        check(model, V.clone())


def test_a_mask_assignment():
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        y[y > 0] = -1.0
        y[:, 1] = 7
        return y

    check(model, V)


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("fixed", torch.ones(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.steps += 1
        self.mean = 0.5 * self.mean + x.mean(0)
        return x - self.mean + self.fixed


def test_buffers_that_change_are_written_back():
    model = Counting()
    binding = check(model, V)
    assert model.steps == 1, "the capture itself leaves no trace"
    assert len(binding.captured.inputs) == 3
    for count in (2, 3):
        out = binding((V,), {})
        assert out is not MISS and model.steps == count


def test_batch_norm_in_training_mode():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4, momentum=None)).train()
    check(model, X)


def test_copies_of_weights_may_be_changed_in_place():
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.randn(6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bias = self.bias.clone()
            bias[2:4].zero_()
            scale = self.bias.mul(2)
            scale.add_(1)
            return x * scale + bias

    check(Model(), V)


def test_masks_that_no_input_decides_become_positions():
    mask = torch.tensor([True, False, True, True, False, False])

    def model(x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        y[:, mask] = x[:, :3] * 2
        return y

    assert "nonzero" not in ops(check(model, V))


def test_inputs_that_overlap():
    binding = recorded(lambda x, y: (x.add_(1), y * 2)[1], V.clone(), V.clone())
    x = V.clone()
    with pytest.raises(UnsupportedError, match="share memory"):
        binding((x, x), {})


# guards


@pytest.mark.parametrize(
    "args",
    [(V[:2], 2), (V.double(), 2), (V, 3), (V, 2.0), (V,), (V, 2, 1), ([V], 2), (V[0], 2), ("text", 2)],
)
def test_other_arguments_miss(args: tuple[Any, ...]):
    binding = recorded(lambda x, n=2, m=1: x * n, V, 2)
    assert binding((V + 1, 2), {}) is not MISS
    assert binding(args, {}) is MISS


def test_changed_weights_miss():
    model = Tied().eval()
    binding = recorded(model, V)
    for change in (
        lambda: model.a.bias.mul_(2),
        lambda: setattr(model.a, "bias", nn.Parameter(torch.ones(6))),
        lambda: model.load_state_dict({k: v + 1 for k, v in model.state_dict().items()}),
        lambda: model.b.train(),
    ):
        binding = recorded(model, V)
        assert binding((V,), {}) is not MISS
        with torch.no_grad():
            change()
        assert binding((V,), {}) is MISS


def test_gradients_are_refused():
    binding = recorded(lambda x: x * 2, V)
    with pytest.raises(UnsupportedError, match="'x' requires a gradient"):
        binding((V.clone().requires_grad_(),), {})
    with torch.no_grad():
        same(binding((V.clone().requires_grad_(),), {}), V * 2)


# refusals


class Refused(nn.Module):
    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> Any:
        return self.body(self, x)


def _keep(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.cache = x + 1
    return x


def _append(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.items = [x * 2]
    return x


def _grad(self: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad((x * 2).sum(), x)[0]


OUTSIDE = torch.zeros(4, 6)

REFUSED = {
    "item": (lambda s, x: x * x.sum().item(), "aten.item"),
    "bool": (lambda s, x: x if x.sum() > 0 else -x, "aten.is_nonzero"),
    "float": (lambda s, x: x * float(x.max()), "aten.item"),
    "tolist": (lambda s, x: x * x.tolist()[0][0], "tolist"),
    "numpy": (lambda s, x: x + torch.from_numpy(x.numpy()), "numpy"),
    "asarray": (lambda s, x: x * float(np.asarray(x).sum()), "numpy"),
    "nonzero": (lambda s, x: x.nonzero(), "size depends on the values of another: aten.nonzero"),
    "split": (lambda s, x: torch.tensor_split(x, x[0, :2].long(), dim=1), "tolist"),
    "mask": (lambda s, x: x[x > 0], "size depends on the values of another: aten.index.Tensor"),
    "equal": (lambda s, x: x if torch.equal(x, x) else -x, "aten.equal"),
    "unique": (lambda s, x: torch.unique(x), "unique"),
    "format": (lambda s, x: (f"{x.sum()}", x)[1], "prints or formats a tensor"),
    "print": (lambda s, x: (repr(x), x)[1], "prints or formats a tensor"),
    "list of numbers in tensors": (lambda s, x: torch.tensor([x[0, 0], x[0, 1]]), "reads the memory of a tensor"),
    "data_ptr": (lambda s, x: x * (x.data_ptr() % 2), "data_ptr"),
    "rand": (lambda s, x: x + torch.rand(6), "random numbers: aten.rand"),
    "dropout": (lambda s, x: F.dropout(x, 0.5), "random numbers: aten.dropout"),
    "attribute": (_keep, "attribute 'cache'"),
    "list attribute": (_append, "attribute 'items'"),
    "strides of a transpose": (lambda s, x: (x.t() + 1).as_strided((2,), (1,)) * 2, "as_strided"),
    "tensor from outside": (lambda s, x: OUTSIDE.add_(x), "in place"),
    "gradient": (_grad, "autograd"),
    "device": (lambda s, x: x.to("meta"), "device 'meta'"),
    "sparse": (lambda s, x: x.to_sparse(), "dense"),
    "instance norm": (
        lambda s, x: F.instance_norm(x[None], torch.zeros(4), torch.ones(4), use_input_stats=True),
        "running statistics",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_captured_is_refused_with_its_line(name: str):
    body, text = REFUSED[name]
    with pytest.raises(UnsupportedError, match=text) as info:
        capture(Refused(body), (V.clone(),), {}, make_context())
    assert "test_record.py:" in str(info.value) or name in ("attribute", "list attribute")
    assert info.value.hint
    assert torch.equal(OUTSIDE, torch.zeros(4, 6))


def test_all_refusals_are_listed_at_once():
    def model(x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            x = x * x.max().item()
        return x + torch.rand(6)

    with pytest.raises(UnsupportedError, match="3 things in this model cannot be compiled") as info:
        capture(model, (V.abs(),), {}, make_context())
    for text in ("aten.is_nonzero", "aten.item", "aten.rand"):
        assert text in str(info.value)


def test_a_failing_model_names_its_line():
    with pytest.raises(ExecutionError, match="the model itself failed") as info:
        capture(Refused(lambda s, x: x @ x), (V,), {}, make_context())
    assert "test_record.py:" in str(info.value)


def test_exotic_inputs_are_refused():
    with pytest.raises(DTypeError, match="'x' is on device 'meta'"):
        capture(lambda x: x, (V.to("meta"),), {}, make_context())
    with pytest.raises(UnsupportedError, match="is a sparse tensor"):
        capture(lambda x: x, (V.to_sparse(),), {}, make_context())
    with pytest.raises(UnsupportedError, match="argument 'x' is an object"):
        capture(lambda x: x, (object(),), {}, make_context())
    with pytest.raises(DTypeError, match="float8"):
        capture(lambda x: x + 0, (V.to(torch.float8_e4m3fn),), {}, make_context())


def test_scripted_modules_are_refused():
    scripted = torch.jit.trace(nn.Linear(6, 2), (V,))
    with pytest.raises(UnsupportedError, match="TorchScript"):
        capture(nn.Sequential(scripted), (V,), {}, make_context())


def test_python_random_numbers_are_warned_of():
    import random

    with pytest.warns(UserWarning, match="random numbers from Python"):
        capture(lambda x: x * random.random(), (V,), {}, make_context())


def test_python_counters_are_warned_of():
    class Counter(nn.Module):
        calls = 0

        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return x * 2

    with pytest.warns(UserWarning, match=r"Python values \(calls\)"):
        capture(Counter(), (V,), {}, make_context())


def test_a_capture_leaves_no_hooks_or_wrappers():
    model = Counting()
    buffer = model.mean
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        capture(model, (V,), {}, make_context())
    assert model.mean is buffer and torch.equal(buffer, torch.zeros(6))
    assert not nn.modules.module._global_forward_hooks and not nn.modules.module._global_forward_pre_hooks
    with pytest.raises(UnsupportedError):
        capture(Refused(REFUSED["rand"][0]), (V,), {}, make_context())
    assert not nn.modules.module._global_forward_hooks


# locations


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


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (lambda x: x.mul_(2), [torch.tensor([True])], "can't be cast to the desired output type Bool"),
        (lambda x: x.mul_(2.5), [torch.tensor([3])], "can't be cast to the desired output type Long"),
        (lambda x: x.cumsum_(0), [torch.tensor([True])], "not implemented for 'Bool'"),
        (lambda x: F.one_hot(x, 3), [torch.tensor([1], dtype=torch.int32)], "index tensor of type LongTensor"),
        (lambda x: F.huber_loss(x, x), [torch.tensor([1])], "not implemented for 'Long'"),
    ],
)
def test_what_eager_refuses_is_refused(model: Any, inputs: list[torch.Tensor], message: str):
    """Though the functional form of an op, or its definition, would take it."""
    with pytest.raises(RuntimeError, match=message):
        model(*(x.clone() for x in inputs))
    with pytest.raises(ExecutionError, match=message):
        recorded(model, *inputs)


def test_the_dtype_is_that_of_eagers_kernel():
    """The definition of huber_loss promotes; the kernel returns the dtype of its input."""
    check(lambda x, y: F.huber_loss(x, y, reduction="none"), torch.ones(3).bfloat16(), torch.zeros(3))
