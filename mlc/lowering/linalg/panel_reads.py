"""Few elements of a constant that is packed are read from its panels, so that it need not be held twice.

    %p = linalg.pack %w …tensor<50257x768xf32> -> tensor<3142x768x16xf32>
    tensor.extract %w[%i, %j]   -->   tensor.extract %p[%i / 16, %j, %i % 16]

A language model looks its tokens up in the matrix that its last product multiplies by: 64 rows of 150 MB. Elements of a
row lie apart in panels, so only what reads at most an eighth of the constant per call is changed.
Part of linalg-pack-matmul. Tests: tests/lowering/linalg/linalg_pack_matmul.mlir
"""

from __future__ import annotations

import math

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX
from xdsl.dialects.func import FuncOp
from xdsl.dialects.linalg.ops import GenericOp, TransposeOp
from xdsl.ir import Operation, SSAValue

from mlc.dialects.linalg.relayout_ops import PackOp
from mlc.lowering.linalg.build import At, element_type
from mlc.lowering.linalg.structure import iterators_of, shape_of

FEW = 8
"""How many times more elements a constant has than are read, at least."""


def read_panels(function: FuncOp) -> list[tensor.ExtractOp]:
    """Let reads of constants that are packed read the packed form. Returns the new reads."""
    found: list[tensor.ExtractOp] = []
    for pack in [op for op in function.walk() if isinstance(op, PackOp)]:
        reads = _reads(pack)
        if reads:
            _to_front(pack)
            found += [_read(pack, read) for read in reads]
    return found


def _reads(pack: PackOp) -> list[tensor.ExtractOp]:
    """What reads single elements of the constant that `pack` packs; none where anything needs the constant itself, or
    much of it is read."""
    source = pack.source.owner
    if not isinstance(source, arith.ConstantOp) or source.parent_block() is not pack.parent_block():
        return []
    if DYNAMIC_INDEX in pack.tiles or not all(_can_move(v, source) for v in pack.operands[1:]):
        return []
    reads: list[tensor.ExtractOp] = []
    count = 0
    for op in dict.fromkeys(use.operation for use in pack.source.uses):
        if isinstance(op, PackOp) or (isinstance(op, TransposeOp) and not any(r.uses for r in op.results)):
            continue  # constants of their own; what the product read before
        generic = op.parent_op()
        if not isinstance(op, tensor.ExtractOp) or not isinstance(generic, GenericOp):
            return []
        space = shape_of(generic.outputs[0])
        if generic.parent_block() is not source.parent_block() or DYNAMIC_INDEX in space:
            return []
        if any(kind != "p" for kind in iterators_of(generic)):
            return []
        reads.append(op)
        count += math.prod(space)
    return reads if FEW * count <= math.prod(shape_of(pack.source)) else []


def _can_move(value: SSAValue, source: Operation) -> bool:
    """Whether `value` can be computed right behind `source`."""
    owner = value.owner
    return isinstance(owner, Operation) and not owner.operands and owner.parent_block() is source.parent_block()


def _to_front(pack: PackOp) -> None:
    """Pack right behind the constant, before all that reads it."""
    source = pack.source.owner
    block = pack.parent_block()
    assert isinstance(source, Operation) and block is not None
    owners = dict.fromkeys(v.owner for v in pack.operands[1:] if isinstance(v.owner, Operation))
    for op in reversed([*owners, pack]):
        op.detach()
        block.insert_op_after(op, source)


def _read(pack: PackOp, read: tensor.ExtractOp) -> tensor.ExtractOp:
    """The same element from the packed form."""
    at = At(read)
    outer: list[SSAValue] = list(read.indices)
    inner: list[SSAValue] = []
    for position, tile in zip(pack.positions, pack.tiles, strict=True):
        size = at.index(tile)
        inner.append(at.add(arith.RemUIOp(outer[position], size)).result)
        outer[position] = at.add(arith.DivUIOp(outer[position], size)).result
    indices = [*(outer[d] for d in pack.permutation(len(outer))), *inner]
    new = at.add(tensor.ExtractOp(pack.result, indices, element_type(pack.result)))
    new.result.name_hint = read.result.name_hint
    read.result.replace_all_uses_with(new.result)
    read.detach()
    read.erase()
    return new
