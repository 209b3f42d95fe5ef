"""Structural ops of the torch dialect: lists, tuples, dicts, casts, control flow, opaque operators.

%2 = torch.prim.ListConstruct %int1, %int1_0 : (!torch.int, !torch.int) -> !torch.list<int>
%a, %b = torch.prim.TupleUnpack %t : !torch.tuple<int, float> -> !torch.int, !torch.float
%3 = torch.derefine %int1 : !torch.int to !torch.optional<int>
%4 = torch.operator "torchvision.nms"(%b, %s, %t) : (…) -> !torch.vtensor
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute, Operation, OpTraits, SSAValue
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from mlc.dialects.torch.base import PURE, TorchOp
from mlc.dialects.torch.syntax import parse_default, print_default
from mlc.dialects.torch.types import (
    INT,
    BaseTensorType,
    NonValueTensorType,
    TorchAnyType,
    TorchDictType,
    TorchIntType,
    TorchListType,
    TorchOptionalType,
    TorchTupleType,
    TorchUnionType,
    VTensorType,
)


def fits(sub: Attribute, super: Attribute) -> bool:
    """Whether a value of type `sub` may be held where `super` is written (subtyping)."""
    if sub == super or isinstance(super, TorchAnyType):
        return True
    if isinstance(super, TorchOptionalType):
        if isinstance(sub, TorchOptionalType):
            return fits(sub.contained, super.contained)
        return sub.name == "torch.none" or fits(sub, super.contained)
    if isinstance(super, TorchUnionType):
        parts = sub.contained if isinstance(sub, TorchUnionType) else (sub,)
        return all(any(fits(part, option) for option in super.contained) for part in parts)
    if super.name == "torch.number":
        return sub.name in ("torch.int", "torch.float", "torch.bool")
    if isinstance(super, BaseTensorType) and isinstance(sub, BaseTensorType):
        return type(sub) is type(super) and _refines(sub, super)
    if isinstance(super, TorchTupleType) and isinstance(sub, TorchTupleType):
        return len(sub.contained) == len(super.contained) and all(map(fits, sub.contained, super.contained))
    if isinstance(super, TorchListType) and isinstance(sub, TorchListType):
        return fits(sub.contained, super.contained)
    return False


def _refines(sub: BaseTensorType, super: BaseTensorType) -> bool:
    if super.element_type is not None and sub.element_type != super.element_type:
        return False
    if super.shape is None:
        return True
    return (
        sub.shape is not None
        and len(sub.shape) == len(super.shape)
        and all(b is None or a == b for a, b in zip(sub.shape, super.shape, strict=True))
    )


class PrimListConstructOp(TorchOp):
    """A list of its operands."""

    name = "torch.prim.ListConstruct"
    traits: ClassVar[OpTraits] = PURE

    def verify_(self) -> None:
        self.expect_counts(None, 1)
        result = self.results[0].type
        if not isinstance(result, TorchListType):
            raise VerifyException(f"'{self.name}': result must be !torch.list<…>, got {result}")
        for number, type in enumerate(self.operand_types):
            if not fits(type, result.contained):
                raise VerifyException(f"'{self.name}': element {number} is {type}, which does not fit {result}")

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        position = parser.pos
        unresolved = parser.parse_optional_undelimited_comma_separated_list(
            parser.parse_optional_unresolved_operand, parser.parse_unresolved_operand
        )
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        types = parser.parse_function_type()
        operands = parser.resolve_operands(unresolved or (), types.inputs.data, position)
        return cls.create(operands=operands, result_types=types.outputs.data, attributes=attributes)

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_list(self.operands, printer.print_ssa_value)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_function_type(self.operand_types, self.result_types)


class PrimTupleConstructOp(TorchOp):
    """A tuple of its operands."""

    name = "torch.prim.TupleConstruct"
    traits: ClassVar[OpTraits] = PURE

    def verify_(self) -> None:
        self.expect_counts(None, 1)
        result = self.results[0].type
        self.expect_type("result", result, TorchTupleType)
        assert isinstance(result, TorchTupleType)
        if len(self.operands) != len(result.contained) or not all(map(fits, self.operand_types, result.contained)):
            got = ", ".join(map(str, self.operand_types))
            raise VerifyException(f"'{self.name}': elements ({got}) do not fit {result}")


class PrimListUnpackOp(TorchOp):
    """The elements of a list of known length."""

    name = "torch.prim.ListUnpack"
    traits: ClassVar[OpTraits] = PURE

    def verify_(self) -> None:
        self.expect_counts(1, None)
        self.expect_type("operand", self.operands[0].type, TorchListType)

    def print(self, printer: Printer) -> None:
        print_default(printer, self, arrow_always=True)


class PrimTupleUnpackOp(TorchOp):
    """The elements of a tuple."""

    name = "torch.prim.TupleUnpack"
    traits: ClassVar[OpTraits] = PURE

    def verify_(self) -> None:
        self.expect_counts(1, None)
        operand = self.operands[0].type
        self.expect_type("operand", operand, TorchTupleType)
        assert isinstance(operand, TorchTupleType)
        if len(self.results) != len(operand.contained):
            raise VerifyException(
                f"'{self.name}': {operand} has {len(operand.contained)} elements, not {len(self.results)}"
            )

    def print(self, printer: Printer) -> None:
        print_default(printer, self, arrow_always=True)


class PrimTupleIndexOp(TorchOp):
    """One element of a tuple."""

    name = "torch.prim.TupleIndex"
    traits: ClassVar[OpTraits] = PURE

    def verify_(self) -> None:
        self.expect_counts(2, 1)
        self.expect_type("tuple", self.operands[0].type, TorchTupleType, TorchAnyType)
        self.expect_type("index", self.operands[1].type, TorchIntType)


class PrimDictConstructOp(TorchOp):
    """A dict: `keys(%k : T) values(%v : T) -> !torch.dict<…>`. Operands: all keys, then all values."""

    name = "torch.prim.DictConstruct"
    traits: ClassVar[OpTraits] = PURE

    def verify_(self) -> None:
        self.expect_counts(None, 1)
        result = self.results[0].type
        self.expect_type("result", result, TorchDictType)
        assert isinstance(result, TorchDictType)
        if len(self.operands) % 2:
            raise VerifyException(f"'{self.name}' expects as many values as keys")
        half = len(self.operands) // 2
        keys, values = self.operand_types[:half], self.operand_types[half:]
        if not all(fits(k, result.key_type) for k in keys) or not all(fits(v, result.value_type) for v in values):
            raise VerifyException(f"'{self.name}': keys and values do not fit {result}")

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        keys = _parse_group(parser, "keys")
        values = _parse_group(parser, "values")
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation("->")
        return cls.create(operands=(*keys, *values), result_types=(parser.parse_type(),), attributes=attributes)

    def print(self, printer: Printer) -> None:
        half = len(self.operands) // 2
        for word, group in (("keys", self._operands[:half]), ("values", self._operands[half:])):
            printer.print_string(f" {word}(")
            printer.print_list(group, printer.print_ssa_value)
            if group:
                printer.print_string(" : ")
                printer.print_list([v.type for v in group], printer.print_attribute)
            printer.print_string(")")
        printer.print_op_attributes(self.attributes)
        printer.print_string(" -> ")
        printer.print_attribute(self.results[0].type)


def _parse_group(parser: Parser, word: str) -> Sequence[SSAValue]:
    """`keys(%a, %b : T, U)`."""
    parser.parse_keyword(word)
    with parser.in_parens():
        return parse_default(parser)[0]


class _Cast(TorchOp):
    """`%a : T to U`."""

    traits: ClassVar[OpTraits] = PURE

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        operand = parser.parse_unresolved_operand()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        source = parser.parse_type()
        parser.parse_characters("to")
        return cls.create(
            operands=(parser.resolve_operand(operand, source),),
            result_types=(parser.parse_type(),),
            attributes=attributes,
        )

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.operands[0])
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.operands[0].type)
        printer.print_string(" to ")
        printer.print_attribute(self.results[0].type)


class DerefineOp(_Cast):
    """A value as one of a wider type: `torch.derefine %i : !torch.int to !torch.optional<int>`."""

    name = "torch.derefine"

    def verify_(self) -> None:
        self.expect_counts(1, 1)
        if not fits(self.operands[0].type, self.results[0].type):
            raise VerifyException(f"'{self.name}': {self.operands[0].type} does not fit {self.results[0].type}")


class TensorStaticInfoCastOp(_Cast):
    """A tensor with more or less said about its sizes and element type; checked at run time."""

    name = "torch.tensor_static_info_cast"

    def verify_(self) -> None:
        self.expect_counts(1, 1)
        source, target = self.operands[0].type, self.results[0].type
        self.expect_type("operand", source, VTensorType, NonValueTensorType)
        if type(source) is not type(target):
            raise VerifyException(f"'{self.name}': cannot cast {source} to {target}")


class PrimUncheckedCastOp(TorchOp):
    """A value as one of a narrower type that it is known to have."""

    name = "torch.prim.unchecked_cast"
    traits: ClassVar[OpTraits] = PURE

    def verify_(self) -> None:
        self.expect_counts(1, 1)


class PrimUninitializedOp(TorchOp):
    """A value that is never read: `torch.prim.Uninitialized : !torch.int`."""

    name = "torch.prim.Uninitialized"
    traits: ClassVar[OpTraits] = PURE

    def verify_(self) -> None:
        self.expect_counts(0, 1)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        return cls.create(result_types=(parser.parse_type(),), attributes=attributes)

    def print(self, printer: Printer) -> None:
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.results[0].type)


class _Variadic(TorchOp):
    """`op(%a, %b) : T, T -> R`."""

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        operands, result_types, attributes = parse_default(parser, parenthesized=True)
        return cls.create(operands=operands, result_types=result_types, attributes=attributes)

    def print(self, printer: Printer) -> None:
        print_default(printer, self, parenthesized=True)


class PrimPrintOp(_Variadic):
    """Python's print."""

    name = "torch.prim.Print"

    def verify_(self) -> None:
        self.expect_counts(None, 0)


