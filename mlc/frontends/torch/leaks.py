"""Tensors that a run of the model leaves behind somewhere: a compiled call would not, and these are none to be used.

acts = []; lin.register_forward_hook(lambda m, args, out: acts.append(out))
-->  keeps a tensor in 'acts', by the forward hook '<lambda>' of 'lin'

They are taken back out. What no input decides may stay, as the plain tensor that eager would have left: the
table of positions that a function keeps in a dict. What a module keeps in its attributes is `state.py`'s.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from operator import is_
from typing import Any

import torch
from torch.nn.modules import module as nn_module
from torch.utils import _pytree as pytree

from mlc.frontends.torch.captured_values import is_constant
from mlc.frontends.torch.functional import is_wrapped, unwrap
from mlc.frontends.torch.graph import Location
from mlc.frontends.torch.owned import HOOKS, Owned
from mlc.frontends.torch.places import Places
from mlc.frontends.torch.problems import KEEPS_STATE, Problems
from mlc.frontends.torch.recorder import Recorder
from mlc.frontends.torch.state import refill, unwrap_all

_HOOK = "return the tensor from forward, or remove the hook before compiling (handle.remove())"
_KINDS: dict[str, str] = dict(zip(HOOKS, ("forward hook", "forward pre-hook"), strict=True))


class Leaks:
    """Notes the tensors of a run by weak references and looks for them after it."""

    def __init__(self, mine: Owned, places: Places) -> None:
        self._places = places
        self._made: list[tuple[weakref.ref[torch.Tensor], Location]] = []
        self._hooked: list[tuple[weakref.ref[torch.Tensor], str, Location]] = []
        self._paths = {id(module): path for path, module in mine.modules}
        self._before: list[tuple[str, Any, Any]] = [(name, c, c.copy()) for name, c in mine.containers]
        self._before += [(type(o).__name__, vars(o), dict(vars(o))) for o in mine.objects]
        self._caches = [(cache, cache.cache_info().misses) for cache in mine.caches]

    def note(self, result: Any, place: Location | None = None) -> None:
        """The result of a call in the run, at `place` if that is known already."""
        for tensor in result if isinstance(result, list | tuple) else (result,):
            if is_wrapped(tensor):
                place = place or self._places.here()
                self._made.append((weakref.ref(tensor), place))

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Note which tensors hooks are given inside the block."""
        before = nn_module.register_module_forward_pre_hook(self._before_forward)
        after = nn_module.register_module_forward_hook(self._after_forward)
        try:
            yield
        finally:
            before.remove()
            after.remove()

    @contextlib.contextmanager
    def taken_back(self) -> Iterator[None]:
        """A run that fails in the block leaves nothing in the places that are known."""
        try:
            yield
        finally:
            for _, container, before in self._before:
                if any(map(is_wrapped, _values(container))):
                    refill(container, before)

    def _before_forward(self, module: torch.nn.Module, args: Any) -> None:
        self._given(module, HOOKS[1], args)

    def _after_forward(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        self._given(module, HOOKS[0], (args, output))

    def _given(self, module: torch.nn.Module, kind: str, values: Any) -> None:
        path = self._paths.get(id(module), "")
        for hook in getattr(module, kind).values():
            name = getattr(hook, "__qualname__", type(hook).__qualname__).rpartition("<locals>.")[2]
            code = getattr(hook, "__code__", None)
            place = self._places.at(code.co_filename, code.co_firstlineno, path) if code else self._places.here()
            what = f"by the {_KINDS[kind]} '{name}' of '{path or type(module).__name__}'"
            for tensor in filter(is_wrapped, pytree.tree_leaves(values)):
                self._hooked.append((weakref.ref(tensor), what, place))

    def check(
        self, own: Iterable[torch.Tensor], outputs: list[Any], recorder: Recorder, problems: Problems
    ) -> list[str]:
        """Report what was left where it does not belong, and take it out; the result names what else changed.

        `own`: inputs and buffers; `outputs`: a list that may hold what the model returned.
        """
        changed: list[str] = []
        for cached, misses in self._caches:
            if cached.cache_info().misses != misses:
                cached.cache_clear()
        expected = {*map(id, own)}
        for name, container, before in self._before:
            found = [v for v in _values(container) if is_wrapped(v)]
            expected.update(map(id, found))
            if any([self._report(t, f"in '{name}'", recorder, problems) for t in found]):
                refill(container, before)
            elif found:
                unwrap_all(container)
            elif not _is_same(container, before):
                changed.append(name)
        if all(isinstance(v, torch.Tensor) or is_constant(v) for v in outputs):  # none in places of their own
            self._check_others(expected, outputs, recorder, problems)
        return changed

    def _check_others(self, expected: set[int], own: list[Any], recorder: Recorder, problems: Problems) -> None:
        """Lists and dicts that `owned` does not know of."""
        if self._held(expected, own):
            gc.collect(0)  # a cycle made meanwhile is young
        held = self._held(expected, own)
        if not held or all(holder is held for holder in gc.get_referrers(*held)):  # PyTorch's own: a view of a view
            return
        del held
        gc.collect()  # walks all of PyTorch
        for tensor in self._held(expected, own):
            for holder in [h for h in gc.get_referrers(tensor) if isinstance(h, dict | list) and h is not own]:
                if not any(map(is_wrapped, _values(holder))):
                    continue
                if self._report(tensor, "in a list or dict", recorder, problems):
                    _remove(holder, tensor)
                else:
                    unwrap_all(holder)

    def _held(self, expected: set[int], own: list[Any]) -> tuple[torch.Tensor, ...]:
        """Tensors that somebody else still holds."""
        times = Counter(map(id, own))
        bases = {id(t._base) for t in own if isinstance(t, torch.Tensor) and t._base is not None}
        times.update(dict.fromkeys(bases, _held_by_view()))
        alive = {id(t): t for t in (ref() for ref, _ in self._made) if t is not None and id(t) not in expected}
        held: list[torch.Tensor] = []
        while alive:
            key, tensor = alive.popitem()
            if sys.getrefcount(tensor) > 2 + times[key]:  # the variable and the argument
                held.append(tensor)
        return (*held,)

    def _report(self, tensor: torch.Tensor, where: str, recorder: Recorder, problems: Problems) -> bool:
        """Report a tensor that was left; False where it is the same at every call."""
        if not recorder.depends_on_inputs(unwrap(tensor)):
            return False
        for ref, what, location in self._hooked:
            if ref() is tensor:
                problems.add(f"keeps a tensor {where}, {what}", location, _HOOK)
                return True
        location = next((at for ref, at in self._made if ref() is tensor), self._places.here())
        problems.add(f"keeps a tensor {where} during forward", location, KEEPS_STATE)
        return True


@cache
def _held_by_view() -> int:
    """How many references to a tensor its views count as, together: 1 in PyTorch 2.13, tried as others differ."""
    tensor = torch.empty(1)
    alone = sys.getrefcount(tensor)
    view = tensor[0]
    return sys.getrefcount(tensor) - alone if view._base is tensor else 0


def _values(container: Any) -> list[Any]:
    return list(container.values()) if isinstance(container, dict) else list(container)


def _is_same(container: Any, before: Any) -> bool:
    now, then = (([*c, *c.values()] if isinstance(c, dict) else [*c]) for c in (container, before))
    return len(now) == len(then) and all(map(is_, now, then))


def _remove(container: Any, tensor: torch.Tensor) -> None:
    if isinstance(container, dict):
        for key in [k for k, v in container.items() if v is tensor]:
            del container[key]
    else:
        container[:] = [v for v in container if v is not tensor]
