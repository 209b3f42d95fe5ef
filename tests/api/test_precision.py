"""mlc.compile(precision=...): errors within bounds that the interpreter derives, on every level of x86-64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mlc
from mlc.backends.llvm.target import host_machine
from mlc.compiled import Compiled
from mlc.errors import UsageError
from mlc.interp import run_module
from mlc.interp.domains.bound import BoundDomain
from mlc.ir.pipeline import make_pass, run_pipeline
from tests.models.zoo import ZOO
from tests.targets import runnable

TARGETS = runnable("native", "x86-64-avx2", "x86-64-sse2")
DEMOTE, DEMOTE_CONVOLUTIONS = "linalg-demote-contraction-inputs", "linalg-demote-convolution-inputs"
pytestmark = pytest.mark.filterwarnings("ignore:precision=")  # what is slow here is right all the same
needs_bf16 = pytest.mark.skipif(not host_machine().dot_bf16, reason="this machine does not multiply pairs of bf16")


class Block(nn.Module):
    """A transformer's layer of two heads, narrow."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.ModuleList(nn.Linear(32, 32) for _ in range(3))
        self.out, self.up, self.down = nn.Linear(32, 32), nn.Linear(32, 64), nn.Linear(64, 32)
        self.norms = nn.ModuleList(nn.LayerNorm(32) for _ in range(2))
        for parameter in (*self.qkv.parameters(), *self.out.parameters(), *self.up.parameters()):
            parameter.data *= 0.3  # worst-case bounds multiply: with full-size weights they would say nothing

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norms[0](x)
        q, k, v = (layer(h).view(2, 6, 2, 16).transpose(1, 2) for layer in self.qkv)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 6, 32)
        x = x + self.out(attended)
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(50, 48), nn.Sigmoid(), nn.Linear(48, 33), nn.Tanh(), nn.Linear(33, 17))


def derived_bound(unit: Compiled, x: torch.Tensor) -> np.ndarray:
    """The running error bound of the program whose operands are rounded, against exact arithmetic."""
    module, ctx = unit.source.clone(), unit.ctx.clone()
    names = ("torch-canonicalize", "convert-torch-to-linalg", DEMOTE)
    options: dict[str, dict[str, object]] = {DEMOTE: {"weights_only": False}}  # the larger bound holds for both forms
    run_pipeline([make_pass(name, options.get(name, {})) for name in names], ctx, module)
    domain = BoundDomain()
    domain.narrowest = 16
    (y,) = run_module(module, "forward", [x.numpy()], resources=ctx.resources, domain=domain, raw=True)
    assert not domain.ambiguous
    return y["e"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("make, shape", [(mlp, (5, 50)), (Block, (2, 6, 32))], ids=["mlp", "transformer"])
def test_within_the_derived_bound(make: type[nn.Module], shape: tuple[int, ...], target: str, tmp_path: Path):
    torch.manual_seed(0)
    model, x = make().eval().requires_grad_(False), torch.randn(shape)
    compiled = mlc.compile(model, (x,), precision="bfloat16", target=target, cache_dir=tmp_path)
    y, again = compiled(x), compiled(x)
    assert torch.equal(y, again)
    exact = model.double()(x.double()).numpy()
    bound = derived_bound(compiled._latest().unit, x)
    error = np.abs(y.numpy() - exact)
    assert np.all(error <= bound)
    assert np.max(bound) < np.max(np.abs(exact)), "a bound that says something"
    assert np.max(error) > 1e-5, "something was rounded to bf16"


@pytest.mark.parametrize("target", TARGETS)
def test_one_product_within_the_closed_form(target: str, tmp_path: Path):
    """|error| <= sum |x w| (2u + u^2), and what sums in f32 add to it."""
    torch.manual_seed(1)
    model = nn.Linear(300, 65, bias=False).requires_grad_(False)
    x = torch.randn(23, 300)
    y = mlc.compile(model, (x,), precision="bfloat16", target=target, cache_dir=tmp_path)(x)
    u, terms = 2.0**-8, x.double().abs() @ model.weight.double().abs().T
    error = (y.double() - x.double() @ model.weight.double().T).abs()
    assert torch.all(error <= terms * (2 * u + u * u + 302 * 2.0**-24 * (1 + u) ** 2))


class Residual(nn.Module):
    """A block of a residual network: 1x1, 3x3 with a stride, 1x1, a strided 1x1 beside them, one on the sum."""

    def __init__(self, activation: Callable[[torch.Tensor], torch.Tensor] = torch.relu) -> None:
        super().__init__()
        self.activation = activation
        self.reduce, self.middle = nn.Conv2d(32, 16, 1), nn.Conv2d(16, 16, 3, stride=2, padding=1)
        self.widen, self.beside = nn.Conv2d(16, 32, 1), nn.Conv2d(32, 32, 1, stride=2)
        self.last = nn.Conv2d(64, 16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.activation(
            self.widen(self.activation(self.middle(self.activation(self.reduce(x))))) + self.beside(x)
        )
        second = self.activation(self.widen(self.activation(self.reduce(first))) + first)
        return self.last(torch.cat([first, second], dim=1)) + second[:, 16:]


def convolution_bound(unit: Compiled, x: torch.Tensor) -> np.ndarray:
    """The running error bound of the laid out program whose operands are rounded, against exact arithmetic."""
    module, ctx = unit.source.clone(), unit.ctx.clone()
    before = ("torch-canonicalize", "convert-torch-to-linalg", "linalg-block-layouts")
    run_pipeline([*map(make_pass, before), make_pass(DEMOTE_CONVOLUTIONS, {"pairs": True})], ctx, module)
    domain = BoundDomain()
    domain.narrowest = 16
    (y,) = run_module(module, "forward", [x.numpy()], resources=ctx.resources, domain=domain, raw=True)
    assert not domain.ambiguous
    return y["e"]


@needs_bf16
def test_convolutions_within_the_derived_bound(tmp_path: Path):
    torch.manual_seed(3)
    model, x = Residual(torch.tanh).eval().requires_grad_(False), torch.randn(1, 32, 9, 7)
    for layer in (model.reduce, model.middle, model.widen, model.beside):
        layer.weight.data *= 0.3  # worst-case bounds multiply
    compiled = mlc.compile(model, (x,), precision="bfloat16", cache_dir=tmp_path)
    y = compiled(x)
    bound = convolution_bound(compiled._latest().unit, x)
    exact = model.double()(x.double()).numpy()
    error = np.abs(y.numpy() - exact)
    assert np.all(error <= bound)
    assert np.max(bound) < np.max(np.abs(exact)), "a bound that says something"
    assert np.max(error) > 1e-4, "something was rounded to bf16"


@needs_bf16
def test_convolutions_read_pairs_and_store_bf16(tmp_path: Path):
    model, x = Residual().eval().requires_grad_(False), torch.randn(1, 32, 9, 7)
    unit = mlc.compile(model, (x,), precision="bfloat16", cache_dir=tmp_path)._latest().unit
    applied = [r for r in unit.remarks() if r.pass_name == DEMOTE_CONVOLUTIONS and r.kind == "applied"]
    assert sum(r.rule == "pairs" for r in applied) == 7
    assert any(r.rule == "stored-narrow" for r in applied)


@needs_bf16
@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "densenet121"])
def test_networks_are_near_and_the_same_on_any_threads(name: str, tmp_path: Path):
    model, inputs = ZOO[name].build(batch=1, small=True)
    one = mlc.compile(model, inputs, precision="bfloat16", num_threads=1, cache_dir=tmp_path)(*inputs)
    two = mlc.compile(model, inputs, precision="bfloat16", num_threads=2, cache_dir=tmp_path)(*inputs)
    assert torch.equal(one, two)
    exact = model.double()(*(x.double() for x in inputs))
    narrow = model.bfloat16()(*(x.bfloat16() for x in inputs)).double()
    assert (one - exact).abs().max() <= (narrow - exact).abs().max()


