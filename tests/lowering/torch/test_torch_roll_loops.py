"""Recurrent cells written as Python loops: one loop below, whatever the length, with eager's numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn

import mlc
from mlc.lowering.torch import step_results


class Cell(nn.Module):
    """A recurrent cell in a loop, in the ways people write it."""

    def __init__(self, keep: Callable[[list[torch.Tensor]], torch.Tensor], *, backward: bool = False) -> None:
        super().__init__()
        self.x, self.h = nn.Linear(5, 12), nn.Linear(12, 12)
        self.keep, self.backward = keep, backward

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = x.new_zeros(x.shape[0], 12)
        kept: list[torch.Tensor] = []
        steps = range(x.shape[1])
        for t in reversed(steps) if self.backward else steps:
            h = torch.tanh(self.x(x[:, t]) + self.h(h))
            kept.append(h)
        return self.keep(kept), h


WAYS: dict[str, Callable[[list[torch.Tensor]], torch.Tensor]] = {
    "stack": lambda kept: torch.stack(kept, 1),
    "cat": lambda kept: torch.cat([k.unsqueeze(0) for k in kept]),
    "last": lambda kept: kept[-1] * 2,
    "reversed": lambda kept: torch.stack(kept[::-1], 0),
    "single steps": lambda kept: kept[2] * kept[7] + kept[-1],
    "pairs": lambda kept: torch.stack([torch.cat([a, b], -1) for a, b in zip(kept, kept[::-1], strict=True)]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("backward", [False, True])
def test_numbers_are_eagers(way: str, backward: bool):
    model = Cell(WAYS[way], backward=backward).eval()
    x = torch.randn(3, 11, 5)
    compiled = mlc.compile(model, (x,), num_threads=1)
    for got, want in zip(compiled(x), model(x), strict=True):
        torch.testing.assert_close(got, want)
    assert "scf.for" in compiled.ir("kernels")


def kernels(compiled: mlc.CompiledModel) -> int:
    return compiled.ir("kernels").count("attributes {kernel}")


def test_code_does_not_grow_with_the_sequence():
    """Of lengths whose rows together fill no blocks: those that do may be packed in place of weights."""
    model = Cell(WAYS["stack"]).eval()
    short, long = (mlc.compile(model, (torch.randn(2, n, 5),), num_threads=1) for n in (9, 61))
    assert kernels(short) == kernels(long)
    assert len(short.ir("kernels").splitlines()) == len(long.ir("kernels").splitlines())


def test_rows_that_are_all_taken_before_the_loop():
    class Unbound(Cell):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            h = x.new_zeros(x.shape[0], 12)
            kept: list[torch.Tensor] = []
            for row in x.unbind(1):
                h = torch.tanh(self.x(row) + self.h(h) * row.mean())
                kept.append(h)
            return self.keep(kept), h

    model = Unbound(WAYS["stack"]).eval()
    short, long = (mlc.compile(model, (torch.randn(2, n, 5),), num_threads=1) for n in (9, 90))
    assert kernels(short) == kernels(long)
    x = torch.randn(2, 90, 5)
    for got, want in zip(long(x), model(x), strict=True):
        torch.testing.assert_close(got, want)


def test_layers_with_weights_of_their_own_stay_apart():
    model = nn.Sequential(*(nn.Sequential(nn.Linear(6, 6), nn.ReLU()) for _ in range(10))).eval()
    compiled = mlc.compile(model, (torch.randn(2, 6),), num_threads=1)
    assert "scf.for" not in compiled.ir("kernels")


def test_a_layer_used_again_and_again_is_a_loop():
    layer = nn.Linear(6, 6)

    def model(x: torch.Tensor) -> torch.Tensor:
        for _ in range(12):
            x = torch.relu(layer(x)) + x
        return x

    x = torch.randn(2, 6)
    compiled = mlc.compile(model, (x,), num_threads=1)
    torch.testing.assert_close(compiled(x), model(x))
    assert "scf.for" in compiled.ir("kernels")


JOINED: dict[str, Callable[[list[torch.Tensor], list[torch.Tensor]], torch.Tensor]] = {
    "one step again": lambda o, p: torch.stack([*o, o[2]], 1),
    "the last again": lambda o, p: torch.cat([*o, *o[-1:]]),
    "all twice": lambda o, p: torch.stack(o + o),
    "there and back": lambda o, p: torch.stack(o + o[::-1], 1),
    "there and back but for the last": lambda o, p: torch.stack(o + o[-2::-1], 1),
    "two values of a step": lambda o, p: torch.stack(o + p),
    "two lists": lambda o, p: torch.stack(o) + torch.stack(p),
}


@pytest.mark.parametrize("way", JOINED)
def test_lists_that_hold_steps_more_than_once(way: str):
    layer = nn.Linear(6, 6)

    def model(x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        kept, before = [], []
        for t in range(9):
            z = layer(h) + x[:, t]
            h = torch.tanh(z)
            kept.append(h)
            before.append(z)
        return JOINED[way](kept, before)

    inputs = torch.randn(2, 9, 6), torch.randn(2, 6)
    compiled = mlc.compile(model, inputs, num_threads=1)
    torch.testing.assert_close(compiled(*inputs), model(*inputs))
    assert "scf.for" in compiled.ir("kernels")


class Recurrent(nn.Module):
    """A cell of PyTorch's, walked along a sequence in ways that people write."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(4, 6)

    def states(self, x: torch.Tensor, order: Iterable[int]) -> list[torch.Tensor]:
        h, states = x.new_zeros(x.shape[1], 6), []
        for t in order:
            h = self.cell(x[t], h)
            states.append(h)
        return states


