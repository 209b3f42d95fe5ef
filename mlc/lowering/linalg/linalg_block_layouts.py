"""Lay out convolutional networks in blocks of channels, the layout vector units want.

    %c = linalg.conv_2d_nchw_fchw ins(%x, %w : tensor<1x64x58x58xf32>, tensor<64x64x3x3xf32>) …
    %r = linalg.generic #relu ins(%c) outs(%e)
      -->
    %px = linalg.pack %x inner_dims_pos = [1] inner_tiles = [16] into tensor<1x4x58x58x16xf32>
    %pw = linalg.pack %w inner_dims_pos = [1, 0] inner_tiles = [16, 16] into tensor<4x4x3x3x16x16xf32>
    %c = linalg.generic (n, f1, oh, ow, f0, c1, kh, kw, c0) ins(%px, %pw) outs(%pz)
    %r = linalg.generic #relu ins(%c) outs(%pe)
    %u = linalg.unpack %r …                                   only where somebody needs the plain form

What: convolutions start the layout; elementwise ops, padding, pooling, depthwise convolutions, reductions over space,
concatenation carry it on. One forward walk; a value's plain form is made only when an op needs it.
Runs after convert-torch-to-linalg. Runs before linalg-hoist-constants (which takes the packed weights out) and fusion.
Preserves: sums over channels run block by block, in the same order as before only for one block, hence Reassociates.
Tests: tests/lowering/linalg/linalg_block_layouts.mlir, tests/lowering/linalg/test_block_layouts.py
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, DenseArrayBase, ModuleOp, TensorType, f32, i64
from xdsl.dialects.func import FuncOp
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.dialects.linalg.ops import Conv2DNchwFchwOp, FillOp, GenericOp, TransposeOp, YieldOp
from xdsl.ir import Operation, SSAValue
from xdsl.ir.affine import AffineDimExpr

from mlc.dialects.linalg.relayout_ops import PackOp, UnPackOp
from mlc.dialects.linalg.structured_ops import DepthwiseConv2DNchwChwOp
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Reassociates
from mlc.ir.passes import MlcPass
from mlc.lowering.linalg.build import At, element_type
from mlc.lowering.linalg.packed_values import Packing, Packings, divides
from mlc.lowering.linalg.split_loops import Splits, can_split, operand_packing, split_loops
from mlc.lowering.linalg.structure import iterators_of, maps_of, shape_of

# On zero lanes and finite operands these stay finite, so padding lanes never reach a sum as NaN or infinity.
_ZERO_SAFE = (
    arith.AddfOp, arith.SubfOp, arith.MulfOp, arith.NegfOp, arith.MaximumfOp, arith.MinimumfOp, arith.MaxnumfOp,
    arith.MinnumfOp, arith.CmpfOp, arith.SelectOp, arith.ConstantOp, YieldOp,
)  # fmt: skip


@dataclass(frozen=True)
class LinalgBlockLayouts(MlcPass):
    """Pack channels of convolutional networks into blocks of the vector width (0: from the machine model)."""

    name = "linalg-block-layouts"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Reassociates("channels are summed block by block: (c/16, kh, kw, c%16) instead of (c, kh, kw)"),
        profile="linalg",
        options=({"block": 16}, {"block": 8}, {"block": 4}),
        establishes=("convolutions write blocked channels",),
    )

    block: int = 0

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        block = self.block or (ctx.machine.lanes(32) if ctx.machine is not None else 16)
        for op in module.ops:
            if isinstance(op, FuncOp) and op.body.blocks and "constant" not in op.attributes:
                _Walk(ctx, self.name, block).function(op)


class _Walk:
    """One function, front to back."""

    def __init__(self, ctx: MlcContext, pass_name: str, block: int) -> None:
        self.ctx, self.pass_name, self.block = ctx, pass_name, block
        self.packings = Packings()
        self.replaced: list[Operation] = []

    def function(self, func: FuncOp) -> None:
        for op in list(func.body.block.ops):
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

    def tile(self, channels: int) -> int:
        """Channels per block: the vector width, half of it when that divides better, 0 when blocks do not pay."""
        if channels == DYNAMIC_INDEX or channels < self.block // 2:
            return 0
        if channels % self.block and self.block >= 8 and channels % (self.block // 2) == 0:
            return self.block // 2
        return self.block

    def _convert(self, op: Operation) -> bool:
        match op:
            case Conv2DNchwFchwOp():
                return self._convolution(op)
            case DepthwiseConv2DNchwChwOp():
                return self._depthwise(op)
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

    def _convolution(self, op: Conv2DNchwFchwOp) -> bool:
        filters, channels = shape_of(op.inputs[1])[:2]
        tile = self.tile(filters)
        if not tile or element_type(op.results[0]) != f32:
            self.ctx.remarks.missed(self.pass_name, op, "kept in plain layout", reason=f"{filters} output channels")
            return False
        splits: Splits = {1: tile}
        if channel_tile := self.tile(channels):
            splits[4] = channel_tile
        if not can_split(op, splits):
            self.ctx.remarks.missed(self.pass_name, op, "kept in plain layout", reason="channels are not bare loops")
            return False
        split_loops(At(op), op, splits, self.packings)
        self.ctx.remarks.applied(self.pass_name, op, f"blocks of {tile} channels", padded=filters % tile != 0)
        return True

    def _depthwise(self, op: DepthwiseConv2DNchwChwOp) -> bool:
        loop = iterators_of(op).index("r") - 1  # loops n, oh, ow, c, kh, kw
        tile = self.tile(shape_of(op.inputs[0])[1])
        if not tile or not can_split(op, {loop: tile}) or element_type(op.results[0]) != f32:
            return False
        split_loops(At(op), op, {loop: tile}, self.packings)
        self.ctx.remarks.applied(self.pass_name, op, f"blocks of {tile} channels")
        return True

    def _structured(self, op: LinalgStructuredOperation) -> bool:
        """Elementwise ops, pooling and reductions over space follow the layout of their operands."""
        if not op.results:
            return False
        kinds = iterators_of(op)
        for value, map_ in zip(op.inputs, maps_of(op), strict=False):
            for packing in self.packings.known(value):
                if len(packing) != 1:
                    continue
                ((dim, tile),) = packing
                expr = map_.results[dim]
                if not isinstance(expr, AffineDimExpr) or kinds[expr.position] != "p":
                    continue
                splits = {expr.position: tile}
                if can_split(op, splits) and self._pays(op, splits) and self._safe(op, splits):
                    split_loops(At(op), op, splits, self.packings)
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
        return isinstance(op, GenericOp) and "r" not in kinds and all(
            isinstance(inner, _ZERO_SAFE) for inner in op.body.block.ops
        )

    def _channel_packing(self, value: SSAValue) -> Packing | None:
        return next((p for p in self.packings.known(value) if len(p) == 1 and p[0][0] == 1), None)

    def _pad(self, op: tensor.PadOp) -> bool:
        packing = self._channel_packing(op.source)
        low, high = list(op.static_low.get_values()), list(op.static_high.get_values())
        if packing is None or op.low or op.high or low[1] or high[1]:
            return False
        at = At(op)
        source = self.packings.packed(at, op.source, packing)
        shape = [
            d if d == DYNAMIC_INDEX else d + a + b
            for d, a, b in zip(shape_of(source), [*low, 0], [*high, 0], strict=True)
        ]
        region = op.region.clone()
        region.block.insert_arg(region.block.args[0].type, len(region.block.args))
        new = at.add(
            tensor.PadOp(
                source, [], [], region, [*low, 0], [*high, 0], TensorType(element_type(op.source), shape), op.nofold
            )
        )
        self.packings.set(op.result, packing, new.result)
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
        new = at.add(
            tensor.ConcatOp.build(operands=[inputs], properties={"dim": op.dim}, result_types=[result])
        )
        self.packings.set(op.result, packing, new.result)
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
        return True
