"""A transformer encoder in plain PyTorch: 12 layers of width 768, 109 million parameters, random weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Layer(nn.Module):
    """Self-attention and a feed-forward network, each normalised first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        parts = self.query_key_value(self.norm1(x)).chunk(3, dim=-1)
        q, k, v = (p.view(batch, length, self.heads, width // self.heads).transpose(1, 2) for p in parts)
        attended = F.scaled_dot_product_attention(q, k, v)
        x = x + self.project(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.contract(F.gelu(self.expand(self.norm2(x))))


class Transformer(nn.Module):
    """Token ids to one vector a token."""

    def __init__(self, *, vocabulary: int, width: int, heads: int, layers: int, length: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(ids.shape[1], device=ids.device)
        return self.norm(self.layers(self.tokens(ids) + self.positions(positions)))


def example(*, small: bool = False) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The model in eval mode and inputs."""
    torch.manual_seed(0)
    if small:
        model, length = Transformer(vocabulary=100, width=32, heads=4, layers=2, length=16), 12
    else:
        model, length = Transformer(vocabulary=30522, width=768, heads=12, layers=12, length=512), 128
    return model.eval(), (torch.randint(0, 100 if small else 30522, (1, length)),)
