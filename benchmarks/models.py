"""The rows of the table: which model, which inputs.

model, inputs = ROWS["resnet50"].build()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tests.models.zoo import ZOO


@dataclass(frozen=True)
class Row:
    """`build` gives the model in eval mode and its inputs, the same at every call. `flops`: only where torch's counter
    does not see them."""

    name: str
    build: Callable[[], tuple[nn.Module, tuple[Any, ...]]]
    flops: int | None = None


class ElementwiseChain(nn.Module):
    """Three transcendental functions one after the other."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(torch.tanh(nn.functional.gelu(x)))


class LayerNormSoftmax(nn.Module):
    """Two row reductions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.norm(x), dim=-1)


def _zoo(name: str, model: str, batch: int = 1) -> Row:
    return Row(name, lambda: ZOO[model].build(batch=batch))


def _own(name: str, make: Callable[[], nn.Module], shape: tuple[int, ...], flops: int | None = None) -> Row:
    def build() -> tuple[nn.Module, tuple[Any, ...]]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return make().eval(), (torch.randn(shape),)

    return Row(name, build, flops)


STEPS, BATCH, INPUTS, HIDDEN = 50, 16, 256, 512  # of both recurrent rows (tests/models/zoo.py has the custom one's)
_LSTM_FLOPS = 2 * STEPS * BATCH * (INPUTS + HIDDEN) * 4 * HIDDEN
_VISION = (
    "alexnet", "squeezenet1_1", "mobilenet_v2", "efficientnet_b0", "resnet18", "googlenet", "resnet50", "densenet121",
    "convnext_tiny", "vgg16", "vit_b_16",
)  # fmt: skip

ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        _zoo("mlp_b1", "mlp"),
        _zoo("mlp_b64", "mlp", batch=64),
        _own("elementwise_4m", ElementwiseChain, (2048, 2048)),
        _own("linear_1024", lambda: nn.Linear(1024, 1024), (1024, 1024)),
        _own("layernorm_softmax", lambda: LayerNormSoftmax(768), (512, 768)),
        _zoo("custom_lstm", "custom_lstm", batch=BATCH),
        _own("nn_lstm", lambda: nn.LSTM(INPUTS, HIDDEN), (STEPS, BATCH, INPUTS), _LSTM_FLOPS),
        *(_zoo(name, name) for name in _VISION),
        _zoo("bert_base", "bert_base"),
        _zoo("gpt2", "gpt2"),
    )
}
CONTENDED_ROWS = ("custom_lstm", "mobilenet_v2", "resnet18", "resnet50")
