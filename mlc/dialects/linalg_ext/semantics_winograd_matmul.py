"""Reference semantics of Winograd's matrix product.

The prepared weights are the same in every domain but for their factors: a power of two in IEEE arithmetic, one
elsewhere. The product is the plain sum of the terms, divided by the factors of the columns: what its own arithmetic
equals exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.builtin import TensorType, f32
from xdsl.ir import Operation

from mlc.arrays.scaled_weights import column_factors, paired_weights, sums_of_pairs
from mlc.dialects.linalg_ext.semantics_prepared import columns_of, number_of, plain_product
from mlc.dialects.linalg_ext.winograd_matmul_ops import (
    GROUP,
    WinogradMatmulOp,
    WinogradMatmulWeightsOp,
    padded,
)
from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Results, Runner, Step, semantics


def _weights_step(op: Operation) -> Step:
    assert isinstance(op, WinogradMatmulWeightsOp) and isinstance(op.result.type, TensorType)
    return Step("paired_weights", (op.depth.value.data, GROUP, op.result.type.get_shape()[1]), (op.panels,))


@semantics("linalg_ext.winograd_matmul_weights", step=_weights_step)
def matmul_weights(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, WinogradMatmulWeightsOp) and isinstance(op.result.type, TensorType)
    domain, rows, panels = run.domain, op.result.type.get_shape()[1], np.asarray(args[0])

    def pairs(w: Any) -> Any:
        first = domain.float2("mul", w[..., 0, :], w[..., 1, :], f32)
        turned = domain.float2("mul", w[..., 3, :], w[..., 4, :], f32)
        return domain.sum(domain.float2("sub", first, turned, f32), (2,), f32)

    summed = sums_of_pairs if domain.name == "ieee" else pairs
    return (
        paired_weights(
            op.depth.value.data, GROUP, rows, panels, columns_of(domain, column_factors), number_of(domain), summed
        ),
    )


@semantics("linalg_ext.winograd_matmul")
def matmul(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, WinogradMatmulOp)
    w = args[1].read() if isinstance(args[1], Buffer) else np.asarray(args[1])
    blocks, _, lanes = w.shape
    pieces, depth = op.pieces(), op.piece()
    main = w[:, : pieces * padded(depth)].reshape(blocks, pieces, -1, lanes)[:, :, :depth].reshape(blocks, -1, lanes)
    return plain_product(op, main, w[:, -2], args, run)
