"""How often loops run, and how many elements of memory they touch at least, one load or store at a time.

    scf.for %i = 0 to 64 { scf.for %j = 0 to %n { memref.load %a[%i, %j] } }       %a : memref<64x4096xf32>
      -->  all of %a: nothing says how far %j goes
    scf.for %j = %from to %to { %r = memref.load %rows[%j]; scf.for %k = 0 to 8 { memref.load %table[%r, %k] } }
      -->  8 elements for each of %rows: what is looked up counts, not the table

Bounds that only the data decides (a loop that runs where it must) are taken for the larger one.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import IntegerAttr
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import BlockArgument, Operation, SSAValue

Shape = Callable[[SSAValue], tuple[int, ...]]
"""Sizes of a memref."""
Points = Callable[[LinalgStructuredOperation], int]
"""How many points a structured op has."""

_FOLDED = {
    arith.AddiOp: int.__add__,
    arith.SubiOp: int.__sub__,
    arith.MuliOp: int.__mul__,
    arith.MaxSIOp: max,
    arith.MinSIOp: min,
}


def trips(op: Operation) -> int:
    """How often the loops around `op` run it, as far as their bounds are known."""
    return prod(n for loop in _loops(op) if (n := _count(loop)) is not None)


def nest_around(op: Operation) -> LinalgStructuredOperation | None:
    """The structured op that holds `op`."""
    parent = op.parent_op()
    while parent is not None and not isinstance(parent, LinalgStructuredOperation):
        parent = parent.parent_op()
    return parent


def touched(op: memref.LoadOp | memref.StoreOp, shape: Shape, points: Points) -> int:
    """Elements of its memory that `op` touches."""
    sizes = shape(op.memref)
    if all(_count(loop) is not None for loop in _loops(op)):
        nest = nest_around(op)
        return min(prod(sizes), trips(op) * (1 if nest is None else points(nest)))
    return _places(op, shape, frozenset((op,)))


def _places(op: memref.LoadOp | memref.StoreOp, shape: Shape, seen: frozenset[Operation]) -> int:
    return prod(_values(i, n, shape, seen) for i, n in zip(op.indices, shape(op.memref), strict=True))


def _values(index: SSAValue, size: int, shape: Shape, seen: frozenset[Operation]) -> int:
    """How many values an index has, of `size` at most: the product over what it is computed from."""
    values, todo, found = 1, [index], {index}
    while todo and values < size:
        value = todo.pop()
        owner = value.owner
        if isinstance(owner, memref.LoadOp) and owner not in seen:
            values *= _places(owner, shape, seen | {owner})
        elif isinstance(owner, Operation) and owner.name.startswith("arith."):
            todo += [v for v in owner.operands if v not in found]
            found.update(owner.operands)
        else:
            loop = owner.parent_op() if isinstance(value, BlockArgument) and value.index == 0 else None
            known = _count(loop) if isinstance(loop, scf.ForOp) else None
            values *= size if known is None else known
    return min(values, size)


def _loops(op: Operation) -> list[scf.ForOp | scf.WhileOp]:
    found: list[scf.ForOp | scf.WhileOp] = []
    parent = op.parent_op()
    while parent is not None:
        if isinstance(parent, scf.ForOp | scf.WhileOp):
            found.append(parent)
        parent = parent.parent_op()
    return found


def _count(loop: scf.ForOp | scf.WhileOp) -> int | None:
    if isinstance(loop, scf.WhileOp):
        return None
    low, high, step = (_constant(v) for v in (loop.lb, loop.ub, loop.step))
    return max(0, -(-(high - low) // step)) if low is not None and high is not None and step else None


def _constant(value: SSAValue) -> int | None:
    owner = value.owner
    if isinstance(owner, arith.ConstantOp):
        return owner.value.value.data if isinstance(owner.value, IntegerAttr) else None
    if isinstance(owner, arith.SelectOp):  # which one, only the data says
        either = [_constant(v) for v in (owner.lhs, owner.rhs)]
        return max(n for n in either if n is not None) if None not in either else None
    fold = _FOLDED.get(type(owner))
    if fold is not None and isinstance(owner, Operation):
        left, right = (_constant(v) for v in owner.operands)
        return fold(left, right) if left is not None and right is not None else None
    return None
