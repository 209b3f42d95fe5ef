"""Copies between the two kinds of tensors, run-time checks, symbolic shapes.

%v = torch.copy.to_vtensor %t : !torch.vtensor<[2],f32>
%t = torch.copy.to_tensor %v : !torch.tensor<[2],f32>
torch.overwrite.tensor.contents %v overwrites %t : !torch.vtensor<[2],f32>, !torch.tensor<[2],f32>
%s0 = torch.symbolic_int "s0" {min_val = 2, max_val = 8} : !torch.int
torch.bind_symbolic_shape %v, [%s0], affine_map<()[s0] -> (s0, 3)> : !torch.vtensor<[?,3],f32>
"""

from __future__ import annotations

from typing import ClassVar, Self

from xdsl.dialects.builtin import AffineMapAttr, IntegerAttr, StringAttr
from xdsl.ir import Attribute, OpTraits
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import MemoryReadEffect
from xdsl.utils.exceptions import VerifyException

from mlc.dialects.torch.base import PURE, TorchOp
from mlc.dialects.torch.constants import i64
from mlc.dialects.torch.types import (
    BaseTensorType,
    NonValueTensorType,
    TorchBoolType,
    TorchIntType,
    VTensorType,
)

_READS = OpTraits(lambda: (MemoryReadEffect(),))


class _Copy(TorchOp):
    """`%a : result type`; the operand's type is the same with the other kind of tensor."""

    source: ClassVar[type[BaseTensorType]]
    target: ClassVar[type[BaseTensorType]]

    def verify_(self) -> None:
        self.expect_counts(1, 1)
        operand, result = self.operands[0].type, self.results[0].type
        self.expect_type("operand", operand, self.source)
        self.expect_type("result", result, self.target)
        assert isinstance(operand, BaseTensorType) and isinstance(result, BaseTensorType)
        if operand.data != result.data:
            raise VerifyException(f"'{self.name}': {operand} and {result} differ in more than the kind of tensor")

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        operand = parser.parse_unresolved_operand()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        result = parser.parse_type()
        if not isinstance(result, cls.target):
            parser.raise_error(f"'{cls.name}' expects a !{cls.target.name}, got {result}")
        return cls.create(
            operands=(parser.resolve_operand(operand, cls.source(result.data)),),
            result_types=(result,),
            attributes=attributes,
        )

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.operands[0])
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.results[0].type)


class CopyToVTensorOp(_Copy):
    """The present contents of a tensor, as a value."""

    name = "torch.copy.to_vtensor"
    traits: ClassVar[OpTraits] = _READS
    source = NonValueTensorType
    target = VTensorType


class CopyToTensorOp(_Copy):
    """A fresh tensor with the contents of a value."""

    name = "torch.copy.to_tensor"
    source = VTensorType
    target = NonValueTensorType


class OverwriteTensorContentsOp(TorchOp):
    """`%value overwrites %overwritten : T, T`."""

    name = "torch.overwrite.tensor.contents"

    def verify_(self) -> None:
        self.expect_counts(2, 0)
        self.expect_type("value", self.operands[0].type, VTensorType)
        self.expect_type("overwritten", self.operands[1].type, NonValueTensorType)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        position = parser.pos
        value = parser.parse_unresolved_operand()
        parser.parse_keyword("overwrites")
        overwritten = parser.parse_unresolved_operand()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        types = parser.parse_comma_separated_list(parser.Delimiter.NONE, parser.parse_type)
        return cls.create(
            operands=parser.resolve_operands((value, overwritten), types, position), attributes=attributes
        )

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.operands[0])
        printer.print_string(" overwrites ")
        printer.print_ssa_value(self.operands[1])
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_list(self.operand_types, printer.print_attribute)


