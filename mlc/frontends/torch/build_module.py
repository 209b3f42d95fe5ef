"""A graph as a module of the torch dialect.

    Node("torch.constant.int", (), [%1], 1)              -->   %int1 = torch.constant.int 1
    Node("torch.vtensor.literal", (), [%2], "fc.bias")   -->   torch.vtensor.literal(dense_resource<fc.bias> : …) : …
    Node("torch.aten.relu", (%2,), [%3])                 -->   torch.aten.relu %2 : …

Imported when somebody wants to see or compile the module. Tests: tests/frontends/test_graph.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import (
    UNKNOWN_LOC,
    AffineMapAttr,
    BytesAttr,
    DenseIntOrFPElementsAttr,
    FunctionType,
    IntegerAttr,
    LocationAttr,
    ModuleOp,
    NameLoc,
    StringAttr,
    i1,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineMap, AffineSymExpr

from mlc.dialects.torch import TORCH, OperatorOp, VTensorType, aten_op, constant, device, literal, types
from mlc.dialects.torch.constants import literal_type_of
from mlc.dialects.torch.tensor_ops import BindSymbolicShapeOp, SymbolicIntOp
from mlc.frontends.torch.graph import (
    BIND_SHAPE,
    LITERAL,
    OPERATOR,
    SYMBOLIC_INT,
    Graph,
    ListType,
    Location,
    Node,
    TensorType,
    Type,
    Value,
)
from mlc.ir.fast_build import fast_build
from mlc.ir.fast_core import append_op
from mlc.ir.locations import source_location

ELEMENTS: dict[str, Attribute] = {
    name: getattr(types, name)
    for name in (
        "f32", "f64", "f16", "bf16", "i1", "si64", "si32", "si16", "si8", "ui8", "ui16", "ui32", "ui64",
        "complex64", "complex128",
    )
}  # fmt: skip
_KEYWORDS: dict[str, Attribute] = {
    "int": types.INT,
    "float": types.FLOAT,
    "bool": types.BOOL,
    "str": types.STR,
    "none": types.NONE,
    "number": types.NUMBER,
    "Device": types.DEVICE,
    "vtensor": VTensorType.get(),
    "optional<vtensor>": types.TorchOptionalType(VTensorType.get()),
}


def build_module(graph: Graph) -> ModuleOp:
    """A module with `graph` as its @forward."""
    with fast_build():
        return _Builder(graph).module()


class _Builder:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.types: dict[Type, Attribute] = {**_KEYWORDS}
        self.places: dict[Location, LocationAttr] = {}
        self.classes: dict[str, type[Operation]] = {}

    def module(self) -> ModuleOp:
        graph = self.graph
        block = Block(arg_types=[self.type(a.type) for a in graph.arguments])
        values: dict[Value, SSAValue] = dict(zip(graph.arguments, block.args, strict=True))
        for node in graph.nodes:
            operands = [values[v] for v in node.operands]
            result_types = [self.type(r.type) for r in node.results]
            location = self.place(node.location)
            make = _MAKE.get(node.name)
            if make is None:
                results = append_op(block, self.class_of(node.name), operands, result_types, location)
            else:
                op = make(node, operands, result_types)
                op.location = location
                block.add_op(op)
                results = op.results
            values.update(zip(node.results, results, strict=True))
        returned = [values[v] for v in graph.results]
        block.add_op(func.ReturnOp(*returned))
        kind = FunctionType.from_lists([a.type for a in block.args], [r.type for r in returned])
        return ModuleOp([func.FuncOp("forward", kind, Region(block))])

    def type(self, type: Type) -> Attribute:
        found = self.types.get(type)
        if found is None:
            match type:
                case TensorType():
                    found = VTensorType.get(type.shape, ELEMENTS[type.element])
                case ListType():
                    found = types.TorchListType(self.type(type.element))
                case _:
                    raise KeyError(type)
            self.types[type] = found
        return found

    def place(self, place: Location) -> LocationAttr:
        found = self.places.get(place)
        if found is None:
            found = self.places[place] = _place(*place)
        return found

    def class_of(self, name: str) -> type[Operation]:
        found = self.classes.get(name)
        if found is None:
            found = self.classes[name] = TORCH.find(name) or aten_op(name)
        return found


def _place(file: str, line: int, path: str) -> LocationAttr:
    if file:
        return source_location(file, line, path=path or None)
    return NameLoc(StringAttr(path), UNKNOWN_LOC) if path else UNKNOWN_LOC  # a module made of torch's own


_Make = Callable[[Node, list[SSAValue], list[Attribute]], Operation]


def _literal(node: Node, operands: list[SSAValue], result_types: list[Attribute]) -> Operation:
    (kind,) = result_types
    assert isinstance(kind, VTensorType)
    return literal(node.held if isinstance(node.held, str) else _dense(node.held, kind), kind)


def _dense(data: bytes, kind: VTensorType) -> Attribute:
    held: Any = literal_type_of(kind)
    if kind.element_type == i1:
        return DenseIntOrFPElementsAttr.from_list(held, np.frombuffer(data, np.uint8).tolist())
    return DenseIntOrFPElementsAttr(held, BytesAttr(data))


def _operator(node: Node, operands: list[SSAValue], result_types: list[Attribute]) -> Operation:
    attributes = {"name": StringAttr(node.held)}
    return OperatorOp.create(operands=operands, result_types=result_types, attributes=attributes)


def _symbolic_int(node: Node, operands: list[SSAValue], result_types: list[Attribute]) -> Operation:
    name, low, high = node.held
    held = {"symbol_name": StringAttr(name), "min_val": IntegerAttr(low, 64), "max_val": IntegerAttr(high, 64)}
    return SymbolicIntOp.create(result_types=result_types, attributes=held)


def _bind_shape(node: Node, operands: list[SSAValue], result_types: list[Attribute]) -> Operation:
    exprs = [AffineConstantExpr(n) if isinstance(n, int) else AffineSymExpr(*n) for n in node.held]
    held = {"shape_expressions": AffineMapAttr(AffineMap(0, len(operands) - 1, tuple(exprs)))}
    return BindSymbolicShapeOp.create(operands=operands, attributes=held)


_MAKE: dict[str, _Make] = {
    LITERAL: _literal,
    OPERATOR: _operator,
    SYMBOLIC_INT: _symbolic_int,
    BIND_SHAPE: _bind_shape,
    "torch.constant.device": lambda node, *_: device(node.held),
    **{
        f"torch.constant.{kind}": lambda node, *_: constant(node.held)
        for kind in ("int", "float", "bool", "str", "none")
    },
}
