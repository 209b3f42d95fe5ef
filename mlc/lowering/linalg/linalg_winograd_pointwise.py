"""Compute 1x1 convolutions by Winograd's inner product where additions cost nothing beside multiply-adds.

    %f = linalg.pack %w inner_dims_pos = [1, 0] inner_tiles = [16, 16] …tensor<32x16x1x1x16x16xf32>
    %y = linalg.generic (n, f1, oh, ow, f0, c1, kh, kw, c0) ins(%x, %f) outs(%zero)
      -->
    %p = tensor.collapse_shape %f [[0], [1, 2, 3, 4], [5]]
    %u = linalg_ext.winograd_matmul_weights %p {depth = 256}
    %y, … = linalg_ext.winograd_matmul ins(%x, %u) outs(%zero, %scaled, %rows) {depth = 256}

What: convolutions in blocked layout with 1x1 filters, not padded, of constant filters, with static sizes, of enough
filters that preparing the pixels costs less than it saves. With a stride, the pixels that count are a slice of the
input.
`gain`: of the direct time in percent, what the estimate must stay under (-1: chosen here, nothing on machines where
additions take the place of multiply-adds, and only where layers of one shape together save so much per call, and of
what all 1x1 convolutions take, that their kernel is worth compiling, which takes longer; 0: none is taken). `depth`:
channels of a piece, at most.
Runs after linalg-block-layouts (it reads that layout). Runs before linalg-hoist-constants (which prepares the filters
when the model is compiled).
Preserves: the same polynomial of inputs and weights; rounding as its own arithmetic gives it.
Tests: tests/lowering/linalg/linalg_winograd_pointwise.mlir, tests/lowering/linalg/test_winograd_pointwise.py
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Any

from xdsl.dialects.builtin import DYNAMIC_INDEX, ModuleOp, f32
from xdsl.dialects.linalg.ops import GenericOp

from mlc.dialects.linalg_ext.winograd_matmul_ops import (
    GROUP,
    SUMS,
    WinogradMatmulOp,
    WinogradMatmulWeightsOp,
    padded,
    room,
)
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Reassociates
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.linalg.build import At, behind
from mlc.lowering.linalg.prepared_products import (
    filter_panels,
    is_pointwise,
    pixels_of,
    pointwise_obstacle,
    replace,
    stride_of,
)
from mlc.lowering.linalg.structure import erase_dead, functions_to_lower, nested_blocks, shape_of
from mlc.lowering.linalg.winograd_cost import depth_of

DEPTH = 256
"""Channels of a piece, at most."""
GAIN = 90
"""Of the direct time, in percent: what the estimate must stay under."""
LEAST_SAVED = 150_000
"""Cycles of a call that all layers of one shape save together: their kernel takes about 0.1 s longer to compile."""
LEAST_PART = 0.012
"""The same, of the cycles that all 1x1 convolutions take directly."""
PREPARED = 8.0
"""Cycles that a vector of inputs takes to be squared, scaled and summed up in pairs."""
PIXEL = 30.0
"""Cycles that the factors of a pixel take, and reading and writing its numbers."""
SUMMED = 3.0
"""Cycles in which a vector of the sums of a piece is added to the output."""
LEAST_PIXELS = 12
"""Of an image: fewer do not hide the latency of two multiply-adds one after the other."""
BUSY = 0.9
"""Of what the units can start in a cycle, what products of pairs do."""


@dataclass(frozen=True)
class LinalgWinogradPointwise(MlcPass):
    """See the module."""

    name = "linalg-winograd-pointwise"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Reassociates("weights scaled by powers of two; terms of a sum in pairs, pieces added to each other"),
        profile="linalg-winograd-pointwise",
        options=({"gain": 1 << 20, "depth": 8}, {"gain": 300}, {}),
        establishes=("1x1 convolutions that gain by it are Winograd's",),
        nests=True,
    )

    gain: int = option(-1, Span(1, 1 << 20, special=(0, -1)))
    depth: int = option(DEPTH, Span(1, 1 << 20))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for entry in functions_to_lower(module.ops):
            for block in nested_blocks(entry):
                found = [op for op in block.ops if isinstance(op, GenericOp) and is_pointwise(op)]
                alike = Counter(map(_shape, found))
                worth = max(LEAST_SAVED, LEAST_PART * sum(map(_direct, found)))
                if any([self._rewrite(ctx, op, alike[_shape(op)], worth) for op in found]):
                    erase_dead(block)

    def _rewrite(self, ctx: MlcContext, op: GenericOp, alike: int, worth: float) -> bool:
        reason = self._obstacle(ctx, op, alike, worth)
        if reason:
            ctx.remarks.missed(self.name, op, "kept direct", reason=reason)
            return False
        at = At(op)
        x = pixels_of(at, op)
        images, blocks, height, width, lanes = shape_of(x)
        depth = depth_of(blocks * lanes, lanes, self.depth)
        pieces = blocks * lanes // depth
        before = behind(op.inputs[1], op.location)
        panels = filter_panels(before, op)
        operands = [
            x,
            before.add(WinogradMatmulWeightsOp(panels, depth)).result,
            op.outputs[0],
            at.empty([images, height, width, pieces, room(depth)], f32),
            at.empty([SUMS + pieces, images, height, width], f32),
        ]
        new = at.add(WinogradMatmulOp(operands, depth))
        replace(op, new)
        ctx.remarks.applied(
            self.name,
            new,
            "channels in pairs",
            depth=depth,
            pixels=images * height * width,
            channels=blocks * lanes,
        )
        return True

    def _obstacle(self, ctx: MlcContext, op: GenericOp, alike: int, worth: float) -> str:
        limit = self.limit(ctx.machine)
        if limit == 0:
            return "switched off" if self.gain == 0 else "additions take the place of multiply-adds"
        if reason := pointwise_obstacle(op):
            return reason
        filters, pixels = shape_of(op.inputs[1]), shape_of(op.outputs[0])[2:4]
        if self.gain < 0 and filters[5] < ctx.machine.lanes(32):
            return f"blocks of {filters[5]} filters do not fill a vector"
        channels, beside, lanes = filters[1] * filters[4], *filters[4:]
        percent = cost(channels, filters[0] * lanes, prod(pixels), beside, lanes, self.depth)
        if percent >= limit:
            return f"estimated at {percent:.0f} % of the direct time"
        saved = round(alike * _direct(op) * (100 - percent) / 100)
        if self.gain >= 0 or saved >= worth:
            return ""
        return f"all {alike} like it would save {saved} cycles, {round(worth)} are worth another kernel"

    def limit(self, machine: Any) -> int:
        """What the estimate must stay under."""
        return self.gain if self.gain >= 0 else GAIN if machine is not None and machine.adds_beside_fma else 0


def _direct(op: GenericOp) -> int:
    """Cycles of the direct way, a vector of outputs and a channel in each; 0 for open sizes."""
    output, filters = shape_of(op.outputs[0]), shape_of(op.inputs[1])
    sizes = (*output[:4], filters[1], filters[4])
    return 0 if DYNAMIC_INDEX in sizes else prod(sizes)


def cost(channels: int, filters: int, pixels: int, beside: int, lanes: int, most: int = DEPTH) -> float:
    """What the products of pairs take with all that belongs to them, in percent of the direct time.

    Per pixel: vectors of channels are prepared, vectors of sums added to the output once per piece.
    """
    depth = depth_of(channels, beside, most)
    pieces = channels // depth
    outputs = filters // lanes
    products = pieces * padded(depth) * outputs * (GROUP - 2) / GROUP / BUSY * max(1.0, LEAST_PIXELS / pixels)
    prepared = PIXEL + PREPARED * pieces * room(depth) / lanes
    return 100 * (products + prepared + SUMMED * pieces * outputs) / (channels * outputs)


def _shape(op: GenericOp) -> tuple[object, ...]:
    """What layers have in common whose kernel is one."""
    return (*map(shape_of, op.operands), stride_of(op))
