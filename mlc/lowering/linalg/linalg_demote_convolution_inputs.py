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
from xdsl.dialects.builtin import ModuleOp, bf16, f32
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import Block, BlockArgument, OpResult, SSAValue

from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Narrows
from mlc.ir.passes import MlcPass
from mlc.lowering.linalg.blocked_convolution import is_blocked_convolution
from mlc.lowering.linalg.build import behind, converted, pads_with_zeros
from mlc.lowering.linalg.narrow_sources import extended
from mlc.lowering.linalg.paired_convolution import PairedConvolutions, over_pairs, paired_filters
from mlc.lowering.linalg.precision_tally import Tally
from mlc.lowering.linalg.structure import (
    erase_dead,
    functions_to_lower,
    is_elementwise,
    nested_blocks,
    shape_of,
    users,
)


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
        self.ctx, self.pass_name, self.tally = ctx, options.name, tally
        self.convolutions = PairedConvolutions(ctx, options.pairs, options.winograd)
        self.rounded: dict[SSAValue, SSAValue] = {}

    def block(self, block: Block) -> None:
        for op in list(block.ops):
            if not isinstance(op, GenericOp) or not is_blocked_convolution(op):
                continue
            reason = self.convolutions.obstacle(op)
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

    def _rewrite(self, op: GenericOp) -> None:
        x, pack = op.inputs
        narrow = self._narrow(x)
        if pack not in self.rounded:
            self.rounded[pack] = paired_filters(pack, lambda body, w: body.op(arith.TruncFOp, w, bf16))
        new = over_pairs(op, narrow, self.rounded[pack])
        self.ctx.remarks.applied(
            self.pass_name, new.op, "operands in bf16, sums in f32", rule="pairs", shape=list(shape_of(x))
        )

    def _narrow(self, value: SSAValue) -> SSAValue:
        """`value` in bf16, made where `value` is."""
        if value not in self.rounded:
            self.rounded[value] = self._rounding(value)
        return self.rounded[value]

    def _rounding(self, value: SSAValue) -> SSAValue:
        if (source := extended(value)) is not None:
            return source
        at = behind(value)
        match value.owner:
            case tensor.PadOp() as pad if pads_with_zeros(pad):
                return at.pad(pad, self._narrow(pad.source), at.scalar(0.0, bf16))
            case tensor.ConcatOp() as concat:
                return at.concat(concat, [self._narrow(v) for v in concat.inputs])
            case _:
                return converted(at, value, arith.TruncFOp, bf16)

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
        wide = converted(behind(narrow), narrow, arith.ExtFOp, f32)
        for op in readers:
            for i, operand in enumerate(op.operands):
                if operand is value:
                    op.operands[i] = wide
            self.ctx.remarks.applied(self.pass_name, op, "reads a rounded value", rule="stored-narrow")
