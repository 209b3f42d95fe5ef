"""`mlc.compile` down to native code, on small models: the whole staircase, the cache, the levels as text."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim

import mlc
from mlc.ir.pipeline_table import LEVELS

torch.manual_seed(0)


class Small(nn.Module):
    """A convolution, a residual, a softmax, a mutated buffer, nested outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        self.calls += 1
        y = F.relu(self.norm(self.conv(x)), inplace=True)
        pooled = F.adaptive_avg_pool2d(y, 1).flatten(1)
        return {"logits": self.head(pooled).softmax(-1), "features": [pooled, y], "input": x}


@pytest.fixture(scope="module")
def compiled(cache_dir: Path) -> tuple[Small, mlc.CompiledModel, torch.Tensor]:
    model = Small().eval()
    x = torch.randn(2, 3, 6, 6)
    return model, mlc.compile(model, (x,), cache_dir=cache_dir, num_threads=1), x


def test_native_agrees_with_eager(compiled: tuple[Small, mlc.CompiledModel, torch.Tensor]):
    model, native, x = compiled
    calls = int(model.calls)
    with torch.no_grad():
        expected = model(x)
        got = native(x)
    assert int(model.calls) == calls + 2
    assert got["input"] is x
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    strided = torch.randn(2, 6, 6, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(native(strided)["logits"], model(strided)["logits"].detach(), rtol=1e-5, atol=1e-6)
    assert isinstance(native(x.numpy())["logits"], np.ndarray)


def test_outputs_are_fresh_memory(compiled: tuple[Small, mlc.CompiledModel, torch.Tensor]):
    _, native, x = compiled
    first = native(x)["logits"]
    kept = first.clone()
    native(x + 1)
    assert torch.equal(first, kept)


def test_every_level_can_be_shown(compiled: tuple[Small, mlc.CompiledModel, torch.Tensor]):
    _, native, _ = compiled
    texts = {level: native.ir(level) for level in LEVELS}
    for level, mark in (
        ("torch", "torch.aten.conv2d"),
        ("linalg", "linalg."),
        ("kernels", "func.call"),
        ("buffers", "memref"),
        ("loops", "scf.for"),
        ("llvm", "llvm.func"),
    ):
        assert mark in texts[level], level
    assert "fma" in native.asm() or "fmadd" in native.asm()
    explained = native.explain()
    assert "captured" in explained and "applied" in explained and "total" in explained


def test_a_second_compile_comes_from_the_cache(
    compiled: tuple[Small, mlc.CompiledModel, torch.Tensor], cache_dir: Path
):
    model, native, x = compiled
    again = mlc.compile(model, (x,), cache_dir=cache_dir, num_threads=1)
    assert again._variants[0].unit.from_cache
    assert torch.equal(again(x)["logits"], native(x)["logits"])


def test_dynamic_batch(cache_dir: Path):
    model = nn.Sequential(nn.Linear(6, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 3)).eval()
    shapes = ({0: Dim("batch", max=64)},)
    native = mlc.compile(model, (torch.randn(4, 6),), dynamic_shapes=shapes, cache_dir=cache_dir, num_threads=1)
    for batch in (1, 4, 17):
        x = torch.randn(batch, 6)
        torch.testing.assert_close(native(x), model(x).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("x", [torch.tensor(2.0), torch.zeros(0, 3), torch.tensor([float("nan"), float("inf"), -0.0])])
def test_unusual_inputs(x: torch.Tensor, cache_dir: Path):
    native = mlc.compile(lambda x: torch.relu(x) * 2 + x, cache_dir=cache_dir, num_threads=1)
    torch.testing.assert_close(native(x), torch.relu(x) * 2 + x, equal_nan=True)


@pytest.mark.parametrize(
    "fn",
    [
        lambda a, b: a + b,
        lambda a, b: torch.maximum(a, b),
        lambda a, b: a > b,
        lambda a, b: (a.float() * 0.9).to(torch.uint8),
        lambda a, b: a.to(torch.int32) - b,
    ],
)
def test_unsigned_bytes_keep_their_upper_half(fn):
    a = torch.arange(256, dtype=torch.uint8)
    b = a.flip(0)
    got, want = mlc.compile(fn)(a, b), fn(a, b)
    assert got.dtype is want.dtype
    assert torch.equal(got, want)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int16, torch.bool])
def test_literals_of_every_dtype(dtype: torch.dtype, cache_dir: Path):
    def fn(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, torch.tensor([0.25, 3, 0, -2]).to(dtype), torch.zeros((), dtype=dtype))

    x = torch.tensor([1.0, -1.0, 1.0, 1.0])
    torch.testing.assert_close(mlc.compile(fn)(x), fn(x), rtol=0, atol=0)


def test_copies_and_pickles_compile_again():
    model = nn.Linear(4, 3)
    x = torch.randn(2, 4)
    compiled = mlc.compile(model)
    want = compiled(x).clone()
    copied = copy.deepcopy(compiled)
    with torch.no_grad():
        model.weight.zero_()
    for twin in (copied, pickle.loads(pickle.dumps(copied))):
        torch.testing.assert_close(twin(x), want)


@pytest.mark.parametrize("norm", [lambda x: F.layer_norm(x, (64,)), lambda x: F.group_norm(x, 4)])
def test_normalisation_of_huge_values_is_nan_and_never_zero(norm: Any, cache_dir: Path):
    x = torch.randn(2, 8, 64)
    compiled = mlc.compile(norm, (x,), cache_dir=cache_dir, num_threads=1)
    assert compiled(x * 1e30).isnan().all()
    torch.testing.assert_close(compiled(x * 1e17), norm(x * 1e17), rtol=1e-4, atol=1e-5)
