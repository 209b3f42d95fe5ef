"""Products of split numbers through the matrix unit and the whole pipeline, beside eager and float64: errors of every
row and column by its own size, values that are not numbers, rows of any magnitude, all that is left over of tiles and
pieces, the same bits whatever other rows hold and however many threads there are; 1x1 convolutions too."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mlc
from mlc import setting
from mlc.backends.llvm.target import missing_features
from mlc.backends.machine import PRESETS
from tests.api import hostile_products as hostile
from tests.api.hostile_products import (
    INPUTS,
    SPOILERS,
    TINY_ROWS_TO_HUGE,
    TINY_WEIGHTS,
    WEIGHTS,
    ChangedBackend,
    Epilogues,
    Recurrence,
    assert_as_exact,
    assert_same_values,
    layer,
)

pytestmark = pytest.mark.skipif(
    bool(missing_features(PRESETS["x86-64-amx"])), reason="this machine has no matrix unit, or no leave to use it"
)

PASS = "linalg-split-matmul"
ALL = ChangedBackend({"adds_beside_fma": False}, {PASS: {"gain": 1 << 20}})
CHOSEN = ChangedBackend({"adds_beside_fma": False})
SHALLOW = ChangedBackend({"adds_beside_fma": False}, {PASS: {"gain": 1 << 20, "depth": 64}})
BACKEND = [ALL]
CACHE: list[Path] = []


@pytest.fixture(autouse=True)
def forced(cache_dir: Path) -> Iterator[None]:
    CACHE[:], BACKEND[:] = [cache_dir], [ALL]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setting, "load_backend", lambda target: BACKEND[0])
        with torch.no_grad():
            yield


def compiled(model: nn.Module, *inputs: torch.Tensor, products: int = 1, **options: Any) -> mlc.CompiledModel:
    """`model`, with so many products of split numbers."""
    out = mlc.compile(model.eval(), inputs, cache_dir=CACHE[0], **options)
    assert out.ir("linalg").count('"linalg_ext.split_matmul"') == products
    return out


@functools.cache
def compiled_layer(rows: int, terms: int, columns: int) -> tuple[mlc.CompiledModel, nn.Linear]:
    """The same for many inputs."""
    linear = layer(terms, columns)
    return compiled(linear, torch.randn(rows, terms)), linear


def check_size(rows: int, terms: int, columns: int) -> None:
    """Rows of all sizes, as exact as eager."""
    model, linear = compiled_layer(rows, terms, columns)
    x = INPUTS["rows of all sizes"](torch.randn(rows, terms, generator=torch.Generator().manual_seed(3)))
    assert_as_exact(model(x), linear(x), x, linear)


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize(
    ("rows", "terms", "columns"), [(7, 48, 96), (33, 272, 100), (128, 768, 112), (16, 3072, 96), (197, 784, 48)]
)
def test_errors_beside_eager(rows: int, terms: int, columns: int, kind: str):
    model, linear = compiled_layer(rows, terms, columns)
    x = INPUTS[kind](torch.randn(rows, terms, generator=torch.Generator().manual_seed(3)))
    assert_as_exact(model(x), linear(x), x, linear)


@pytest.mark.parametrize("rows", [*range(2, 50, 3), 15, 16, 31, 32, 48, 49, 64, 113, 128, 197])
def test_rows_that_fill_no_tiles(rows: int):
    check_size(rows, 80, 48)


@pytest.mark.parametrize("terms", [16, 32, 48, 64, 96, 112, 144, 240, 784, 1552])
def test_terms_that_fill_no_steps(terms: int):
    check_size(37, terms, 48)


@pytest.mark.parametrize("columns", [16, 17, 31, 32, 33, 48, 64, 80, 144])
def test_columns_that_fill_no_pairs_of_panels(columns: int):
    check_size(37, 48, columns)


@pytest.mark.parametrize("columns", [48, 64])
@pytest.mark.parametrize("terms", [64, 80, 128, 144, 208, 320])
@pytest.mark.parametrize("rows", [5, 49])
def test_pieces_of_terms(rows: int, terms: int, columns: int):
    """As even as can be: of one step or two, the last one shorter."""
    BACKEND[:] = [SHALLOW]
    linear, x = layer(terms, columns), torch.randn(rows, terms)
    assert_as_exact(compiled(linear, x)(x), linear(x), x, linear)


def test_weights_from_beyond_the_caches():
    """Prefetched, those of the next piece and of the next panels."""
    linear, x = layer(1568, 336), torch.randn(101, 1568)
    assert_as_exact(compiled(linear, x)(x), linear(x), x, linear)


@pytest.mark.parametrize(("terms", "kind"), [(4096, "positive"), (8192, "around one"), (25088, "relu")])
def test_long_sums(terms: int, kind: str):
    """Errors do not grow with the number of terms: one chain of them has three to four times eager's here."""
    linear, x = layer(terms, 64), torch.randn(64, terms)
    if kind == "relu":
        x = x.relu()
    else:
        linear.weight.abs_()
        x = x.abs() if kind == "positive" else x + 1
    exact = x.double() @ linear.weight.double().T + linear.bias.double()
    ours, eager = ((y.double() - exact).square().mean().sqrt() for y in (compiled(linear, x)(x), linear(x)))
    assert ours <= 1.5 * max(eager.item(), 2.0**-26 * exact.abs().mean().item())


