"""mlc.compile(precision="int8"): errors within half a step of each operand, on every level of x86-64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mlc
from mlc.compiled import Compiled
from mlc.interp import run_module
from mlc.interp.domains.bound import BoundDomain
from mlc.ir.pipeline import make_pass, run_pipeline
from tests.models.zoo import ZOO
from tests.targets import runnable

TARGETS = runnable("native", "x86-64-avx512", "x86-64-avx2", "x86-64-sse2")
pytestmark = pytest.mark.filterwarnings("ignore:precision=")  # what is slow here is right all the same
QUANTIZE = "linalg-quantize-contraction-inputs"


def steps(x: torch.Tensor) -> torch.Tensor:
    """The scale of each row."""
    return x.abs().amax(1) / 127


def closed_form(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Sum of |x| t/2 + |w| s/2 + s t/4, and what arithmetic in f32 adds to it."""
    s, t = steps(x)[:, None], steps(w)[None]
    half = x.abs().sum(1)[:, None] * t / 2 + w.abs().sum(1)[None] * s / 2 + x.shape[1] * s * t / 4
    return half + 2.0**-20 * (half + x.abs() @ w.abs().T)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("m, k, n", [(23, 300, 65), (1, 64, 48), (5, 37, 32), (3, 2, 16)])
def test_one_product_within_the_closed_form(m: int, k: int, n: int, target: str, tmp_path: Path):
    torch.manual_seed(1)
    model = nn.Linear(k, n).requires_grad_(False)
    x = torch.randn(m, k)
    compiled = mlc.compile(model, (x,), precision="int8", target=target, cache_dir=tmp_path)
    y = compiled(x)
    assert torch.equal(y, compiled(x))
    wide, w = x.double(), model.weight.double()
    exact = wide @ w.T + model.bias.double()
    assert torch.all((y.double() - exact).abs() <= closed_form(wide, w) + 2.0**-22)
    assert (y - exact).abs().max() > 1e-5, "something was rounded to integers"


@pytest.mark.parametrize("target", TARGETS)
def test_levels_agree_to_the_last_steps(target: str, tmp_path: Path):
    """Integers are exact: only the order of scaling in f32 could differ."""
    torch.manual_seed(2)
    model, x = nn.Linear(128, 64).requires_grad_(False), torch.randn(9, 128)
    one = mlc.compile(model, (x,), precision="int8", target="x86-64-sse2", cache_dir=tmp_path)(x)
    two = mlc.compile(model, (x,), precision="int8", target=target, cache_dir=tmp_path)(x)
    torch.testing.assert_close(one, two, rtol=2.0**-20, atol=2.0**-22)


def derived_bound(unit: Compiled, x: torch.Tensor) -> np.ndarray:
    """The running error bound of the program whose operands are rounded, against exact arithmetic."""
    module, ctx = unit.source.clone(), unit.ctx.clone()
    names = ("torch-canonicalize", "convert-torch-to-linalg", QUANTIZE)
    run_pipeline([make_pass(name) for name in names], ctx, module)
    domain = BoundDomain()
    domain.rounds_to_integers = True
    (y,) = run_module(module, "forward", [x.numpy()], resources=ctx.resources, domain=domain, raw=True)
    assert not domain.ambiguous
    return y["e"]


@pytest.mark.parametrize("target", TARGETS)
def test_two_layers_within_the_derived_bound(target: str, tmp_path: Path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(50, 48), nn.Sigmoid(), nn.Linear(48, 33)).requires_grad_(False)
    x = torch.randn(5, 50)
    compiled = mlc.compile(model, (x,), precision="int8", target=target, cache_dir=tmp_path)
    y = compiled(x)
    bound = derived_bound(compiled._latest().unit, x)
    exact = model.double()(x.double()).numpy()
    assert np.all(np.abs(y.numpy() - exact) <= bound)
    assert np.max(bound) < np.max(np.abs(exact)), "a bound that says something"


def test_extremes(tmp_path: Path):
    """Rows of zeros and subnormal numbers; the largest sums that the unsigned factor can make."""
    model = nn.Linear(64, 16, bias=False).requires_grad_(False)
    model.weight[:] = 1.0
    x = torch.ones(4, 64)
    x[1], x[2], x[3] = 0.0, 1e-41, -3e38
    y = mlc.compile(model, (x,), precision="int8", cache_dir=tmp_path)(x)
    torch.testing.assert_close(y[:2], model(x)[:2], rtol=1e-6, atol=0)
    assert torch.all(y[2].abs() < 1e-35)
    assert torch.all(y[3] == -torch.inf)


def test_infinities_and_nan_become_nan_in_their_rows(tmp_path: Path):
    model, x = nn.Linear(32, 16).requires_grad_(False), torch.randn(4, 32)
    x[1, 3], x[2, 4] = torch.inf, torch.nan
    y = mlc.compile(model, (x,), precision="int8", cache_dir=tmp_path)(x)
    assert y.isnan().all(1).tolist() == [False, True, True, False]
    assert y[0].isfinite().all() and y[3].isfinite().all()


def test_only_products_with_constants(tmp_path: Path):
    model, inputs = ZOO["bert_base"].build(batch=1, small=True)
    compiled = mlc.compile(model, inputs, precision="int8", cache_dir=tmp_path)
    remarks = [r for r in compiled._latest().unit.remarks() if r.pass_name == QUANTIZE]
    assert any(r.kind == "applied" for r in remarks)
    assert any(r.kind == "missed" and r.op == "linalg.batch_matmul" for r in remarks)
    assert "precision: int8" in compiled.explain()
    one, two = compiled(*inputs), compiled(*inputs)
    for a, b in zip(one.values(), two.values(), strict=True):
        assert torch.equal(a, b)
