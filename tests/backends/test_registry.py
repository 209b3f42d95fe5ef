"""A target that this machine lacks instructions for is refused before anything runs: its code would end the process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import mlc
from mlc.backends.llvm import target as targets
from mlc.backends.llvm.host import host
from mlc.backends.registry import load_backend
from mlc.errors import UsageError
from mlc.tools.mlc_opt import main

WIDE = "x86-64-avx512"


@pytest.fixture
def narrow_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without AVX-512, whatever this one is."""
    own = host()
    small = replace(own, features=tuple(f for f in own.features if not f.startswith("avx512")))
    monkeypatch.setattr(targets, "host", lambda: small)
    targets.host_machine.cache_clear()
    yield
    targets.host_machine.cache_clear()


@pytest.mark.usefixtures("narrow_host")
def test_compiled_and_loaded(tmp_path: Path):
    model, x = nn.Linear(4, 3).eval(), torch.ones(2, 4)
    with pytest.raises(UsageError, match=rf"'{WIDE}' cannot run here: this machine lacks .*avx512f") as caught:
        mlc.compile(model, (x,), target=WIDE, cache_dir="")
    assert "native" in str(caught.value.expected) and f"--target={WIDE}" in str(caught.value.hint)
    compiled = mlc.compile(model, (x,), cache_dir="")
    compiled.save(tmp_path / "m.mlc")
    with pytest.raises(UsageError, match="cannot run here"):
        mlc.load(tmp_path / "m.mlc", target=WIDE, cache_dir="")


@pytest.mark.usefixtures("narrow_host")
@pytest.mark.parametrize("types", ["tensor", "memref"])
def test_files_are_shown_but_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], types: str):
    texts = {
        "tensor": "func.func @forward(%x: tensor<4xf32>) -> tensor<4xf32> { return %x : tensor<4xf32> }",
        "memref": "func.func @forward(%x: memref<4xf32>) { return }",
    }
    path = tmp_path / "x.mlir"
    path.write_text(texts[types])
    assert main([str(path), f"--target={WIDE}", "--run", "--native"]) == 2
    assert "cannot run here" in capsys.readouterr().err
    if types == "tensor":
        assert main([str(path), f"--target={WIDE}", "--mlc-pipeline=cpu", "--emit=asm"]) == 0


def test_another_architecture():
    foreign = "aarch64-neon" if host().triple.startswith("x86_64") else "x86-64-sse2"
    with pytest.raises(UsageError, match=f"'{foreign}' cannot run here: this machine lacks (aarch64|x86_64)"):
        mlc.compile(nn.Linear(4, 3).eval(), (torch.ones(2, 4),), target=foreign, cache_dir="")


@pytest.mark.parametrize(
    "given, meant",
    [
        ("neon", "'aarch64-neon'"),
        ("arm64", "'aarch64-neon'"),
        ("aarch64", "'aarch64-neon'"),
        ("AVX2", "'x86-64-avx2'"),
        ("avx512", "'x86-64-avx512' or 'x86-64-avx512-bf16'"),
        ("sse4", "'x86-64-sse2'"),
        ("host", "'native'"),
        ("natvie", "'native'"),
        ("x86_64_avx2", "'x86-64-avx2'"),
    ],
)
def test_unknown_names_have_a_hint(given: str, meant: str):
    with pytest.raises(UsageError, match=f"unknown target '{given}'") as caught:
        load_backend(given)
    assert caught.value.hint == f"did you mean {meant}?"


@pytest.mark.parametrize("given", ["a", "zx81", "x" * 1000])
def test_names_like_no_target_have_none(given: str):
    with pytest.raises(UsageError) as caught:
        load_backend(given)
    assert caught.value.hint is None and "native" in str(caught.value.expected)
