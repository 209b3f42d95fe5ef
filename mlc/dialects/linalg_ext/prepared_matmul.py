"""What products have in common whose rows are brought near one and prepared before they are multiplied.

    rows    x [rows, terms]                             y [rows, columns / lanes, lanes]
    pixels  x [images, terms / lanes, height, width,    y [images, columns / lanes, height, width, lanes]
               lanes]

Pixels are rows of 1x1 convolutions in blocked layout, channels their terms.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType, ShapedType, TensorType, f32
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import IRDLOperation, operand_def, var_operand_def, var_result_def
from xdsl.utils.exceptions import VerifyException

UNSCALE, SCALE, SQUARES, SIZES, PLAIN, NUMBERS = range(6)
"""Numbers of every row, in a destination: one by the factor; the factor; sum of squares; sum of absolute values;
whether the row is to be multiplied plainly; how many these are."""


class PreparedMatmulOp(IRDLOperation):
    """Adds the product of %x and prepared weights to the first destination; the others are scratch."""

    input = operand_def()
    weights = operand_def()
    output = operand_def()
    scaled = operand_def()
    rows = operand_def()
    more = var_operand_def()
    res = var_result_def(TensorType)

    @property
    def inputs(self) -> list[SSAValue]:
        """What is read alone."""
        return [self.input, self.weights]

    @property
    def outputs(self) -> list[SSAValue]:
        """Destinations: what is added to, and scratch."""
        return [self.output, self.scaled, self.rows, *self.more]

    def terms(self) -> int:
        """Terms of a row."""
        _, terms, *rest = checked_shape(self.input, "input", f32, 2, 5)
        return terms * rest[-1] if rest else terms

    def grid(self) -> tuple[int, ...]:
        """Extents of the rows: how many, or images, height and width."""
        count, _, *rest = checked_shape(self.input, "input", f32, 2, 5)
        return (count, *rest[:-1])

    def expect(self, what: str, value: SSAValue, wanted: tuple[int, ...], element: Attribute = f32) -> None:
        """Refuse a value of another shape."""
        if checked_shape(value, what, element, len(wanted)) != wanted:
            raise VerifyException(f"expected {what} of shape {list(wanted)}, got {value.type}")

    def check_results(self) -> None:
        """Refuse results of other types than the destinations."""
        outs = [v.type for v in self.outputs]
        if self.res and [r.type for r in self.res] != outs:
            raise VerifyException("expected the types of the results to be those of the destinations")
        if bool(self.res) != isinstance(outs[0], TensorType):
            raise VerifyException("expected results on tensors, and none on buffers")


def result_types(operands: Sequence[SSAValue]) -> list[Attribute]:
    """Of an op on these operands: none on buffers."""
    outs = [v.type for v in operands[2:]]
    return outs if all(isinstance(t, TensorType) for t in outs) else []


def checked_shape(value: SSAValue, what: str, element: Attribute, *ranks: int) -> tuple[int, ...]:
    """Static shape of a tensor or memref of `element`, of one of these ranks."""
    ty: Attribute = value.type
    if not isinstance(ty, TensorType | MemRefType) or ty.element_type != element:
        raise VerifyException(f"expected the {what} to be a tensor or memref of {element}, got {ty}")
    assert isinstance(ty, ShapedType)
    shape = tuple(ty.get_shape())
    if len(shape) not in ranks or DYNAMIC_INDEX in shape:
        wanted = " or ".join(map(str, ranks))
        raise VerifyException(f"expected the {what} to have {wanted} static dimensions, got {ty}")
    return shape
