"""What tests of prepared products share: backends that take them, inputs and weights that are hard on them, models they
stand in, and how exact results have to be beside eager and float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from mlc.api import CompiledModel
from mlc.backends.llvm import CPU_BACKEND
from mlc.backends.machine import MachineModel
from mlc.ir.pipeline_table import Pipeline
from mlc.tuning.choices import Choices

Compile = Callable[..., CompiledModel]
"""Compiles a model for inputs, with so many `products` of the kind that is tested."""


@dataclass(frozen=True)
class ChangedBackend:
    """This machine, but for `machine`, and `options` of passes that see the whole module."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def machine(self, target: str) -> MachineModel:
        return replace(CPU_BACKEND.machine(target), **self.changes)

    def pipeline(self, target: str) -> Pipeline:
        rows = CPU_BACKEND.pipeline(target)
        return replace(rows, module=Choices(module=self.options).module_rows(rows.module))

    def __getattr__(self, attribute: str) -> Any:
        return getattr(CPU_BACKEND, attribute)


def layer(terms: int, columns: int, seed: int = 0) -> torch.nn.Linear:
    torch.manual_seed(seed)
    return torch.nn.Linear(terms, columns)


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
WEIGHTS = ["columns of all sizes", "large columns", "a column of zeros", "a column near zero"]
SPOILERS = [float("nan"), float("inf"), float("-inf"), 3e38, -1e30, 1e20]
TINY_ROWS_TO_HUGE = [1e-45, 1e-40, 1e-30, 1e-20, 1e-16, 1e16, 1e20, 1e30]
TINY_WEIGHTS = [1e-18, 1e-30, 1e-38, 1e-41, 1e-45]


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


def assert_same_values(y: torch.Tensor, eager: torch.Tensor) -> None:
    """NaN and infinities in the same places, the others about the same, also by the size of their own row."""
    assert torch.equal(y.isnan(), eager.isnan())
    assert torch.equal(y.isinf(), eager.isinf()) and torch.equal(y[y.isinf()], eager[eager.isinf()])
    for row, wanted in zip(y, eager, strict=True):
        rest = wanted.isfinite()
        scale = wanted[rest].abs().max().item() if rest.any() else 1.0
        torch.testing.assert_close(row[rest], wanted[rest], rtol=1e-5, atol=1e-5 * scale)


def check_weights_of_any_size(compiled: Compile, rows: int, terms: int, columns: int, kind: str) -> None:
    """As exact as eager, whatever sizes columns have: `kind` is one of `WEIGHTS`."""
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


def check_rows_of_zeros_are_the_bias(compiled: Compile, terms: int) -> None:
    linear = layer(terms, 100)
    x = torch.randn(9, terms)
    x[[0, 4, 8]] = 0
    x[4] = -x[4]
    y = compiled(linear, x)(x)
    assert torch.equal(y[[0, 4, 8]], linear.bias.expand(3, 100))
    assert_as_exact(y, linear(x), x, linear)
    assert torch.equal(compiled(linear, x)(torch.zeros(9, terms)), linear.bias.expand(9, 100))


def check_one_value_spoils_its_row_alone(compiled: Compile, rows: int, terms: int, value: float) -> None:
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


def check_rows_of_any_magnitude(compiled: Compile, terms: int, size: float, alone: bool) -> None:
    """As exact as eager by their own size: beside a bias, and alone."""
    linear = layer(terms, 100)
    if alone:
        linear.bias.zero_()
    x = torch.randn(9, terms)
    x[[2, 8]] *= size
    y, eager = compiled(linear, x)(x), linear(x)
    assert y.isfinite().all()
    assert_same_values(y, eager)
    if not alone:
        return
    exact = x.double() @ linear.weight.double().T
    scale = x.double().norm(dim=1)[:, None] * linear.weight.double().norm(dim=1)
    # Of a core of an Intel server eager's errors are an eighth of others': less than half a rounding counts as that.
    theirs = torch.maximum((eager.double() - exact).abs().amax(dim=1, keepdim=True), 2.0**-25 * scale)
    allowed = 4 * theirs + 2.0**-23 * scale + 2.0**-149
    assert ((y.double() - exact).abs() <= allowed).all()


def check_columns_of_tiny_weights(compiled: Compile, terms: int, weight: float, size: float) -> None:
    """As exact as eager by their own size, where that is not less than there are numbers; the rest as without them."""
    linear = layer(terms, 100)
    x = size * torch.randn(9, terms)
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


def check_weights_of_any_value(compiled: Compile, terms: int, value: float, where: str) -> None:
    """`where`: "one weight" or "a column"."""
    linear = layer(terms, 100)
    linear.weight[11, 5 if where == "one weight" else slice(None)] = value
    x = torch.randn(7, terms)
    x[3] = 0
    y, eager = compiled(linear, x)(x), linear(x)
    others = torch.arange(100) != 11
    assert_same_values(y[:, others], eager[:, others])
    assert_same_values(y[:, 11:12], eager[:, 11:12])


def check_a_row_whatever_others_hold(compiled: Compile, terms: int, threads: int) -> None:
    linear = layer(terms, 112)
    x = torch.randn(40, terms)
    model = compiled(linear, x, num_threads=threads)
    whole = model(x)
    for kept in (0, 17, 39):
        for others in (torch.zeros(40, terms), 1e30 * torch.randn(40, terms), torch.full((40, terms), float("nan"))):
            others[kept] = x[kept]
            assert torch.equal(model(others)[kept], whole[kept])


class Epilogues(torch.nn.Module):
    """What surrounds products in transformers: bias, GELU, a residual, another layer."""

    def __init__(self, terms: int, hidden: int) -> None:
        super().__init__()
        self.up, self.down = layer(terms, hidden), layer(hidden, terms, seed=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.nn.functional.gelu(self.up(x)))


class Recurrence(torch.nn.Module):
    """An LSTM by hand: the products of a step are added to each other."""

    def __init__(self, terms: int) -> None:
        super().__init__()
        self.of_input, self.of_state = layer(terms, 192), layer(48, 192, seed=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = c = torch.zeros(x.shape[1], 48)
        for step in x:
            i, f, g, o = (self.of_input(step) + self.of_state(h)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h


class Onto(torch.nn.Module):
    """A product that goes on with the sums of another."""

    def __init__(self, terms: int, more: int) -> None:
        super().__init__()
        self.first, self.then = layer(terms, 112), layer(more, 112, seed=1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.first(x) + self.then(y))


def check_beside_eager(compiled: Compile, model: torch.nn.Module, x: torch.Tensor, products: int) -> None:
    """About eager's results; but for recurrences, whose state is single, no error more than 4 times eager's largest."""
    y = compiled(model, x, products=products)(x)
    eager, exact = model(x), None if isinstance(model, Recurrence) else model.double()(x.double())
    torch.testing.assert_close(y, eager, rtol=1e-5, atol=1e-5)
    if exact is not None:
        assert (y.double() - exact).abs().max() <= 4 * (eager.double() - exact).abs().max()


def check_one_product_onto_another(compiled: Compile, terms: int, more: int, value: float | None) -> None:
    """`value`: what stands among the inputs of both."""
    model, x, y = Onto(terms, more), torch.randn(9, terms), torch.randn(9, more)
    if value is not None:
        x[2, 5] = y[4, more - 1] = x[8, 1] = y[8, 2] = value
    assert_same_values(compiled(model, x, y, products=2)(x, y), model(x, y))
