"""Dot products of neighbouring narrow elements, added to wide accumulators, lane by lane.

    %d = x86vector.avx512.dot %acc, %a, %b : vector<32xbf16> -> vector<16xf32>
    lane i:   %acc[i] + %a[2i + 1] * %b[2i + 1] + %a[2i] * %b[2i]

Upstream's name and syntax. Besides 512 bits, the op takes 256 and 128.
"""

from __future__ import annotations

from typing import ClassVar

from xdsl.dialects.builtin import BFloat16Type, Float32Type, VectorType
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


@irdl_op_definition
class DotBF16Op(IRDLOperation):
    """Pairs of bf16 products added to f32. Subnormal operands and results count as zero."""

    name = "x86vector.avx512.dot"
    SUMS: ClassVar = VarConstraint("SUMS", BaseAttr(VectorType))
    FACTORS: ClassVar = VarConstraint("FACTORS", BaseAttr(VectorType))
    src = operand_def(SUMS)
    a = operand_def(FACTORS)
    b = operand_def(FACTORS)
    dst = result_def(SUMS)
    traits = traits_def(Pure())
    assembly_format = "$src `,` $a `,` $b attr-dict `:` type($a) `->` type($src)"

    def verify_(self) -> None:
        sums, factors = self.src.type, self.a.type
        assert isinstance(sums, VectorType) and isinstance(factors, VectorType)
        lanes = sums.get_shape()
        if lanes not in ((4,), (8,), (16,)) or not isinstance(sums.element_type, Float32Type):
            raise VerifyException(f"sums are 4, 8 or 16 lanes of f32, not {sums}")
        if factors.get_shape() != (2 * lanes[0],) or not isinstance(factors.element_type, BFloat16Type):
            raise VerifyException(f"factors are pairs of bf16 for {lanes[0]} lanes, not {factors}")


OPS = (DotBF16Op,)
