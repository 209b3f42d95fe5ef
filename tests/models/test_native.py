"""Every model of the zoo, narrow, through the whole staircase: close to eager, and as close to float64 as eager is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.export import Dim

import mlc
from tests.models.check_native import compare
from tests.models.zoo import ENTRIES, ZOO, Entry


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_native_agrees_with_eager(entry: Entry, cache_dir: Path):
    model, inputs = entry.build(batch=2, small=True)
    compiled = mlc.compile(model, inputs, cache_dir=cache_dir, num_threads=1)
    compare(entry.name, model, inputs, compiled)
    unit = compiled._latest().unit
    remarks = unit.remarks() if unit.from_cache else unit.ctx.remarks
    (planned,) = [r.data for r in remarks if r.pass_name == "plan-memory"]
    assert planned["peak"] <= planned["arena"] <= 1.1 * planned["peak"]


@pytest.mark.parametrize("name", ["mlp", "resnet18", "bert_base"])
def test_dynamic_batch(name: str, cache_dir: Path):
    model, inputs = ZOO[name].build(batch=3, small=True)
    shapes = ({0: Dim("batch", min=1, max=32)},)
    compiled = mlc.compile(model, inputs, dynamic_shapes=shapes, cache_dir=cache_dir, num_threads=1)
    for batch in (1, 3, 4):
        _, inputs = ZOO[name].build(batch=batch, small=True)
        with torch.no_grad():
            compare(name, model, inputs, compiled)
