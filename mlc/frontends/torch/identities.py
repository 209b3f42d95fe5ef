"""Inputs that are one tensor object: which ones are, and whether that makes a difference to the program.

model(a, a)   -->   captured as model(x, x), one argument of @forward, which holds where both are one object;
                    and as model(x, y). Where both are one program with x for y, the latter serves both kinds of calls.

A model may ask `query is key`, and an in-place change of one is seen through the other: only then do the two differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mlc.frontends.torch.captured import Alias, Captured, Constant, Guard, Output, TensorGuard
from mlc.frontends.torch.captured_values import same_value
from mlc.ir.resources import ResourceStore


def identities(leaves: Sequence[Any]) -> tuple[int, ...]:
    """For each leaf of the inputs the first one that is the same tensor."""
    first: dict[int, int] = {}
    return tuple(first.setdefault(id(v), i) if isinstance(v, torch.Tensor) else i for i, v in enumerate(leaves))


def may_be_one(guards: Sequence[Guard]) -> bool:
    """Whether two inputs that fit can be one tensor."""
    return any(group[1:] for group in alike(guards))


def never_more(guards: Sequence[Guard]) -> bool:
    """Whether at most two inputs that fit can be one tensor."""
    return sorted(map(len, alike(guards)))[-2:] in ([2], [1, 2])


def alike(guards: Sequence[Guard]) -> list[list[int]]:
    """Numbers of the tensors among the inputs, by shape and dtype."""
    groups: dict[Any, list[int]] = {}
    for i, guard in enumerate(guards):
        if isinstance(guard, TensorGuard):
            groups.setdefault((guard.shape, guard.dtype), []).append(i)
    return list(groups.values())


def is_same_program(apart: Captured, together: Captured, stores: tuple[ResourceStore, ResourceStore]) -> bool:
    """Whether a capture with each input on its own is the one where some are one tensor; `stores`: weights of both."""
    (first,) = together.identities or ((),)
    if not first or any(isinstance(m.target, int) for m in (*apart.mutations, *together.mutations)):
        return False
    kept = [i for i in apart.inputs if not isinstance(i, int) or first[i] == i]
    return (
        len(kept) == len(together.inputs)
        and all(a is b or (isinstance(a, int) and a == b) for a, b in zip(kept, together.inputs, strict=True))
        and apart.out_spec == together.out_spec
        and all(_same_output(a, b, first) for a, b in zip(apart.outputs, together.outputs, strict=True))
        and len(apart.mutations) == len(together.mutations)
        and all(
            a.target is b.target and a.index == b.index
            for a, b in zip(apart.mutations, together.mutations, strict=True)
        )
        and apart.layouts == together.layouts
        and apart.asks_gradients == together.asks_gradients
        and [id(w.tensor) for w in apart.state.weights] == [id(w.tensor) for w in together.state.weights]
        and _merged(apart, first) == together.graph.content()
        and _same_tensors(*stores)
    )


def _same_output(apart: Output, together: Output, first: Sequence[int]) -> bool:
    match apart, together:
        case Alias(base=int() as a, views=()), Alias(base=int() as b, views=()):
            return first[a] == b
        case Constant(), Constant():
            return same_value(apart.value, together.value)
        case _:
            return apart == together


def _merged(captured: Captured, first: Sequence[int]) -> bytes:
    """What the graph is with arguments that are one tensor as one argument."""
    leaves = (i for i in captured.inputs if isinstance(i, int))
    arguments = dict(zip(leaves, captured.graph.arguments, strict=False))
    return captured.graph.content({a: arguments[first[leaf]] for leaf, a in arguments.items() if first[leaf] != leaf})


def _same_tensors(ours: ResourceStore, theirs: ResourceStore) -> bool:
    """Whether the tensors that both modules name hold the same bytes."""
    names = set(ours) & set(theirs)
    return all(_same_array(ours.get(name), theirs.get(name)) for name in names)


def _same_array(a: np.ndarray, b: np.ndarray) -> bool:
    alike = a.shape == b.shape and a.dtype == b.dtype
    return alike and (a.ctypes.data == b.ctypes.data or a.tobytes() == b.tobytes())
