"""Recognise sums of products of neighbouring narrow elements for which the target has an instruction.

    linalg.generic (m, n1, n0, k1, k0) ins(%x : memref<64x392x2xbf16>, %w : memref<32x392x16x2xbf16>)
      extf, extf, mulf, addf                                              outs(%out : memref<64x32x16xf32>)
      -->
    a stage over (m, n1, n0, k1) whose accesses %x and %w stand for pairs, and whose body is one x86vector.avx512.dot

The loop k0 disappears: a lane takes a whole group of elements. From there on the stage is scheduled like any sum of
products, %w being contiguous along n0 in groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xdsl.dialects import arith
from xdsl.dialects.builtin import BFloat16Type, Float32Type
from xdsl.dialects.linalg.ops import YieldOp
from xdsl.ir import Block, SSAValue

from mlc.dialects.x86vector.ops import DotBF16Op
from mlc.lowering.vector.emitter import Emitter
from mlc.lowering.vector.sizes import ONE, ZERO, Size
from mlc.lowering.vector.space import Access, Space, Stage
from mlc.lowering.vector.target import Target

PAIR = 2


def take_dot(stage: Stage, space: Space, target: Target) -> None:
    """Make `stage` one of dot products where it has their form and the target the instruction."""
    if not target.dot_bf16 or not _is_bf16_body(stage.block) or len(stage.ins) != 2:
        return
    left, right = stage.ins
    (out,) = stage.outs
    if not isinstance(left, Access) or not isinstance(right, Access):
        return
    for k in stage.reduction:
        if space.static(k) != PAIR or left.coeff(k) != ONE or right.coeff(k) != ONE:
            continue
        for vector, scalar in ((right, left), (left, right)):
            for n in stage.parallel:
                lanes = space.static(n)
                if lanes is None or lanes % target.lanes(32) or vector.coeff(n) != Size(PAIR):
                    continue
                if scalar.coeff(n) == ZERO and out.coeff(n) == ONE:
                    stage.reduction.remove(k)
                    stage.ins = [_grouped(left, k), _grouped(right, k)]
                    stage.dot = 1 if vector is right else 0
                    return


def _grouped(access: Access, k: int) -> Access:
    return replace(access, coeffs=tuple((d, c) for d, c in access.coeffs if d != k), group=PAIR)


def _is_bf16_body(block: Block) -> bool:
    """acc + f32(a) * f32(b) of bf16, and nothing else."""
    ops = list(block.ops)
    if [type(op) for op in ops] != [arith.ExtFOp, arith.ExtFOp, arith.MulfOp, arith.AddfOp, YieldOp]:
        return False
    a, b, acc = block.args
    if not isinstance(acc.type, Float32Type) or not all(isinstance(v.type, BFloat16Type) for v in (a, b)):
        return False
    first, second, product, total, _ = ops
    return (
        {first.operands[0], second.operands[0]} == {a, b}
        and set(product.operands) == {first.results[0], second.results[0]}
        and set(total.operands) == {product.results[0], acc}
        and ops[-1].operands[0] is total.results[0]
    )


def dot(em: Emitter, stage: Stage, args: Sequence[SSAValue], lanes: int) -> SSAValue:
    """The accumulators `args[2]` and, lane by lane, the dot product of a group of each factor."""
    assert stage.dot is not None
    acc = em.broadcast(args[2], lanes)
    repeated = em.repeat(args[1 - stage.dot], lanes)
    return em.add(DotBF16Op.create(operands=[acc, repeated, args[stage.dot]], result_types=[acc.type]))
