"""Extents written out with a flag that says whether one of them is beyond what is addressed.

    n * m * 4        -->   %nm = arith.muli %n, %m; %size = arith.muli %nm, %c4
                           %over = %n > LARGEST / max(%m, 1) or %nm > LARGEST / 4

A product that wrapped would ask for too little memory. Operands are looked at before they are multiplied, so the flag
is right whatever the product wrapped to. Runs in `plan-memory`, for `@arena_size` alone.
Tests: tests/lowering/buffers/test_plan_memory.py
"""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType
from xdsl.ir import Operation, SSAValue

from mlc.lowering.buffers.extents import Extent, Materializer, Scalar

LARGEST = 1 << 61
"""Of any number on the way: a sum of two is no larger than 63 bits hold."""


class CheckedMaterializer(Materializer):
    """`checked(extent)` is the extent, or -1 where it or what it is made of passed `LARGEST`."""

    def __init__(self, insert: Callable[[Operation], None], dim: Callable[[SSAValue, int], SSAValue]) -> None:
        super().__init__(insert, dim)
        self._over: SSAValue | None = None

    def checked(self, extent: Extent) -> SSAValue:
        """The extent, -1 where it is too large."""
        value = self(extent)
        if self._over is None:
            return value
        return self._emit(arith.SelectOp(self._over, self(-1), value))

    def _make(self, extent: int | tuple[str | Scalar | Extent, ...]) -> SSAValue:
        value = super()._make(extent)
        match extent:
            case ("arith.muli", a, int(factor)) | ("arith.muli", int(factor), a):
                if factor > 1:
                    self._above(self(a), self(LARGEST // factor))  # pyright: ignore[reportArgumentType]
            case ("arith.muli", a, b):
                factor = self._emit(arith.MaxSIOp(self(b), self(1)))  # pyright: ignore[reportArgumentType]
                most = self._emit(arith.DivSIOp(self(LARGEST), factor, IndexType()))
                self._above(self(a), most)  # pyright: ignore[reportArgumentType]
            case ("arith.addi", _, _):
                self._above(value, self(LARGEST))
            case _:
                pass
        return value

    def _above(self, value: SSAValue, most: SSAValue) -> None:
        over = self._emit(arith.CmpiOp(value, most, "sgt"))
        self._over = over if self._over is None else self._emit(arith.OrIOp(self._over, over))

    def _emit(self, op: Operation) -> SSAValue:
        self._insert(op)
        return op.results[0]
