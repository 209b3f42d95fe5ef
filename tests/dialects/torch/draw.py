"""Random tensors for the op tests: every dtype, odd shapes, edge values."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import torch

FLOATS = (torch.float32, torch.float32, torch.float32, torch.float64, torch.float16, torch.bfloat16)
INTS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
EDGES = (0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 0.5, -0.5, 1e-40, 1e30, -1e30, 88.0, -104.0, 3.0, 1e-8)
SHAPES = ((), (1,), (5,), (2, 3), (0,), (2, 0, 3), (1, 4), (3, 1, 2), (2, 3, 4))

Case = Callable[["Draw"], tuple[Any, ...]]


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


class Draw:
    """Deterministic source of arguments."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)

    def pick(self, *options: Any) -> Any:
        """One of the options."""
        return self.rng.choice(options)

    def shape(self) -> tuple[int, ...]:
        """Any shape, zero-size and 0-d among them."""
        return self.rng.choice(SHAPES)

    def normal(self, shape: tuple[int, ...] | list[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Standard normal numbers."""
        return torch.randn(tuple(shape), generator=self.generator, dtype=torch.float64).to(dtype)

    def edges(self, shape: tuple[int, ...] | list[int] | None = None, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Floats with infinities, NaN, zeros of both signs, denormals among them."""
        shape = self.shape() if shape is None else shape
        out = self.normal(shape, torch.float64) * self.pick(1, 10)
        flat = out.reshape(-1)
        for i in range(flat.numel()):
            if self.rng.random() < 0.35:
                flat[i] = self.rng.choice(EDGES)
        return out.to(dtype or self.rng.choice(FLOATS))

    def ints(
        self,
        shape: tuple[int, ...] | list[int] | None = None,
        dtype: torch.dtype | None = None,
        low: int = -20,
        high: int = 20,
    ) -> torch.Tensor:
        """Small ints of any dtype."""
        dtype = dtype or self.rng.choice(INTS)
        low = max(low, 0) if dtype == torch.uint8 else low
        return torch.randint(low, high, tuple(self.shape() if shape is None else shape), generator=self.generator).to(
            dtype
        )

    def bools(self, shape: tuple[int, ...] | list[int] | None = None) -> torch.Tensor:
        """Bools."""
        return self.ints(shape, torch.int64, 0, 2).bool()

    def any(self, shape: tuple[int, ...] | list[int] | None = None) -> torch.Tensor:
        """Floats with edges, ints or bools."""
        return self.rng.choice((self.edges, self.edges, self.ints, self.bools))(shape)

    def number(self) -> int | float:
        """A Python number."""
        return self.rng.choice((0, 1, -2, 3, 0.5, -1.5, 2.0, 1e-3))

    def two_shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes that broadcast."""
        return self.rng.choice(
            (
                ((2, 3), (2, 3)),
                ((2, 3), (3,)),
                ((2, 1), (1, 3)),
                ((), (2, 3)),
                ((4,), ()),
                ((), ()),
                ((2, 0), (1,)),
                ((3, 1, 2), (4, 1)),
            )
        )

    def two(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Tensors of any dtypes that broadcast."""
        a, b = self.two_shapes()
        return self.any(a), self.any(b)

    def two_floats(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Float tensors that broadcast."""
        a, b = self.two_shapes()
        return self.edges(a), self.edges(b)
