"""A recording as plain data: what a start from the cache needs of a model, made without xDSL.

    Graph(arguments=[%x], nodes=[Node("torch.constant.int", (), [%1], 1), Node("torch.aten.relu", (%x,), [%2])], …)
    graph.module()    -->    func.func @forward(%x) { %int1 = torch.constant.int 1 … }

A node is an op of the torch dialect: its name, operands, result types, and what else it holds (the number of a
constant, the name or the bytes of a literal). `build_module.py` makes the module, the same as often as it is asked.
"""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

LITERAL = "torch.vtensor.literal"
LIST = "torch.prim.ListConstruct"
OPERATOR = "torch.operator"
SYMBOLIC_INT = "torch.symbolic_int"
BIND_SHAPE = "torch.bind_symbolic_shape"


class TensorType(NamedTuple):
    """`TensorType((2, None), "f32")` is `!torch.vtensor<[2,?],f32>`."""

    shape: tuple[int | None, ...]
    element: str


class ListType(NamedTuple):
    """`ListType("int")` is `!torch.list<int>`."""

    element: Type


Type = TensorType | ListType | str
"""A string is a type that has no parts: `int`, `none`, `vtensor` (any tensor), `optional<vtensor>`."""


class Location(NamedTuple):
    """A line of the user's program, and the path of the module that ran it; any of them may be unknown."""

    file: str = ""
    line: int = 0
    path: str = ""

    def __str__(self) -> str:
        """`model.py:42 (layer1.0.conv1)`; empty when unknown. As `format_location` writes it."""
        place = f"{self.file}:{self.line}" if self.file else ""
        return f"{place} ({self.path})" if place and self.path else place or self.path


UNKNOWN = Location()


class Value:
    """A value, known by its identity."""

    __slots__ = ("type",)

    def __init__(self, type: Type) -> None:
        self.type = type


class Node:
    """An op. `held`: plain data that `marshal` takes; None where operands and types say it all."""

    __slots__ = ("held", "location", "name", "operands", "results")

    def __init__(
        self, name: str, operands: Sequence[Value], results: tuple[Value, ...], held: Any, location: Location
    ) -> None:
        self.name = name
        self.operands = operands
        self.results = results
        self.held = held
        self.location = location


class Graph:
    """@forward: its arguments, its ops in order, and what it returns."""

    def __init__(self) -> None:
        self.arguments: list[Value] = []
        self.nodes: list[Node] = []
        self.results: list[Value] = []
        self._digest = ""

    def add_argument(self, type: Type) -> Value:
        """One more argument, behind the others."""
        value = Value(type)
        self.arguments.append(value)
        return value

    def append(
        self,
        name: str,
        operands: Sequence[Value],
        types: Sequence[Type],
        location: Location = UNKNOWN,
        held: Any = None,
    ) -> tuple[Value, ...]:
        """The results of an op that comes next."""
        results = tuple([Value(t) for t in types])
        self.nodes.append(Node(name, operands, results, held, location))
        return results

    def make_argument(self, value: Value) -> None:
        """What an op gave is an argument from now on, behind the others; the op goes."""
        self.nodes = [node for node in self.nodes if value not in node.results]
        self.arguments.append(value)

    def close(self, results: Sequence[Value]) -> None:
        """It returns these. What nothing reads goes: every recorded op is functional."""
        self.results = list(results)
        read = set(results)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if not node.results or not read.isdisjoint(node.results):
                read.update(node.operands)
                kept.append(node)
        self.nodes = kept[::-1]

    def module(self) -> ModuleOp:
        """It as a module of its own, which nobody else has."""
        from mlc.ir.late_formats import late_formats  # noqa: PLC0415 - imports xDSL

        with late_formats():
            from mlc.frontends.torch.build_module import build_module  # noqa: PLC0415 - imports xDSL

        return build_module(self)

    # what a compiled model is found by

    def content(self, alike: Mapping[Value, Value] | None = None) -> bytes:
        """All that a compiler can see of it, but for places. Arguments that are keys of `alike` are their values."""
        given = [a for a in self.arguments if not alike or a not in alike]
        numbers = {argument: number for number, argument in enumerate(given)}
        count = len(numbers)
        for one, other in (alike or {}).items():
            numbers[one] = numbers[other]
        known: dict[Type, int] = {}
        arguments = [known.setdefault(a.type, len(known)) for a in given]
        nodes: list[tuple[Any, ...]] = []
        for node in self.nodes:
            operands = [numbers[v] for v in node.operands]
            results = [known.setdefault(r.type, len(known)) for r in node.results]
            nodes.append((node.name, operands, results, node.held))
            for result in node.results:
                numbers[result] = count
                count += 1
        types = [_plain(t) for t in known]
        # version 2 has floats bit by bit and no references, which would depend on who else holds an object
        return marshal.dumps((types, arguments, nodes, [numbers[v] for v in self.results]), 2)

    @property
    def digest(self) -> str:
        """What stands for it in keys, once it is closed."""
        if not self._digest:
            self._digest = _digest(self.content())
        return self._digest

    def places(self) -> str:
        """A hash of the source lines of its ops, in order."""
        return _digest(marshal.dumps([tuple(node.location) for node in self.nodes], 2))

    def custom_names(self) -> set[str]:
        """Ops that are known by name only: those of `torch.library`."""
        return {node.held.removeprefix("torch.") for node in self.nodes if node.name == OPERATOR}

    def only_looked_up(self) -> set[str]:
        """Weights that are nothing but tables of embeddings."""
        read = set(self.results)
        for node in self.nodes:
            read.update(node.operands[1:] if node.name == "torch.aten.embedding" else node.operands)
        tables: set[str] = set()
        others: set[str] = set()
        for node in self.nodes:
            if node.name == LITERAL and isinstance(node.held, str):
                (others if node.results[0] in read else tables).add(node.held)
        return tables - others


def _plain(type: Type) -> Any:
    """A type as `marshal` takes it."""
    match type:
        case TensorType():
            return tuple(type)
        case ListType():
            return [_plain(type.element)]
        case _:
            return type


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
