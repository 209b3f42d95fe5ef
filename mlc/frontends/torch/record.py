"""Capture a model by running it once: the default way in.

capture(model, (x,), {}, ctx)   -->   Captured(module with @forward(%arg0), guards, outputs, …)
"""

from __future__ import annotations

import contextlib
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree
from xdsl.dialects import func
from xdsl.dialects.builtin import UNKNOWN_LOC, FunctionType, ModuleOp
from xdsl.ir import Block, BlockArgument, OpResult, Region, SSAValue

from mlc.errors import ExecutionError, MlcError, UnsupportedError
from mlc.frontends.torch.arrays import from_numpy
from mlc.frontends.torch.captured import (
    Alias,
    Captured,
    Constant,
    FromResult,
    Guard,
    Mutation,
    Output,
    TensorGuard,
    ValueGuard,
)
from mlc.frontends.torch.emit import Emitter, tensor_type
from mlc.frontends.torch.functional import functionalization, unwrap, wrap
from mlc.frontends.torch.places import Places
from mlc.frontends.torch.problems import Problems
from mlc.frontends.torch.python_reads import PythonReads
from mlc.frontends.torch.recorder import Entry, Recorder, View, refuse_exotic
from mlc.frontends.torch.state import StateGuard, StateWatch, state_names
from mlc.ir.context import MlcContext

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_PLAIN_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)


def capture(model: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], ctx: MlcContext) -> Captured:
    """Run `model` once on real inputs and record it; weights go to `ctx.resources`."""
    return _Capture(model, ctx).run(tuple(args), dict(kwargs))


def leaf_names(tree: Any) -> list[str]:
    """Names of the leaves of (args, kwargs) for errors: `args[0]`, `mask`, `args[1]['ids']`."""
    names: list[str] = []
    for path, _ in pytree.tree_flatten_with_path(tree)[0]:
        top, *rest = path
        name = pytree.keystr(tuple(rest))
        names.append(f"args{name}" if top == pytree.SequenceKey(0) else name.removeprefix("['").replace("']", "", 1))
    return names


