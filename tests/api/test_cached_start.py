"""A start whose model is in the cache: what it does without, and what of it is made when somebody asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import mlc
from mlc import recorded
from mlc.compiled import Compiled

MODEL = """
import sys
import torch
from torch import nn
import mlc
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.table = nn.Linear(8, 4), nn.Embedding(8, 4)
        self.register_buffer("calls", torch.zeros(()))
    def forward(self, x, i, *, scale=0.5):
        self.calls += 1
        return torch.softmax(self.layer(x), -1)[:, :3] * scale, self.table(i), x.view(-1), [x.relu_().mean(0, True)]
model, x = Model().eval(), torch.linspace(-1, 1, 32).view(4, 8)
"""
START = """
print(mlc.compile(model, cache_dir=sys.argv[1])(x, torch.tensor([3]))[1].shape)
"""
WITHOUT = (
    START
    + """
print([m for m in sys.modules if m.partition(".")[0] in ("llvmlite", "xdsl")])
"""
)


def run(script: str, folder: Path, before: str = "") -> str:
    done = subprocess.run([sys.executable, "-c", before + MODEL + script, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_imports_neither_xdsl_nor_llvm(tmp_path: Path) -> None:
    run(START, tmp_path)
    assert run(WITHOUT, tmp_path).splitlines()[-1] == "[]"


def test_programs_with_the_same_model_do_not_drive_each_other_out(tmp_path: Path) -> None:
    """The embedding's message names a line of each program."""
    shifted = "\n\n"
    for before in ("", shifted):
        run(START, tmp_path, before)
    for before in ("", shifted, "", shifted):
        assert run(WITHOUT, tmp_path, before).splitlines()[-1] == "[]"


def unit_of(compiled: mlc.CompiledModel) -> Compiled:
    return compiled._latest().unit


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(torch.tanh(self.a(x)))


def test_what_is_shown_is_the_same(tmp_path: Path) -> None:
    x = torch.randn(2, 6)
    first, second = (mlc.compile(Layers().eval(), (x,), cache_dir=tmp_path) for _ in range(2))
    assert not unit_of(first).from_cache and unit_of(second).from_cache
    for level in ("torch", "linalg", "llvm"):
        assert first.ir(level) == second.ir(level)
    assert first.asm() == second.asm()
    assert unit_of(first).remarks() == unit_of(second).remarks()
    assert first.explain().partition("compile time")[0] == second.explain().partition("compile time")[0]


def test_a_model_saved_from_the_cache_is_found_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = Layers().eval(), torch.randn(2, 6)
    mlc.compile(model, (x,), cache_dir=tmp_path)
    second = mlc.compile(model, (x,), cache_dir=tmp_path)
    second.save(tmp_path / "m.mlc")
    from mlc.artifact import loader

    monkeypatch.setattr(loader, "Builder", None)
    assert torch.equal(mlc.load(tmp_path / "m.mlc", cache_dir=tmp_path)(x), second(x))


def picked(i: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    return table[i]


def also_picked(i: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    return table[i]


def test_messages_name_the_lines_of_this_model(tmp_path: Path) -> None:
    """The same program from other lines is compiled for itself, and found again, whoever was there in between."""
    args = torch.tensor([1]), torch.randn(3, 2)
    models = (picked, also_picked)
    lines = [f"{__file__}:{m.__code__.co_firstlineno + 1}" for m in models]
    found: list[bool] = []
    for n in (0, 0, 1, 1, 0, 0):
        compiled = mlc.compile(models[n], args, cache_dir=tmp_path)
        found.append(unit_of(compiled).from_cache)
        with pytest.raises(mlc.MlcError, match=lines[n]):
            compiled(torch.tensor([5]), args[1])
    assert found == [False, True, False, True, True, True]


def test_options_have_entries_of_their_own(tmp_path: Path) -> None:
    model, x = Layers().eval(), torch.randn(2, 6)
    options = [{}, {"winograd": False}, {"precision": "bfloat16"}, {"debug": "bounds"}]
    for wanted in (False, True):
        for given in options:
            compiled = mlc.compile(model, (x,), cache_dir=tmp_path, **given)  # pyright: ignore[reportArgumentType]
            assert unit_of(compiled).from_cache is wanted


@pytest.mark.parametrize("kept", ["the digest", "the code"])
def test_half_of_it_is_gone(kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that is found by the module is used; a digest without code leads nowhere."""
    model, x = Layers().eval(), torch.randn(2, 6)
    forget = "graph_key" if kept == "the code" else "model_key"
    mlc.compile(model, (x,), cache_dir=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(recorded, forget, lambda *_: "0" * 32)
        again = mlc.compile(model, (x,), cache_dir=tmp_path)
    assert unit_of(again).from_cache  # by the module
    assert torch.allclose(again(x), model(x), atol=1e-5)


def test_weights_that_are_looked_up_only_are_moved(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Embedding(4096, 512), nn.Linear(512, 4)).eval()
    i = torch.tensor([[1, 2]])
    moved: list[tuple[bool, str]] = []
    for _ in range(2):
        compiled = mlc.compile(model, (i,), cache_dir=tmp_path, offload_weights=True)
        assert torch.allclose(compiled(i), model(i), atol=1e-5)
        placed = compiled._latest().placed
        assert placed is not None and placed.failed is None
        moved.append((unit_of(compiled).from_cache, placed.describe()))
    assert moved == [(False, moved[1][1]), (True, moved[0][1])]
