"""Open sizes of a kernel's arguments that are never larger than known numbers: what its calls pass.

    func.func private @kernel(%x: memref<1x?x8xf32> {mlc.at_most = array<i64: 1, 24, 8>}) attributes {kernel}

A bound is a promise: passes may rely on it. Nothing is said where the attribute is missing.
"""

from __future__ import annotations

from xdsl.dialects.builtin import DenseArrayBase
from xdsl.dialects.func import FuncOp
from xdsl.ir import BlockArgument, SSAValue

AT_MOST = "mlc.at_most"
"""The argument's attribute: a number for each dimension."""


def size_bound(value: SSAValue, dim: int) -> int | None:
    """The most that dimension `dim` of `value` can be, where something says so."""
    if not isinstance(value, BlockArgument):
        return None
    function = value.owner.parent_op()
    if not isinstance(function, FuncOp) or function.arg_attrs is None or value.owner is not function.body.block:
        return None
    bounds = function.arg_attrs.data[value.index].data.get(AT_MOST)
    if not isinstance(bounds, DenseArrayBase) or dim >= len(bounds):
        return None
    return int(bounds.get_values()[dim])
