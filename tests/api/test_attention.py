"""Attention over long sequences stays one kernel, with the numbers and the corner cases of eager."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mlc
from tests.targets import runnable

B, H = 2, 3


class Attention(nn.Module):
    """The function as a module."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None) -> Any:
        return F.scaled_dot_product_attention(q, k, v, mask, **self.options)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def check(model: nn.Module, *args: torch.Tensor, whole: bool = True) -> None:
    """As float64, nearly as well as eager; the same bits on two threads; one kernel."""
    compiled = mlc.compile(model, num_threads=1)
    got, eager = compiled(*args), model(*args)
    wide = [a.double() if a.is_floating_point() else a for a in args]
    exact = model(*wide)
    assert (got - exact).abs().max() <= 4 * (eager - exact).abs().max() + 1e-7
    assert torch.equal(mlc.compile(model, num_threads=2)(*args), got)
    assert ("linalg_ext.attention" in compiled.ir("kernels")) == whole


@pytest.mark.parametrize(
    ("rows", "keys", "width", "columns"),
    [(256, 256, 64, 64), (300, 270, 33, 17), (257, 320, 8, 80), (64, 1500, 16, 16), (2000, 33, 20, 20)],
)
def test_sizes(rows: int, keys: int, width: int, columns: int) -> None:
    check(Attention(), random(1, H, rows, width), random(1, H, keys, width), random(1, H, keys, columns))


@pytest.mark.parametrize("rows", [96, 321, 383])
def test_causal(rows: int) -> None:
    check(Attention(is_causal=True), random(B, 2, rows, 24), random(B, 2, rows, 24), random(B, 2, rows, 40))


SEEN = random(B, H, 256, 300) > -0.4
MASKS: dict[str, torch.Tensor] = {
    "by batch and row": SEEN[:, :1],
    "padding": SEEN[:, :1, :1],
    "stretched padding": SEEN[:, :1, :1].expand(B, 1, 256, 300),
    "by head": SEEN[:1],
    "every": SEEN,
    "matrix": SEEN[0, 0],
    "row": SEEN[0, 0, :1],
    "column": torch.ones(256, 1, dtype=torch.bool),
    "added": random(B, 1, 256, 300),
    "infinite": torch.where(SEEN[:, :1], 0.0, -math.inf),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks(name: str) -> None:
    check(Attention(), random(B, H, 256, 16), random(B, H, 300, 16), random(B, H, 300, 16), MASKS[name])


@pytest.mark.parametrize("target", runnable("x86-64-avx512", "x86-64-avx2", "x86-64-sse2"))
def test_other_machines(target: str) -> None:
    q, k, v = random(1, 2, 300, 20), random(1, 2, 270, 20), random(1, 2, 270, 24)
    mask = SEEN[:1, :2, :1, :270]
    want = Attention()(q.double(), k.double(), v.double(), mask)
    compiled = mlc.compile(Attention(), target=target)
    torch.testing.assert_close(compiled(q, k, v, mask), want.float(), rtol=1e-5, atol=1e-6)
    assert "linalg_ext.attention" in compiled.ir("kernels")


@pytest.mark.parametrize("kind", ["seen", "added"])
def test_rows_that_see_nothing_are_zero(kind: str) -> None:
    seen = SEEN[:, :1].clone()
    seen[0, 0, 5] = False
    mask = seen if kind == "seen" else torch.where(seen, 0.0, -math.inf)
    q, k, v = random(B, H, 256, 16), random(B, H, 300, 16), random(B, H, 300, 16)
    got = mlc.compile(Attention())(q, k, v, mask)
    assert not got[0, :, 5].any()
    torch.testing.assert_close(got, Attention()(q, k, v, mask), rtol=1e-4, atol=1e-5)


def test_large_scores_and_odd_values() -> None:
    q, k, v = random(1, 1, 256, 16) * 100, random(1, 1, 256, 16) * 100, random(1, 1, 256, 16)
    check(Attention(), q, k, v)
    k[0, 0, 7, 3] = math.nan
    got, want = mlc.compile(Attention())(q, k, v), Attention()(q, k, v)
    assert got.isnan().all() and want.isnan().all()


def test_grouped_queries() -> None:
    check(Attention(enable_gqa=True), random(1, 6, 256, 16), random(1, 2, 256, 16), random(1, 2, 256, 16))


def test_short_sequences_and_open_sizes_are_products_and_a_softmax() -> None:
    check(Attention(), random(1, H, 128, 16), random(1, H, 128, 16), random(1, H, 128, 16), whole=False)
    x = random(1, H, 300, 16)
    rows = torch.export.Dim("rows", min=2)
    compiled = mlc.compile(Attention(is_causal=True), (x, x.clone(), x.clone()), dynamic_shapes=({2: rows},) * 3)
    for n in (300, 512, 5):
        y = random(1, H, n, 16)
        torch.testing.assert_close(compiled(y, y.clone(), y.clone()), Attention(is_causal=True)(y, y, y))


@torch.no_grad()
def test_in_a_model() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(48, 4, 96, batch_first=True, norm_first=True).eval()
    x = random(2, 384, 48)
    mask = nn.Transformer.generate_square_subsequent_mask(384)
    compiled = mlc.compile(layer)
    torch.testing.assert_close(compiled(x, src_mask=mask), layer(x, src_mask=mask), rtol=1e-4, atol=1e-5)
    assert "linalg_ext.attention" in compiled.ir("kernels")
    assert "attention" in compiled.explain()
