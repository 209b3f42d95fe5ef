"""Loop nests of `scf.for`, built inwards, and the index arithmetic inside them.

nest = Nest(anchor)                          %c0, %c1, %n (once per function where possible)
i = nest.loop(n)                             scf.for %i = %c0 to %n step %c1 {
nest.emit(memref.LoadOp.get(x, [i]))           %v = memref.load %x[%i]
                                             }
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, MemRefType
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.ir.affine import (
    AffineBinaryOpExpr,
    AffineBinaryOpKind,
    AffineConstantExpr,
    AffineDimExpr,
    AffineExpr,
)


class Nest:
    """Emits ops before `anchor`, or at the end of the innermost open loop. All ops get the location of `anchor`."""

    def __init__(self, anchor: Operation) -> None:
        self.anchor = anchor
        self._open: list[tuple[scf.ForOp, Block]] = []
        self._constants: dict[int, SSAValue] = {}

    def insert(self, op: Operation) -> None:
        """Put `op` at the current place."""
        op.location = self.anchor.location
        if self._open:
            self._open[-1][1].add_op(op)
        else:
            self._before(op)

    def _before(self, op: Operation) -> None:
        op.location = self.anchor.location
        place = self._open[0][0] if self._open else self.anchor
        block = place.parent_block()
        assert block is not None
        block.insert_op_before(op, place)

    def emit(self, op: Operation) -> SSAValue:
        """`insert`, returning the first result."""
        self.insert(op)
        return op.results[0]

    def constant(self, value: int) -> SSAValue:
        """An index constant outside the nest."""
        if value not in self._constants:
            op = arith.ConstantOp.from_int_and_width(value, IndexType())
            self._before(op)
            self._constants[value] = op.result
        return self._constants[value]

    def size(self, buffer: SSAValue, dim: int) -> SSAValue:
        """A dimension of a memref, outside the nest."""
        assert isinstance(buffer.type, MemRefType)
        static = buffer.type.get_shape()[dim]
        if static != DYNAMIC_INDEX:
            return self.constant(static)
        op = memref.DimOp(buffer, self.constant(dim))
        self._before(op)
        return op.result

    def loop(self, bound: SSAValue, carried: Sequence[SSAValue] = ()) -> tuple[SSAValue, list[SSAValue]]:
        """Open a loop from 0 to `bound`; its induction variable and what it carries."""
        types: list[Attribute] = [IndexType(), *(c.type for c in carried)]
        block = Block(arg_types=types)
        op = scf.ForOp(self.constant(0), bound, self.constant(1), carried, Region(block))
        self.insert(op)
        self._open.append((op, block))
        return block.args[0], list(block.args[1:])

    def close(self, values: Sequence[SSAValue] = ()) -> list[SSAValue]:
        """Close the innermost loop, yielding `values`; its results."""
        self.insert(scf.YieldOp(*values))
        op, _ = self._open.pop()
        return list(op.res)

    def index(self, expr: AffineExpr, ivs: Sequence[SSAValue]) -> SSAValue:
        """The value of an affine expression of the loops."""
        match expr:
            case AffineDimExpr():
                return ivs[expr.position]
            case AffineConstantExpr():
                return self.constant(expr.value)
            case AffineBinaryOpExpr():
                return self._binary(expr, ivs)
            case _:
                raise AssertionError(f"indexing map with a symbol: {expr}")

    def _binary(self, expr: AffineBinaryOpExpr, ivs: Sequence[SSAValue]) -> SSAValue:
        a, b = self.index(expr.lhs, ivs), self.index(expr.rhs, ivs)
        match expr.kind:
            case AffineBinaryOpKind.Add:
                return self.emit(arith.AddiOp(a, b))
            case AffineBinaryOpKind.Mul:
                return self.emit(arith.MuliOp(a, b))
            case AffineBinaryOpKind.FloorDiv:
                return self.emit(arith.FloorDivSIOp(a, b))
            case AffineBinaryOpKind.CeilDiv:
                return self.emit(arith.CeilDivSIOp(a, b))
            case AffineBinaryOpKind.Mod:  # never negative in affine maps, unlike remsi
                quotient = self.emit(arith.FloorDivSIOp(a, b))
                return self.emit(arith.SubiOp(a, self.emit(arith.MuliOp(quotient, b))))
