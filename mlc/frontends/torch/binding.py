"""A captured model bound to its native code: checks the guards, converts, runs, writes back, rebuilds the outputs.

    binding(args, kwargs)   -->   the outputs, or MISS when a guard does not hold

Plain tensors in and out take the short path of `quick_call.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakMethod

import numpy as np
import torch
from torch.utils import _pytree as pytree

from mlc.errors import DTypeError, ShapeError, UnsupportedError
from mlc.frontends.torch.arguments import check_leaves, check_tracers, describe_value, refusal
from mlc.frontends.torch.arrays import borrowed, from_numpy, numpy_dtype, to_numpy
from mlc.frontends.torch.captured import (
    Alias,
    Captured,
    Constant,
    FromResult,
    FromSizes,
    Place,
    TensorGuard,
    ValueGuard,
    layouts,
)
from mlc.frontends.torch.captured_values import same_value
from mlc.frontends.torch.functional import is_wrapped
from mlc.frontends.torch.identities import identities
from mlc.frontends.torch.quick_call import MISS, Call, Native, quick_call
from mlc.runtime.artifact.sizes import first_broken, test_of

Run = Callable[[list[np.ndarray]], list[np.ndarray]]


class Binding:
    """See the module. `run` takes the arrays of @forward's arguments in order; `native` is what it runs on."""

    def __init__(self, captured: Captured, run: Run, native: Native | None = None) -> None:
        self.captured = captured
        self.run = run
        self.was_used = True
        self._state = captured.state
        self._guards = captured.guards
        count = len(captured.guards)
        self._plain_count = -1
        if captured.in_spec == pytree.tree_structure(((0,) * count, {})):
            self._plain_count = count
        self._single = captured.out_spec.is_leaf()
        self._decided_so = test_of(captured.conditions, [s.name for s in captured.symbols])
        self._written = {m.target for m in captured.mutations if isinstance(m.target, int)}
        self._weights = {w.tensor.untyped_storage().data_ptr() for w in captured.state.weights if w.tensor.numel()}
        self._quick = quick_call(captured, native, WeakMethod(self.__call__)) if native is not None else None

    @property
    def call(self) -> Call:
        """`__call__`, by a shorter path where there is one. Keep the binding, too, as long as you use it."""
        return self._quick or self.__call__

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run on these arguments, or MISS."""
        check_tracers()
        context = self.captured.context
        leaves = self._leaves(args, kwargs)
        if leaves is None or not self._fits(leaves) or (context is not None and not context.holds()):
            return MISS
        if not self._state.holds():
            return MISS
        return self._call(leaves)

    def _leaves(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[Any] | None:
        if not kwargs and len(args) == self._plain_count:
            return args
        leaves, spec = pytree.tree_flatten((args, in_order(kwargs, self.captured)))
        return leaves if spec == self.captured.in_spec else None

    def _fits(self, leaves: Sequence[Any]) -> bool:
        for guard, leaf in zip(self._guards, leaves, strict=True):
            if isinstance(guard, TensorGuard):
                if isinstance(leaf, torch.Tensor):
                    if leaf.dtype is not guard.dtype or leaf.is_nested or is_wrapped(leaf):
                        return False
                elif not isinstance(leaf, np.ndarray) or numpy_dtype(leaf) is not guard.dtype:
                    return False
                if leaf.shape != guard.shape and (guard.symbols == () or not _fits_dynamic(guard, leaf.shape)):
                    return False
            elif not same_value(guard.value, leaf):
                return False
        if self.captured.layouts is not None and self.captured.layouts != layouts(leaves):
            return False
        if self.captured.identities is not None and identities(leaves) not in self.captured.identities:
            return False
        if not self.captured.symbols:
            return True
        sizes = symbol_values(self.captured, leaves)
        return not isinstance(sizes, str) and self._decided_so([sizes[s.expr] for s in self.captured.symbols])

    def _call(self, leaves: Sequence[Any]) -> Any:
        captured = self.captured
        arrays: list[Any] = []
        as_numpy = False
        for source in captured.inputs:
            leaf = leaves[source] if type(source) is int else source
            if isinstance(leaf, torch.Tensor):
                name = self._guards[source].name if type(source) is int else "a buffer"
                if (wrong := refusal(name, leaf)) is not None:
                    raise wrong
                asks = torch.is_grad_enabled() or captured.asks_gradients
                if leaf.requires_grad and asks and type(source) is int:
                    raise _needs_grad(name)
                arrays.append(borrowed(leaf))
            else:
                as_numpy = True
                arrays.append(leaf)
        if as_numpy and any(isinstance(leaf, torch.Tensor) for leaf in leaves):
            as_numpy = False
        if captured.mutations:
            self._refuse_overlap(leaves)
        results = self.run(arrays)
        if captured.mutations:
            self._write_back(leaves, results)
        outputs = [self._output(plan, leaves, results) for plan in captured.outputs]
        if len(outputs) > 1:
            outputs = _shared(captured.outputs, outputs)
        if as_numpy:
            outputs = [to_numpy(o) if isinstance(o, torch.Tensor) else o for o in outputs]
        return outputs[0] if self._single else pytree.tree_unflatten(outputs, captured.out_spec)

    def _output(self, plan: Any, leaves: Sequence[Any], results: list[np.ndarray]) -> Any:
        match plan:
            case FromResult():
                return from_numpy(results[plan.index], plan.dtype)
            case Constant():
                return plan.value
            case FromSizes():
                sizes = symbol_values(self.captured, leaves)
                assert isinstance(sizes, dict)
                return int(plan.expr.xreplace(sizes))
            case Alias(base=int() as leaf):
                base = leaves[leaf]
                return plan.build(torch.from_numpy(base)) if isinstance(base, np.ndarray) else plan.build(base)
            case Alias(base=torch.Tensor() as weight):
                return plan.build(weight)
            case _:
                return None  # a view of another output: filled in by _shared

    def _write_back(self, leaves: Sequence[Any], results: list[np.ndarray]) -> None:
        with torch.no_grad():
            for mutation in self.captured.mutations:
                value = results[mutation.index]
                target = leaves[mutation.target] if isinstance(mutation.target, int) else mutation.target
                if isinstance(target, np.ndarray):
                    target[...] = value
                else:
                    target.copy_(from_numpy(value, target.dtype))

    def _refuse_overlap(self, leaves: Sequence[Any]) -> None:
        """Refuse what is changed in place and shares memory with something else that the model reads or changes."""
        buffers = [b for b in self.captured.inputs if isinstance(b, torch.Tensor) and b.numel()]
        seen = {b.untyped_storage().data_ptr(): "a buffer of the model" for b in buffers}
        for i in self.captured.inputs:
            leaf = leaves[i] if isinstance(i, int) else None
            if not isinstance(i, int) or not isinstance(leaf, torch.Tensor) or not leaf.numel():
                continue
            name = self._guards[i].name
            if i in self._written and 0 in [s for s, n in zip(leaf.stride(), leaf.shape, strict=True) if n > 1]:
                raise UnsupportedError(
                    f"the model changes input '{name}' in place, whose elements share memory (it was expanded)",
                    hint=f"pass a copy: {name}.clone()",
                )
            storage = leaf.untyped_storage().data_ptr()
            other = seen.get(storage)
            if other is None and i in self._written and storage in self._weights:
                other = "a weight of the model"
            if other is not None:
                raise UnsupportedError(
                    f"{other} and input '{name}' share memory, and the model changes one in place",
                    hint=f"pass a copy: {name}.clone()",
                )
            if self._written:
                seen[storage] = f"input '{name}'"


def _shared(plans: Sequence[Any], outputs: list[Any]) -> list[Any]:
    """Outputs that are views of other outputs."""
    by_result = {p.index: o for p, o in zip(plans, outputs, strict=True) if isinstance(p, FromResult)}
    return [
        p.build(by_result[p.base.index]) if isinstance(p, Alias) and isinstance(p.base, FromResult) else o
        for p, o in zip(plans, outputs, strict=True)
    ]


def in_order(kwargs: dict[str, Any], captured: Captured) -> dict[str, Any]:
    """Keyword arguments in the order of the capture, when they are the same ones."""
    wanted = captured.in_spec.child(1).context
    if captured.keywords_in_order:
        return kwargs
    return {k: kwargs[k] for k in wanted} if kwargs.keys() == set(wanted) else kwargs


def _fits_dynamic(guard: TensorGuard, shape: Sequence[int]) -> bool:
    return len(shape) == len(guard.shape) and all(
        want is None or want == got for want, got in zip(guard.shape, shape, strict=True)
    )


def symbol_values(captured: Captured, leaves: Sequence[Any]) -> dict[Any, int] | str:
    """The dynamic sizes of these inputs by symbol, or why they are refused."""
    sizes: dict[Any, int] = {}
    for symbol in captured.symbols:
        for place in symbol.places:
            got = leaves[place.leaf].shape[place.dim]
            name = f"dimension {place.dim} of '{captured.guards[place.leaf].name}'"
            value, rest = divmod(got - place.offset, place.scale)
            if rest:
                return f"{name} is {got}, but must be {_linear(symbol.name, place)}"
            if sizes.setdefault(symbol.expr, value) != value:
                return f"{name} is {got}, but '{symbol.name}' is {sizes[symbol.expr]} elsewhere"
            if value < symbol.low or (symbol.high is not None and value > symbol.high):
                high = "" if symbol.high is None else f" and at most {symbol.high}"
                return f"{name} is {got}, but '{symbol.name}' must be at least {symbol.low}{high}"
    return sizes


def broken_condition(captured: Captured, sizes: dict[Any, int]) -> str | None:
    """Why these sizes are others than those that the model decided for; None where they are not."""
    return first_broken(captured.conditions, {symbol.name: sizes[symbol.expr] for symbol in captured.symbols})


def _linear(name: str, place: Place) -> str:
    scaled = name if place.scale == 1 else f"{place.scale}*{name}"
    return f"{scaled} + {place.offset}" if place.offset else scaled


def refuse(captured: Captured, args: tuple[Any, ...], kwargs: dict[str, Any], *, but_conditions: bool = False) -> None:
    """Raise the error that says why these arguments do not fit a capture; returns when they do. `but_conditions`: also
    when another capture of the same open sizes may serve them."""
    leaves, spec = pytree.tree_flatten((args, in_order(kwargs, captured)))
    if spec != captured.in_spec:
        raise ShapeError(
            f"the arguments have another structure: {_structure(spec)}", expected=_structure(captured.in_spec)
        )
    check_leaves([g.name for g in captured.guards], leaves)
    for guard, leaf in zip(captured.guards, leaves, strict=True):
        if isinstance(guard, ValueGuard):
            if not same_value(guard.value, leaf):
                given = describe_value(leaf) if isinstance(leaf, torch.Tensor | np.ndarray) else repr(leaf)
                raise ShapeError(f"argument '{guard.name}' is {given}", expected=repr(guard.value))
            continue
        if not isinstance(leaf, torch.Tensor | np.ndarray):
            raise DTypeError(f"argument '{guard.name}' is {describe_value(leaf)}", expected=guard.describe())
        dtype = leaf.dtype if isinstance(leaf, torch.Tensor) else numpy_dtype(leaf)
        shown = describe_value(leaf)
        if dtype is not guard.dtype:
            raise DTypeError(f"argument '{guard.name}' is {shown}", expected=guard.describe())
        if leaf.shape != guard.shape and not _fits_dynamic(guard, leaf.shape):
            raise ShapeError(f"argument '{guard.name}' is {shown}", expected=guard.describe())
    sizes = symbol_values(captured, leaves)
    if isinstance(sizes, str):
        raise ShapeError(sizes)
    broken = broken_condition(captured, sizes)
    if broken is not None and not but_conditions:
        raise ShapeError(broken)


def _structure(spec: pytree.TreeSpec) -> str:
    args, kwargs = pytree.tree_unflatten(["*"] * spec.num_leaves, spec)
    parts = [*(str(a).replace("'", "") for a in args), *(f"{k}={v}".replace("'", "") for k, v in kwargs.items())]
    return f"({', '.join(parts)})"


def _needs_grad(name: str) -> UnsupportedError:
    return UnsupportedError(
        f"input '{name}' requires a gradient, which compiled code does not record",
        hint=f"call under torch.no_grad(), or pass {name}.detach()",
    )
