"""What `tune=True` chose is told by the names of kernels, in `explain()` and of a saved model."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import mlc
from mlc.artifact.tuned import machine_kind
from mlc.backends.llvm.target import host_machine
from mlc.compiled import Compiled
from mlc.explain import make_report, table
from mlc.module_parts import split_module
from mlc.tools.mlc_command import main
from mlc.tuning.choices import DIRECT, Choices
from mlc.tuning.search import Search, Trial
from mlc.tuning.told import NOTHING, tell

OPTIONS = {"vectorize-structured": {"vector_registers": 8}}
LAYER = "1x16x32x12x12"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(16, 32, 3, padding=1)
        self.b = nn.Linear(32, 48)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(torch.relu(self.a(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def unit() -> Compiled:
    return mlc.compile(Net().eval(), (torch.randn(1, 16, 12, 12),), num_threads=1)._latest().unit


def with_choices(unit: Compiled, choices: Choices) -> Compiled:
    return replace(unit, choices=choices, options=replace(unit.options, tune=True))


def test_each_kernel_says_what_was_chosen_instead_of_the_default(unit: Compiled):
    names = split_module(unit.lowered("buffers"), unit.setting.fingerprint).names
    name = next(n for n in names if n.startswith("matmul"))
    report = make_report(with_choices(unit, Choices(kernels={names[name]: OPTIONS})))
    told = f"tuned: vectorize-structured: vector_registers 8 instead of {host_machine().vector_registers}"
    assert {r.name: r.remarks[told] for r in report.rows if told in r.remarks} == {name: 1}
    assert not any(NOTHING in line or names[name] in line for line in table(report).splitlines())


def test_layers_are_told_where_they_are_computed_and_layouts_once(unit: Compiled):
    block = host_machine().lanes(32) // 2
    choices = Choices({"linalg-winograd-conv2d": {"layers": f"{LAYER}=0"}, "linalg-pack-matmul": {"block": block}})
    named = split_module(with_choices(unit, choices).lowered("buffers"), "").named()
    told = tell(choices, host_machine(), named, tuned=True)
    assert told.model == [f"tuned: linalg-pack-matmul: block {block} instead of {2 * block}"]
    ((name, texts),) = told.kernels.items()
    assert name.startswith("conv")
    assert texts == [f"tuned: linalg-winograd-conv2d: {LAYER} direct instead of what the pass chooses"]


def test_where_nothing_is_faster_that_is_told(unit: Compiled):
    assert make_report(with_choices(unit, Choices())).general[NOTHING] == 1
    machine = host_machine()
    assert tell(DIRECT, machine, {}, tuned=True, winograd=False).lines() == [NOTHING]
    assert tell(Choices(), machine, {}, tuned=False).lines() == []
    assert not any("tuned" in text for text in make_report(unit).general)


def test_a_saved_model_tells_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def measure(self: Search, trial: Trial) -> None:
        other = all(options == OPTIONS for options in trial.choices.kernels.values()) and trial.choices.kernels
        trial.seconds.update({f"k_{k.key}": 0.5 if other else 1.0 for k in trial.kernels})

    monkeypatch.setattr(Search, "measure", measure)
    monkeypatch.setattr(Search, "is_faster", lambda self, new, old: new.total < old.total)
    monkeypatch.setattr("mlc.tuning.alternatives.kernels", lambda machine: [OPTIONS])
    compiled = mlc.compile(nn.Linear(16, 32).eval(), (torch.randn(4, 16),), tune=True, cache_dir=tmp_path)
    (name,) = split_module(compiled._latest().unit.lowered("buffers"), "").names
    compiled.save(tmp_path / "m.mlc")
    out = io.StringIO()
    assert main(["info", str(tmp_path / "m.mlc")], stdout=out) == 0
    told = f"tuned: vectorize-structured: vector_registers 8 instead of {host_machine().vector_registers}"
    assert f"on {machine_kind(host_machine())} bits: {name}: {told}" in out.getvalue()
    assert f"{name}\n" in compiled.explain() and told in compiled.explain()
    assert told in mlc.load(tmp_path / "m.mlc", cache_dir=tmp_path).explain()
