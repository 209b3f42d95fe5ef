"""Dot products of neighbouring narrow elements, added to wide accumulators, lane by lane; lookups in a register.

    %d = x86vector.avx512.dot %acc, %a, %b : vector<32xbf16> -> vector<16xf32>
    lane i:   %acc[i] + %a[2i + 1] * %b[2i + 1] + %a[2i] * %b[2i]

Upstream's name and syntax; it has no op for VNNI's unsigned by signed products, which here is `avx512.dot.ui8`:

    %d = x86vector.avx512.dot.ui8 %acc, %a, %b : vector<64xi8> -> vector<16xi32>

Besides 512 bits, the ops take 256 and 128.

A table of 16 values is looked up by a permutation of it, for which upstream has no op either. It is printed in the
generic form, which upstream's tools read without knowing the op:

    %r = "x86vector.avx512.permvar"(%table, %index) : (vector<16xf32>, vector<8xi32>) -> vector<8xf32>
    lane i:   %table[%index[i] mod 16]
"""

from __future__ import annotations

from typing import ClassVar

from xdsl.dialects.builtin import VectorType, bf16, f32, i8, i32
from xdsl.ir import Attribute
from xdsl.irdl import (
    BaseAttr,
    IRDLOperation,
    VarConstraint,
    irdl_op_definition,
    operand_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException


class _DotOp(IRDLOperation):
    """`$src + $a . $b`, the factors in groups of 32 bits."""

    SUMS: ClassVar = VarConstraint("SUMS", BaseAttr(VectorType))
    FACTORS: ClassVar = VarConstraint("FACTORS", BaseAttr(VectorType))
    src = operand_def(SUMS)
    a = operand_def(FACTORS)
    b = operand_def(FACTORS)
    dst = result_def(SUMS)
    traits = traits_def(Pure())
    assembly_format = "$src `,` $a `,` $b attr-dict `:` type($a) `->` type($src)"

    def check(self, group: int, narrow: Attribute, wide: Attribute) -> None:
        """Refuse other types than groups of `narrow` and sums in `wide`."""
        sums, factors = self.src.type, self.a.type
        assert isinstance(sums, VectorType) and isinstance(factors, VectorType)
        lanes = sums.get_shape()
        if lanes not in ((4,), (8,), (16,)) or sums.element_type != wide:
            raise VerifyException(f"sums are 4, 8 or 16 lanes of {wide}, not {sums}")
        if factors.get_shape() != (group * lanes[0],) or factors.element_type != narrow:
            raise VerifyException(f"factors are {group * lanes[0]} lanes of {narrow}, not {factors}")


@irdl_op_definition
class DotBF16Op(_DotOp):
    """Pairs of bf16 products added to f32. Subnormal operands and results count as zero."""

    name = "x86vector.avx512.dot"

    def verify_(self) -> None:
        self.check(2, bf16, f32)


@irdl_op_definition
class DotUI8Op(_DotOp):
    """Fours of products of unsigned (`a`) and signed (`b`) 8-bit integers added to i32, modulo 2^32."""

    name = "x86vector.avx512.dot.ui8"

    def verify_(self) -> None:
        self.check(4, i8, i32)


@irdl_op_definition
class PermvarOp(IRDLOperation):
    """Lanes of `$table` by the low four bits of each index."""

    name = "x86vector.avx512.permvar"
    table = operand_def(VectorType)
    index = operand_def(VectorType)
    dst = result_def(VectorType)
    traits = traits_def(Pure())

    def verify_(self) -> None:
        index = self.index.type
        assert isinstance(index, VectorType)
        lanes = index.get_shape()
        if self.table.type != VectorType(f32, [16]):
            raise VerifyException(f"the table is 16 lanes of f32, not {self.table.type}")
        if lanes not in ((4,), (8,), (16,)) or index.element_type != i32:
            raise VerifyException(f"indices are 4, 8 or 16 lanes of i32, not {index}")
        if self.dst.type != VectorType(f32, lanes):
            raise VerifyException(f"the result is {lanes[0]} lanes of f32, not {self.dst.type}")


OPS = (DotBF16Op, DotUI8Op, PermvarOp)
