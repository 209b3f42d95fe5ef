"""Know a tensor of f32 whose elements are all bf16, extended, and give the tensor of bf16 that it was made from.

    %w = linalg.generic ins(%narrow : tensor<512x784xbf16>) { arith.extf }
    %t = linalg.transpose ins(%w) …     -->     linalg.transpose ins(%narrow : tensor<512x784xbf16>) …

A model of bf16 extends what it multiplies, as sums are of f32. Ops that move elements (transposes, reshapes, slices,
packs, padding with zeros, concatenations) may stand between the extension and the product.
Part of linalg-fold-arith-extension; the passes that round ask it so that they do not round twice.
"""

from __future__ import annotations

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import TensorType, bf16, f32
from xdsl.dialects.linalg.ops import GenericOp, TransposeOp
from xdsl.ir import Operation, SSAValue

from mlc.dialects.linalg.relayout_ops import PackOp, UnPackOp
from mlc.lowering.linalg.build import At, behind, element_type, groups_of, is_zero, pads_with_zeros
from mlc.lowering.linalg.structure import identity_map, is_elementwise, shape_of


def extended(value: SSAValue) -> SSAValue | None:
    """The tensor of bf16 whose elements, extended, `value` is; None where it is made in another way."""
    op = value.owner
    if not isinstance(op, GenericOp) or len(op.inputs) != 1 or len(op.results) != 1 or not is_elementwise(op):
        return None
    source, first = op.inputs[0], op.body.block.first_op
    if not isinstance(source.type, TensorType) or source.type.element_type != bf16 or element_type(value) != f32:
        return None
    if op.indexing_maps.data[0] != identity_map(len(shape_of(source))) or not isinstance(first, arith.ExtFOp):
        return None
    end = first.next_op
    plain = end is op.body.block.last_op and end is not None and end.operands[0] is first.result
    return source if plain and first.input is op.body.block.args[0] else None


class NarrowSources:
    """Of one block. `made`: the tensors of bf16 that stand beside those of f32 by now."""

    def __init__(self) -> None:
        self.made: dict[SSAValue, SSAValue] = {}

    def has(self, value: SSAValue) -> bool:
        """Whether each element of `value` is an extended one of bf16, or zero that was filled in."""
        if value in self.made or extended(value) is not None:
            return True
        match value.owner:
            case tensor.PadOp() as op:
                return pads_with_zeros(op) and self.has(op.source)
            case tensor.ConcatOp() as op:
                return all(map(self.has, op.inputs))
            case PackOp() as op:
                return (op.padding_value is None or is_zero(op.padding_value)) and self.has(op.source)
            case UnPackOp() | tensor.ExtractSliceOp() as op:
                return self.has(op.source)
            case TransposeOp() as op:
                return bool(op.res) and self.has(op.operands[0])
            case tensor.CollapseShapeOp() | tensor.ExpandShapeOp() as op:
                return self.has(op.src)
            case _:
                return False

    def of(self, value: SSAValue) -> SSAValue:
        """The tensor of bf16 behind `value`, which `has` one: made where `value` is."""
        if value not in self.made:
            source = extended(value)
            self.made[value] = source if source is not None else self._moved(value)
        return self.made[value]

    def _moved(self, value: SSAValue) -> SSAValue:
        """What moves the elements of `value`, on those of bf16."""
        at, op = behind(value), value.owner
        match op:
            case tensor.PadOp():
                return at.pad(op, self.of(op.source), at.scalar(0.0, bf16))
            case tensor.ConcatOp():
                return at.concat(op, [self.of(v) for v in op.inputs])
            case PackOp():
                read = {op.source: self.of(op.source), op.dest: at.empty(at.sizes(value), bf16)}
                if op.padding_value is not None:
                    read[op.padding_value] = at.scalar(0.0, bf16)
                return _again(at, op, read)
            case UnPackOp():
                return _again(at, op, {op.source: self.of(op.source), op.dest: at.empty(at.sizes(value), bf16)})
            case TransposeOp():
                return at.transpose(self.of(op.operands[0]), tuple(op.permutation.get_values()))
            case tensor.CollapseShapeOp():
                return at.collapse(self.of(op.src), groups_of(op))
            case tensor.ExpandShapeOp():
                return at.expand(self.of(op.src), groups_of(op), at.sizes(value))
            case _:
                assert isinstance(op, tensor.ExtractSliceOp)
                return _again(at, op, {op.source: self.of(op.source)})


def _again(at: At, op: Operation, read: dict[SSAValue, SSAValue]) -> SSAValue:
    """A copy of `op` that reads other tensors, of bf16."""
    operands = [read.get(v, v) for v in op.operands]
    result = TensorType(bf16, shape_of(op.results[0]))
    new = type(op).create(operands=operands, result_types=[result], properties=op.properties, attributes=op.attributes)
    return at.add(new).results[0]
