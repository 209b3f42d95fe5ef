"""Types of the torch dialect, in torch-mlir's textual form.

    !torch.vtensor<[2,?],f32>   !torch.tensor   !torch.int   !torch.list<optional<vtensor>>   !torch.tuple<int, float>

Types nested in another torch type are printed without the `!torch.` in front of them. Both spellings are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from xdsl.dialects.builtin import (
    BFloat16Type,
    ComplexType,
    Float8E4M3FNType,
    Float8E4M3FNUZType,
    Float8E5M2FNUZType,
    Float8E5M2Type,
    Float16Type,
    Float32Type,
    Float64Type,
    IntegerType,
    Signedness,
    StringAttr,
)
from xdsl.ir import Attribute, Data, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

Shape = tuple[int | None, ...] | None
"""Sizes with None for a dynamic one; None as a whole when the rank is unknown."""

f32 = Float32Type()
f64 = Float64Type()
f16 = Float16Type()
bf16 = BFloat16Type()
i1 = IntegerType(1)
si64 = IntegerType(64, Signedness.SIGNED)
si32 = IntegerType(32, Signedness.SIGNED)
si16 = IntegerType(16, Signedness.SIGNED)
si8 = IntegerType(8, Signedness.SIGNED)
ui8 = IntegerType(8, Signedness.UNSIGNED)
ui16 = IntegerType(16, Signedness.UNSIGNED)
ui32 = IntegerType(32, Signedness.UNSIGNED)
ui64 = IntegerType(64, Signedness.UNSIGNED)
complex64 = ComplexType(f32)
complex128 = ComplexType(f64)
complex32 = ComplexType(f16)


class TorchType(TypeAttribute):
    """Base of all types of the dialect."""


class _Keyword(ParametrizedAttribute, TorchType):
    """A type that is only its name."""


@irdl_attr_definition
class TorchIntType(_Keyword):
    """A Python int (64 bit)."""

    name = "torch.int"


@irdl_attr_definition
class TorchFloatType(_Keyword):
    """A Python float (double)."""

    name = "torch.float"


@irdl_attr_definition
class TorchBoolType(_Keyword):
    """A Python bool."""

    name = "torch.bool"


@irdl_attr_definition
class TorchStrType(_Keyword):
    """A Python str."""

    name = "torch.str"


@irdl_attr_definition
class TorchNoneType(_Keyword):
    """The type of None."""

    name = "torch.none"


@irdl_attr_definition
class TorchNumberType(_Keyword):
    """A number whose kind (int, float) is not known: ATen's `Scalar`."""

    name = "torch.number"


@irdl_attr_definition
class TorchDeviceType(_Keyword):
    """A device."""

    name = "torch.Device"


@irdl_attr_definition
class TorchGeneratorType(_Keyword):
    """A random number generator."""

    name = "torch.Generator"


@irdl_attr_definition
class TorchAnyType(_Keyword):
    """Anything."""

    name = "torch.any"


@irdl_attr_definition
class TorchLinearParamsType(_Keyword):
    """Packed parameters of a quantized linear."""

    name = "torch.LinearParams"


@irdl_attr_definition
class TorchQInt8Type(_Keyword):
    """Quantized signed 8 bit element type."""

    name = "torch.qint8"


@irdl_attr_definition
class TorchQUInt8Type(_Keyword):
    """Quantized unsigned 8 bit element type."""

    name = "torch.quint8"


@irdl_attr_definition
class TorchQInt16Type(_Keyword):
    """Quantized signed 16 bit element type."""

    name = "torch.qint16"


@irdl_attr_definition
class TorchQInt32Type(_Keyword):
    """Quantized signed 32 bit element type."""

    name = "torch.qint32"


INT = TorchIntType()
FLOAT = TorchFloatType()
BOOL = TorchBoolType()
STR = TorchStrType()
NONE = TorchNoneType()
NUMBER = TorchNumberType()
DEVICE = TorchDeviceType()
GENERATOR = TorchGeneratorType()
ANY = TorchAnyType()


def is_tensor_element_type(dtype: Attribute) -> bool:
    """Whether a torch tensor may have elements of this type."""
    if isinstance(dtype, IntegerType):
        if dtype.width.data == 1:
            return dtype == i1
        return dtype.signedness.data != Signedness.SIGNLESS
    return isinstance(dtype, (*_FLOATS, ComplexType, _Keyword))


_FLOATS = (
    Float32Type,
    Float64Type,
    Float16Type,
    BFloat16Type,
    Float8E4M3FNType,
    Float8E4M3FNUZType,
    Float8E5M2Type,
    Float8E5M2FNUZType,
)


