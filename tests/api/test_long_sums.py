"""Sums over thousands of terms: the errors of eager, about, and the same bits on any number of threads."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import mlc
from mlc.backends.llvm import CPU_BACKEND

LIMIT = 2.5
"""Times eager's largest and root mean square error against float64. Single chains: 5 to 40."""


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        return self.function(*args)


def function(of: Callable[..., torch.Tensor]) -> Callable[[], nn.Module]:
    return lambda: Function(of)


KINDS: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]]]] = {
    "convolution": (lambda: nn.Conv2d(512, 33, 3), [(1, 512, 9, 9)]),
    "odd channels": (lambda: nn.Conv2d(509, 32, 3), [(1, 509, 8, 8)]),
    "dilated": (lambda: nn.Conv2d(512, 32, 3, dilation=2), [(1, 512, 9, 9)]),
    "5x5": (lambda: nn.Conv2d(192, 32, 5), [(1, 192, 9, 9)]),
    "1x1": (lambda: nn.Conv2d(4096, 32, 1), [(1, 4096, 7, 7)]),
    "groups": (lambda: nn.Conv2d(1024, 32, 3, groups=2), [(1, 1024, 8, 8)]),
    "transposed": (lambda: nn.ConvTranspose2d(512, 32, 3), [(1, 512, 5, 5)]),
    "1-d": (lambda: nn.Conv1d(512, 32, 9), [(1, 512, 40)]),
    "long kernel": (lambda: nn.Conv1d(1, 16, 4001), [(1, 1, 4100)]),
    "3-d": (lambda: nn.Conv3d(256, 16, 3), [(1, 256, 5, 5, 5)]),
    "linear": (lambda: nn.Linear(4096, 64), [(40, 4096)]),
    "a prime number": (lambda: nn.Linear(4093, 64), [(40, 4093)]),
    "product": (function(torch.mm), [(40, 8192), (8192, 64)]),
    "left turned": (function(lambda a, b: a.t() @ b), [(4096, 40), (4096, 64)]),
    "right turned": (function(lambda a, b: a @ b.t()), [(40, 4096), (64, 4096)]),
    "batches": (function(torch.bmm), [(3, 33, 8192), (3, 8192, 64)]),
    "two sums": (function(lambda a, b: torch.einsum("abk,cbk->ac", a, b)), [(32, 64, 100), (48, 64, 100)]),
    "rows": (function(lambda x: x.sum(0)), [(20000, 64)]),
    "a middle dimension": (function(lambda x: x.sum(1)), [(4, 20000, 32)]),
    "the first and last": (function(lambda x: x.mean((0, 2))), [(64, 16, 4096)]),
    "640 rows": (function(lambda x: x.sum(1)), [(8, 640, 64)]),
    "long rows": (function(lambda x: x.sum(1)), [(64, 1 << 17)]),
    "average": (lambda: nn.AdaptiveAvgPool2d(1), [(2, 64, 224, 224)]),
}

DEEP = ("convolution", "odd channels", "dilated", "5x5", "groups", "transposed", "1-d", "3-d")
"""Nests of three loops and more: whole where multiply-adds of 256 bits take scalars from registers."""


@pytest.mark.parametrize("positive", [False, True], ids=["normal", "positive"])
@pytest.mark.parametrize("kind", KINDS)
def test_errors(kind: str, positive: bool) -> None:
    machine = CPU_BACKEND.machine("native")
    if kind in DEEP and not machine.broadcast_load and machine.vector_bits < 512:
        pytest.skip("one chain on this machine")
    make, shapes = KINDS[kind]
    draw: Any = torch.rand if positive else torch.randn
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model, args = make().eval(), [draw(shape) for shape in shapes]
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(draw(p.shape))
    compiled = mlc.compile(model, num_threads=1, winograd=kind == "a prime number")
    with torch.no_grad():
        got, eager = compiled(*args), model(*args)
        exact = copy.deepcopy(model).double()(*[a.double() for a in args])
    mine, theirs = (got.double() - exact).abs(), (eager.double() - exact).abs()
    assert mine.max() <= LIMIT * theirs.max()
    assert mine.square().mean().sqrt() <= LIMIT * theirs.square().mean().sqrt()


@pytest.mark.parametrize("kind", ["convolution", "linear", "right turned", "rows", "long rows"])
def test_the_same_bits_on_two_threads(kind: str) -> None:
    make, shapes = KINDS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model, args = make().eval(), [torch.randn(shape) for shape in shapes]
    with torch.no_grad():
        one, two = (mlc.compile(model, num_threads=n, winograd=False)(*args) for n in (1, 2))
    assert torch.equal(one, two)


@pytest.mark.parametrize("rows", [3, 700, 5000])
def test_open_sizes(rows: int) -> None:
    """How many terms there are is known at the call."""
    some = torch.export.Dim("some", min=2)
    model = Function(lambda a, b: torch.cat([a.t() @ b, a.sum(0)[:, None]], 1))
    shape = ({0: some}, {0: some})
    compiled = mlc.compile(model, (torch.ones(9, 32), torch.ones(9, 48)), dynamic_shapes=(shape,), num_threads=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rows)
        args = torch.randn(rows, 32), torch.randn(rows, 48)
    exact = model(*(a.double() for a in args))
    for part in (slice(48), slice(48, 49)):
        mine, theirs = (y[:, part].double() - exact[:, part] for y in (compiled(*args), model(*args)))
        assert mine.norm() <= LIMIT * theirs.norm()
