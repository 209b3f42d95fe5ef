"""A module as compact data, read several times faster than text: for IR that mlc itself stores and reads again.

    func.func @f(%x: f32) -> f32 {…}  -->  {"attributes": ["f32", …], "names": ["func.func", …], "block": [[], [op, …]]}
    op: [name, operands, result types, properties, attributes, regions]; values count from 0 in order of the text

Every type and attribute is written once and named by number: the usual ones by their parts (`["tensor", 0, 4, 16]` is
tensor<4x16xf32> where f32 is number 0), the others as text. Locations and name hints are left out. Successors are not
supported: what is stored are functions of one block.
"""

from __future__ import annotations

import json
from typing import Any

from xdsl.dialects.builtin import DenseResourceAttr, FunctionType, ModuleOp, NoneAttr, StringAttr, TensorType
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from mlc.errors import ArtifactError, InternalError
from mlc.ir.context import MlcContext
from mlc.ir.parsing import LocatingParser


def to_compact(module: ModuleOp) -> str:
    """JSON text of `module`."""
    writer = _Writer()
    block = writer.block(module.body.block)
    data = {"attributes": writer.attributes, "names": list(writer.names), "block": block}
    return json.dumps(data, separators=(",", ":"))


def from_compact(text: str, ctx: MlcContext) -> ModuleOp:
    """The module that `to_compact` wrote. ArtifactError when the text is something else."""
    try:
        data = json.loads(text)
        reader = _Reader(ctx, data["attributes"], data["names"])
        return ModuleOp(Region(reader.block(data["block"])))
    except (ValueError, KeyError, TypeError, IndexError) as e:
        raise ArtifactError(f"not a stored module: {e}", hint="compile the model again") from None


class _Writer:
    def __init__(self) -> None:
        self.attributes: list[Any] = []
        self.names: dict[str, int] = {}
        self.values: dict[SSAValue, int] = {}
        self._known: dict[Attribute, int] = {}

    def attribute(self, a: Attribute) -> int:
        number = self._known.get(a)
        if number is None:
            written = self._written(a)  # its parts come first
            number = self._known[a] = len(self.attributes)
            self.attributes.append(written)
        return number

    def _written(self, a: Attribute) -> str | list[Any]:
        if type(a) is StringAttr:
            return ["string", a.data]
        if type(a) is TensorType and isinstance(a.encoding, NoneAttr):
            return ["tensor", self.attribute(a.element_type), *a.get_shape()]
        if type(a) is FunctionType:
            return ["function", *([self.attribute(t) for t in types.data] for types in (a.inputs, a.outputs))]
        if isinstance(a, DenseResourceAttr):
            return ["resource", a.resource_handle.data, self.attribute(a.type)]
        return str(a)

    def block(self, block: Block) -> list[Any]:
        for arg in block.args:
            self.values[arg] = len(self.values)
        return [[self.attribute(a.type) for a in block.args], [self.op(op) for op in block.ops]]

    def op(self, op: Operation) -> list[Any]:
        if op.successors or any(len(r.blocks) > 1 for r in op.regions):
            raise InternalError(f"'{op.name}' has several blocks and cannot be stored")
        operands = [self.values[v] for v in op.operands]
        regions = [[self.block(b) for b in r.blocks] for r in op.regions]
        for result in op.results:
            self.values[result] = len(self.values)
        return [
            self.names.setdefault(op.name, len(self.names)),
            operands,
            [self.attribute(r.type) for r in op.results],
            {k: self.attribute(a) for k, a in op.properties.items()},
            {k: self.attribute(a) for k, a in op.attributes.items()},
            regions,
        ]


class _Reader:
    def __init__(self, ctx: MlcContext, attributes: list[Any], names: list[str]) -> None:
        self.ctx = ctx
        self.attributes: list[Attribute] = []
        for written in attributes:
            self.attributes.append(self._attribute(written))
        self.classes = [ctx.get_op(name) for name in names]
        self.values: list[SSAValue] = []

    def _attribute(self, written: Any) -> Attribute:
        known = self.attributes
        match written:
            case ["string", data]:
                return StringAttr(data)
            case ["tensor", element, *shape]:
                return TensorType(known[element], shape)
            case ["function", inputs, outputs]:
                return FunctionType.from_lists([known[t] for t in inputs], [known[t] for t in outputs])
            case ["resource", handle, kind]:
                return DenseResourceAttr.from_params(handle, known[kind])  # pyright: ignore[reportArgumentType]
            case _:
                return LocatingParser(self.ctx, written, "").parse_attribute()

    def block(self, data: list[Any]) -> Block:
        block = Block(arg_types=[self.attributes[t] for t in data[0]])
        self.values += block.args
        block.add_ops([self.op(op) for op in data[1]])
        return block

    def op(self, data: list[Any]) -> Operation:
        name, operands, results, properties, attributes, regions = data
        inputs = [self.values[v] for v in operands]
        inner = [Region([self.block(b) for b in r]) for r in regions]
        op = self.classes[name].create(
            operands=inputs,
            result_types=[self.attributes[t] for t in results],
            properties={k: self.attributes[a] for k, a in properties.items()},
            attributes={k: self.attributes[a] for k, a in attributes.items()},
            regions=inner,
        )
        self.values += op.results
        return op
