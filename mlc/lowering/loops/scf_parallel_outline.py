"""Move the body of each parallel loop that is worth more than one thread into a function over a range of iterations.

    func.func @k(%x: memref<64x256xf32>) {             func.func private @k.parallel_0(%begin: index, %end: index,
      scf.parallel (%i) = (0) to (64) step (1) {               %x: memref<64x256xf32>) attributes {parallel = 4 : i64,
        … %x[%i, …] …                             -->          parallel.cost = 1500 : i64} {
                                                         scf.for %i = %begin to %end step 1 { … %x[%i, …] … }
      }                                                  return }
    }                                                  func.func @k(%x: memref<64x256xf32>) {
                                                         call @k.parallel_0(0, 64, %x) }

A call of a function marked `parallel = g` may be run as calls of parts of its range, in any order and at once, pieces
of at least `g` iterations; run as it is, it means the same. convert-to-llvm hands such a call to the thread pool, with
the cost of an iteration (`parallel.cost`): the pool wakes nobody for little. `parallel.streams` says that memory takes
longer than arithmetic, so that the order of the pieces matters to the caches. Loops that return something, call or
assert, or are less work than `min_cost` (see `cost.py`; memory counts where it takes longer than arithmetic) stay for
scf-parallel-to-for. A buffer that iterations have privately (`linalg_ext.private`) becomes an argument marked
`mlc.private`: a thread of the pool puts its own in the place of the caller's. Several parallel loops become one range
as far as that gives enough iterations, the others `scf.for` inside, and those before the one that threads are to divide
(`mlc.divided`) outside, whole for each piece: one thread runs them in the order that was written. Short iterations are
not asked for their place one by one: rows of them are, and what the range has of each. Reductions are never split, so
that results do not depend on the number of threads.

Runs after expand-math, before scf-parallel-to-for. Preserves values bit for bit.
Tests: tests/lowering/loops/scf_parallel_outline.mlir, tests/api/test_threads.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from math import prod

from xdsl.dialects import arith, func, memref, scf
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    DictionaryAttr,
    FunctionType,
    IndexType,
    IntegerAttr,
    MemRefType,
    ModuleOp,
    StringAttr,
    UnitAttr,
    i64,
)
from xdsl.ir import Block, Operation, Region, SSAValue

from mlc.dialects.linalg_ext import PrivateOp
from mlc.dialects.linalg_ext.private_op import MOST_BYTES, private_bytes
from mlc.dialects.scf.syntax import DIVIDED
from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.own_memory import MAY_ALIAS, is_own
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.loops.cost import block_cost, constant_of, most_trips, trip_count

PARALLEL, COST, STREAMS, PRIVATE = "parallel", "parallel.cost", "parallel.streams", "mlc.private"
ENOUGH, FEW = 64, 8  # iterations that keep many threads evenly busy, and a few
SMALL = 400  # cycles: below, finding out which iteration it is costs too much
BYTES_PER_CYCLE = 3  # of what a loop reads or writes, at the scale of `cost.py`
NESTED = 8  # a parallel loop inside a loop: cores hand each other what is computed in between, again and again
VIEWS = (
    memref.CastOp,
    memref.CollapseShapeOp,
    memref.ExpandShapeOp,
    memref.ExtractStridedMetaDataOp,
    memref.ReinterpretCastOp,
    memref.SubviewOp,
)


@dataclass(frozen=True)
class ScfParallelOutline(MlcPass):
    """See the module. `min_cost`: of a loop worth a second thread that is awake. `grain_cost`: of a piece of it."""

    name = "scf-parallel-outline"
    contract = Contract(
        level_in="loops",
        level_out="loops",
        preserves=Bitwise(),
        profile="parallel-loops",
        options=({"min_cost": 0, "grain_cost": 0}, {"min_cost": 30, "grain_cost": 10}, {}),
        establishes=("parallel loops worth several threads are calls of functions marked parallel",),
    )

    min_cost: int = option(30_000, Span(0, 1 << 40))
    grain_cost: int = option(6_000, Span(0, 1 << 40))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for function in list(module.ops):
            if isinstance(function, func.FuncOp) and "constant" not in function.attributes:
                self._function(ctx, module, function)

    def _function(self, ctx: MlcContext, module: ModuleOp, function: func.FuncOp) -> None:
        loops = [
            op for op in function.walk() if op.regions and isinstance(op, scf.ParallelOp) and not _inside_parallel(op)
        ]
        taken = {op.sym_name.data for op in module.ops if isinstance(op, func.FuncOp)}
        free = (n for k in count() if (n := f"{function.sym_name.data}.{PARALLEL}_{k}") not in taken)
        for op in loops:
            each = block_cost(op.body.block)
            captured = _captured(op)
            computed, moved = _costs(op, each, captured[0])
            whole = max(computed, moved)
            why_not = _refusal(op) or self._too_little(op, whole)
            if why_not:
                ctx.remarks.missed(self.name, op, "stays on one thread", reason=why_not)
                continue
            body = _Outlined(op, next(free), self.grain_cost, each, whole, captured)
            if moved > computed:
                body.function.attributes[STREAMS] = UnitAttr()
            data = {"function": body.name, "cycles": body.cost, "grain": body.grain}
            ctx.remarks.applied(self.name, op, "runs on several threads", **data)
            module.body.block.insert_op_before(body.function, function)
            op.detach()
            op.erase()

    def _too_little(self, op: scf.ParallelOp, cost: int) -> str:
        trips = _trips(op)
        nested = isinstance(op.parent_op(), scf.ForOp)
        bounds = zip(op.lowerBound, op.upperBound, op.step, strict=True)
        counted = all(k is not None or most_trips(*at) is not None for (k, _), at in zip(trips, bounds, strict=True))
        if counted and cost < self.min_cost * (NESTED if nested else 1):
            return f"about {cost} cycles are not worth waking a thread"
        if all(known == 1 for known, _ in trips):
            return "it is a single iteration"
        return ""


def _inside_parallel(op: Operation) -> bool:
    parent = op.parent_op()
    while parent is not None and not isinstance(parent, func.FuncOp):
        if isinstance(parent, scf.ParallelOp):
            return True
        parent = parent.parent_op()
    return False


def _refusal(op: scf.ParallelOp) -> str:
    if op.res:
        return "it returns a reduction"
    if any(inner.name in ("cf.assert", "func.call") for inner in op.walk()):
        return "an iteration may fail"
    private = _private_ops(op)
    if any(inner.source.uses.get_length() > 1 for inner in private):
        return "the memory behind a private buffer is used besides"
    if sum(private_bytes(inner.result.type) for inner in private) > MOST_BYTES:
        return "its private buffers are larger than what a thread has for them"
    if any((step := constant_of(s)) is None or step < 1 for s in op.step):
        return "a step is not known"
    return ""


def _costs(op: scf.ParallelOp, each: int, captured: list[SSAValue]) -> tuple[int, int]:
    """Cycles of the whole loop: of what it computes (`each` iteration), and of what it reads and writes (of what it has
    `captured`)."""
    computed = each * prod(reckoned for _, reckoned in _trips(op))
    private = {inner.source for inner in _private_ops(op)}
    buffers = [v.type for v in captured if v not in private and isinstance(v.type, MemRefType)]
    moved = sum(private_bytes(t) for t in buffers if DYNAMIC_INDEX not in t.get_shape())
    return computed, moved // BYTES_PER_CYCLE


def _private_ops(op: scf.ParallelOp) -> list[PrivateOp]:
    return [inner for inner in op.body.block.ops if isinstance(inner, PrivateOp)]


def _trips(op: scf.ParallelOp) -> list[tuple[int | None, int]]:
    return [trip_count(*bounds) for bounds in zip(op.lowerBound, op.upperBound, op.step, strict=True)]


Captured = tuple[list[SSAValue], list[Operation]]
"""Values to pass to the body of a loop, and ops to repeat inside."""


class _Writer:
    """Appends ops at one place, all with the location of the loop they come from."""

    def __init__(self, loop: scf.ParallelOp, block: Block) -> None:
        self.source, self.block = loop, block

    def add(self, op: Operation) -> SSAValue:
        """Append `op`; its first result."""
        self.do(op)
        return op.results[0]

    def do(self, op: Operation) -> None:
        op.location = self.source.location
        self.block.add_op(op)

    def constant(self, value: int) -> SSAValue:
        return self.add(arith.ConstantOp.from_int_and_width(value, IndexType()))

    def trips(self, dim: int, mapping: Mapping[SSAValue, SSAValue]) -> SSAValue:
        """Iterations of one loop of the source."""
        bounds = (self.source.lowerBound[dim], self.source.upperBound[dim], self.source.step[dim])
        known, _ = trip_count(*bounds)
        if known is not None:
            return self.constant(known)
        low, high, step = (mapping.get(v, v) for v in bounds)
        trips = self.add(arith.CeilDivSIOp(self.add(arith.SubiOp(high, low)), step))
        return self.add(arith.MaxSIOp(trips, self.constant(0)))

    def loop(self, low: SSAValue, high: SSAValue, step: SSAValue) -> tuple[_Writer, SSAValue]:
        """Append an `scf.for`: a writer for its body, and its induction variable."""
        block = Block(arg_types=[IndexType()])
        self.do(scf.ForOp(low, high, step, [], Region(block)))
        return _Writer(self.source, block), block.args[0]


class _Outlined:
    """The function made of a loop; a call of it is put before the loop."""

    def __init__(
        self, op: scf.ParallelOp, name: str, grain_cost: int, each: int, whole: int, captured: Captured
    ) -> None:
        """`each`, `whole`: cycles of an iteration and of the loop."""
        self.op, self.name = op, name
        trips = [reckoned for _, reckoned in _trips(op)]
        self.first = _divided(op)
        each *= prod(trips[: self.first])
        self.dims = self.first + _range_dims(trips[self.first :], each)
        self.by_rows = self.dims > self.first + 1 and each < SMALL and (_trips(op)[self.dims - 1][0] or 0) > 1
        self.cost = whole // max(1, prod(trips[self.first : self.dims]))
        self.grain = max(1, -(-grain_cost // max(1, self.cost)))
        self.captured, self.repeated = captured
        self.private = {inner.source: inner for inner in _private_ops(op)}
        self._call()
        self.function = self._function()

    def _call(self) -> None:
        at = _Writer(self.op, Block())
        zero = at.constant(0)
        count = at.trips(self.first, {})
        for dim in range(self.first + 1, self.dims):
            count = at.add(arith.MuliOp(count, at.trips(dim, {})))
        at.do(func.CallOp(self.name, [zero, count, *self.captured], []))
        block = self.op.parent_block()
        assert block is not None
        for made in list(at.block.ops):
            made.detach()
            block.insert_op_before(made, self.op)

    def _function(self) -> func.FuncOp:
        block = Block(arg_types=[IndexType(), IndexType(), *(v.type for v in self.captured)])
        for arg, hint in zip(block.args, ("begin", "end", *(v.name_hint for v in self.captured)), strict=True):
            arg.name_hint = hint
        at = _Writer(self.op, block)
        mapping: dict[SSAValue, SSAValue] = dict(zip(self.captured, block.args[2:], strict=True))
        for source in self.repeated:
            block.add_op(source.clone(mapping))
        self._loops(at, mapping)
        at.do(func.ReturnOp())
        made = func.FuncOp(
            self.name,
            FunctionType.from_lists([a.type for a in block.args], []),
            Region(block),
            StringAttr("private"),
            arg_attrs=ArrayAttr([DictionaryAttr({}), DictionaryAttr({}), *map(self._about, self.captured)]),
        )
        made.attributes[PARALLEL] = IntegerAttr(self.grain, i64)
        made.attributes[COST] = IntegerAttr(self.cost, i64)
        made.location = self.op.location
        return made

    def _about(self, value: SSAValue) -> DictionaryAttr:
        return DictionaryAttr({PRIVATE: UnitAttr()}) if value in self.private else _aliasing(value)

    def _loops(self, at: _Writer, mapping: dict[SSAValue, SSAValue]) -> None:
        """The loop over the range, those over the dims that are not in it, and the body."""
        op = self.op
        begin, end = at.block.args[:2]
        lows, highs, steps = ([mapping.get(v, v) for v in vs] for vs in (op.lowerBound, op.upperBound, op.step))
        opened: list[_Writer] = []
        positions: list[SSAValue] = []
        for low, high, step in zip(lows[: self.first], highs[: self.first], steps[: self.first], strict=True):
            at, position = at.loop(low, high, step)
            opened.append(at)
            positions.append(position)
        lows, highs, steps = (vs[self.first :] for vs in (lows, highs, steps))
        dims = self.dims - self.first
        if dims == 1:
            first, last = (at.add(arith.AddiOp(lows[0], at.add(arith.MuliOp(e, steps[0])))) for e in (begin, end))
            at, position = at.loop(first, last, steps[0])
            opened.append(at)
            positions.append(position)
        else:
            extents = [at.trips(dim, mapping) for dim in range(self.first + 1, self.dims)]
            digits: list[SSAValue] = []
            if self.by_rows:
                extent = extents.pop()
                first = at.add(arith.DivUIOp(begin, extent))
                last = at.add(arith.CeilDivUIOp(end, extent))
                at, rest = at.loop(first, last, at.constant(1))
                opened.append(at)
                before = at.add(arith.MuliOp(rest, extent))
                low = at.add(arith.MaxSIOp(at.add(arith.SubiOp(begin, before)), at.constant(0)))
                high = at.add(arith.MinSIOp(at.add(arith.SubiOp(end, before)), extent))
                at, digit = at.loop(low, high, at.constant(1))
                digits.append(digit)
            else:
                at, rest = at.loop(begin, end, at.constant(1))
            opened.append(at)
            for extent in reversed(extents):
                digits.insert(0, at.add(arith.RemUIOp(rest, extent)))
                rest = at.add(arith.DivUIOp(rest, extent))
            positions += [
                at.add(arith.AddiOp(low, at.add(arith.MuliOp(digit, step))))
                for low, step, digit in zip(lows, steps, [rest, *digits], strict=False)
            ]
        lows, highs, steps = (vs[dims:] for vs in (lows, highs, steps))
        for low, high, step in zip(lows, highs, steps, strict=True):
            at, position = at.loop(low, high, step)
            opened.append(at)
            positions.append(position)
        for position, arg in zip(positions, op.body.block.args, strict=True):
            mapping[arg] = position
            position.name_hint = arg.name_hint
        for source, private in self.private.items():
            mapping[private.result] = mapping[source]
        for inner in list(op.body.block.ops):
            if not isinstance(inner, scf.ReduceOp | PrivateOp):
                inner.detach()
                at.block.add_op(inner)
        for inner in at.block.walk():
            for i, operand in enumerate(inner.operands):
                if operand in mapping:
                    inner.operands[i] = mapping[operand]
        for each in opened:
            each.do(scf.YieldOp())


def _divided(op: scf.ParallelOp) -> int:
    """The number of the loop that threads divide; those before it run whole, outside, for each piece of it."""
    number = op.attributes.get(DIVIDED)
    if not isinstance(number, IntegerAttr) or not 0 <= number.value.data < len(op.lowerBound):
        return 0
    return number.value.data


def _range_dims(trips: list[int], each: int) -> int:
    """How many of the outermost loops make the range, of iterations that take `each` cycles."""
    points, rest = 1, each * prod(trips)
    for dims, n in enumerate(trips):
        rest //= max(1, n)
        if points >= ENOUGH or (points >= FEW and rest < SMALL):
            return dims
        points *= n
    return len(trips)


def _aliasing(value: SSAValue) -> DictionaryAttr:
    """`mlc.may_alias` unless the memory of `value` is known to be its own: an argument of a kernel, or a new buffer."""
    own = not isinstance(value.type, MemRefType) or is_own(value)
    return DictionaryAttr({} if own else {MAY_ALIAS: UnitAttr()})


def _captured(op: scf.ParallelOp) -> Captured:
    """What the body needs from outside: values to pass, and ops to repeat inside (constants, views, index sums).

    Views are repeated so that what is passed are whole buffers: two views of one buffer would no longer be known to be
    the same memory.
    """
    private = {inner.source for inner in _private_ops(op)}
    inside: set[SSAValue] = set()
    used: dict[SSAValue, None] = {}
    for inner in op.walk():
        for value in inner.operands:  # what is made inside was met before
            if value not in inside:
                used[value] = None
        inside.update(inner.results)
        for region in inner.regions:
            for block in region.blocks:
                inside.update(block.args)
    passed: dict[SSAValue, None] = {}
    repeated: dict[Operation, None] = {}

    def visit(value: SSAValue) -> None:
        owner = value.owner
        if not isinstance(owner, Operation) or not _repeatable(owner):
            passed[value] = None
        elif owner not in repeated:
            for operand in owner.operands:
                visit(operand)
            repeated[owner] = None

    for value in used:
        if value in private:
            passed[value] = None
        else:
            visit(value)
    return list(passed), list(repeated)


def _repeatable(op: Operation) -> bool:
    """Cheap, and without a look at memory."""
    return isinstance(op, (*VIEWS, memref.DimOp, arith.ConstantOp)) or (
        op.name.startswith("arith.") and bool(op.results) and isinstance(op.results[0].type, IndexType)
    )
