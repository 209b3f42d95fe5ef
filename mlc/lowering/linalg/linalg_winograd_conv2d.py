"""Compute 3x3 convolutions by Winograd's minimal filtering where that takes less time.

    %f = linalg.pack %w inner_dims_pos = [1, 0] inner_tiles = [16, 16] …
    %y = linalg.generic (n, f1, oh, ow, f0, c1, kh, kw, c0) ins(%x, %f) outs(%zero)
      -->
    %u = linalg_ext.winograd_filter_transform %f
    %y, … = linalg_ext.winograd_conv_2d ins(%x, %f) outs(%out, %tiles, %products) ins(%u)
  or, transformed at run time:
    %y, … = linalg_ext.winograd_conv_2d ins(%x, %f) outs(%out, %tiles, %products, %transformed)

What: convolutions in blocked layout, 3x3, stride 1, not dilated, of constant filters, with static sizes. A tile of 4x4
outputs needs 36 products instead of 144, one of 2x2 needs 16 instead of 36; `winograd_cost` weighs that against the
transforms and larger filters. `tile`: -1 chooses, 0 keeps all convolutions direct, 2 and 4 take that tile everywhere.
`tiles`: how many tiles are worked on at a time, at least, where there are so many (0: as the caches have it).
`group`: -1 chooses (`winograd_memory`, for all layers of a function together), 0 transforms filters when the model is
compiled, n for n blocks of them at a time, at most, as they are multiplied.
`layers`: tiles of single layers, which go before `tile`: "1x64x64x56x56=0,1x128x128x28x28=2" (images, channels,
filters, output rows, output columns), as tuning finds them.
`depth`: channels summed before the sum is added to that of the channels before, at most (short sums round less).
Transformed filters are four times as large as filters. The filters as they were are kept beside them: blocks of tiles
with NaN, infinite or huge values are computed directly.
Runs after linalg-block-layouts (it reads that layout). Runs before linalg-hoist-constants (which takes the transformed
filters out of the model).
Preserves: the same polynomial of inputs and weights, with exact coefficients; rounding as its own arithmetic gives it.
Tests: tests/lowering/linalg/linalg_winograd_conv2d.mlir, tests/lowering/linalg/test_winograd.py
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseResourceAttr,
    FixedBitwidthType,
    FloatAttr,
    ModuleOp,
    TensorType,
    f32,
)
from xdsl.dialects.linalg.ops import FillOp, GenericOp
from xdsl.ir import Block, Operation, SSAValue

from mlc.arrays.winograd import POINTS, TAPS, filtering
from mlc.dialects.linalg.relayout_ops import PackOp
from mlc.dialects.linalg_ext.winograd_ops import WinogradConv2DOp, WinogradFilterTransformOp
from mlc.errors import UsageError
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Reassociates
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.linalg.blocked_convolution import FILTERS, OUTPUT, STRIDE_1, is_blocked_convolution
from mlc.lowering.linalg.build import At
from mlc.lowering.linalg.linalg_hoist_constants import is_hoisted
from mlc.lowering.linalg.structure import (
    erase_dead,
    functions_to_lower,
    iterators_of,
    maps_of,
    shape_of,
)
from mlc.lowering.linalg.winograd_cost import DEPTH, GAIN, GROUP_ROWS, Choice, Layer, choose, depth_of, group_depth
from mlc.lowering.linalg.winograd_memory import Ways, settle

_MAPS = [STRIDE_1, FILTERS, OUTPUT]
_LAYER_TILE = re.compile(r"(\d+(?:x\d+){4})=(-1|0|2|4)")
_ANY_LAYER = ",".join(f"1x{n}x{n}x{rows}x{rows}={tile}" for n, rows, tile in ((4, 6, 0), (8, 6, 2), (8, 5, 4)))


@dataclass(frozen=True)
class LinalgWinogradConv2D(MlcPass):
    """See the module."""

    name = "linalg-winograd-conv2d"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Reassociates("products of transformed tiles and filters, whose sums are the convolution's"),
        profile="linalg-winograd",
        options=(
            {"tile": 4},
            {"tile": 2, "tiles": 1},
            {"tile": 4, "tiles": 2, "group": 1, "depth": 4},
            {},
            {"layers": _ANY_LAYER},
        ),
        establishes=("3x3 convolutions that gain by it are Winograd's",),
        nests=True,
    )

    tile: int = option(-1, Span(min(POINTS), max(POINTS), power_of_two=True, special=(0, -1)))
    tiles: int = option(0, Span(0, 1 << 20))
    group: int = option(-1, Span(1, 1 << 20, special=(0, -1)))
    depth: int = option(DEPTH, Span(1, 1 << 20))
    layers: str = ""

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for block in functions_to_lower(module.ops):
            rewriter = _Rewriter(ctx, self, _weight_bytes(block))
            rewriter.convolutions([op for op in block.ops if isinstance(op, GenericOp) and is_blocked_convolution(op)])
            if rewriter.rewritten:
                erase_dead(block)


class _Rewriter:
    def __init__(self, ctx: MlcContext, options: LinalgWinogradConv2D, weight_bytes: int) -> None:
        self.ctx, self.pass_name, self.weight_bytes = ctx, options.name, weight_bytes
        self.tile, self.tiles, self.group, self.depth = options.tile, options.tiles, options.group, options.depth
        self.layers = _tiles_by_layer(options.layers, options.name)
        self.rewritten = 0

    def convolutions(self, ops: Sequence[GenericOp]) -> None:
        """Rewrite each of `ops`, or say why not."""
        found = [(op, ways) for op in ops if (ways := self._ways(op)) is not None]
        for (op, ways), choice in zip(found, self._settled(found), strict=True):
            self.ctx.remarks.applied(
                self.pass_name,
                op,
                "Winograd, F({}x{}, 3x3)".format(*choice.tile),
                tile=list(choice.tile),
                block=list(choice.block),
                group=choice.group,
                filters="transformed at run time" if choice.group else "transformed when compiled",
                bytes=choice.filter_bytes(ways.layer),
                cost=round(choice.cost, 2),
            )
            self._rewrite(op, choice)
            self.rewritten += 1

    def _ways(self, op: GenericOp) -> Ways | None:
        """Both ways to compute `op`; None, and a remark, where it stays direct."""
        layer = _layer(op.inputs[0], op.outputs[0])
        tile = self.layers.get(str(layer), self.tile)
        reason = self._obstacle(op, tile)
        if reason is None:
            sizes = (layer, self.ctx.machine, None if tile < 0 else tile, self.tiles)
            ways = Ways(layer, choose(*sizes), choose(*sizes, group=max(self.group, 1)))
            if tile >= 0 or ways.held.cost <= GAIN:
                return ways
            reason = f"estimated at {ways.held.cost:.2f} of the direct time"
        self.ctx.remarks.missed(self.pass_name, op, "kept direct", reason=reason)
        return None

    def _settled(self, found: Sequence[tuple[GenericOp, Ways]]) -> list[Choice]:
        """Which way each goes. Filters that two convolutions share are there once."""
        if self.group >= 0:
            return [ways.in_groups if self.group else ways.held for _, ways in found]
        once = list(dict.fromkeys((op.inputs[1], ways) for op, ways in found))
        settled = dict(zip(once, settle([ways for _, ways in once], self.weight_bytes), strict=True))
        return [settled[op.inputs[1], ways] for op, ways in found]

    def _obstacle(self, op: GenericOp, tile: int) -> str | None:
        if tile == 0:
            return "switched off"
        shapes = [shape_of(v) for v in op.operands]
        if shapes[1][2:4] != (TAPS, TAPS):
            return "a window of {}x{}".format(*shapes[1][2:4])
        if maps_of(op)[0] != _MAPS[0]:
            return "stride or dilation"
        if any(DYNAMIC_INDEX in s or 0 in s for s in shapes):
            return "dynamic or empty sizes"
        pack = op.inputs[1].owner
        if not isinstance(pack, PackOp) or not is_hoisted(pack.source):
            return "filters that are not constant"
        if pack.positions != (1, 0) or pack.permutation(4) != (0, 1, 2, 3):
            return "filters packed in another way"
        filters, channels = shape_of(pack.source)[:2]
        if filters != shapes[1][0] * shapes[1][5] or channels != shapes[1][1] * shapes[1][4]:
            return "channels that do not fill their blocks"
        if min(shapes[2][2:4]) < max(tile, min(POINTS)):
            return "an output smaller than a tile"
        if not _is_zero(op.outputs[0]):
            return "it adds to a value"
        return None

    def _rewrite(self, op: GenericOp, choice: Choice) -> None:
        at = At(op)
        images, filters, rows, columns, lanes = shape_of(op.results[0])
        channels = shape_of(op.inputs[0])[1] * shape_of(op.inputs[0])[4]
        in_lanes = shape_of(op.inputs[0])[4]
        depth = depth_of(channels, in_lanes, min(self.depth, group_depth(choice.block)) if choice.group else self.depth)
        pieces = channels // depth
        width = filtering(choice.tile[1]).size
        positions = filtering(choice.tile[0]).size * width
        outs = [
            at.empty([images, filters, rows, columns, lanes], f32),
            at.empty([pieces, positions, *choice.block, depth // in_lanes, in_lanes], f32),
            at.empty([positions, choice.group or filters, *choice.block, lanes], f32),
        ]
        if choice.group:
            outs.append(at.empty([1, GROUP_ROWS * width, choice.group, depth | 1, lanes], f32))
        else:
            outs.append(at.add(WinogradFilterTransformOp(op.inputs[1], choice.tile, depth)).result)
        operands = [*op.inputs, *outs]
        new = at.add(WinogradConv2DOp(operands, choice.tile, choice.block, transformed=not choice.group))
        new.res[0].name_hint = op.results[0].name_hint
        op.results[0].replace_all_uses_with(new.res[0])
        op.detach()
        op.erase()


def layer_of(op: Operation) -> Layer | None:
    """The 3x3 convolution of stride 1 that `op` computes, directly or not, on tensors or on buffers; None for others,
    and for those of dynamic sizes, which stay direct."""
    if isinstance(op, WinogradConv2DOp):
        return _layer(op.input, op.output)
    if isinstance(op, GenericOp) and iterators_of(op) == "ppppprrrr" and maps_of(op) == _MAPS:
        if any(DYNAMIC_INDEX in shape_of(v) for v in op.operands):
            return None
        return _layer(op.inputs[0], op.outputs[0]) if shape_of(op.inputs[1])[2:4] == (TAPS, TAPS) else None
    return None


def _layer(image: SSAValue, output: SSAValue) -> Layer:
    images, filters, rows, columns, lanes = shape_of(output)
    _, channels, _, _, in_lanes = shape_of(image)
    return Layer(images, channels * in_lanes, filters * lanes, rows, columns, lanes)


def _tiles_by_layer(text: str, name: str) -> dict[str, int]:
    tiles: dict[str, int] = {}
    for item in filter(None, text.split(",")):
        found = _LAYER_TILE.fullmatch(item.strip())
        if found is None:
            raise UsageError(
                f"pass '{name}': option 'layers' holds '{item}'",
                expected="images x channels x filters x rows x columns = -1, 0, 2 or 4, as in 1x64x64x56x56=2",
            )
        tiles[found[1]] = int(found[2])
    return tiles


def _weight_bytes(block: Block) -> int:
    """Bytes of the weights that the ops of `block` name."""
    weights = {
        op.value for op in block.walk() if isinstance(op, arith.ConstantOp) and isinstance(op.value, DenseResourceAttr)
    }
    types = [w.type for w in weights if isinstance(w.type, TensorType)]
    return sum(
        math.prod(t.get_shape()) * t.element_type.size for t in types if isinstance(t.element_type, FixedBitwidthType)
    )


def _is_zero(value: SSAValue) -> bool:
    """Whether `value` is a tensor filled with zeros."""
    owner = value.owner
    return isinstance(owner, FillOp) and _zero(owner.inputs[0])


def _zero(scalar: SSAValue) -> bool:
    owner = scalar.owner
    return isinstance(owner, arith.ConstantOp) and isinstance(owner.value, FloatAttr) and owner.value.value.data == 0
