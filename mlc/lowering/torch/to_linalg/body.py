"""Scalar code inside a `linalg.generic`: one method per operation, picking arith/math ops by torch dtype."""

from __future__ import annotations

import math as pymath
from typing import Any

from xdsl.dialects import arith, cf, math, tensor
from xdsl.dialects.builtin import AnyFloat, FloatAttr, IndexType, IntegerAttr, IntegerType, LocationAttr, i1
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Attribute, Block, Operation, SSAValue

from mlc.lowering.torch.to_linalg.dtypes import BOOL, F32, DType
from mlc.lowering.torch.to_linalg.tensor import Number

_INDEX = IndexType()


def number_attribute(value: Number, dtype: DType) -> Attribute:
    """`value` rounded to `dtype`, as an attribute."""
    if dtype.is_float:
        assert isinstance(dtype.mlir, AnyFloat)
        return FloatAttr(float(value), dtype.mlir)
    if dtype.is_bool:
        return IntegerAttr(int(bool(value)), i1)
    wrapped = int(value) & ((1 << dtype.bits) - 1)
    if wrapped >= 1 << (dtype.bits - 1):
        wrapped -= 1 << dtype.bits
    return IntegerAttr(wrapped, IntegerType(dtype.bits))


class Body:
    """Builds into `block`; every method returns the new value."""

    def __init__(self, block: Block, location: LocationAttr) -> None:
        self.block = block
        self.location = location
        self._constants: dict[tuple[Attribute, ...], SSAValue] = {}

    def emit(self, op: Operation) -> Operation:
        op.location = self.location
        self.block.add_op(op)
        return op

    def op(self, cls: type[Operation], *args: Any) -> SSAValue:
        """`cls(*args)` and its first result."""
        return self.emit(cls(*args)).results[0]

    def const(self, value: Number, dtype: DType) -> SSAValue:
        return self._constant(number_attribute(value, dtype))

    def index(self, value: int) -> SSAValue:
        """Constant of index type."""
        return self._constant(IntegerAttr(value, _INDEX))

    def _constant(self, attr: Attribute) -> SSAValue:
        # i1 0 and 1 and -0.0/0.0 compare equal as Python values: key by text, which tells them apart
        key = (attr,) if not isinstance(attr, FloatAttr) else (attr, IntegerAttr(_sign(attr.value.data), i1))
        if key not in self._constants:
            self._constants[key] = self.op(arith.ConstantOp, attr)
        return self._constants[key]

    def loop_index(self, d: int) -> SSAValue:
        """The iteration number of loop `d`."""
        return self.op(linalg.IndexOp, d)

    def extract(self, source: SSAValue, indices: list[SSAValue]) -> SSAValue:
        kind = source.type.element_type  # pyright: ignore[reportAttributeAccessIssue]
        return self.op(tensor.ExtractOp, source, indices, kind)

    def check(self, condition: SSAValue, message: str) -> None:
        """`cf.assert`."""
        self.emit(cf.AssertOp(condition, message))

    # -- conversions ---------------------------------------------------------------------------------------------

    def cast(self, v: SSAValue, old: DType, new: DType) -> SSAValue:
        """What `Tensor.to(new)` does to one element."""
        if old == new:
            return v
        if new.is_bool:
            return self.compare("ne", v, self.const(0, old), old)
        if old.is_float and new.is_float:
            if old.bits == new.bits:  # f16 <-> bf16
                return self.cast(self.cast(v, old, F32), F32, new)
            return self.op(arith.ExtFOp if old.bits < new.bits else arith.TruncFOp, v, new.mlir)
        if old.is_float:
            return self._float_to_int(v, old, new)
        if new.is_float:
            return self.op(arith.SIToFPOp if old.kind == "i" else arith.UIToFPOp, v, new.mlir)
        if old.bits == new.bits:
            return v
        if old.bits > new.bits:
            return self.op(arith.TruncIOp, v, new.mlir)
        return self.op(arith.ExtSIOp if old.kind == "i" else arith.ExtUIOp, v, new.mlir)

    def _float_to_int(self, v: SSAValue, old: DType, new: DType) -> SSAValue:
        """C's cast as x86 does it: truncate to 64 (32) bits, then wrap; out of range gives the smallest integer.

        `arith.fptosi` is undefined out of range, so the value is clamped into range first.
        """
        wide = 64 if new.bits == 64 or new.kind == "u" else 32
        kind = IntegerAttr(0, wide).type
        low, limit = -(2.0 ** (wide - 1)), 2.0 ** (wide - 1)
        if old.bits == 16:
            v, old = self.cast(v, old, F32), F32
        fits = self.op(
            arith.AndIOp,
            self.compare("ge", v, self.const(low, old), old),
            self.compare("lt", v, self.const(limit, old), old),
        )
        inside = self.select(fits, v, self.const(low, old))
        whole = self.op(arith.FPToSIOp, inside, kind)
        return whole if wide == new.bits else self.op(arith.TruncIOp, whole, new.mlir)

    def to_index(self, v: SSAValue) -> SSAValue:
        return self.op(arith.IndexCastOp, v, _INDEX)

    def from_index(self, v: SSAValue, dtype: DType) -> SSAValue:
        """An index as a number of `dtype`."""
        whole = self.op(arith.IndexCastOp, v, IntegerAttr(0, 64).type)
        if dtype.is_float:
            return self.op(arith.SIToFPOp, whole, dtype.mlir)
        return whole if dtype.bits == 64 else self.op(arith.TruncIOp, whole, dtype.mlir)

    # -- arithmetic ----------------------------------------------------------------------------------------------

    def add(self, a: SSAValue, b: SSAValue, t: DType) -> SSAValue:
        if t.is_bool:
            return self.op(arith.OrIOp, a, b)
        return self.op(arith.AddfOp if t.is_float else arith.AddiOp, a, b)

    def sub(self, a: SSAValue, b: SSAValue, t: DType) -> SSAValue:
        return self.op(arith.SubfOp if t.is_float else arith.SubiOp, a, b)

    def mul(self, a: SSAValue, b: SSAValue, t: DType) -> SSAValue:
        if t.is_bool:
            return self.op(arith.AndIOp, a, b)
        return self.op(arith.MulfOp if t.is_float else arith.MuliOp, a, b)

    def divf(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.op(arith.DivfOp, a, b)

    def neg(self, a: SSAValue, t: DType) -> SSAValue:
        return self.op(arith.NegfOp, a) if t.is_float else self.sub(self.const(0, t), a, t)

    def select(self, condition: SSAValue, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.op(arith.SelectOp, condition, a, b)

    def logical_not(self, a: SSAValue) -> SSAValue:
        return self.op(arith.XOrIOp, a, self.const(True, BOOL))

    def logical_and(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.op(arith.AndIOp, a, b)

    def logical_or(self, a: SSAValue, b: SSAValue) -> SSAValue:
        return self.op(arith.OrIOp, a, b)

    def compare(self, kind: str, a: SSAValue, b: SSAValue, t: DType) -> SSAValue:
        """`kind`: eq ne lt le gt ge, false on NaN but for ne; `uno`: either is NaN."""
        if t.is_float:
            name = {"ne": "une", "uno": "uno"}.get(kind, f"o{kind}")
            return self.emit(arith.CmpfOp(a, b, name)).results[0]
        name = kind if kind in ("eq", "ne") else f"{'s' if t.kind == 'i' else 'u'}{kind}"
        return self.emit(arith.CmpiOp(a, b, name)).results[0]

    def index_compare(self, kind: str, a: SSAValue, b: SSAValue) -> SSAValue:
        """Signed comparison of index values."""
        return self.emit(arith.CmpiOp(a, b, kind if kind in ("eq", "ne") else f"s{kind}")).results[0]

    def is_nan(self, a: SSAValue, t: DType) -> SSAValue:
        return self.compare("uno", a, a, t)

    def maximum(self, a: SSAValue, b: SSAValue, t: DType) -> SSAValue:
        """torch.maximum: NaN if either is."""
        if t.is_float:
            return self.op(arith.MaximumfOp, a, b)
        return self.op(arith.MaxSIOp if t.kind == "i" else arith.MaxUIOp, a, b)

    def minimum(self, a: SSAValue, b: SSAValue, t: DType) -> SSAValue:
        """torch.minimum: NaN if either is."""
        if t.is_float:
            return self.op(arith.MinimumfOp, a, b)
        return self.op(arith.MinSIOp if t.kind == "i" else arith.MinUIOp, a, b)

    def abs(self, a: SSAValue, t: DType) -> SSAValue:
        if t.kind in "ub":
            return a
        return self.op(math.AbsFOp if t.is_float else math.AbsIOp, a)

    def sigmoid(self, a: SSAValue, t: DType) -> SSAValue:
        """1 / (1 + exp(-a)): exp may overflow to inf, the quotient is then the right 0; NaN stays."""
        one = self.const(1.0, t)
        return self.divf(one, self.add(one, self.op(math.ExpOp, self.neg(a, t)), t))

    def truncated_div(self, a: SSAValue, b: SSAValue, t: DType) -> SSAValue:
        """Integer quotient toward zero; the divisor must have been checked."""
        return self.op(arith.DivSIOp if t.kind == "i" else arith.DivUIOp, a, b)

    def min_value(self, t: DType) -> SSAValue:
        """Identity of max."""
        return self.const(-pymath.inf if t.is_float else False if t.is_bool else t.limits()[0], t)

    def max_value(self, t: DType) -> SSAValue:
        """Identity of min."""
        return self.const(pymath.inf if t.is_float else True if t.is_bool else t.limits()[1], t)


def _sign(value: float) -> int:
    return int(pymath.copysign(1.0, value) < 0)
