"""How a call of a saved version is bound to its compiled code, as data: what a capture knows, without torch.

    {"arguments": …, "guards": [["x", "float32", [null, 4], ["n", null]]], "inputs": [["leaf", 0]], …}   <->   Plan

Read from a file it is checked whole (`Plan.from_json`): numbers of leaves, results, arrays and states, and the extent
of every view, so that a call need not.
Tests: tests/artifact/test_save.py, test_hostile.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlc.runtime.artifact import values
from mlc.runtime.artifact.sizes import Symbol, check_expression
from mlc.runtime.artifact.tensors import ARRAY_TYPES
from mlc.runtime.artifact.trees import Tree

Shape = tuple[int | None, ...]
_ADDRESSABLE = 1 << 58
"""Elements of 16 bytes that 63 bits address: expanded tensors have many more than their memory."""


@dataclass(frozen=True)
class TensorGuard:
    """An argument that is a tensor. `shape` has None for an open size; `symbols` are its names."""

    name: str
    dtype: str
    shape: Shape
    symbols: tuple[str | None, ...]

    def describe(self) -> str:
        """`float32[n, 3]`."""
        names = self.symbols or (None,) * len(self.shape)
        sizes = [(s or "?") if d is None else str(d) for d, s in zip(self.shape, names, strict=True)]
        return f"{self.dtype}[{', '.join(sizes)}]"


@dataclass(frozen=True)
class ValueGuard:
    """An argument that is no tensor: its value is part of the program."""

    name: str
    value: Any

    def describe(self) -> str:
        """The value."""
        return repr(self.value)


@dataclass(frozen=True)
class Output:
    """A leaf of the results. `kind`: "result", "leaf", "state", "array" (number `index` of them), "constant" or "size".

    `value`: the constant, or the expression of a size. `view`: (sizes, strides, offset) on the dense base, in elements.
    `dtype` by torch's name.
    """

    kind: str
    index: int = 0
    dtype: str = ""
    value: Any = None
    view: tuple[tuple[int, ...], tuple[int, ...], int] | None = None


@dataclass(frozen=True)
class Plan:
    """`arguments`: the structure of `(args, kwargs)`; `results`: that of what is returned. `inputs`: what feeds each
    argument of the code, ("leaf", number) or ("state", number). `writes`: where results are written back, (kind,
    number, result). `identities`: which leaves are one tensor in the calls it serves. `layouts`: strides of the tensors
    among the leaves, where they make a difference. `conditions`: expressions of open sizes that must hold."""

    arguments: Tree
    results: Tree
    guards: tuple[TensorGuard | ValueGuard, ...]
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[Output, ...]
    writes: tuple[tuple[str, int, int], ...] = ()
    symbols: tuple[Symbol, ...] = ()
    keywords_in_order: bool = False
    layouts: tuple[tuple[int, ...], ...] | None = None
    identities: tuple[tuple[int, ...], ...] | None = None
    conditions: tuple[Any, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; TypeError for values that cannot be kept."""
        return {
            "arguments": self.arguments.to_json(),
            "results": self.results.to_json(),
            "guards": [
                [g.name, g.dtype, g.shape, g.symbols]
                if isinstance(g, TensorGuard)
                else [g.name, values.to_json(g.value)]
                for g in self.guards
            ],
            "inputs": self.inputs,
            "outputs": [
                [o.kind, o.index, o.dtype, o.value if o.kind == "size" else values.to_json(o.value), o.view]
                for o in self.outputs
            ],
            "writes": self.writes,
            "symbols": [[s.name, s.places, s.low, s.high] for s in self.symbols],
            "keywords_in_order": self.keywords_in_order,
            "layouts": self.layouts,
            "identities": self.identities,
            "conditions": self.conditions,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """From what `to_json` made; ValueError, TypeError or KeyError for anything else."""
        arguments, results = Tree.from_json(data["arguments"]), Tree.from_json(data["results"])
        call = arguments.children
        if arguments.kind != "tuple" or [c.kind for c in call] != ["tuple", "dict"]:
            raise ValueError("the arguments of a call")
        guards = tuple(map(_guard, data["guards"]))
        symbols = tuple(Symbol.from_json(s) for s in data["symbols"])
        plan = cls(
            arguments,
            results,
            guards,
            tuple((_one_of(kind, ("leaf", "state")), _count(n)) for kind, n in data["inputs"]),
            tuple(map(_output, data["outputs"])),
            tuple((_one_of(k, ("leaf", "state")), _count(n), _count(r)) for k, n, r in data["writes"]),
            symbols,
            data["keywords_in_order"] is True,
            _tables(data["layouts"]),
            _tables(data["identities"]),
            tuple(data["conditions"]),
        )
        plan._check()
        return plan

    def _check(self) -> None:
        """What refers to leaves and symbols refers to those there are."""
        if self.arguments.leaves != len(self.guards) or self.results.leaves != len(self.outputs):
            raise ValueError("numbers of leaves")
        used = [n for kind, n in self.inputs if kind == "leaf"] + [n for kind, n, _ in self.writes if kind == "leaf"]
        used += [o.index for o in self.outputs if o.kind == "leaf"]
        if not all(isinstance(self.guards[n], TensorGuard) for n in used):
            raise ValueError("leaves that are no tensors")
        for row in self.identities or ():
            if len(row) != len(self.guards):
                raise ValueError("identities of leaves")
        for symbol in self.symbols:
            for leaf, dim, _, _ in symbol.places:
                guard = self.guards[leaf]
                if not isinstance(guard, TensorGuard) or guard.shape[dim] is not None:
                    raise ValueError("places of sizes")
        names = {s.name for s in self.symbols}
        for output in self.outputs:
            if output.kind == "size":
                check_expression(output.value, names)
        for condition in self.conditions:
            check_expression(condition, names)

    def check_against(self, results: Sequence[Shape], states: Sequence[Shape], arrays: Sequence[Shape]) -> None:
        """Raise ValueError where it refers to more than there is, these shapes of results, states and arrays, or writes
        back what has another shape."""
        shapes = {"result": results, "state": states, "array": arrays, "leaf": [_shape(g) for g in self.guards]}
        used = [*self.inputs, *((k, n) for k, n, _ in self.writes), *(("result", r) for _, _, r in self.writes)]
        used += [(o.kind, o.index) for o in self.outputs if o.kind in shapes]
        if not all(n < len(shapes[kind]) for kind, n in used):
            raise ValueError("numbers of results, arrays or states")
        for kind, n, result in self.writes:
            if not _may_be(results[result], shapes[kind][n]):
                raise ValueError(f"{list(results[result])} is written to {list(shapes[kind][n])}")
        for output in self.outputs:
            if output.view is not None:
                _check_view(output.view, shapes[output.kind][output.index])

    def describe(self) -> str:
        """The arguments it serves."""
        parts = [f"{g.name}{': ' if isinstance(g, TensorGuard) else '='}{g.describe()}" for g in self.guards]
        return ", ".join(parts) or "no inputs"


def _shape(guard: TensorGuard | ValueGuard) -> Shape:
    return guard.shape if isinstance(guard, TensorGuard) else ()


def _may_be(shape: Shape, other: Shape) -> bool:
    """Whether two shapes can be the same; None is an open size."""
    return len(shape) == len(other) and all(None in (a, b) or a == b for a, b in zip(shape, other, strict=True))


def _check_view(view: tuple[tuple[int, ...], tuple[int, ...], int], base: Shape) -> None:
    sizes, strides, offset = view
    if None in base:
        raise ValueError("a view of open sizes")
    if max(math.prod(n or 1 for n in sizes), offset, *strides, 0) >= _ADDRESSABLE:
        raise ValueError("a view of more than can be addressed")
    last = offset + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
    if 0 not in sizes and last >= math.prod(n or 0 for n in base):
        raise ValueError("a view beyond its base")


def _guard(data: Sequence[Any]) -> TensorGuard | ValueGuard:
    if len(data) == 2:
        return ValueGuard(_text(data[0]), values.from_json(data[1]))
    name, dtype, shape, symbols = data
    sizes = tuple(None if n is None else _count(n) for n in shape)
    if symbols and len(symbols) != len(sizes):
        raise ValueError("symbols of a shape")
    return TensorGuard(
        _text(name), _one_of(dtype, ARRAY_TYPES), sizes, tuple(None if s is None else _text(s) for s in symbols)
    )


def _output(data: Sequence[Any]) -> Output:
    kind, index, dtype, value, view = data
    _one_of(kind, ("result", "leaf", "state", "array", "constant", "size"))
    if kind not in ("constant", "size"):
        _one_of(dtype, ARRAY_TYPES)
    if kind == "constant":
        value = values.from_json(value)
        if isinstance(value, values.Other):
            raise ValueError("a constant without a value")
    if view is not None:
        sizes, strides, offset = view
        view = tuple(map(_count, sizes)), tuple(map(_count, strides)), _count(offset)
        if len(view[0]) != len(view[1]):
            raise ValueError("strides of a view")
    return Output(kind, _count(index), dtype, value, view)


def _tables(data: Any) -> tuple[tuple[int, ...], ...] | None:
    return None if data is None else tuple(tuple(_whole(n) for n in row) for row in data)


def _one_of(value: Any, known: Any) -> str:
    if type(value) is not str or value not in known:
        raise ValueError(f"{value!r} is not known")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("a name that is no text")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or abs(value) >= 1 << 62:
        raise ValueError("a number")
    return value


def _count(value: Any) -> int:
    if _whole(value) < 0:
        raise ValueError("a number below 0")
    return value
