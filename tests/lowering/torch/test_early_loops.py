"""Loops over time before anything else looks at a capture: the same program below, the whole one where it is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import mlc
from mlc.compiled import Compiled
from mlc.driver import module_digest
from mlc.frontends.torch.record import capture
from mlc.ir.context import make_context
from mlc.ir.locations import format_location
from mlc.ir.parsing import print_text
from mlc.ir.pipeline import make_pass, run_pipeline
from mlc.ir.pipeline_table import CPU_PIPELINE
from mlc.lowering.torch.early_loops import roll_early
from tests.models.zoo import ZOO

Rows = list[torch.Tensor]


class Cell(nn.Module):
    """A cell in a loop; `keep` makes the result of all states."""

    def __init__(self, keep: Callable[[Rows, nn.Module], object], norm: nn.Module | None = None) -> None:
        super().__init__()
        self.x, self.h = nn.Linear(5, 6), nn.Linear(6, 6)
        self.keep, self.norm = keep, norm or nn.Identity()

    def forward(self, x: torch.Tensor) -> object:
        h, kept = x.new_zeros(x.shape[0], 6), []
        for t in range(x.shape[1]):
            h = torch.tanh(self.norm(self.x(x[:, t])) + self.h(h))
            kept.append(h)
        return self.keep(kept, self)


def again(kept: Rows, cell: nn.Module) -> object:
    """A second layer over the states of the first."""
    h, found = torch.zeros_like(kept[0]), []
    for row in kept:
        h = torch.sigmoid(cell.h(row) + h)  # pyright: ignore[reportCallIssue]
        found.append(h)
    return torch.stack(found)


KEEP: dict[str, Callable[[Rows, nn.Module], object]] = {
    "stack": lambda kept, _: torch.stack(kept, 1),
    "last": lambda kept, _: kept[-1] * 2,
    "single steps": lambda kept, _: kept[2] * kept[7] + kept[-1],
    "turned": lambda kept, _: torch.cat([k.unsqueeze(0) for k in kept[::-1]]),
    "two layers": again,
}


def lowered(module: object, ctx: object) -> str:
    """Text at the kernels level."""
    rows = [r for r in CPU_PIPELINE.module if r.level in ("torch", "linalg", "kernels")]
    run_pipeline([make_pass(r.pass_name, r.options) for r in rows], ctx, module)  # pyright: ignore[reportArgumentType]
    return print_text(module)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("way", KEEP)
def test_below_it_is_the_same_program(way: str) -> None:
    model, x = Cell(KEEP[way]).eval(), torch.randn(3, 12, 5)
    texts: list[str] = []
    for early in (False, True):
        ctx = make_context()
        captured = capture(model, (x,), {}, ctx.resources)
        before = print_text(captured.module)
        places = [format_location(op.location) for op in captured.module.walk()]
        if early:
            assert roll_early(ctx, captured.module) and "torch.prim.Loop" in print_text(captured.module)
            captured.module.verify()
            whole = captured.graph.module()
            assert print_text(whole) == before
            assert [format_location(op.location) for op in whole.walk()] == places
        texts.append(lowered(captured.module, ctx))
    assert texts[0] == texts[1]


def ops_below(steps: int) -> int:
    ctx = make_context()
    captured = capture(Cell(KEEP["stack"]).eval(), (torch.randn(3, steps, 5),), {}, ctx.resources)
    roll_early(ctx, captured.module)
    return sum(1 for _ in captured.module.walk())


def test_what_the_compiler_sees_does_not_grow_with_the_sequence() -> None:
    assert ops_below(9) == ops_below(90)


@pytest.mark.parametrize("name", ["mlp", "bert_base", "gru_loop"])  # of five steps only
def test_what_has_no_loop_is_left_as_it_is(name: str) -> None:
    model, inputs = ZOO[name].build(batch=2, small=True)
    ctx = make_context()
    captured = capture(model, inputs, {}, ctx.resources)
    before = print_text(captured.module)
    assert not roll_early(ctx, captured.module)
    assert print_text(captured.module) == before


def test_steps_that_do_not_pay_stay_where_they_are() -> None:
    """Eight products beside steps without one: the search finds those, and puts everything back."""
    layers = nn.Sequential(*(nn.Linear(6, 6) for _ in range(8)))

    def model(x: torch.Tensor) -> torch.Tensor:
        rows = x.unbind(1)
        h = layers(rows[0])
        for _ in range(30):
            h = torch.tanh(h) + rows[1]
        return h

    ctx = make_context()
    captured = capture(model, (torch.randn(2, 3, 6),), {}, ctx.resources)
    before = print_text(captured.module)
    assert not roll_early(ctx, captured.module)
    assert print_text(captured.module) == before


def test_batch_norms_are_folded_before_there_is_a_loop() -> None:
    ctx = make_context()
    captured = capture(Cell(KEEP["last"], nn.BatchNorm1d(6)).eval(), (torch.randn(3, 12, 5),), {}, ctx.resources)
    assert not roll_early(ctx, captured.module)


def unit(compiled: mlc.CompiledModel) -> Compiled:
    return compiled._latest().unit


def test_what_is_shown_and_saved_is_the_whole_program(tmp_path: Path) -> None:
    model, x = Cell(KEEP["stack"]).eval(), torch.randn(3, 12, 5)
    compiled = mlc.compile(model, (x,), num_threads=1)
    rolled = compiled._latest().captured.graph.module()
    assert roll_early(make_context(), rolled) and unit(compiled).digest == module_digest(rolled)
    assert compiled.ir("torch").count("torch.aten.tanh") == 12
    report = compiled.explain()
    assert "12 steps of" in report and "tanh 12" in report
    compiled.save(tmp_path / "cell.mlc")
    loaded = mlc.load(tmp_path / "cell.mlc")
    assert torch.equal(loaded(x), compiled(x))
    assert loaded.ir("kernels") == compiled.ir("kernels")


def test_a_second_start_finds_it(tmp_path: Path) -> None:
    model, x = Cell(KEEP["stack"]).eval(), torch.randn(3, 12, 5)
    first, second = (mlc.compile(model, (x,), cache_dir=tmp_path) for _ in range(2))
    assert not unit(first).from_cache and unit(second).from_cache
    other = mlc.compile(model, (torch.randn(3, 13, 5),), cache_dir=tmp_path)
    assert not unit(other).from_cache