class PrimTolistOp(_Variadic):
    """A tensor's elements as a Python list or scalar."""

    name = "torch.prim.tolist"

    def verify_(self) -> None:
        self.expect_counts(None, 1)


class AtenFormatOp(_Variadic):
    """Python's str.format."""

    name = "torch.aten.format"
    traits: ClassVar[OpTraits] = PURE

    def verify_(self) -> None:
        self.expect_counts(None, 1)


class PromoteDtypesOp(PrimListConstructOp):
    """Result dtype of operands given by ranks and dtypes: `torch.promote_dtypes %r, %d : (…) -> !torch.int`."""

    name = "torch.promote_dtypes"

    def verify_(self) -> None:
        self.expect_counts(2, 1)
        if self.results[0].type != INT:
            raise VerifyException(f"'{self.name}': result must be !torch.int, got {self.results[0].type}")


class OperatorOp(TorchOp):
    """An op that only its name is known of: `torch.operator "ns.name"(%a) : (T) -> R`."""

    name = "torch.operator"

    @property
    def operator_name(self) -> str:
        """The name in quotes."""
        return self.string("name")

    @property
    def known_name(self) -> str:
        """The name that the op would have in this dialect; torch-mlir quotes it with `torch.`, we without."""
        return f"torch.{self.operator_name.removeprefix('torch.')}"

    def verify_(self) -> None:
        _ = self.operator_name

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        text = StringAttr(parser.parse_str_literal())
        position = parser.pos
        unresolved = parser.parse_comma_separated_list(parser.Delimiter.PAREN, parser.parse_unresolved_operand)
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        types = parser.parse_function_type()
        regions = []
        while (region := parser.parse_optional_region()) is not None:
            regions.append(region)
            parser.parse_optional_punctuation(",")
        return cls.create(
            operands=parser.resolve_operands(unresolved, types.inputs.data, position),
            result_types=types.outputs.data,
            attributes={"name": text, **attributes},
            regions=regions,
        )

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_string_literal(self.operator_name)
        printer.print_operands(self.operands)
        printer.print_op_attributes(self.attributes, reserved_attr_names=("name",))
        printer.print_string(" : ")
        printer.print_function_type(self.operand_types, self.result_types)
        if self.regions:
            printer.print_string(" ")
            printer.print_list(self.regions, printer.print_region)


def is_cast(op: Operation) -> bool:
    """Whether `op` only changes what is known about its operand."""
    return isinstance(op, DerefineOp | PrimUncheckedCastOp)


OPS = (
    PrimListConstructOp,
    PrimTupleConstructOp,
    PrimListUnpackOp,
    PrimTupleUnpackOp,
    PrimTupleIndexOp,
    PrimDictConstructOp,
    DerefineOp,
    TensorStaticInfoCastOp,
    PrimUncheckedCastOp,
    PrimUninitializedOp,
    PrimPrintOp,
    PrimTolistOp,
    AtenFormatOp,
    PromoteDtypesOp,
    OperatorOp,
)
