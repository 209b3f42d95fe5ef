"""torch-mlir's importer's output is read, verified, printed back the same, and runs with PyTorch's numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from mlc.interp.run import run_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text

pytestmark = [pytest.mark.torch, pytest.mark.upstream]

# Exported in a process of its own: torch-mlir's native code and llvmlite's LLVM do not share one.
EXPORT = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import torch
from torch_mlir import fx

def export(program):
    torch.manual_seed(0)
    scope = {"torch": torch}
    exec(program, scope)
    model, inputs = scope["MODEL"].eval(), scope["INPUTS"]
    module = fx.export_and_import(model, *inputs, output_type="raw", dynamic_shapes=scope.get("DYNAMIC"))
    outputs = model(*inputs)
    outputs = [o.detach() for o in (outputs if isinstance(outputs, tuple) else (outputs,))]
    return module.operation.get_asm(enable_debug_info=True), inputs, outputs

torch.save({name: export(text) for name, text in json.load(sys.stdin).items()}, sys.argv[1])
"""

PROGRAMS = {
    "convolutional": """
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.bn = torch.nn.BatchNorm2d(8)
        self.fc = torch.nn.Linear(8, 5)
    def forward(self, x):
        y = torch.nn.functional.max_pool2d(torch.relu(self.bn(self.conv(x))), 2)
        values, indices = torch.max(y, dim=1)
        return torch.softmax(self.fc(y.mean([2, 3])), -1), values.to(torch.float16), indices, y.clamp(0.5, None)
MODEL, INPUTS = Model(), (torch.randn(2, 3, 8, 8),)
""",
    "attention": """
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 8)
        self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
    def forward(self, ids):
        return self.layer(self.embedding(ids)), (ids > 3).any(), torch.arange(5) + ids
MODEL, INPUTS = Model(), (torch.randint(0, 11, (2, 5)),)
""",
    "recurrent": """
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = torch.nn.LSTMCell(3, 4)
    def forward(self, x):
        h = c = torch.zeros(x.shape[1], 4)
        for row in x:
            h, c = self.cell(row, (h, c))
        return h, torch.split(c, [1, 3], 1)[1]
MODEL, INPUTS = Model(), (torch.randn(5, 2, 3),)
""",
    "dynamic": """
class Model(torch.nn.Module):
    def forward(self, x):
        y = x.reshape(x.shape[0] * 2, -1)
        return torch.cat([y, y[1:]]), x.sum(0), torch.where(x > 0, x, 2.0)
MODEL, INPUTS = Model(), (torch.randn(3, 4),)
DYNAMIC = ({0: torch.export.Dim("n", min=2, max=9)},)
""",
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Each program as torch-mlir's text, its inputs and eager's outputs."""
    stored = tmp_path_factory.mktemp("export") / "export.pt"
    command = [sys.executable, "-c", EXPORT, str(stored)]
    subprocess.run(command, input=json.dumps(PROGRAMS), text=True, check=True, capture_output=True)
    return torch.load(stored)


@pytest.mark.parametrize("name", PROGRAMS)
def test_importer_output(name: str, exported: dict[str, Any]) -> None:
    text, inputs, outputs = exported[name]
    ctx = make_context()
    module = parse_text(text, ctx)
    module.verify()
    printed = print_text(module, debuginfo=True)
    assert print_text(parse_text(printed, make_context()), debuginfo=True) == printed
    read = subprocess.run(["torch-mlir-opt"], input=printed, capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    ours = run_module(module, "main", [x.numpy() for x in inputs], resources=ctx.resources)
    for mine, theirs in zip(ours, outputs, strict=True):
        wanted = theirs.numpy()
        assert mine.dtype == wanted.dtype and mine.shape == wanted.shape
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(mine, wanted, rtol=2e-5 if wanted.dtype == np.float32 else 1e-3, atol=2e-6)
        else:
            assert np.array_equal(mine, wanted)
