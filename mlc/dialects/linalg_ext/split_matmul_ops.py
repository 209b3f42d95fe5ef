"""Matrix products of f32 through a matrix unit that multiplies bf16: every number as the sum of three.

    %w = "linalg_ext.split_matmul_weights"(%p) : (tensor<48x768x16xf32>) -> tensor<48x770x16xf32>
    %y, %s, %r, %q = "linalg_ext.split_matmul"(%x, %w, %o, %e, %f, %g)
        : (tensor<128x768xf32>, tensor<48x770x16xf32>,                                              ins
           tensor<128x48x16xf32>, tensor<8x24x3x16x32xbf16>, tensor<5x128xf32>,                     outs
           tensor<2x24x3x16x32xbf16>)
        -> (tensor<128x48x16xf32>, tensor<8x24x3x16x32xbf16>, tensor<5x128xf32>, tensor<2x24x3x16x32xbf16>)

A number of f32 has 24 bits and one of bf16 eight: x = x0 + x1 + x2, each the nearest of bf16 to what those before it
leave, and all of them together are x. Of the nine products of the parts of two numbers six are multiplied, in f32:

    x w  =  x0 w0 + (x0 w1 + x1 w0) + (x0 w2 + x1 w1 + x2 w0) + what is less than 2^-24 x w

Parts of small numbers would be less than any of bf16: every row of inputs, and columns of weights that are far from
one, are multiplied by a power of two that brings their root mean square near one, and the result divided by it. Rows
with NaN, infinities, or whose squares sum to less than 2^-100 or more than 2^100 per term, and all rows where a column
of weights has NaN, infinities or more than that, are multiplied plainly.

The result is added to the first destination. The other destinations are scratch; what those results hold is not
specified. Terms are a multiple of 16, filled up with zeros to a multiple of 32.

    x  rows, terms                                   as in `prepared_matmul.py`; rows may be pixels
    w  columns / 16, terms + 2, 16                   scaled weights, filled up; one by the factor of the column (zero: a
                                                     column of zeros); whether any column is to be multiplied plainly
    y  rows, columns / 16, 16
    s  rows / 16, terms / 32, 3, 16, 32              the parts of scaled inputs, in tiles of 16 rows (pixels one after
                                                     the other); of 32 terms every other one is from the second half
    r  5, rows                                       numbers of every row
    q  2, terms / 32 of a piece, 3, 16, 32           the parts of two panels of weights, for every thread

The ops are written in the generic form, which upstream's tools read without knowing the dialect.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import MemRefType, NoneAttr, TensorType, VectorType, bf16, f32
from xdsl.ir import SSAValue
from xdsl.irdl import IRDLOperation, irdl_op_definition, operand_def, result_def, traits_def, var_result_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from mlc.dialects.linalg_ext.prepared_matmul import NUMBERS, PreparedMatmulOp, checked_shape, result_types

LANES = 16
"""Columns of a panel, rows of a tile."""
STEP = 32
"""Terms of a tile."""
PARTS = 3
"""bf16 numbers whose sum one of f32 is."""
PRODUCTS = 6
"""Of parts, for one of whole numbers."""


def filled(terms: int) -> int:
    """Terms, filled up to whole tiles."""
    return -(-terms // STEP) * STEP


def parts_shape(rows: int, terms: int) -> tuple[int, ...]:
    """Shape of the destination for the parts of `rows` rows of `terms`."""
    return (-(-rows // LANES), filled(terms) // STEP, PARTS, LANES, STEP)


def panels_shape(terms: int, depth: int) -> tuple[int, ...]:
    """Shape of the destination for the parts of two panels, of pieces of at most `depth` terms, as even as they can
    be."""
    steps = filled(terms) // STEP
    return (2, -(-steps // -(-steps // max(1, depth // STEP))), PARTS, LANES, STEP)


def weights_shape(blocks: int, terms: int) -> tuple[int, ...]:
    """Shape of prepared weights of `blocks` panels."""
    return (blocks, filled(terms) + 2, LANES)


@irdl_op_definition
class BF16PartsOp(IRDLOperation):
    """Three parts of the lanes of two vectors in turn: 0, 1, … of a part are those of %a[0], %b[0], %a[1], …

    Two are the nearest bf16, of two as near the larger in magnitude; the third is what they leave.

    %0, %1, %2 = "linalg_ext.bf16_parts"(%a, %b)
        : (vector<16xf32>, vector<16xf32>) -> (vector<32xbf16>, vector<32xbf16>, vector<32xbf16>)
    """

    name = "linalg_ext.bf16_parts"

    a = operand_def(VectorType(f32, [LANES]))
    b = operand_def(VectorType(f32, [LANES]))
    parts = var_result_def(VectorType(bf16, [STEP]))

    traits = traits_def(Pure())

    def __init__(self, a: SSAValue, b: SSAValue) -> None:
        super().__init__(operands=[a, b], result_types=[[VectorType(bf16, [STEP])] * PARTS])

    def verify_(self) -> None:
        if len(self.parts) != PARTS:
            raise VerifyException(f"expected {PARTS} results, got {len(self.parts)}")


@irdl_op_definition
class SplitMatmulWeightsOp(IRDLOperation):
    """Panels of weights, scaled, with what the product needs besides; see the module."""

    name = "linalg_ext.split_matmul_weights"

    panels = operand_def(TensorType)
    result = result_def(TensorType)

    traits = traits_def(Pure())

    def __init__(self, panels: SSAValue) -> None:
        blocks, terms = _panels(panels)
        super().__init__(operands=[panels], result_types=[TensorType(f32, weights_shape(blocks, terms))])

    def verify_(self) -> None:
        blocks, terms = _panels(self.panels)
        wanted = weights_shape(blocks, terms)
        if checked_shape(self.result, "result", f32, 3) != wanted:
            raise VerifyException(f"expected a result of shape {list(wanted)}, got {self.result.type}")


@irdl_op_definition
class SplitMatmulOp(PreparedMatmulOp):
    """Adds the product of %x and prepared weights to the first destination; see the module."""

    name = "linalg_ext.split_matmul"

    @property
    def panels(self) -> SSAValue:
        """Scratch: the parts of two panels of weights."""
        (panels,) = self.more
        return panels

    def __init__(self, operands: Sequence[SSAValue]) -> None:
        super().__init__(operands=[*operands[:5], operands[5:]], result_types=[result_types(operands)])

    def verify_(self) -> None:
        if len(self.more) != 1:
            raise VerifyException(f"expected six operands, got {len(self.operands)}")
        (count, *pixels), terms = self.grid(), self.terms()
        if terms % LANES or not terms:
            raise VerifyException(f"expected a multiple of {LANES} terms, got {terms}")
        if pixels and checked_shape(self.input, "input", f32, 5)[-1] != LANES:
            raise VerifyException(f"expected blocks of {LANES} channels, got {self.input.type}")
        if 0 in (count, *pixels):
            raise VerifyException(f"expected rows, got {self.input.type}")
        blocks, _, _ = checked_shape(self.weights, "weights", f32, 3)
        self.expect("weights", self.weights, weights_shape(blocks, terms))
        self.expect("output", self.output, (count, blocks, *pixels, LANES))
        self.expect("parts", self.scaled, parts_shape(prod((count, *pixels)), terms), bf16)
        self.expect("rows", self.rows, (NUMBERS, count, *pixels))
        _, steps, *_ = checked_shape(self.panels, "panels", bf16, 5)
        if not 1 <= steps <= filled(terms) // STEP:
            raise VerifyException(f"expected pieces of 1 to {filled(terms) // STEP} steps, got {steps}")
        self.expect("panels", self.panels, (2, steps, PARTS, LANES, STEP), bf16)
        for what, scratch in (("parts", self.scaled), ("panels", self.panels)):
            if isinstance(scratch.type, MemRefType) and not isinstance(scratch.type.layout, NoneAttr):
                raise VerifyException(f"expected the {what} to have no layout, got {scratch.type}")
        self.check_results()


def _panels(value: SSAValue) -> tuple[int, int]:
    """Blocks and terms of packed weights."""
    blocks, terms, lanes = checked_shape(value, "panels", f32, 3)
    if lanes != LANES or terms % LANES or not terms:
        raise VerifyException(f"expected panels of a multiple of {LANES} terms and {LANES} columns, got {value.type}")
    return blocks, terms
