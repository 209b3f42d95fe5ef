"""`memref.global` as upstream writes it; xDSL has only the generic form and no `dense_resource` initial value.

memref.global "private" constant @w : memref<2x2xf32> = dense_resource<w> {alignment = 64 : i64}
"""

from __future__ import annotations

from typing import Self

from xdsl.dialect_interfaces.op_asm import OpAsmDialectInterface
from xdsl.dialects.builtin import (
    I64,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    IntegerAttr,
    MemRefType,
    StringAttr,
    SymbolNameConstraint,
    TensorType,
    UnitAttr,
)
from xdsl.dialects.memref import GlobalOp as XdslGlobalOp
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, opt_prop_def, prop_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.bitwise_casts import is_power_of_two
from xdsl.utils.exceptions import VerifyException


@irdl_op_definition
class GlobalOp(XdslGlobalOp):
    """A named buffer of the module. `initial_value`: literal or resource, `unit`: uninitialized, none: external."""

    name = "memref.global"

    sym_name = prop_def(SymbolNameConstraint())
    sym_visibility = opt_prop_def(StringAttr)
    type = prop_def(MemRefType)
    initial_value = opt_prop_def(UnitAttr | DenseIntOrFPElementsAttr | DenseResourceAttr)
    constant = opt_prop_def(UnitAttr)
    alignment = opt_prop_def(IntegerAttr[I64])

    def verify_(self) -> None:
        if self.alignment is not None and not is_power_of_two(self.alignment.value.data):
            raise VerifyException(f"alignment {self.alignment.value.data} is not a power of 2")
        value = self.initial_value
        if isinstance(value, DenseIntOrFPElementsAttr | DenseResourceAttr):
            held = value.type
            assert isinstance(held, TensorType | MemRefType)
            if (held.get_shape(), held.element_type) != (self.type.get_shape(), self.type.element_type):
                raise VerifyException(f"initial value of {held} does not fit {self.type}")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        if self.sym_visibility is not None:
            printer.print_string_literal(self.sym_visibility.data)
            printer.print_string(" ")
        if self.constant is not None:
            printer.print_string("constant ")
        printer.print_symbol_name(self.sym_name.data)
        printer.print_string(" : ")
        printer.print_attribute(self.type)
        match self.initial_value:
            case None:
                pass
            case UnitAttr():
                printer.print_string(" = uninitialized")
            case value:
                printer.print_string(" = ")
                value.print_without_type(printer)
        rest: dict[str, Attribute] = dict(self.attributes)
        if self.alignment is not None:
            rest["alignment"] = self.alignment
        printer.print_op_attributes(rest)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        visibility = parser.parse_optional_str_literal()
        constant = UnitAttr() if parser.parse_optional_keyword("constant") else None
        name = parser.parse_symbol_name()
        parser.parse_punctuation(":")
        type_ = parser.parse_type()
        if not isinstance(type_, MemRefType):
            parser.raise_error("expected a memref type")
        value = _parse_value(parser, type_) if parser.parse_optional_punctuation("=") else None
        attributes = parser.parse_optional_attr_dict()
        op = cls.create(
            properties={
                "sym_name": name,
                "type": type_,
                **({"sym_visibility": StringAttr(visibility)} if visibility is not None else {}),
                **({"constant": constant} if constant is not None else {}),
                **({"initial_value": value} if value is not None else {}),
                **({"alignment": a} if (a := attributes.pop("alignment", None)) is not None else {}),
            },
            attributes=attributes,
        )
        return op


def _parse_value(parser: Parser, type_: MemRefType) -> Attribute:
    if parser.parse_optional_keyword("uninitialized"):
        return UnitAttr()
    tensor = TensorType(type_.element_type, type_.shape)
    if parser.parse_optional_keyword("dense_resource"):
        interface = parser.ctx.get_dialect("builtin").get_interface(OpAsmDialectInterface)
        assert interface is not None
        with parser.in_angle_brackets():
            handle = parser._parse_dialect_resource_handle("builtin", interface)  # pyright: ignore[reportPrivateUsage]
        value: Attribute = DenseResourceAttr.from_params(handle, tensor)
    else:
        parser.parse_keyword("dense")
        value = parser.parse_dense_int_or_fp_elements_attr(tensor)  # pyright: ignore[reportArgumentType]
    return value


OPS = (GlobalOp,)
