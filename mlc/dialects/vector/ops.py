"""Ops of the vector dialect that xDSL lacks, under their upstream names and syntax.

%t = vector.transpose %v, [1, 0] : vector<4x8xf32> to vector<8x4xf32>
%s = vector.shape_cast %v : vector<4x8xf32> to vector<32xf32>
"""

from __future__ import annotations

from math import prod

from xdsl.dialects.builtin import (
    I1,
    I64,
    ArrayAttr,
    DenseArrayBase,
    IndexType,
    IntegerAttr,
    IntegerType,
    MemRefType,
    VectorType,
)
from xdsl.ir import Attribute
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException


def _shape(ty: Attribute) -> tuple[int, ...]:
    assert isinstance(ty, VectorType)
    return ty.get_shape()


def _element(ty: Attribute) -> Attribute:
    assert isinstance(ty, VectorType)
    return ty.element_type


@irdl_op_definition
class TransposeOp(IRDLOperation):
    """Dimension d of the result is dimension `permutation[d]` of the source."""

    name = "vector.transpose"
    vector = operand_def(VectorType)
    permutation = prop_def(DenseArrayBase[I64])
    result = result_def(VectorType)
    traits = traits_def(Pure())
    assembly_format = "$vector `,` $permutation attr-dict `:` type($vector) `to` type($result)"

    def verify_(self) -> None:
        order, shape = self.permutation.get_values(), _shape(self.vector.type)
        if sorted(order) != list(range(len(shape))):
            raise VerifyException(f"{list(order)} is not a permutation of {len(shape)} dimensions")
        if tuple(shape[d] for d in order) != _shape(self.result.type):
            raise VerifyException(f"result type {self.result.type} does not match the permutation")


@irdl_op_definition
class ShapeCastOp(IRDLOperation):
    """The same elements in row-major order under another shape."""

    name = "vector.shape_cast"
    source = operand_def(VectorType)
    result = result_def(VectorType)
    traits = traits_def(Pure())
    assembly_format = "$source attr-dict `:` type($source) `to` type($result)"

    def verify_(self) -> None:
        source, result = self.source.type, self.result.type
        if prod(_shape(source)) != prod(_shape(result)) or _element(source) != _element(result):
            raise VerifyException(f"{source} and {result} do not hold the same elements")


@irdl_op_definition
class GatherOp(IRDLOperation):
    """Lane k is element `offsets + [.., index_vec[k]]` where the mask is set, else the pass-through's."""

    name = "vector.gather"
    base = operand_def(MemRefType)
    offsets = var_operand_def(IndexType)
    indices = operand_def(VectorType)
    mask = operand_def(VectorType[I1])
    pass_thru = operand_def(VectorType)
    result = result_def(VectorType)
    assembly_format = (
        "$base `[` $offsets `]` `[` $indices `]` `,` $mask `,` $pass_thru attr-dict `:` type($base) `,` "
        "type($indices) `,` type($mask) `,` type($pass_thru) `into` type($result)"
    )


@irdl_op_definition
class ScatterOp(IRDLOperation):
    """The inverse of `vector.gather`; on a repeated index the last lane wins."""

    name = "vector.scatter"
    base = operand_def(MemRefType)
    offsets = var_operand_def(IndexType)
    indices = operand_def(VectorType)
    mask = operand_def(VectorType[I1])
    value_to_store = operand_def(VectorType)
    assembly_format = (
        "$base `[` $offsets `]` `[` $indices `]` `,` $mask `,` $value_to_store attr-dict `:` type($base) `,` "
        "type($indices) `,` type($mask) `,` type($value_to_store)"
    )


@irdl_op_definition
class StepOp(IRDLOperation):
    """0, 1, 2, …"""

    name = "vector.step"
    result = result_def(VectorType)
    traits = traits_def(Pure())
    assembly_format = "attr-dict `:` type($result)"


@irdl_op_definition
class ConstantMaskOp(IRDLOperation):
    """Set below `mask_dim_sizes` in every dimension."""

    name = "vector.constant_mask"
    mask_dim_sizes = prop_def(DenseArrayBase[I64])
    result = result_def(VectorType[I1])
    traits = traits_def(Pure())
    assembly_format = "$mask_dim_sizes attr-dict `:` type(results)"

    def verify_(self) -> None:
        if len(self.mask_dim_sizes) != len(_shape(self.result.type)):
            raise VerifyException("one size per dimension of the mask is needed")


