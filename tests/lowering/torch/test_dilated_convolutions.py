"""Convolutions whose dilation is taken away: by phases, by taps; transposed ones with stride and dilation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from xdsl.dialects.linalg.ops import Conv2DNchwFchwOp
from xdsl.dialects.tensor import InsertSliceOp

from tests.lowering.torch.single_op import check
from tests.lowering.torch.test_models import converted, run

torch.manual_seed(0)
CHANNELS = 64


def forms(size: tuple[int, int], kernel: int, padding: tuple[int, int], dilation: tuple[int, int], batch: int = 1):
    """The convolutions and the slices written of a layer, whose values are eager's."""
    layer = torch.nn.Conv2d(CHANNELS, CHANNELS, kernel, padding=padding, dilation=dilation).eval()
    assert layer.bias is not None
    x = torch.randn(batch, CHANNELS, *size)
    captured, ctx = converted(layer, (x,))
    with torch.no_grad():
        exact = F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), 1, padding, dilation)
        np.testing.assert_allclose(run(captured, ctx, (x,))[0], exact.numpy(), rtol=1e-4, atol=1e-4)
    ops = list(captured.module.walk())
    return sum(isinstance(op, Conv2DNchwFchwOp) for op in ops), sum(isinstance(op, InsertSliceOp) for op in ops)


@pytest.mark.parametrize(
    ("size", "padding", "dilation", "batch"),
    [
        ((16, 16), (2, 2), (2, 2), 1),
        ((13, 14), (2, 2), (2, 2), 2),
        ((12, 20), (1, 3), (1, 3), 1),
        ((17, 17), (0, 1), (2, 2), 1),
    ],
    ids=["whole", "cut", "one axis", "less padding"],
)
def test_phases(size: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int], batch: int):
    assert forms(size, 3, padding, dilation, batch) == (1, 0)


@pytest.mark.parametrize(
    ("size", "kernel", "padding", "dilation", "taps"),
    [
        ((9, 9), 3, (6, 6), (6, 6), 9),
        ((9, 12), 3, (6, 4), (6, 4), 9),
        ((9, 9), 3, (12, 12), (12, 12), 1),  # the corners meet nothing
        ((10, 10), 3, (7, 7), (6, 6), 9),  # no tap covers all
        ((11, 9), 2, (6, 6), (9, 9), 4),
    ],
)
def test_taps(size: tuple[int, int], kernel: int, padding: tuple[int, int], dilation: tuple[int, int], taps: int):
    convolutions, written = forms(size, kernel, padding, dilation)
    assert convolutions == taps
    assert written in (taps, taps - 1)


def test_taps_that_meet_nothing_leave_the_bias():
    layer = torch.nn.Conv2d(CHANNELS, CHANNELS, 2, padding=5, dilation=30).eval()
    x = torch.randn(1, CHANNELS, 22, 22)
    captured, ctx = converted(layer, (x,))
    with torch.no_grad():
        np.testing.assert_allclose(run(captured, ctx, (x,))[0], layer(x).numpy(), rtol=1e-5, atol=1e-5)


def test_infinities_and_nan_are_where_eager_has_them():
    layer = torch.nn.Conv2d(CHANNELS, CHANNELS, 3, padding=6, dilation=6).eval()
    x = torch.randn(1, CHANNELS, 9, 9)
    x[0, 3, 4, 5], x[0, 5, 0, 0] = float("nan"), float("inf")
    captured, ctx = converted(layer, (x,))
    with torch.no_grad():
        np.testing.assert_allclose(run(captured, ctx, (x,))[0], layer(x).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "output_padding", "dilation"),
    [
        ((3, 3), (2, 2), (2, 2), (1, 1), (2, 2)),
        ((4, 4), (2, 2), (4, 4), (0, 0), (3, 3)),
        ((3, 2), (1, 3), (0, 1), (0, 2), (2, 1)),
        ((2, 2), (3, 3), (6, 0), (2, 2), (4, 4)),
    ],
)
def test_transposed(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    output_padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
):
    x, weight, bias = torch.randn(2, 4, 5, 6), torch.randn(4, 3, *kernel), torch.randn(3 * groups)
    given = ([*stride], [*padding], [*output_padding], groups, [*dilation])
    check("aten.conv_transpose2d.input", x, weight, bias, *given, reassociates=True)


def test_transposed_in_other_ranks():
    x, weight = torch.randn(2, 4, 7), torch.randn(4, 3, 3)
    check("aten.conv_transpose1d", x, weight, None, [2], [1], [0], 1, [2], reassociates=True)
    x, weight = torch.randn(1, 2, 3, 4, 3), torch.randn(2, 3, 2, 2, 2)
    check(
        "aten.conv_transpose3d.input", x, weight, None, [2, 1, 2], [1, 0, 0], [0, 0, 1], 1, [2, 1, 3], reassociates=True
    )
