"""Capture a model by running it once: the default way in.

capture(model, (x,), {}, resources)   -->   Captured(graph of one argument, guards, outputs, …)
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

from mlc.errors import MlcError, UnsupportedError
from mlc.frontends.torch.arguments import (
    check_call,
    check_initialised,
    check_leaves,
    describe_value,
    leaf_names,
)
from mlc.frontends.torch.arrays import from_numpy
from mlc.frontends.torch.assemble import Recording, assemble
from mlc.frontends.torch.captured import (
    Alias,
    Captured,
    Guard,
    TensorGuard,
    ValueGuard,
)
from mlc.frontends.torch.control_flow import both_branches
from mlc.frontends.torch.emit import Emitter, tensor_type
from mlc.frontends.torch.failures import failure, limit_of
from mlc.frontends.torch.functional import below_autograd, functionalization, unwrap, wrap
from mlc.frontends.torch.graph import UNKNOWN, Graph
from mlc.frontends.torch.identities import identities, is_same_program, may_be_one, never_more
from mlc.frontends.torch.leaks import Leaks
from mlc.frontends.torch.named import class_names
from mlc.frontends.torch.nn_transformer import masks_unread
from mlc.frontends.torch.owned import DEPTH, MANY, owned
from mlc.frontends.torch.places import Places
from mlc.frontends.torch.problems import Problems
from mlc.frontends.torch.python_reads import PythonReads
from mlc.frontends.torch.recorder import Recorder
from mlc.frontends.torch.state import StateWatch, state_names
from mlc.frontends.torch.state_guard import Steady
from mlc.ir.collector import collector_paused
from mlc.ir.resources import ResourceStore


def capture(
    model: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], resources: ResourceStore
) -> Captured:
    """Run `model` on real inputs and record it; weights go to `resources`."""
    captured = _capture(model, args, kwargs, resources)
    together = captured.identities
    each = tuple(range(len(captured.guards)))
    if together is None or together == (each,):
        return captured
    other = ResourceStore()
    with contextlib.suppress(MlcError), warnings.catch_warnings(action="ignore"):
        apart = _attempt(model, args, kwargs, other, compiling=True, together=False)
        if isinstance(apart, Captured) and is_same_program(apart, captured, (resources, other)):
            apart.identities = None if never_more(captured.guards) else (each, *together)
            return apart
    return captured


def _capture(
    model: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], resources: ResourceStore
) -> Captured:
    known = set(resources)
    ended = _attempt(model, args, kwargs, resources, compiling=True)
    if isinstance(ended, Captured):
        return ended
    if (limit := limit_of(ended.error)) is not None:
        raise limit from ended.error
    for name in set(resources) - known:
        resources.drop(name)
    if ended.asked:
        with contextlib.suppress(MlcError):
            again = _attempt(model, args, kwargs, resources, compiling=False)
            if isinstance(again, Captured):
                return again
    raise failure(model, ended.args_given, ended.kwargs_given, ended.given, ended.error)


def _attempt(
    model: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    resources: ResourceStore,
    *,
    compiling: bool,
    together: bool = True,
) -> Captured | _RunFailed:
    try:
        with collector_paused():
            return _Capture(model, resources, compiling=compiling, together=together).run(tuple(args), dict(kwargs))
    except _RunFailed as failed:
        return failed


class _RunFailed(Exception):
    """The model raised `error` when it was run; `given` describes the arguments; `asked` whether it is compiled."""

    def __init__(
        self, error: Exception, given: str, args: tuple[Any, ...], kwargs: dict[str, Any], *, asked: bool
    ) -> None:
        super().__init__(given)
        self.error = error
        self.given = given
        self.args_given = args
        self.kwargs_given = kwargs
        self.asked = asked


class _Flag(int):
    """What `torch.compiler.is_compiling()` returns: a truth value that notes whether a model decides by it."""

    asked = False

    def __bool__(self) -> bool:
        self.asked |= sys._getframe(1).f_code.co_filename != torch.nn.modules.module.__file__
        return self == 1


class _Capture:
    """One capture, step by step. `compiling`: what libraries are told that ask whether they are being compiled.

    `together`: inputs that are one tensor stay one.
    """

    def __init__(self, model: Callable[..., Any], resources: ResourceStore, *, compiling: bool, together: bool) -> None:
        self.model = model
        self.together = together
        self.compiling = _Flag(compiling)
        self.graph = Graph()
        self.owned = mine = owned(model)
        self.places = Places(mine)
        self.problems = Problems()
        self.emitter = Emitter(self.graph, resources)
        self.recorder = Recorder(self.emitter, self.places, self.problems, state_names(mine))
        self.watch = StateWatch(mine)
        self.steady = Steady(mine)
        self.leaks = Leaks(mine, self.places)
        self.buffers: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self.given = ""
        self.gradients = torch.is_grad_enabled()

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Captured:
        _refuse_scripted(self.model)
        check_call(self.model, args, kwargs)
        check_initialised(self.model)
        leaves, in_spec = pytree.tree_flatten((args, kwargs))
        self._ask_for_mode()
        names = leaf_names(self.model, args, kwargs)
        check_leaves(names, leaves)
        leaves = [from_numpy(np.array(v)) if isinstance(v, np.ndarray) else v for v in leaves]
        guards = tuple(map(_guard, leaves, names))
        self.given = ", ".join(f"{n}: {describe_value(v)}" for n, v in zip(names, leaves, strict=True))
        with _recording_settings(self.compiling):
            first = identities(leaves) if self.together else tuple(range(len(leaves)))
            given_again = pytree.tree_unflatten(leaves, in_spec)
            # aliases: an input may be a weight of the model, too, and is one tensor with other inputs only where told
            own = [_alias(v) if isinstance(v, torch.Tensor) else v for v in leaves]
            leaves = [own[i] for i in first]
            wrappers: dict[int, torch.Tensor] = {}
            for i, tensor in enumerate(leaves):
                if isinstance(tensor, torch.Tensor) and first[i] == i:
                    self.recorder.add_input(tensor, self.graph.add_argument(tensor_type(tensor)))
                    wrappers[i] = wrap(tensor)
            wrapped = [wrappers.get(i, v) for i, v in zip(first, leaves, strict=True)]
            ended = self._run_model(pytree.tree_unflatten(wrapped, in_spec), wrappers)
        if isinstance(ended, Exception):
            raise _RunFailed(ended, self.given, *given_again, asked=self.compiling.asked)
        out_leaves, out_spec, inner = ended
        if not self.graph.arguments and not any(isinstance(v, torch.Tensor | Alias) for v in out_leaves):
            self.problems.fail("neither takes nor returns a tensor", UNKNOWN, "call it without compiling")
        recording = Recording(
            self.recorder,
            self.graph,
            self.model,
            in_spec,
            guards,
            leaves,
            inner,
            self.buffers,
            out_leaves,
            out_spec,
            steady=self.steady,
            asked=self.recorder.asked,
            gradients=self.gradients if self.recorder.gradients_matter else None,
            identities=(first,) if may_be_one(guards) else None,
        )
        return assemble(recording)

    def _ask_for_mode(self) -> None:
        """Code that asks whether autograd is on gets the answer of a run without it."""
        mine = self.owned
        if mine.cut:
            warnings.warn(
                f"forward reaches more Python values than are followed ({MANY}, {DEPTH} deep): changes of the others "
                "are not noticed",
                stacklevel=2,
            )
        self.recorder.gradients_matter = any(
            "is_grad_enabled" in names for names in (mine.names, *map(class_names, mine.classes))
        )
        if self.recorder.gradients_matter and self.gradients:
            self.problems.fail("asks torch.is_grad_enabled()", UNKNOWN, "call it under torch.no_grad()")

    # running

    def _run_model(
        self, tree: Any, wrappers: dict[int, torch.Tensor]
    ) -> tuple[list[Any], pytree.TreeSpec, dict[int, torch.Tensor]] | Exception:
        """Run it; returns the output leaves unwrapped, their structure, and the inputs' final tensors, or its error."""
        args, kwargs = tree
        try:
            with functionalization(), self.watch.wrapping(), self.leaks.taken_back(), self.recorder:
                reads = PythonReads(self.recorder, self.leaks)
                masks = masks_unread(self.recorder, gradients=self.gradients)
                branches = both_branches(lambda what, way: self.problems.fail(what, self.places.here(), way))
                with reads, masks, branches, self.places.following(), self.leaks.following():
                    out = self.model(*args, **kwargs)
                reads.lost.check()
                leaves, spec = pytree.tree_flatten(out, is_leaf=lambda v: isinstance(v, torch.Size))
                del out
                inner = {i: unwrap(w) for i, w in wrappers.items()}
                by_wrapper = {id(w): i for i, w in wrappers.items()}
                found = [Alias(by_wrapper[id(v)]) if id(v) in by_wrapper else unwrap(v) for v in leaves]
                finals = self.watch.finals()
                self.buffers = [(b, b, unwrap(final)) for b, final in finals]
                changed = self.watch.check(self.recorder, UNKNOWN)
                if not self.problems.found:
                    own = [*wrappers.values(), *(final for _, final in finals)]
                    changed += self.leaks.check(own, leaves, self.recorder, self.problems)
        except MlcError:
            raise
        except Exception as error:
            self.problems.raise_if_any()
            return error
        finally:
            if self.recorder.deferred is not None:
                self.recorder.deferred.forget()
        self.problems.raise_if_any()
        if changed:
            names = ", ".join(dict.fromkeys(changed))
            warnings.warn(f"forward changes Python values ({names}): compiled calls will not repeat that", stacklevel=2)
        return found, spec, inner


