"""Every model of the zoo is captured and replays as eager, at two batch sizes; the examples too."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.export import Dim

from mlc.frontends.torch import Binding
from mlc.frontends.torch.exported import capture_exported, export
from mlc.ir.context import make_context
from tests.frontends.replay import check, replaying, same
from tests.models.zoo import ENTRIES, ZOO, Entry

ROOT = Path(__file__).resolve().parents[2]

# ops that a capture of these keeps whole
WHOLE = {
    "resnet18": {"conv2d", "batch_norm", "relu", "max_pool2d", "adaptive_avg_pool2d", "linear", "add.Tensor"},
    "bert_base": {"embedding", "layer_norm", "linear", "scaled_dot_product_attention", "gelu"},
    "gpt2": {"embedding", "layer_norm", "addmm", "scaled_dot_product_attention", "tanh"},
    "vit_b_16": {"conv2d", "layer_norm", "linear", "scaled_dot_product_attention", "gelu"},
    "custom_lstm": {"linear", "sigmoid", "tanh", "stack"},
}


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_replays_as_eager(entry: Entry, batch: int):
    model, inputs = entry.build(batch=batch, small=True)
    binding = check(model, *inputs)
    ops = [op.name.removeprefix("torch.aten.") for op in binding.captured.module.walk()]
    assert WHOLE.get(entry.name, set()) <= set(ops)
    assert not [name for name in ops if name.endswith("_")]


@pytest.mark.parametrize("name", ["mlp", "resnet18", "bert_base"])
def test_dynamic_batch(name: str):
    model, inputs = ZOO[name].build(batch=3, small=True)
    ctx = make_context()
    program = export(model, inputs, {}, ({0: Dim("batch", min=1, max=32)},))
    binding = Binding(captured := capture_exported(program, ctx.resources, model), replaying(captured, ctx.resources))
    for batch in (1, 5):
        _, inputs = ZOO[name].build(batch=batch, small=True)
        with torch.no_grad():
            same(binding(inputs, {}), model(*inputs))


@pytest.mark.parametrize("name", ["resnet", "transformer"])
def test_example_models(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model, inputs = module.example(small=True)
    check(model, *inputs)


def test_demo_runs():
    r = subprocess.run(
        [sys.executable, "examples/demo.py", "--small"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert r.returncode == 0, r.stdout + r.stderr
    assert r.stdout.count("against float64") == 2 and "Where to look next" in r.stdout