class BaseTensorType(Data[tuple[Shape, Attribute | None]], TorchType):
    """Tensor type with a possibly unknown rank, possibly dynamic sizes and possibly unknown element type."""

    mnemonic: ClassVar[str]

    @classmethod
    def get(cls, shape: Sequence[int | None] | None = None, element_type: Attribute | None = None) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """`get([2, None], f32)` is `<[2,?],f32>`; no arguments: the type of any tensor."""
        return cls((None if shape is None else tuple(shape), element_type))

    @property
    def shape(self) -> Shape:
        """Sizes, None for a dynamic one; None when the rank is unknown."""
        return self.data[0]

    @property
    def element_type(self) -> Attribute | None:
        """Element type, None when unknown."""
        return self.data[1]

    @property
    def rank(self) -> int | None:
        """Number of dimensions, None when unknown."""
        return None if self.shape is None else len(self.shape)

    @property
    def has_static_shape(self) -> bool:
        """Whether every size is known."""
        return self.shape is not None and None not in self.shape

    def verify(self) -> None:
        if self.shape is not None and any(size is not None and size < 0 for size in self.shape):
            raise VerifyException(f"!{self.name} has a negative size: {list(self.shape)}")
        if self.element_type is not None and not is_tensor_element_type(self.element_type):
            raise VerifyException(
                f"'{self.element_type}' is no element type of a torch tensor",
            )

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[Shape, Attribute | None]:
        if parser.parse_optional_punctuation("<") is None:
            return None, None
        shape: Shape = None
        if parser.parse_optional_punctuation("*") is None:
            shape = tuple(parser.parse_comma_separated_list(parser.Delimiter.SQUARE, lambda: _parse_size(parser)))
        parser.parse_punctuation(",")
        dtype = None if parser.parse_optional_keyword("unk") is not None else parser.parse_type()
        parser.parse_punctuation(">")
        return shape, dtype

    def print_parameter(self, printer: Printer) -> None:
        if self.shape is None and self.element_type is None:
            return
        sizes = "*" if self.shape is None else "[" + ",".join("?" if d is None else str(d) for d in self.shape) + "]"
        printer.print_string(f"<{sizes},")
        if self.element_type is None:
            printer.print_string("unk")
        else:
            printer.print_attribute(self.element_type)
        printer.print_string(">")


def _parse_size(parser: AttrParser) -> int | None:
    """A size or `?`. torch-mlir also reads -1 for a dynamic size."""
    if parser.parse_optional_punctuation("?") is not None:
        return None
    size = parser.parse_integer(allow_boolean=False)
    return None if size == -1 else size


@irdl_attr_definition
class VTensorType(BaseTensorType):
    """A tensor with value semantics: `!torch.vtensor<[2,?],f32>`."""

    name = "torch.vtensor"


@irdl_attr_definition
class NonValueTensorType(BaseTensorType):
    """A tensor that may be aliased and mutated, as in eager PyTorch: `!torch.tensor<[2,?],f32>`."""

    name = "torch.tensor"


def print_nested(printer: Printer, inner: Attribute) -> None:
    """A type inside a torch type: `list<int>` for `!torch.list<int>`."""
    if not isinstance(inner, TorchType):
        printer.print_attribute(inner)
        return
    assert isinstance(inner, Attribute)
    printer.print_string(inner.name.removeprefix("torch."))
    if isinstance(inner, Data):
        inner.print_parameter(printer)
    elif isinstance(inner, ParametrizedAttribute):
        inner.print_parameters(printer)


def parse_nested(parser: AttrParser) -> Attribute:
    """A type inside a torch type, with or without `!torch.`."""
    keyword = parser.parse_optional_identifier()
    if keyword is None:
        return parser.parse_type()
    cls = _BY_KEYWORD.get(keyword)
    if cls is None:
        parser.raise_error(f"unknown type '{keyword}' in dialect torch")
    if issubclass(cls, BaseTensorType):
        return cls(cls.parse_parameter(parser))
    if issubclass(cls, _Sequence):
        return cls(cls.parse_parameter(parser))
    assert issubclass(cls, ParametrizedAttribute)
    return cls.new(cls.parse_parameters(parser))


class _Container(ParametrizedAttribute, TorchType):
    """`name<inner>`."""

    contained: Attribute

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            return (parse_nested(parser),)

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            print_nested(printer, self.contained)


@irdl_attr_definition
class TorchListType(_Container):
    """`!torch.list<int>`."""

    name = "torch.list"
    contained: Attribute


@irdl_attr_definition
class TorchOptionalType(_Container):
    """`!torch.optional<int>`."""

    name = "torch.optional"
    contained: Attribute


class _Sequence(Data[tuple[Attribute, ...]], TorchType):
    """`name<a, b, …>`."""

    @property
    def contained(self) -> tuple[Attribute, ...]:
        """The types listed."""
        return self.data

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[Attribute, ...]:
        return tuple(parser.parse_comma_separated_list(parser.Delimiter.ANGLE, lambda: parse_nested(parser)))

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_list(self.data, lambda inner: print_nested(printer, inner))


@irdl_attr_definition
class TorchTupleType(_Sequence):
    """`!torch.tuple<int, float>`."""

    name = "torch.tuple"


@irdl_attr_definition
class TorchUnionType(_Sequence):
    """`!torch.union<float, int>`."""

    name = "torch.union"


@irdl_attr_definition
class TorchDictType(ParametrizedAttribute, TorchType):
    """`!torch.dict<str, tensor>`."""

    name = "torch.dict"
    key_type: Attribute
    value_type: Attribute

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            key = parse_nested(parser)
            parser.parse_punctuation(",")
            return key, parse_nested(parser)

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            print_nested(printer, self.key_type)
            printer.print_string(", ")
            print_nested(printer, self.value_type)


@irdl_attr_definition
class TorchNnModuleType(ParametrizedAttribute, TorchType):
    """`!torch.nn.Module<"pkg.Class">`."""

    name = "torch.nn.Module"
    class_name: StringAttr

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            return (StringAttr(parser.parse_str_literal()),)

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string_literal(self.class_name.data)


TYPES: tuple[type[TypeAttribute], ...] = (
    VTensorType,
    NonValueTensorType,
    TorchIntType,
    TorchFloatType,
    TorchBoolType,
    TorchStrType,
    TorchNoneType,
    TorchNumberType,
    TorchDeviceType,
    TorchGeneratorType,
    TorchAnyType,
    TorchLinearParamsType,
    TorchQInt8Type,
    TorchQUInt8Type,
    TorchQInt16Type,
    TorchQInt32Type,
    TorchListType,
    TorchOptionalType,
    TorchTupleType,
    TorchUnionType,
    TorchDictType,
    TorchNnModuleType,
)

_BY_KEYWORD: dict[str, type[TypeAttribute]] = {cls.name.removeprefix("torch."): cls for cls in TYPES}
