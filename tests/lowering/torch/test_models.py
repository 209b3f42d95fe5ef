"""Whole models: batch norm folding keeps their results, upstream accepts what they become."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from mlc.frontends.torch import capture
from mlc.frontends.torch.captured import FromResult
from mlc.interp import run_module
from mlc.ir.context import MlcContext, make_context
from mlc.ir.pipeline import make_pass, run_pipeline
from mlc.ir.verifier import verify_module
from tests.models.zoo import ZOO

PASSES = ("torch-canonicalize", "torch-fold-batch-norm", "convert-torch-to-linalg")


def converted(model: nn.Module, args: tuple[Any, ...], passes: tuple[str, ...] = PASSES) -> tuple[Any, MlcContext]:
    ctx = make_context()
    captured = capture(model.eval(), args, {}, ctx.resources)
    run_pipeline([make_pass(name) for name in passes], ctx, captured.module)
    verify_module(captured.module, ctx)
    return captured, ctx


def run(captured: Any, ctx: MlcContext, args: tuple[Any, ...]) -> list[np.ndarray]:
    leaves = pytree.tree_leaves((args, {}))
    tensors = [leaves[i] if isinstance(i, int) else i for i in captured.inputs]
    return run_module(captured.module, "forward", [t.detach().numpy() for t in tensors], resources=ctx.resources)


def same(captured: Any, outputs: list[np.ndarray], expected: Any, exact: Any) -> None:
    """Error against f64 at most four times eager's, with a floor of a few steps of the largest element."""
    leaves, true = pytree.tree_leaves(expected), pytree.tree_leaves(exact)
    for output, want, wide in zip(captured.outputs, leaves, true, strict=True):
        assert isinstance(output, FromResult)
        got = outputs[output.index]
        reference = wide.numpy()
        theirs = np.abs(want.numpy() - reference).max()
        error = np.abs(got - reference).max()
        assert error <= max(4 * theirs, 64 * np.finfo(np.float32).eps * np.abs(reference).max())


@pytest.mark.parametrize(
    "name", ["mlp", "resnet18", "squeezenet1_1", "mobilenet_v2", "bert", "gpt2", "vit", "custom_lstm"]
)
def test_small_models(name: str) -> None:
    matches = [n for n in ZOO if n.startswith(name)]
    assert matches, f"no model of the zoo is called {name}: {list(ZOO)}"
    model, args = ZOO[matches[0]].build(batch=2, small=True)
    with torch.inference_mode():
        expected = model(*args)
        captured, ctx = converted(model, args)
        outputs = run(captured, ctx, args)
        wide = [a.double() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args]
        exact = model.double()(*wide)
    same(captured, outputs, expected, exact)


class Folding(nn.Module):
    """Every kind of layer that batch norm folds into, one that it does not, with and without parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4)])
        self.linear = nn.Linear(4, 5)
        self.last = nn.BatchNorm1d(5, eps=1e-2)
        for norm in [*self.norms, self.last]:
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            if norm.affine:
                nn.init.normal_(norm.weight)
                nn.init.normal_(norm.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norms[0](self.conv(x)).relu()
        y = self.norms[1](self.depthwise(y)).relu()
        y = self.norms[2](y).mean((2, 3))
        return self.last(self.linear(y))


def test_batch_norm_folds_into_its_neighbours() -> None:
    torch.manual_seed(1)
    model = Folding().eval()
    x = torch.randn(2, 3, 6, 6)
    captured, ctx = converted(model, (x,), PASSES[:2])
    assert sum(op.name == "torch.aten.batch_norm" for op in captured.module.walk()) == 1
    applied = [r for r in ctx.remarks if r.pass_name == "torch-fold-batch-norm" and r.kind == "applied"]
    missed = [r for r in ctx.remarks if r.pass_name == "torch-fold-batch-norm" and r.kind == "missed"]
    assert len(applied) == 3 and [r.reason for r in missed] == ["no convolution or linear layer stands before it"]
    with torch.inference_mode():
        expected = model(x)
        captured, ctx = converted(model, (x,))
        outputs = run(captured, ctx, (x,))
        same(captured, outputs, expected, model.double()(x.double()))


@pytest.mark.upstream
@pytest.mark.parametrize("name", ["resnet18", "bert", "gru_loop", "convnext", "googlenet"])
def test_upstream_accepts(name: str, tmp_path: Path) -> None:
    matches = [n for n in ZOO if n.startswith(name)]
    assert matches, f"no model of the zoo is called {name}: {list(ZOO)}"
    model, args = ZOO[matches[0]].build(batch=1, small=True)
    captured, _ = converted(model, args)
    path = tmp_path / "model.mlir"
    path.write_text(str(captured.module))
    done = subprocess.run(["torch-mlir-opt", str(path), "-o", "/dev/null"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
