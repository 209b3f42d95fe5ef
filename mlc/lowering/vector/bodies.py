"""Evaluate the body of a structured op on vectors.

    ^bb(%a: f32, %b: f32, %acc: f32):                 %p = vector.fma %va, %vb, %vacc : vector<16xf32>
      %m = arith.mulf %a, %b              -->
      %s = arith.addf %acc, %m
      linalg.yield %s

Values that are the same in all lanes stay scalars until they meet a vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from xdsl.dialects import arith, cf, memref, vector
from xdsl.dialects import math as math_dialect
from xdsl.dialects.builtin import AnyFloat, FloatAttr, IndexType, IntegerAttr, IntegerType, MemRefType, VectorType
from xdsl.dialects.linalg.ops import IndexOp, YieldOp
from xdsl.ir import Attribute, Operation, SSAValue

from mlc.dialects.arith.shaped_ops import SHAPED
from mlc.lowering.vector.dot_products import dot
from mlc.lowering.vector.emitter import INDEX, Emitter, vector_of
from mlc.lowering.vector.sizes import ZERO
from mlc.lowering.vector.space import Access, Refusal, Stage

# combining op -> kind of vector.reduction
KINDS: dict[type[Operation], str] = {
    arith.AddfOp: "add",
    arith.MulfOp: "mul",
    arith.MaximumfOp: "maximumf",
    arith.MinimumfOp: "minimumf",
    arith.MaxnumfOp: "maxnumf",
    arith.MinnumfOp: "minnumf",
    arith.AddiOp: "add",
    arith.MuliOp: "mul",
    arith.MaxSIOp: "maxsi",
    arith.MinSIOp: "minsi",
    arith.MaxUIOp: "maxui",
    arith.MinUIOp: "minui",
    arith.AndIOp: "and",
    arith.OrIOp: "or",
    arith.XOrIOp: "xor",
}

Positions = Callable[[int], tuple[SSAValue, int]]  # loop -> its value in lane 0, step from lane to lane


@dataclass(frozen=True)
class Combiner:
    """How a reduction combines: `acc = op(acc, term)`."""

    kind: str
    op: type[Operation]
    flags: Attribute | None = None  # fast-math flags, for floats

    def neutral(self, kind: Attribute) -> Attribute:
        """The constant that changes nothing."""
        if isinstance(kind, AnyFloat):
            value = {"add": 0.0, "mul": 1.0, "maximumf": -math.inf, "maxnumf": -math.inf}.get(self.kind, math.inf)
            return FloatAttr(value, kind)
        if not isinstance(kind, IntegerType | IndexType):
            raise Refusal(f"a reduction of {kind}")
        bits = kind.width.data if isinstance(kind, IntegerType) else 64
        if bits == 1:
            low, high = -1, 0
        else:
            low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        value = {"mul": 1, "maxsi": low, "minsi": high, "minui": -1, "and": -1}.get(self.kind, 0)
        return IntegerAttr(value, kind)

    def idempotent(self) -> bool:
        return self.kind not in ("add", "mul", "xor")

    def apply(self, em: Emitter, a: SSAValue, b: SSAValue) -> SSAValue:
        properties = _defaults(self.op) if self.flags is None else {"fastmath": self.flags}
        return em.add(self.op.create(operands=[a, b], result_types=[a.type], properties=properties))


def _defaults(op: type[Operation]) -> dict[str, Attribute]:
    if op in (arith.AddiOp, arith.MuliOp):
        return {"overflowFlags": arith.IntegerOverflowAttr("none")}
    if op.name.endswith("f"):
        return {"fastmath": arith.FastMathFlagsAttr("none")}
    return {}


def check_body(stage: Stage) -> None:
    """Refuse bodies that cannot be evaluated lane by lane."""
    for op in stage.block.ops:
        if isinstance(op, YieldOp | IndexOp | memref.LoadOp | cf.AssertOp):
            continue
        dialect, _, _ = op.name.partition(".")
        if dialect not in ("arith", "math") or op.regions:
            raise Refusal(f"{op.name} in the body of {stage.op.name}")
        if any(isinstance(r.type, VectorType) for r in op.results):
            raise Refusal("vectors in the body already")


def scattered_tables(stage: Stage, dim: int) -> int:
    """Loads in the body that would have to go lane by lane if lanes ran along `dim`."""
    varying: set[SSAValue] = set()
    ramps: set[SSAValue] = set()
    for i, operand in enumerate((*stage.ins, *stage.outs)):
        if isinstance(operand, Access) and operand.coeff(dim) != ZERO:
            varying.add(stage.block.args[i])
    count = 0
    for op in stage.block.ops:
        if isinstance(op, IndexOp):
            step = stage.indices[op.dim.value.data].get(dim, 0)
            if step:
                (ramps if step == 1 else varying).add(op.result)
        elif isinstance(op, memref.LoadOp):
            *leading, last = op.indices or [None]
            if last in varying or any(v in varying or v in ramps for v in leading):
                count += 1
                varying.add(op.res)
            elif last in ramps:
                varying.add(op.res)
        elif any(v in varying or v in ramps for v in op.operands):
            varying.update(op.results)
    return count


def combiners(stage: Stage) -> list[Combiner] | None:
    """The combiner of each output of a reduction, or None where one is not of that form."""
    terminator = stage.block.last_op
    assert isinstance(terminator, YieldOp)
    found: list[Combiner] = []
    for i, value in enumerate(terminator.operands):
        acc = stage.block.args[len(stage.ins) + i]
        op = value.owner
        if (
            not isinstance(op, Operation)
            or type(op) not in KINDS
            or sum(1 for _ in acc.uses) != 1
            or sum(operand is acc for operand in op.operands) != 1
            or sum(1 for _ in value.uses) != 1
        ):
            return None
        found.append(Combiner(KINDS[type(op)], type(op), op.properties.get("fastmath")))
    return found


def evaluate(
    em: Emitter, stage: Stage, args: Sequence[SSAValue], lanes: int | None, positions: Positions
) -> list[SSAValue]:
    """What the body yields for `args` (vectors of `lanes`, or scalars that hold for all lanes)."""
    return in_step([_steps(em, stage, args, lanes, positions)])[0]


def evaluate_in_step(
    em: Emitter, stage: Stage, points: Sequence[tuple[Sequence[SSAValue], int | None, Positions]]
) -> list[list[SSAValue]]:
    """`evaluate` for several points at once, each op for all of them before the next op: the processor finds the
    independent chains side by side instead of a whole body apart."""
    return in_step([_steps(em, stage, *point) for point in points])


def in_step(evaluations: Sequence[Generator[None, None, list[SSAValue]]]) -> list[list[SSAValue]]:
    """Advance all evaluations op by op; what they return."""
    results: dict[int, list[SSAValue]] = {}
    while len(results) < len(evaluations):
        for i, evaluation in enumerate(evaluations):
            if i not in results:
                try:
                    next(evaluation)
                except StopIteration as done:
                    results[i] = done.value
    return [results[i] for i in range(len(evaluations))]


def _steps(
    em: Emitter, stage: Stage, args: Sequence[SSAValue], lanes: int | None, positions: Positions
) -> Generator[None, None, list[SSAValue]]:
    """Evaluates one op at a time."""
    if stage.dot is not None:
        assert lanes is not None
        return [dot(em, stage, args, lanes)]
    env = _Values(em, dict(zip(stage.block.args, args, strict=True)), lanes)
    fused = _fusable(stage) if stage.reduction else {}
    for op in stage.block.ops:
        if isinstance(op, YieldOp):
            return [env[v] for v in op.operands]
        if op in fused.values():
            continue
        if isinstance(op, IndexOp):
            env.ramps[op.result] = positions(op.dim.value.data)
        elif isinstance(op, memref.LoadOp):
            env[op.res] = _table(em, op, env, lanes)
        elif isinstance(op, cf.AssertOp):
            _assert(em, op, env[op.arg])
        elif isinstance(op, arith.ConstantOp):
            env[op.result] = em.scalar(op.value)
        elif isinstance(op, math_dialect.FmaOp):
            env[op.result] = _multiply_add(em, [env[v] for v in op.operands], lanes)
        elif op in fused:
            product = fused[op]
            other = next(v for v in op.operands if v.owner is not product)
            env[op.results[0]] = _multiply_add(em, [env[v] for v in (*product.operands, other)], lanes)
        else:
            for result, value in zip(op.results, _lanewise(em, op, env, lanes), strict=True):
                env[result] = value
        yield
    raise AssertionError("a body ends in linalg.yield")


def _fusable(stage: Stage) -> dict[Operation, Operation]:
    """Float additions of a product that nothing else uses, to that product."""
    found: dict[Operation, Operation] = {}
    for op in stage.block.ops:
        if isinstance(op, arith.AddfOp):
            for operand in op.operands:
                product = operand.owner
                if (
                    isinstance(product, arith.MulfOp)
                    and product.parent is stage.block
                    and sum(1 for _ in operand.uses) == 1
                ):
                    found[op] = product
                    break
    return found


def _multiply_add(em: Emitter, operands: list[SSAValue], lanes: int | None) -> SSAValue:
    """a * b + c: fused where the target does that in hardware, otherwise in two steps (a fused one would be a call)."""
    if not em.fma:
        if any(isinstance(v.type, VectorType) for v in operands):
            operands = [em.broadcast(v, lanes) for v in operands]
        product = em.add(arith.MulfOp(operands[0], operands[1]))
        return em.add(arith.AddfOp(operands[2], product))
    if any(isinstance(v.type, VectorType) for v in operands):
        a, b, c = (em.broadcast(v, lanes) for v in operands)
        return em.add(vector.FMAOp.create(operands=[a, b, c], result_types=[c.type]))
    return em.add(math_dialect.FmaOp(operands[0], operands[1], operands[2]))


class _Values:
    """What the body's values are here. Indices that step from lane to lane become vectors when one is asked for."""

    def __init__(self, em: Emitter, known: dict[SSAValue, SSAValue], lanes: int | None) -> None:
        self.em, self.known, self.lanes = em, known, lanes
        self.ramps: dict[SSAValue, tuple[SSAValue, int]] = {}

    def __setitem__(self, value: SSAValue, here: SSAValue) -> None:
        self.known[value] = here

    def __getitem__(self, value: SSAValue) -> SSAValue:
        if value in self.ramps and value not in self.known:
            first, step = self.ramps[value]
            ramp = self.lanes is not None and step != 0
            self.known[value] = self._ramp(first, step) if ramp else first
        return self.known.get(value, value)

    def _ramp(self, first: SSAValue, step: int) -> SSAValue:
        assert self.lanes is not None
        return self.em.add(arith.AddiOp(self.em.broadcast(first, self.lanes), self.em.iota(self.lanes, step)))


