"""Matrix products by Winograd's inner product (1968): pairs of terms for one multiplication and some additions.

    %w = "linalg_ext.winograd_matmul_weights"(%p) {depth = 256 : i64} : (tensor<48x768x16xf32>) -> tensor<48x779x16xf32>
    %y, %s, %r = "linalg_ext.winograd_matmul"(%x, %w, %o, %e, %f) {depth = 256 : i64}
        : (tensor<128x768xf32>, tensor<48x779x16xf32>,                                              ins
           tensor<128x48x16xf32>, tensor<128x3x304xf32>, tensor<8x128xf32>)                         outs
        -> (tensor<128x48x16xf32>, tensor<128x3x304xf32>, tensor<8x128xf32>)

    x0 w0 + x1 w1  =  (x0 + w1) (x1 + w0) - x0 x1 - w0 w1

Of three terms two are paired like that and one is multiplied as it is: two multiply-adds and two additions instead of
three multiply-adds, which is faster where a machine adds beside its multiply-adds. The products of inputs are summed
once per row, those of weights when the model is compiled. Every second pair has its signs turned, x0 w0 + x1 w1 =
x0 x1 + w0 w1 - (w1 - x0) (w0 - x1), so that sums of like signs do not grow.
Sums of such factors round well where both are of one size: every row of inputs and every column of weights is
multiplied by a power of two that brings its root mean square near one, and the result divided by it.

The result is added to the first destination. `depth`: terms of a piece, whose sum is added to that of the pieces
before; a piece is filled up with zeros to whole groups of six terms. The other two destinations are scratch; what those
results hold is not specified. Rows with NaN, infinities, or whose squares sum to less than 2^-100 or more than 2^100
per term, and all rows where a column of weights has NaN, infinities or more than that, are multiplied plainly.

    x  rows, terms
    w  columns / lanes, rows as below, lanes         weights of every piece, filled up; sums of w0 w1 of every piece;
                                                     one by the factor of the column (zero: a column of zeros);
                                                     whether any column is to be multiplied plainly
    y  rows, columns / lanes, lanes
    s  rows, pieces, room                            scaled inputs of every piece, filled up with zeros
    r  pieces + 5, rows                              one by the factor; the factor; sum of squares; sum of absolute
                                                     values; whether the row is to be multiplied plainly; sums of
                                                     x0 x1 of every piece

Rows may be the pixels of images in blocked layout, and terms their channels (a convolution of 1x1 filters):

    %y, %s, %r = "linalg_ext.winograd_matmul"(%x, %w, %o, %e, %f) {depth = 256 : i64}
        : (tensor<1x64x14x14x16xf32>, tensor<16x1042x16xf32>,                                       ins
           tensor<1x16x14x14x16xf32>, tensor<1x14x14x4x304xf32>, tensor<9x1x14x14xf32>)             outs

    x  images, terms / lanes, height, width, lanes   a piece is whole blocks of channels
    y  images, columns / lanes, height, width, lanes
    s, r  as above, with images, height, width in the place of rows

The ops are written in the generic form, which upstream's tools read without knowing the dialect.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import IntegerAttr, TensorType, f32, i64
from xdsl.ir import SSAValue
from xdsl.irdl import IRDLOperation, attr_def, irdl_op_definition, operand_def, result_def, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from mlc.dialects.linalg_ext.prepared_matmul import NUMBERS, PreparedMatmulOp, checked_shape, result_types

GROUP = 6
"""Terms of a group: a pair, one term, a pair with turned signs, one term."""
PERIOD = 48
"""Terms after which groups and vectors of up to 16 lanes begin together again."""
BESIDE = 16
SUMS = NUMBERS
"""From here on one row of the third destination per piece."""


def padded(depth: int) -> int:
    """Terms of a piece, filled up to whole groups."""
    return -(-depth // GROUP) * GROUP


def room(depth: int) -> int:
    """Terms of a piece of scaled inputs: whole periods, and some more, so that each has one beside it."""
    return -(-depth // PERIOD) * PERIOD + BESIDE


@irdl_op_definition
class WinogradMatmulWeightsOp(IRDLOperation):
    """Panels of weights, scaled, with what the product needs besides; see the module."""

    name = "linalg_ext.winograd_matmul_weights"

    panels = operand_def(TensorType)
    depth = attr_def(IntegerAttr.constr(i64))
    result = result_def(TensorType)

    traits = traits_def(Pure())

    def __init__(self, panels: SSAValue, depth: int) -> None:
        blocks, terms, lanes = _shape(panels, "panels", 3)
        super().__init__(
            operands=[panels],
            attributes={"depth": IntegerAttr(depth, i64)},
            result_types=[TensorType(f32, [blocks, weight_rows(terms, depth), lanes])],
        )

    def verify_(self) -> None:
        blocks, terms, lanes = _shape(self.panels, "panels", 3)
        depth = _depth(self.depth, terms)
        wanted = (blocks, weight_rows(terms, depth), lanes)
        if _shape(self.result, "result", 3) != wanted:
            raise VerifyException(f"expected a result of shape {list(wanted)}, got {self.result.type}")


def weight_rows(terms: int, depth: int) -> int:
    """Rows of a block of prepared weights."""
    pieces = terms // depth
    return pieces * padded(depth) + pieces + 2


@irdl_op_definition
class WinogradMatmulOp(PreparedMatmulOp):
    """Adds the product of %x and prepared weights to the first destination; see the module."""

    name = "linalg_ext.winograd_matmul"

    depth = attr_def(IntegerAttr.constr(i64))

    def __init__(self, operands: Sequence[SSAValue], depth: int) -> None:
        super().__init__(
            operands=[*operands, []],
            attributes={"depth": IntegerAttr(depth, i64)},
            result_types=[result_types(operands)],
        )

    def piece(self) -> int:
        """Terms of a piece."""
        return self.depth.value.data

    def pieces(self) -> int:
        """Pieces that the terms are summed in."""
        return self.terms() // self.piece()

    def beside(self) -> int:
        """Terms of a piece that lie side by side: all of them, or a block of channels."""
        shape = _shape(self.input, "input", 2, 5)
        return shape[-1] if len(shape) > 2 else self.piece()

    def verify_(self) -> None:
        if self.more:
            raise VerifyException(f"expected five operands, got {len(self.operands)}")
        grid, terms = self.grid(), self.terms()
        pieces = terms // _depth(self.depth, terms)
        if self.piece() % self.beside():
            raise VerifyException(f"expected a depth of whole blocks of {self.beside()} channels, got {self.piece()}")
        blocks, weight, lanes = _shape(self.weights, "weights", 3)
        if weight != weight_rows(terms, self.piece()):
            raise VerifyException(f"expected weights of {weight_rows(terms, self.piece())} rows, got {weight}")
        self.expect("output", self.output, (grid[0], blocks, *grid[1:], lanes))
        self.expect("scaled inputs", self.scaled, (*grid, pieces, room(self.piece())))
        self.expect("rows", self.rows, (SUMS + pieces, *grid))
        self.check_results()


def _depth(attr: IntegerAttr, terms: int) -> int:
    depth = attr.value.data
    if depth <= 0 or terms <= 0 or terms % depth:
        raise VerifyException(f"expected a depth that divides the {terms} terms, got {depth}")
    return depth


def _shape(value: SSAValue, what: str, *ranks: int) -> tuple[int, ...]:
    return checked_shape(value, what, f32, *ranks)
