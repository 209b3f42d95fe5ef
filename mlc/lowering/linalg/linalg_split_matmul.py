"""Compute products with constant weights through a matrix unit for bf16, every number as the sum of three.

    %p = linalg.pack %w …tensor<48x768x16xf32>
    %r = linalg.generic (m, n1, n0, k) ins(%x, %p) outs(%o : tensor<128x48x16xf32>)
      -->
    %s = linalg_ext.split_matmul_weights %p
    %r, … = linalg_ext.split_matmul ins(%x, %s) outs(%o, %parts, %rows)

    %y = linalg.generic (n, f1, oh, ow, f0, c1, kh, kw, c0) ins(%x, %f) outs(%zero)     %f: 1x1 filters
      -->
    %p = tensor.collapse_shape %f [[0], [1, 2, 3, 4], [5]]
    %s = linalg_ext.split_matmul_weights %p
    %y, … = linalg_ext.split_matmul ins(%x, %s) outs(%zero, %parts, %rows)

What: products of f32 over packed panels of 16 columns (linalg-pack-matmul) and convolutions in blocked layout with 1x1
filters, not padded, of blocks of 16 (with a stride, the pixels that count are a slice of the input), whose weights are
constant and whose sizes are static, of so many rows and columns that splitting them costs less than it saves.
`gain`: of the direct time in percent, what the estimate must stay under (-1: chosen here, nothing on machines without
such a unit, and no convolutions, which gain on one thread and lose on two; of products those that save enough together
with all of their shape that a kernel is worth compiling; 0: none is taken). `depth`: terms of a piece, at most.
Runs after linalg-pack-matmul and linalg-block-layouts (it reads their layouts), linalg-winograd-matmul and
linalg-winograd-pointwise (what they take is not left). Runs before linalg-hoist-constants (which prepares the weights
when the model is compiled).
Preserves: the same polynomial of inputs and weights, but for terms less than a rounding; rounding as its own arithmetic
gives it.
Tests: tests/lowering/linalg/linalg_split_matmul.mlir, tests/lowering/linalg/test_split_matmul.py
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from xdsl.dialects import tensor
from xdsl.dialects.builtin import DYNAMIC_INDEX, ModuleOp, bf16, f32
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import SSAValue

from mlc.dialects.linalg_ext.prepared_matmul import NUMBERS
from mlc.dialects.linalg_ext.split_matmul_ops import (
    LANES,
    PARTS,
    PRODUCTS,
    SplitMatmulOp,
    SplitMatmulWeightsOp,
    filled,
    panels_shape,
    parts_shape,
    weights_shape,
)
from mlc.ir.context import MlcContext
from mlc.ir.contract import Contract, Reassociates
from mlc.ir.passes import MlcPass, Span, option
from mlc.lowering.linalg.build import At, behind
from mlc.lowering.linalg.prepared_products import (
    filter_panels,
    is_pointwise,
    is_product_of_panels,
    pixels_of,
    pointwise_obstacle,
    product_obstacle,
    read_prepared,
    reads_of,
    replace,
)
from mlc.lowering.linalg.structure import erase_dead, functions_to_lower, nested_blocks, shape_of

GAIN = 90
"""Of the direct time, in percent: what the estimate must stay under."""
LEAST_ROWS = 32
"""Fewer do not fill the tiles that the unit multiplies at a time."""
LEAST_COLUMNS = 64
"""Fewer do not pay for splitting the rows."""
DIRECT = 32 * 0.85
"""Multiply-adds of f32 in a cycle, by vectors."""
UNIT = 512 * 0.7
"""Multiply-adds of bf16 in a cycle, by the matrix unit."""
SPLIT, PREPARED, SUMMED = 0.6, 0.5, 10.0
"""Cycles in which a number of the inputs is scaled and split; in which one of the weights is split, for every group of
rows; in which a vector of sums is scaled back and added to the output."""
CACHED = 1.3e6
"""Bytes of the second-level cache that the parts of a group of rows share with those of two panels of weights."""
LEAST_PART = 0.018
"""Of the cycles that all products take directly, what those of one shape save together so that a kernel is worth it."""
DEPTH = 768
"""Terms of a piece, at most: their parts, and those of rows beside them, stay in the second-level cache."""


@dataclass(frozen=True)
class LinalgSplitMatmul(MlcPass):
    """See the module."""

    name = "linalg-split-matmul"
    contract = Contract(
        level_in="linalg",
        level_out="linalg",
        preserves=Reassociates(
            "weights scaled by powers of two; numbers as sums of parts, the least products left out"
        ),
        profile="linalg-split-matmul",
        options=({"gain": 1 << 20}, {"gain": 1 << 16, "depth": 32}, {"gain": 4000}),
        establishes=("products with constant weights that gain by it go through the matrix unit for bf16",),
        nests=True,
    )

    gain: int = option(-1, Span(1, 1 << 20, special=(0, -1)))
    depth: int = option(DEPTH, Span(1, 1 << 20))

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for entry in functions_to_lower(module.ops):
            for block in nested_blocks(entry):
                found = [op for op in block.ops if is_product_of_panels(op) or is_pointwise(op)]
                products = [op for op in found if isinstance(op, GenericOp)]
                alike = Counter(map(_shape, products))
                worth = LEAST_PART * sum(map(_direct, products))
                if any([self._rewrite(ctx, op, alike[_shape(op)], worth) for op in products]):
                    erase_dead(block)

    def _rewrite(self, ctx: MlcContext, op: GenericOp, alike: int, worth: float) -> bool:
        reason = self._obstacle(ctx.machine, op, alike, worth)
        if reason:
            ctx.remarks.missed(self.name, op, "kept as it is", reason=reason)
            return False
        rows, terms, columns = _sizes(op)
        at, before = At(op), behind(op.inputs[1], op.location)
        panels, x = op.inputs[1], op.inputs[0]
        if is_pointwise(op):
            panels, x = filter_panels(before, op), pixels_of(at, op)
        weights = before.add(SplitMatmulWeightsOp(panels)).result
        for read in reads_of(panels):
            _read(read, weights, terms)
        count, _, *pixels = shape_of(op.outputs[0])[:-1]
        operands = [
            x,
            weights,
            op.outputs[0],
            at.empty(parts_shape(rows, terms), bf16),
            at.empty([NUMBERS, count, *pixels], f32),
            at.empty(panels_shape(terms, self.depth), bf16),
        ]
        new = at.add(SplitMatmulOp(operands))
        replace(op, new)
        ctx.remarks.applied(self.name, new, "numbers in three parts", rows=rows, terms=terms, columns=columns)
        return True

    def _obstacle(self, machine: Any, op: GenericOp, alike: int, worth: float) -> str:
        limit = self._limit(machine)
        if limit == 0:
            return "switched off" if self.gain == 0 else "no matrix unit for bf16"
        if reason := pointwise_obstacle(op) if is_pointwise(op) else product_obstacle(op):
            return reason
        *_, beside, lanes = shape_of(op.inputs[1])
        rows, terms, columns = _sizes(op)
        if lanes != LANES:
            return f"panels of {lanes} columns"
        if is_pointwise(op) and beside != LANES:
            return f"blocks of {beside} channels"
        if terms % LANES:
            return f"{terms} terms"
        if self.gain < 0 and is_pointwise(op):
            return "on several threads the parts of pixels come from other cores' caches"
        if self.gain < 0 and rows < LEAST_ROWS:
            return f"{rows} rows"
        if self.gain < 0 and columns < LEAST_COLUMNS:
            return f"{columns} columns"
        percent = cost(rows, terms, columns)
        if percent >= limit:
            return f"estimated at {percent:.0f} % of the direct time"
        saved = round(alike * _direct(op) * (100 - percent) / 100)
        if self.gain >= 0 or saved >= worth:
            return ""
        return f"all {alike} like it would save {saved} cycles, {round(worth)} are worth another kernel"

    def _limit(self, machine: Any) -> int:
        """What the estimate must stay under."""
        return self.gain if self.gain >= 0 else GAIN if machine is not None and machine.tile_bf16 else 0


def cost(rows: int, terms: int, columns: int) -> float:
    """What the products of parts take with all that belongs to them, in percent of the direct time."""
    depth = filled(terms)
    whole = -(-rows // LANES) * LANES
    piece = min(depth, DEPTH)
    split = 2 * PARTS * piece  # bytes of a row, or of a column
    group = max(2 * LANES, int((CACHED - 2 * LANES * split) / split))
    products = whole * depth * columns * PRODUCTS / UNIT
    prepared = SPLIT * rows * terms + PREPARED * depth * columns * ceil(rows / group)
    cycles = products + prepared + SUMMED * rows * columns / LANES
    return 100 * cycles * DIRECT / (rows * terms * columns)


def _direct(op: GenericOp) -> float:
    """Cycles of the direct way; 0 for open sizes."""
    sizes = _sizes(op)
    return 0.0 if DYNAMIC_INDEX in (*shape_of(op.outputs[0]), *shape_of(op.inputs[1])) else prod(sizes) / DIRECT


def _shape(op: GenericOp) -> tuple[object, ...]:
    """What products have in common whose kernel is one."""
    return tuple(map(shape_of, op.operands))


def _sizes(op: GenericOp) -> tuple[int, int, int]:
    """Rows, terms and columns of a product; of a convolution, pixels, channels and filters."""
    output, weights = shape_of(op.outputs[0]), shape_of(op.inputs[1])
    count, blocks, *pixels, lanes = output
    return count * prod(pixels), prod(weights[1:-1]), blocks * lanes


def _read(read: tensor.ExtractOp, weights: SSAValue, terms: int) -> None:
    """An element of the panels from the prepared weights."""
    read_prepared(read, weights, list(read.indices), weights_shape(1, terms)[1] - 2)
