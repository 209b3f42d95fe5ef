"""Mixtures of experts: products by groups of rows, histograms."""

from __future__ import annotations

import pytest
import torch

from mlc.errors import UnsupportedError
from tests.lowering.torch.single_op import check

torch.manual_seed(0)
A, B = (torch.randint(-3, 4, shape).bfloat16() for shape in ((8, 16), (3, 16, 8)))  # sums are exact
X = torch.tensor([0.0, 1, 1, 2, 5, -1, 0.3, 0.999, 1.999, float("nan")])


@pytest.mark.parametrize("ends", [[2, 2, 8], [0, 3, 8], [8, 8, 8]])
@pytest.mark.parametrize("dynamic", [False, True])
def test_grouped_mm(ends: list[int], dynamic: bool) -> None:
    check("aten._grouped_mm", A, B, torch.tensor(ends, dtype=torch.int32), dynamic=dynamic)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("bins", "low", "high"), [(3, 0, 2), (4, 0, 3), (7, -1.5, 2.3), (1, 0, 1)])
def test_histc(dtype: torch.dtype, bins: int, low: float, high: float) -> None:
    for x in (X, torch.randn(40), torch.linspace(-2, 3, 51), torch.zeros(0), torch.arange(6.0).view(2, 3)):
        check("aten.histc", x.to(dtype), bins, low, high)


def test_a_histogram_between_extremes_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="extremes"):
        check("aten.histc", X[:4], 3)