class RowsOfTheStep(Recurrent):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, rows = x.new_zeros(x.shape[1], 6), []
        for t in range(len(x)):
            h = self.cell(x[t], h)
            rows.append(h.unsqueeze(0))
        return torch.cat(rows, 0)


class RowsInFront(Recurrent):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, rows = x.new_zeros(x.shape[1], 6), []
        for t in range(len(x)):
            h = self.cell(x[len(x) - 1 - t], h)
            rows.insert(0, h)
        return torch.stack(rows)


class RowsWritten(Recurrent):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, out = x.new_zeros(x.shape[1], 6), x.new_zeros(len(x), x.shape[1], 6)
        for t in range(len(x)):
            h = self.cell(x[t], h)
            out[t] = h
        return out


class BothDirections(Recurrent):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        there, back = self.states(x, range(len(x))), self.states(x, reversed(range(len(x))))
        return torch.stack([torch.cat(pair, -1) for pair in zip(there, back[::-1], strict=True)])


def test_rows_of_another_type_than_what_is_joined_with_them():
    layer = nn.Linear(6, 6)

    def model(x: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        signs, rows = [torch.ones(1, 2, 6)], [torch.ones(1, 6, dtype=torch.float64)]
        for t in range(9):
            h = torch.tanh(layer(h) + x[t])
            signs.append((h > 0).unsqueeze(0))
            rows.append(h[:1])
        return torch.cat(signs), torch.cat(rows)

    inputs = torch.randn(9, 2, 6), torch.randn(2, 6)
    compiled = mlc.compile(model, inputs, num_threads=1)
    for got, want in zip(compiled(*inputs), model(*inputs), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
    assert "scf.for" in compiled.ir("kernels")


def test_what_is_made_between_the_steps():
    layer = nn.Linear(6, 6)

    def model(x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        for t in range(10):
            given = layer(x[t])
            if t == 0:
                for _ in range(30):
                    h = torch.sin(h) * 1.5
            h = torch.tanh(given + h)
        return h

    inputs = torch.randn(10, 2, 6), torch.randn(2, 6)
    torch.testing.assert_close(mlc.compile(model, inputs, num_threads=1)(*inputs), model(*inputs))


@pytest.mark.parametrize("last", [False, True])
def test_all_steps_are_not_kept_for_one_of_them(last: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(step_results, "MOST_STORED", 10)
    layer = nn.Linear(6, 6)

    def model(x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        kept = []
        for t in range(12):
            h = torch.tanh(layer(h) + x[t])
            kept.append(h)
        return h if last else h * kept[5]

    inputs = torch.randn(12, 2, 6), torch.randn(2, 6)
    compiled = mlc.compile(model, inputs, num_threads=1)
    torch.testing.assert_close(compiled(*inputs), model(*inputs))
    assert ("scf.for" in compiled.ir("kernels")) == last


@pytest.mark.parametrize("kind", [RowsOfTheStep, RowsInFront, RowsWritten, BothDirections])
def test_ways_of_walking_along_a_sequence(kind: type[Recurrent]):
    model = kind().eval()
    lines = []
    for n in (33, 70):
        x = torch.randn(n, 2, 4)
        compiled = mlc.compile(model, (x,), num_threads=1)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), model(x))
        lines.append(len(compiled.ir("kernels").splitlines()))
    assert lines[0] == lines[1]


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells_of_pytorch_are_loops(kind: Callable[[int, int], nn.Module]):
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = kind(5, 12)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state = x.new_zeros(2, 12)
            if kind is nn.LSTMCell:
                state = (state, state)
            kept: list[torch.Tensor] = []
            for step in x:
                state = self.cell(step, state)
                kept.append(state[0] if isinstance(state, tuple) else state)
            return torch.stack(kept)

    model = Loop().eval()
    short, long = (mlc.compile(model, (torch.randn(n, 2, 5),), num_threads=1) for n in (10, 40))
    assert kernels(short) == kernels(long)
    x = torch.randn(40, 2, 5)
    torch.testing.assert_close(long(x), model(x).detach())
