"""Layers in bf16 and int8 through a matrix unit: the numbers of the same code by vectors, whatever is left over."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import mlc
from mlc.backends.llvm.target import missing_features
from mlc.backends.machine import PRESETS

pytestmark = pytest.mark.skipif(
    bool(missing_features(PRESETS["x86-64-amx"])), reason="this machine has no matrix unit, or no leave to use it"
)


def _both(model: nn.Module, x: torch.Tensor, precision: str) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Results by tiles and by vectors, and how many products of tiles the code has."""
    with torch.no_grad():
        tiled = mlc.compile(model, (x,), precision=precision, target="x86-64-amx", cache_dir="", num_threads=1)
        plain = mlc.compile(model, (x,), precision=precision, target="x86-64-avx512-bf16", cache_dir="", num_threads=1)
        return tiled(x), plain(x), tiled.ir("loops").count("amx.tile_mul")


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.parametrize("columns", [16, 33, 80, 128])
@pytest.mark.parametrize("rows", [3, 4, 7, 16, 17, 31, 49, 64])
def test_linear(rows: int, columns: int, precision: str) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(192, columns), nn.GELU()).eval(), torch.randn(rows, 192)
    tiled, plain, products = _both(model, x, precision)
    assert (products > 0) == (rows >= 4)
    if precision == "int8":
        assert torch.equal(tiled, plain)
    else:
        assert float((tiled - plain).abs().max()) < 2e-6  # sums of 192 terms of about 0.04 in another order


@pytest.mark.parametrize(
    ("channels", "filters", "size", "kernel", "stride"),
    [
        (32, 48, 7, 3, 1),
        (64, 64, 7, 1, 1),
        (16, 32, 14, 3, 2),
        (32, 32, 28, 3, 1),
        (48, 16, 9, 5, 1),
        (32, 64, 56, 1, 2),
    ],
)
def test_convolutions(channels: int, filters: int, size: int, kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, filters, kernel, stride, padding=kernel // 2)
    model, x = nn.Sequential(layer, nn.ReLU()).eval(), torch.randn(2, channels, size, size)
    tiled, plain, products = _both(model, x, "bfloat16")
    assert products > 0
    exact = model.double()(x.double())
    # where vectors take Winograd's tiles, in f32, only the rounding of operands shows: u = 2^-8 of each term
    assert float((tiled - plain).abs().max()) < 2**-7 * float(exact.abs().max())
    assert float((tiled.double() - exact).abs().max()) < 2**-7 * float(exact.abs().max())


def test_results_do_not_depend_on_threads() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 256)).eval(), torch.randn(200, 256)
    with torch.no_grad():
        one, two = (mlc.compile(model, (x,), precision="bfloat16", num_threads=n)(x) for n in (1, 2))
    assert torch.equal(one, two)


def test_accesses_are_checked() -> None:
    model, x = nn.Linear(64, 64).eval(), torch.randn(20, 64)
    with torch.no_grad():
        checked = mlc.compile(model, (x,), precision="bfloat16", target="x86-64-amx", debug="bounds")
        plain = mlc.compile(model, (x,), precision="bfloat16", target="x86-64-amx")
        assert torch.equal(checked(x), plain(x))
    assert "cf.assert" in checked.ir("loops") and '"amx.tile_load outside of its memory' in checked.ir("loops")


def test_loaded_without_the_compiler(tmp_path) -> None:
    model, x = nn.Linear(64, 64).eval(), torch.randn(20, 64)
    with torch.no_grad():
        compiled = mlc.compile(model, (x,), precision="bfloat16")
        compiled.save(tmp_path / "m.mlc")
        assert torch.equal(mlc.load(tmp_path / "m.mlc")(x), compiled(x))
