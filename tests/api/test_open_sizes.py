"""Versions whose sizes are left open give what the others give; errors name the program they happen in."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim

import mlc
from mlc.errors import ExecutionError, LimitError, ShapeError, UnsupportedError


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


BRANCHES: dict[str, Callable[[int, int], bool]] = {
    "even": lambda a, b: b % 2 == 0,
    "not seven": lambda a, b: b != 7,
    "product": lambda a, b: a * b > 20,
    "sum": lambda a, b: a + b > 12,
    "less": lambda a, b: a > b,
    "square": lambda a, b: a == b,
    "quotient": lambda a, b: b // 4 == 2,
    "power": lambda a, b: b * b > 50,
    "one of two": lambda a, b: b in (5, 11),
    "larger": lambda a, b: max(a, b) > 8,
    "smaller": lambda a, b: min(a, b) < 4,
    "divides": lambda a, b: b % a == 0,
    "both": lambda a, b: b % 2 == 0 and a % 2 == 0,
}
SIZES = [
    (3, 2),
    (3, 3),
    (3, 4),
    (3, 6),
    (4, 7),
    (2, 9),
    (5, 10),
    (5, 8),
    (6, 11),
    (4, 12),
    (5, 13),
    (2, 5),
    (9, 3),
    (7, 7),
]


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


class Branching(nn.Module):
    """Doubles or triples its input by a condition on its sizes."""

    def __init__(self, condition: Callable[[int, int], bool]) -> None:
        super().__init__()
        self.condition = condition

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if self.condition(x.shape[0], x.shape[1]) else x * 3


@pytest.mark.filterwarnings("ignore:more than 8 versions")
@pytest.mark.parametrize("branch", BRANCHES)
def test_a_branch_by_sizes_left_open_is_taken_for_these_sizes(branch: str):
    model = Branching(BRANCHES[branch])
    compiled = mlc.compile(model)
    for sizes in SIZES:
        x = torch.randn(sizes)
        assert torch.equal(compiled(x), model(x)), sizes


@pytest.mark.parametrize("branch", BRANCHES)
def test_each_branch_has_a_version_of_its_own_where_open_sizes_were_asked_for(branch: str):
    model = Branching(BRANCHES[branch])
    compiled = mlc.compile(model, (torch.zeros(5, 10),), dynamic_shapes=({0: Dim.AUTO, 1: Dim.AUTO},))
    for sizes in SIZES:
        x = torch.randn(sizes)
        assert torch.equal(compiled(x), model(x)), sizes


@pytest.mark.filterwarnings("ignore:more than 8 versions")
def test_saved_versions_of_both_branches_are_kept(tmp_path: Path):
    model = Branching(BRANCHES["even"])
    compiled = mlc.compile(model)
    for a in range(2, 20):
        compiled(torch.randn(a, a + 2 + a % 3))
    compiled.save(tmp_path / "both.mlc")
    both = mlc.load(tmp_path / "both.mlc")
    for sizes in ((40, 40), (40, 41), (41, 50), (41, 51)):
        x = torch.randn(sizes)
        assert torch.equal(both(x), model(x))


def test_a_saved_version_refuses_sizes_of_another_branch(tmp_path: Path):
    model = Branching(BRANCHES["even"])
    compiled = mlc.compile(model, (torch.randn(3, 4),), dynamic_shapes=({0: Dim.AUTO, 1: Dim.AUTO},))
    compiled.save(tmp_path / "even.mlc")
    even = mlc.load(tmp_path / "even.mlc")
    for sizes in ((3, 4), (5, 10)):
        x = torch.randn(sizes)
        assert torch.equal(even(x), model(x))
    with pytest.raises(ShapeError, match=re.escape("sizes with (x.shape[1] % 2) == 0, here x.shape[1] = 5")):
        even(torch.randn(3, 5))


@pytest.mark.filterwarnings("ignore:more than 8 versions")
@torch.no_grad()
def test_a_size_that_is_one_is_another_version():
    """`squeeze` asks nothing that PyTorch did not know already from looking at how the slice lies in memory."""
    model = Function(lambda x: (x[:, : x.shape[1] // 2] * 2).squeeze())
    compiled = mlc.compile(model)
    for n in range(2, 14):
        compiled(torch.randn(3, n))
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 3, 2, 1), nn.MaxPool2d(2)).eval()
    sizes = {2: Dim.AUTO, 3: Dim.AUTO}
    image = mlc.compile(net, (torch.randn(1, 3, 32, 40),), dynamic_shapes=(sizes,))
    for n in (10, 3, 2, 7):
        x, y = torch.randn(3, n), torch.randn(1, 3, 4 * n, 8)
        torch.testing.assert_close(compiled(x), model(x))
        torch.testing.assert_close(image(y), net(y), rtol=1e-4, atol=1e-5)


PARTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "scale": lambda x: F.scaled_dot_product_attention(x, x, x, scale=1 / x.shape[1]),
    "pool": lambda x: F.avg_pool1d(x, x.shape[1] // 2),
    "unfold": lambda x: x.unfold(1, x.shape[1] // 2, 1),
    "diagonal": lambda x: x.diagonal(x.shape[1] // 4) * 2,
    "split": lambda x: x.split(x.shape[1] // 2, 1)[1] * 2,
    "bucketize": lambda x: torch.bucketize(x, torch.linspace(-1, 1, x.shape[1] // 2)),
}


@pytest.mark.parametrize("name", PARTS)
def test_numbers_made_of_open_sizes_are_those_of_the_call(name: str):
    model = Function(PARTS[name])
    compiled = mlc.compile(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n in (*range(8, 18), 25, 9, 30):
            x = torch.randn(5, n)
            torch.testing.assert_close(compiled(x), model(x))


def test_a_condition_there_are_no_words_for_is_refused_by_name():
    model = Branching(lambda a, b: b / 3 > 2.5)
    x = torch.randn(3, 9)
    with pytest.raises(UnsupportedError, match="decides something by open sizes"):
        mlc.compile(model, (x,), dynamic_shapes=({1: Dim.AUTO},))
    compiled = mlc.compile(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sizes in SIZES:
            y = torch.randn(sizes)
            assert torch.equal(compiled(y), model(y)), sizes


def test_a_program_exported_by_others_brings_its_conditions(tmp_path: Path):
    model = Branching(BRANCHES["even"])
    program = torch.export.export(model, (torch.randn(3, 4),), dynamic_shapes=({1: Dim.AUTO},))
    torch.export.save(program, tmp_path / "even.pt2")
    for exported in (program, torch.export.load(tmp_path / "even.pt2")):
        compiled = mlc.compile(exported)
        x = torch.randn(3, 10)
        assert torch.equal(compiled(x), model(x))
        with pytest.raises(ShapeError, match=re.escape("(x.shape[1] % 2) == 0")):
            compiled(torch.randn(3, 5))


@pytest.mark.parametrize(
    ("found", "sizes"),
    [
        (lambda x: x.topk(x.shape[1] // 2, 1), (17, 8, 5, 40)),
        (lambda x: x.topk(max(1, x.shape[1] // 3), 1, largest=False), (17, 8, 7, 40)),
        (lambda x: x.topk(x.shape[1], 1), (17, 8, 2, 40)),
        (lambda x: x.kthvalue(x.shape[1] // 2, 1), (17, 8, 2, 40)),
    ],
)
def test_the_first_of_rows_by_an_open_number(found: Callable[..., Any], sizes: tuple[int, ...], cache_dir: Path):
    shapes = ({1: torch.export.Dim.AUTO},)
    compiled = mlc.compile(lambda x: found(x), (torch.randn(3, 10),), dynamic_shapes=shapes, cache_dir=cache_dir)
    for size in sizes:
        x = torch.randperm(3 * size).reshape(3, size).float()
        for got, want in zip(compiled(x), found(x), strict=True):
            assert torch.equal(got, want)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.roll(x.shape[1] // 3, 1),
        lambda x: x.tril(x.shape[1] // 4),
        lambda x: F.conv1d(x[None], torch.ones(3, 3, 2), padding=x.shape[1] // 2),
    ],
)
@pytest.mark.filterwarnings("ignore:more than 8 versions")
def test_open_numbers_that_have_no_lowering_are_refused(function: Callable[..., torch.Tensor], cache_dir: Path):
    shapes = ({1: torch.export.Dim.AUTO},)
    with pytest.raises(UnsupportedError, match="known only at run time"):
        mlc.compile(lambda x: function(x), (torch.randn(3, 10),), dynamic_shapes=shapes, cache_dir=cache_dir)
    compiled = mlc.compile(lambda x: function(x), cache_dir=cache_dir)
    for size in range(2, 13):
        x = torch.randn(3, size)
        torch.testing.assert_close(compiled(x), function(x), rtol=1e-5, atol=1e-5)


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


class KeysAndValues(nn.Module):
    """Attention over a growing cache that is handed over as `*cache`."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor, *cache: torch.Tensor, scale: float = 1.0) -> tuple[torch.Tensor, ...]:
        h = self.projection(x) * scale
        keys, values = (torch.cat([old, h], 1) for old in cache)
        return (h @ keys.transpose(1, 2)).softmax(2) @ values, keys, values


@pytest.mark.parametrize("scale", [{}, {"scale": 0.5}])
@pytest.mark.filterwarnings("error:more than 8 versions")
@torch.no_grad()
def test_sizes_are_left_open_in_starred_arguments(scale: dict[str, float]):
    model = KeysAndValues()
    compiled = mlc.compile(model)
    cache = (torch.randn(1, 3, 8), torch.randn(1, 3, 8))
    for _ in range(12):
        x = torch.randn(1, 1, 8)
        want, *grown = model(x, *cache, **scale)
        torch.testing.assert_close(compiled(x, *cache, **scale), (want, *grown))
        cache = tuple(grown)


@pytest.mark.filterwarnings("ignore:more than 8 versions")
def test_a_hook_that_makes_other_arguments_is_no_obstacle():
    model = Function(torch.relu)
    model.register_forward_pre_hook(lambda _, args: (args[0] + args[1],))
    compiled = mlc.compile(model)
    for n in range(2, 13):
        x, y = torch.randn(n, 3), torch.randn(n, 3)
        assert torch.equal(compiled(x, y), model(x, y))
