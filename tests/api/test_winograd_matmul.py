"""Products by Winograd's inner product through the whole pipeline, beside eager and float64: errors of every row and
column by its own size, values that are not numbers, rows of any magnitude, the same bits whatever other rows hold."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import mlc
from mlc import setting
from mlc.backends.llvm import CPU_BACKEND
from mlc.backends.machine import MachineModel


class AddsBeside:
    """This machine, as if it added beside its multiply-adds."""

    def machine(self, target: str) -> MachineModel:
        return replace(CPU_BACKEND.machine(target), adds_beside_fma=True)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(CPU_BACKEND, attribute)


CACHE: list[Path] = []


@pytest.fixture(autouse=True)
def forced(cache_dir: Path) -> Iterator[None]:
    CACHE[:] = [cache_dir]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setting, "load_backend", lambda target: AddsBeside())
        with torch.no_grad():
            yield


def compiled(model: torch.nn.Module, *inputs: torch.Tensor, products: int = 1, **options: Any) -> mlc.CompiledModel:
    """`model`, with so many products by pairs."""
    out = mlc.compile(model.eval(), inputs, cache_dir=CACHE[0], **options)
    assert out.ir("linalg").count('"linalg_ext.winograd_matmul"') == products
    return out


def layer(terms: int, columns: int, seed: int = 0) -> torch.nn.Linear:
    torch.manual_seed(seed)
    return torch.nn.Linear(terms, columns)


@functools.cache
def compiled_layer(rows: int, terms: int, columns: int) -> tuple[mlc.CompiledModel, torch.nn.Linear]:
    """The same for many inputs."""
    linear = layer(terms, columns)
    return compiled(linear, torch.randn(rows, terms)), linear


def spread(count: int, by: int) -> torch.Tensor:
    """Powers of two from 2^-by to 2^by, in no order."""
    powers = torch.exp2(torch.linspace(-by, by, count).round())
    return powers[torch.randperm(count, generator=torch.Generator().manual_seed(5))]


def some(x: torch.Tensor, every: int, factor: float) -> torch.Tensor:
    """Every so many elements of the last dimension, larger."""
    out = x.clone()
    out[..., ::every] *= factor
    return out


INPUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "normal": lambda x: x,
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,
    "around ten": lambda x: x + 10,
    "large terms": lambda x: some(x, 37, 100.0),
    "large rows": lambda x: some(x.T, 5, 1000.0).T.contiguous(),
    "rows of all sizes": lambda x: x * spread(len(x), 40)[:, None],
    "one term": lambda x: x * (torch.arange(x.shape[1]) == 3),
    "mostly zeros": lambda x: x * (torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < 0.05),
}


def errors(y: torch.Tensor, x: torch.Tensor, linear: torch.nn.Linear) -> torch.Tensor:
    """Of every result, by the sizes of its row and its column."""
    wide, w = x.double(), linear.weight.double()
    exact = wide @ w.T + linear.bias.double()
    sizes = wide.norm(dim=1)[:, None] * w.norm(dim=1)
    return (y.double() - exact).abs() / (sizes + linear.bias.double().abs())


def assert_as_exact(y: torch.Tensor, eager: torch.Tensor, x: torch.Tensor, linear: torch.nn.Linear) -> None:
    """By sizes of rows and columns no error more than 4 times eager's largest, nor the usual one more than 4 times."""
    ours, theirs = errors(y, x, linear), errors(eager, x, linear)
    limit = 4 * max(theirs.max().item(), 2.0**-24)
    assert ours.max() <= limit, (ours.max() / theirs.max()).item()
    assert ours.square().mean().sqrt() <= 4 * max(theirs.square().mean().sqrt().item(), 2.0**-25)


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize(("rows", "terms", "columns"), [(7, 48, 96), (33, 257, 100), (128, 768, 112), (16, 3072, 96)])
def test_errors_beside_eager(rows: int, terms: int, columns: int, kind: str):
    model, linear = compiled_layer(rows, terms, columns)
    x = INPUTS[kind](torch.randn(rows, terms, generator=torch.Generator().manual_seed(3)))
    assert_as_exact(model(x), linear(x), x, linear)


