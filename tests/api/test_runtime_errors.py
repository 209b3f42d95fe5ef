"""What goes wrong while native code runs: PyTorch's result where it has one, else an error naming op and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import mlc
from mlc.errors import ExecutionError

X = torch.randn(4, 3)
LEAST = -(2**63)

OUT_OF_RANGE: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "aten.index.Tensor": (lambda x, i: x[i], (4, -5, 2**62, LEAST)),
    "aten.gather": (lambda x, i: torch.gather(x, 0, i.view(1, 1)), (4, -1)),
    "aten.embedding": (lambda x, i: F.embedding(i, x), (4, -1)),
    "aten.index_select": (lambda x, i: x.index_select(0, i), (4, -1)),
    "aten.scatter.value": (lambda x, i: x.scatter(0, i.view(1, 1), 1.0), (4, -1)),
    "aten.index_put": (lambda x, i: x.index_put((i,), x[0]), (4, -5)),
    "aten.index_add": (lambda x, i: x.index_add(0, i, x[:1]), (4,)),
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_indices_out_of_range(name: str, cache_dir: Path):
    program, wrong = OUT_OF_RANGE[name]
    compiled = mlc.compile(program, (X, torch.tensor([1])), cache_dir=cache_dir)
    for index in wrong:
        with pytest.raises(ExecutionError) as info:
            compiled(X, torch.tensor([index]))
        assert f"{name}: index out of range" in str(info.value) and "test_runtime_errors.py:" in str(info.value)
    torch.testing.assert_close(compiled(X, torch.tensor([2])), program(X, torch.tensor([2])))


@pytest.mark.parametrize(
    ("program", "quotients"),
    [
        (lambda a, b: a // b, (-4, -3)),
        (lambda a, b: a % b, (-1, 2)),
        (lambda a, b: torch.fmod(a, b), (1, -1)),
        (lambda a, b: torch.div(a, b, rounding_mode="trunc"), (-3, -2)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int8])
def test_integer_division(program: Callable[..., Any], quotients: tuple[int, int], dtype: torch.dtype, cache_dir: Path):
    """The least number by -1 ends PyTorch's own process in one of these: the result wraps around here."""
    least = torch.iinfo(dtype).min
    a = torch.tensor([7, 7, 7, -7], dtype=dtype)
    b = torch.tensor([-1, 1, -2, 3], dtype=dtype)
    compiled = mlc.compile(program, (a, b), cache_dir=cache_dir)
    assert torch.equal(compiled(a, b), program(a, b))
    a[:2] = least
    extreme = least if quotients[0] < -1 else 0
    assert compiled(a, b).tolist() == [extreme, extreme, *quotients]
    with pytest.raises(ExecutionError, match=r"division by zero at .*test_runtime_errors.py:"):
        compiled(a, torch.tensor([1, 2, 0, 3], dtype=dtype))


def test_shifts_conversions_and_overflow(cache_dir: Path):
    ints = torch.tensor([1, -2, 3, LEAST])
    amounts = torch.tensor([64, -1, 63, 1])
    floats = torch.tensor([1e20, -1e20, float("nan"), float("inf"), -float("inf"), 300.0, -300.0, -0.0])

    def program(i: torch.Tensor, by: torch.Tensor, x: torch.Tensor) -> list[torch.Tensor]:
        shifted = [torch.bitwise_left_shift(i, by), torch.bitwise_right_shift(i, by), -i, i.abs(), i * i, i.sum()]
        return shifted + [x.to(d) for d in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)]

    compiled = mlc.compile(program, cache_dir=cache_dir)
    for got, want in zip(compiled(ints, amounts, floats), program(ints, amounts, floats), strict=True):
        assert torch.equal(got, want) and got.dtype is want.dtype
    several = floats.repeat(9)  # whole vectors and a rest
    for got, want in zip(compiled(ints, amounts, several), program(ints, amounts, several), strict=True):
        assert torch.equal(got, want)


def test_a_failed_call_changes_nothing(cache_dir: Path):
    """Buffers and inputs are written after the code has run."""

    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            x.mul_(2)
            return x[i]

    model = Counting()
    compiled = mlc.compile(model, cache_dir=cache_dir)
    x = X.clone()
    compiled(x, torch.tensor([1]))
    with pytest.raises(ExecutionError):
        compiled(x, torch.tensor([9]))
    assert model.calls == 1 and torch.equal(x, X * 2)
