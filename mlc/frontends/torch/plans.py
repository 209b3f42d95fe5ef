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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from xdsl.dialects.builtin import LocationAttr
from xdsl.ir import Attribute, Operation, SSAValue

from mlc.frontends.torch.decompose import decomposition
from mlc.frontends.torch.deferred import Results, is_plain, may_be_view, settings, tensors
from mlc.frontends.torch.emit import op_name
from mlc.frontends.torch.entries import Entry, Origin, View
from mlc.frontends.torch.normalise import NORMALISERS, Rule

if TYPE_CHECKING:
    from mlc.frontends.torch.recorder import Recorder

MOST_PLANS = 200
"""Of one op: one whose numbers are others in every call needs no plans."""

_NEVER = ("lift", "empty", "new_empty", "_assert_async", "result_type", "sym_", "repeat_interleave", "one_hot", "cond")
_ROW = torch.ops.aten.select.int
"""Its last argument decides nothing but which elements there are."""

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """`results`: what the call gives, where that is left out; None: views. `make`, `types`: of the op recorded, on
    `operands`: values, positions of tensors, or of numbers (below zero, from -1). `viewed`: position of the tensor that
    the results are views of. `normalise`: the rule that records it instead."""

    results: Results | None
    several: bool
    viewed: int | None
    normalise: Rule | None
    make: type[Operation] | None
    types: Sequence[Attribute]
    operands: Sequence[SSAValue | int]


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
        parts.append(settings())
        return tuple(parts)

    def _describe(self, values: Iterable[Any], parts: list[Any]) -> bool:
        """Append how `values` look; False where that does not say enough, or no input decides them."""
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
                        return False
                    look = (value.dtype, value.shape, value.stride())
                    if entry.kept is None:  # what is from outside may become another tensor meanwhile: `.data = …`
                        entry.look = look
                parts.append(look)
                depends = depends or entry.origin is Origin.INPUT
            elif kind is int or kind is bool or value is None:
                parts.append(kind)
                parts.append(value)
            elif kind is list or kind is tuple:
                if not all(v.__class__ is int or v.__class__ is bool for v in value):
                    return False
                parts.append((kind, *value))
            elif kind is float:
                parts.append(repr(value))
            elif kind is torch.dtype or kind is torch.memory_format or kind is str:
                parts.append(value)
            else:
                return False
        return depends

    def follow(self, plan: Plan, func: torch._ops.OpOverload, args: tuple[Any, ...], location: LocationAttr) -> Any:
        """Record a call as planned; what it returns."""
        recorder = self.recorder
        deferred = recorder.deferred
        assert deferred is not None
        result = func(*args) if plan.results is None else deferred.leave_out(func, args, plan.results)
        outputs: Sequence[torch.Tensor] = result if plan.several else (result,)
        values: Sequence[SSAValue] | None = None
        if plan.normalise is not None:
            values = plan.normalise(recorder, bind(func, args, {}), [*outputs], location)
        elif plan.make is not None:
            operands: list[SSAValue] = []
            for o in plan.operands:
                if o.__class__ is not int:
                    operands.append(o)  # pyright: ignore[reportArgumentType]
                elif o >= 0:
                    operands.append(recorder.value(args[o], location))
                else:
                    operands.append(recorder.emitter.constant(args[-1 - o]))
            values = recorder.emitter.add(
                plan.make.create(operands=operands, result_types=plan.types, location=location)
            )
        assert values is not None
        position = plan.viewed
        if position is None:
            for out, value in zip(outputs, values, strict=True):
                recorder.made(out, Origin.INPUT, value, None, is_own=True)
            return result
        base = recorder.entry(args[position])
        blank = (*args[:position], None, *args[position + 1 :])
        for i, (out, value) in enumerate(zip(outputs, values, strict=True)):
            view = View(base, func, blank, {}, position, i if plan.several else None)
            recorder.made(out, Origin.INPUT, value, view)
        return result

    def learn(self, key: Key, func: torch._ops.OpOverload, args: tuple[Any, ...], result: Any) -> None:
        """Keep a plan for calls alike, if what was just recorded is one."""
        self._counts[id(func)] += 1
        if self._counts[id(func)] > MOST_PLANS:
            self._follows[id(func)] = False
            return
        plan = self._plan(func, args, result)
        if plan is not None:
            self.known[key] = plan

    def _plan(self, func: torch._ops.OpOverload, args: tuple[Any, ...], result: Any) -> Plan | None:
        recorder = self.recorder
        several = isinstance(result, list | tuple)
        outputs = list(tensors((result,), {}))
        entries = [recorder.entries.get(id(out)) for out in outputs]
        if not outputs or recorder.deferred is None:
            return None
        made: list[Entry] = [e for e in entries if e is not None and e.origin is Origin.INPUT and e.value is not None]
        if len(made) != len(outputs):
            return None
        results = recorder.deferred.known_results(func, args, {})
        given = [i for i, a in enumerate(args) if isinstance(a, torch.Tensor)]
        viewed = None
        if results is None or results.layouts is None:
            if len(given) != 1 or any(e.view is None for e in made) or not may_be_view(func):
                return None
            results, viewed = None, given[0]
        elif any(e.view is not None for e in made):
            return None
        normalise = NORMALISERS.get(op_name(func))
        if normalise is not None:
            # a rule that leaves it to the recorder has no plan of its own
            return Plan(results, several, viewed, normalise, None, (), ()) if normalise in _STEADY else None
        op = recorder.emitter.block.last_op
        if op is None or [e.value for e in made] != list(op.results):
            return None
        bound = bind(func, args, {})
        if len(bound) != len(op.operands):
            return None
        operands: list[SSAValue | int] = []
        for i, (value, operand) in enumerate(zip(bound, op.operands, strict=True)):
            if isinstance(value, torch.Tensor):
                operands.append(i)
            elif func is _ROW and i == 2:
                operands.append(-1 - i)
            elif recorder.emitter.is_shared(operand):
                operands.append(operand)
            else:
                return None
        return Plan(results, several, viewed, None, type(op), list(op.result_types), operands)


def _tells_nothing_new(func: Any) -> bool:
    """Whether calls of this op may have plans at all."""
    if not isinstance(func, torch._ops.OpOverload) or func.namespace != "aten":
        return False
    if func._schema.is_mutable or decomposition(func) is not None:
        return False
    if torch.Tag.nondeterministic_seeded in func.tags or torch.Tag.dynamic_output_shape in func.tags:
        return False
    return not op_name(func).removeprefix("aten.").startswith(_NEVER)


def bind(func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Arguments in schema order, defaults filled in; where a tensor lives is left open: it is always the CPU."""
    out = list(args)
    for argument in func._schema.arguments[len(args) :]:
        placement = argument.name in ("device", "layout", "pin_memory")
        out.append(None if placement else kwargs.get(argument.name, argument.default_value))
    return out


def _rules(*names: str) -> frozenset[Callable[..., Any]]:
    return frozenset(NORMALISERS[name] for name in names)


_STEADY = _rules("aten.split.Tensor", "aten.clone", "aten.reshape", "aten.unbind.int")
"""Rules that always record by themselves, whatever they look at."""
