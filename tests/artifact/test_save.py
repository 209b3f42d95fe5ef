"""Saved models give the compiled model's results, to the last bit, in a process that has no torch."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutput

import mlc
from mlc.errors import UsageError
from tests.artifact.conftest import Calls, arrays, assert_same

Pair = namedtuple("Pair", "low high")
Run = Callable[..., Any]


def check(model: Any, calls: Calls, run: Run, tmp_path: Path, cache: Path, **options: Any) -> None:
    """Compile for `calls`, save, and compare the child's results with the compiled model's."""
    compiled = mlc.compile(model, cache_dir=cache, **options)
    for args, kwargs in calls:
        compiled(*args, **kwargs)
    path = tmp_path / "m.mlc"
    compiled.save(path)
    wanted = [arrays(compiled(*args, **kwargs)) for args, kwargs in calls]
    got = run(path, calls)
    assert isinstance(got, list), got
    assert_same(got, wanted)


class Block(nn.Module):
    """A residual block with 3x3 convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 1))
        self.head = nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).relu()
        return self.head((x + self.body(x)).mean((2, 3)))


def test_residual_network(without_torch: Run, tmp_path: Path, cache_dir: Path):
    check(Block().eval(), [((torch.randn(2, 3, 16, 16),), {})], without_torch, tmp_path, cache_dir)


@pytest.mark.parametrize("options", [{"winograd": False}, {"precision": "bfloat16"}, {"num_threads": 2}])
def test_options_travel(options: dict[str, Any], without_torch: Run, tmp_path: Path, cache_dir: Path):
    calls = [((torch.randn(1, 3, 24, 24),), {})]
    check(Block().eval(), calls, without_torch, tmp_path, cache_dir, **options)


def test_transformer_with_a_mask_by_name(without_torch: Run, tmp_path: Path, cache_dir: Path):
    model = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    mask = torch.ones(5, 5).triu(1).bool()
    calls = [((torch.randn(2, 5, 16),), {"src_mask": mask}), ((torch.randn(2, 5, 16),), {})]
    check(model, calls, without_torch, tmp_path, cache_dir)


def test_lstm(without_torch: Run, tmp_path: Path, cache_dir: Path):
    state = torch.randn(1, 2, 6), torch.randn(1, 2, 6)
    calls = [((torch.randn(7, 2, 4), state), {}), ((torch.randn(7, 2, 4),), {})]
    check(nn.LSTM(4, 6), calls, without_torch, tmp_path, cache_dir)


def _structures(x: torch.Tensor, more: dict[str, Any]) -> Any:
    y = x + more["b"][0]
    pair = Pair(y.min(), y.amax(0))
    best = y.max(0)
    return OrderedDict(a=[y, (y.t(), x)], pair=pair, best=best, shape=y.shape, none=None, number=1.5), BaseModelOutput(
        last_hidden_state=y * 2, hidden_states=(y, x * 3)
    )


def test_structures(without_torch: Run, tmp_path: Path, cache_dir: Path):
    calls = [((torch.randn(3, 4),), {"more": {"b": [torch.randn(4), torch.randn(1)]}})]
    check(_structures, calls, without_torch, tmp_path, cache_dir)


def test_versions_are_told_apart_by_shapes_dtypes_and_values(without_torch: Run, tmp_path: Path, cache_dir: Path):
    def model(x: torch.Tensor, times: int = 2, how: str = "sum") -> torch.Tensor:
        return (x * times).sum(0) if how == "sum" else (x * times).mean(0)

    x = torch.randn(3, 4)
    calls = [((x,), {}), ((x.double(),), {}), ((torch.randn(5, 4), 3), {}), ((x,), {"how": "mean"}), ((x, 2.0), {})]
    check(model, calls, without_torch, tmp_path, cache_dir)


