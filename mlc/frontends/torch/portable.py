"""A capture as data that needs neither torch nor the model: what `compiled.save` writes of it.

    portable(captured, Stores(array, state))   -->   Plan

Views of results and inputs become strides on their base; outputs that are weights become arrays. What cannot be kept
(objects of classes, views of open sizes, values of torch among the results) is refused by name.
Tests: tests/artifact/test_refusals.py
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from mlc.errors import InternalError, UnsupportedError
from mlc.frontends.torch import captured as captures
from mlc.frontends.torch.arrays import to_numpy
from mlc.frontends.torch.captured import Alias, Captured, Constant, FromResult, FromSizes, TensorGuard
from mlc.frontends.torch.graph import TensorType
from mlc.frontends.torch.size_expressions import plain
from mlc.runtime.artifact import plan as plans
from mlc.runtime.artifact import values
from mlc.runtime.artifact.sizes import Symbol
from mlc.runtime.artifact.trees import LEAF, Tree


@dataclasses.dataclass(frozen=True)
class Stores:
    """Where tensors go: `array` and `state` give the number of an array or of what the model keeps between calls."""

    array: Callable[[np.ndarray], int]
    state: Callable[[torch.Tensor], int]


def distinct(known: Sequence[Captured]) -> list[Captured]:
    """One capture for each kind of arguments: where PyTorch's settings told several apart, the one without autocast and
    gradients comes first."""

    def odd(captured: Captured) -> tuple[bool, bool]:
        context = captured.context
        return context is not None and context.autocast is not None, context is not None and context.gradients is True

    kept: list[Captured] = []
    for captured in sorted(known, key=odd):
        same = [
            c
            for c in kept
            if c.in_spec == captured.in_spec
            and list(map(repr, c.guards)) == list(map(repr, captured.guards))
            and c.layouts == captured.layouts
            and c.identities == captured.identities
            and c.conditions == captured.conditions
            and list(map(_served, c.symbols)) == list(map(_served, captured.symbols))
        ]
        if not same:
            kept.append(captured)
    return [c for c in known if any(c is k for k in kept)]


def _served(symbol: captures.Symbol) -> tuple[Any, ...]:
    return symbol.name, symbol.places, symbol.low, symbol.high


def check_together(model: object, known: Sequence[Captured]) -> None:
    """Refuse versions of which one changes a buffer that another one has as a constant: they would drift apart."""
    written = [m.target for c in known for m in c.mutations if isinstance(m.target, torch.Tensor)]
    storages = {t.untyped_storage().data_ptr(): t for t in written if t.numel()}
    constants = {w.tensor.untyped_storage().data_ptr() for c in known for w in c.state.weights if w.tensor.numel()}
    for address, buffer in storages.items():
        if address in constants:
            buffers = model.named_buffers() if isinstance(model, torch.nn.Module) else ()
            name = next((n for n, b in buffers if b is buffer), "a buffer")
            raise _refused(
                f"one compiled version changes the buffer '{name}', which another one has as a constant",
                hint="compile the model anew for one of the two uses, and save that",
            )


def portable(captured: Captured, stores: Stores) -> plans.Plan:
    """The plan of a capture; UnsupportedError names what cannot be kept."""
    return plans.Plan(
        arguments=_tree(captured.in_spec, "the arguments"),
        results=_tree(captured.out_spec, "the results"),
        guards=tuple(
            plans.TensorGuard(g.name, _dtype(g.dtype), g.shape, g.symbols)
            if isinstance(g, TensorGuard)
            else plans.ValueGuard(g.name, _kept(g.value, f"argument '{g.name}'"))
            for g in captured.guards
        ),
        inputs=tuple(("leaf", s) if isinstance(s, int) else ("state", stores.state(s)) for s in captured.inputs),
        outputs=tuple(_output(o, captured, stores, n) for n, o in enumerate(captured.outputs)),
        writes=tuple(
            ("leaf", m.target, m.index) if isinstance(m.target, int) else ("state", stores.state(m.target), m.index)
            for m in captured.mutations
        ),
        symbols=tuple(
            Symbol(s.name, tuple((p.leaf, p.dim, p.scale, p.offset) for p in s.places), s.low, s.high)
            for s in captured.symbols
        ),
        keywords_in_order=captured.keywords_in_order,
        layouts=captured.layouts,
        identities=captured.identities,
        conditions=captured.conditions,
    )


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _kept(value: Any, what: str) -> Any:
    try:
        values.to_json(value)
    except TypeError as error:
        raise _refused(f"{what} is {error}", "numbers, strings and tuples of them") from None
    return value


def _refused(what: str, expected: str | None = None, hint: str | None = None) -> UnsupportedError:
    return UnsupportedError(f"the model cannot be saved: {what}", expected=expected, hint=hint)


def _output(output: Any, captured: Captured, stores: Stores, number: int) -> plans.Output:
    what = f"result {number}"
    match output:
        case FromResult():
            return plans.Output("result", output.index, _dtype(output.dtype))
        case FromSizes():
            names = {s.expr: s.name for s in captured.symbols}
            try:
                return plans.Output("size", value=plain(output.expr, names))
            except TypeError as error:
                raise _refused(f"{what} is a size computed by {error}") from None
        case Constant(value=torch.Tensor() as weight):
            return plans.Output("array", stores.array(_dense(weight)), _dtype(weight.dtype))
        case Constant():
            value = tuple(output.value) if isinstance(output.value, torch.Size) else output.value
            if values.other(value) is not None:
                raise _refused(f"{what} is a {values.class_name(value)}", "tensors, numbers and strings")
            return plans.Output("constant", value=_kept(value, what))
        case Alias(base=torch.Tensor() as weight):
            if not any(weight is b for b in captured.inputs if isinstance(b, torch.Tensor)):
                seen = output.build(weight)
                return plans.Output("array", stores.array(_dense(seen)), _dtype(seen.dtype))
            return _alias(output, "state", stores.state(weight), weight.shape, weight.dtype, what)
        case Alias(base=FromResult() as base):
            shape = _result_shape(captured, base.index)
            return _alias(output, "result", base.index, shape, base.dtype, what)
        case Alias(base=int() as leaf):
            guard = captured.guards[leaf]
            assert isinstance(guard, TensorGuard)
            return _alias(output, "leaf", leaf, guard.shape, guard.dtype, what)
        case _:
            raise _refused(f"{what} is a {type(output).__name__}")


def _alias(output: Alias, kind: str, index: int, shape: Any, dtype: torch.dtype, what: str) -> plans.Output:
    """A view of a dense base by its strides."""
    if not output.views:
        return plans.Output(kind, index, _dtype(dtype))
    if None in shape:
        raise _refused(f"{what} is a view of a tensor of open sizes", hint="return a tensor of its own: result.clone()")
    base = torch.empty(tuple(shape), dtype=dtype)
    seen = output.build(base)
    if seen.dtype != dtype or seen.is_conj() or seen.is_neg():
        raise _refused(
            f"{what} is a view of a tensor by another dtype", hint="return a tensor of its own: result.clone()"
        )
    view = tuple(seen.shape), tuple(seen.stride()), int(seen.storage_offset())
    return plans.Output(kind, index, _dtype(dtype), view=view)


def _result_shape(captured: Captured, index: int) -> tuple[int | None, ...]:
    """Of a result of @forward, with None for open sizes."""
    kind = captured.graph.results[index].type
    if not isinstance(kind, TensorType):
        raise InternalError(f"result {index} of @forward is {kind}")
    return kind.shape


def _dense(tensor: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(to_numpy(tensor)).reshape(tuple(tensor.shape))


def _tree(spec: pytree.TreeSpec, what: str) -> Tree:
    """The structure of containers; objects of registered classes by the names of their fields."""
    if spec.is_leaf():
        return LEAF
    children = tuple(_tree(c, what) for c in spec.children())
    kind, context = spec.type, spec.context
    try:
        if kind in (tuple, list):
            return Tree(kind.__name__, children=children)
        if kind in (dict, OrderedDict):
            return _checked(Tree(kind.__name__, tuple(context), children=children))
        if kind is deque:
            return Tree("deque", name="" if context is None else str(context), children=children)
        if kind is defaultdict:
            factory, keys = context
            name = "None" if factory is None else factory.__name__
            return _checked(Tree("defaultdict", tuple(keys), name, children))
        if isinstance(context, type) and issubclass(context, tuple):
            return _checked(Tree("namedtuple", getattr(context, "_fields", ()), context.__name__, children))
        if isinstance(kind, type) and kind.__module__ == "torch.return_types":
            return _checked(Tree("namedtuple", kind.__match_args__, kind.__name__, children))
    except (TypeError, ValueError) as error:
        raise _refused(f"{what} hold a {kind.__name__} with {error}") from None
    return _object(spec, children, what)


def _checked(tree: Tree) -> Tree:
    """`tree`; ValueError or TypeError where it could not be read again."""
    Tree.from_json(tree.to_json())
    return tree


def _object(spec: pytree.TreeSpec, children: tuple[Tree, ...], what: str) -> Tree:
    """A dataclass, or an output of transformers (a dict with fields)."""
    cls: Any = spec.type
    fields = list(getattr(cls, "__dataclass_fields__", ()))
    refused = _refused(
        f"{what} hold a {cls.__name__}, which cannot be built again without its class",
        "tensors in tuples, lists, dicts, named tuples and dataclasses",
        "call the model with use_cache=False" if cls.__name__.endswith("Cache") else None,
    )
    if not fields:
        raise refused
    marks = [object() for _ in children]
    try:
        whole = pytree.SUPPORTED_NODES[cls].unflatten_fn(marks, spec.context)
    except Exception as error:  # the class's own code, which looks at the values
        raise refused from error
    found = {name: getattr(whole, name, None) for name in fields}
    placed = [[name for name, value in found.items() if value is mark] for mark in marks]
    if any(len(names) != 1 for names in placed):
        raise refused
    keys = tuple(names[0] for names in placed)
    absent = tuple((n, _kept(v, f"field '{n}' of {what}")) for n, v in found.items() if n not in keys)
    return _checked(Tree("object", keys, cls.__name__, children, absent))
