"""Random chains of views, elementwise ops, reductions and products: views put off and merged give eager's numbers.

Small integers in floats keep every sum exact, so results must be equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlc.frontends.torch import capture
from mlc.interp import run_module
from mlc.ir.context import make_context
from mlc.ir.pipeline import make_pass, run_pipeline
from mlc.ir.verifier import verify_module

Step = Callable[[torch.Tensor, "Tape", list[torch.Tensor]], torch.Tensor]
SIZES = (1, 2, 3, 2, 1, 4)


class Tape:
    """Choices read from bytes; past their end all choices are the first."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def pick(self, n: int) -> int:
        self.at += 1
        return self.data[self.at - 1] % n if n > 0 and self.at <= len(self.data) else 0

    @property
    def done(self) -> bool:
        return self.at >= len(self.data)


def view(x: torch.Tensor, tape: Tape, _: list[torch.Tensor]) -> torch.Tensor:
    """Split the size into random factors."""
    rest, sizes = x.numel(), []
    while rest > 1 and len(sizes) < 4:
        factors = [f for f in range(1, rest + 1) if rest % f == 0]
        sizes.append(factors[tape.pick(len(factors))])
        rest //= sizes[-1]
    return x.reshape([*sizes, rest])


def permute(x: torch.Tensor, tape: Tape, _: list[torch.Tensor]) -> torch.Tensor:
    dims = list(range(x.dim()))
    return x.permute([dims.pop(tape.pick(len(dims))) for _ in range(x.dim())])


def unsqueeze(x: torch.Tensor, tape: Tape, _: list[torch.Tensor]) -> torch.Tensor:
    return x.unsqueeze(tape.pick(x.dim() + 1)) if x.dim() < 5 else x


def squeeze(x: torch.Tensor, tape: Tape, _: list[torch.Tensor]) -> torch.Tensor:
    return x.squeeze(tape.pick(x.dim())) if x.dim() else x


def flatten(x: torch.Tensor, tape: Tape, _: list[torch.Tensor]) -> torch.Tensor:
    if x.dim() < 2:
        return x
    start = tape.pick(x.dim() - 1)
    return x.flatten(start, start + 1)


def expand(x: torch.Tensor, tape: Tape, _: list[torch.Tensor]) -> torch.Tensor:
    sizes = [3 if n == 1 and tape.pick(2) and x.numel() < 100 else n for n in x.shape]
    return x.expand(sizes)


def cut(x: torch.Tensor, tape: Tape, _: list[torch.Tensor]) -> torch.Tensor:
    if not x.dim():
        return x
    d = tape.pick(x.dim())
    start = tape.pick(x.shape[d])
    return x.narrow(d, start, 1 + tape.pick(x.shape[d] - start)) if x.shape[d] else x


def select(x: torch.Tensor, tape: Tape, _: list[torch.Tensor]) -> torch.Tensor:
    return x.select(d := tape.pick(x.dim()), tape.pick(x.shape[d])) if x.dim() else x


def scale(x: torch.Tensor, tape: Tape, _: list[torch.Tensor]) -> torch.Tensor:
    return x * (1 + tape.pick(2))


def add(x: torch.Tensor, tape: Tape, others: list[torch.Tensor]) -> torch.Tensor:
    """Add another tensor of the program, if the two broadcast."""
    other = others[tape.pick(len(others))]
    try:
        shape = torch.broadcast_shapes(x.shape, other.shape)
    except RuntimeError:
        return x + 1
    return x + other if torch.Size(shape).numel() < 400 else x + 1


def total(x: torch.Tensor, tape: Tape, _: list[torch.Tensor]) -> torch.Tensor:
    return x.sum(tape.pick(x.dim()), keepdim=bool(tape.pick(2))) if x.dim() else x


def center(x: torch.Tensor, tape: Tape, _: list[torch.Tensor]) -> torch.Tensor:
    return x - x.amax(tape.pick(x.dim()), keepdim=True) if x.dim() else x


def multiply(x: torch.Tensor, tape: Tape, _: list[torch.Tensor]) -> torch.Tensor:
    """A linear layer with weights 0, 1, 2."""
    if not x.dim():
        return x
    weight = (torch.arange(2 * x.shape[-1]) % 3).float().reshape(2, -1)
    return torch.nn.functional.linear(x % 4, weight)


def gram(x: torch.Tensor, tape: Tape, _: list[torch.Tensor]) -> torch.Tensor:
    return (x % 4) @ (x % 4).transpose(-1, -2) if x.dim() >= 2 else x


def join(x: torch.Tensor, tape: Tape, _: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([x, x + 1], tape.pick(x.dim())) if x.dim() and x.numel() < 100 else x


STEPS: tuple[Step, ...] = (
    view, permute, unsqueeze, squeeze, flatten, expand, cut, select, scale, add, total, center, multiply, gram, join,
)  # fmt: skip
GROWING = (scale, add, total, center, multiply, gram)


def program(data: bytes) -> Callable[..., list[torch.Tensor]]:
    def run(*inputs: torch.Tensor) -> list[torch.Tensor]:
        tape = Tape(data)
        made = list(inputs)
        while not tape.done and len(made) < 14:
            source = made[-1 - tape.pick(min(2, len(made)))]
            step = STEPS[tape.pick(len(STEPS))]
            result = step(source, tape, made)
            made.append(result % 64 if step in GROWING else result)
        return made[-3:]

    return run


def check(data: bytes) -> None:
    inputs = [(torch.arange(24) % 5).float().reshape(2, 3, 4), (torch.arange(6) % 4).float().reshape(1, 6)]
    fn = program(data)
    with torch.inference_mode():
        expected = fn(*inputs)
    ctx = make_context()
    captured = capture(fn, inputs, {}, ctx.resources)
    passes = [make_pass(n) for n in ("torch-canonicalize", "torch-fold-batch-norm", "convert-torch-to-linalg")]
    run_pipeline(passes, ctx, captured.module)
    verify_module(captured.module, ctx)
    outputs = run_module(captured.module, "forward", [t.numpy() for t in inputs], resources=ctx.resources)
    for output, want in zip(captured.outputs, expected, strict=True):
        index: Any = getattr(output, "index", None)
        if index is not None:
            np.testing.assert_array_equal(outputs[index], want.numpy())


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.binary(min_size=4, max_size=60))
def test_random_programs(data: bytes) -> None:
    check(data)


@pytest.mark.parametrize("seed", [*range(40), 174])
def test_long_programs(seed: int) -> None:
    check(np.random.default_rng(seed).bytes(60))
