"""Dynamic shapes and exported programs: one capture, replayed at several sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim

from mlc.errors import DTypeError, ShapeError, UnsupportedError
from mlc.frontends.torch import MISS, Binding
from mlc.frontends.torch.binding import refuse
from mlc.frontends.torch.exported import capture_exported, export
from mlc.frontends.torch.source import marked_dynamic
from mlc.ir.context import make_context
from mlc.ir.locations import format_location
from mlc.ir.verifier import verify_module
from tests.frontends.replay import replaying, same


def dynamic(model: Any, args: tuple[Any, ...], shapes: Any, kwargs: dict[str, Any] | None = None) -> Binding:
    ctx = make_context()
    program = export(model, args, kwargs or {}, shapes)
    captured = capture_exported(program, ctx.resources, model)
    verify_module(captured.module, ctx)
    return Binding(captured, replaying(captured, ctx.resources))


class Net(nn.Module):
    """In-place ops, buffers, sizes read in Python, factories of dynamic size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 36, 5)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
        self.calls.add_(1)
        y = torch.relu_(self.norm(self.conv(x))).flatten(1)
        y = self.head(y)
        return y.view(x.shape[0] * 5, 1), y + torch.arange(x.shape[0])[:, None], x.shape[0] * 2


def test_one_capture_serves_all_sizes():
    model = Net().eval()
    binding = dynamic(model, (torch.randn(2, 3, 8, 8),), ({0: Dim("batch", min=1, max=64)},))
    assert binding.captured.is_dynamic
    for count, batch in enumerate((1, 2, 5, 64)):
        x = torch.randn(batch, 3, 8, 8)
        got = binding((x,), {})
        assert got is not MISS and model.calls == 2 * count + 1
        same(got, model(x))


def test_symbols_are_shared_checked_and_named():
    def model(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, y[:, 1:]], 1)

    n = Dim("n", min=2, max=9)
    binding = dynamic(model, (torch.randn(3, 4), torch.randn(3, 5)), ({0: n}, {0: n}))
    x, y = torch.randn(6, 4), torch.randn(6, 5)
    same(binding((x, y), {}), model(x, y))
    for args, error, text in (
        ((x, y[:5]), ShapeError, r"dimension 0 of 'y' is 5, but 'x.shape\[0\]' is 6 elsewhere"),
        ((torch.randn(10, 4), torch.randn(10, 5)), ShapeError, "must be at least 2 and at most 9"),
        ((torch.randn(6, 3), y), ShapeError, r"argument 'x' is float32\[6, 3\]"),
        ((torch.randn(6), y), ShapeError, "argument 'x'"),
        ((x.double(), y), DTypeError, r"argument 'x' is float64\[6, 4\]"),
        ((x,), ShapeError, "another structure"),
    ):
        assert binding(args, {}) is MISS
        with pytest.raises(error, match=text):
            refuse(binding.captured, args, {})


def test_derived_sizes():
    n = Dim("n", min=2, max=20)
    binding = dynamic(lambda x, y: x + y[::2], (torch.randn(3), torch.randn(6)), ({0: n}, {0: 2 * n}))
    same(binding((torch.ones(4), torch.ones(8)), {}), torch.full((4,), 2.0))
    assert binding((torch.ones(4), torch.ones(7)), {}) is MISS


def test_size_arithmetic():
    def model(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        n, m = x.shape
        half = x.reshape(n * m)[: n * m // 2]
        return half, x.new_zeros(n + 3, m // 3 + 2), torch.ones(max(n, 3) - 1), x.expand(m, n, m) if n else x

    binding = dynamic(model, (torch.randn(4, 6),), ({0: Dim("n", min=3, max=50), 1: Dim("m", min=2, max=50)},))
    for n, m in ((3, 2), (4, 6), (7, 5)):
        x = torch.randn(n, m)
        same(binding((x,), {}), model(x))


def test_attention_with_dynamic_batch_and_length():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.out, self.norm = nn.Linear(8, 24), nn.Linear(8, 8), nn.LayerNorm(8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            b, t, _ = x.shape
            q, k, v = (p.view(b, t, 2, 4).transpose(1, 2) for p in self.qkv(self.norm(x)).chunk(3, -1))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return x + self.out(y.transpose(1, 2).reshape(b, t, 8))

    model = Block().eval()
    binding = dynamic(model, (torch.randn(2, 5, 8),), ({0: Dim("b", max=8), 1: Dim("t", min=2, max=32)},))
    for shape in ((1, 2, 8), (3, 9, 8)):
        x = torch.randn(shape)
        same(binding((x,), {}), model(x))


def test_keyword_arguments_and_string_names():
    binding = dynamic(
        lambda *, x, scale: x * scale, (), {"x": {0: "n"}, "scale": None}, {"x": torch.ones(3), "scale": 2.0}
    )
    same(binding((), {"x": torch.ones(7), "scale": 2.0}), torch.full((7,), 2.0))
    same(binding((), {"scale": 2.0, "x": torch.ones(7)}), torch.full((7,), 2.0))
    assert binding((), {"x": torch.ones(7), "scale": 3.0}) is MISS


def test_exported_before_and_after_decompositions():
    model = Net().eval()
    x = torch.randn(2, 3, 8, 8)
    program = torch.export.export(model, (x,))
    for candidate in (program, program.run_decompositions()):
        ctx = make_context()
        captured = capture_exported(candidate, ctx.resources)
        calls = float(candidate.state_dict["calls"])
        got = Binding(captured, replaying(captured, ctx.resources))((x,), {})
        assert float(candidate.state_dict["calls"]) == calls + 1
        same(got, model(x))


def test_inplace_changes_of_inputs():
    def model(x: torch.Tensor) -> torch.Tensor:
        x.mul_(2)
        return x.sum()

    binding = dynamic(model, (torch.ones(3),), ({0: Dim("n")},))
    x = torch.ones(5)
    same(binding((x,), {}), torch.tensor(10.0))
    assert torch.equal(x, torch.full((5,), 2.0))


def test_locations_come_from_the_export():
    captured = dynamic(Net().eval(), (torch.randn(2, 3, 8, 8),), ({0: Dim("b")},)).captured
    (conv,) = [op for op in captured.module.walk() if op.name == "torch.aten.conv2d"]
    assert "test_exported.py:" in format_location(conv.location) and "(conv)" in format_location(conv.location)


def test_refusals():
    with pytest.raises(ShapeError, match="dynamic_shapes"):
        dynamic(lambda x: x.view(3, 4), (torch.randn(3, 4),), ({0: Dim("n")},))
    with pytest.raises(UnsupportedError):
        dynamic(lambda x: x * x.sum().item() if x.sum() > 0 else x, (torch.randn(3, 4),), ({0: Dim("n")},))
    with pytest.raises(UnsupportedError, match="random numbers"):
        dynamic(lambda x: x + torch.rand(4), (torch.randn(3, 4),), ({0: Dim("n")},))


def test_marked_tensors():
    x = torch.randn(3, 4)
    assert marked_dynamic((x,), {}) is None
    torch._dynamo.mark_dynamic(x, 0)
    assert marked_dynamic((x, 2), {}) == ({0: Dim.DYNAMIC}, None)
