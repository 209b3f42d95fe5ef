"""Saved models whose weights have other sizes than their ops need, with text, index and checksums that agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mlc
from mlc.errors import MlcError
from mlc.runtime.artifact.file import ArtifactFile, write_artifact


class Solve(nn.Module):
    """A system whose matrix is a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.eye(401))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.solve(self.a, x)


class Sum(nn.Module):
    """A product onto a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.ones(1, 401, 401))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(self.b, x, x)


def _norm(
    norm: nn.Module, shape: tuple[int, ...]
) -> tuple[nn.Module, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    return norm, shape, (401,), (3,)


CASES = {
    "layer_norm": _norm(nn.LayerNorm(401, bias=False), (2, 401)),
    "batch_norm": _norm(nn.BatchNorm1d(401), (2, 401)),
    "group_norm": _norm(nn.GroupNorm(1, 401), (2, 401)),
    "linear": (nn.Linear(401, 5, bias=False), (2, 401), (5, 401), (5, 3)),
    "linear, one row": (nn.Linear(401, 5, bias=False), (1, 401), (5, 401), (5, 3)),
    "conv": (nn.Conv1d(401, 5, 1, bias=False), (1, 401, 4), (5, 401, 1), (5, 3, 1)),
    "solve": (Solve(), (401, 2), (401, 401), (3, 3)),
    "baddbmm": (Sum(), (1, 401, 401), (1, 401, 401), (1, 3, 3)),
}


@pytest.mark.parametrize("case", CASES)
def test_is_refused(case: str, tmp_path: Path, cache_dir: Path):
    model, shape, old, new = CASES[case]
    path = tmp_path / "m.mlc"
    with torch.no_grad():
        mlc.compile(model.eval(), (torch.randn(shape),), cache_dir=cache_dir).save(path)
    assert mlc.load(path, cache_dir=cache_dir)(np.ones(shape, np.float32)).shape[0] == shape[0]
    file, raw = ArtifactFile(path), path.read_bytes()
    parts = [raw[offset : offset + count] for offset, count, _ in file._parts]
    index = {k: v for k, v in file.index.items() if k != "parts"}
    changed = [entry for entry in index["arrays"] if tuple(entry[2]) == old]
    for entry in changed:
        entry[2] = list(new)
        parts[entry[0]] = np.ones(new, np.float32).tobytes()
    version = index["versions"][0]
    text = parts[version["text"]].decode()
    for way, ends in (("x", ("tensor<", "xf32>")), (",", ("[", "]"))):
        before, after = (f"{ends[0]}{way.join(map(str, sizes))}{ends[1]}" for sizes in (old, new))
        lines = [line if "func.func" in line else line.replace(before, after) for line in text.splitlines()]
        text = "\n".join(lines)
    parts[version["text"]] = text.encode()
    assert changed
    write_artifact(path, index, parts)
    with pytest.raises(MlcError):
        mlc.load(path, cache_dir=cache_dir)(np.ones(shape, np.float32))
