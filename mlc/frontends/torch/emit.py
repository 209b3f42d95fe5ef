"""Build the torch dialect from ATen calls: arguments in schema order, constants made once, tensors as literals.

aten.add.Tensor(x, y)   -->   %int1 = torch.constant.int 1
                              %2 = torch.aten.add.Tensor %0, %1, %int1 : … -> !torch.vtensor<[2,3],f32>
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from xdsl.dialects.builtin import BytesAttr, DenseIntOrFPElementsAttr, LocationAttr, StringAttr, TensorType
from xdsl.ir import Attribute, Block, Operation, SSAValue

from mlc.dialects.torch import (
    BOOL,
    FLOAT,
    INT,
    NUMBER,
    STR,
    OperatorOp,
    SchemaType,
    TorchOptionalType,
    VTensorType,
    aten_op,
    constant,
    device,
    has_schema,
    list_construct,
    literal,
    schema,
)
from mlc.errors import UnsupportedError
from mlc.frontends.torch.arrays import (
    LAYOUT_NUMBERS,
    MEMORY_FORMAT_NUMBERS,
    SCALAR_TYPE_NUMBERS,
    element_type,
    to_numpy,
)
from mlc.ir.locations import format_location
from mlc.ir.resources import ResourceStore

_INLINE_ELEMENTS = 16
_TENSOR = VTensorType.get()
_LIST_ELEMENTS: dict[str, Attribute] = {
    "int": INT,
    "SymInt": INT,
    "float": FLOAT,
    "bool": BOOL,
    "Scalar": NUMBER,
    "str": STR,
}

SymbolicInt = Callable[[torch.SymInt], SSAValue]


def tensor_type(tensor: torch.Tensor) -> VTensorType:
    """The value type of a tensor; symbolic sizes are dynamic."""
    return VTensorType.get(static(tensor.shape), element_type(tensor.dtype))


def static(sizes: Sequence[int | torch.SymInt]) -> list[int | None]:
    """Sizes of a type: None for symbolic ones, unless torch.export found that they can be one number only."""
    return [_known(d) for d in sizes]


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
    """Appends ops to a block."""

    def __init__(self, block: Block, resources: ResourceStore) -> None:
        self.block = block
        self.resources = resources
        self.symbolic_int: SymbolicInt | None = None
        self._constants: dict[tuple[object, ...], SSAValue] = {}
        self._shared: set[SSAValue] = set()

    def call(
        self,
        name: str,
        arguments: Sequence[Any],
        result_types: Sequence[Attribute],
        location: LocationAttr,
    ) -> Sequence[SSAValue]:
        """`torch.<name>` on `arguments`: SSA values or Python values, in schema order; missing ones are defaults."""
        if not has_schema(name):
            operands = [self.argument(a, None, location) for a in arguments]
            attributes = {"name": StringAttr(name)}
            op = OperatorOp.create(
                operands=operands, result_types=result_types, attributes=attributes, location=location
            )
        else:
            wanted = schema(name).arguments
            given = [*arguments, *(a.default for a in wanted[len(arguments) :])]
            operands = [self.argument(value, arg.type, location) for value, arg in zip(given, wanted, strict=True)]
            op = aten_op(name).create(operands=operands, result_types=result_types, location=location)
        self.block.add_op(op)
        return op.results

    def argument(self, value: Any, type: SchemaType | None, location: LocationAttr) -> SSAValue:
        """A value as operand: SSA values stay, Python values become constants and lists."""
        if isinstance(value, SSAValue):
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
                where=format_location(location) or None,
                hint="compute the real and the imaginary part apart, and join them by torch.complex(real, imaginary)",
            )
        if isinstance(value, torch.ScriptObject):
            raise UnsupportedError(
                "this model holds packed weights of PyTorch's quantisation",
                where=format_location(location) or None,
                hint='compile the float model; precision="int8" quantises its linear layers',
            )
        return self.constant(value)

    def constant(self, value: Any) -> SSAValue:
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
            if isinstance(value, torch.device):
                op = device(str(value))
            elif value is None or isinstance(value, bool | int | float | str):
                op = constant(value)
            else:
                raise UnsupportedError(f"an argument of type {type(value).__name__} ({value!r})")
            found = self._constants[key] = self._add(op)
            self._shared.add(found)
        return found

    def is_shared(self, value: SSAValue) -> bool:
        """Whether this is a constant that is made once, for all who need it."""
        return value in self._shared

    def add(self, op: Operation) -> Sequence[SSAValue]:
        """The results of an op that is to come next."""
        self.block.add_op(op)
        return op.results

    def _add(self, op: Operation) -> SSAValue:
        self.block.add_op(op)
        return op.results[0]

    def literal(self, tensor: torch.Tensor, name: str, location: LocationAttr) -> SSAValue:
        """A weight: its memory goes to the weight store under `name`; complex numbers as pairs of real ones."""
        if tensor.is_complex():
            pairs = self.literal(torch.view_as_real(tensor.detach().resolve_conj()), name, location)
            return self.call("aten.view_as_complex", (pairs,), [tensor_type(tensor)], location)[0]
        return self._add(literal(self.resources.add(name, to_numpy(tensor)), tensor_type(tensor), location))

    def small_literal(self, tensor: torch.Tensor, location: LocationAttr) -> SSAValue:
        """A tensor made in forward: elements in the IR when few, `aten.full` when all are equal, else a handle."""
        if tensor.is_complex():
            return self.literal(tensor, "constant", location)
        if tensor.numel() <= _INLINE_ELEMENTS:
            return self._add(literal(_dense(tensor), tensor_type(tensor), location))
        array = np.ascontiguousarray(to_numpy(tensor))
        if _is_uniform(array):
            arguments = (list(tensor.shape), tensor.reshape(-1)[0].item(), tensor.dtype)
            return self.call("aten.full", arguments, [tensor_type(tensor)], location)[0]
        return self.literal(tensor, "constant", location)

    def _list(self, value: Any, type: SchemaType | None, location: LocationAttr) -> SSAValue:
        items = list(value) if isinstance(value, list | tuple) else [value] * ((type and type.size) or 1)
        inner = type.element if type is not None and type.kind == "List" else None
        operands = [self.argument(item, inner, location) for item in items]
        if inner is not None and inner.kind in _LIST_ELEMENTS:
            element: Attribute = _LIST_ELEMENTS[inner.kind]
        elif inner is not None and inner.kind == "Optional":
            element = TorchOptionalType(_TENSOR)
        elif operands and not isinstance(operands[0].type, VTensorType):
            element = operands[0].type
        else:
            element = _TENSOR
        key = ("list", element, tuple(map(id, operands)))
        if not all(isinstance(v, bool | int | float | str) for v in items):
            return self._add(list_construct(operands, element, location))
        if key not in self._constants:
            self._constants[key] = self._add(list_construct(operands, element, location))
            self._shared.add(self._constants[key])
        return self._constants[key]


def _dense(tensor: torch.Tensor) -> Attribute:
    held: Any = TensorType(element_type(tensor.dtype), list(tensor.shape))
    if tensor.dtype is torch.bool:
        return DenseIntOrFPElementsAttr.from_list(held, [int(v) for v in tensor.reshape(-1).tolist()])
    return DenseIntOrFPElementsAttr(held, BytesAttr(np.ascontiguousarray(to_numpy(tensor)).tobytes()))


def _is_uniform(array: np.ndarray) -> bool:
    """Whether all elements have the same bits."""
    bits = array.reshape(-1).view(f"u{array.dtype.itemsize}")
    return bool((bits == bits[0]).all())
