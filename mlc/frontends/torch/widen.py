"""From many captures that differ in sizes alone to one with those sizes open.

captured for f32[1, 3], f32[2, 3], … and now called with f32[9, 3]   -->   exported with dynamic_shapes ({0: AUTO},)
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import Dim
from torch.utils import _pytree as pytree

from mlc.frontends.torch.captured import Captured, TensorGuard, ValueGuard


@dataclass(frozen=True)
class Example:
    """Arguments for torch.export and the dimensions to leave open; the tensors' values do not matter."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    dynamic_shapes: Any


def open_sizes(
    known: Sequence[Captured], args: tuple[Any, ...], kwargs: dict[str, Any], signature: inspect.Signature | None
) -> Example | None:
    """An example that opens every size in which these arguments and earlier captures differ; None without any.

    A call with a size of 0 or 1 is not served: torch.export's open sizes begin at 2. torch.export wants the marks by
    the names of `signature`, those of `*args` in a tuple of their own; names in `**kwargs` it refuses.
    """
    leaves, spec = pytree.tree_flatten((args, kwargs))
    alike = [c for c in known if c.in_spec == spec and all(map(_same_but_size, c.guards, leaves))]
    calls: list[list[Any]] = [[tuple(leaf.shape) if isinstance(leaf, torch.Tensor) else () for leaf in leaves]]
    calls += [[g.shape if isinstance(g, TensorGuard) else () for g in c.guards] for c in alike]
    differ = [[len(set(sizes)) > 1 for sizes in zip(*shapes, strict=True)] for shapes in zip(*calls, strict=True)]
    if not _fit_for_export(calls[0], differ) or not any(map(any, differ)) or signature is None:
        return None
    examples = [
        leaf.new_zeros(sizes) if isinstance(leaf, torch.Tensor) else leaf
        for leaf, sizes in zip(leaves, calls[0], strict=True)
    ]
    marks = [
        {d: Dim.AUTO for d, o in enumerate(opened) if o} if isinstance(leaf, torch.Tensor) else None
        for leaf, opened in zip(leaves, differ, strict=True)
    ]
    example_args, example_kwargs = pytree.tree_unflatten(examples, spec)
    positional, named = pytree.tree_unflatten(marks, spec)
    try:
        shapes = signature.bind(*positional, **named).arguments
    except TypeError:  # a hook or a `__call__` of the model's own makes other arguments of these
        return None
    return Example(tuple(example_args), example_kwargs, shapes)


def _same_but_size(guard: Any, leaf: Any) -> bool:
    if isinstance(guard, ValueGuard):
        return type(guard.value) is type(leaf) and guard.value == leaf
    same = isinstance(leaf, torch.Tensor) and leaf.dtype is guard.dtype and leaf.dim() == len(guard.shape)
    return same and None not in guard.shape


def _fit_for_export(shapes: Sequence[Sequence[int]], differ: Sequence[Sequence[bool]]) -> bool:
    return all(
        size > 1
        for sizes, opened in zip(shapes, differ, strict=True)
        for size, is_open in zip(sizes, opened, strict=True)
        if is_open
    )
