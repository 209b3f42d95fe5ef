"""Versions whose sizes are left open give what the others give; errors name the program they happen in."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mlc
from mlc.errors import ExecutionError, LimitError, ShapeError


@torch.no_grad()
def test_padding_of_encoders_stays_zero_when_lengths_are_left_open():
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2).eval()
    compiled = mlc.compile(model)
    for length in range(3, 14):
        x = torch.randn(2, length, 16)
        padding = torch.zeros(2, length, dtype=torch.bool)
        padding[0, length - 1 :] = True
        got, want = (m(x, src_key_padding_mask=padding) for m in (compiled, model))
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_model_that_cannot_be_opened_is_tried_once_and_in_silence(caplog: pytest.LogCaptureFixture):
    model = nn.Sequential(nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(3)).eval()
    compiled = mlc.compile(model)
    with caplog.at_level(logging.ERROR, "torch"), pytest.warns(UserWarning, match="more than 8 versions"):
        for i in range(10):
            x = torch.randn(1, 3, 9 + 3 * i, 10 + 2 * i)
            torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)
    assert "Traceback" not in caplog.text


def test_classes_are_checked_at_every_call():
    compiled = mlc.compile(lambda i: F.one_hot(i, 5))
    i = torch.tensor([[1, 4], [0, 2]])
    assert torch.equal(compiled(i), F.one_hot(i, 5))
    for wrong in (torch.tensor([[1, 5], [0, 2]]), torch.tensor([[1, -1], [0, 2]])):
        with pytest.raises(ExecutionError, match="out of range"):
            compiled(wrong)


def test_errors_name_the_line_of_the_program_at_hand(tmp_path: Path):
    x, good, bad = torch.randn(7, 3), torch.tensor([1, 2]), torch.tensor([1, 20])
    for name, lead in (("first.py", ""), ("second.py", "\n\n\n")):
        file = tmp_path / name
        file.write_text(f"{lead}\nf = lambda a, i: (a * 3)[i]\n")
        space: dict[str, object] = {}
        exec(compile(file.read_text(), str(file), "exec"), space)
        compiled = mlc.compile(space["f"], cache_dir=tmp_path / "cache")
        compiled(x, good)
        with pytest.raises(ExecutionError, match=rf"{name}:{len(lead) + 2}"):
            compiled(x, bad)


def test_products_of_sizes_that_pass_64_bits(cache_dir: Path):
    """Inputs without elements have any size; what is computed from them has 2^62 elements, whose bytes wrap to none."""

    def product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x.t() @ y).relu().sum(1).sum()

    rows = torch.export.Dim("rows")
    sizes = ({0: rows, 1: torch.export.Dim("n")}, {0: rows, 1: torch.export.Dim("m")})
    compiled = mlc.compile(product, (torch.ones(3, 5), torch.ones(3, 7)), dynamic_shapes=sizes, cache_dir=cache_dir)
    assert compiled(torch.ones(2, 4), torch.ones(2, 6)) == 48
    with pytest.raises(LimitError, match="there is no memory for what the model keeps"):
        compiled(torch.ones(0, 1 << 31), torch.ones(0, 1 << 31))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@torch.no_grad()
def test_images_of_any_size_are_enlarged_behind_a_convolution(mode: str):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Upsample(scale_factor=2, mode=mode), nn.Conv2d(4, 2, 3))
    compiled = mlc.compile(model, (torch.randn(2, 3, 9, 8),), dynamic_shapes=({0: "batch", 2: "height", 3: "width"},))
    for size in ((1, 3, 5, 9), (3, 3, 12, 4)):
        x = torch.randn(size)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)


def test_a_smallest_size_is_asked_for_where_export_needs_one():
    model = nn.Conv2d(3, 4, 3, stride=2)
    x = torch.randn(1, 3, 9, 8)
    with pytest.raises(ShapeError, match=r"Dim\(\"height\", min="):
        mlc.compile(model, (x,), dynamic_shapes=({2: "height", 3: "width"},))
    sizes = {2: torch.export.Dim("height", min=5), 3: torch.export.Dim("width", min=5)}
    torch.testing.assert_close(mlc.compile(model, (x,), dynamic_shapes=(sizes,))(x), model(x))
