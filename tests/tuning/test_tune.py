"""`tune=True`: what is measured decides, what is decided is compiled, stored and shown. No test looks at a clock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import mlc
from mlc.backends.llvm.target import host_machine
from mlc.backends.machine import PRESETS
from mlc.errors import UsageError
from mlc.ir.pipeline import pass_names
from mlc.ir.pipeline_table import Row
from mlc.lowering.linalg.linalg_winograd_pointwise import GAIN
from mlc.tuning import search
from mlc.tuning.alternatives import kernels, layouts
from mlc.tuning.choices import Choices
from mlc.tuning.search import Search, Trial

NARROW = kernels(host_machine())[0]


class Net(nn.Module):
    """Two 3x3 convolutions of different layers, and a matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(16, 32, 3, padding=1)
        self.b = nn.Conv2d(32, 16, 3, padding=1)
        self.c = nn.Linear(16, 48)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.b(torch.relu(self.a(x))))
        return self.c(y.mean((2, 3)))


def net() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return Net().eval(), torch.randn(1, 16, 12, 12)


def compiled(cache: Path | str, **options: object) -> tuple[mlc.CompiledModel, torch.Tensor, torch.Tensor]:
    model, x = net()
    with torch.no_grad():
        return mlc.compile(model, (x,), cache_dir=cache, **options), x, model(x)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def rigged(monkeypatch: pytest.MonkeyPatch) -> list[Choices]:
    """Kernels cost one second, half of it by Winograd in tiles of 2, and half of that vectorised in another way."""
    tried: list[Choices] = []

    def measure(self: Search, trial: Trial) -> None:
        tried.append(trial.choices)
        for kernel in trial.kernels:
            text = str(kernel.module)
            cost = 0.5 if "tile = array<i64: 2, 2>" in text else 1.0
            if trial.choices.kernels.get(kernel.key) == NARROW:
                cost *= 0.5
            trial.seconds[f"k_{kernel.key}"] = cost

    monkeypatch.setattr(Search, "measure", measure)
    monkeypatch.setattr(Search, "is_faster", lambda self, new, old: new.total < old.total)
    return tried


def test_layers_of_open_sizes_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Every trial measures faster than the one before: the tuner would take whatever it may choose."""
    trials: list[Trial] = []

    def measure(self: Search, trial: Trial) -> None:
        trials.append(trial)
        trial.seconds.update({f"k_{k.key}": 0.5 ** len(trials) for k in trial.kernels})

    monkeypatch.setattr(Search, "measure", measure)
    monkeypatch.setattr(Search, "is_faster", lambda self, new, old: True)
    model, x = net()
    open_batch = ({0: torch.export.Dim("batch", min=0)},)
    with torch.no_grad():
        example = (torch.cat([x, x]),)
        fast = mlc.compile(model, example, dynamic_shapes=open_batch, tune=True, target="native", cache_dir=tmp_path)
        assert search.WINOGRAD not in fast._latest().unit.choices.module
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)


def test_what_is_measured_faster_is_compiled_stored_and_shown(rigged: list[Choices], tmp_path: Path):
    fast, x, expected = compiled(tmp_path, tune=True, target="native")
    first = fast._latest().unit
    assert first.choices.module[search.WINOGRAD] == {"layers": "1x16x32x12x12=2,1x32x16x12x12=2"}
    assert all(options == NARROW for options in first.choices.kernels.values()) and first.choices.kernels
    torch.testing.assert_close(fast(x), expected, rtol=1e-4, atol=1e-5)
    assert fast.ir("linalg").count("tile = array<i64: 2, 2>") >= 2
    assert "llvm.func" in fast.ir("llvm") and "forward" in fast.asm() and fast.explain()
    count = len(rigged)
    again, x, _ = compiled(tmp_path, tune=True)
    assert again._latest().unit.from_cache and len(rigged) == count
    assert again._latest().unit.choices == first.choices
    assert torch.equal(again(x), fast(x))


def test_the_default_stays_when_the_whole_is_no_faster(
    rigged: list[Choices], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Search, "is_faster", lambda self, new, old: False)
    tuned, x, _ = compiled(tmp_path, tune=True)
    plain, _, _ = compiled(tmp_path)
    assert len(rigged) > 5
    assert tuned._latest().unit.choices == Choices()
    assert tuned.ir("llvm") == plain.ir("llvm") and torch.equal(tuned(x), plain(x))


def test_really_measured(tmp_path: Path):
    for cache in (tmp_path, ""):
        tuned, x, expected = compiled(cache, tune=True)
        torch.testing.assert_close(tuned(x), expected, rtol=1e-4, atol=1e-5)


def test_tuned_and_plain_do_not_share_an_entry(rigged: list[Choices], tmp_path: Path):
    plain, _, _ = compiled(tmp_path)
    tuned, _, _ = compiled(tmp_path, tune=True)
    assert not tuned._latest().unit.from_cache
    assert tuned.ir("linalg") != plain.ir("linalg")
    plain, _, _ = compiled(tmp_path)
    assert plain._latest().unit.from_cache and plain._latest().unit.choices == Choices()


def test_integers_and_open_sizes(tmp_path: Path):
    table = nn.Embedding(10, 32)
    model = nn.Sequential(table, nn.Linear(32, 16)).eval()
    x = torch.arange(6).reshape(2, 3)
    n = torch.export.Dim("n", min=2, max=64)
    tuned = mlc.compile(model, (x,), dynamic_shapes=({0: n},), tune=True, cache_dir=tmp_path)
    for batch in (2, 5):
        ids = torch.randint(0, 10, (batch, 3))
        with torch.no_grad():
            torch.testing.assert_close(tuned(ids), model(ids), rtol=1e-5, atol=1e-6)


def test_choices_are_plain_data_and_change_only_what_they_name():
    rows = (Row("bufferize", "buffers"), Row("vectorize-structured", "loops", {"vector_registers": 32}))
    choices = Choices(module={"bufferize": {}}, kernels={"k": NARROW})
    assert Choices.from_json(choices.to_json()) == choices
    assert choices.kernel_rows(rows, "other") == rows
    options = choices.kernel_rows(rows, "k")[1].options
    assert options == {"vector_registers": 32, **NARROW["vectorize-structured"]}
    assert choices.object_key("other") == "other" and choices.object_key("k") != "k"
    assert choices.object_key("k") == Choices(kernels={"k": NARROW}).object_key("k")


def test_pairs_of_terms_are_tried_where_they_may_gain_and_are_wanted():
    pairs = {"linalg-winograd-pointwise": {"gain": GAIN}}
    gains, others = (replace(host_machine(), adds_beside_fma=has) for has in (True, False))
    assert pairs in layouts(gains)
    assert pairs not in layouts(gains, winograd=False)
    assert pairs not in layouts(others)
    assert {name for options in layouts(gains) for name in options} <= set(pass_names())


def test_products_of_split_numbers_are_tried_without_where_they_are_made():
    whole = {"linalg-split-matmul": {"gain": 0}}
    assert whole in layouts(PRESETS["x86-64-amx"])
    assert whole not in layouts(PRESETS["x86-64-amx"], winograd=False)
    assert whole not in layouts(PRESETS["x86-64-avx512"])
    assert {name for options in layouts(PRESETS["x86-64-amx"]) for name in options} <= set(pass_names())


def test_bounds_are_not_tuned():
    with pytest.raises(UsageError, match='debug="bounds"'):
        mlc.compile(nn.Linear(2, 2), tune=True, debug="bounds")
