"""Loaded models: calls, errors, in-place changes, threads, and what else can be asked of them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mlc
from mlc import driver
from mlc.artifact import loader
from mlc.errors import DTypeError, MlcError, ShapeError, UnsupportedError, UsageError
from mlc.runtime.artifact.trees import Record

Save = Callable[..., Any]


@pytest.fixture
def loaded_from(tmp_path: Path, cache_dir: Path) -> Save:
    """Compiles a model for calls, saves it, and loads it: (compiled, loaded)."""

    def run(model: Any, *calls: tuple[Any, ...], **options: Any) -> tuple[Any, mlc.LoadedModel]:
        compiled = mlc.compile(model, cache_dir=cache_dir, **options)
        for args in calls:
            compiled(*args)
        compiled.save(tmp_path / "m.mlc")
        return compiled, mlc.load(tmp_path / "m.mlc", cache_dir=cache_dir)

    return run


def _net(x: torch.Tensor, mask: torch.Tensor, scale: float = 2.0) -> torch.Tensor:
    return x * mask + scale


def test_torch_in_torch_out_numpy_in_numpy_out(loaded_from: Save):
    x, mask = torch.randn(2, 3), torch.ones(2, 3)
    compiled, loaded = loaded_from(_net, (x, mask))
    assert torch.equal(loaded(x, mask), compiled(x, mask))
    assert torch.equal(loaded(x.t().contiguous().t(), mask=mask), compiled(x, mask))
    got = loaded(x.numpy(), mask.numpy())
    assert isinstance(got, np.ndarray) and np.array_equal(got, compiled(x, mask).numpy())
    assert isinstance(loaded(x.numpy(), mask), torch.Tensor)


def test_a_half_precision_tensor_comes_back_as_one(loaded_from: Save):
    x = torch.randn(3, 4).bfloat16()
    compiled, loaded = loaded_from(lambda v: (v + 1, v.byte()), (x,))
    for got, wanted in zip(loaded(x), compiled(x), strict=True):
        assert got.dtype is wanted.dtype and torch.equal(got, wanted)


def _error(call: Callable[[], Any]) -> tuple[type[MlcError], str, str | None]:
    with pytest.raises(MlcError) as caught:
        call()
    return type(caught.value), caught.value.message, caught.value.expected


def test_mistakes_are_told_as_the_compiled_model_tells_them(tmp_path: Path, cache_dir: Path):
    n = torch.export.Dim("n", min=2, max=9)
    x = torch.randn(4, 3)
    compiled = mlc.compile(_Two(), (x, x), dynamic_shapes=({0: n}, {0: n}), cache_dir=cache_dir)
    compiled.save(tmp_path / "m.mlc")
    loaded = mlc.load(tmp_path / "m.mlc", cache_dir=cache_dir)
    assert torch.equal(loaded(x, x), compiled(x, x))
    wrong: list[tuple[Any, ...]] = [
        (x, x.double()), (x, x[:, :2]), (x, x[0]), (x, torch.randn(5, 3)), (torch.randn(10, 3),) * 2, (x, 3),
        (x.to("meta"), x), (x, x.to_sparse()), (x,), (x, [x]), (x.numpy().astype(">f4"), x.numpy()),
    ]  # fmt: skip
    for args in wrong[:-4]:
        assert _error(lambda args=args: loaded(*args)) == _error(lambda args=args: compiled(*args)), args
    for args in wrong[-4:]:
        assert issubclass(
            _error(lambda args=args: loaded(*args))[0], UsageError | ShapeError | DTypeError | UnsupportedError
        ), args
    with pytest.raises(UsageError, match="unexpected keyword argument 'secnd'") as caught:
        loaded(x, secnd=x)
    assert caught.value.hint == "did you mean 'second'?"


class _Two(nn.Module):
    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return first @ second.t()


def test_no_version_fits(loaded_from: Save):
    x = torch.randn(2, 3)
    _, loaded = loaded_from(_net, (x, x), (x[:1], x[:1]), (x, x, 3.0))
    assert len(loaded.versions) == 3
    with pytest.raises(ShapeError, match="no saved version takes these arguments") as caught:
        loaded(torch.randn(7, 3), x)
    assert "x: float32[1, 3], mask: float32[1, 3]" in str(caught.value) and "scale=3.0" in str(caught.value)


def test_inputs_changed_in_place(loaded_from: Save):
    def model(x: torch.Tensor, y: torch.Tensor) -> Any:
        x.add_(y)
        return x, x * 2

    compiled, loaded = loaded_from(model, (torch.ones(2, 3), torch.ones(2, 3)))
    y = torch.randn(2, 3)
    one, other = torch.ones(2, 3), torch.ones(2, 3)
    wanted, got = compiled(one, y), loaded(other, y)
    assert torch.equal(one, other) and got[0] is other and torch.equal(wanted[1], got[1])
    array = np.ones((2, 3), np.float32)
    assert loaded(array, y.numpy())[0] is array and np.array_equal(array, one.numpy())
    fixed = np.ones((2, 3), np.float32)
    fixed.flags.writeable = False
    with pytest.raises(UsageError, match="'x' in place, and the array is read-only"):
        loaded(fixed, y.numpy())
    with pytest.raises(UnsupportedError, match="share memory"):
        loaded(array, array)
    with pytest.raises(UnsupportedError, match="share memory"):
        loaded(torch.ones(1, 3).expand(2, 3), y)


def test_gradients_are_refused(loaded_from: Save):
    x = torch.randn(2, 3)
    _, loaded = loaded_from(_net, (x, x))
    with pytest.raises(UnsupportedError, match="requires a gradient"):
        loaded(x.clone().requires_grad_(), x)
    with torch.no_grad():
        loaded(x.clone().requires_grad_(), x)


def test_calls_from_threads(loaded_from: Save):
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> Any:
            self.seen += x.sum()
            return x + 1, self.seen.clone()

    _, loaded = loaded_from(Sum(), (torch.ones(8, 8),))
    _, before = loaded(np.zeros((8, 8), np.float32))
    results: list[Any] = []

    def work() -> None:
        for _ in range(25):
            results.append(loaded(np.full((8, 8), 1, np.float32))[0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 100 and all((r == 2).all() for r in results)
    assert loaded(np.zeros((8, 8), np.float32))[1] == before + 100 * 64


def test_each_loaded_model_has_its_own_state(tmp_path: Path, loaded_from: Save, cache_dir: Path):
    norm = nn.BatchNorm1d(3).train()
    _, first = loaded_from(norm, (torch.randn(4, 3),))
    second = mlc.load(tmp_path / "m.mlc", cache_dir=cache_dir)
    x = torch.randn(4, 3)
    assert torch.equal(first(x), second(x))
    bytes_before = (tmp_path / "m.mlc").read_bytes()
    first(x)
    assert (tmp_path / "m.mlc").read_bytes() == bytes_before


def test_what_can_be_asked(loaded_from: Save):
    x = torch.randn(2, 3)
    compiled, loaded = loaded_from(lambda x: {"y": (x @ x.t()).relu(), "z": x}, (x,))
    assert [str(i) for i in loaded.inputs] == ["x: float32[2, 3]"]
    assert [str(o) for o in loaded.outputs] == ["result 0: float32[2, 2]"]
    for level in ("torch", "linalg", "loops"):
        assert loaded.ir(level) == compiled.ir(level)
    with pytest.raises(UsageError, match="there is no level 'linalk'"):
        loaded.ir("linalk")
    assert "kernel" in loaded.explain() and "x: float32[2, 3]" in repr(loaded)


def test_assertions_name_the_users_line(loaded_from: Save, tmp_path: Path):
    table = torch.randn(5, 2)

    def model(i: torch.Tensor) -> torch.Tensor:
        return table[i]

    compiled, loaded = loaded_from(model, (torch.tensor([1, 2]),))
    wrong = torch.tensor([1, 7])
    assert _error(lambda: loaded(wrong)) == _error(lambda: compiled(wrong))
    fresh = mlc.load(tmp_path / "m.mlc", cache_dir="")
    assert _error(lambda: fresh(wrong)) == _error(lambda: compiled(wrong))


def test_another_target(loaded_from: Save, tmp_path: Path, cache_dir: Path):
    x = torch.randn(4, 3)
    compiled, _ = loaded_from(_net, (x, x))
    loaded = mlc.load(tmp_path / "m.mlc", target="x86-64-sse2", num_threads=1, cache_dir=cache_dir)
    assert torch.equal(loaded(x, x), compiled(x, x))
    with pytest.raises(UsageError, match="unknown target 'nativ'"):
        mlc.load(tmp_path / "m.mlc", target="nativ")


def test_fields_come_back_without_the_class(loaded_from: Save):
    @dataclass
    class Answer:
        score: torch.Tensor
        label: str = "none"
        extra: torch.Tensor | None = None

    torch.export.register_dataclass(Answer)
    x = torch.randn(2, 3)
    compiled, loaded = loaded_from(lambda x: Answer(x * 2), (x,))
    got = loaded(x)
    assert isinstance(got, Record) and torch.equal(got.score, compiled(x).score)
    assert got["score"] is got[0] is got.score and got.label == "none" and got.extra is None
    with pytest.raises(AttributeError, match="Answer has no field 'sore'"):
        _ = got.sore


def test_what_was_compiled_here_is_found_by_the_text_of_the_file(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also in the other direction: after a load, `mlc.compile` of the same model finds it."""
    model, x = nn.Linear(6, 5).eval(), torch.randn(2, 6)
    compiled = mlc.compile(model, (x,), cache_dir=cache_dir)
    compiled.save(tmp_path / "m.mlc")
    with monkeypatch.context() as patch:
        patch.setattr(loader, "Builder", None)
        assert torch.equal(mlc.load(tmp_path / "m.mlc", cache_dir=cache_dir)(x), compiled(x))
        with pytest.raises(TypeError):
            mlc.load(tmp_path / "m.mlc", cache_dir=tmp_path / "other")
    mlc.load(tmp_path / "m.mlc", cache_dir=tmp_path / "other")
    monkeypatch.setattr(driver, "Builder", None)
    assert torch.equal(mlc.compile(model, (x,), cache_dir=tmp_path / "other")(x), compiled(x))


def test_weights_stay_on_the_file(tmp_path: Path, cache_dir: Path):
    """The pages of a loaded model's file that are resident after loading are a small part of it."""
    model = nn.Sequential(nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 1024))
    mlc.compile(model, (torch.ones(4, 1024),), cache_dir=cache_dir).save(tmp_path / "m.mlc")
    code = """
import sys, mlc
loaded = mlc.load(sys.argv[1], cache_dir=sys.argv[2])
inside, resident = False, 0
for line in open("/proc/self/smaps"):
    if "-" in line.split()[0] and ":" not in line.split()[0]:
        inside = line.rstrip().endswith("m.mlc")
    elif inside and line.startswith("Rss:"):
        resident += int(line.split()[1])
print(resident)
"""
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.mlc"), str(cache_dir)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(out.stdout) < 512  # kB, of 8 MB
