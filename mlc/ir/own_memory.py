"""Values whose memory nothing else names: new buffers, and arguments of kernels that are not marked.

    func.func private @kernel(%x: memref<…> {mlc.may_alias}, %out: memref<…> {mlc.may_alias}) attributes {kernel}

A kernel's destinations never alias its inputs unless marked. Of what is no kernel's argument nothing is known.
"""

from __future__ import annotations

from xdsl.dialects import memref
from xdsl.dialects.func import FuncOp
from xdsl.ir import BlockArgument, SSAValue

MAY_ALIAS = "mlc.may_alias"
"""The argument's attribute."""


def is_own(value: SSAValue) -> bool:
    """Whether `value`, a memref, is such a buffer or argument."""
    if not isinstance(value, BlockArgument):
        return isinstance(value.owner, memref.AllocaOp | memref.AllocOp)
    function = value.owner.parent_op()
    if (
        not isinstance(function, FuncOp)
        or "kernel" not in function.attributes
        or value.owner is not function.body.block
    ):
        return False
    return function.arg_attrs is None or MAY_ALIAS not in function.arg_attrs.data[value.index].data
