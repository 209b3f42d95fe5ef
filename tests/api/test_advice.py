"""What `mlc.compile` and `mlc.load` warn of: a cache that keeps nothing."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import mlc
from mlc import advice
from mlc.errors import UsageError


def linear() -> tuple[nn.Module, torch.Tensor]:
    return nn.Linear(4, 3).requires_grad_(False), torch.ones(2, 4)


@pytest.fixture
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "_told", set())


@pytest.mark.usefixtures("nothing_told")
def test_a_cache_that_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model, x = linear()
    (file := tmp_path / "file").write_text("mine")
    mlc.compile(model, (x,), cache_dir=tmp_path).save(tmp_path / "m.mlc")
    monkeypatch.setenv("MLC_CACHE_DIR", str(file))
    with pytest.warns(UserWarning, match=rf"no cache: '{file}' is not a directory") as caught:
        compiled = mlc.compile(model, (x,))
    assert len(caught) == 1 and caught[0].filename == __file__
    with warnings.catch_warnings(action="error"):  # once is enough
        assert torch.equal(mlc.compile(model)(x), compiled(x))
        mlc.load(tmp_path / "m.mlc")
        mlc.compile(model, cache_dir="")
    monkeypatch.setenv("MLC_CACHE_DIR", str(file / "below" / "it"))
    advice._told.clear()
    with pytest.warns(UserWarning, match=rf"no cache: '{file}' is not a directory") as caught:
        mlc.load(tmp_path / "m.mlc")
    assert caught[0].filename == __file__ and file.read_text() == "mine"


def test_a_size_of_the_cache_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model, x = linear()
    mlc.compile(model, (x,), cache_dir=tmp_path).save(tmp_path / "m.mlc")
    monkeypatch.setenv("MLC_CACHE_SIZE", "a lot")
    with pytest.raises(UsageError, match="MLC_CACHE_SIZE is 'a lot'"):
        mlc.compile(model, cache_dir=tmp_path)
    with pytest.raises(UsageError, match="MLC_CACHE_SIZE is 'a lot'"):
        mlc.load(tmp_path / "m.mlc", cache_dir=tmp_path)
    mlc.compile(model, (x,), cache_dir="")