def test_open_sizes(without_torch: Run, tmp_path: Path, cache_dir: Path):
    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            y = x.cumsum(0) @ x.t()
            return {"y": y, "views": (y.t(), x.t(), x), "n": x.shape[0] * 2 + 1}

    compiled = mlc.compile(
        Net(), (torch.randn(4, 3),), dynamic_shapes=({0: torch.export.Dim("n", max=64)},), cache_dir=cache_dir
    )
    path = tmp_path / "m.mlc"
    compiled.save(path)
    calls = [((torch.randn(n, 3),), {}) for n in (4, 9, 64)]
    assert_same(without_torch(path, calls), [arrays(compiled(*a)) for a, _ in calls])
    kind, text = without_torch(path, [((torch.randn(65, 3),), {})])
    assert kind == "ShapeError" and "at most 64" in text


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8, torch.int32, torch.bool])
def test_dtypes(dtype: torch.dtype, without_torch: Run, tmp_path: Path, cache_dir: Path):
    x = torch.tensor([[0, 1, 2], [3, 1, 0]]).to(dtype)
    constant = torch.tensor([1, 0, 1]).to(dtype)
    check(lambda v: (v * constant, v), [((x,), {})], without_torch, tmp_path, cache_dir)


def test_buffers_keep_their_state(without_torch: Run, tmp_path: Path, cache_dir: Path):
    class Counting(nn.Module):
        cache: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(4)
            self.register_buffer("cache", torch.zeros(3, 4))

        def forward(self, x: torch.Tensor) -> Any:
            self.cache[0] = x[0]
            self.cache.mul_(0.5)
            return self.norm(x), self.norm.running_mean, self.cache.sum()

    calls = [((torch.randn(5, 4),), {}) for _ in range(3)]
    compiled = mlc.compile(Counting().train(), cache_dir=cache_dir)
    compiled(*calls[0][0])
    path = tmp_path / "m.mlc"
    compiled.save(path)
    wanted = [arrays(compiled(*args)) for args, _ in calls]
    assert_same(without_torch(path, calls), wanted)


def test_outputs_that_are_weights_inputs_and_views(without_torch: Run, tmp_path: Path, cache_dir: Path):
    layer = nn.Linear(4, 3)

    def model(x: torch.Tensor) -> Any:
        y = layer(x)
        return y, y[:, 1:], x, x.t(), layer.weight, layer.bias[1:], x.unsqueeze(0).expand(2, -1, -1)

    check(model, [((torch.randn(2, 4),), {})], without_torch, tmp_path, cache_dir)


def test_weights_are_written_once(tmp_path: Path, cache_dir: Path):
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    model[1].weight = model[0].weight
    compiled = mlc.compile(model, cache_dir=cache_dir)
    for rows in (1, 2, 3):
        compiled(torch.randn(rows, 64))
    compiled.save(tmp_path / "m.mlc")
    assert 64 * 64 * 4 < (tmp_path / "m.mlc").stat().st_size < 2 * 64 * 64 * 4 + 20_000


def test_same_model_same_bytes(tmp_path: Path, cache_dir: Path):
    paths = [tmp_path / "a.mlc", tmp_path / "b.mlc"]
    for path in paths:
        torch.manual_seed(0)
        mlc.compile(Block().eval(), (torch.ones(1, 3, 16, 16),), cache_dir=cache_dir).save(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == paths


def test_nothing_compiled_or_no_place_to_write(tmp_path: Path, cache_dir: Path):
    compiled = mlc.compile(nn.Linear(2, 2), cache_dir=cache_dir)
    with pytest.raises(UsageError, match="call it once"):
        compiled.save(tmp_path / "m.mlc")
    compiled(torch.ones(1, 2))
    with pytest.raises(UsageError, match="cannot write"):
        compiled.save(tmp_path / "missing" / "m.mlc")
    with pytest.raises(UsageError, match="path is 3"):
        compiled.save(3)  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        compiled.weight.mul_(2)
    with pytest.raises(UsageError, match="no compiled version holds"):
        compiled.save(tmp_path / "m.mlc")
    assert list(tmp_path.iterdir()) == []
    x = torch.ones(1, 2)
    wanted = compiled(x)
    compiled.save(tmp_path / "m.mlc")
    assert torch.equal(mlc.load(tmp_path / "m.mlc", cache_dir=cache_dir)(x), wanted)


def test_a_module_and_its_functional_form_agree(tmp_path: Path, cache_dir: Path):
    weight = torch.randn(3, 4)
    compiled = mlc.compile(lambda x: F.linear(x, weight), (torch.ones(2, 4),), cache_dir=cache_dir)
    compiled.save(tmp_path / "m.mlc")
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    assert_same(mlc.load(tmp_path / "m.mlc", cache_dir=cache_dir)(x), compiled(x))