SPREADS = [(1e6, 1e6, 1e-6, 1e-6), (1e10, 1e10, 1e-10, 1e-10), (1e12, 1e12, 1e-8, 1e-8), (1e14, 1.0, 1e-24, 1.0)]
"""The largest term of rows, that of columns, and the others' size."""


@pytest.mark.parametrize(("largest", "largest_weight", "others", "other_weights"), SPREADS)
def test_terms_beside_much_larger_ones(largest: float, largest_weight: float, others: float, other_weights: float):
    """What is large meets zeros alone: results are the rest's, as exact as eager's."""
    linear, x = layer(512, 96), others * torch.randn(64, 512)
    linear.weight.mul_(other_weights)
    linear.bias.zero_()
    x[:, 0], linear.weight[:, 0] = largest, 0
    x[:, 1], linear.weight[:, 1] = 0, largest_weight
    y, eager = compiled(linear, x)(x).double(), linear(x).double()
    wide, w = x.double(), linear.weight.double()
    exact, sizes = wide @ w.T, wide.abs() @ w.abs().T
    ours, theirs = (((v - exact) / sizes).square().mean().sqrt() for v in (y, eager))
    assert ours <= 2 * max(theirs.item(), 2.0**-27)


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize(("rows", "terms", "columns"), [(7, 48, 96), (33, 272, 100), (64, 768, 112)])
def test_weights_of_any_size(rows: int, terms: int, columns: int, kind: str):
    hostile.check_weights_of_any_size(compiled, rows, terms, columns, kind)


@pytest.mark.parametrize("terms", [48, 272, 784])
def test_rows_of_zeros_are_the_bias(terms: int):
    hostile.check_rows_of_zeros_are_the_bias(compiled, terms)


@pytest.mark.parametrize("value", SPOILERS)
@pytest.mark.parametrize(("rows", "terms"), [(7, 48), (33, 272), (50, 1552)])
def test_one_value_spoils_its_row_alone(rows: int, terms: int, value: float):
    hostile.check_one_value_spoils_its_row_alone(compiled, rows, terms, value)


@pytest.mark.parametrize("size", TINY_ROWS_TO_HUGE)
@pytest.mark.parametrize("alone", [False, True])
def test_rows_of_any_magnitude(size: float, alone: bool):
    hostile.check_rows_of_any_magnitude(compiled, 272, size, alone)


@pytest.mark.parametrize("weight", TINY_WEIGHTS)
@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_columns_of_tiny_weights(weight: float, size: float):
    hostile.check_columns_of_tiny_weights(compiled, 272, weight, size)


@pytest.mark.parametrize("value", SPOILERS)
@pytest.mark.parametrize("where", ["one weight", "a column"])
def test_weights_of_any_value(value: float, where: str):
    hostile.check_weights_of_any_value(compiled, 96, value, where)


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "epilogues": (lambda: Epilogues(112, 304), (17, 112), 2),
    "batches": (lambda: Epilogues(112, 304), (3, 17, 112), 2),
    "recurrence": (lambda: Recurrence(64), (12, 8, 64), 4),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str):
    make, shape, products = MODELS[name]
    hostile.check_beside_eager(compiled, make(), torch.randn(shape), products)


@pytest.mark.parametrize("value", [None, *SPOILERS])
def test_one_product_onto_another(value: float | None):
    hostile.check_one_product_onto_another(compiled, 64, 112, value)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits_on_any_threads(name: str):
    make, shape, products = MODELS[name]
    model, x = make(), torch.randn(shape)
    first, *others = [compiled(model, x, products=products, num_threads=n)(x) for n in range(1, 6)]
    for other in others:
        assert torch.equal(first, other)


def test_the_same_bits_of_many_pieces_on_any_threads():
    """Every thread has parts of panels of its own."""
    linear, x = layer(3072, 144), torch.randn(197, 3072)
    first, *others = [compiled(linear, x, num_threads=n)(x) for n in range(1, 6)]
    for other in others:
        assert torch.equal(first, other)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_whatever_others_hold(threads: int):
    hostile.check_a_row_whatever_others_hold(compiled, 272, threads)


def test_switched_off():
    linear, x = layer(96, 128), torch.randn(64, 96)
    out = compiled(linear, x, products=0, winograd=False)
    assert f"{PASS}: missed: kept as it is (switched off)" in out.explain()
    torch.testing.assert_close(out(x), linear(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "columns", "reason"), [(31, 768, "31 rows"), (128, 48, "48 columns"), (128, 768, None)]
)
def test_what_is_chosen_here(rows: int, columns: int, reason: str | None):
    BACKEND[:] = [CHOSEN]
    linear, x = layer(768, columns), torch.randn(rows, 768)
    out = compiled(linear, x, products=int(not reason))
    assert_as_exact(out(x), linear(x), x, linear)
    told = f"missed: kept as it is ({reason})" if reason else "applied: numbers in three parts"
    assert f"{PASS}: {told}" in out.explain()
    assert "vectorize-structured: missed" not in out.explain()


