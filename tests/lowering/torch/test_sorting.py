"""Sorted rows, their first few, medians, modes and searches: lowered and interpreted, against eager; natively too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.export import Dim

import mlc
from mlc.errors import ExecutionError
from tests.lowering.torch.single_op import check

torch.manual_seed(0)
NAN = float("nan")
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int8, torch.uint8, torch.bool]


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Small whole numbers, so that many are equal; some NaN."""
    x = torch.randn(shape).mul(2).round()
    if dtype.is_floating_point and x.numel() > 3:
        x.view(-1)[1::5] = NAN
    return x.abs().to(dtype) if dtype is torch.uint8 else x.to(dtype)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sort(dtype: torch.dtype, descending: bool, dynamic: bool):
    check("aten.sort.stable", numbers(2, 11, dtype=dtype), True, -1, descending, dynamic=dynamic)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 8, 9, 16, 17])
@pytest.mark.parametrize("dim", [0, 1])
def test_sort_of_every_length(length: int, dim: int):
    shape = (3, length) if dim else (length, 3)
    check("aten.sort.stable", numbers(*shape), True, dim)
    check("aten.sort.stable", numbers(*shape), True, dim, dynamic=True)


@pytest.mark.parametrize("k", [0, 1, 5, 16, 17, 20])
@pytest.mark.parametrize("largest", [False, True])
def test_topk(k: int, largest: bool):
    """Held in order while the row is read, or the beginning of the sorted row. (Distinct: eager takes any of
    equals.)"""
    x = torch.stack([torch.randperm(20) for _ in range(3)]).float()
    x[1, 4] = NAN
    check("aten.topk", x, k, -1, largest)
    check("aten.topk", x.t().contiguous(), k, 0, largest)


def test_modes_and_medians():
    x = torch.tensor([[2.0, 1.0, 2.0, 1.0], [3.0, 4.0, 3.0, 3.0], [0.0, -0.0, 5.0, 5.0]])
    check("aten.mode", x)
    check("aten.mode", x, 0, True)
    check("aten.median.dim", torch.tensor([[NAN, 1.0, NAN, 3.0], [1.0, 4.0, 2.0, 3.0]]), 1)
    check("aten.kthvalue", torch.tensor([[3.0, 1.0, 2.0], [NAN, 1.0, 0.0]]), 2)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.int32, torch.int16])
@pytest.mark.parametrize("name", ["median", "nanmedian"])
def test_the_median_of_nothing(name: str, dtype: torch.dtype):
    check(f"aten.{name}", torch.zeros(0, dtype=dtype))


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("dynamic", [False, True])
def test_searches(right: bool, dynamic: bool):
    """In order or not, with NaN among edges and values: the same steps as eager's."""
    x, edges = torch.randn(3, 7), torch.randn(13)
    x[0, 0], edges[4] = NAN, NAN
    for row in (edges, edges.sort().values, edges[:1], edges[:0]):
        check("aten.searchsorted.Tensor", row, x, False, right, dynamic=dynamic)
        check("aten.bucketize.Tensor", x, row, True, right, dynamic=dynamic)
    check("aten.searchsorted.Tensor", torch.randn(3, 5).sort().values, x, False, right, dynamic=dynamic)


class Orders(nn.Module):
    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> list[torch.Tensor]:
        return [
            *torch.sort(x, dim=1, stable=True), *torch.sort(x, dim=0, stable=True, descending=True),
            torch.topk(x, 2, 1).values, torch.mode(x.nan_to_num(0.5), 1).values, torch.median(x, 0).values,
            torch.searchsorted(edges, x),
        ]  # fmt: skip


@pytest.mark.parametrize("dynamic", [False, True])
def test_native_code(dynamic: bool):
    """Sizes known and open; the loops run inside the kernels, none of them in the calling function."""
    sizes = ({0: Dim("a", min=2), 1: Dim("b", min=2)}, {0: Dim("c", min=2)}) if dynamic else None
    compiled = mlc.compile(Orders(), (numbers(3, 20), torch.arange(5.0)), dynamic_shapes=sizes)
    for shape in [(3, 20), (2, 2), (5, 100)] if dynamic else [(3, 20)]:
        x, edges = numbers(*shape), torch.randn(shape[1] if dynamic else 5).sort().values
        for got, want in zip(compiled(x, edges), Orders()(x, edges), strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=0, equal_nan=True)
    forward = compiled.ir("kernels").split("func.func private")[0]
    assert "scf.for" not in forward


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: torch.median(x, 1).values, lambda x: torch.mode(x, 1).values, lambda x: torch.argmax(x, 1),
        lambda x: torch.amax(x, 1), lambda x: torch.nanmedian(x, 1).values, lambda x: torch.aminmax(x, dim=1).min,
    ],
)  # fmt: skip
def test_an_open_size_that_turns_out_empty(fn: Callable[[torch.Tensor], torch.Tensor]):
    """Refused as by eager; nothing is read of the empty row."""

    class Model(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return fn(x)

    compiled = mlc.compile(Model(), (torch.randn(2, 4),), dynamic_shapes=({1: Dim("n", min=0, max=9)},))
    x = torch.randn(2, 5)
    assert torch.equal(compiled(x), fn(x))
    with pytest.raises(ExecutionError, match="dimension 1 must have at least 1 elements"):
        compiled(torch.zeros(2, 0))
