"""Calls that were recorded before: what a call alike is recorded as, without finding it all out again.

    h = torch.tanh(linear(x, w))      first step: dispatched, checked, normalised, recorded; a plan is kept
    h = torch.tanh(linear(h, w))      second step: memory for the result, an op of the same types on other operands

A plan holds for calls of one op whose arguments look alike (sizes, strides, dtypes of tensors; all else by value) under
the same settings of PyTorch. Only of calls that tell nothing new: their results are left out (`deferred.py`) or views,
and what they record are operands that are tensors, or constants that the block has already. A recording is the same
with plans as without. Tests: tests/frontends/test_plans.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mlc.frontends.torch.decompose import decomposition
from mlc.frontends.torch.deferred import Results, few_settings, is_plain, may_be_view, settings, tensors
from mlc.frontends.torch.emit import op_name
from mlc.frontends.torch.entries import Origin, View
from mlc.frontends.torch.graph import Location, Type, Value
from mlc.frontends.torch.normalise import LOOK_FURTHER

if TYPE_CHECKING:
    from mlc.frontends.torch.recorder import Recorder

MOST_PLANS = 200
"""Of one op: one whose numbers are others in every call needs no plans."""

_NEVER = ("lift", "empty", "new_empty", "_assert_async", "result_type", "sym_", "repeat_interleave", "one_hot", "cond")
_ROW = torch.ops.aten.select.int
"""Its last argument decides nothing but which elements there are."""
_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Step:
    """An op to record. `operands`: values, or numbers of those of the call: first of its tensors, then of its last
    argument where that is a number like no other, then of the results of the steps before."""

    name: str
    types: Sequence[Type]
    operands: Sequence[Value | int]


@dataclass(frozen=True, slots=True)
class Plan:
    """`results`: what the call gives, where that is left out; None: views. `viewed`: position of the tensor that the
    results are views of. `given`: positions of the tensors; None: some are in lists. `values`: of the results, numbered
    as the operands of `steps`; `looks`: as in entries."""

    results: Results | None
    several: bool
    viewed: int | None
    given: Sequence[int] | None
    steps: Sequence[_Step]
    values: Sequence[int]
    looks: Sequence[tuple[Any, ...] | None]


class Plans:
    """The plans of one recording."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.known: dict[Key, Plan] = {}
        self._follows: dict[int, bool] = {}
        self._counts: Counter[int] = Counter()

    def key(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Key | None:
        """What decides how this call is recorded; None where it has to be looked at anew."""
        follows = self._follows.get(id(func))
        if follows is None:
            follows = self._follows[id(func)] = _tells_nothing_new(func)
        if not follows or kwargs:
            return None
        parts: list[Any] = [id(func)]
        if not self._describe(args if func is not _ROW else args[:-1], parts):
            return None
        parts.append(settings() if func is _ATTENTION else few_settings())
        return tuple(parts)

    def _describe(self, values: Iterable[Any], parts: list[Any]) -> bool | None:
        """Append how `values` look, and say whether the inputs decide any; None where that does not say enough."""
        depends = False
        entries = self.recorder.entries
        for value in values:
            kind = value.__class__
            if kind is torch.Tensor or kind is torch.nn.Parameter:
                entry = entries.get(id(value))
                if entry is None or entry.ref is None or entry.ref.ref() is not value:
                    entry = self.recorder.entry(value)
                look = entry.look
                if look is None:
                    if not is_plain(value):
                        return None
                    look = (value.dtype, value.shape, value.stride())
                    if entry.kept is None:  # what is from outside may become another tensor meanwhile: `.data = …`
                        entry.look = look
                parts.append(look)
                depends = depends or entry.origin is Origin.INPUT
            elif kind is int or kind is bool or value is None:
                parts.append(kind)
                parts.append(value)
            elif kind is list or kind is tuple:
                parts.append(kind)
                parts.append(len(value))
                inner = self._describe(value, parts)
                if inner is None:
                    return None
                depends = depends or inner
            elif kind is float:
                parts.append(repr(value))
            elif kind is torch.dtype or kind is torch.memory_format or kind is str:
                parts.append(value)
            else:
                return None
        return depends

    def follow(self, plan: Plan, func: torch._ops.OpOverload, args: tuple[Any, ...], location: Location) -> Any:
        """Record a call as planned; what it returns."""
        recorder = self.recorder
        assert recorder.deferred is not None
        if plan.results is None:
            result = func(*args)
            recorder.shared += 1
        else:
            result = recorder.deferred.leave_out(func, args, plan.results)
        emitter = recorder.emitter
        graph = emitter.graph
        given = tensors(args, {}) if plan.given is None else [args[i] for i in plan.given]
        made: list[Value] = [recorder.value(t, location) for t in given]
        if func is _ROW:
            made.append(emitter.constant(args[-1]))
        for step in plan.steps:
            operands = [made[of] if isinstance(of, int) else of for of in step.operands]
            made += graph.append(step.name, operands, step.types, location)
        outputs: Sequence[torch.Tensor] = result if plan.several else (result,)
        position = plan.viewed
        if position is None:
            for out, of, look in zip(outputs, plan.values, plan.looks, strict=True):
                recorder.made(out, Origin.INPUT, made[of], None, look)
            return result
        base = recorder.entry(args[position])
        blank = (*args[:position], None, *args[position + 1 :])
        for i, (out, of, look) in enumerate(zip(outputs, plan.values, plan.looks, strict=True)):
            view = View(base, func, blank, {}, position, i if plan.several else None)
            recorder.made(out, Origin.INPUT, made[of], view, look)
        return result

    def learn(self, key: Key, func: torch._ops.OpOverload, args: tuple[Any, ...], result: Any, before: int) -> None:
        """Keep a plan for calls alike, if what was recorded is one: all behind the first `before` ops."""
        self._counts[id(func)] += 1
        if self._counts[id(func)] > MOST_PLANS:
            self._follows[id(func)] = False
            return
        plan = self._plan(func, args, result, before)
        if plan is not None:
            self.known[key] = plan

    def _plan(self, func: torch._ops.OpOverload, args: tuple[Any, ...], result: Any, before: int) -> Plan | None:
        recorder = self.recorder
        outputs = list(tensors((result,), {}))
        entries = [e for out in outputs if (e := recorder.entries.get(id(out))) is not None]
        if not outputs or recorder.deferred is None or len(entries) != len(outputs):
            return None
        if any(e.origin is not Origin.INPUT or e.value is None for e in entries):
            return None
        results = recorder.deferred.known_results(func, args, {})
        given = [i for i, a in enumerate(args) if isinstance(a, torch.Tensor)]
        everything = list(tensors(args, {}))
        viewed = None
        if results is None or results.layouts is None:
            if len(given) != 1 or len(everything) != 1 or any(e.view is None for e in entries) or not may_be_view(func):
                return None
            results, viewed = None, given[0]
        elif any(e.view is not None for e in entries):
            return None
        sources = {value: n for n, t in enumerate(everything) if (value := recorder.entry(t).value) is not None}
        if len(sources) < len(everything):  # `x * x` does not say which of the two is read where in `x * y`
            return None
        steps = self._steps(sources, args[-1] if func is _ROW else None, before)
        values = [sources.get(e.value) for e in entries if e.value is not None]
        if steps is None or None in values:
            return None
        looks = [(o.dtype, o.shape, o.stride()) if is_plain(o) else None for o in outputs]
        several = isinstance(result, list | tuple)
        positions = given if len(given) == len(everything) else None
        return Plan(results, several, viewed, positions, steps, [v for v in values if v is not None], looks)

    def _steps(self, sources: dict[Value, int], number: int | None, before: int) -> list[_Step] | None:
        """The ops behind the first `before`, or None where they have operands that calls alike may not have. `sources`
        gets their results, too. `number`: an argument that is another in each call."""
        emitter = self.recorder.emitter
        steps: list[_Step] = []
        tensors_given = frozenset(sources)
        given = len(sources)
        index = None if number is None else emitter.constant(number)
        count = given + (index is not None)
        for node in emitter.graph.nodes[before:]:
            # constants are there from now on; a tensor of the call that became one now is made anew in calls alike
            if not node.results or not (emitter.is_shared(node.results[0]) or node.results[0] in tensors_given):
                if not node.results or node.held is not None:
                    return None
                operands: list[Value | int] = []
                for place, operand in enumerate(node.operands):
                    if operand is index and place == 2:
                        operands.append(given)
                    elif operand in sources:
                        operands.append(sources[operand])
                    elif emitter.is_shared(operand):
                        operands.append(operand)
                    else:
                        return None
                steps.append(_Step(node.name, [r.type for r in node.results], operands))
                for r in node.results:
                    sources[r] = count
                    count += 1
        return steps


def _tells_nothing_new(func: Any) -> bool:
    """Whether calls of this op may have plans at all."""
    if not isinstance(func, torch._ops.OpOverload) or func.namespace != "aten":
        return False
    if func._schema.is_mutable or decomposition(func) is not None:
        return False
    if torch.Tag.nondeterministic_seeded in func.tags or torch.Tag.dynamic_output_shape in func.tags:
        return False
    name = op_name(func)
    return name not in LOOK_FURTHER and not name.removeprefix("aten.").startswith(_NEVER)
