"""The short path of a call: it serves what it says, and leaves the rest to the long one, with the same results."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mlc

V = torch.randn(4, 6)


class Pair(nn.Module):
    """A tensor and a number in, a tuple out."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor, n: float = 1.0, *, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.lin(x) * n, x + bias


def test_it_serves_plain_calls(cache_dir: Path, monkeypatch: pytest.MonkeyPatch):
    model, bias = Pair(), torch.randn(6)
    compiled = mlc.compile(model, cache_dir=cache_dir)
    want = compiled(V, 2.0, bias=bias)
    binding = compiled._variants[0].binding
    monkeypatch.setattr(binding, "_call", lambda leaves: pytest.fail("the long path ran"))
    for x in (V, V.clone(), V.detach()):
        torch.testing.assert_close(compiled(x, 2.0, bias=bias), want)
    with torch.inference_mode():
        got = compiled(V, 2.0, bias=bias)
        assert got[0].is_inference() and isinstance(got, tuple)
    torch.testing.assert_close(got, want)


class Beside(nn.Module):
    """Returns beside what it computes what it was given, a view of it and what never changes."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[Any, ...]:
        return y, x + y, None, y[1:, ::2], x * y, "two", x, {"sizes": (x.shape, 3)}


def test_arguments_and_constants_come_back_by_it(cache_dir: Path, monkeypatch: pytest.MonkeyPatch):
    model = Beside()
    compiled = mlc.compile(model, cache_dir=cache_dir)
    compiled(V, V + 1)
    monkeypatch.setattr(compiled._variants[0].binding, "_call", lambda leaves: pytest.fail("the long path ran"))
    for x, y in ((V + 2, V + 3), (V + 4, V + 5)):
        got, want = compiled(x, y), model(x, y)
        assert got[0] is y and got[6] is x and got[2] is None and got[5] == "two" and got[7] == want[7]
        for k in (1, 3, 4):
            torch.testing.assert_close(got[k], want[k])
        got[3].fill_(7.0)
        assert (y[1:, ::2] == 7).all()
    array = V.numpy()
    monkeypatch.undo()
    again = compiled(array, array + 1)
    assert isinstance(again[0], np.ndarray) and again[3].shape == (3, 3)


@pytest.mark.parametrize("returned", [lambda x: x, lambda x: x.t(), lambda x: (None, x), lambda x: 3], ids="xtp3")
def test_models_that_compute_nothing(returned: Callable[[torch.Tensor], Any], cache_dir: Path):
    compiled = mlc.compile(lambda x: returned(x), cache_dir=cache_dir)
    for x in (V, V + 1, V.T.contiguous().T):
        got, want = compiled(x), returned(x)
        assert type(got) is type(want)
        torch.testing.assert_close(got, want)


def _wide(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, x], 1)[:, ::2].copy_(x)


OTHERS: dict[str, Callable[[torch.Tensor], Any]] = {
    "strided": _wide,
    "transposed": lambda x: x.t().contiguous().t(),
    "numpy": lambda x: x.numpy(),
    "read-only numpy": lambda x: np.frombuffer(x.numpy().tobytes(), np.float32).reshape(4, 6),
    "reversed numpy": lambda x: np.ascontiguousarray(x.numpy()[::-1])[::-1],
    "Fortran order": lambda x: np.asfortranarray(x.numpy()),
    "parameter": lambda x: nn.Parameter(x, requires_grad=False),
    "negated view": lambda x: torch.complex(torch.zeros(4, 6), -x).conj().imag,
    "offset": lambda x: torch.cat([torch.zeros(1), x.flatten()])[1:].view(4, 6),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_inputs_give_the_same(kind: str, cache_dir: Path):
    compiled = mlc.compile(lambda x: x.sin().sum(1, keepdim=True) + x, cache_dir=cache_dir)
    want = compiled(V)
    got = compiled(OTHERS[kind](V))
    assert isinstance(got, np.ndarray) == ("numpy" in kind or "Fortran" in kind)
    torch.testing.assert_close(torch.as_tensor(got), want)
    assert len(compiled._variants) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.uint8, torch.int32, torch.bool])
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (5, 7)])
def test_every_dtype_keeps_its_bits(dtype: torch.dtype, shape: tuple[int, ...], cache_dir: Path):
    x = torch.randint(0, 200, shape).to(dtype)
    compiled = mlc.compile(lambda x: (x.flip(0) if x.dim() else x.clone(), x == x), cache_dir=cache_dir)
    for _ in range(2):
        got, same = compiled(x)
        assert got.dtype is dtype and same.dtype is torch.bool
        assert torch.equal(got, x.flip(0) if x.dim() else x) and bool(same.all())


def test_fresh_memory_for_every_result(cache_dir: Path):
    compiled = mlc.compile(lambda x: x + 1, cache_dir=cache_dir)
    results = [compiled(torch.full((3,), float(n))) for n in range(50)]
    assert [int(r[0]) for r in results] == list(range(1, 51))
    torch.set_default_device("meta")
    try:
        assert torch.equal(compiled(torch.zeros(3, device="cpu")).cpu(), torch.ones(3, device="cpu"))
    finally:
        torch.set_default_device(None)


def test_one_compiled_model_inside_another(cache_dir: Path):
    inner = mlc.compile(nn.Linear(6, 3), cache_dir=cache_dir)
    part = inner(V)
    outer = mlc.compile(lambda x: inner(x) * 2, cache_dir=cache_dir)
    torch.testing.assert_close(outer(V), part * 2)
    assert "torch.aten.linear" in outer.ir("torch")


def test_memory_goes_with_the_last_reference(cache_dir: Path):
    model = nn.Linear(6, 3)
    compiled = mlc.compile(model, (V,), cache_dir=cache_dir)
    compiled(V)
    alive = weakref.ref(compiled._variants[0].unit.executable)
    gc.disable()
    try:
        del compiled
        assert alive() is None
    finally:
        gc.enable()