def _guard(value: Any, name: str) -> Guard:
    if isinstance(value, torch.Tensor):
        return TensorGuard(name, tuple(value.shape), value.dtype)
    return ValueGuard(name, value)


def _alias(tensor: torch.Tensor) -> torch.Tensor:
    """Another tensor with the same elements."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def _refuse_scripted(model: object) -> None:
    modules = model.modules() if isinstance(model, torch.nn.Module) else [model]
    for module in modules:
        if isinstance(module, torch.jit.ScriptModule | torch.jit.ScriptFunction):
            raise UnsupportedError(
                f"this model holds a TorchScript {type(module).__name__}",
                hint="compile the Python module it was scripted from",
            )


@contextlib.contextmanager
def _recording_settings(compiling: _Flag) -> Iterator[None]:
    """No autograd, no fused encoder fast path, and an eye on Python's and numpy's random numbers.

    `torch.compiler.is_compiling()` is `compiling` meanwhile: libraries ask it before they branch on a tensor's value
    (transformers looks whether an attention mask masks anything), and take the way that needs no such look. That way
    is broken in some models (T5's relatives without a mask), so a run that asks and fails is tried once more without.
    """
    fast, flag = torch.backends.mha.get_fastpath_enabled(), torch.compiler._is_compiling_flag
    torch.backends.mha.set_fastpath_enabled(False)
    torch.compiler._is_compiling_flag = compiling
    python, legacy = random.getstate(), _numpy_random_state()
    try:
        with below_autograd(), _without_dynamo():
            yield
    finally:
        torch.compiler._is_compiling_flag = flag
        torch.backends.mha.set_fastpath_enabled(fast)
    if random.getstate() != python or _numpy_random_state() != legacy:
        warnings.warn(
            "forward draws random numbers from Python or numpy: a compiled call repeats those of the capture",
            stacklevel=2,
        )


@contextlib.contextmanager
def _without_dynamo() -> Iterator[None]:
    """Parts that `torch.compile` was applied to run as they are."""
    if "torch._dynamo.eval_frame" not in sys.modules:  # nobody called it, and it takes seconds to import
        yield
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using `torch.compile.* global hooks on modules")
        yield


def _numpy_random_state() -> tuple[bytes, int] | None:
    """Position of numpy's global generator; None while nobody has loaded it or drawn from it."""
    if "numpy.random" not in sys.modules:
        return None
    state: Any = np.random.get_state()
    fresh = state[2] == len(state[1]) - 1  # where loading leaves it; seeding leaves it one further
    return None if fresh else (state[1].tobytes(), state[2])
