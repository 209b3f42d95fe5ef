"""Small modules for torch-mlir's importer: `PROGRAMS[name]()` gives the module, its inputs, its dynamic
shapes, and other shapes of its input to run it with.

Each class is one family of what torch-mlir emits. Imported only by `export.py`, in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.export import Dim
from torch.nn import functional as F

from tests.upstream.function_programs import FUNCTIONS, Program


class Convolutional(nn.Module):
    """Convolutions of every kind, batch norm, pooling, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, groups=8)
        self.dilated = nn.Conv2d(8, 6, 3, dilation=2, padding=2)
        self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.fc = nn.Linear(4, 5)
        nn.init.uniform_(self.bn.weight, 0.7, 1.3)
        nn.init.normal_(self.bn.bias)
        assert self.bn.running_mean is not None and self.bn.running_var is not None
        self.bn.running_mean.normal_(0, 0.1)
        self.bn.running_var.uniform_(0.5, 1.5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = F.max_pool2d(torch.relu(self.bn(self.conv(x))), 2)
        z = self.up(self.dilated(self.depthwise(y)))
        pooled = F.adaptive_avg_pool2d(z, 1).flatten(1)
        return self.fc(pooled), F.avg_pool2d(y, 3, 2, 1), F.hardswish(z)


class LinearChain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(20, 33), nn.GELU(), nn.Linear(33, 17), nn.SiLU(), nn.Linear(17, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(self.layers(x), -1)


class Attention(nn.Module):
    """Layer norm, attention in both spellings, softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        nn.init.uniform_(self.norm.weight, 0.7, 1.3)
        nn.init.normal_(self.norm.bias)
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        q, k, v = self.qkv(self.norm(x)).view(2, 6, 3, 2, 8).permute(2, 0, 3, 1, 4)
        fused = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        mask = torch.ones(6, 6, dtype=torch.bool).tril()
        scores = (q @ k.transpose(-1, -2) / 8**0.5).masked_fill(~mask, float("-inf"))
        return x + self.out(fused.transpose(1, 2).reshape(2, 6, 16)), torch.softmax(scores, -1) @ v


class LstmCell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(5, 7)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = c = x.new_zeros(x.shape[1], 7)
        for row in x:
            h, c = self.cell(row, (h, c))
        return h, c


class Embedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8, padding_idx=0)
        self.places = nn.Embedding(6, 8)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.words(ids) + self.places(torch.arange(ids.shape[1]))


class Reductions(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        values, at = x.max(1)
        deviation, mean = torch.std_mean(x, dim=2, correction=0)
        whole = x.sum(), x.mean(), x.amin((0, 2)), x.var(1), x.argmax(-1), x.prod(2), x.logsumexp(1), x.norm(dim=1)
        return values, at, deviation, mean, *whole, x.cumsum(1), (x > 1).any(1), (x > -9).all(), x.topk(2).values


class Views(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        a, b = x.chunk(2, 1)
        y = a.expand(2, 4, 3, 5)[:, :, 1:, ::2]
        rolled = torch.roll(b, 1, 2).unsqueeze(0).squeeze(1)
        joined = torch.cat([a, b.flip(2)], 2).reshape(-1, 6)
        padded = F.pad(b, (1, 2, 0, 1), value=0.5)
        return y, rolled, joined.t(), torch.stack([a, b], -1), padded, x[:, -1], x.repeat(1, 2, 1, 1)


class Comparisons(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        mask = (x > y) & (x != 0.5) | torch.isnan(y)
        chosen = torch.where(mask, x, 2.0), torch.where(x.ge(0), x, y), torch.maximum(x, y)
        return *chosen, mask, torch.clamp(x, -0.5, 0.5), x.masked_fill(mask, -1.0), (x == y).to(torch.float32), x.sign()


class DynamicMlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 9), nn.Linear(9, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.second(torch.relu(self.first(x))), -1)


class DynamicShapes(nn.Module):
    """Sizes that meet arithmetic, reshapes, concatenation and reductions."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = x.reshape(x.shape[0] * 2, -1)
        return torch.cat([y, y[1:]]), x.sum(0), torch.where(x > 0, x, 2.0), x.mean(1, keepdim=True).expand_as(x) - x


class DynamicImages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(self.conv(x).relu(), 2).mean((2, 3))


class Integers(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, ...]:
        mixed = a // b, a % b, torch.div(a, b), a * 2 - b, a & b, a ^ 3, a << 1, a >> 1, ~a
        return (
            *mixed,
            a.float() * 0.5,
            a.sum(1),
            a.to(torch.int32) + 1,
            torch.arange(0, 8, 2) + a[0],
            a.max(),
            -a,
            a.abs(),
        )


class Math(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        positive = x.abs() + 0.5
        plain = x.exp(), positive.log(), x.tanh(), x.sigmoid(), x.erf(), x.sin(), x.cos(), positive.rsqrt(), x.floor()
        return (
            *plain,
            positive.pow(1.5),
            x.pow(2),
            1 / positive,
            torch.addcmul(x, x, x, value=0.5),
            F.softplus(x),
            3 - x,
        )


class Gather(nn.Module):
    def forward(self, x: torch.Tensor, at: torch.Tensor) -> tuple[torch.Tensor, ...]:
        updated = (
            x.scatter(1, at, 7.0),
            x.index_select(0, torch.tensor([1, 0, 1])),
            torch.zeros_like(x).index_add(0, at[0], x),
        )
        return x.gather(1, at), x[at[:, 0]], *updated, x.tril(), x.argsort(1), torch.full_like(x, 3.0)


class Images(nn.Module):
    """Resizing, group norm, padding modes."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(2, 4)
        nn.init.uniform_(self.norm.weight, 0.7, 1.3)
        nn.init.normal_(self.norm.bias)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        bigger = F.interpolate(x, scale_factor=2.0, mode="nearest")
        smooth = F.interpolate(x, size=(7, 9), mode="bilinear", align_corners=False)
        return self.norm(x), bigger, smooth, F.pad(x, (1, 1, 2, 2), mode="reflect"), F.pixel_shuffle(x, 2)


PROGRAMS: dict[str, Callable[[], Program]] = {
    "convolutional": lambda: (Convolutional(), (torch.randn(2, 3, 10, 10),), None, ()),
    "linear_chain": lambda: (LinearChain(), (torch.randn(3, 20),), None, ()),
    "attention": lambda: (Attention(), (torch.randn(2, 6, 16),), None, ()),
    "lstm_cell": lambda: (LstmCell(), (torch.randn(4, 2, 5),), None, ()),
    "embedding": lambda: (Embedding(), (torch.randint(0, 11, (2, 6)),), None, ()),
    "reductions": lambda: (Reductions(), (torch.randn(2, 3, 4),), None, ()),
    "views": lambda: (Views(), (torch.randn(2, 2, 3, 5),), None, ()),
    "comparisons": lambda: (Comparisons(), (torch.randn(3, 4), torch.randn(4)), None, ()),
    "dynamic_mlp": lambda: (DynamicMlp(), (torch.randn(4, 6),), ({0: Dim("n", min=2, max=64)},), ((2, 6), (17, 6))),
    "dynamic_shapes": lambda: (DynamicShapes(), (torch.randn(3, 4),), ({0: Dim("n", min=2, max=9)},), ((2, 4), (9, 4))),
    "dynamic_images": lambda: (
        DynamicImages(),
        (torch.randn(2, 3, 8, 8),),
        ({0: Dim("n", min=2, max=8), 2: 2 * Dim("h", min=2, max=16), 3: 2 * Dim("w", min=2, max=16)},),
        ((3, 3, 4, 12), (5, 3, 10, 6)),
    ),
    "integers": lambda: (Integers(), (torch.randint(-9, 9, (3, 4)), torch.randint(1, 5, (3, 4))), None, ()),
    "math": lambda: (Math(), (torch.randn(3, 5),), None, ()),
    "gather": lambda: (Gather(), (torch.randn(3, 3), torch.randint(0, 3, (3, 3))), None, ()),
    "images": lambda: (Images(), (torch.randn(1, 4, 4, 5),), None, ()),
    **FUNCTIONS,
}
