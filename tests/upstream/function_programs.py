"""More programs for torch-mlir's importer, each a function of tensors: what its linalg-on-tensors form needs beyond
linalg's everyday ops (`tm_tensor`, `tensor.reshape`, sizes that are computed, named ops in one and three dimensions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.export import Dim
from torch.nn import functional as F

Program = tuple[nn.Module, tuple[Any, ...], Any, Sequence[tuple[int, ...]]]


class One(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, a: torch.Tensor) -> Any:
        return self.function(a)


class Two(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> Any:
        return self.function(a, b)


class Windows(nn.Module):
    """Convolutions and poolings over one and three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.three = nn.Conv1d(4, 6, 3, stride=2), nn.Conv3d(4, 2, 2)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        plain = self.one(x), self.three(y)
        return *plain, F.max_pool1d(x, 2), F.avg_pool1d(x, 2), F.max_pool3d(y, 2), F.avg_pool3d(y, 2)


def scans(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return x.cumsum(1), x.cumsum(0), x.cumprod(1)


def orders(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return *torch.sort(x, 1), *torch.sort(x, 0, descending=True), *torch.topk(x, 2), x.argsort(1)


def scatters(x: torch.Tensor, at: torch.Tensor) -> tuple[torch.Tensor, ...]:
    source = x[:, :2] * 2
    added = x.scatter_add(1, at, source), x.index_put((at[0],), x[:2], accumulate=True)
    return x.scatter(1, at, 7.0), x.scatter_reduce(1, at, source, "amax"), *added, x.index_add(0, at[0], x[:2])


def dynamic_views(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    n = x.shape[0]
    halves = x[: n // 2], x[n // 2 :]
    counted = torch.arange(n, dtype=torch.float32)[:, None].expand(-1, 6)
    return x.view(n * 2, -1), x.unflatten(1, (2, 3)), x.flatten(), *halves, torch.cat([x, counted]), F.pad(x, (1, 2))


def dynamic_products(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    heads = x.view(x.shape[0], x.shape[1], 2, 3).transpose(1, 2)
    return x @ x.transpose(1, 2), F.scaled_dot_product_attention(heads, heads, heads)


def activations(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    curved = F.gelu(x), F.elu(x), F.mish(x), F.logsigmoid(x), F.softplus(x), x.sinh(), x.asinh(), x.expm1()
    return *curved, F.hardsigmoid(x), F.hardtanh(x), F.relu6(x), F.leaky_relu(x, 0.1), x.round(), x.trunc(), x.isnan()


FUNCTIONS: dict[str, Callable[[], Program]] = {
    "windows": lambda: (Windows(), (torch.randn(2, 4, 12), torch.randn(1, 4, 5, 5, 5)), None, ()),
    "scans": lambda: (One(scans), (torch.randn(3, 5),), None, ()),
    "orders": lambda: (One(orders), (torch.randn(3, 5),), None, ()),
    "scatters": lambda: (Two(scatters), (torch.randn(3, 3), torch.tensor([[0, 2], [1, 1], [2, 0]])), None, ()),
    "dynamic_views": lambda: (
        One(dynamic_views),
        (torch.randn(4, 6),),
        ({0: 2 * Dim("n", min=1, max=8)},),
        ((2, 6), (10, 6)),
    ),
    "dynamic_products": lambda: (
        One(dynamic_products),
        (torch.randn(2, 4, 6),),
        ({1: Dim("n", min=2, max=9)},),
        ((2, 3, 6), (2, 9, 6)),
    ),
    "activations": lambda: (One(activations), (torch.randn(3, 5),), None, ()),
}