def _table(em: Emitter, op: memref.LoadOp, env: _Values, lanes: int | None) -> SSAValue:
    """A load at computed positions: one scalar for all lanes, a row's neighbouring elements, or lane by lane."""
    kind = op.res.type
    *leading, last = op.indices or [None]
    uniform = [env[v] for v in leading if v is not None]
    if last is None or lanes is None:
        return em.add(memref.LoadOp.get(op.memref, [env[v] for v in op.indices]))
    if not any(isinstance(v.type, VectorType) for v in uniform):
        first, step = env.ramps.get(last, (last, 0))
        assert isinstance(op.memref.type, MemRefType)
        strides = op.memref.type.get_strides()
        if last in env.ramps and step == 1 and strides is not None and strides[-1] == 1:
            return em.add(vector.LoadOp(op.memref, [*uniform, first], vector_of(kind, lanes)))
        if not isinstance(env[last].type, VectorType):
            return em.add(memref.LoadOp.get(op.memref, [*uniform, env[last]]))
    result: SSAValue | None = None
    for lane in range(lanes):
        at = [env[v] for v in op.indices]
        at = [em.add(vector.ExtractOp(v, [lane], INDEX)) if isinstance(v.type, VectorType) else v for v in at]
        element = em.add(memref.LoadOp.get(op.memref, at))
        result = em.broadcast(element, lanes) if result is None else em.add(vector.InsertOp(element, result, [lane]))
    assert result is not None
    return result


def _assert(em: Emitter, op: cf.AssertOp, condition: SSAValue) -> None:
    """Fails when any lane fails."""
    if isinstance(condition.type, VectorType):
        condition = em.reduce("and", condition)
    em.do(cf.AssertOp(condition, op.msg))


def _lanewise(em: Emitter, op: Operation, env: _Values, lanes: int | None) -> list[SSAValue]:
    operands = [env[v] for v in op.operands]
    results = [r.type for r in op.results]
    if lanes is not None and any(isinstance(v.type, VectorType) for v in operands):
        operands = [em.broadcast(v, lanes) for v in operands]
        results = [vector_of(t, lanes) for t in results]
    kind = SHAPED.get(op.name, type(op))
    new = kind.create(
        operands=operands, result_types=results, properties=dict(op.properties), attributes=dict(op.attributes)
    )
    em.add(new)
    return list(new.results)
