"""Constants of the torch dialect.

%int1 = torch.constant.int 1
%float1.000000e-05 = torch.constant.float 1.000000e-05
%none = torch.constant.none
%w = torch.vtensor.literal(dense_resource<fc.weight> : tensor<4x3xf32>) : !torch.vtensor<[4,3],f32>
"""

from __future__ import annotations

import struct
from typing import ClassVar, Self

from xdsl.dialects.builtin import (
    BoolAttr,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    TensorType,
)
from xdsl.ir import Attribute, Operation, OpTraits, TypeAttribute
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from mlc.dialects.torch.base import PURE, TorchOp
from mlc.dialects.torch.types import (
    BOOL,
    DEVICE,
    FLOAT,
    INT,
    NONE,
    NUMBER,
    STR,
    BaseTensorType,
    NonValueTensorType,
    VTensorType,
    f64,
)

i64 = IntegerType(64)


class ScalarConstant(TorchOp):
    """A constant without operands; its only result has type `result_type`."""

    traits: ClassVar[OpTraits] = PURE
    result_type: ClassVar[TypeAttribute]

    @property
    def value(self) -> object:
        """The Python value."""
        raise NotImplementedError

    def verify_(self) -> None:
        self.expect_counts(0, 1)
        if self.results[0].type != self.result_type:
            raise VerifyException(f"'{self.name}': result must be {self.result_type}, got {self.results[0].type}")
        _ = self.value

    @classmethod
    def of(cls, value: Attribute | None, attributes: dict[str, Attribute] | None = None) -> Self:
        """The op that holds the attribute `value`."""
        held = dict(attributes or {})
        if value is not None:
            held["value"] = value
        return cls.create(result_types=(cls.result_type,), attributes=held)


class ConstantIntOp(ScalarConstant):
    """`torch.constant.int 3`."""

    name = "torch.constant.int"
    result_type = INT

    @property
    def value(self) -> int:
        held = self.attribute("value")
        if not isinstance(held, IntegerAttr):
            raise VerifyException(f"'{self.name}': value must be an integer, got {held}")
        return held.value.data

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        attributes = parser.parse_optional_attr_dict()
        value = parser.parse_integer(allow_boolean=False)
        if not -(2**63) <= value < 2**63:
            parser.raise_error(f"{value} does not fit 64 bits")
        return cls.of(IntegerAttr(value, i64), attributes)

    def print(self, printer: Printer) -> None:
        printer.print_op_attributes(self.attributes, reserved_attr_names=("value",))
        printer.print_string(f" {self.value}")


class ConstantFloatOp(ScalarConstant):
    """`torch.constant.float 1.000000e+00`."""

    name = "torch.constant.float"
    result_type = FLOAT

    @property
    def value(self) -> float:
        held = self.attribute("value")
        if not isinstance(held, FloatAttr):
            raise VerifyException(f"'{self.name}': value must be a float, got {held}")
        return held.value.data

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        attributes = parser.parse_optional_attr_dict()
        is_hexadecimal = parser.lexer.input.content[parser.pos : parser.pos + 2] in ("0x", "0X")
        value = parser.parse_number(allow_boolean=False)
        if is_hexadecimal:
            if not isinstance(value, int) or value >= 2**64:
                parser.raise_error(f"{value} is not the bit pattern of a double")
            value = struct.unpack("<d", value.to_bytes(8, "little"))[0]
        return cls.of(FloatAttr(float(value), f64), attributes)

    def print(self, printer: Printer) -> None:
        printer.print_op_attributes(self.attributes, reserved_attr_names=("value",))
        printer.print_string(" ")
        printer.print_float(self.value, f64)


class ConstantBoolOp(ScalarConstant):
    """`torch.constant.bool true`."""

    name = "torch.constant.bool"
    result_type = BOOL

    @property
    def value(self) -> bool:
        held = self.attribute("value")
        if not isinstance(held, IntegerAttr) or held.type != IntegerType(1):
            raise VerifyException(f"'{self.name}': value must be true or false, got {held}")
        return bool(held.value.data)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        attributes = parser.parse_optional_attr_dict()
        return cls.of(BoolAttr.from_bool(parser.parse_boolean()), attributes)

    def print(self, printer: Printer) -> None:
        printer.print_op_attributes(self.attributes, reserved_attr_names=("value",))
        printer.print_string(" true" if self.value else " false")


class _ConstantText(ScalarConstant):
    """A constant whose value is a string."""

    @property
    def value(self) -> str:
        return self.string("value")

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        text = StringAttr(parser.parse_str_literal())
        return cls.of(text, parser.parse_optional_attr_dict())

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_string_literal(self.value)
        printer.print_op_attributes(self.attributes, reserved_attr_names=("value",))