class _Capture:
    """One capture, step by step."""

    def __init__(self, model: Callable[..., Any], ctx: MlcContext) -> None:
        self.model = model
        self.block = Block()
        self.places = Places(model)
        self.problems = Problems()
        self.emitter = Emitter(self.block, ctx.resources)
        self.recorder = Recorder(self.emitter, self.places, self.problems, state_names(model))
        self.watch = StateWatch(model)

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Captured:
        _refuse_scripted(self.model)
        leaves, in_spec = pytree.tree_flatten((args, kwargs))
        names = leaf_names((args, kwargs))
        leaves = [from_numpy(np.array(v)) if isinstance(v, np.ndarray) else v for v in leaves]
        guards = tuple(self._guard(v, n) for v, n in zip(leaves, names, strict=True))
        self.problems.raise_if_any()
        given = {i: v for i, v in enumerate(leaves) if isinstance(v, torch.Tensor)}
        with _recording_settings():
            wrappers: dict[int, torch.Tensor] = {}
            for i, tensor in given.items():
                self.recorder.add_input(tensor, self.block.insert_arg(tensor_type(tensor), len(self.block.args)))
                wrappers[i] = wrap(tensor)
            wrapped = [wrappers.get(i, v) for i, v in enumerate(leaves)]
            out_leaves, out_spec, inner = self._run_model(pytree.tree_unflatten(wrapped, in_spec), wrappers)
        return self._finish(leaves, in_spec, guards, out_leaves, out_spec, inner, wrappers)

    # running

    def _guard(self, value: Any, name: str) -> Guard:
        if isinstance(value, torch.Tensor):
            if type(value) not in (torch.Tensor, torch.nn.Parameter):
                self.problems.add(f"gets '{name}', a {type(value).__name__}", UNKNOWN_LOC, "pass a plain torch.Tensor")
            refuse_exotic(value, f"the input '{name}'", self.problems, UNKNOWN_LOC)
            return TensorGuard(name, tuple(value.shape), value.dtype)
        if not isinstance(value, (*_PLAIN, *_PLAIN_TORCH, np.generic)):
            self.problems.add(
                f"gets '{name}', a {type(value).__name__}",
                UNKNOWN_LOC,
                "pass tensors, numbers, strings and containers of them (torch.utils._pytree knows dict, list, tuple, "
                "namedtuple and registered classes)",
            )
        return ValueGuard(name, value)

    def _run_model(
        self, tree: Any, wrappers: dict[int, torch.Tensor]
    ) -> tuple[list[Any], pytree.TreeSpec, dict[int, torch.Tensor]]:
        """Run it; returns the output leaves unwrapped, their structure, and the inputs' final tensors."""
        args, kwargs = tree
        try:
            with functionalization(), self.watch.wrapping(), self.recorder, PythonReads(self.recorder):
                with self.places.following():
                    out = self.model(*args, **kwargs)
                leaves, spec = pytree.tree_flatten(out)
                inner = {i: unwrap(w) for i, w in wrappers.items()}
                by_wrapper = {id(w): i for i, w in wrappers.items()}
                found = [Alias(by_wrapper[id(v)]) if id(v) in by_wrapper else unwrap(v) for v in leaves]
                self.watch.check(self.problems, self.places.at("", 0, ""))
        except MlcError:
            raise
        except Exception as error:
            self.problems.raise_if_any()
            raise self._model_failed(error) from error
        self.problems.raise_if_any()
        return found, spec, inner

    def _model_failed(self, error: Exception) -> MlcError:
        file, line = self.places.line_of(error)
        where = f"{file}:{line}" if file else None
        text = str(error).strip().split("\n")[0]
        if "functional tensor" in text:
            return UnsupportedError(
                f"this model changes a tensor in place that is neither an input nor a buffer ({text})",
                where=where,
                hint="register it with register_buffer(), or compute a new tensor",
            )
        if isinstance(error, NotImplementedError | RuntimeError) and ("inference" in text.lower() or "grad" in text):
            return UnsupportedError(
                f"this model needs autograd inside forward ({text})", where=where, hint="compile the part without it"
            )
        return ExecutionError(
            f"the model itself failed while it was captured: {type(error).__name__}: {text}",
            where=where,
            hint="run model(*inputs) without mlc; if that works, please report this",
        )

    # after the run

    def _finish(
        self,
        leaves: list[Any],
        in_spec: pytree.TreeSpec,
        guards: tuple[Guard, ...],
        out_leaves: list[Any],
        out_spec: pytree.TreeSpec,
        inner: dict[int, torch.Tensor],
        wrappers: dict[int, torch.Tensor],
    ) -> Captured:
        recorder = self.recorder
        place = self.places.at("", 0, "")
        inputs: list[int | torch.Tensor] = [i for i, v in enumerate(leaves) if isinstance(v, torch.Tensor)]
        results: list[SSAValue] = []
        mutations: list[Mutation] = []
        bases: dict[int, int | torch.Tensor | FromResult] = {}  # id(entry) -> what holds its value after a call

        changed = [i for i, final in inner.items() if final is not leaves[i]]
        for i in inputs:
            assert isinstance(i, int)
            if i not in changed:
                bases[id(recorder.entry(leaves[i]))] = i
        pending: list[tuple[int | torch.Tensor, torch.Tensor, torch.Tensor]] = [
            (i, leaves[i], inner[i]) for i in changed
        ]
        pending += self._changed_buffers(inputs)
        for target, old, new in pending:
            name = guards[target].name if isinstance(target, int) else recorder.entry(target).name
            if new.shape != old.shape or new.dtype != old.dtype:
                self.problems.fail(f"changes the shape or dtype of '{name}' in place", place, "return a new tensor")
            entry = recorder.entry(new)
            mutations.append(Mutation(target, len(results)))
            results.append(recorder.value_of(entry, place))
            bases.setdefault(id(entry), target)

        outputs: list[Output] = []
        for leaf in out_leaves:
            outputs.append(self._output(leaf, bases, results))
        used = [e.kept for e in recorder.externals if e.kept is not None and _is_used(e)]
        used += [e.kept for e in recorder.externals if e.kept is not None and id(e.kept) in recorder.values_read]
        module = self._module(results)
        return Captured(
            module=module,
            in_spec=in_spec,
            out_spec=out_spec,
            guards=guards,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            mutations=tuple(mutations),
            state=StateGuard.of(self.model, used),
        )

    def _changed_buffers(
        self, inputs: list[int | torch.Tensor]
    ) -> list[tuple[int | torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Buffers that forward changed: from now on inputs of @forward, with their final value."""
        found: list[tuple[int | torch.Tensor, torch.Tensor, torch.Tensor]] = []
        for buffer, wrapper in self.watch.wrapped.values():
            last = self.watch.final.get(id(buffer), wrapper)
            with _recording_settings(), functionalization(), self.recorder:
                final = unwrap(last)
            if final is buffer:
                continue
            entry = self.recorder.entry(buffer)
            if id(buffer) in self.recorder.values_read:
                self.problems.fail(
                    f"reads the value of the buffer '{entry.name}' in Python and also changes it",
                    self.places.at("", 0, ""),
                    "keep the value in tensors",
                )
            self._make_input(entry, buffer)
            inputs.append(buffer)
            found.append((buffer, buffer, final))
        return found

    def _make_input(self, entry: Entry, buffer: torch.Tensor) -> None:
        argument = self.block.insert_arg(tensor_type(buffer), len(self.block.args))
        if isinstance(entry.value, OpResult):
            literal = entry.value.op
            entry.value.replace_all_uses_with(argument)
            literal.detach()
            literal.erase()
        entry.value = argument
        entry.kept = None

    def _output(self, leaf: Any, bases: dict[int, Any], results: list[SSAValue]) -> Output:
        if isinstance(leaf, Alias):
            return leaf
        if not isinstance(leaf, torch.Tensor):
            return Constant(leaf)
        recorder = self.recorder
        entry = recorder.entry(leaf)
        chain: list[View] = []
        at: Entry | None = entry
        while at is not None:
            if id(at) in bases:
                return Alias(bases[id(at)], tuple(reversed(chain)))
            if at.kept is not None and at in recorder.externals:
                return Alias(at.kept, tuple(reversed(chain)))
            if at.view is None:
                break
            chain.append(at.view)
            at = at.view.base
        found = FromResult(len(results), leaf.dtype)
        results.append(recorder.value_of(entry, self.places.at("", 0, "")))
        bases[id(entry)] = found
        return found

    def _module(self, results: list[SSAValue]) -> ModuleOp:
        _drop_unused(self.block, results)
        self.block.add_op(func.ReturnOp(*results))
        types = FunctionType.from_lists([a.type for a in self.block.args], [r.type for r in results])
        return ModuleOp([func.FuncOp("forward", types, Region(self.block))])


def _is_used(entry: Entry) -> bool:
    return entry.value is not None and not isinstance(entry.value, BlockArgument)


def _drop_unused(block: Block, results: Sequence[SSAValue]) -> None:
    """Erase what nothing reads: every recorded op is functional."""
    kept = set(results)
    for op in reversed(list(block.ops)):
        if op.results and not any(r in kept or r.uses.get_length() for r in op.results):
            op.detach()
            op.erase()


def _refuse_scripted(model: object) -> None:
    modules = model.modules() if isinstance(model, torch.nn.Module) else [model]
    for module in modules:
        if isinstance(module, torch.jit.ScriptModule | torch.jit.ScriptFunction):
            raise UnsupportedError(
                f"this model holds a TorchScript {type(module).__name__}",
                hint="compile the Python module it was scripted from",
            )


@contextlib.contextmanager
def _recording_settings() -> Iterator[None]:
    """No autograd, no fused encoder fast path, and an eye on Python's and numpy's random numbers."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    python, legacy = random.getstate(), _numpy_random_state()
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    if random.getstate() != python or _numpy_random_state() != legacy:
        warnings.warn(
            "forward draws random numbers from Python or numpy: a compiled call repeats those of the capture",
            stacklevel=2,
        )


def _numpy_random_state() -> tuple[bytes, int] | None:
    """Position of numpy's global generator; None while nobody has loaded it."""
    if "numpy.random" not in sys.modules:
        return None
    state: Any = np.random.get_state()
    return state[1].tobytes(), state[2]
