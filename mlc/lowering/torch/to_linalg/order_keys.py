"""Integers that are in the order of a tensor's elements: sorting then compares no floats and knows no NaN.

    f32  -1.5   0x bfc00000  --  the sign flips the other bits  -->  -1069547521 : i32
    NaN is the largest, both zeros are one; downwards every bit is flipped.

Elementwise, so that it fuses and becomes vectors.
"""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerType
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dtypes import I32, I64, DType
from mlc.lowering.torch.to_linalg.registry import Conversion
from mlc.lowering.torch.to_linalg.structured import elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor


def key_type(t: DType) -> DType:
    """What holds the keys of a dtype: signed numbers."""
    return I64 if t.bits == 64 else I32


def key_bits(t: DType) -> int:
    """Keys of a dtype lie within so many bits: -2^(bits-1) <= key < 2^(bits-1)."""
    return t.bits + (t.kind in "ub")


def key_of_nan(t: DType) -> int:
    """The largest key of a dtype; among floats NaN alone has it."""
    return (1 << (key_bits(t) - 1)) - 1


def order_keys(c: Conversion, x: Tensor, *, descending: bool, nan_last: bool = False) -> Tensor:
    """The key of each element: smaller ones come first. `nan_last`: NaN has the largest key downwards too."""
    t, key = x.dtype, key_type(x.dtype)

    def fn(b: Body, v: SSAValue) -> SSAValue:
        found = _of_float(b, v, t) if t.is_float else b.cast(v, t, key)
        if not descending:
            return found
        found = b.op(arith.XOrIOp, found, b.const(-1, key))
        return b.select(b.is_nan(v, t), b.const(key_of_nan(t), key), found) if nan_last and t.is_float else found

    return c.plain(elementwise(c, [x], key, fn, compute=t, returns=key))


def _of_float(b: Body, v: SSAValue, t: DType) -> SSAValue:
    key = key_type(t)
    v = b.select(b.compare("eq", v, b.const(0.0, t), t), b.const(0.0, t), v)
    bits = b.op(arith.BitcastOp, v, IntegerType(t.bits))
    if t.bits < key.bits:
        bits = b.op(arith.ExtSIOp, bits, key.mlir)
    sign = b.op(arith.ShRSIOp, bits, b.const(key.bits - 1, key))
    found = b.op(arith.XOrIOp, bits, b.op(arith.AndIOp, sign, b.const(key_of_nan(t), key)))
    return b.select(b.is_nan(v, t), b.const(key_of_nan(t), key), found)
