"""Evaluate the body of a structured op on vectors.

    ^bb(%a: f32, %b: f32, %acc: f32):                 %p = vector.fma %va, %vb, %vacc : vector<16xf32>
      %m = arith.mulf %a, %b              -->
      %s = arith.addf %acc, %m
      linalg.yield %s

Values that are the same in all lanes stay scalars until they meet a vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects import arith, vector
from xdsl.dialects import math as math_dialect
from xdsl.dialects.builtin import AnyFloat, FloatAttr, IndexType, IntegerAttr, IntegerType, VectorType
from xdsl.dialects.linalg.ops import IndexOp, YieldOp
from xdsl.ir import Attribute, Operation, SSAValue

from mlc.dialects.arith.shaped_ops import SHAPED
from mlc.lowering.vector.emitter import Emitter
from mlc.lowering.vector.space import Refusal, Stage

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
        return em.add(self.op.create(operands=[a, b], result_types=[a.type], properties=_defaults(self.op)))


def _defaults(op: type[Operation]) -> dict[str, Attribute]:
    if op in (arith.AddiOp, arith.MuliOp):
        return {"overflowFlags": arith.IntegerOverflowAttr("none")}
    if op.name.endswith("f"):
        return {"fastmath": arith.FastMathFlagsAttr("none")}
    return {}


def check_body(stage: Stage) -> None:
    """Refuse bodies that cannot be evaluated lane by lane."""
    for op in stage.block.ops:
        if isinstance(op, YieldOp | IndexOp):
            continue
        dialect, _, _ = op.name.partition(".")
        if dialect not in ("arith", "math") or op.regions:
            raise Refusal(f"{op.name} in the body of {stage.op.name}")
        if any(isinstance(r.type, VectorType) for r in op.results):
            raise Refusal("vectors in the body already")


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
        found.append(Combiner(KINDS[type(op)], type(op)))
    return found


def evaluate(
    em: Emitter, stage: Stage, args: Sequence[SSAValue], lanes: int | None, positions: Positions
) -> list[SSAValue]:
    """What the body yields for `args` (vectors of `lanes`, or scalars that hold for all lanes)."""
    env: dict[SSAValue, SSAValue] = dict(zip(stage.block.args, args, strict=True))
    fused = _fusable(stage) if stage.reduction else {}
    for op in stage.block.ops:
        if isinstance(op, YieldOp):
            return [env.get(v, v) for v in op.operands]
        if op in fused.values():
            continue
        if isinstance(op, IndexOp):
            env[op.result] = _index(em, op, lanes, positions)
        elif isinstance(op, arith.ConstantOp):
            env[op.result] = em.scalar(op.value)
        elif op in fused:
            product = fused[op]
            other = next(v for v in op.operands if v.owner is not product)
            env[op.results[0]] = _multiply_add(em, [env.get(v, v) for v in (*product.operands, other)], lanes)
        else:
            for result, value in zip(op.results, _lanewise(em, op, env, lanes), strict=True):
                env[result] = value
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
    if any(isinstance(v.type, VectorType) for v in operands):
        a, b, c = (em.broadcast(v, lanes) for v in operands)
        return em.add(vector.FMAOp(a, b, c))
    return em.add(math_dialect.FmaOp(operands[0], operands[1], operands[2]))


def _index(em: Emitter, op: IndexOp, lanes: int | None, positions: Positions) -> SSAValue:
    value, step = positions(op.dim.value.data)
    if lanes is None or step == 0:
        return value
    return em.add(arith.AddiOp(em.broadcast(value, lanes), em.iota(lanes, step)))


def _lanewise(em: Emitter, op: Operation, env: dict[SSAValue, SSAValue], lanes: int | None) -> list[SSAValue]:
    operands = [env.get(v, v) for v in op.operands]
    results = [r.type for r in op.results]
    if lanes is not None and any(isinstance(v.type, VectorType) for v in operands):
        operands = [em.broadcast(v, lanes) for v in operands]
        results = [VectorType(t, [lanes]) for t in results]
    kind = SHAPED.get(op.name, type(op))
    new = kind.create(
        operands=operands, result_types=results, properties=dict(op.properties), attributes=dict(op.attributes)
    )
    em.add(new)
    return list(new.results)
