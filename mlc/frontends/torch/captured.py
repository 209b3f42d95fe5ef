"""What a capture hands to the rest: the graph, and how a real call is bound to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from mlc.frontends.torch.context import Context
from mlc.frontends.torch.entries import View
from mlc.frontends.torch.graph import Graph
from mlc.frontends.torch.state_guard import StateGuard

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp


@dataclass(frozen=True)
class TensorGuard:
    """An input tensor: `shape` has None for a dynamic size, whose symbol and range are in `Captured.symbols`."""

    name: str
    shape: tuple[int | None, ...]
    dtype: torch.dtype
    symbols: tuple[str | None, ...] = ()

    def describe(self) -> str:
        """`float32[?, 3]`."""
        names = self.symbols or (None,) * len(self.shape)
        sizes = [(s or "?") if d is None else str(d) for d, s in zip(self.shape, names, strict=True)]
        return f"{str(self.dtype).removeprefix('torch.')}[{', '.join(sizes)}]"


@dataclass(frozen=True)
class ValueGuard:
    """An argument that is no tensor: its value is part of the program."""

    name: str
    value: Any


Guard = TensorGuard | ValueGuard


@dataclass(frozen=True)
class Place:
    """A dimension of an input leaf whose size is `scale * symbol + offset`."""

    leaf: int
    dim: int
    scale: int = 1
    offset: int = 0


@dataclass(frozen=True)
class Symbol:
    """A dynamic size: where it is read from, and the sizes it may have. `expr` is its sympy symbol."""

    name: str
    expr: Any
    places: tuple[Place, ...]
    low: int
    high: int | None


@dataclass(frozen=True)
class FromResult:
    """An output leaf that @forward computes."""

    index: int
    dtype: torch.dtype


@dataclass(frozen=True)
class Constant:
    """An output leaf that is always the same object: None, a number, a parameter itself."""

    value: Any


@dataclass(frozen=True)
class Alias:
    """An output leaf that shares memory with an input leaf, a weight or an earlier output, by a chain of views."""

    base: int | torch.Tensor | FromResult
    views: tuple[View, ...] = ()

    def build(self, base: torch.Tensor) -> torch.Tensor:
        """The same chain of views on the real base."""
        for view in self.views:
            base = view.replay(base)
        return base


@dataclass(frozen=True)
class FromSizes:
    """An output leaf that is a number computed from dynamic sizes (a sympy expression of the symbols)."""

    expr: Any


Output = FromResult | Constant | Alias | FromSizes


@dataclass(frozen=True)
class Mutation:
    """A result of @forward to be written back: into an input leaf (its number) or into a buffer."""

    target: int | torch.Tensor
    index: int


def layouts(leaves: Sequence[Any]) -> tuple[tuple[int, ...], ...]:
    """Strides of the tensors and arrays among the leaves of the inputs."""
    found: list[tuple[int, ...]] = []
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            found.append(tuple(leaf.stride()))
        elif isinstance(leaf, np.ndarray):
            found.append(tuple(s // leaf.itemsize for s in leaf.strides))
    return tuple(found)


@dataclass
class Captured:
    """A captured model.

    `guards`: one a leaf of the inputs, in order. `inputs`: what feeds each argument of @forward, a leaf's number or a
    buffer. `outputs`: one a leaf of the outputs. `state`: what must not have changed for the weights to be right.
    `keywords_in_order`: whether the order of keyword arguments can make a difference (`**kwargs`).
    `layouts`: strides of the input tensors, where the program asked for strides. `asks_gradients`: whether it asked if
    a tensor requires a gradient. `identities`: which inputs are one tensor in the calls it serves, where that may make
    a difference (`identities.py`). `conditions`: what must hold of open sizes besides their ranges, because the model
    decided by it (`size_expressions.py`). `context`: settings of PyTorch; None for a program that was exported
    elsewhere.
    """

    graph: Graph
    in_spec: pytree.TreeSpec
    out_spec: pytree.TreeSpec
    guards: tuple[Guard, ...]
    inputs: tuple[int | torch.Tensor, ...]
    outputs: tuple[Output, ...]
    mutations: tuple[Mutation, ...]
    state: StateGuard
    symbols: tuple[Symbol, ...] = ()
    context: Context | None = None
    keywords_in_order: bool = False
    layouts: tuple[tuple[int, ...], ...] | None = None
    asks_gradients: bool = False
    identities: tuple[tuple[int, ...], ...] | None = None
    conditions: tuple[Any, ...] = ()

    @cached_property
    def module(self) -> ModuleOp:
        """The graph as IR."""
        return self.graph.module()

    @property
    def is_dynamic(self) -> bool:
        """Whether some size is open."""
        return bool(self.symbols)
