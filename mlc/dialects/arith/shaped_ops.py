"""arith ops that xDSL has on scalars only, here also on vectors and tensors as upstream: comparisons, select, casts.

    %m = arith.cmpf olt, %x, %y : vector<16xf32>                  result vector<16xi1>
    %s = arith.select %m, %x, %y : vector<16xi1>, vector<16xf32>
    %f = arith.sitofp %i : vector<16xi32> to vector<16xf32>

Each refines xDSL's class of the same name (its `verify_` takes the place of xDSL's operand and result constraints), so
`isinstance` against xDSL's keeps working. `SHAPED` maps names to these classes, for passes that turn scalar ops into
vector ops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from xdsl.dialects import arith
from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    Float80Type,
    Float128Type,
    IndexType,
    IntegerAttr,
    IntegerType,
    ShapedType,
    TensorType,
    VectorType,
    i1,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import AnyAttr, IRDLOperation, irdl_op_definition, operand_def, opt_prop_def, result_def, traits_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from mlc.dialects.redefined import Redefined


def like(kind: Attribute, element: Attribute) -> Attribute:
    """`element` in the shape of `kind`."""
    if isinstance(kind, VectorType):
        return VectorType(element, kind.get_shape(), kind.scalable_dims)
    if isinstance(kind, TensorType):
        return TensorType(element, kind.get_shape(), kind.encoding)
    return element


def _element(kind: Attribute) -> Attribute:
    return kind.element_type if isinstance(kind, VectorType | TensorType) else kind


def _check(op: Operation, operand: tuple[type[Attribute], ...], result: tuple[type[Attribute], ...]) -> None:
    """Element kinds of operands and result, and one shape throughout."""
    values = (*op.operands, *op.results)
    shapes = [v.type.get_shape() if isinstance(v.type, ShapedType) else None for v in values]
    if any(s != shapes[0] for s in shapes):
        raise VerifyException(f"'{op.name}': operand and result differ in shape")
    for values, kinds in ((op.operands, operand), (op.results, result)):
        for v in values:
            if not isinstance(_element(v.type), kinds):
                raise VerifyException(f"'{op.name}': {v.type} is not of the right kind")


_INT = (IntegerType, IndexType)
_FLOAT = (Float32Type, Float64Type, Float16Type, BFloat16Type, Float80Type, Float128Type)


def _predicate(names: Sequence[str], arg: int | str) -> IntegerAttr:
    if isinstance(arg, str):
        if arg not in names:
            raise VerifyException(f"unknown comparison '{arg}', expected one of {', '.join(names)}")
        arg = names.index(arg)
    return IntegerAttr(arg, 64)


def _check_comparison(op: Operation, kinds: tuple[type[Attribute], ...]) -> None:
    _check(op, kinds, (IntegerType,))
    if op.operands[0].type != op.operands[1].type or _element(op.results[0].type) != i1:
        raise VerifyException(f"'{op.name}' compares two values of one type and gives i1")


class CmpiOp(arith.CmpiOp):
    """`arith.cmpi` on ints, index, and shapes of them."""

    def __init__(self, operand1: SSAValue | Operation, operand2: SSAValue | Operation, arg: int | str) -> None:
        kind = like(SSAValue.get(operand1).type, i1)
        properties = {"predicate": _predicate(arith.CMPI_COMPARISON_OPERATIONS, arg)}
        IRDLOperation.__init__(self, operands=[operand1, operand2], result_types=[kind], properties=properties)

    def verify_(self) -> None:
        _check_comparison(self, _INT)


class CmpfOp(arith.CmpfOp):
    """`arith.cmpf` on floats and shapes of them."""

    def __init__(
        self,
        operand1: SSAValue | Operation,
        operand2: SSAValue | Operation,
        arg: int | str,
        fastmath: arith.FastMathFlagsAttr | None = None,
    ) -> None:
        kind = like(SSAValue.get(operand1).type, i1)
        flags = fastmath or arith.FastMathFlagsAttr("none")
        properties = {"predicate": _predicate(arith.CMPF_COMPARISON_OPERATIONS, arg), "fastmath": flags}
        IRDLOperation.__init__(self, operands=[operand1, operand2], result_types=[kind], properties=properties)

    def verify_(self) -> None:
        _check_comparison(self, _FLOAT)


class SelectOp(arith.SelectOp):
    """`arith.select` by one i1, or by one i1 per element."""

    def verify_(self) -> None:
        if self.cond.type not in (i1, like(self.result.type, i1)):
            raise VerifyException(f"'arith.select': the condition of a {self.result.type} is i1 or of its shape")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_list(self.operands, printer.print_ssa_value)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        if self.cond.type != i1:
            printer.print_attribute(self.cond.type)
            printer.print_string(", ")
        printer.print_attribute(self.result.type)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        names = [parser.parse_unresolved_operand()]
        for _ in range(2):
            parser.parse_punctuation(",")
            names.append(parser.parse_unresolved_operand())
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        kinds = [parser.parse_type()]
        if parser.parse_optional_punctuation(","):
            kinds.append(parser.parse_type())
        kind = kinds[-1]
        operands = parser.resolve_operands(names, [kinds[0] if len(kinds) == 2 else i1, kind, kind], parser.pos)
        return cls.create(operands=operands, result_types=[kind], attributes=attributes)


class _Cast(IRDLOperation):
    """Reads casts without xDSL's checks for scalars."""

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        operand = parser.parse_unresolved_operand()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        source = parser.parse_type()
        parser.parse_keyword("to")
        target = parser.parse_type()
        operands = [parser.resolve_operand(operand, source)]
        return cls.create(operands=operands, result_types=[target], attributes=attributes)


