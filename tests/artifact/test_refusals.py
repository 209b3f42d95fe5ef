"""What cannot be saved is refused by name, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

import mlc
from mlc.errors import UnsupportedError

X = torch.ones(2, 3)


class _Choice:
    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Choice) and other.value == self.value

    __hash__ = None  # pyright: ignore[reportAssignmentType]


class _Bag(dict[str, Any]):
    pass


pytree.register_pytree_node(
    _Bag, lambda b: (list(b.values()), list(b)), lambda values, keys: _Bag(zip(keys, values, strict=True))
)

CASES: dict[str, tuple[Callable[..., Any], str]] = {
    "a dtype": (lambda x: (x + 1, x.dtype), "result 1 is a torch.dtype"),
    "an object": (lambda x: (x + 1, _Choice(1)), "result 1 is a value of .*_Choice"),
    "a registered class": (lambda x: _Bag(a=x + 1), "the results hold a _Bag, which cannot be built again"),
    "another dtype": (lambda x: (y := x + 1, y.view(torch.int32)), "result 1 is a view of a tensor by another dtype"),
}


@pytest.mark.parametrize("name", CASES)
def test_results(name: str, tmp_path: Path, cache_dir: Path):
    model, message = CASES[name]
    compiled = mlc.compile(model, (X,), cache_dir=cache_dir)
    compiled(X)
    with pytest.raises(UnsupportedError, match=f"the model cannot be saved: {message}"):
        compiled.save(tmp_path / "m.mlc")
    assert list(tmp_path.iterdir()) == []


def test_a_buffer_that_is_a_constant_of_another_version(tmp_path: Path, cache_dir: Path):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(3))

        def forward(self, x: torch.Tensor, count: bool) -> torch.Tensor:
            if count:
                self.seen += x.sum(0)
                return x
            return x + self.seen

    compiled = mlc.compile(Net(), cache_dir=cache_dir)
    compiled.prepare(X, True)
    compiled.prepare(X, False)
    with pytest.raises(UnsupportedError, match="changes the buffer 'seen', which another one has as a constant"):
        compiled.save(tmp_path / "m.mlc")


def test_versions_of_other_settings_make_room(tmp_path: Path, cache_dir: Path):
    """Where autocast told two versions apart, the one without it is kept: a loaded model has no such setting."""
    layer = nn.Linear(3, 4)
    compiled = mlc.compile(layer, cache_dir=cache_dir)
    with torch.autocast("cpu", torch.bfloat16):
        compiled(X)
    plain = compiled(X)
    compiled.save(tmp_path / "m.mlc")
    loaded = mlc.load(tmp_path / "m.mlc", cache_dir=cache_dir)
    assert len(loaded.versions) == 1 and torch.equal(loaded(X), plain)
