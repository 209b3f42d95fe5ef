"""Append ATen calls to a graph: arguments in schema order, constants made once, tensors as literals.

aten.add.Tensor(x, y)   -->   %int1 = torch.constant.int 1
                              %2 = torch.aten.add.Tensor %0, %1, %int1 : … -> !torch.vtensor<[2,3],f32>
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from mlc.dialects.aten_schema import SchemaType, has_schema, schema
from mlc.errors import UnsupportedError
from mlc.frontends.torch.arrays import (
    LAYOUT_NUMBERS,
    MEMORY_FORMAT_NUMBERS,
    SCALAR_TYPE_NUMBERS,
    element_type,
    to_numpy,
)
from mlc.frontends.torch.graph import LIST, LITERAL, OPERATOR, Graph, ListType, Location, TensorType, Type, Value
from mlc.ir.resources import ResourceStore

_INLINE_ELEMENTS = 16
_TENSOR = "vtensor"
_LIST_ELEMENTS = {
    "int": "int",
    "SymInt": "int",
    "float": "float",
    "bool": "bool",
    "Scalar": "number",
    "str": "str",
}
_CONSTANT_TYPES = {"device": "Device"}

SymbolicInt = Callable[[torch.SymInt], Value]


def tensor_type(tensor: torch.Tensor) -> TensorType:
    """The value type of a tensor; symbolic sizes are dynamic."""
    return TensorType(static(tensor.shape), element_type(tensor.dtype))


def sized(sizes: Sequence[int | torch.SymInt], dtype: torch.dtype) -> TensorType:
    """The value type of a tensor of these sizes."""
    return TensorType(static(sizes), element_type(dtype))


def static(sizes: Sequence[int | torch.SymInt]) -> tuple[int | None, ...]:
    """Sizes of a type: None for symbolic ones, unless torch.export found that they can be one number only."""
    return tuple([_known(d) for d in sizes])


def _known(size: int | torch.SymInt) -> int | None:
    if isinstance(size, int):
        return size
    expr = size.node.expr
    return int(expr) if expr.is_Integer else None


def op_name(func: torch._ops.OpOverload) -> str:
    """`aten.add.Tensor` of `torch.ops.aten.add.Tensor`; the default overload has no suffix."""
    name = func._schema.name.replace("::", ".", 1)
    overload = func._schema.overload_name
    return f"{name}.{overload}" if overload else name


class Emitter:
    """Appends ops to a graph."""

    def __init__(self, graph: Graph, resources: ResourceStore) -> None:
        self.graph = graph
        self.resources = resources
        self.symbolic_int: SymbolicInt | None = None
        self._constants: dict[tuple[object, ...], Value] = {}
        self._shared: set[Value] = set()

    def call(
        self,
        name: str,
        arguments: Sequence[Any],
        result_types: Sequence[Type],
        location: Location,
    ) -> Sequence[Value]:
        """`torch.<name>` on `arguments`: values or Python values, in schema order; missing ones are defaults."""
        if not has_schema(name):
            operands = [self.argument(a, None, location) for a in arguments]
            return self.graph.append(OPERATOR, operands, result_types, location, name)
        wanted = schema(name).arguments
        given = [*arguments, *(a.default for a in wanted[len(arguments) :])]
        operands = [self.argument(value, arg.type, location) for value, arg in zip(given, wanted, strict=True)]
        return self.graph.append(f"torch.{name}", operands, result_types, location)

    def argument(self, value: Any, type: SchemaType | None, location: Location) -> Value:
        """A value as operand: values of the graph stay, Python values become constants and lists."""
        if isinstance(value, Value):
            return value
        if type is not None and type.kind == "Optional":
            return self.constant(None) if value is None else self.argument(value, type.element, location)
        if isinstance(value, list | tuple) or (type is not None and type.kind == "List"):
            return self._list(value, type, location)
        if type is not None and type.kind == "float" and isinstance(value, int):
            value = float(value)
        if isinstance(value, complex):
            raise UnsupportedError(
                f"this model computes with the complex number {value}",
                where=str(location) or None,
                hint="compute the real and the imaginary part apart, and join them by torch.complex(real, imaginary)",
            )
        if isinstance(value, torch.ScriptObject):
            raise UnsupportedError(
                "this model holds packed weights of PyTorch's quantisation",
                where=str(location) or None,
                hint='compile the float model; precision="int8" quantises its linear layers',
            )
        return self.constant(value)

    def constant(self, value: Any) -> Value:
        """`torch.constant.*` of a Python value; equal constants are one op."""
        if isinstance(value, torch.SymInt):
            if self.symbolic_int is None:
                raise UnsupportedError("a symbolic size outside a capture with dynamic shapes")
            return self.symbolic_int(value)
        if isinstance(value, torch.dtype):
            value = SCALAR_TYPE_NUMBERS[value]
        elif isinstance(value, torch.memory_format):
            value = MEMORY_FORMAT_NUMBERS[value]
        elif isinstance(value, torch.layout):
            value = LAYOUT_NUMBERS[value]
        key: tuple[object, ...] = (type(value).__name__, value)
        if isinstance(value, float):
            key = ("float", struct.pack("<d", value))
        found = self._constants.get(key)
        if found is None:
            kind, held = _constant(value)
            (found,) = self.graph.append(f"torch.constant.{kind}", (), (_CONSTANT_TYPES.get(kind, kind),), held=held)
            self._constants[key] = found
            self._shared.add(found)
        return found

    def is_shared(self, value: Value) -> bool:
        """Whether this is a constant that is made once, for all who need it."""
        return value in self._shared

    def literal(self, tensor: torch.Tensor, name: str, location: Location) -> Value:
        """A weight: its memory goes to the weight store under `name`; complex numbers as pairs of real ones."""
        if tensor.is_complex():
            pairs = self.literal(torch.view_as_real(tensor.detach().resolve_conj()), name, location)
            return self.call("aten.view_as_complex", (pairs,), [tensor_type(tensor)], location)[0]
        held = self.resources.add(name, to_numpy(tensor))
        return self._one(LITERAL, (), tensor_type(tensor), location, held)

    def small_literal(self, tensor: torch.Tensor, location: Location) -> Value:
        """A tensor made in forward: elements in the IR when few, `aten.full` when all are equal, else a handle."""
        if tensor.is_complex():
            return self.literal(tensor, "constant", location)
        if tensor.numel() <= _INLINE_ELEMENTS:
            held = np.ascontiguousarray(to_numpy(tensor)).tobytes()
            return self._one(LITERAL, (), tensor_type(tensor), location, held)
        array = np.ascontiguousarray(to_numpy(tensor))
        if _is_uniform(array):
            arguments = (list(tensor.shape), tensor.reshape(-1)[0].item(), tensor.dtype)
            return self.call("aten.full", arguments, [tensor_type(tensor)], location)[0]
        return self.literal(tensor, "constant", location)

    def _list(self, value: Any, type: SchemaType | None, location: Location) -> Value:
        items = list(value) if isinstance(value, list | tuple) else [value] * ((type and type.size) or 1)
        inner = type.element if type is not None and type.kind == "List" else None
        operands = [self.argument(item, inner, location) for item in items]
        if inner is not None and inner.kind in _LIST_ELEMENTS:
            element: Type = _LIST_ELEMENTS[inner.kind]
        elif inner is not None and inner.kind == "Optional":
            element = f"optional<{_TENSOR}>"
        elif operands and not isinstance(operands[0].type, TensorType):
            element = operands[0].type
        else:
            element = _TENSOR
        key = ("list", element, tuple(map(id, operands)))
        if not all(isinstance(v, bool | int | float | str) for v in items):
            return self._one(LIST, operands, ListType(element), location)
        if key not in self._constants:
            self._constants[key] = self._one(LIST, operands, ListType(element), location)
            self._shared.add(self._constants[key])
        return self._constants[key]

    def _one(self, name: str, operands: Sequence[Value], type: Type, location: Location, held: Any = None) -> Value:
        return self.graph.append(name, operands, (type,), location, held)[0]


def _constant(value: Any) -> tuple[str, Any]:
    """The kind of a constant, and what it holds: of Python's own types, whatever class of them was given."""
    match value:
        case torch.device():
            return "device", str(value)
        case None:
            return "none", None
        case bool():
            return "bool", value
        case int():
            return "int", int(value)
        case float():
            return "float", float(value)
        case str():
            return "str", str.__str__(value)
        case _:
            raise UnsupportedError(f"an argument of type {type(value).__name__} ({value!r})")


def _is_uniform(array: np.ndarray) -> bool:
    """Whether all elements have the same bits."""
    bits = array.reshape(-1).view(f"u{array.dtype.itemsize}")
    return bool((bits == bits[0]).all())
