"""`memref.prefetch`, which xDSL lacks: bring an element into a cache before it is needed.

memref.prefetch %m[%i, %j], read, locality<2>, data : memref<4x16xf32>
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from xdsl.dialects.builtin import BoolAttr, IndexType, IntegerAttr, MemRefType, i1, i32
from xdsl.ir import SSAValue
from xdsl.irdl import IRDLOperation, irdl_op_definition, operand_def, prop_def, var_operand_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException


@irdl_op_definition
class PrefetchOp(IRDLOperation):
    """A hint without effect on values; the element may lie outside of `memref`. `localityHint`: 3 into the first-level
    cache, 2 and 1 into those behind it, 0 past them."""

    name = "memref.prefetch"

    memref = operand_def(MemRefType)
    indices = var_operand_def(IndexType)
    isWrite = prop_def(BoolAttr)
    localityHint = prop_def(IntegerAttr.constr(i32))
    isDataCache = prop_def(BoolAttr)

    def __init__(self, memref: SSAValue, indices: Sequence[SSAValue], locality: int) -> None:
        super().__init__(
            operands=[memref, list(indices)],
            properties={
                "isWrite": IntegerAttr(0, i1),
                "localityHint": IntegerAttr(locality, i32),
                "isDataCache": IntegerAttr(1, i1),
            },
        )

    def verify_(self) -> None:
        assert isinstance(self.memref.type, MemRefType)
        rank = self.memref.type.get_num_dims()
        if len(self.indices) != rank:
            raise VerifyException(f"expected {rank} indices, got {len(self.indices)}")
        if not 0 <= self.localityHint.value.data <= 3:
            raise VerifyException(f"expected a locality of 0 to 3, got {self.localityHint.value.data}")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.memref)
        with printer.in_square_brackets():
            printer.print_list(self.indices, printer.print_ssa_value)
        kind = "write" if self.isWrite.value.data else "read"
        cache = "data" if self.isDataCache.value.data else "instr"
        printer.print_string(f", {kind}, locality<{self.localityHint.value.data}>, {cache}")
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.memref.type)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        memref = parser.parse_unresolved_operand()
        indices = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_unresolved_operand)
        parser.parse_punctuation(",")
        write = parser.expect(lambda: _choice(parser, "read", "write"), "'read' or 'write' expected")
        parser.parse_punctuation(",")
        parser.parse_keyword("locality")
        with parser.in_angle_brackets():
            locality = parser.parse_integer(allow_boolean=False, allow_negative=False)
        parser.parse_punctuation(",")
        data = parser.expect(lambda: _choice(parser, "instr", "data"), "'data' or 'instr' expected")
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        kind = parser.parse_type()
        operands = [
            parser.resolve_operand(memref, kind),
            *(parser.resolve_operand(index, IndexType()) for index in indices),
        ]
        return cls.create(
            operands=operands,
            properties={
                "isWrite": IntegerAttr(write, i1),
                "localityHint": IntegerAttr(locality, i32),
                "isDataCache": IntegerAttr(data, i1),
            },
            attributes=attributes,
        )


def _choice(parser: Parser, no: str, yes: str) -> int | None:
    if parser.parse_optional_keyword(no):
        return 0
    return 1 if parser.parse_optional_keyword(yes) else None


OPS = (PrefetchOp,)
