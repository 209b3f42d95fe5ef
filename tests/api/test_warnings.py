"""A user who runs Python with `-W error` gets no error out of mlc."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import torch
import mlc

conv = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten())
for model, x in (
    (torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.GELU(), torch.nn.Linear(6, 3)), torch.ones(4, 6)),
    (conv.eval(), torch.ones(1, 3, 8, 8)),
    (torch.nn.LSTM(3, 4), torch.ones(2, 1, 3)),
):
    compiled = mlc.compile(model, (x,), cache_dir="")
    compiled(x)
    compiled.explain()
    for level in ("torch", "linalg", "kernels", "buffers", "loops", "llvm"):
        compiled.ir(level)
"""


def test_no_warnings(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
