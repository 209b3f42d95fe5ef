"""Views that PyTorch's functionalization does not see: ops that return their input, or a view of it, unannounced.

t = torch.atleast_2d(y)                 -->   y itself, where nothing changes
t = torch.einsum("ij->ji", y); t += 1   -->   UnsupportedError: changes a tensor that shares memory with another

Such an op comes whole, and its result is taken for a tensor of its own: a later change in place of one of the two would
not be seen in the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils import _pytree as pytree

from mlc.frontends.torch.functional import is_wrapped, unwrap
from mlc.frontends.torch.graph import Location
from mlc.frontends.torch.places import Places
from mlc.frontends.torch.problems import Problems

_WAY = "copy it first: {}(...).clone()"


class LostViews:
    """The pairs met so far, with what they held then."""

    def __init__(self, places: Places, problems: Problems) -> None:
        self.places = places
        self.problems = problems
        self._pairs: list[tuple[str, Location, list[tuple[torch.Tensor, torch.Tensor]], bool]] = []

    def found(self, name: str, result: Any, args: Any) -> Any:
        """The result of a call, its lost views replaced by the argument itself or noted."""
        if isinstance(result, torch.Tensor):
            return self._one(name, result, [*_tensors(args)]) if is_wrapped(result) else result
        if type(result) in (list, tuple) and any(map(is_wrapped, result)):
            given = [*_tensors(args)]
            return type(result)(self._one(name, r, given) if is_wrapped(r) else r for r in result)
        return result

    def check(self) -> None:
        """Note the pairs of which one was changed since."""
        for name, place, pair, replaced in self._pairs:
            changed = [unwrap(wrapper) is not inner for wrapper, inner in pair]
            if changed == [False, True] or (any(changed) and not replaced):
                what = f"changes a tensor in place that shares memory with another: the input and the result of {name}"
                self.problems.add(what, place, _WAY.format(name))

    def _one(self, name: str, result: torch.Tensor, args: list[torch.Tensor]) -> torch.Tensor:
        own = _memory(result)
        others = [t for t in args if t is not result and is_wrapped(t) and _memory(t) != own]
        if not others:
            return result
        inner = unwrap(result)
        memory = _memory(inner)
        for given in others:
            before = unwrap(given)
            if _memory(before) != memory:
                continue
            if _layout(before) == _layout(inner):
                return given
            self.note(name, given, result)
        return result

    def note(self, name: str, given: torch.Tensor, result: torch.Tensor, *, replaced: bool = False) -> None:
        """`result` shares memory with `given` in eager. `replaced`: changes may be put back into it (`x[i] += 1`)."""
        pair = [(wrapper, unwrap(wrapper)) for wrapper in (given, result)]
        self._pairs.append((name, self.places.here(), pair, replaced))


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    """All tensors among the arguments of a call."""
    for value in values:
        kind = type(value)
        if kind in _CONTAINERS:
            yield from _tensors(value.values() if kind is dict else value)
        elif isinstance(value, torch.Tensor):
            yield value
        elif kind not in _PLAIN:  # a container of some other kind
            yield from (t for t in pytree.tree_leaves(value) if isinstance(t, torch.Tensor))


_CONTAINERS = frozenset({tuple, list, dict})
_PLAIN = frozenset({int, float, bool, str, type(None), torch.dtype, slice, type(Ellipsis), torch.Size})


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _layout(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype
