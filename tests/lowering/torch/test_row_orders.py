"""Every way that rows are brought in order: by counting, by radix, by selection, held in order; of every dtype, in any
state of order. Lowered and interpreted, and as native code, against eager's stable sort."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim

import mlc
from tests.lowering.torch.single_op import check

DTYPES = [
    torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
]  # fmt: skip
NAN, INF = float("nan"), float("inf")


def rows(n: int, dtype: torch.dtype) -> torch.Tensor:
    """Rows that are random, of the whole range, in order, reversed, reversed with equal ones, equal, of few values; the
    largest and smallest numbers and, of floats, NaN of both signs and both zeros among them."""
    draw = torch.Generator().manual_seed(n)
    if dtype.is_floating_point:
        first = torch.randn(n, generator=draw) * 9
        wide = first * 10.0 ** torch.randint(-4, 4, (n,), generator=draw)
        special = torch.tensor([NAN, -NAN, INF, -INF, 0.0, -0.0, -0.0, 0.0])
        wide[torch.randperm(n, generator=draw)[: min(n, 40)]] = special.repeat(5)[: min(n, 40)]
        few = torch.randint(-2, 2, (n,), generator=draw) * 0.0 + torch.randint(-1, 2, (n,), generator=draw)
    else:
        limits = (0, 1) if dtype is torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
        first = torch.randint(max(limits[0], -999), min(limits[1], 999) + 1, (n,), generator=draw)
        wide = torch.randint(*limits, (n,), generator=draw)
        wide[::7], wide[1::7] = limits[0], limits[1]
        few = first % 3
    up = first.sort().values
    reverse = torch.arange(n).flip(0) % 100 if n < 100 else torch.arange(n).flip(0)
    made = [first, wide, up, up.flip(0), reverse, torch.ones(n), few]
    return torch.stack([row.to(dtype) for row in made])


def places(n: int) -> list[int]:
    return sorted({0, n // 3, n // 2, n - 1})


class Orders(nn.Module):
    """What is selected, beside what the stable order says."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [
            *torch.sort(x, dim=1, stable=True), *torch.sort(x, dim=1, stable=True, descending=True),
            *torch.topk(x, self.k, 1), *torch.topk(x, self.k, 1, largest=False), *torch.kthvalue(x, self.k, 1),
        ]  # fmt: skip


def wanted(x: torch.Tensor, k: int) -> list[torch.Tensor]:
    """Of equal elements the first: where eager leaves it open too."""
    up, down = torch.sort(x, dim=1, stable=True), torch.sort(x, dim=1, stable=True, descending=True)
    return [*up, *down, *(v[:, :k] for v in down), *(v[:, :k] for v in up), *(v[:, k - 1] for v in up)]


def same(got: torch.Tensor, want: torch.Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=0, atol=0, equal_nan=True)
    if got.dtype.is_floating_point:
        assert torch.equal(torch.signbit(got), torch.signbit(want))


@pytest.mark.parametrize("n", [100, 300])
@pytest.mark.parametrize("dtype", DTYPES[:-1])  # eager's topk has no bools
def test_native_code(dtype: torch.dtype, n: int):
    x = rows(n, dtype)
    compiled = mlc.compile(Orders(17), (x,))
    for got, want in zip(compiled(x), wanted(x, 17), strict=True):
        same(got, want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
@pytest.mark.parametrize("k", [1, 3, 40])
def test_native_code_of_long_rows(dtype: torch.dtype, k: int):
    """Keys are moved together; the first few of a row 64 times as long are held in order."""
    x = rows(2600, dtype)
    compiled = mlc.compile(Orders(k), (x,))
    for got, want in zip(compiled(x), wanted(x, k), strict=True):
        same(got, want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.float64])
def test_native_code_of_open_sizes(dtype: torch.dtype):
    compiled = mlc.compile(Orders(5), (rows(20, dtype),), dynamic_shapes=({0: Dim("m", min=1), 1: Dim("n", min=5)},))
    for n in (5, 33, 2500):
        x = rows(n, dtype)
        for got, want in zip(compiled(x), wanted(x, 5), strict=True):
            same(got, want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_interpreted(dtype: torch.dtype):
    x = rows(150, dtype)[:4, :140]
    check("aten.sort.stable", x, True, 1)
    check("aten.sort.stable", x[:, :30], True, 1, True, dynamic=True)
    y = torch.stack([torch.randperm(140) for _ in range(2)]).to(
        torch.float32 if dtype.is_floating_point else torch.int64
    )
    for place in places(140):
        check("aten.kthvalue", y.to(dtype) if dtype in (torch.float32, torch.float64, torch.int32) else y, place + 1)
    check("aten.topk", y, 2)


class Medians(nn.Module):
    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [*torch.median(x, 1), *torch.nanmedian(x, 1), torch.median(x), torch.nanmedian(x)]


@pytest.mark.parametrize("n", [1, 2, 9, 3000])
def test_medians(n: int):
    """NaN first of all, or left out; a row of nothing else, where nanmedian leaves the place open."""
    x = torch.stack([torch.randperm(n).float() for _ in range(4)])
    x[1, n // 2 :], x[2] = NAN, NAN
    compiled = mlc.compile(Medians(), (x,))
    found, eager = compiled(x), Medians()(x)
    found[3][2], eager[3][2] = 0, 0
    for got, want in zip(found, eager, strict=True):
        same(got, want)
