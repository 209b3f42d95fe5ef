"""The types that ops of the torch level state, held to what follows from their operands (for convert-torch-to-linalg).

torch.aten.relu %x : f32[2,3] -> si64[2,3]      DTypeError: the result has elements of f32
torch.aten.mm %a, %b -> f32[9,9]                ShapeError: the result has sizes [2,4]
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Attribute, Operation

from mlc.dialects.torch.inference import infer
from mlc.dialects.torch.promotion import FLOATING, SCALAR_TYPE_OF, category
from mlc.dialects.torch.types import VTensorType
from mlc.errors import DTypeError, ShapeError
from mlc.lowering.torch.to_linalg.tensor import Tensor

RAISED_BY_MISTAKE = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What lowerings and rules of inference raise on operands that they did not expect."""


def check_types(op: Operation) -> None:
    """ShapeError or DTypeError where the operands of `op` do not fit, or its results have other types than they
    state: a capture has none such, a text may."""
    try:
        inferred = infer(op)
    except RAISED_BY_MISTAKE:
        return  # the lowering may know better
    for result, known in zip(op.results, inferred, strict=False):
        stated = result.type
        if result.first_use is None or not isinstance(stated, VTensorType) or not isinstance(known, VTensorType):
            continue
        if not _same_sizes(known.shape, stated.shape):
            raise ShapeError(f"the result has sizes {_sizes(known.shape)}, its type is {stated}")
        empty = 0 in (stated.shape or ())  # of integers, PyTorch gives an empty softmax, and refuses any other
        if not empty and not _same_dtype(op, known.element_type, stated.element_type):
            raise DTypeError(f"the result has elements of {known.element_type}, its type is {stated}")


def _same_sizes(known: Sequence[int | None] | None, stated: Sequence[int | None] | None) -> bool:
    """Whether two shapes may be the same."""
    if known is None or stated is None:
        return True
    return len(known) == len(stated) and all(a == b or None in (a, b) for a, b in zip(known, stated, strict=True))


def _sizes(shape: Sequence[int | None] | None) -> str:
    return f"[{','.join('?' if n is None else str(n) for n in shape or ())}]"


def _same_dtype(op: Operation, known: Attribute | None, stated: Attribute | None) -> bool:
    """Whether two element types may be the same. Floats made of no float are of the default dtype, which the program
    was captured with."""
    if known == stated or known not in SCALAR_TYPE_OF or stated not in SCALAR_TYPE_OF:
        return True
    if category(known) != category(stated) or category(known) < FLOATING:
        return False
    return not any(
        isinstance(t, VTensorType) and t.element_type is not None and category(t.element_type) >= FLOATING
        for t in op.operand_types
    )


def operands_do_not_fit(op: Operation) -> ShapeError | None:
    """The error for a lowering that failed, where inference fails on the operands as well."""
    try:
        infer(op)
    except RAISED_BY_MISTAKE:
        types = ", ".join(str(t) for t in op.operand_types)
        return ShapeError(f"it does not take operands ({types})", hint="compare the ranks with PyTorch's documentation")
    return None


def check_stated(value: Tensor, stated: VTensorType) -> None:
    """ShapeError where a result is known to have other sizes than its type states; sizes that are not known until the
    function runs are checked there."""
    shape = stated.shape or ()
    given = [size if isinstance(size, int) else None for size in value.shape]
    if not _same_sizes(given, shape):
        raise ShapeError(f"the result has sizes {_sizes(given)}, its type is {stated}")
