"""Tiles, their loads and stores, and products of them.

    %a = amx.tile_load %x[%i, %j] : memref<64x512xbf16> into !amx.tile<16x32xbf16>
    %b = amx.tile_load %w[%k, %c0] : memref<256x32xbf16> into !amx.tile<16x32xbf16>
    %s = amx.tile_mulf %a, %b, %acc : !amx.tile<16x32xbf16>, !amx.tile<16x32xbf16>, !amx.tile<16x16xf32>
    s[m, n] = acc[m, n] + sum over k and p of a[m, 2k + p] * b[k, 2n + p]

MLIR's ops and syntax, under the name that the dialect had there until it became a part of `x86`, which is another
dialect in xDSL. Rows of a tile in memory are rows of a 2-D memref, whose last dimension is contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from xdsl.dialects.builtin import ArrayAttr, IndexType, IntAttr, MemRefType, UnitAttr, bf16, f32, i8, i32
from xdsl.ir import Attribute, ParametrizedAttribute, SSAValue, TypeAttribute
from xdsl.irdl import (
    BaseAttr,
    IRDLOperation,
    VarConstraint,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    param_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import AttrParser, Parser
from xdsl.printer import Printer
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect, Pure
from xdsl.utils.exceptions import VerifyException

ROWS, ROW_BYTES, REGISTERS = 16, 64, 8
_BYTES: dict[Attribute, int] = {bf16: 2, f32: 4, i8: 1, i32: 4}


@irdl_attr_definition
class TileType(ParametrizedAttribute, TypeAttribute):
    """A tile register: at most 16 rows of at most 64 bytes, a multiple of four."""

    name = "amx.tile"
    shape: ArrayAttr[IntAttr] = param_def()
    element_type: Attribute = param_def()

    @classmethod
    def of(cls, rows: int, columns: int, element: Attribute) -> TileType:
        """A tile of `rows` by `columns` elements."""
        return cls(ArrayAttr([IntAttr(rows), IntAttr(columns)]), element)

    @property
    def sizes(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.shape.data
        return rows.data, columns.data

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.sizes[1] * _BYTES[self.element_type]

    def verify(self) -> None:
        if len(self.shape.data) != 2 or self.element_type not in _BYTES:
            raise VerifyException(f"a tile has two dimensions of bf16, f32, i8 or i32, not {self.element_type}")
        rows, columns = self.sizes
        if not 1 <= rows <= ROWS or columns < 1 or self.row_bytes > ROW_BYTES or self.row_bytes % 4:
            raise VerifyException(
                f"a tile has up to {ROWS} rows of 4 to {ROW_BYTES} bytes, a multiple of 4, not {rows}x{columns}"
            )

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string("x".join(str(n) for n in self.sizes) + "x")
            printer.print_attribute(self.element_type)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            shape, element = parser.parse_ranked_shape()
        if len(shape) != 2 or min(shape) < 1:
            parser.raise_error("expected two sizes of a tile")
        return [ArrayAttr([IntAttr(n) for n in shape]), element]


@irdl_op_definition
class TileZeroOp(IRDLOperation):
    """A tile of zeros."""

    name = "amx.tile_zero"
    res = result_def(TileType)
    traits = traits_def(Pure())
    assembly_format = "attr-dict `:` type($res)"


class _Transfer(IRDLOperation):
    """A tile at `indices` of a 2-D memref `base` of the same elements."""

    def check(self, base: Attribute, indices: int, tile: Attribute) -> None:
        """Refuse other memory than two dimensions of the tile's elements."""
        assert isinstance(base, MemRefType) and isinstance(tile, TileType)
        if base.get_num_dims() != 2 or indices != 2:
            raise VerifyException(f"expected a 2-D memref and two indices, got {base} and {indices}")
        if base.element_type != tile.element_type:
            raise VerifyException(f"expected a memref of {tile.element_type}, got {base}")
        strides = base.get_strides()
        if strides is None or strides[-1] != 1:
            raise VerifyException(f"expected rows that are contiguous, got {base}")


def _parse_place(parser: Parser) -> tuple[object, list[object]]:
    base = parser.parse_unresolved_operand()
    return base, list(parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_unresolved_operand))


def _print_place(printer: Printer, base: SSAValue, indices: Sequence[SSAValue]) -> None:
    printer.print_string(" ")
    printer.print_ssa_value(base)
    with printer.in_square_brackets():
        printer.print_list(indices, printer.print_ssa_value)


@irdl_op_definition
class TileLoadOp(_Transfer):
    """Rows of memory into a tile."""

    name = "amx.tile_load"
    base = operand_def(MemRefType)
    indices = var_operand_def(IndexType)
    res = result_def(TileType)
    traits = traits_def(MemoryReadEffect())

    def verify_(self) -> None:
        self.check(self.base.type, len(self.indices), self.res.type)

    def print(self, printer: Printer) -> None:
        _print_place(printer, self.base, self.indices)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.base.type)
        printer.print_string(" into ")
        printer.print_attribute(self.res.type)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        base, indices = _parse_place(parser)
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        kind = parser.parse_type()
        parser.parse_keyword("into")
        tile = parser.parse_type()
        operands = _resolved(parser, base, kind, indices)
        return cls.create(operands=operands, result_types=[tile], attributes=attributes)


