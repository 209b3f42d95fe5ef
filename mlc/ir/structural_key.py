"""Structural keys: two op sequences with equal keys compute the same function of their inputs.

A key is a nested tuple of op names, attributes and value numbers, so SSA names, locations and positions do not
matter. Making one is a single walk; nothing is printed.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from xdsl.dialects.builtin import FloatAttr
from xdsl.ir import Attribute, Operation, Region, SSAValue


class Numbering:
    """Numbers values in the order they are met; inputs first seen as operands become `free` values."""

    def __init__(self) -> None:
        self.ids: dict[SSAValue, int] = {}
        self.free: list[SSAValue] = []

    def define(self, value: SSAValue) -> None:
        self.ids[value] = len(self.ids)

    def use(self, value: SSAValue) -> Hashable:
        if value not in self.ids:
            self.define(value)
            self.free.append(value)
            return ("in", self.ids[value], value.type)
        return self.ids[value]


def _attribute_key(attr: Attribute) -> Hashable:
    # equality of floats would merge 0.0 with -0.0 and keep NaN from itself
    return ("float", repr(attr.value.data), attr.type) if isinstance(attr, FloatAttr) else attr


def op_key(op: Operation, numbering: Numbering) -> Hashable:
    """Key of one op; its results get numbers."""
    operands = tuple(numbering.use(v) for v in op.operands)
    regions = tuple(_region_key(r, numbering) for r in op.regions)
    for r in op.results:
        numbering.define(r)
    return (
        op.name,
        operands,
        tuple(sorted((k, _attribute_key(v)) for k, v in op.properties.items())) if op.properties else (),
        tuple(sorted((k, _attribute_key(v)) for k, v in op.attributes.items())) if op.attributes else (),
        tuple(r.type for r in op.results),
        regions,
    )


def _region_key(region: Region, numbering: Numbering) -> Hashable:
    out: list[Hashable] = []
    for block in region.blocks:
        for arg in block.args:
            numbering.define(arg)
        out.append((tuple(a.type for a in block.args), tuple(op_key(op, numbering) for op in block.ops)))
    return tuple(out)


def sequence_key(ops: Sequence[Operation], numbering: Numbering) -> Hashable:
    """Key of ops in order."""
    return tuple(op_key(op, numbering) for op in ops)
