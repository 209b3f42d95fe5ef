"""Models that are bf16 themselves: errors no larger than eager's, weights held as bf16, on every level of x86-64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import mlc
from mlc.backends.llvm.target import host_machine
from mlc.ir.pipeline_table import CPU_PIPELINE
from tests.targets import runnable

TARGETS = runnable("native", "x86-64-avx2", "x86-64-sse2")
PASS = "linalg-fold-arith-extension"


class Attention(nn.Module):
    """Queries and keys are products of computed matrices, in batches."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(48, 48), nn.Linear(48, 48)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k = (layer(x).unflatten(-1, (3, 16)).transpose(1, 2) for layer in (self.q, self.k))
        return (q @ k.transpose(-1, -2)).softmax(-1) @ q


class Products(nn.Module):
    """Sums that something is added to before they are rounded."""

    def forward(self, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, ...]:
        batches = a.unsqueeze(0).expand(2, -1, -1), b.unsqueeze(0).expand(2, -1, -1)
        return (
            torch.addmm(c, a, b, beta=0.5, alpha=2),
            torch.baddbmm(c, *batches),
            torch.addbmm(c, *batches),
            torch.addmv(c[:, 0], a, b[:, 0]),
            torch.addmm(c, a, b, beta=0),
            a @ b,
        )


class Joined(nn.Module):
    """Convolutions of padded and joined images."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.second, self.third = nn.Conv2d(32, 16, 1), nn.Conv2d(16, 8, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm(self.first(x)))
        return self.third(self.second(torch.cat([x, y], 1)) + x)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(50, 48), nn.GELU(), nn.Linear(48, 33), nn.ReLU(), nn.Linear(33, 10))


def encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(32, 2, 64, batch_first=True)


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...]]] = {
    "linear": (lambda: nn.Linear(40, 64), ((20, 40),)),
    "one row": (lambda: nn.Linear(40, 64), ((1, 40),)),
    "mlp": (mlp, ((17, 50),)),
    "attention": (Attention, ((2, 20, 48),)),
    "products": (Products, ((33, 24), (24, 40), (33, 40))),
    "joined": (Joined, ((1, 16, 9, 8),)),
    "encoder": (encoder, ((2, 18, 32),)),
    "lstm": (lambda: nn.LSTM(32, 32), ((5, 2, 32),)),
}


def made(name: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    make, shapes = MODELS[name]
    model = make().bfloat16().eval().requires_grad_(False)
    return model, tuple(torch.randn(shape).bfloat16() for shape in shapes)


def first(y: object) -> torch.Tensor:
    while isinstance(y, tuple):
        y = y[0]
    assert isinstance(y, torch.Tensor)
    return y


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", MODELS)
def test_as_exact_as_eager(name: str, target: str, tmp_path: Path):
    model, inputs = made(name)
    exact = copy.deepcopy(model).double()(*(x.double() for x in inputs))
    eager = model(*inputs)
    compiled = mlc.compile(model, inputs, target=target, cache_dir=tmp_path)(*inputs)
    several = isinstance(exact, tuple) and name == "products"
    for want, had, got in zip(*((v if several else (first(v),)) for v in (exact, eager, compiled)), strict=True):
        assert got.dtype == had.dtype == torch.bfloat16
        scale = want.abs().max().item()
        mine, theirs = ((v.double() - want).abs() for v in (got, had))
        assert mine.max().item() <= 1.5 * theirs.max().item() + 2**-9 * scale
        assert mine.mean().item() <= 1.1 * theirs.mean().item() + 2**-12 * scale


@pytest.mark.parametrize("name", ["linear", "mlp", "encoder"])
def test_weights_are_held_as_bf16(name: str, tmp_path: Path):
    model, inputs = made(name)
    compiled = mlc.compile(model, inputs, cache_dir=tmp_path)
    compiled(*inputs)
    unit = compiled._latest().unit
    taken = [r for r in unit.remarks() if r.pass_name == PASS and r.kind == "applied"]
    assert taken, "products read bf16"
    held = sum(n for _, n in unit.memory_in_use(()))
    assert held <= 1.4 * sum(2 * p.numel() for p in model.parameters())  # a last layer of few columns stays f32


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 3e38, 1e-38])
@pytest.mark.parametrize("target", TARGETS)
def test_special_numbers_stay_in_their_rows(value: float, target: str, tmp_path: Path):
    torch.manual_seed(0)
    model = nn.Linear(40, 64).bfloat16().eval().requires_grad_(False)
    x = torch.randn(20, 40).bfloat16()
    x[3, 7] = value
    y = mlc.compile(model, (x,), target=target, cache_dir=tmp_path)(x)
    exact = copy.deepcopy(model).double()(x.double()).bfloat16()
    assert torch.equal(y.isnan(), exact.isnan()) and torch.equal(y.isinf(), exact.isinf())
    plain = x.clone()
    plain[3] = 0
    others = [i for i in range(20) if i != 3]
    assert torch.equal(y[others], mlc.compile(model, (x,), target=target, cache_dir=tmp_path)(plain)[others])


def test_open_sizes(tmp_path: Path):
    """A batch and a length that are given at the call."""
    torch.manual_seed(0)
    model = Attention().bfloat16().eval().requires_grad_(False)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", min=2)
    shown = torch.randn(2, 20, 48).bfloat16()
    compiled = mlc.compile(model, (shown,), dynamic_shapes=({0: batch, 1: length},), cache_dir=tmp_path)
    for sizes in ((2, 20), (3, 7), (1, 33)):
        x = torch.randn(*sizes, 48).bfloat16()
        exact = copy.deepcopy(model).double()(x.double())
        assert (compiled(x).double() - exact).abs().max() <= 1.5 * (model(x).double() - exact).abs().max() + 2**-9


def test_rounding_on_request_does_not_round_twice(tmp_path: Path):
    """`precision="bfloat16"` of a model that is bf16 already changes nothing."""
    model, inputs = made("mlp")
    plain = mlc.compile(model, inputs, cache_dir=tmp_path)(*inputs)
    asked = mlc.compile(model, inputs, precision="bfloat16", cache_dir=tmp_path)(*inputs)
    assert torch.equal(plain, asked)


def test_the_pass_stands_in_the_pipeline():
    assert PASS in [row.pass_name for row in CPU_PIPELINE.module]


@pytest.mark.skipif(not host_machine().tile_bf16, reason="this machine has no matrix unit")
def test_the_matrix_unit_multiplies(tmp_path: Path):
    model, inputs = made("linear")
    compiled = mlc.compile(model, inputs, cache_dir=tmp_path)
    compiled(*inputs)
    assert "tdpbf16ps" in str(compiled.ir("llvm"))
