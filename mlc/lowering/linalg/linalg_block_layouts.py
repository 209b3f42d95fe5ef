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

from xdsl.dialects.builtin import DYNAMIC_INDEX, ModuleOp, f32
from xdsl.dialects.func import FuncOp
from xdsl.dialects.linalg.ops import Conv2DNchwFchwOp
from xdsl.ir import Operation

from mlc.dialects.linalg.structured_ops import DepthwiseConv2DNchwChwOp
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Reassociates
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.linalg.build import At, element_type
from mlc.lowering.linalg.layout_walk import FOLLOWING, LayoutWalk
from mlc.lowering.linalg.split_loops import Splits, can_split, split_loops
from mlc.lowering.linalg.structure import iterators_of, shape_of


@dataclass(frozen=True)
class LinalgBlockLayouts(MlcPass):
    """Pack channels of convolutional networks into blocks of the vector width (0: from the machine model)."""

    name = "linalg-block-layouts"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Reassociates("channels are summed block by block: (c/16, kh, kw, c%16) instead of (c, kh, kw)"),
        profile="linalg-images",
        options=({"block": 16}, {"block": 8}, {"block": 4}),
        establishes=("convolutions write blocked channels",),
        nests=True,
        rules={
            "convolution": "2-d convolution -> generic over blocks of channels",
            "depthwise": "depthwise convolution -> generic over blocks of channels",
            **FOLLOWING,
        },
    )

    block: int = option(0, Span(1, 256, special=(0,)))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in module.ops:
            if isinstance(op, FuncOp) and op.body.blocks and "constant" not in op.attributes:
                _ConvolutionWalk(ctx, self.name, self.block).function(op)


class _ConvolutionWalk(LayoutWalk):
    """Convolutions start the layout."""

    def seed(self, op: Operation) -> bool | None:
        match op:
            case Conv2DNchwFchwOp():
                return self._convolution(op)
            case DepthwiseConv2DNchwChwOp():
                return self._depthwise(op)
            case _:
                return None

    def tile(self, channels: int) -> int:
        """Channels per block: the vector width, half of it when that divides better, 0 when blocks do not pay."""
        if channels == DYNAMIC_INDEX or channels < self.block // 2:
            return 0
        if channels % self.block and self.block >= 8 and channels % (self.block // 2) == 0:
            return self.block // 2
        return self.block

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
        self.ctx.remarks.applied(
            self.pass_name, op, f"blocks of {tile} channels", rule="convolution", padded=filters % tile != 0
        )
        return True

    def _depthwise(self, op: DepthwiseConv2DNchwChwOp) -> bool:
        loop = iterators_of(op).index("r") - 1  # loops n, oh, ow, c, kh, kw
        tile = self.tile(shape_of(op.inputs[0])[1])
        if not tile or not can_split(op, {loop: tile}) or element_type(op.results[0]) != f32:
            return False
        split_loops(At(op), op, {loop: tile}, self.packings)
        self.ctx.remarks.applied(self.pass_name, op, f"blocks of {tile} channels", rule="depthwise")
        return True
