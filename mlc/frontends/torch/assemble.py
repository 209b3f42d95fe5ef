"""From a finished recording to `Captured`: what @forward takes and returns, what is written back, what aliases what.

x.add_(1); return x, y, y.t()   -->   @forward returns (x + 1, y)
                                      write result 0 into x; outputs: x itself, result 1, a view of result 1
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NoReturn

import torch
from torch.utils import _pytree as pytree

from mlc.errors import UnsupportedError
from mlc.frontends.torch.arguments import takes_any_keyword
from mlc.frontends.torch.captured import (
    Alias,
    Captured,
    Constant,
    FromResult,
    FromSizes,
    Guard,
    Mutation,
    Output,
    Symbol,
    layouts,
)
from mlc.frontends.torch.context import Context
from mlc.frontends.torch.emit import tensor_type
from mlc.frontends.torch.entries import Entry, View
from mlc.frontends.torch.graph import UNKNOWN, Graph, Value
from mlc.frontends.torch.recorder import Recorder
from mlc.frontends.torch.state_guard import StateGuard, Steady


@dataclass
class Recording:
    """What a run left behind. `leaves`: the inputs as the recorder knew them, `finals`: the tensors they ended as.

    `buffers`: (as recorded, the real one, final tensor). `outputs`: unwrapped leaves; an input itself is `Alias`.
    `asked`: weights with the attributes that forward asked them for.
    """

    recorder: Recorder
    graph: Graph
    model: object
    in_spec: pytree.TreeSpec
    guards: tuple[Guard, ...]
    leaves: Sequence[Any]
    finals: dict[int, torch.Tensor]
    buffers: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
    outputs: Sequence[Any]
    out_spec: pytree.TreeSpec
    symbols: tuple[Symbol, ...] = ()
    steady: Steady | None = None
    asked: Sequence[tuple[torch.Tensor, str]] = ()
    gradients: bool | None = None
    identities: tuple[tuple[int, ...], ...] | None = None
    conditions: tuple[Any, ...] = ()
    results: list[Value] = field(default_factory=list)
    # what holds an entry's value after a call, by id(entry)
    holders: dict[int, int | torch.Tensor | FromResult] = field(default_factory=dict)


def assemble(rec: Recording) -> Captured:
    """Close @forward and say how a call is bound to it."""
    recorder = rec.recorder
    inputs: list[int | torch.Tensor] = [i for i in range(len(rec.leaves)) if i in rec.finals]
    for i, final in rec.finals.items():
        if final is rec.leaves[i]:
            rec.holders[id(recorder.entry(final))] = i
    mutations = [
        _written(rec, i, rec.guards[i].name, rec.leaves[i], final)
        for i, final in rec.finals.items()
        if final is not rec.leaves[i]
    ]
    for recorded, real, final in rec.buffers:
        if final is not recorded:
            entry = recorder.entry(recorded)
            _check_buffer(rec, entry.name, recorded, real)
            _make_input(rec, entry, recorded)
            inputs.append(real)
            mutations.append(_written(rec, real, entry.name, recorded, final))
            _check_reads(rec, entry)
    outputs = _outputs(rec)
    state = [e.kept for e in recorder.externals if e.kept is not None and _is_used(rec, e)]
    rec.graph.close(rec.results)
    return Captured(
        graph=rec.graph,
        in_spec=rec.in_spec,
        out_spec=rec.out_spec,
        guards=rec.guards,
        inputs=tuple(inputs),
        outputs=outputs,
        mutations=tuple(mutations),
        state=StateGuard.of(rec.model, [recorder.real_of(t) for t in state], rec.steady, rec.asked),
        symbols=rec.symbols,
        context=None if rec.model is None else Context.now(gradients=rec.gradients),
        keywords_in_order=callable(rec.model) and takes_any_keyword(rec.model),
        layouts=layouts(rec.leaves) if recorder.reads_layout else None,
        asks_gradients=recorder.asks_gradients,
        identities=rec.identities,
        conditions=rec.conditions,
    )


def _written(rec: Recording, target: int | torch.Tensor, name: str, old: torch.Tensor, new: torch.Tensor) -> Mutation:
    """Return the new value of a changed input or buffer."""
    if new.shape != old.shape or new.dtype != old.dtype:
        rec.recorder.problems.fail(f"changes the shape or dtype of '{name}' in place", UNKNOWN, "return a new tensor")
    entry = rec.recorder.entry(new)
    rec.holders.setdefault(id(entry), target)
    rec.results.append(rec.recorder.value_of(entry, UNKNOWN))
    return Mutation(target, len(rec.results) - 1)


def _check_buffer(rec: Recording, name: str, recorded: torch.Tensor, real: torch.Tensor) -> None:
    problems = rec.recorder.problems
    if id(recorded) in rec.recorder.values_read:
        _refuse_read(rec, name)
    storage = real.untyped_storage().data_ptr()
    for other in rec.recorder.externals:
        held = rec.recorder.real_of(other.kept) if other.kept is not None else None
        if held is not None and held is not real and storage and held.untyped_storage().data_ptr() == storage:
            problems.fail(
                f"changes the buffer '{name}' in place, which shares memory with '{other.name}'",
                UNKNOWN,
                "give each its own memory",
            )


def _check_reads(rec: Recording, buffer: Entry) -> None:
    """Refuse reads in Python of what is computed from a buffer that changes with every call."""
    rests_on = {e.value for e in rec.recorder.entries_read}
    for node in reversed(rec.graph.nodes):
        if not rests_on.isdisjoint(node.results):
            rests_on.update(node.operands)
    if buffer.value in rests_on:
        _refuse_read(rec, buffer.name)


def _refuse_read(rec: Recording, name: str) -> NoReturn:
    rec.recorder.problems.fail(
        f"reads the value of the buffer '{name}' in Python and also changes it",
        UNKNOWN,
        "keep the value in tensors (torch.where, torch.index_select), or count outside of the model",
    )


def _make_input(rec: Recording, entry: Entry, recorded: torch.Tensor) -> None:
    """A buffer that changes is no constant: its literal becomes an argument."""
    if entry.value is None:
        entry.value = rec.graph.add_argument(tensor_type(recorded))
    else:
        rec.graph.make_argument(entry.value)
        rec.recorder.emitter.resources.drop(entry.name)
    entry.kept = None


def _outputs(rec: Recording) -> tuple[Output, ...]:
    """One a leaf; tensors before views of them, whatever their order is."""

    def depth(position: int) -> int:
        leaf = rec.outputs[position]
        view = rec.recorder.entry(leaf).view if isinstance(leaf, torch.Tensor) else None
        found = 0
        while view is not None:
            found, view = found + 1, view.base.view
        return found

    order = sorted(range(len(rec.outputs)), key=depth)
    found = {i: _output(rec, rec.outputs[i]) for i in order}
    return tuple(found[i] for i in range(len(rec.outputs)))


def _output(rec: Recording, leaf: Any) -> Output:
    if isinstance(leaf, Alias):
        return leaf
    if isinstance(leaf, torch.SymInt):
        return FromSizes(leaf.node.expr)
    if not isinstance(leaf, torch.Tensor):
        if _holds_tensors(leaf):
            raise UnsupportedError(
                f"forward returns tensors inside of a {type(leaf).__name__}, which a compiled model cannot build again",
                expected="tensors in tuples, lists, dicts and named tuples",
                hint="call the model with use_cache=False, or let PyTorch know the class first: "
                "transformers.integrations.executorch.register_dynamic_cache_export_support()"
                if type(leaf).__name__.endswith("Cache")
                else "return such a container, or register the class: torch.export.register_dataclass(Class)",
            )
        return Constant(leaf)
    recorder = rec.recorder
    entry = recorder.entry(leaf)
    chain: list[View] = []
    at: Entry | None = entry
    while at is not None:
        views = tuple(reversed(chain))
        if id(at) in rec.holders:
            return Alias(rec.holders[id(at)], views)
        if at.kept is not None and at in recorder.externals:
            return Alias(recorder.real_of(at.kept), views)
        if at.view is None:
            break
        chain.append(at.view)
        at = at.view.base
    found = FromResult(len(rec.results), leaf.dtype)
    rec.results.append(recorder.value_of(entry, UNKNOWN))
    rec.holders[id(entry)] = found
    return found


def _is_used(rec: Recording, entry: Entry) -> bool:
    """Whether the capture rests on this weight's value."""
    in_code = entry.value is not None and entry.value not in rec.graph.arguments
    return in_code or id(entry.kept) in rec.recorder.values_read


def _holds_tensors(leaf: object, depth: int = 3) -> bool:
    """Whether an object that PyTorch's pytrees do not look into (a dataclass, a set, a generator) refers to tensors."""
    if leaf is None or isinstance(
        leaf, bool | int | float | complex | str | bytes | type | torch.nn.Module | ModuleType
    ):
        return False
    if isinstance(leaf, torch.Tensor):
        return True
    if depth == 0 or callable(leaf):
        return False
    return any(_holds_tensors(inner, depth - 1) for inner in gc.get_referents(leaf))