@irdl_op_definition
class InterleaveOp(IRDLOperation):
    """Lanes of both operands in turn."""

    name = "vector.interleave"
    lhs = operand_def(VectorType)
    rhs = operand_def(VectorType)
    result = result_def(VectorType)
    traits = traits_def(Pure())

    @classmethod
    def parse(cls, parser: Parser) -> InterleaveOp:
        lhs = parser.parse_unresolved_operand()
        parser.parse_punctuation(",")
        rhs = parser.parse_unresolved_operand()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        ty = parser.parse_type()
        parser.parse_punctuation("->")
        result = parser.parse_type()
        operands = parser.resolve_operands([lhs, rhs], [ty, ty], parser.pos)
        return cls.create(operands=operands, result_types=(result,), attributes=attributes)

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_list(self.operands, printer.print_ssa_value)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.lhs.type)
        printer.print_string(" -> ")
        printer.print_attribute(self.result.type)


@irdl_op_definition
class FromElementsOp(IRDLOperation):
    """`vector.from_elements %a, %b : vector<2xf32>`: row-major."""

    name = "vector.from_elements"
    elements = var_operand_def()
    dest = result_def(VectorType)
    traits = traits_def(Pure())

    def verify_(self) -> None:
        element = _element(self.dest.type)
        if len(self.elements) != prod(_shape(self.dest.type)) or any(e.type != element for e in self.elements):
            raise VerifyException(f"{self.dest.type} needs {prod(_shape(self.dest.type))} elements of {element}")

    @classmethod
    def parse(cls, parser: Parser) -> FromElementsOp:
        names = parser.parse_comma_separated_list(parser.Delimiter.NONE, parser.parse_unresolved_operand)
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        ty = parser.parse_type()
        if not isinstance(ty, VectorType):
            parser.raise_error("expected a vector type")
        operands = parser.resolve_operands(names, [ty.element_type] * len(names), parser.pos)
        return cls.create(operands=operands, result_types=(ty,), attributes=attributes)

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_list(self.elements, printer.print_ssa_value)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.dest.type)


@irdl_op_definition
class ToElementsOp(IRDLOperation):
    """`%a, %b = vector.to_elements %v : vector<2xf32>`: row-major."""

    name = "vector.to_elements"
    source = operand_def(VectorType)
    elements = var_result_def()
    traits = traits_def(Pure())

    @classmethod
    def parse(cls, parser: Parser) -> ToElementsOp:
        source = parser.parse_unresolved_operand()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        ty = parser.parse_type()
        if not isinstance(ty, VectorType):
            parser.raise_error("expected a vector type")
        return cls.create(
            operands=(parser.resolve_operand(source, ty),),
            result_types=[ty.element_type] * prod(ty.get_shape()),
            attributes=attributes,
        )

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.source)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.source.type)


_Ints = ArrayAttr[IntegerAttr[IntegerType]]


@irdl_op_definition
class ExtractStridedSliceOp(IRDLOperation):
    """`%r = vector.extract_strided_slice %v {offsets = [1], sizes = [2], strides = [1]} : …`; strides are 1."""

    name = "vector.extract_strided_slice"
    vector = operand_def(VectorType)
    offsets = prop_def(_Ints)
    sizes = prop_def(_Ints)
    strides = prop_def(_Ints)
    result = result_def(VectorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$vector attr-dict `:` type($vector) `to` type($result)"


@irdl_op_definition
class InsertStridedSliceOp(IRDLOperation):
    """`%r = vector.insert_strided_slice %s, %v {offsets = [0, 2], strides = [1]} : … into …`; strides are 1."""

    name = "vector.insert_strided_slice"
    value_to_store = operand_def(VectorType)
    dest = operand_def(VectorType)
    offsets = prop_def(_Ints)
    strides = prop_def(_Ints)
    result = result_def(VectorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)

    @classmethod
    def parse(cls, parser: Parser) -> InsertStridedSliceOp:
        value = parser.parse_unresolved_operand()
        parser.parse_punctuation(",")
        dest = parser.parse_unresolved_operand()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        value_type = parser.parse_type()
        parser.parse_keyword("into")
        ty = parser.parse_type()
        properties = {key: attributes.pop(key) for key in ("offsets", "strides") if key in attributes}
        return cls.create(
            operands=parser.resolve_operands([value, dest], [value_type, ty], parser.pos),
            result_types=(ty,),
            properties=properties,
            attributes=attributes,
        )

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_list(self.operands, printer.print_ssa_value)
        printer.print_op_attributes(self.properties | self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.value_to_store.type)
        printer.print_string(" into ")
        printer.print_attribute(self.dest.type)


OPS = (
    TransposeOp,
    ShapeCastOp,
    GatherOp,
    ScatterOp,
    StepOp,
    ConstantMaskOp,
    InterleaveOp,
    FromElementsOp,
    ToElementsOp,
    ExtractStridedSliceOp,
    InsertStridedSliceOp,
)