@pytest.mark.parametrize("kind", ["columns of all sizes", "large columns", "a column of zeros", "a column near zero"])
@pytest.mark.parametrize(("rows", "terms", "columns"), [(7, 48, 96), (33, 257, 100), (64, 768, 112)])
def test_weights_of_any_size(rows: int, terms: int, columns: int, kind: str):
    linear = layer(terms, columns)
    weight, x = linear.weight, torch.randn(rows, terms)
    match kind:
        case "columns of all sizes":
            weight.mul_(spread(columns, 40)[:, None])
            linear.bias.zero_()
        case "large columns":
            weight[::7] *= 1000
        case "a column of zeros":
            weight[5] = 0
        case _:
            weight[5] = 1e-25
            linear.bias[5] = 0
    y = compiled(linear, x)(x)
    if kind == "a column of zeros":
        assert torch.equal(y[:, 5], linear.bias[5].expand(rows))
    assert_as_exact(y, linear(x), x, linear)


@pytest.mark.parametrize("terms", [48, 257, 768])
def test_rows_of_zeros_are_the_bias(terms: int):
    linear = layer(terms, 100)
    x = torch.randn(9, terms)
    x[[0, 4, 8]] = 0
    x[4] = -x[4]
    y = compiled(linear, x)(x)
    assert torch.equal(y[[0, 4, 8]], linear.bias.expand(3, 100))
    assert_as_exact(y, linear(x), x, linear)
    assert torch.equal(compiled(linear, x)(torch.zeros(9, terms)), linear.bias.expand(9, 100))


SPOILERS = [float("nan"), float("inf"), float("-inf"), 3e38, -1e30, 1e20]