class IndexCastOp(_Cast, arith.IndexCastOp):
    """`arith.index_cast` between ints and index, element by element."""

    def verify_(self) -> None:
        _check(self, _INT, _INT)
        if isinstance(_element(self.input.type), IndexType) == isinstance(_element(self.result.type), IndexType):
            raise VerifyException("'arith.index_cast' casts between an integer and index")


@irdl_op_definition
class IndexCastUIOp(IRDLOperation):
    """`arith.index_castui`: the integer is unsigned."""

    name = "arith.index_castui"
    input = operand_def(AnyAttr())
    result = result_def(AnyAttr())
    traits = traits_def(Pure())
    assembly_format = "$input attr-dict `:` type($input) `to` type($result)"

    def __init__(self, input: SSAValue | Operation, target_type: Attribute) -> None:
        super().__init__(operands=[input], result_types=[target_type])

    def verify_(self) -> None:
        _check(self, _INT, _INT)
        if isinstance(_element(self.input.type), IndexType) == isinstance(_element(self.result.type), IndexType):
            raise VerifyException("'arith.index_castui' casts between an integer and index")


class FPToSIOp(_Cast, arith.FPToSIOp):
    """`arith.fptosi`, element by element."""

    def verify_(self) -> None:
        _check(self, _FLOAT, (IntegerType,))


class FPToUIOp(_Cast, arith.FPToUIOp):
    """`arith.fptoui`, element by element."""

    def verify_(self) -> None:
        _check(self, _FLOAT, (IntegerType,))


class SIToFPOp(_Cast, arith.SIToFPOp):
    """`arith.sitofp`, element by element."""

    def verify_(self) -> None:
        _check(self, (IntegerType,), _FLOAT)


class UIToFPOp(_Cast, arith.UIToFPOp):
    """`arith.uitofp`, element by element."""

    def verify_(self) -> None:
        _check(self, (IntegerType,), _FLOAT)


def _check_widths(op: Operation, *, grows: bool) -> None:
    _check(op, (IntegerType,), (IntegerType,))
    source, target = _element(op.operands[0].type), _element(op.results[0].type)
    assert isinstance(source, IntegerType) and isinstance(target, IntegerType)
    if (target.width.data > source.width.data) != grows or target.width.data == source.width.data:
        raise VerifyException(f"'{op.name}': the result must be {'wider' if grows else 'narrower'} than {source}")


@irdl_op_definition
class TruncIOp(Redefined, arith.TruncIOp):
    """`arith.trunci`, element by element; `overflow<nsw, nuw>`: what is cut off is only the sign, or zeros."""

    input = operand_def(AnyAttr())
    result = result_def(AnyAttr())
    overflow_flags = opt_prop_def(arith.IntegerOverflowAttr, prop_name="overflowFlags")
    assembly_format = "$input (`overflow` `` $overflowFlags^)? attr-dict `:` type($input) `to` type($result)"

    def verify_(self) -> None:
        _check_widths(self, grows=False)


class ExtSIOp(_Cast, arith.ExtSIOp):
    """`arith.extsi`, element by element."""

    def verify_(self) -> None:
        _check_widths(self, grows=True)


class ExtUIOp(_Cast, arith.ExtUIOp):
    """`arith.extui`, element by element."""

    def verify_(self) -> None:
        _check_widths(self, grows=True)


OPS = (
    CmpiOp,
    CmpfOp,
    SelectOp,
    IndexCastOp,
    IndexCastUIOp,
    FPToSIOp,
    FPToUIOp,
    SIToFPOp,
    UIToFPOp,
    TruncIOp,
    ExtSIOp,
    ExtUIOp,
)

SHAPED: dict[str, type[IRDLOperation]] = {op.name: op for op in OPS}
