"""Round the operands of convolutions with constant filters to bf16, filters in pairs of channels; the sums stay f32.

    %y = linalg.generic (n, f1, oh, ow, f0, c1, kh, kw, c0) ins(%x, %w) outs(%zero)        // blocked layout
      -->
    %a = linalg.generic ins(%x) { arith.truncf }                           // once for all convolutions that read %x
    %b = linalg.generic ins(%w) { arith.truncf } in pairs of c0            // a constant expression
    %y = linalg.generic (n, f1, oh, ow, f0, c1, kh, kw, c0/2, c0%2) ins(%a, %b : …xbf16) outs(%zero : …xf32)

What: `mlc.compile(precision="bfloat16")` runs it, on machines that multiply pairs of bf16 (`pairs`; others keep f32:
filters are read again for every few pixels, so halving their bytes gains nothing). Rounding goes up through padding
with zeros and concatenations to where the value is made, and where all else that reads the value is elementwise (the
sum of a residual block), that reads the rounded one: the value is stored once, as bf16.
Convolutions whose filters are not constant or fill less than half a vector stay as they are, with a remark, and so do
3x3 ones that Winograd's tiles compute in less time in f32 (`winograd`: leave those to linalg-winograd-conv2d).
Runs after linalg-block-layouts (it reads that layout). Runs before linalg-winograd-conv2d,
linalg-winograd-pointwise and linalg-hoist-constants (which rounds the filters when the model is compiled).
Preserves: |error| <= sum of |x w| (2u + u^2), u = 2^-8, and a rounding of what is added to a rounded value's reader.
Machines take operands below 2^-126 for zero (eager in bf16 does so, too), those above bf16's largest become infinite.
Tests: tests/lowering/linalg/linalg_demote_convolution_inputs.mlir, tests/api/test_precision.py
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import AffineMapAttr, FloatAttr, ModuleOp, TensorType, bf16, f32
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import Attribute, Block, BlockArgument, Operation, OpResult, Region, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap

from mlc.dialects.linalg.relayout_ops import PackOp
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Narrows
from mlc.ir.passes import MlcPass
from mlc.lowering.linalg.blocked_convolution import is_blocked_convolution
from mlc.lowering.linalg.build import At
from mlc.lowering.linalg.linalg_hoist_constants import is_hoisted
from mlc.lowering.linalg.linalg_winograd_conv2d import layer_of
from mlc.lowering.linalg.precision_tally import Tally
from mlc.lowering.linalg.structure import (
    dims_map,
    erase_dead,
    functions_to_lower,
    identity_map,
    is_elementwise,
    maps_of,
    nested_blocks,
    shape_of,
    users,
)
from mlc.lowering.linalg.winograd_cost import choose

PAIRED, TILED = 0.5, 0.3
"""Of the direct time in f32, what pairs of bf16 take by vectors, and through a matrix unit."""


@dataclass(frozen=True)
class LinalgDemoteConvolutionInputs(MlcPass):
    """See the module."""

    name = "linalg-demote-convolution-inputs"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Narrows(16, "operands of convolutions with constant filters are rounded to bf16, once each"),
        profile="linalg-demote-convolutions",
        options=({"pairs": True}, {"pairs": True, "winograd": False}),
        establishes=("convolutions with constant filters read bf16 or are left to Winograd",),
        nests=True,
        rules={
            "pairs": "a convolution of f32 with constant filters -> of bf16 with pairs of channels",
            "stored-narrow": "elementwise readers of what such convolutions read -> read the rounded value",
        },
    )

    pairs: bool | None = None
    winograd: bool = True

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for entry in functions_to_lower(module.ops):
            tally = Tally(ctx, self.name, "operands not rounded")
            for block in nested_blocks(entry):
                _Demotion(ctx, self, tally).block(block)
            tally.tell(entry, "no convolution reads bf16")


class _Demotion:
    """One block. `rounded`: what has been rounded in it already."""

    def __init__(self, ctx: MlcContext, options: LinalgDemoteConvolutionInputs, tally: Tally) -> None:
        self.ctx, self.pass_name, self.winograd = ctx, options.name, options.winograd
        self.tally = tally
        pairs = options.pairs
        self.pairs = pairs if pairs is not None else ctx.machine is not None and ctx.machine.dot_bf16
        tiled = pairs is None and ctx.machine is not None and ctx.machine.tile_bf16
        self.share = TILED if tiled else PAIRED
        self.lanes = ctx.machine.lanes(32) // 2 if ctx.machine is not None and options.pairs is None else 1
        self.rounded: dict[SSAValue, SSAValue] = {}

    def block(self, block: Block) -> None:
        for op in list(block.ops):
            if not isinstance(op, GenericOp) or not is_blocked_convolution(op):
                continue
            reason = self._obstacle(op)
            if reason:
                self.tally.keep(op, reason, "convolutions")
            else:
                self._rewrite(op)
                self.tally.changed += 1
        if self.rounded:
            erase_dead(block)  # convolutions that were, and what only they read
            for value, narrow in self.rounded.items():
                self._store_narrow(value, narrow, block)
            erase_dead(block)

    def _obstacle(self, op: GenericOp) -> str:
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
            cost = choose(layer, self.ctx.machine, group=1).cost
            if cost < self.share:
                return f"Winograd's tiles take {cost:.2f} of the direct time, pairs {self.share}"
        return ""

    def _rewrite(self, op: GenericOp) -> None:
        x, narrow = op.inputs[0], self._narrow(op.inputs[0])
        at = At(op)
        loops = [AffineDimExpr(i) for i in range(10)]
        channel = loops[8] * 2 + loops[9]
        images = maps_of(op)[0].replace_dims_and_symbols([*loops[:8], channel], [], 10, 0)
        filters = AffineMap(10, 0, tuple(loops[d] for d in (1, 5, 6, 7, 8, 4, 9)))
        output = dims_map(10, (0, 1, 2, 3, 4))
        new = at.generic(
            [(narrow, AffineMapAttr(images)), (self._filters(op), AffineMapAttr(filters))],
            [(op.outputs[0], output)],
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
        self.ctx.remarks.applied(
            self.pass_name, new.op, "operands in bf16, sums in f32", rule="pairs", shape=list(shape_of(x))
        )

    def _filters(self, op: GenericOp) -> SSAValue:
        """The filters in pairs of channels, before whatever stands behind their pack."""
        pack = op.inputs[1]
        assert isinstance(pack, OpResult)
        if pack in self.rounded:
            return self.rounded[pack]
        before = _behind(pack)
        *sizes, in_block, out_block = shape_of(pack)
        groups = [(0,), (1,), (2,), (3,), (4, 5), (6,)]
        split = before.expand(pack, groups, [*sizes, in_block // 2, 2, out_block])
        paired = before.empty([*sizes, in_block // 2, out_block, 2], bf16)
        result = before.generic(
            [(split, dims_map(7, (0, 1, 2, 3, 4, 6, 5)))],
            [(paired, identity_map(7))],
            "ppppppp",
            lambda body, w, _: body.op(arith.TruncFOp, w, bf16),
        )
        self.rounded[pack] = result
        return result

    def _narrow(self, value: SSAValue) -> SSAValue:
        """`value` in bf16, made where `value` is."""
        if value not in self.rounded:
            self.rounded[value] = self._rounding(value)
        return self.rounded[value]

    def _rounding(self, value: SSAValue) -> SSAValue:
        at = _behind(value)
        match value.owner:
            case tensor.PadOp() as pad if _pads_with_zeros(pad):
                source = self._narrow(pad.source)
                zero = at.scalar(0.0, bf16)
                ty = TensorType(bf16, shape_of(pad.result))
                block = Block(arg_types=[a.type for a in pad.region.block.args])
                end = tensor.YieldOp(zero)
                end.location = pad.location
                block.add_op(end)
                new = tensor.PadOp.build(
                    operands=[source, list(pad.low), list(pad.high)],
                    regions=[Region(block)],
                    properties={"static_low": pad.static_low, "static_high": pad.static_high},
                    result_types=[ty],
                )
                return at.add(new).result
            case tensor.ConcatOp() as concat:
                inputs = [self._narrow(v) for v in concat.inputs]
                ty = TensorType(bf16, shape_of(concat.result))
                new = tensor.ConcatOp.build(operands=[inputs], properties={"dim": concat.dim}, result_types=[ty])
                return at.add(new).result
            case _:
                return _converted(at, value, arith.TruncFOp, bf16)

    def _store_narrow(self, value: SSAValue, narrow: SSAValue, block: Block) -> None:
        """Let who reads `value` elementwise read the rounded one, if then nobody reads `value` itself any more."""
        rounding = narrow.owner
        if any(isinstance(v, OpResult) and v.op.parent_block() is not block for v in (value, narrow)):
            return  # what nobody reads is gone
        if not isinstance(rounding, GenericOp) or list(rounding.inputs) != [value] or isinstance(value, BlockArgument):
            return
        readers = [op for op in users(value, block) if op is not rounding]
        if not readers or not all(is_elementwise(op) for op in readers):
            return
        wide = _converted(_behind(narrow), narrow, arith.ExtFOp, f32)
        for op in readers:
            for i, operand in enumerate(op.operands):
                if operand is value:
                    op.operands[i] = wide
            self.ctx.remarks.applied(self.pass_name, op, "reads a rounded value", rule="stored-narrow")


def _behind(value: SSAValue) -> At:
    """Where ops on `value` may stand first."""
    owner = value.owner
    following = owner.next_op if isinstance(owner, Operation) else owner.first_op
    assert following is not None
    return At(following, owner.location if isinstance(owner, Operation) else None)


def _converted(at: At, value: SSAValue, kind: type[Operation], element: Attribute) -> SSAValue:
    same = identity_map(len(shape_of(value)))
    out = at.empty(at.sizes(value), element)
    kinds = "p" * len(shape_of(value))
    return at.generic([(value, same)], [(out, same)], kinds, lambda body, x, _: body.op(kind, x, element))


def _pads_with_zeros(op: tensor.PadOp) -> bool:
    last = op.region.block.last_op
    if last is None or not isinstance(last.operands[0], OpResult):
        return False
    constant = last.operands[0].owner
    return (
        isinstance(constant, arith.ConstantOp)
        and isinstance(constant.value, FloatAttr)
        and str(constant.value.value.data) == "0.0"  # not -0.0
    )
