"""Recognise sums of products of neighbouring narrow elements for which the target has an instruction.

    linalg.generic (m, n1, n0, k1, k0) ins(%x : memref<64x392x2xbf16>, %w : memref<32x392x16x2xbf16>)
      extf, extf, mulf, addf                                              outs(%out : memref<64x32x16xf32>)
      -->
    a stage over (m, n1, n0, k1) whose accesses %x and %w stand for pairs, and whose body is one x86vector.avx512.dot

The loop k0 disappears: a lane takes a whole group of elements. From there on the stage is scheduled like any sum of
products, %w being contiguous along n0 in groups. Likewise fours of i8, one factor unsigned, summed in i32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xdsl.dialects.builtin import BFloat16Type, Float32Type, i8, i32
from xdsl.ir import Block, SSAValue

from mlc.dialects.x86vector.ops import DotBF16Op, DotUI8Op
from mlc.lowering.vector.emitter import Emitter
from mlc.lowering.vector.sizes import ONE, ZERO, Size
from mlc.lowering.vector.space import Access, Dot, Space, Stage
from mlc.lowering.vector.target import Target


def take_dot(stage: Stage, space: Space, target: Target) -> None:
    """Make `stage` one of dot products where it has their form and the target the instruction."""
    if len(stage.ins) != 2 or len(stage.outs) != 1:
        return
    form = _form(stage.block)
    if form is None or not (target.dot_bf16 if form.unsigned is None else target.dot_int8):
        return
    left, right = stage.ins
    (out,) = stage.outs
    if not isinstance(left, Access) or not isinstance(right, Access):
        return
    for k in stage.reduction:
        if space.static(k) != form.group or left.coeff(k) != ONE or right.coeff(k) != ONE:
            continue
        for number, vector, scalar in ((1, right, left), (0, left, right)):
            for n in stage.parallel:
                lanes = space.static(n)
                if lanes is None or lanes % (target.lanes(32) // 2) or vector.coeff(n) != Size(form.group):
                    continue
                if scalar.coeff(n) == ZERO and out.coeff(n) == ONE:
                    stage.reduction.remove(k)
                    stage.ins = [_grouped(left, k, form.group), _grouped(right, k, form.group)]
                    stage.dot = replace(form, vector=number)
                    return


def _grouped(access: Access, k: int, group: int) -> Access:
    return replace(access, coeffs=tuple((d, c) for d, c in access.coeffs if d != k), group=group)


_BF16 = ["arith.extf", "arith.extf", "arith.mulf", "arith.addf", "linalg.yield"]
_INT8 = ["arith.extsi", "arith.extui"], ["arith.muli", "arith.addi", "linalg.yield"]


def _form(block: Block) -> Dot | None:
    """acc + wide(a) * wide(b) and nothing else: of bf16 in f32, or of an unsigned and a signed i8 in i32."""
    ops = list(block.ops)
    names = [op.name for op in ops]
    floats = names == _BF16
    if not floats and (sorted(names[:2]) != _INT8[0] or names[2:] != _INT8[1]):
        return None
    a, b, acc = block.args
    narrow, wide = (BFloat16Type(), Float32Type()) if floats else (i8, i32)
    if a.type != narrow or b.type != narrow or acc.type != wide:
        return None
    first, second, product, total, end = ops
    if (
        {first.operands[0], second.operands[0]} != {a, b}
        or {*product.operands} != {first.results[0], second.results[0]}
        or {*total.operands} != {product.results[0], acc}
        or end.operands[0] is not total.results[0]
    ):
        return None
    if floats:
        return Dot(0, 2)
    extended = first if first.name == "arith.extui" else second
    return Dot(0, 4, 0 if extended.operands[0] is a else 1)


def dot(em: Emitter, stage: Stage, args: Sequence[SSAValue], lanes: int) -> SSAValue:
    """The accumulators `args[2]` and, lane by lane, the dot product of a group of each factor."""
    form = stage.dot
    assert form is not None
    acc = em.broadcast(args[2], lanes)
    factors = list(args[:2])
    factors[1 - form.vector] = em.repeat(factors[1 - form.vector], lanes)
    if form.unsigned == 1:
        factors.reverse()
    kind = DotBF16Op if form.unsigned is None else DotUI8Op
    return em.add(kind.create(operands=[acc, *factors], result_types=[acc.type]))
