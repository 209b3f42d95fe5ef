"""Ops made of others, quantisation, cells of the long tail."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.ao.quantization.fx._decomposed

from tests.lowering.torch.single_op import EDGE, check

torch.manual_seed(0)
X = torch.randn(2, 3, 4)
IMAGE, GRID = torch.randn(2, 3, 5, 4), torch.rand(2, 6, 3, 2) * 2.4 - 1.2
HOLED = torch.where(torch.arange(20).view(5, 4) % 19 == 0, math.inf, IMAGE)  # at two of its corners
VOLUME, POINTS = torch.randn(1, 2, 3, 4, 5), torch.rand(1, 2, 3, 4, 3) * 6 - 3
EDGES = torch.tensor([-1.0, 0.0, 0.5, 2.0])

EXACT: list[tuple[str, tuple[Any, ...]]] = [
    ("clip", (EDGE, -1.0, 2.0)),
    ("bucketize.Tensor", (EDGE, EDGES)),
    ("bucketize.Tensor", (EDGE, EDGES, True, True)),
    ("searchsorted.Tensor", (EDGES, X)),
    ("searchsorted.Tensor", (X.sort().values, X, False, True)),
    ("tril_indices", (3, 4, 1)),
    ("triu_indices", (3, 4, -1)),
    ("view.dtype", (EDGE, torch.int32)),
    ("view.dtype", (torch.arange(5), torch.float64)),
    ("mse_loss", (X, X + 1, 0)),
    ("grid_sampler_2d", (IMAGE, GRID, 1, 0, True)),
    ("fake_quantize_per_tensor_affine_cachemask", (X, 0.1, 3, -8, 7)),
]


@pytest.mark.parametrize(("name", "args"), EXACT, ids=[f"{i}-{n}" for i, (n, _) in enumerate(EXACT)])
def test_exact(name: str, args: tuple[Any, ...]) -> None:
    check(f"aten.{name}", *args)


CLOSE: list[tuple[str, tuple[Any, ...]]] = [
    ("glu", (X,)),
    ("log_sigmoid_forward", (X,)),
    ("mse_loss", (X, X.flip(0), 1)),
    ("mse_loss", (X, X.flip(0), 2)),
    ("_trilinear", (X, X + 1, X + 2, [], [], [], [1])),
    ("_trilinear", (X[0], X[1], torch.randn(5, 3, 4), [0], [0], [], [2])),
    ("conv_tbc", (torch.randn(7, 2, 3), torch.randn(3, 3, 5), torch.randn(5), 1)),
    ("logcumsumexp", (X, 1)),
    ("grid_sampler_2d", (IMAGE, GRID, 0, 0, False)),
    ("grid_sampler_2d", (IMAGE, GRID, 0, 1, True)),
    ("grid_sampler_2d", (IMAGE, GRID, 0, 1, False)),
    *(
        (f"grid_sampler_{n}d", (image, grid, mode, padding, align))
        for n, image, grid in ((2, IMAGE, GRID), (3, VOLUME, POINTS))
        for mode in ((0, 1, 2) if n == 2 else (0, 1))
        for padding in (0, 1, 2)
        for align in (True, False)
    ),
    *(
        ("grid_sampler_2d", (HOLED, GRID, mode, padding, align))
        for mode in (0, 1, 2)
        for padding in (0, 1, 2)
        for align in (True, False)
    ),
    ("grid_sampler_2d", (torch.randn(2, 3, 1, 4), GRID, 0, 2, True)),
    ("rrelu", (X,)),
    *(
        (f"_upsample_{kind}2d_aa{form}", (IMAGE, size, align, *factors))
        for kind in ("bilinear", "bicubic")
        for form, size, align, *factors in (
            ("", [3, 7], False),
            ("", [2, 9], True),
            ("", [5, 4], False),
            (".vec", None, False, [0.6, 0.5]),
        )
    ),
]


@pytest.mark.parametrize(("name", "args"), CLOSE, ids=[f"{i}-{n}" for i, (n, _) in enumerate(CLOSE)])
def test_close(name: str, args: tuple[Any, ...]) -> None:
    check(f"aten.{name}", *args, reassociates=True)


def test_infinities_in_running_sums() -> None:
    check("aten.logcumsumexp", torch.tensor([-math.inf, -math.inf, 1.0, math.inf]), 0, ulp=4)


def test_quantisation() -> None:
    bits = torch.tensor([[-128, 0, 5], [127, -7, 100]], dtype=torch.int8)
    scales, zeros = torch.tensor([0.1, 0.2, 0.03]), torch.tensor([0, 5, -3])
    check("quantized_decomposed.quantize_per_tensor", X, 0.05, 10, -128, 127, torch.int8)
    check("quantized_decomposed.dequantize_per_tensor", bits, 0.05, 10, -128, 127, torch.int8)
    check("quantized_decomposed.quantize_per_channel", X, scales, zeros, 1, -128, 127, torch.int8)
    check("quantized_decomposed.dequantize_per_channel", bits, scales, zeros, 1, -128, 127, torch.int8)