class RuntimeAssertOp(TorchOp):
    """`torch.runtime.assert %condition, "message"`."""

    name = "torch.runtime.assert"

    def verify_(self) -> None:
        self.expect_counts(1, 0)
        self.expect_type("condition", self.operands[0].type, TorchBoolType)
        self.string("message")

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        condition = parser.parse_operand()
        parser.parse_punctuation(",")
        message = StringAttr(parser.parse_str_literal())
        return cls.create(operands=(condition,), attributes={"message": message, **parser.parse_optional_attr_dict()})

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.operands[0])
        printer.print_string(", ")
        printer.print_string_literal(self.string("message"))
        printer.print_op_attributes(self.attributes, reserved_attr_names=("message",))


class SymbolicIntOp(TorchOp):
    """A size known at run time: `torch.symbolic_int "s0" {min_val = 2, max_val = 8} : !torch.int`."""

    name = "torch.symbolic_int"
    traits: ClassVar[OpTraits] = PURE

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest value."""
        low, high = self.attribute("min_val"), self.attribute("max_val")
        if not isinstance(low, IntegerAttr) or not isinstance(high, IntegerAttr):
            raise VerifyException(f"'{self.name}': min_val and max_val must be integers")
        return low.value.data, high.value.data

    def verify_(self) -> None:
        self.expect_counts(0, 1)
        self.expect_type("result", self.results[0].type, TorchIntType)
        self.string("symbol_name")
        _ = self.range

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        held: dict[str, Attribute] = {"symbol_name": StringAttr(parser.parse_str_literal())}
        parser.parse_punctuation("{")
        for number, bound in enumerate(("min_val", "max_val")):
            if number:
                parser.parse_punctuation(",")
            parser.parse_keyword(bound)
            parser.parse_punctuation("=")
            held[bound] = IntegerAttr(parser.parse_integer(), i64)
        parser.parse_punctuation("}")
        held |= parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        return cls.create(result_types=(parser.parse_type(),), attributes=held)

    def print(self, printer: Printer) -> None:
        low, high = self.range
        printer.print_string(" ")
        printer.print_string_literal(self.string("symbol_name"))
        printer.print_string(f" {{min_val = {low}, max_val = {high}}}")
        printer.print_op_attributes(self.attributes, reserved_attr_names=("symbol_name", "min_val", "max_val"))
        printer.print_string(" : ")
        printer.print_attribute(self.results[0].type)


class BindSymbolicShapeOp(TorchOp):
    """Says how a tensor's sizes follow from symbolic ints."""

    name = "torch.bind_symbolic_shape"

    def verify_(self) -> None:
        self.expect_counts(None, 0)
        if not self.operands:
            raise VerifyException(f"'{self.name}' expects a tensor")
        self.expect_type("tensor", self.operands[0].type, VTensorType)
        for symbol in self.operand_types[1:]:
            self.expect_type("symbol", symbol, TorchIntType)
        if not isinstance(self.attribute("shape_expressions"), AffineMapAttr):
            raise VerifyException(f"'{self.name}': shape_expressions must be an affine map")

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        tensor = parser.parse_unresolved_operand()
        parser.parse_punctuation(",")
        symbols = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_unresolved_operand)
        parser.parse_punctuation(",")
        shape = parser.parse_attribute()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        type = parser.parse_type()
        operands = [parser.resolve_operand(tensor, type)]
        operands += [parser.resolve_operand(symbol, TorchIntType()) for symbol in symbols]
        return cls.create(operands=operands, attributes={"shape_expressions": shape, **attributes})

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.operands[0])
        printer.print_string(", [")
        printer.print_list(self._operands[1:], printer.print_ssa_value)
        printer.print_string("], ")
        printer.print_attribute(self.attribute("shape_expressions"))
        printer.print_op_attributes(self.attributes, reserved_attr_names=("shape_expressions",))
        printer.print_string(" : ")
        printer.print_attribute(self.operands[0].type)


OPS = (
    CopyToVTensorOp,
    CopyToTensorOp,
    OverwriteTensorContentsOp,
    RuntimeAssertOp,
    SymbolicIntOp,
    BindSymbolicShapeOp,
)
