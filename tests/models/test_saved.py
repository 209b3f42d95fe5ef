"""Every model of the zoo, narrow, saved and loaded: the compiled model's results, to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils import _pytree as pytree

import mlc
from mlc.runtime.artifact.trees import Record
from tests.models.zoo import ENTRIES, Entry


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_a_saved_model_gives_the_same(entry: Entry, tmp_path: Path, cache_dir: Path):
    model, inputs = entry.build(batch=2, small=True)
    compiled = mlc.compile(model, inputs, cache_dir=cache_dir, num_threads=1)
    compiled.save(tmp_path / "m.mlc")
    for _ in range(2):  # compiled, then from the cache
        got = mlc.load(tmp_path / "m.mlc", num_threads=1, cache_dir=cache_dir)(*inputs)
        leaves = pytree.tree_leaves(got.to_tuple() if isinstance(got, Record) else got)
        wanted = pytree.tree_leaves(compiled(*inputs))
        assert len(leaves) == len(wanted)
        assert all(torch.equal(a, b) for a, b in zip(leaves, wanted, strict=True))
