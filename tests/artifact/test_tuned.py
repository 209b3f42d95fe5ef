"""What tuning settled is in the file, and is found again by another process and another compiler."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import mlc
from mlc.artifact import tuned
from mlc.runtime.artifact.file import ArtifactFile
from tests.artifact.test_save import Block


def test_choices_travel(tmp_path: Path, cache_dir: Path):
    x = torch.randn(1, 3, 24, 24)
    model: nn.Module = Block().eval()
    compiled = mlc.compile(model, (x,), tune=True, cache_dir=cache_dir)
    compiled.save(tmp_path / "m.mlc")
    (version,) = ArtifactFile(tmp_path / "m.mlc").index["versions"]
    unit = compiled._latest().unit
    assert version["choices"]["module"] == unit.choices.module
    assert len(version["choices"]["kernels"]) == len(unit.choices.kernels)
    loaded = mlc.load(tmp_path / "m.mlc", cache_dir="")
    assert torch.equal(loaded(x), compiled(x))
    buffers = unit.lowered("buffers")
    assert tuned.local(version["choices"], buffers, unit.setting.fingerprint) == unit.choices
    assert loaded.ir("loops") == compiled.ir("loops")


@pytest.mark.filterwarnings("ignore:precision=")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_tuned_models_without_winograd_load(precision: str, tmp_path: Path, cache_dir: Path):
    model, x = nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU()).eval(), torch.randn(1, 3, 4, 4)
    compiled = mlc.compile(model, (x,), precision=precision, tune=True, winograd=False, cache_dir=cache_dir)
    compiled.save(tmp_path / "m.mlc")
    assert torch.equal(mlc.load(tmp_path / "m.mlc", cache_dir="")(x), compiled(x))


def test_choices_name_the_kernels_whatever_the_compiler(tmp_path: Path, cache_dir: Path):
    compiled = mlc.compile(nn.Linear(8, 8), (torch.ones(2, 8),), cache_dir=cache_dir)
    unit = compiled._latest().unit
    buffers = unit.lowered("buffers")
    here, there = tuned._keys(buffers, unit.setting.fingerprint), tuned._keys(buffers, "another compiler")
    assert here.keys() == there.keys() and here and not set(here.values()) & set(there.values())
    data = {"module": {}, "kernels": {k: {"vectorize-structured": {"vector_bits": 128}} for k in here}}
    assert tuned.local(data, buffers, "another compiler").kernels.keys() == set(there.values())
