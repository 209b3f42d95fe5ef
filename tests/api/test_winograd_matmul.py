"""Products by Winograd's inner product through the whole pipeline, beside eager and float64: errors of every row and
column by its own size, values that are not numbers, rows of any magnitude, the same bits whatever other rows hold."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import mlc
from mlc import setting
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
    layer,
)

ADDS_BESIDE = ChangedBackend({"adds_beside_fma": True})
CACHE: list[Path] = []


@pytest.fixture(autouse=True)
def forced(cache_dir: Path) -> Iterator[None]:
    CACHE[:] = [cache_dir]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setting, "load_backend", lambda target: ADDS_BESIDE)
        with torch.no_grad():
            yield


def compiled(model: torch.nn.Module, *inputs: torch.Tensor, products: int = 1, **options: Any) -> mlc.CompiledModel:
    """`model`, with so many products by pairs."""
    out = mlc.compile(model.eval(), inputs, cache_dir=CACHE[0], **options)
    assert out.ir("linalg").count('"linalg_ext.winograd_matmul"') == products
    return out


@functools.cache
def compiled_layer(rows: int, terms: int, columns: int) -> tuple[mlc.CompiledModel, torch.nn.Linear]:
    """The same for many inputs."""
    linear = layer(terms, columns)
    return compiled(linear, torch.randn(rows, terms)), linear


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize(("rows", "terms", "columns"), [(7, 48, 96), (33, 257, 100), (128, 768, 112), (16, 3072, 96)])
def test_errors_beside_eager(rows: int, terms: int, columns: int, kind: str):
    model, linear = compiled_layer(rows, terms, columns)
    x = INPUTS[kind](torch.randn(rows, terms, generator=torch.Generator().manual_seed(3)))
    assert_as_exact(model(x), linear(x), x, linear)


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize(("rows", "terms", "columns"), [(7, 48, 96), (33, 257, 100), (64, 768, 112)])
def test_weights_of_any_size(rows: int, terms: int, columns: int, kind: str):
    hostile.check_weights_of_any_size(compiled, rows, terms, columns, kind)


@pytest.mark.parametrize("terms", [48, 257, 768])
def test_rows_of_zeros_are_the_bias(terms: int):
    hostile.check_rows_of_zeros_are_the_bias(compiled, terms)


@pytest.mark.parametrize("value", SPOILERS)
@pytest.mark.parametrize(("rows", "terms"), [(7, 48), (33, 257)])
def test_one_value_spoils_its_row_alone(rows: int, terms: int, value: float):
    hostile.check_one_value_spoils_its_row_alone(compiled, rows, terms, value)


@pytest.mark.parametrize("size", TINY_ROWS_TO_HUGE)
@pytest.mark.parametrize("alone", [False, True])
def test_rows_of_any_magnitude(size: float, alone: bool):
    hostile.check_rows_of_any_magnitude(compiled, 257, size, alone)


@pytest.mark.parametrize("weight", TINY_WEIGHTS)
@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_columns_of_tiny_weights(weight: float, size: float):
    hostile.check_columns_of_tiny_weights(compiled, 257, weight, size)


@pytest.mark.parametrize("value", SPOILERS)
@pytest.mark.parametrize("where", ["one weight", "a column"])
def test_weights_of_any_value(value: float, where: str):
    hostile.check_weights_of_any_value(compiled, 96, value, where)


MODELS: dict[str, tuple[Callable[[], torch.nn.Module], tuple[int, ...], int]] = {
    "epilogues": (lambda: Epilogues(120, 300), (17, 120), 2),
    "batches": (lambda: Epilogues(120, 300), (3, 17, 120), 2),
    "recurrence": (lambda: Recurrence(60), (12, 8, 60), 4),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str):
    make, shape, products = MODELS[name]
    hostile.check_beside_eager(compiled, make(), torch.randn(shape), products)


@pytest.mark.parametrize("value", [None, *SPOILERS])
def test_one_product_onto_another(value: float | None):
    hostile.check_one_product_onto_another(compiled, 60, 100, value)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits_on_two_threads(name: str):
    make, shape, products = MODELS[name]
    model, x = make(), torch.randn(shape)
    results = [compiled(model, x, products=products, num_threads=n)(x) for n in (1, 2)]
    assert torch.equal(*results)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_whatever_others_hold(threads: int):
    hostile.check_a_row_whatever_others_hold(compiled, 257, threads)


def test_more_rows_than_a_block():
    """Blocks of rows, the last one shorter."""
    linear = layer(768, 96)
    x = torch.randn(787, 768)
    x[[100, 786]] *= 1e-30
    y = compiled(linear, x)(x)
    assert_as_exact(y, linear(x), x, linear)


def test_switched_off():
    linear, x = layer(96, 128), torch.randn(8, 96)
    out = compiled(linear, x, products=0, winograd=False)
    assert "linalg-winograd-matmul: missed: kept as it is (switched off)" in out.explain()
    torch.testing.assert_close(out(x), linear(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("rows", "columns", "reason"), [(5, 128, "5 rows"), (8, 64, "64 columns"), (8, 128, None)])
def test_small_products_are_left_as_they_are(rows: int, columns: int, reason: str | None):
    linear, x = layer(96, columns), torch.randn(rows, 96)
    out = compiled(linear, x, products=int(not reason))
    torch.testing.assert_close(out(x), linear(x), rtol=1e-5, atol=1e-5)
    told = f"missed: kept as it is ({reason})" if reason else "applied: terms in pairs"
    assert f"linalg-winograd-matmul: {told}" in out.explain()
    assert "vectorize-structured: missed" not in out.explain()
