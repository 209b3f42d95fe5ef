"""How much work a piece of a loop nest is, roughly: cycles of one core, a vector op being one.

Index arithmetic and constants count nothing, a load or store two (what is not in the nearest cache takes longer),
divisions and square roots eight, functions of `math` that are still there forty. Good to a factor of two or three,
which is what the question "is it worth a second thread?" needs.
"""

from __future__ import annotations

from math import prod

from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import IndexType, IntegerAttr
from xdsl.ir import Block, Operation, SSAValue

from mlc.ir.size_bounds import size_bound

DYNAMIC_TRIP = 64  # assumed extent of a loop whose bounds are not known
SLOW = {"arith.divf": 8, "arith.remf": 40, "arith.divsi": 8, "arith.divui": 8, "math.sqrt": 8, "math.rsqrt": 8}
TILES = {"amx.tile_zero": 1, "amx.tile_load": 8, "amx.tile_store": 16, "amx.tile_mulf": 16, "amx.tile_muli": 16}
MEMORY = ("memref.load", "memref.store", "vector.load", "vector.store", "vector.maskedload", "vector.maskedstore")
FREE = ("arith.constant", "scf.yield", "scf.reduce", "scf.condition", "memref.alloca", "arith.index_cast")


def block_cost(block: Block) -> int:
    """Cycles of one run of `block`."""
    return sum(op_cost(op) for op in block.ops)


def op_cost(op: Operation) -> int:
    """Cycles of one run of `op` with all that is inside."""
    if op.regions:
        return _nest_cost(op)
    if op.name in FREE or (op.results and type(op.results[0].type) is IndexType):
        return 0
    if op.name in MEMORY:
        return 2
    if op.name.startswith("memref."):
        return 0
    if op.name in TILES:
        return TILES[op.name]
    return SLOW.get(op.name, 40 if op.name.startswith("math.") else 1)


def _nest_cost(op: Operation) -> int:
    match op:
        case scf.ForOp():
            return trip_count(op.lb, op.ub, op.step)[1] * (1 + block_cost(op.body.block))
        case scf.ParallelOp():
            cost = 1 + block_cost(op.body.block)
            for low, high, step in zip(op.lowerBound, op.upperBound, op.step, strict=True):
                cost *= trip_count(low, high, step)[1]
            return cost
        case scf.IfOp() | scf.IndexSwitchOp():
            return max(sum(block_cost(b) for b in region.blocks) for region in op.regions)
        case _:
            return DYNAMIC_TRIP * sum(block_cost(b) for region in op.regions for b in region.blocks)


def trip_count(low: SSAValue, high: SSAValue, step: SSAValue) -> tuple[int | None, int]:
    """Iterations of a counted loop when they are known, and a figure to reckon with in any case."""
    known = [constant_of(v) for v in (low, high, step)]
    if None in known or known[2] == 0:
        most = most_trips(low, high, step)
        return None, DYNAMIC_TRIP if most is None else most
    a, b, s = (k or 0 for k in known)
    trips = max(0, -(-(b - a) // s))
    return trips, trips


def most_trips(low: SSAValue, high: SSAValue, step: SSAValue) -> int | None:
    """Iterations of a counted loop at most, where something says so: constants, or what is promised of sizes."""
    each = constant_of(step)
    if not each:
        return None
    most = _most_beyond(low, high)
    if most is None and (rounded := _rounded_down(low)) is not None and _rounded_down(high, rounded[0]) is not None:
        most = rounded[1] - 1
    elif most is None and (least := constant_of(low)) is not None and (end := _most(high)) is not None:
        most = end - least
    return None if most is None else max(0, -(-most // each))


def _most(value: SSAValue) -> int | None:
    """The most that an index can be that is made of sizes and numbers that are not negative."""
    if (known := constant_of(value)) is not None:
        return known if known >= 0 else None
    match value.owner:
        case memref.DimOp():
            dim = constant_of(value.owner.index)
            return None if dim is None else size_bound(value.owner.source, dim)
        case arith.MuliOp():
            sides = _most(value.owner.lhs), _most(value.owner.rhs)
            return None if None in sides else prod(s for s in sides if s is not None)
        case arith.SubiOp() if (rounded := _rounded_down(value)) is not None:
            return _most(rounded[0])
        case _:
            return None


def _rounded_down(value: SSAValue, whole: SSAValue | None = None) -> tuple[SSAValue, int] | None:
    """What `value` is less a remainder of a division by a constant, and that constant; `whole` itself is that, too."""
    if value is whole:
        return value, 1
    op = value.owner
    if not isinstance(op, arith.SubiOp) or not isinstance(op.rhs.owner, arith.RemUIOp):
        return None
    by = constant_of(op.rhs.owner.rhs)
    return None if by is None or whole not in (None, op.lhs) else (op.lhs, by)


def _most_beyond(low: SSAValue, high: SSAValue) -> int | None:
    """How far `high` is beyond `low` at most, where it is `low` and a constant, or one of two."""
    if not isinstance(high.owner, arith.AddiOp) or low not in high.owner.operands:
        return None
    a, b = high.owner.operands
    step = b if a is low else a
    chosen = [step.owner.lhs, step.owner.rhs] if isinstance(step.owner, arith.SelectOp) else [step]
    constants = [constant_of(v) for v in chosen]
    return None if None in constants else max(k for k in constants if k is not None)


def constant_of(value: SSAValue) -> int | None:
    """The integer a value is known to be."""
    owner = value.owner
    if isinstance(owner, Operation) and owner.name == "arith.constant":
        attribute = owner.properties.get("value")
        if isinstance(attribute, IntegerAttr):
            return attribute.value.data
    return None
