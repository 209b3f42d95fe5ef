"""A buffer of its own for every iteration of a parallel loop.

    scf.parallel (%i) = (%c0) to (%c28) step (%c1) {
      %v = "linalg_ext.private"(%scratch) : (memref<36x4x7x16xf32>) -> memref<36x4x7x16xf32>
      … writes %v, then reads it …
    }

The result is a buffer of the operand's type whose contents are not specified, and which no other iteration sees. It may
be the operand itself where iterations run one after the other, so that a loop on one thread works in one place; what
the operand holds after the loop is not specified. A thread of the pool takes the memory from its own (`MOST_BYTES`).
"""

from __future__ import annotations

from math import prod

from xdsl.dialects.builtin import FixedBitwidthType, MemRefType, NoneAttr
from xdsl.ir import SSAValue
from xdsl.irdl import IRDLOperation, irdl_op_definition, operand_def, result_def
from xdsl.utils.exceptions import VerifyException

MOST_BYTES = 2 << 20
"""Bytes that every thread has for the private buffers of one loop, together (`thread_pool.ll`)."""
_LINE = 64


@irdl_op_definition
class PrivateOp(IRDLOperation):
    """See the module."""

    name = "linalg_ext.private"

    source = operand_def(MemRefType)
    result = result_def(MemRefType)

    def __init__(self, source: SSAValue) -> None:
        super().__init__(operands=[source], result_types=[source.type])

    def verify_(self) -> None:
        if self.source.type != self.result.type:
            raise VerifyException(f"expected a result of type {self.source.type}, got {self.result.type}")
        t = self.result.type
        assert isinstance(t, MemRefType)
        if not t.has_static_shape() or not isinstance(t.layout, NoneAttr):
            raise VerifyException(f"expected a memref of static shape without a layout, got {t}")
        if not isinstance(t.element_type, FixedBitwidthType):
            raise VerifyException(f"expected elements of a size that is known, got {t}")


def private_bytes(t: MemRefType) -> int:
    """Bytes of a private buffer, in whole cache lines."""
    assert isinstance(t.element_type, FixedBitwidthType)
    return -(-prod(t.get_shape()) * t.element_type.size // _LINE) * _LINE
