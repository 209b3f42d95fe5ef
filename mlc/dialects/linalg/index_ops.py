"""Named `linalg` ops that xDSL has on ints and floats only, here also on index, as upstream.

%0 = linalg.fill ins(%i : index) outs(%e : tensor<4xindex>) -> tensor<4xindex>
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.dialects.builtin import AnyFloat, IndexType, IntegerType, ShapedType
from xdsl.dialects.linalg import ops
from xdsl.ir import SSAValue
from xdsl.utils.exceptions import VerifyException


def _element_types(operands: Sequence[SSAValue]) -> Sequence[Any]:
    """Types of the body's arguments."""
    types = [v.type.get_element_type() if isinstance(v.type, ShapedType) else v.type for v in operands]  # pyright: ignore
    for type_ in types:
        if not isinstance(type_, AnyFloat | IntegerType | IndexType):
            raise VerifyException(f"works on ints, floats and index, not on {type_}")
    return types


class FillOp(ops.FillOp):
    """`linalg.fill`."""

    body_arg_types = staticmethod(_element_types)

    def verify_(self) -> None:
        self.get_irdl_definition().verify(self)
        _element_types(self.operands)


class CopyOp(ops.CopyOp):
    """`linalg.copy`."""

    body_arg_types = staticmethod(_element_types)


OPS = (FillOp, CopyOp)
