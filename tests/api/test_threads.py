"""Compiled models on several threads: the same bits for any number, from many Python threads, in a forked child."""

from __future__ import annotations

import os
import threading

import pytest
import torch

import mlc
from mlc.errors import UsageError


def perceptron() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(300, 210), torch.nn.Tanh(), torch.nn.Linear(210, 77))


class Block(torch.nn.Module):
    """Convolution, normalisation over rows, attention, a recurrence: every schedule that the vectoriser has."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 40, 3, padding=1)
        self.down = torch.nn.Conv2d(40, 24, 1, stride=2)
        self.norm = torch.nn.LayerNorm(24)
        self.attention = torch.nn.Linear(24, 72)
        self.cell = torch.nn.GRU(24, 33, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.down(torch.relu(self.conv(x))).flatten(2).transpose(1, 2)
        q, k, v = self.attention(self.norm(y)).chunk(3, -1)
        z = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        return self.cell(torch.nn.functional.gelu(z))[0]


MODELS = {
    "block": (Block, (2, 3, 18, 22)),
    "mlp": (
        lambda: torch.nn.Sequential(torch.nn.Linear(300, 210), torch.nn.Tanh(), torch.nn.Linear(210, 77)),
        (65, 300),
    ),
    "row": (lambda: torch.nn.Sequential(torch.nn.Linear(900, 500), torch.nn.Softmax(-1)), (1, 900)),
    "depthwise": (lambda: torch.nn.Conv2d(48, 48, 5, padding=2, groups=48), (1, 48, 33, 31)),
    "winograd": (lambda: torch.nn.Conv2d(64, 64, 3, padding=1), (1, 64, 28, 28)),
}


def made(name: str, **options: int) -> tuple[mlc.CompiledModel, torch.nn.Module, torch.Tensor]:
    make, shape = MODELS[name]
    torch.manual_seed(0)
    model, x = make().eval(), torch.randn(shape)
    with torch.no_grad():
        return mlc.compile(model, (x,), **options), model, x


@pytest.mark.parametrize("name", MODELS)
def test_the_same_bits_for_any_number_of_threads(name: str):
    compiled, model, x = made(name)
    with torch.no_grad():
        want = model(x)
    with mlc.num_threads(1):
        alone = compiled(x)
    torch.testing.assert_close(alone, want, rtol=1e-4, atol=1e-4)
    for threads in (2, 3, 4):
        for _ in range(5):
            with mlc.num_threads(threads):
                assert torch.equal(compiled(x), alone)


def test_what_runs_on_threads_and_what_does_not_is_explained():
    compiled, _, _ = made("mlp")
    assert "scf-parallel-outline: applied: runs on several threads" in compiled.explain()
    small = mlc.compile(torch.nn.Linear(64, 64), (torch.randn(1, 64),))
    assert "cycles are not worth waking a thread" in small.explain()


def test_num_threads_of_a_model():
    compiled, _, x = made("mlp", num_threads=3)
    other, _, _ = made("mlp", num_threads=1)
    assert torch.equal(compiled(x), other(x))
    for wrong in (0, -2, 1.5, "4", True):
        with pytest.raises(UsageError, match="num_threads is"):
            mlc.compile(torch.nn.Linear(2, 2), num_threads=wrong)  # pyright: ignore[reportArgumentType]


def test_many_python_threads():
    compiled, _, x = made("block")
    with mlc.num_threads(1):
        alone = compiled(x)
    failures: list[object] = []

    def caller(k: int) -> None:
        with mlc.num_threads(1 + k % 3):
            failures.extend(i for i in range(20) if not torch.equal(compiled(x), alone))

    callers = [threading.Thread(target=caller, args=(k,)) for k in range(5)]
    for t in callers:
        t.start()
    for t in callers:
        t.join()
    assert failures == []


def test_a_forked_child_runs_the_model():
    compiled, _, x = made("mlp")
    with mlc.num_threads(3):
        want = compiled(x)
        child = os.fork()
        if child == 0:
            os._exit(0 if all(torch.equal(compiled(x), want) for _ in range(10)) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert torch.equal(compiled(x), want)
