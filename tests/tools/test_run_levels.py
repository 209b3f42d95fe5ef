"""What `compiled.ir(level)` shows runs in mlc-opt with the model's weights beside it, interpreted and natively."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import mlc
from mlc.tools.mlc_opt import main


@pytest.mark.parametrize("level", ["torch", "linalg", "kernels", "buffers", "loops"])
def test_a_model_at_every_level(level: Any, tmp_path: Path):
    """Packed weights are computed from those in the file; `0.weight` of a Sequential is `@_0.weight` in the text."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 64, 40)).eval()
    x = torch.randn(1, 3, 8, 8)
    compiled = mlc.compile(model, (x,))
    text, weights, inputs = (tmp_path / n for n in ("m.mlir", "m.safetensors", "x.npz"))
    text.write_text(compiled.ir(level))
    save_file(model.state_dict(), weights)
    np.savez(inputs, arg0=x.numpy())
    shown: list[str] = []
    for native in ((), ("--native",)):
        out, err = io.StringIO(), io.StringIO()
        flags = ["--resources", str(weights), f"--inputs={inputs}", "--run", *native]
        assert main([str(text), *flags], stdout=out, stderr=err) == 0, err.getvalue()
        shown.append(out.getvalue())
    assert shown[0].startswith("%0 = float32[1, 40]")
    numbers = [[float(v) for v in s.partition("\n")[2].replace("[", "").replace("]", "").split()] for s in shown]
    with torch.no_grad():
        wanted = model(x).flatten().tolist()
    for found in numbers:
        assert found == pytest.approx(wanted[: len(found)], abs=2e-6) and len(found) == len(wanted)