@pytest.mark.parametrize("target", TARGETS[1:])
def test_convolutions_stay_float32_where_pairs_are_not_multiplied(target: str, tmp_path: Path):
    torch.manual_seed(4)
    model, x = Residual().eval().requires_grad_(False), torch.randn(1, 32, 9, 7)
    plain = mlc.compile(model, (x,), target=target, cache_dir=tmp_path)(x)
    compiled = mlc.compile(model, (x,), precision="bfloat16", target=target, cache_dir=tmp_path)
    assert torch.equal(compiled(x), plain)
    missed = [r for r in compiled._latest().unit.remarks() if r.pass_name == DEMOTE_CONVOLUTIONS]
    assert missed and all("does not multiply pairs" in str(r) for r in missed)


def test_threads_and_versions_do_not_change_bits(tmp_path: Path):
    torch.manual_seed(2)
    model, x = nn.Linear(256, 512).requires_grad_(False), torch.randn(200, 256)
    one = mlc.compile(model, (x,), precision="bfloat16", num_threads=1, cache_dir=tmp_path)(x)
    two = mlc.compile(model, (x,), precision="bfloat16", num_threads=2, cache_dir=tmp_path)(x)
    assert torch.equal(one, two)
    full = mlc.compile(model, (x,), cache_dir=tmp_path)(x)
    assert not torch.equal(one, full), "the cache keeps precisions apart"
    assert torch.allclose(full, model(x), atol=1e-5)


def test_new_weights_are_rounded_again(tmp_path: Path):
    model, x = nn.Linear(16, 16, bias=False).requires_grad_(False), torch.eye(16)
    mlc.compile(model, (x,), precision="bfloat16", cache_dir=tmp_path)
    model.weight = nn.Parameter(torch.full((16, 16), 1 + 2.0**-9), requires_grad=False)
    y = mlc.compile(model, (x,), precision="bfloat16", cache_dir=tmp_path)(x)
    assert torch.equal(y, torch.ones(16, 16))


def test_special_values(tmp_path: Path):
    """Infinities and NaN go where they go in float32."""
    model = nn.Linear(32, 16, bias=False).requires_grad_(False)
    model.weight[:] = 1.0
    x = torch.ones(4, 32)
    x[1, 3], x[2, 4], x[3, 5] = torch.inf, torch.nan, -torch.inf
    y = mlc.compile(model, (x,), precision="bfloat16", cache_dir=tmp_path)(x)
    torch.testing.assert_close(y, model(x), equal_nan=True, rtol=0, atol=0)


def test_explain_shows_it(tmp_path: Path):
    model, x = nn.Linear(64, 64).requires_grad_(False), torch.randn(2, 64)
    compiled = mlc.compile(model, (x,), precision="bfloat16", cache_dir=tmp_path)
    text = compiled.explain()
    assert "precision: bfloat16" in text
    assert f"{DEMOTE}: applied" in text


def test_unknown_precisions():
    with pytest.raises(UsageError, match="did you mean 'bfloat16'"):
        mlc.compile(nn.Linear(2, 2), precision="bfloat61")
