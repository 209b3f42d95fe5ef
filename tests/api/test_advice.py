"""What `mlc.compile` and `mlc.load` warn of: a cache that keeps nothing, a precision that does not pay here."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import mlc
from mlc import advice
from mlc.advice import slow_without
from mlc.backends.llvm import backend as cpu
from mlc.backends.llvm.target import missing_features
from mlc.backends.machine import PRESETS, MachineModel, from_features
from mlc.errors import UsageError

FAST, WIDE, NARROW = (PRESETS[f"x86-64-{level}"] for level in ("avx512-bf16", "avx512", "avx2"))
ALL = set(FAST.features)


def linear() -> tuple[nn.Module, torch.Tensor]:
    return nn.Linear(4, 3).requires_grad_(False), torch.ones(2, 4)


@pytest.fixture
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "_told", set())


def here(monkeypatch: pytest.MonkeyPatch, machine: MachineModel) -> None:
    monkeypatch.setattr(cpu, "host_machine", lambda: machine)


@pytest.mark.skipif(bool(missing_features(NARROW)), reason="this machine cannot run code for AVX2")
@pytest.mark.parametrize("precision, needed", [("bfloat16", "avx512bf16"), ("int8", "avx512vnni")])
def test_a_precision_that_does_not_pay(precision: str, needed: str, monkeypatch: pytest.MonkeyPatch):
    here(monkeypatch, NARROW)
    model, x = linear()
    with pytest.warns(UserWarning, match=f"this machine lacks {needed}, so float32 is likely faster") as caught:
        compiled = mlc.compile(model, precision=precision, target="native", cache_dir="")
    assert len(caught) == 1 and caught[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        compiled(x)
        compiled(x[:1])
    with pytest.warns(UserWarning, match=f"target 'x86-64-sse2' lacks {needed}"):
        mlc.compile(model, precision=precision, target="x86-64-sse2", cache_dir="")


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_no_word_where_it_pays(precision: str, monkeypatch: pytest.MonkeyPatch):
    here(monkeypatch, FAST if precision != "float32" else NARROW)
    with warnings.catch_warnings(action="error"):
        mlc.compile(linear()[0], precision=precision, cache_dir="")
        mlc.compile(linear()[0], precision=precision, target="x86-64-avx512-bf16", cache_dir="")


def test_what_a_precision_lacks():
    assert slow_without("int8", WIDE) == ["avx512vnni"] and slow_without("bfloat16", WIDE) == ["avx512bf16"]
    assert slow_without("int8", FAST) == [] == slow_without("bfloat16", FAST)
    assert slow_without("int8", from_features("x86_64", ALL - {"avx512bf16"}, name="odd")) == []
    assert slow_without("bfloat16", from_features("x86_64", ALL - {"avx512vl"}, name="odd")) == ["avx512vl"]
    assert slow_without("int8", replace(FAST, vector_bits=256)) == ["vectors of 512 bits (it has 256)"]


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


def test_pairs_of_bf16_that_are_slower_than_f32():
    """Where two wide multiply-adds start per cycle and the system gives no leave to use the matrix unit."""
    server = from_features("x86_64", {*FAST.features, "amx-tile", "amx-bf16", "amx-int8"}, name="sapphirerapids")
    assert not slow_without("bfloat16", server) and not slow_without("int8", server)
    without = replace(server, features=FAST.features)
    assert slow_without("bfloat16", without) == ["amx-tile"] and not slow_without("int8", without)
