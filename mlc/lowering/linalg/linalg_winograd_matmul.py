"""Compute products with constant weights by Winograd's inner product where additions cost nothing beside multiply-adds.

    %p = linalg.pack %w …tensor<48x768x16xf32>
    %r = linalg.generic (m, n1, n0, k) ins(%x, %p) outs(%o : tensor<128x48x16xf32>)
      -->
    %c = linalg_ext.winograd_matmul_weights %p {depth = 256}
    %r, … = linalg_ext.winograd_matmul ins(%x, %c) outs(%o, %scaled, %rows) {depth = 256}

What: products of f32 over packed panels (linalg-pack-matmul) with static sizes, of enough rows that weights are used
often and enough columns that preparing the rows costs little. `columns`: the least that are taken (-1: those that gain
on the machine, none where additions take the place of multiply-adds; 0: none). `depth`: terms of a piece, about.
Runs after linalg-pack-matmul (it reads that layout). Runs before linalg-hoist-constants (which prepares the weights
when the model is compiled).
Preserves: the same polynomial of inputs and weights; rounding as its own arithmetic gives it.
Tests: tests/lowering/linalg/linalg_winograd_matmul.mlir, tests/lowering/linalg/test_winograd_matmul.py
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import ModuleOp, f32
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import SSAValue

from mlc.dialects.linalg_ext.winograd_matmul_ops import (
    SUMS,
    WinogradMatmulOp,
    WinogradMatmulWeightsOp,
    padded,
    room,
    weight_rows,
)
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Reassociates
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.linalg.build import At, behind
from mlc.lowering.linalg.prepared_products import (
    is_product_of_panels,
    product_obstacle,
    read_prepared,
    reads_of,
    replace,
)
from mlc.lowering.linalg.structure import erase_dead, functions_to_lower, nested_blocks, shape_of

DEPTH = 256
"""Terms of a piece: a panel of them and a tile of rows share the first-level cache; short sums round less."""
LEAST_ROWS = 6
"""Fewer do not hide the latency of two multiply-adds one after the other."""
LEAST_TERMS = 48
"""Fewer do not pay for what every row and column needs besides."""
LEAST_COLUMNS = 96
"""Fewer columns do not pay for preparing the rows."""


@dataclass(frozen=True)
class LinalgWinogradMatmul(MlcPass):
    """See the module."""

    name = "linalg-winograd-matmul"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Reassociates(
            "weights scaled by powers of two; the terms of a sum in pairs, pieces added to each other"
        ),
        profile="linalg-winograd-matmul",
        options=({"columns": 1, "depth": 8}, {"columns": 5}, {}),
        establishes=("products over panels that gain by it are Winograd's",),
        nests=True,
    )

    columns: int = option(-1, Span(1, 1 << 20, special=(0, -1)))
    depth: int = option(DEPTH, Span(1, 1 << 20))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for entry in functions_to_lower(module.ops):
            for block in nested_blocks(entry):
                found = [op for op in block.ops if is_product_of_panels(op)]
                rewritten = [op for op in found if isinstance(op, GenericOp) and self._rewrite(ctx, op)]
                if rewritten:
                    erase_dead(block)

    def _rewrite(self, ctx: MlcContext, op: GenericOp) -> bool:
        reason = self._obstacle(ctx, op)
        if reason:
            ctx.remarks.missed(self.name, op, "kept as it is", reason=reason)
            return False
        at = At(op)
        x, panels = op.inputs
        (rows, terms), (blocks, _, lanes) = shape_of(x), shape_of(panels)
        depth = depth_of(terms, self.depth)
        pieces = terms // depth
        weights = behind(panels, op.location).add(WinogradMatmulWeightsOp(panels, depth)).result
        for read in reads_of(panels):
            _read(read, weights, depth, terms)
        operands = [
            x,
            weights,
            op.outputs[0],
            at.empty([rows, pieces, room(depth)], f32),
            at.empty([SUMS + pieces, rows], f32),
        ]
        new = at.add(WinogradMatmulOp(operands, depth))
        replace(op, new)
        columns = blocks * lanes
        ctx.remarks.applied(self.name, new, "terms in pairs", depth=depth, rows=rows, columns=columns)
        return True

    def _obstacle(self, ctx: MlcContext, op: GenericOp) -> str:
        gains = ctx.machine is not None and ctx.machine.adds_beside_fma
        if self.columns == 0 or (self.columns < 0 and not gains):
            return "switched off" if self.columns == 0 else "additions take the place of multiply-adds"
        if reason := product_obstacle(op):
            return reason
        rows, blocks, lanes = shape_of(op.outputs[0])
        columns = blocks * lanes
        if columns < (LEAST_COLUMNS if self.columns < 0 else self.columns):
            return f"{columns} columns"
        if self.columns < 0 and rows < LEAST_ROWS:
            return f"{rows} rows"
        terms = shape_of(op.inputs[0])[1]
        return f"{terms} terms" if terms < (LEAST_TERMS if self.columns < 0 else 2) else ""


def depth_of(terms: int, most: int) -> int:
    """Terms of a piece: as even a split as there is into pieces of about `most`; all where none is near."""
    wanted, fewest = -(-terms // most), -(-2 * terms // (3 * most))
    for pieces in (*range(wanted, 2 * wanted + 1), *range(wanted - 1, fewest - 1, -1)):
        if terms % pieces == 0:
            return terms // pieces
    return terms


def _read(read: tensor.ExtractOp, weights: SSAValue, depth: int, terms: int) -> None:
    """An element of the panels from the prepared weights."""
    at = At(read)
    block, term, lane = read.indices
    size, whole = at.index(depth), at.index(padded(depth))
    piece, within = at.add(arith.DivUIOp(term, size)).result, at.add(arith.RemUIOp(term, size)).result
    row = at.add(arith.AddiOp(at.add(arith.MuliOp(piece, whole)).result, within)).result
    read_prepared(read, weights, [block, row, lane], weight_rows(terms, depth) - 2)
