"""Arguments of kernels that are scratch memory: bufferization adds them, nobody reads them after the kernel.

    func.func private @kernel(%x: memref<…>, %out: memref<…>, %scratch: memref<…> {mlc.scratch}) attributes {kernel}

A pass that keeps a value in registers need not store it there.
"""

from __future__ import annotations

from xdsl.dialects.func import FuncOp
from xdsl.ir import BlockArgument, SSAValue

SCRATCH = "mlc.scratch"
"""The argument's attribute."""


def is_scratch(value: SSAValue) -> bool:
    """Whether `value` is such an argument."""
    if not isinstance(value, BlockArgument):
        return False
    function = value.owner.parent_op()
    if not isinstance(function, FuncOp) or function.arg_attrs is None or value.owner is not function.body.block:
        return False
    return SCRATCH in function.arg_attrs.data[value.index].data