# Pixels


class Bottleneck(nn.Module):
    """Convolutions as they stand in residual networks."""

    def __init__(self, channels: int, inside: int, stride: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.down = nn.Conv2d(channels, inside, 1)
        self.middle = nn.Conv2d(inside, inside, 3, stride, padding=1)
        self.up = nn.Conv2d(inside, channels, 1)
        self.beside = nn.Conv2d(channels, channels, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.middle(torch.relu(self.down(x))))
        return torch.relu(self.up(y) + self.beside(x))


def pointwise(channels: int, filters: int, stride: int = 1) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(channels, filters, 1, stride)


def as_linear(conv: nn.Conv2d) -> nn.Linear:
    """The product that a 1x1 convolution is of its pixels."""
    linear = nn.Linear(conv.in_channels, conv.out_channels)
    assert conv.bias is not None
    linear.weight.copy_(conv.weight[:, :, 0, 0])
    linear.bias.copy_(conv.bias)
    return linear


def pixels(x: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """Rows: those that count, image by image."""
    return x[:, :, ::stride, ::stride].permute(0, 2, 3, 1).reshape(-1, x.shape[1])


CONVOLUTIONS = [
    (1, 32, 32, 7, 7, 1),
    (2, 48, 80, 5, 3, 1),
    (3, 16, 48, 1, 7, 1),
    (2, 80, 32, 9, 7, 2),
    (3, 64, 96, 8, 11, 3),
    (1, 784, 64, 14, 14, 1),
    (2, 1552, 48, 5, 5, 1),
]


@pytest.mark.parametrize("kind", ["normal", "relu", "around ten", "rows of all sizes", "one term", "mostly zeros"])
@pytest.mark.parametrize(("images", "channels", "filters", "height", "width", "stride"), CONVOLUTIONS)
def test_convolutions(images: int, channels: int, filters: int, height: int, width: int, stride: int, kind: str):
    conv = pointwise(channels, filters, stride)
    rows = torch.randn(images * height * width, channels, generator=torch.Generator().manual_seed(3))
    x = INPUTS[kind](rows).reshape(images, height, width, channels).permute(0, 3, 1, 2).contiguous()
    y, eager = compiled(conv, x)(x), conv(x)
    assert_as_exact(pixels(y), pixels(eager), pixels(x, stride), as_linear(conv))


@pytest.mark.parametrize("value", [*SPOILERS, 0.0, 1e-30, 1e-45])
def test_one_pixel_spoils_no_other(value: float):
    conv, x = pointwise(48, 80), torch.randn(2, 48, 5, 7)
    model = compiled(conv, x)
    clean = model(x)
    for place in ((0, 0, 0), (1, 2, 3), (1, 4, 6)):
        spoiled = x.clone()
        spoiled[place[0], 5 if abs(value) > 1 else slice(None), place[1], place[2]] = value
        y = model(spoiled)
        others = torch.ones(2, 5, 7, dtype=torch.bool)
        others[place] = False
        assert torch.equal(y.movedim(1, -1)[others], clean.movedim(1, -1)[others])
        assert_same_values(pixels(y), pixels(conv(spoiled)))


@pytest.mark.parametrize("value", SPOILERS)
def test_filters_of_any_value(value: float):
    conv, x = pointwise(48, 80), torch.randn(2, 48, 5, 7)
    conv.weight[11, 5] = value
    y, eager = pixels(compiled(conv, x)(x)), pixels(conv(x))
    others = torch.arange(80) != 11
    assert_same_values(y[:, others], eager[:, others])
    assert_same_values(y[:, 11:12], eager[:, 11:12])


OF_PIXELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "bottleneck": (lambda: Bottleneck(64, 32), (2, 64, 9, 7), 3),
    "stride": (lambda: Bottleneck(48, 16, 2), (3, 48, 10, 9), 3),
    "zeros around": (lambda: nn.Sequential(nn.ZeroPad2d(1), pointwise(32, 48, 2), nn.ReLU()), (2, 32, 7, 7), 1),
    "pooled before": (lambda: nn.Sequential(nn.MaxPool2d(3, 2, 1), pointwise(32, 48), nn.GELU()), (2, 32, 9, 11), 1),
}


@pytest.mark.parametrize("name", OF_PIXELS)
def test_models_of_convolutions(name: str):
    make, shape, products = OF_PIXELS[name]
    hostile.check_beside_eager(compiled, make(), torch.randn(shape), products)


@pytest.mark.parametrize("name", OF_PIXELS)
def test_the_same_bits_of_convolutions_on_any_threads(name: str):
    make, shape, products = OF_PIXELS[name]
    model, x = make(), torch.randn(shape)
    first, *others = [compiled(model, x, products=products, num_threads=n)(x) for n in range(1, 6)]
    for other in others:
        assert torch.equal(first, other)
