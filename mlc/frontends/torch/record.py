"""Capture a model by running it once: the default way in.

capture(model, (x,), {}, ctx)   -->   Captured(module with @forward(%arg0), guards, outputs, …)
"""

from __future__ import annotations

import contextlib
import inspect
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree
from xdsl.dialects.builtin import UNKNOWN_LOC
from xdsl.ir import Block

from mlc.errors import ExecutionError, MlcError, UnsupportedError
from mlc.frontends.torch.arrays import from_numpy
from mlc.frontends.torch.assemble import Recording, assemble
from mlc.frontends.torch.captured import (
    Alias,
    Captured,
    Guard,
    TensorGuard,
    ValueGuard,
)
from mlc.frontends.torch.emit import Emitter, tensor_type
from mlc.frontends.torch.functional import below_autograd, functionalization, unwrap, wrap
from mlc.frontends.torch.places import Places
from mlc.frontends.torch.problems import Problems
from mlc.frontends.torch.python_reads import PythonReads
from mlc.frontends.torch.recorder import Recorder, refuse_exotic
from mlc.frontends.torch.state import StateWatch, state_names
from mlc.ir.context import MlcContext

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_PLAIN_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)


def capture(model: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], ctx: MlcContext) -> Captured:
    """Run `model` once on real inputs and record it; weights go to `ctx.resources`."""
    return _Capture(model, ctx).run(tuple(args), dict(kwargs))


def leaf_names(model: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    """What errors call the leaves of the arguments: `x`, `mask`, `inputs['ids']`."""
    given = list(positional_names(model))[: len(args)]
    given += [f"args[{i}]" for i in range(len(given), len(args))]
    names: list[str] = []
    for name, value in [*zip(given, args, strict=True), *kwargs.items()]:
        names += [name + pytree.keystr(path) for path, _ in pytree.tree_flatten_with_path(value)[0]]
    return names


def positional_names(model: Callable[..., Any]) -> Iterator[str]:
    """Names of the arguments that may be given by position."""
    try:
        parameters = inspect.signature(model.forward if isinstance(model, torch.nn.Module) else model).parameters
    except (TypeError, ValueError):
        return
    for parameter in parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            yield parameter.name


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
        self.buffers: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Captured:
        _refuse_scripted(self.model)
        leaves, in_spec = pytree.tree_flatten((args, kwargs))
        names = leaf_names(self.model, args, kwargs)
        leaves = [from_numpy(np.array(v)) if isinstance(v, np.ndarray) else v for v in leaves]
        guards = tuple(self._guard(v, n) for v, n in zip(leaves, names, strict=True))
        self.problems.raise_if_any()
        with _recording_settings():
            leaves = [v.clone() if isinstance(v, torch.Tensor) and v.is_inference() else v for v in leaves]
            given = {i: v for i, v in enumerate(leaves) if isinstance(v, torch.Tensor)}
            wrappers: dict[int, torch.Tensor] = {}
            for i, tensor in given.items():
                self.recorder.add_input(tensor, self.block.insert_arg(tensor_type(tensor), len(self.block.args)))
                wrappers[i] = wrap(tensor)
            wrapped = [wrappers.get(i, v) for i, v in enumerate(leaves)]
            out_leaves, out_spec, inner = self._run_model(pytree.tree_unflatten(wrapped, in_spec), wrappers)
        recording = Recording(
            self.recorder, self.block, self.model, in_spec, guards, leaves, inner, self.buffers, out_leaves, out_spec
        )
        return assemble(recording)

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
                self.buffers = [(b, b, unwrap(final)) for b, final in self.watch.finals()]
                self.watch.check(self.problems, UNKNOWN_LOC)
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
        if isinstance(error, RuntimeError) and ("does not require grad" in text or "requires grad" in text):
            return UnsupportedError(
                f"this model needs autograd inside forward ({text})", where=where, hint="compile the part without it"
            )
        return ExecutionError(
            f"the model itself failed while it was captured: {type(error).__name__}: {text}",
            where=where,
            hint="run model(*inputs) without mlc; if that works, please report this",
        )


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
        with below_autograd():
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