def assert_same_values(y: torch.Tensor, eager: torch.Tensor) -> None:
    """NaN and infinities in the same places, the others about the same, also by the size of their own row."""
    assert torch.equal(y.isnan(), eager.isnan())
    assert torch.equal(y.isinf(), eager.isinf()) and torch.equal(y[y.isinf()], eager[eager.isinf()])
    for row, wanted in zip(y, eager, strict=True):
        rest = wanted.isfinite()
        scale = wanted[rest].abs().max().item() if rest.any() else 1.0
        torch.testing.assert_close(row[rest], wanted[rest], rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("value", SPOILERS)
@pytest.mark.parametrize(("rows", "terms"), [(7, 48), (33, 257)])
def test_one_value_spoils_its_row_alone(rows: int, terms: int, value: float):
    linear = layer(terms, 100)
    linear.weight[7] = 0  # infinity times zero is NaN
    x = torch.randn(rows, terms)
    model = compiled(linear, x)
    clean = model(x)
    for row, term in ((0, 0), (rows // 2, terms - 1), (rows - 1, 7)):
        spoiled = x.clone()
        spoiled[row, term] = value
        y = model(spoiled)
        others = torch.arange(rows) != row
        assert torch.equal(y[others], clean[others])
        assert_same_values(y, linear(spoiled))


@pytest.mark.parametrize("size", [1e-45, 1e-40, 1e-30, 1e-20, 1e-16, 1e16, 1e20, 1e30])
@pytest.mark.parametrize("fuse", [False, True])
def test_rows_of_any_magnitude(size: float, fuse: bool):
    """As exact as eager by their own size: beside a bias, and alone."""
    linear = layer(257, 100)
    if fuse:
        linear.bias.zero_()
    x = torch.randn(9, 257)
    x[[2, 8]] *= size
    y, eager = compiled(linear, x)(x), linear(x)
    assert y.isfinite().all()
    assert_same_values(y, eager)
    if not fuse:
        return
    exact = x.double() @ linear.weight.double().T
    scale = x.double().norm(dim=1)[:, None] * linear.weight.double().norm(dim=1)
    # Of a core of an Intel server eager's errors are an eighth of others': less than half a rounding counts as that.
    theirs = torch.maximum((eager.double() - exact).abs().amax(dim=1, keepdim=True), 2.0**-25 * scale)
    allowed = 4 * theirs + 2.0**-23 * scale + 2.0**-149
    assert ((y.double() - exact).abs() <= allowed).all()


@pytest.mark.parametrize("weight", [1e-18, 1e-30, 1e-38, 1e-41, 1e-45])
@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_columns_of_tiny_weights(weight: float, size: float):
    """As exact as eager by their own size, where that is not less than there are numbers; the rest as without them."""
    linear = layer(257, 100)
    x = size * torch.randn(9, 257)
    others = torch.arange(100) != 11
    before = compiled(linear, x)(x)
    linear.bias[11] = 0
    linear.weight[11] *= weight / linear.weight[11].abs().max()
    y = compiled(linear, x)(x)
    assert torch.equal(y[:, others], before[:, others])
    exact = x.double() @ linear.weight[11].double()
    norm = x.double().norm(dim=1) * linear.weight[11].double().norm()
    allowed = 4 * (linear(x)[:, 11] - exact).abs().max() + 2.0**-22 * norm + 2.0**-149
    assert ((y[:, 11].double() - exact).abs() <= allowed).all()


@pytest.mark.parametrize("value", SPOILERS)
@pytest.mark.parametrize("where", ["one weight", "a column"])
def test_weights_of_any_value(value: float, where: str):
    linear = layer(96, 100)
    linear.weight[11, 5 if where == "one weight" else slice(None)] = value
    x = torch.randn(7, 96)
    x[3] = 0
    y, eager = compiled(linear, x)(x), linear(x)
    others = torch.arange(100) != 11
    assert_same_values(y[:, others], eager[:, others])
    assert_same_values(y[:, 11:12], eager[:, 11:12])


class Epilogues(torch.nn.Module):
    """What surrounds products in transformers: bias, GELU, a residual, another layer."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = layer(120, 300), layer(300, 120, seed=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.nn.functional.gelu(self.up(x)))


class Recurrence(torch.nn.Module):
    """An LSTM by hand: the products of a step are added to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.of_input, self.of_state = layer(60, 192), layer(48, 192, seed=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = c = torch.zeros(x.shape[1], 48)
        for step in x:
            i, f, g, o = (self.of_input(step) + self.of_state(h)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h


class Onto(torch.nn.Module):
    """A product that goes on with the sums of another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.then = layer(60, 112), layer(100, 112, seed=1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.first(x) + self.then(y))


MODELS: dict[str, tuple[Callable[[], torch.nn.Module], tuple[int, ...], int]] = {
    "epilogues": (Epilogues, (17, 120), 2),
    "batches": (Epilogues, (3, 17, 120), 2),
    "recurrence": (Recurrence, (12, 8, 60), 4),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str):
    make, shape, products = MODELS[name]
    model, x = make(), torch.randn(shape)
    y = compiled(model, x, products=products)(x)
    eager, exact = model(x), model.double()(x.double()) if name != "recurrence" else None
    torch.testing.assert_close(y, eager, rtol=1e-5, atol=1e-5)
    if exact is not None:
        assert (y.double() - exact).abs().max() <= 4 * (eager.double() - exact).abs().max()


@pytest.mark.parametrize("value", [None, *SPOILERS])
def test_one_product_onto_another(value: float | None):
    model, x, y = Onto(), torch.randn(9, 60), torch.randn(9, 100)
    if value is not None:
        x[2, 5] = y[4, 99] = x[8, 1] = y[8, 2] = value
    assert_same_values(compiled(model, x, y, products=2)(x, y), model(x, y))


@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits_on_two_threads(name: str):
    make, shape, products = MODELS[name]
    model, x = make(), torch.randn(shape)
    results = [compiled(model, x, products=products, num_threads=n)(x) for n in (1, 2)]
    assert torch.equal(*results)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_whatever_others_hold(threads: int):
    linear = layer(257, 112)
    x = torch.randn(40, 257)
    model = compiled(linear, x, num_threads=threads)
    whole = model(x)
    for kept in (0, 17, 39):
        for others in (torch.zeros(40, 257), 1e30 * torch.randn(40, 257), torch.full((40, 257), float("nan"))):
            others[kept] = x[kept]
            assert torch.equal(model(others)[kept], whole[kept])


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
