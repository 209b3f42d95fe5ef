"""Convolutions in blocked layout over pairs of channels of bf16, sums in f32, for machines that multiply pairs.

    %y = linalg.generic (n, f1, oh, ow, f0, c1, kh, kw, c0) ins(%x, %w) outs(%start)
      -->
    %b = linalg.generic ins(%w) in pairs of c0                             // a constant expression
    %y = linalg.generic (n, f1, oh, ow, f0, c1, kh, kw, c0/2, c0%2) ins(%a, %b : …xbf16) outs(%start : …xf32)

Part of linalg-demote-convolution-inputs, which rounds both operands, and of linalg-fold-arith-extension, whose operands
are bf16 that was extended; tested with them.
"""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects import arith
from xdsl.dialects.builtin import AffineMapAttr, bf16, f32
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import OpResult, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap

from mlc.dialects.linalg.relayout_ops import PackOp
from mlc.ir.context import MlcContext
from mlc.lowering.linalg.build import At, Body, behind
from mlc.lowering.linalg.linalg_hoist_constants import is_hoisted
from mlc.lowering.linalg.linalg_winograd_conv2d import layer_of
from mlc.lowering.linalg.structure import dims_map, identity_map, maps_of, shape_of
from mlc.lowering.linalg.winograd_cost import choose

PAIRED, TILED = 0.5, 0.3
"""Of the direct time in f32, what pairs of bf16 take by vectors, and through a matrix unit."""


class PairedConvolutions:
    """Which convolutions become ones over pairs. `pairs`: whether the machine multiplies them; None: as its model says.
    `winograd`: leave what Winograd's tiles compute in less time to them."""

    def __init__(self, ctx: MlcContext, pairs: bool | None, winograd: bool) -> None:
        machine = ctx.machine
        self.machine, self.winograd = machine, winograd
        self.pairs = pairs if pairs is not None else machine is not None and machine.dot_bf16
        self.share = TILED if pairs is None and machine is not None and machine.tile_bf16 else PAIRED
        self.lanes = machine.lanes(32) // 2 if machine is not None and pairs is None else 1

    def obstacle(self, op: GenericOp) -> str:
        """Why `op`, a convolution in blocked layout, stays as it is, or nothing."""
        if not self.pairs:
            return "the machine does not multiply pairs of bf16"
        pack = op.inputs[1].owner
        if not isinstance(pack, PackOp) or not is_hoisted(pack.source):
            return "filters that are not constant"
        in_block, out_block = shape_of(op.inputs[1])[4:]
        if in_block % 2 or out_block % self.lanes:
            return f"blocks of {in_block} and {out_block} channels"
        layer = layer_of(op) if self.winograd else None
        if layer is not None and min(layer.rows, layer.columns) > 1:
            cost = choose(layer, self.machine, group=1).cost
            if cost < self.share:
                return f"Winograd's tiles take {cost:.2f} of the direct time, pairs {self.share}"
        return ""


def over_pairs(op: GenericOp, x: SSAValue, filters: SSAValue) -> OpResult:
    """Let `op` read `x` and `filters`, of bf16, the filters in pairs of channels."""
    loops = [AffineDimExpr(i) for i in range(10)]
    channel = loops[8] * 2 + loops[9]
    images = maps_of(op)[0].replace_dims_and_symbols([*loops[:8], channel], [], 10, 0)
    read = AffineMap(10, 0, tuple(loops[d] for d in (1, 5, 6, 7, 8, 4, 9)))
    new = At(op).generic(
        [(x, AffineMapAttr(images)), (filters, AffineMapAttr(read))],
        [(op.outputs[0], dims_map(10, (0, 1, 2, 3, 4)))],
        "ppppprrrrr",
        lambda body, a, b, total: body.op(
            arith.AddfOp, total, body.op(arith.MulfOp, body.op(arith.ExtFOp, a, f32), body.op(arith.ExtFOp, b, f32))
        ),
    )
    new.name_hint = op.results[0].name_hint
    op.results[0].replace_all_uses_with(new)
    op.detach()
    op.erase()
    assert isinstance(new, OpResult)
    return new


def paired_filters(pack: SSAValue, narrow: Callable[[Body, SSAValue], SSAValue]) -> SSAValue:
    """Packed filters in pairs of channels, made before whatever stands behind `pack`; `narrow`: bf16 of an element."""
    before = behind(pack)
    *sizes, in_block, out_block = shape_of(pack)
    split = before.expand(pack, [(0,), (1,), (2,), (3,), (4, 5), (6,)], [*sizes, in_block // 2, 2, out_block])
    paired = before.empty([*sizes, in_block // 2, out_block, 2], bf16)
    return before.generic(
        [(split, dims_map(7, (0, 1, 2, 3, 4, 6, 5)))],
        [(paired, identity_map(7))],
        "ppppppp",
        lambda body, w, _: narrow(body, w),
    )
