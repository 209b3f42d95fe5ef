"""Open dimensions that turn out too small: refused where eager refuses, and nothing is read outside of the input."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mlc
from mlc.errors import ExecutionError

ROW, ROWS = torch.ones(4), torch.ones(2, 4)
FIRST = torch.zeros(2, 4, dtype=torch.long)

CASES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "first": lambda x: x[0],
    "last": lambda x: x[-1],
    "second": lambda x: x[1],
    "element": lambda x: x.flatten()[3],
    "as_strided": lambda x: x.as_strided((2, 2), (4, 1)),
    "as_strided_scatter": lambda x: torch.as_strided_scatter(x, torch.ones(2, 2), (2, 2), (4, 1)),
    "select_scatter": lambda x: x.select_scatter(ROW, 0, 2),
    "slice_scatter": lambda x: x.slice_scatter(ROWS, 0, 1, 3),
    "index_copy": lambda x: x.index_copy(0, torch.tensor([1]), torch.ones(1, 4)),
    "index_add": lambda x: x.index_add(1, torch.tensor([0]), torch.ones(3, 1)),
    "gather": lambda x: x.gather(1, FIRST),
    "unfold": lambda x: x.unfold(0, 2, 1),
    "circular": lambda x: F.pad(x.T[None], (2, 2), "circular"),
    "replicate": lambda x: F.pad(x.T[None], (2, 2), "replicate"),
    "diagonal_scatter": lambda x: x.diagonal_scatter(torch.ones(3)),
    "largest magnitude": lambda x: torch.linalg.vector_norm(x, torch.inf, 0),
    "adaptive_max_pool1d": lambda x: F.adaptive_max_pool1d(x.T[None], 1),
    "conv_transpose1d": lambda x: F.conv_transpose1d(x.T[None], torch.ones(4, 1, 3)),
    "nearest": lambda x: F.interpolate(x.T[None], scale_factor=2),
    "linear": lambda x: F.interpolate(x.T[None], scale_factor=2, mode="linear"),
    "bilinear": lambda x: F.interpolate(x[None, None], size=(2, 2), mode="bilinear"),
}


def opened(f: Callable[[torch.Tensor], torch.Tensor]) -> mlc.CompiledModel:
    class Model(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return f(x)

    return mlc.compile(Model(), (torch.randn(5, 4),), dynamic_shapes=({0: torch.export.Dim("rows", min=0)},))


@pytest.mark.parametrize("name", CASES)
def test_too_few_rows_are_refused_as_in_eager(name: str) -> None:
    compiled = opened(CASES[name])
    refused: list[int] = []
    for rows in (0, 1, 2, 3, 5):
        x = torch.randn(rows, 4)
        try:
            want = CASES[name](x)
        except (RuntimeError, IndexError):
            refused.append(rows)
            with pytest.raises(ExecutionError):
                compiled(x)
        else:
            torch.testing.assert_close(compiled(x), want)
    assert 0 in refused


def test_sizes_that_the_capture_took_for_granted_are_checked() -> None:
    """torch.export takes `x[:2]` to have two rows."""
    compiled = opened(lambda x: x[:2] + ROWS)
    torch.testing.assert_close(compiled(torch.ones(3, 4)), torch.full((2, 4), 2.0))
    for rows in (0, 1):
        with pytest.raises(ExecutionError, match="a size must be 2"):
            compiled(torch.ones(rows, 4))


def test_errors_name_the_op_and_the_line() -> None:
    compiled = opened(lambda x: x[1])
    with pytest.raises(ExecutionError, match=r"aten\.select\.int: index 1 needs a larger dimension at .*test_small_"):
        compiled(torch.ones(1, 4))
