"""xDSL's `canonicalize`, kept to mlc's promises: under the same name, in place of upstream's.

    %c2 = arith.constant 2.0 : f32
    %0 = arith.mulf %c2, %c2 : f32      -->   %0 = arith.constant 4.0 : f32, at the place in the source of the product

What: xDSL's folders and canonicalization patterns, unchanged, with two differences. Each new op takes the location of
the op it came from, and a fold that Python cannot represent (an f32 that overflows) is left to run time instead of
ending the compilation.
Runs anywhere. Tests: tests/properties/test_passes.py, tests/tools/canonicalize.mlir
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import UNKNOWN_LOC, LocationAttr, ModuleOp
from xdsl.ir import Operation
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriterListener,
    PatternRewriteWalker,
    RewritePattern,
)
from xdsl.transforms.canonicalize import CanonicalizationRewritePattern
from xdsl.transforms.dead_code_elimination import region_dce

from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.locations import with_location
from mlc.ir.passes import MlcPass


@dataclass(frozen=True)
class Canonicalize(MlcPass):
    """Fold constants and apply the canonicalization patterns of the ops."""

    name = "canonicalize"
    contract: ClassVar[Contract] = Contract(
        level_in="any", level_out="any", preserves=Bitwise(), profile="any", idempotent=False, nests=True
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        pattern = _Located(ctx, self.name)
        listener = PatternRewriterListener(operation_insertion_handler=[pattern.inserted])
        PatternRewriteWalker(pattern, post_walk_func=region_dce, listener=listener).rewrite_module(module)


class _Located(RewritePattern):
    """Rewrites one op, and gives what it becomes the op's location."""

    def __init__(self, ctx: MlcContext, pass_name: str) -> None:
        self.ctx, self.pass_name = ctx, pass_name
        self.location: LocationAttr = UNKNOWN_LOC
        patterns: list[RewritePattern] = [CanonicalizationRewritePattern()]
        base: Context = ctx
        self.fold = GreedyRewritePatternApplier(patterns, base, folding_enabled=True)
        self.rewrite = GreedyRewritePatternApplier(patterns, base)

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter, /) -> None:
        self.location = op.location
        for attempt in (self.fold, self.rewrite):
            try:
                attempt.match_and_rewrite(op, rewriter)
                break
            except OverflowError:  # raised while the folded constant is made, before anything has changed
                continue
        if rewriter.has_done_action:
            self.ctx.remarks.count(self.pass_name, self.pass_name)

    def inserted(self, op: Operation) -> None:
        """A new op."""
        with_location(op, self.location)
