"""Which matrix products take operands of lower precision: plain ones of f32 with constant weights that fill a
vector."""

from __future__ import annotations

from xdsl.dialects.builtin import DYNAMIC_INDEX, f32
from xdsl.dialects.linalg.ops import MatmulOp

from mlc.lowering.linalg.build import element_type
from mlc.lowering.linalg.linalg_pack_matmul import is_constant, is_plain
from mlc.lowering.linalg.structure import shape_of

KEPT = ("linalg.conv", "linalg.depthwise", "linalg.batch_matmul")
"""How the names of other sums of products begin, which stay as they are."""

LIMIT = (2**31 - 1) // (255 * 127)
"""Products of 8-bit integers, one of them unsigned, that an i32 can sum."""

SMALLEST = 2.0**-119
"""From where the largest element of a line counts, at least: 127 divided by it is finite."""


def obstacle(op: MatmulOp, columns: int) -> str:
    """Why `op` stays as it is, or nothing; `columns`: the least that pay."""
    if element_type(op.results[0]) != f32 or any(element_type(v) != f32 for v in op.inputs):
        return "elements are not f32"
    if not is_plain(op):
        return "indexing maps are not those of a plain product"
    if not is_constant(op.inputs[1]):
        return "the right-hand side is computed at run time"
    have = shape_of(op.inputs[1])[1]
    return f"{have} columns, a vector has {columns}" if have == DYNAMIC_INDEX or have < columns else ""
