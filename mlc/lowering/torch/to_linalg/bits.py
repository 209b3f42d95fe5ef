"""The bits of a tensor under another element type."""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, IntegerType
from xdsl.ir import SSAValue

from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.creation import indexed
from mlc.lowering.torch.to_linalg.dtypes import DType
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor


@lowers("aten.view.dtype")
def view_dtype(c: Conversion, x: Tensor, *_: object) -> Tensor:
    """Same width: a bitcast. Narrower: each element becomes several, the low bits first; wider: the reverse."""
    target = c.out
    if x.dtype.mlir == target.mlir:
        return Tensor(x.value, target, x.shape, x.axes, x.value_shape)
    if x.dtype.is_bool or target.is_bool:
        raise c.refuse("bools are bits, not bytes, while compiling: a view as or of them has no lowering")
    if x.dtype.bits == target.bits:
        return elementwise(c, [x], target, lambda b, v: _cast(b, v, target.mlir), compute=x.dtype, returns=target)
    return _narrowed(c, x, target) if x.dtype.bits > target.bits else _widened(c, x, target)


def _cast(b: Body, v: SSAValue, kind: object) -> SSAValue:
    return v if v.type == kind else b.op(arith.BitcastOp, v, kind)


def _number(b: Body, value: int, width: int) -> SSAValue:
    return b.op(arith.ConstantOp, IntegerAttr(value, IntegerType(width)))


def _narrowed(c: Conversion, x: Tensor, target: DType) -> Tensor:
    wide, part = x.dtype.bits, target.bits
    count = wide // part
    whole = c.plain(x).value

    def fn(b: Body, at: list[SSAValue]) -> SSAValue:
        ratio = b.index(count)
        element = b.extract(whole, [*at[:-1], b.op(arith.DivUIOp, at[-1], ratio)])
        piece = b.op(arith.IndexCastOp, b.op(arith.RemUIOp, at[-1], ratio), IntegerType(wide))
        shift = b.op(arith.MuliOp, piece, _number(b, part, wide))
        low = b.op(arith.ShRUIOp, _cast(b, element, IntegerType(wide)), shift)
        return _cast(b, b.op(arith.TruncIOp, low, IntegerType(part)), target.mlir)

    return indexed(c, (*x.shape[:-1], c.dims.mul(x.shape[-1], count)), target, fn)


def _widened(c: Conversion, x: Tensor, target: DType) -> Tensor:
    part, wide = x.dtype.bits, target.bits
    count = wide // part
    whole = c.plain(x).value

    def fn(b: Body, at: list[SSAValue]) -> SSAValue:
        first = b.op(arith.MuliOp, at[-1], b.index(count))
        bits: SSAValue | None = None
        for i in range(count):
            element = b.extract(whole, [*at[:-1], b.op(arith.AddiOp, first, b.index(i))])
            piece = b.op(arith.ExtUIOp, _cast(b, element, IntegerType(part)), IntegerType(wide))
            piece = b.op(arith.ShLIOp, piece, _number(b, i * part, wide))
            bits = piece if bits is None else b.op(arith.OrIOp, bits, piece)
        assert bits is not None
        return _cast(b, bits, target.mlir)

    return indexed(c, (*x.shape[:-1], c.dims.floordiv(x.shape[-1], count)), target, fn)
