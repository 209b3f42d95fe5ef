"""`linalg.pack`, `linalg.unpack` and `linalg.softmax`, in upstream's syntax.

    %p = linalg.pack %x padding_value(%z : f32) inner_dims_pos = [1] inner_tiles = [16] into %d
        : tensor<1x20x8x8xf32> -> tensor<1x2x8x8x16xf32>

`pack` splits each dimension of `inner_dims_pos` by its tile and moves the tiles innermost; `unpack` undoes it and
drops what padding added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from xdsl.dialects.builtin import DYNAMIC_INDEX, DenseArrayBase, IndexType, IntegerAttr, TensorType, i64
from xdsl.dialects.utils import parse_dynamic_index_list_without_types, print_dynamic_index_list
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    AnyAttr,
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
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


def _dense(values: Sequence[int]) -> DenseArrayBase:
    return DenseArrayBase.from_list(i64, list(values))


def _parse_ints(parser: Parser) -> list[int]:
    parser.parse_punctuation("=")
    return parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_integer)


def _print_ints(printer: Printer, name: str, values: Sequence[int]) -> None:
    printer.print_string(f" {name} = ")
    with printer.in_square_brackets():
        printer.print_list(values, printer.print_int)


class _Relayout(IRDLOperation):
    """What pack and unpack share: positions, tiles, outer permutation, and how they are checked."""

    inner_dims_pos = prop_def(DenseArrayBase.constr(i64))
    static_inner_tiles = prop_def(DenseArrayBase.constr(i64))
    outer_dims_perm = prop_def(DenseArrayBase.constr(i64), default_value=DenseArrayBase.from_list(i64, []))

    inner_tiles = var_operand_def(IndexType)

    @property
    def positions(self) -> tuple[int, ...]:
        """Dimensions of the unpacked tensor that are tiled, in the order of the tiles."""
        return tuple(self.inner_dims_pos.get_values())

    @property
    def tiles(self) -> tuple[int, ...]:
        """Static tile sizes (`DYNAMIC_INDEX` where an operand gives it)."""
        return tuple(self.static_inner_tiles.get_values())

    def permutation(self, rank: int) -> tuple[int, ...]:
        """Outer permutation, written out: packed outer dimension i is unpacked dimension `permutation[i]`."""
        perm = tuple(self.outer_dims_perm.get_values())
        return perm or tuple(range(rank))

    def packed_shape(self, unpacked: Sequence[int]) -> tuple[int, ...]:
        """Shape of the packed form of a tensor of shape `unpacked`."""
        outer = list(unpacked)
        for pos, tile in zip(self.positions, self.tiles, strict=True):
            dynamic = DYNAMIC_INDEX in (outer[pos], tile)
            outer[pos] = DYNAMIC_INDEX if dynamic else -(-outer[pos] // tile)
        return (*(outer[d] for d in self.permutation(len(outer))), *self.tiles)

    def _check(self, unpacked: Attribute, packed: Attribute) -> None:
        assert isinstance(unpacked, TensorType) and isinstance(packed, TensorType)
        rank = len(unpacked.get_shape())
        if len(set(self.positions)) != len(self.positions) or any(not 0 <= p < rank for p in self.positions):
            raise VerifyException(f"inner_dims_pos {list(self.positions)} do not name dimensions of {unpacked}")
        if len(self.tiles) != len(self.positions):
            raise VerifyException("expected as many inner_tiles as inner_dims_pos")
        if any(tile == 0 or (tile < 0 and tile != DYNAMIC_INDEX) for tile in self.tiles):
            raise VerifyException("inner_tiles must be positive")
        if self.tiles.count(DYNAMIC_INDEX) != len(self.inner_tiles):
            raise VerifyException("expected one operand per dynamic inner tile")
        if sorted(self.permutation(rank)) != list(range(rank)):
            raise VerifyException(f"outer_dims_perm is no permutation of {rank} dimensions")
        expected = self.packed_shape(unpacked.get_shape())
        actual = packed.get_shape()
        if len(expected) != len(actual) or any(
            e != a and DYNAMIC_INDEX not in (e, a) for e, a in zip(expected, actual, strict=True)
        ):
            raise VerifyException(f"packed type {packed} does not fit: expected shape {list(expected)}")
        if unpacked.element_type != packed.element_type:
            raise VerifyException("element types of source and destination differ")


def _print_layout(op: PackOp | UnPackOp, printer: Printer) -> None:
    perm = op.outer_dims_perm.get_values()
    if perm:
        _print_ints(printer, "outer_dims_perm", tuple(perm))
    _print_ints(printer, "inner_dims_pos", op.positions)
    printer.print_string(" inner_tiles = ")
    print_dynamic_index_list(printer, DYNAMIC_INDEX, op.inner_tiles, op.tiles)
    printer.print_string(" into ")
    printer.print_ssa_value(op.dest)
    # upstream's generic form of unpack carries segment sizes although it has no segments
    printer.print_op_attributes({k: v for k, v in op.attributes.items() if k != "operandSegmentSizes"})
    printer.print_string(" : ")
    printer.print_attribute(op.source.type)
    printer.print_string(" -> ")
    printer.print_attribute(op.dest.type)


class _Layout:
    """The parsed tail of a pack or unpack."""

    def __init__(self, parser: Parser) -> None:
        self.perm = _parse_ints(parser) if parser.parse_optional_keyword("outer_dims_perm") else []
        parser.parse_keyword("inner_dims_pos")
        self.positions = _parse_ints(parser)
        parser.parse_keyword("inner_tiles")
        parser.parse_punctuation("=")
        dynamic, self.tiles = parse_dynamic_index_list_without_types(parser, dynamic_index=DYNAMIC_INDEX)
        self.dynamic_tiles = parser.resolve_operands(dynamic, (IndexType(),) * len(dynamic), parser.pos)
        parser.parse_keyword("into")
        dest = parser.parse_unresolved_operand()
        self.attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        self.source_type = parser.parse_type()
        parser.parse_punctuation("->")
        dest_type = parser.parse_type()
        self.dest = parser.resolve_operand(dest, dest_type)


@irdl_op_definition
class PackOp(_Relayout):
    """Split dimensions into tiles and move the tiles innermost, padding the last tile when it is not full."""

    name = "linalg.pack"

    source = operand_def(TensorType)
    dest = operand_def(TensorType)
    padding_value = opt_operand_def(AnyAttr())
    inner_tiles = var_operand_def(IndexType)
    result = result_def(TensorType)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(Pure())

    def __init__(
        self,
        source: SSAValue,
        dest: SSAValue,
        inner_dims_pos: Sequence[int],
        inner_tiles: Sequence[int],
        *,
        padding_value: SSAValue | None = None,
        outer_dims_perm: Sequence[int] = (),
        dynamic_tiles: Sequence[SSAValue] = (),
    ) -> None:
        super().__init__(
            operands=[source, dest, padding_value, dynamic_tiles],
            result_types=[dest.type],
            properties={
                "inner_dims_pos": _dense(inner_dims_pos),
                "static_inner_tiles": _dense(inner_tiles),
                "outer_dims_perm": _dense(outer_dims_perm),
            },
        )

    def verify_(self) -> None:
        self._check(self.source.type, self.dest.type)
        if self.result.type != self.dest.type:
            raise VerifyException("expected the result type to be the destination's")
        assert isinstance(self.source.type, TensorType)
        shape = self.source.type.get_shape()
        partial = any(
            DYNAMIC_INDEX not in (shape[p], t) and shape[p] % t for p, t in zip(self.positions, self.tiles, strict=True)
        )
        if partial and self.padding_value is None:
            raise VerifyException("a partial tile needs a padding_value")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.source)
        if self.padding_value is not None:
            printer.print_string(" padding_value(")
            printer.print_ssa_value(self.padding_value)
            printer.print_string(" : ")
            printer.print_attribute(self.padding_value.type)
            printer.print_string(")")
        _print_layout(self, printer)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        source = parser.parse_unresolved_operand()
        padding = None
        if parser.parse_optional_keyword("padding_value"):
            with parser.in_parens():
                unresolved = parser.parse_unresolved_operand()
                parser.parse_punctuation(":")
                padding = parser.resolve_operand(unresolved, parser.parse_type())
        tail = _Layout(parser)
        op = cls(
            parser.resolve_operand(source, tail.source_type),
            tail.dest,
            tail.positions,
            tail.tiles,
            padding_value=padding,
            outer_dims_perm=tail.perm,
            dynamic_tiles=tail.dynamic_tiles,
        )
        op.attributes.update(tail.attributes)
        return op


@irdl_op_definition
class UnPackOp(_Relayout):
    """The inverse of `linalg.pack`; elements that padding added are dropped."""

    name = "linalg.unpack"

    source = operand_def(TensorType)
    dest = operand_def(TensorType)
    inner_tiles = var_operand_def(IndexType)
    result = result_def(TensorType)

    traits = traits_def(Pure())

    def __init__(
        self,
        source: SSAValue,
        dest: SSAValue,
        inner_dims_pos: Sequence[int],
        inner_tiles: Sequence[int],
        *,
        outer_dims_perm: Sequence[int] = (),
        dynamic_tiles: Sequence[SSAValue] = (),
    ) -> None:
        super().__init__(
            operands=[source, dest, dynamic_tiles],
            result_types=[dest.type],
            properties={
                "inner_dims_pos": _dense(inner_dims_pos),
                "static_inner_tiles": _dense(inner_tiles),
                "outer_dims_perm": _dense(outer_dims_perm),
            },
        )

    def verify_(self) -> None:
        self._check(self.dest.type, self.source.type)
        if self.result.type != self.dest.type:
            raise VerifyException("expected the result type to be the destination's")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.source)
        _print_layout(self, printer)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        source = parser.parse_unresolved_operand()
        tail = _Layout(parser)
        op = cls(
            parser.resolve_operand(source, tail.source_type),
            tail.dest,
            tail.positions,
            tail.tiles,
            outer_dims_perm=tail.perm,
            dynamic_tiles=tail.dynamic_tiles,
        )
        op.attributes.update(tail.attributes)
        return op


@irdl_op_definition
class SoftmaxOp(IRDLOperation):
    """`exp(x - max) / sum(exp(x - max))` along `dimension`; the destination's contents are not read."""

    name = "linalg.softmax"

    input = operand_def()
    output = operand_def()
    dimension = prop_def(IntegerAttr.constr(i64))
    result = var_result_def(TensorType)

    def __init__(self, input: SSAValue, output: SSAValue, dimension: int) -> None:
        results = [output.type] if isinstance(output.type, TensorType) else []
        super().__init__(
            operands=[input, output],
            result_types=[results],
            properties={"dimension": IntegerAttr(dimension, i64)},
        )

    def verify_(self) -> None:
        shapes = [getattr(v.type, "get_shape", lambda: None)() for v in (self.input, self.output)]
        if shapes[0] is None or shapes[1] is None or len(shapes[0]) != len(shapes[1]):
            raise VerifyException("expected a shaped input and output of the same rank")
        if not 0 <= self.dimension.value.data < len(shapes[0]):
            raise VerifyException("softmax dimension is out of range")

    def print(self, printer: Printer) -> None:
        printer.print_op_attributes(self.attributes)
        printer.print_string(f" dimension({self.dimension.value.data}) ins(")
        printer.print_operand(self.input)
        printer.print_string(" : ")
        printer.print_attribute(self.input.type)
        printer.print_string(") outs(")
        printer.print_operand(self.output)
        printer.print_string(" : ")
        printer.print_attribute(self.output.type)
        printer.print_string(")")
        if self.result:
            printer.print_string(" -> ")
            printer.print_attribute(self.result[0].type)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        attributes = parser.parse_optional_attr_dict()
        parser.parse_keyword("dimension")
        with parser.in_parens():
            dimension = parser.parse_integer()
        operands: list[SSAValue] = []
        for keyword in ("ins", "outs"):
            parser.parse_keyword(keyword)
            with parser.in_parens():
                unresolved = parser.parse_unresolved_operand()
                parser.parse_punctuation(":")
                operands.append(parser.resolve_operand(unresolved, parser.parse_type()))
        op = cls(operands[0], operands[1], dimension)
        if parser.parse_optional_punctuation("->"):
            parser.parse_type()
        op.attributes.update(attributes)
        return op


OPS = (PackOp, UnPackOp, SoftmaxOp)