class ConstantStrOp(_ConstantText):
    """`torch.constant.str "tanh"`."""

    name = "torch.constant.str"
    result_type = STR


class ConstantDeviceOp(_ConstantText):
    """`torch.constant.device "cpu"`."""

    name = "torch.constant.device"
    result_type = DEVICE


class ConstantNoneOp(ScalarConstant):
    """`torch.constant.none`."""

    name = "torch.constant.none"
    result_type = NONE

    @property
    def value(self) -> None:
        return None

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        return cls.of(None, parser.parse_optional_attr_dict())

    def print(self, printer: Printer) -> None:
        printer.print_op_attributes(self.attributes)


class ConstantNumberOp(ScalarConstant):
    """A number known only as ATen's Scalar; generic form: `"torch.constant.number"() {value = 1 : i64} : …`."""

    name = "torch.constant.number"
    result_type = NUMBER

    @property
    def value(self) -> int | float:
        held = self.attribute("value")
        if not isinstance(held, IntegerAttr | FloatAttr):
            raise VerifyException(f"'{self.name}': value must be a number, got {held}")
        return held.value.data

    print = Operation.print  # no custom format


class _Literal(TorchOp):
    """A constant tensor: `(attribute) : type`. The attribute is `dense<…>` or `dense_resource<handle>`."""

    traits: ClassVar[OpTraits] = PURE
    tensor_type: ClassVar[type[BaseTensorType]]

    @property
    def value(self) -> DenseResourceAttr | DenseIntOrFPElementsAttr:
        """The elements."""
        held = self.attribute("value")
        if not isinstance(held, DenseResourceAttr | DenseIntOrFPElementsAttr):
            raise VerifyException(f"'{self.name}': value must be dense<…> or dense_resource<…>, got {held}")
        return held

    @property
    def resource_name(self) -> str | None:
        """Handle into the weight store; None when the elements are in the IR."""
        held = self.value
        return held.resource_handle.data if isinstance(held, DenseResourceAttr) else None

    def verify_(self) -> None:
        self.expect_counts(0, 1)
        result = self.results[0].type
        self.expect_type("result", result, self.tensor_type)
        assert isinstance(result, BaseTensorType)
        held = self.value.type
        if not isinstance(held, TensorType):
            raise VerifyException(f"'{self.name}': elements must have a tensor type, got {held}")
        if result.shape is not None:
            sizes = held.get_shape()
            if len(sizes) != len(result.shape) or any(
                b is not None and a != b for a, b in zip(sizes, result.shape, strict=True)
            ):
                raise VerifyException(f"'{self.name}': elements {held} do not fit the result {result}")
        if result.element_type is not None and result.element_type != held.element_type:
            raise VerifyException(f"'{self.name}': elements {held} do not fit the result {result}")

    @classmethod
    def of(cls, value: Attribute, type: Attribute) -> Self:
        """The literal with these elements."""
        return cls.create(result_types=(type,), attributes={"value": value})

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        parser.parse_punctuation("(")
        value = parser.parse_attribute()
        parser.parse_punctuation(")")
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        return cls.create(result_types=(parser.parse_type(),), attributes={"value": value, **attributes})

    def print(self, printer: Printer) -> None:
        with printer.in_parens():
            printer.print_attribute(self.attribute("value"))
        printer.print_op_attributes(self.attributes, reserved_attr_names=("value",))
        printer.print_string(" : ")
        printer.print_attribute(self.results[0].type)


class VTensorLiteralOp(_Literal):
    """`torch.vtensor.literal(dense_resource<w> : tensor<2xf32>) : !torch.vtensor<[2],f32>`."""

    name = "torch.vtensor.literal"
    tensor_type = VTensorType


class TensorLiteralOp(_Literal):
    """`torch.tensor.literal(dense<0.0> : tensor<2xf32>) : !torch.tensor<[2],f32>`."""

    name = "torch.tensor.literal"
    tensor_type = NonValueTensorType


def literal_type_of(type: BaseTensorType) -> TensorType[Attribute]:
    """The builtin tensor type of a literal's elements: `!torch.vtensor<[2],si64>` holds `tensor<2xsi64>`."""
    if type.shape is None or None in type.shape or type.element_type is None:
        raise VerifyException(f"a literal needs a static tensor type, got {type}")
    return TensorType(type.element_type, [d for d in type.shape if d is not None])


OPS = (
    ConstantIntOp,
    ConstantFloatOp,
    ConstantBoolOp,
    ConstantStrOp,
    ConstantDeviceOp,
    ConstantNoneOp,
    ConstantNumberOp,
    VTensorLiteralOp,
    TensorLiteralOp,
)
