"""Reading constants off SSA values: what a lowering asks about an op's scalar and list operands."""

from __future__ import annotations

from typing import Final

from xdsl.ir import OpResult, SSAValue

from mlc.dialects.torch.constants import ScalarConstant
from mlc.dialects.torch.prim import PrimListConstructOp, PrimTupleConstructOp, is_cast


class NotConstant:
    """Type of `NOT_CONSTANT`."""

    def __repr__(self) -> str:
        return "NOT_CONSTANT"

    def __bool__(self) -> bool:
        raise TypeError("compare with `is NOT_CONSTANT`")


NOT_CONSTANT: Final = NotConstant()


def strip_casts(value: SSAValue) -> SSAValue:
    """`value` before `torch.derefine` and `torch.prim.unchecked_cast`."""
    while isinstance(value, OpResult) and is_cast(value.op):
        value = value.op.operands[0]
    return value


def constant_value(value: SSAValue) -> object:
    """The Python value (int, float, bool, str, None, list or tuple of these) of a constant; else NOT_CONSTANT."""
    value = strip_casts(value)
    if not isinstance(value, OpResult):
        return NOT_CONSTANT
    op = value.op
    if isinstance(op, ScalarConstant):
        return op.value
    if isinstance(op, PrimListConstructOp | PrimTupleConstructOp):
        items = [constant_value(operand) for operand in op.operands]
        if any(item is NOT_CONSTANT for item in items):
            return NOT_CONSTANT
        return items if isinstance(op, PrimListConstructOp) else tuple(items)
    return NOT_CONSTANT


def list_elements(value: SSAValue) -> tuple[SSAValue, ...] | None:
    """The elements of a list (or tuple) built by `torch.prim.ListConstruct`; None when it comes from elsewhere."""
    value = strip_casts(value)
    if isinstance(value, OpResult) and isinstance(value.op, PrimListConstructOp | PrimTupleConstructOp):
        return tuple(value.op.operands)
    return None
