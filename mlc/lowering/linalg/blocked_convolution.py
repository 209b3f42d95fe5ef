"""Know a convolution in blocked layout, in the form that linalg-block-layouts gives it.

linalg.generic (n, f1, oh, ow, f0, c1, kh, kw, c0)
  ins(%x, %w : tensor<1x4x58x58x16xf32>, tensor<4x4x3x3x16x16xf32>) outs(%out : tensor<1x4x56x56x16xf32>)
  { mulf, addf }
"""

from __future__ import annotations

from xdsl.dialects.builtin import TensorType, f32
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import Operation
from xdsl.ir.affine import AffineDimExpr, AffineMap

from mlc.dialects.linalg.structured_ops import is_multiply_add
from mlc.lowering.linalg.structure import iterators_of, maps_of

LOOPS = [AffineDimExpr(i) for i in range(9)]
"""n, f1, oh, ow, f0, c1, kh, kw, c0"""
FILTERS = AffineMap(9, 0, (LOOPS[1], LOOPS[5], LOOPS[6], LOOPS[7], LOOPS[8], LOOPS[4]))
OUTPUT = AffineMap(9, 0, tuple(LOOPS[:5]))
STRIDE_1 = AffineMap(9, 0, (LOOPS[0], LOOPS[5], LOOPS[2] + LOOPS[6], LOOPS[3] + LOOPS[7], LOOPS[8]))
"""How inputs are read without stride and dilation."""


def is_blocked_convolution(op: Operation) -> bool:
    """Whether `op` is a convolution of f32, of any window, stride and dilation, in blocked layout."""
    if not isinstance(op, GenericOp) or len(op.inputs) != 2 or len(op.results) != 1 or iterators_of(op) != "ppppprrrr":
        return False
    maps = maps_of(op)
    return (
        maps[1:] == [FILTERS, OUTPUT]
        and len(maps[0].results) == 5
        and is_multiply_add(op.body.block)
        and all(isinstance(v.type, TensorType) and v.type.element_type == f32 for v in op.operands)
    )
