"""The forward walk that spreads packed layouts over a function; `linalg-block-layouts`, `linalg-pack-matmul` seed it.

A subclass says which ops start a layout (`seed`). Ops that follow it: elementwise generics, pooling, reductions over
unpacked dimensions, padding, concatenation, slices. Everything else gets plain values (made once, when first needed).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import DenseArrayBase, TensorType, i64
from xdsl.dialects.func import FuncOp
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.ops import FillOp, GenericOp, TransposeOp, YieldOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.ir.affine import AffineDimExpr

from mlc.dialects.linalg.relayout_ops import PackOp, UnPackOp
from mlc.ir.context import MlcContext
from mlc.lowering.linalg.build import At, element_type
from mlc.lowering.linalg.packed_values import Packing, Packings, can_pad_packed, divides
from mlc.lowering.linalg.split_loops import Splits, can_split, operand_packing, split_loops
from mlc.lowering.linalg.structure import iterators_of, maps_of, nested_blocks, shape_of

# On zero lanes and finite operands these stay finite, so padding lanes never reach a sum as NaN or infinity.
_ZERO_SAFE = (
    arith.AddfOp, arith.SubfOp, arith.MulfOp, arith.NegfOp, arith.MaximumfOp, arith.MinimumfOp, arith.MaxnumfOp,
    arith.MinnumfOp, arith.CmpfOp, arith.SelectOp, arith.ConstantOp, YieldOp,
)  # fmt: skip


FOLLOWING = {
    "follow-elementwise": "an elementwise op of packed values -> over packed values",
    "follow-reduction": "a reduction or pooling of packed values -> over packed values",
    "follow-pad": "padding of a packed value -> padding around its blocks",
    "follow-concat": "concatenation of packed values -> of their blocks",
    "follow-slice": "a slice of whole blocks -> a slice of blocks",
}
"""Rules of the ops that carry a layout on."""


class LayoutWalk(ABC):
    """One function, front to back, then the bodies of its loops, each on its own: what a loop reads and returns is
    plain.
    `block`: channels per block, 0 for the machine model's vector width."""

    def __init__(self, ctx: MlcContext, pass_name: str, block: int) -> None:
        self.ctx, self.pass_name = ctx, pass_name
        self.block = block or (ctx.machine.lanes(32) if ctx.machine is not None else 16)
        self.packings = Packings()
        self.replaced: list[Operation] = []

    def function(self, func: FuncOp) -> None:
        for block in reversed(list(nested_blocks(func.body.block))):
            self.packings, self.replaced = Packings(), []
            self._block(block)

    def _block(self, block: Block) -> None:
        for op in list(block.ops):
            if self._convert(op):
                self.replaced.append(op)
            else:
                self._use_plain(op)
        for op in reversed(self.replaced):
            op.detach()
            op.erase()

    def _use_plain(self, op: Operation) -> None:
        at = At(op)
        for inner in op.walk():
            for i, operand in enumerate(inner.operands):
                plain = self.packings.plain(at, operand)
                if plain is not operand:
                    inner.operands[i] = plain

    @abstractmethod
    def seed(self, op: Operation) -> bool | None:
        """Replace `op` when it starts a layout (True), leave it plain (False), or let it follow (None)."""

    def may_follow(self, value: SSAValue) -> bool:
        """Whether ops that read `value` should take over its packed form."""
        return True

    def _convert(self, op: Operation) -> bool:
        started = self.seed(op)
        if started is not None:
            return started
        match op:
            case FillOp() | TransposeOp() | PackOp() | UnPackOp():
                return False
            case LinalgStructuredOperation():
                return self._structured(op)
            case tensor.PadOp():
                return self._pad(op)
            case tensor.ConcatOp():
                return self._concat(op)
            case tensor.ExtractSliceOp():
                return self._slice(op)
            case _:
                return False

    def _structured(self, op: LinalgStructuredOperation) -> bool:
        """Elementwise ops, pooling and reductions over space follow the layout of their operands."""
        if not op.results:
            return False
        kinds = iterators_of(op)
        for value, map_ in zip(op.inputs, maps_of(op), strict=False):
            for packing in self.packings.known(value):
                if len(packing) != 1 or not self.may_follow(value):
                    continue
                ((dim, tile),) = packing
                expr = map_.results[dim]
                if not isinstance(expr, AffineDimExpr) or kinds[expr.position] != "p":
                    continue
                splits = {expr.position: tile}
                if can_split(op, splits) and self._pays(op, splits) and self._safe(op, splits):
                    split_loops(At(op), op, splits, self.packings)
                    self.ctx.remarks.count(self.pass_name, f"follow-{'reduction' if 'r' in kinds else 'elementwise'}")
                    return True
        return False

    def _pays(self, op: LinalgStructuredOperation, splits: Splits) -> bool:
        """The result must come out packed, and no larger plain operand may have to be packed for it."""
        kinds = iterators_of(op)
        maps = maps_of(op)
        if not all(operand_packing(m, splits, kinds) for m in maps[len(op.inputs) :]):
            return False
        packed = plain = 0
        for value, map_ in zip(op.inputs, maps, strict=False):
            packing = operand_packing(map_, splits, kinds)
            if packing and packing in self.packings.known(value):
                packed += 1
            elif packing and len(shape_of(value)) == 4:
                plain += 1
        return packed > 0 and packed >= plain

    def _safe(self, op: LinalgStructuredOperation, splits: Splits) -> bool:
        """Padding lanes must stay finite: exact blocks, or arithmetic that maps zeros to finite values."""
        kinds = iterators_of(op)
        maps = maps_of(op)
        exact = all(
            divides(v, operand_packing(m, splits, kinds) or ())
            for v, m in zip((*op.inputs, *op.outputs), maps, strict=True)
        )
        if exact:
            return True
        return (
            isinstance(op, GenericOp)
            and "r" not in kinds
            and all(isinstance(inner, _ZERO_SAFE) for inner in op.body.block.ops)
        )

    def _channel_packing(self, value: SSAValue) -> Packing | None:
        return next((p for p in self.packings.known(value) if len(p) == 1 and p[0][0] == 1), None)

    def _pad(self, op: tensor.PadOp) -> bool:
        packing = self._channel_packing(op.source)
        if packing is None or not can_pad_packed(op, packing):
            return False
        self.packings.set(op.result, packing, self.packings.pad(At(op), op, packing))
        self.ctx.remarks.count(self.pass_name, "follow-pad")
        return True

    def _concat(self, op: tensor.ConcatOp) -> bool:
        dim = op.dim.value.data
        found = {self._channel_packing(v) for v in op.inputs}
        if len(found) != 1 or (packing := found.pop()) is None:
            return self._concat_mixed(op)
        if dim == 1 and not all(divides(v, packing) for v in op.inputs):
            return False
        return self._concat_packed(op, packing)

    def _concat_mixed(self, op: tensor.ConcatOp) -> bool:
        """Blocks of different size (or some plain inputs) meet: the largest block that divides all, when it pays."""
        known = [p for v in op.inputs if (p := self._channel_packing(v)) is not None]
        if op.dim.value.data != 1 or 2 * len(known) <= len(op.inputs):
            return False
        for packing in sorted(set(known), reverse=True):
            if all(divides(v, packing) for v in op.inputs):
                return self._concat_packed(op, packing)
        return False

    def _concat_packed(self, op: tensor.ConcatOp, packing: Packing) -> bool:
        at = At(op)
        inputs = [self.packings.packed(at, v, packing) for v in op.inputs]
        shape = list(shape_of(op.result))
        shape[1] = -(-shape[1] // packing[0][1])
        result = TensorType(element_type(op.result), [*shape, packing[0][1]])
        new = at.add(tensor.ConcatOp.build(operands=[inputs], properties={"dim": op.dim}, result_types=[result]))
        self.packings.set(op.result, packing, new.result)
        self.ctx.remarks.count(self.pass_name, "follow-concat")
        return True

    def _slice(self, op: tensor.ExtractSliceOp) -> bool:
        """A slice of whole blocks stays packed (channel split and shuffle)."""
        packing = self._channel_packing(op.source)
        source, result = shape_of(op.source), shape_of(op.result)
        if packing is None or len(source) != len(result) or op.offsets or op.strides or op.sizes:
            return False
        offsets, strides = list(op.static_offsets.get_values()), list(op.static_strides.get_values())
        tile = packing[0][1]
        if strides[1] != 1 or offsets[1] % tile or result[1] % tile or not divides(op.source, packing):
            return False
        at = At(op)
        value = self.packings.packed(at, op.source, packing)
        offsets[1] //= tile
        sizes = [*result, tile]
        sizes[1] //= tile
        new = at.add(
            tensor.ExtractSliceOp.build(
                operands=[value, [], [], []],
                properties={
                    "static_offsets": DenseArrayBase.from_list(i64, [*offsets, 0]),
                    "static_sizes": DenseArrayBase.from_list(i64, sizes),
                    "static_strides": DenseArrayBase.from_list(i64, [*strides, 1]),
                },
                result_types=[TensorType(element_type(op.source), sizes)],
            )
        )
        self.packings.set(op.result, packing, new.results[0])
        self.ctx.remarks.count(self.pass_name, "follow-slice")
        return True
