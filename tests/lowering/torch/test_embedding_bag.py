"""nn.EmbeddingBag, whose op returns bookkeeping that nothing reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mlc.errors import ExecutionError, UnsupportedError
from tests.lowering.torch.test_models import converted, run

torch.manual_seed(0)
INDICES = torch.tensor([1, 2, 4, 5, 4, 3, 2, 9])
OFFSETS = torch.tensor([0, 3, 3, 7])


def bags(mode: str, **kwargs: Any) -> nn.EmbeddingBag:
    return nn.EmbeddingBag(10, 3, mode=mode, **kwargs).eval()


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize(
    "args", [(INDICES, OFFSETS), (INDICES.view(2, 4),), (INDICES[:0], OFFSETS[:1])], ids=["offsets", "rows", "empty"]
)
@pytest.mark.parametrize("kwargs", [{}, {"padding_idx": 4}], ids=["", "padding"])
def test_bags(mode: str, args: tuple[torch.Tensor, ...], kwargs: dict[str, Any]):
    model = bags(mode, **kwargs)
    captured, ctx = converted(model, args)
    with torch.no_grad():
        np.testing.assert_allclose(run(captured, ctx, args)[0], model(*args).numpy(), rtol=1e-5, atol=1e-6)


def test_factors_and_a_last_offset():
    model = bags("sum", include_last_offset=True)
    args = (INDICES, torch.tensor([0, 3, 8]), torch.rand(8))
    captured, ctx = converted(model, args)
    with torch.no_grad():
        np.testing.assert_allclose(run(captured, ctx, args)[0], model(*args).numpy(), rtol=1e-5, atol=1e-6)


def test_an_index_out_of_range_is_reported():
    captured, ctx = converted(bags("sum"), (INDICES, OFFSETS))
    with pytest.raises(ExecutionError, match="index out of range"):
        run(captured, ctx, (INDICES + 1, OFFSETS))
    with pytest.raises(ExecutionError, match="index out of range"):
        run(captured, ctx, (INDICES, OFFSETS + 3))


def test_the_bookkeeping_is_refused():
    class Model(nn.Module):
        def forward(self, weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return torch.embedding_bag(weight, INDICES, OFFSETS)[:2]

    with pytest.raises(UnsupportedError, match="only the first result"):
        converted(Model(), (torch.randn(10, 3),))
