"""A module as compact data, read several times faster than text: for IR that mlc itself stores and reads again.

    func.func @f(%x: f32) -> f32 {…}  -->  {"attributes": ["f32", …], "names": ["func.func", …], "block": [[], [op, …]]}
    op: [name, operands, result types, properties, attributes, regions]; values count from 0 in order of the text

Every type and attribute is written as text once and named by number; locations and name hints are left out. Successors
are not supported: what is stored are functions of one block.
"""

from __future__ import annotations

import json
from typing import Any

from xdsl.dialects.builtin import DenseResourceAttr, ModuleOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from mlc.errors import ArtifactError, InternalError
from mlc.ir.context import MlcContext
from mlc.ir.parsing import LocatingParser


def to_compact(module: ModuleOp) -> str:
    """JSON text of `module`."""
    writer = _Writer()
    block = writer.block(module.body.block)
    data = {"attributes": list(writer.attributes), "names": list(writer.names), "block": block}
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
        self.attributes: dict[str, int] = {}
        self.names: dict[str, int] = {}
        self.values: dict[SSAValue, int] = {}
        self._known: dict[Attribute, int] = {}

    def attribute(self, a: Attribute) -> int:
        number = self._known.get(a)
        if number is None:
            text = f"@{a.resource_handle.data}@{a.type}" if isinstance(a, DenseResourceAttr) else str(a)
            number = self._known[a] = self.attributes.setdefault(text, len(self.attributes))
        return number

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
    def __init__(self, ctx: MlcContext, attributes: list[str], names: list[str]) -> None:
        self.ctx = ctx
        self._parsed: dict[str, Attribute] = {}
        self.attributes = [self._attribute(text) for text in attributes]
        self.classes = [ctx.get_op(name) for name in names]
        self.values: list[SSAValue] = []

    def _attribute(self, text: str) -> Attribute:
        if text.startswith("@") and "@" in text[1:]:
            handle, _, kind = text[1:].rpartition("@")
            return DenseResourceAttr.from_params(handle, self._attribute(kind))  # pyright: ignore[reportArgumentType]
        found = self._parsed.get(text)
        if found is None:
            found = self._parsed[text] = LocatingParser(self.ctx, text, "").parse_attribute()
        return found

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
