"""Layers on inputs of other ranks, dtypes and sizes than the usual: numbers as eager's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mlc

NAN = float("nan")


def _with_statistics(layer: nn.Module, norm: nn.modules.batchnorm._BatchNorm) -> nn.Module:
    torch.manual_seed(0)
    for p in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        assert p is not None
        nn.init.uniform_(p, 0.5, 2)
    return nn.Sequential(layer, norm).eval()


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Linear(2, 8), nn.BatchNorm1d(8), (3, 8, 2)),
        (nn.Linear(2, 8), nn.BatchNorm1d(5), (3, 5, 2)),
        (nn.Linear(2, 4, bias=False), nn.BatchNorm2d(4), (2, 4, 3, 2)),
        (nn.Conv1d(2, 6, 3, padding=1), nn.BatchNorm1d(6), (2, 6)),
        (nn.Linear(2, 8), nn.BatchNorm1d(8), (3, 2)),
    ],
)
def test_batch_norm_is_over_dim_1(layer: nn.Module, norm: Any, shape: tuple[int, ...], cache_dir: Path):
    model = _with_statistics(layer, norm)
    x = torch.randn(shape)
    torch.testing.assert_close(mlc.compile(model, cache_dir=cache_dir)(x), model(x).detach())


def test_an_empty_batch_leaves_running_statistics_alone(cache_dir: Path):
    norm = nn.BatchNorm2d(2).train()
    assert mlc.compile(norm, cache_dir=cache_dir)(torch.randn(0, 2, 3, 3)).shape == (0, 2, 3, 3)
    assert norm.running_mean is not None and norm.running_mean.tolist() == [0, 0]
    assert norm.running_var is not None and norm.running_var.tolist() == [1, 1]
    assert norm.num_batches_tracked == 1


WHOLE = torch.arange(-8, 8).view(1, 1, 4, 4)


@pytest.mark.parametrize(
    "fn",
    [
        lambda v: F.avg_pool2d(v, 2, 2),
        lambda v: F.avg_pool2d(v, 2, 2, divisor_override=3),
        lambda v: F.avg_pool2d(v, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        lambda v: F.avg_pool1d(v[0], 2),
        lambda v: F.avg_pool3d(v[None], (1, 2, 2)),
    ],
)
def test_means_of_whole_numbers_are_rounded_towards_zero(fn: Callable[..., Any], cache_dir: Path):
    assert torch.equal(mlc.compile(fn, cache_dir=cache_dir)(WHOLE), fn(WHOLE))


@pytest.mark.parametrize("shape", [(4, 5), (5,), (2, 3, 5)])
def test_linear_with_a_weight_of_one_dim(shape: tuple[int, ...], cache_dir: Path):
    x, w = torch.randn(shape), torch.randn(5)
    torch.testing.assert_close(mlc.compile(F.linear, cache_dir=cache_dir)(x, w), F.linear(x, w))


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("last", [NAN, float("inf"), -float("inf")])
def test_isin_finds_numbers_beside_nan(last: float, invert: bool, cache_dir: Path):
    x = torch.tensor([1, 3, 8, 6, 6, 5, 8, 8, 2, 7, 5, 2, 4, NAN, float("inf"), -float("inf"), last])
    tests = torch.tensor([24.0, NAN, 13, 13, 7, 13, 20, NAN, NAN, NAN, 1, NAN, NAN, NAN, NAN, NAN, last])
    compiled = mlc.compile(torch.isin, cache_dir=cache_dir)
    assert torch.equal(compiled(x, tests, invert=invert), torch.isin(x, tests, invert=invert))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_maxima_of_bytes_are_unsigned(rank: int, cache_dir: Path):
    x = torch.randint(0, 256, (2, 3, *[4] * rank), dtype=torch.uint8)
    if rank == 1:  # eager has none for bytes in one dim
        x = x.unsqueeze(-1)
    pool = F.max_pool3d if rank == 3 else F.max_pool2d
    size = (2, 1) if rank == 1 else 2
    assert torch.equal(mlc.compile(lambda v: pool(v, size), cache_dir=cache_dir)(x), pool(x, size))