@irdl_op_definition
class TileStoreOp(_Transfer):
    """A tile into rows of memory."""

    name = "amx.tile_store"
    base = operand_def(MemRefType)
    indices = var_operand_def(IndexType)
    val = operand_def(TileType)
    traits = traits_def(MemoryWriteEffect())

    def verify_(self) -> None:
        self.check(self.base.type, len(self.indices), self.val.type)

    def print(self, printer: Printer) -> None:
        _print_place(printer, self.base, self.indices)
        printer.print_string(", ")
        printer.print_ssa_value(self.val)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_list([self.base.type, self.val.type], printer.print_attribute)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        base, indices = _parse_place(parser)
        parser.parse_punctuation(",")
        value = parser.parse_unresolved_operand()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        kind = parser.parse_type()
        parser.parse_punctuation(",")
        tile = parser.parse_type()
        operands = [*_resolved(parser, base, kind, indices), parser.resolve_operand(value, tile)]
        return cls.create(operands=operands, attributes=attributes)


def _resolved(parser: Parser, base: object, kind: Attribute, indices: Sequence[object]) -> list[SSAValue]:
    places = [parser.resolve_operand(i, IndexType()) for i in indices]  # pyright: ignore[reportArgumentType]
    return [parser.resolve_operand(base, kind), *places]  # pyright: ignore[reportArgumentType]


class _Product(IRDLOperation):
    """`acc + lhs . rhs`; a row of `rhs` holds a group of neighbouring terms for each column."""

    SUMS: ClassVar = VarConstraint("SUMS", BaseAttr(TileType))
    lhs = operand_def(TileType)
    rhs = operand_def(TileType)
    acc = operand_def(SUMS)
    res = result_def(SUMS)
    traits = traits_def(Pure())

    def check(self, group: int, narrow: Attribute, wide: Attribute) -> None:
        """Refuse tiles whose elements or sizes do not match."""
        lhs, rhs, acc = self.lhs.type, self.rhs.type, self.acc.type
        assert isinstance(lhs, TileType) and isinstance(rhs, TileType) and isinstance(acc, TileType)
        if (lhs.element_type, rhs.element_type, acc.element_type) != (narrow, narrow, wide):
            raise VerifyException(f"expected factors of {narrow} and sums of {wide}, got {lhs}, {rhs} and {acc}")
        (rows, terms), (groups, width), (m, n) = lhs.sizes, rhs.sizes, acc.sizes
        if rows != m or width != n * group or terms != groups * group:
            raise VerifyException(f"sizes of {lhs}, {rhs} and {acc} do not match")


@irdl_op_definition
class TileMulFOp(_Product):
    """Pairs of bf16 products added to f32. Subnormal operands and results count as zero."""

    name = "amx.tile_mulf"
    assembly_format = "$lhs `,` $rhs `,` $acc attr-dict `:` type($lhs) `,` type($rhs) `,` type($acc)"

    def verify_(self) -> None:
        self.check(2, bf16, f32)


@irdl_op_definition
class TileMulIOp(_Product):
    """Fours of products of 8-bit integers added to i32, modulo 2^32; `isZext*`: that factor is unsigned."""

    name = "amx.tile_muli"
    is_zext_lhs = opt_prop_def(UnitAttr, prop_name="isZextLhs")
    is_zext_rhs = opt_prop_def(UnitAttr, prop_name="isZextRhs")

    def verify_(self) -> None:
        self.check(4, i8, i32)

    def print(self, printer: Printer) -> None:
        for value, unsigned in ((self.lhs, self.is_zext_lhs), (self.rhs, self.is_zext_rhs)):
            printer.print_string(" ")
            printer.print_ssa_value(value)
            printer.print_string(" zext," if unsigned is not None else ",")
        printer.print_string(" ")
        printer.print_ssa_value(self.acc)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_list([v.type for v in self.operands], printer.print_attribute)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        properties: dict[str, Attribute] = {}
        values = []
        for name in ("isZextLhs", "isZextRhs"):
            values.append(parser.parse_unresolved_operand())
            if parser.parse_optional_keyword("zext"):
                properties[name] = UnitAttr()
            parser.parse_punctuation(",")
        values.append(parser.parse_unresolved_operand())
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        types = parser.parse_comma_separated_list(parser.Delimiter.NONE, parser.parse_type)
        operands = parser.resolve_operands(values, types, parser.pos)
        return cls.create(operands=operands, result_types=[types[-1]], properties=properties, attributes=attributes)


OPS = (TileZeroOp, TileLoadOp, TileStoreOp, TileMulFOp, TileMulIOp)
