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

from mlc.dialects.linalg_ext.semantics_prepared import aligned, factors, plain_product
from mlc.dialects.linalg_ext.winograd_matmul_ops import (
    GROUP,
    WinogradMatmulOp,
    WinogradMatmulWeightsOp,
    padded,
)
from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Domain, Results, Runner, semantics

AT_ONCE = 1 << 16
"""Elements prepared at a time: they stay in the second-level cache."""


@semantics("linalg_ext.winograd_matmul_weights")
def matmul_weights(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, WinogradMatmulWeightsOp) and isinstance(op.result.type, TensorType)
    panels, depth = np.asarray(args[0]), op.depth.value.data
    blocks, terms, lanes = panels.shape
    pieces, whole = terms // depth, padded(depth)
    out = aligned(op.result.type.get_shape(), panels.dtype)
    step = max(1, AT_ONCE // (terms * lanes))
    plain = False
    for first in range(0, blocks, step):
        w = np.ascontiguousarray(panels[first : first + step])  # panels may be a view of weights that lie otherwise
        here = out[first : first + step]
        factor, unscale, odd = factors(w, run.domain)
        main = here[:, : pieces * whole].reshape(-1, pieces, whole, lanes)
        if factor is not None:  # repeated: long rows multiply faster than many of `lanes`
            w = w.reshape(-1, pieces, depth * lanes) * np.tile(factor, (1, depth))[:, None]
        main[:, :, :depth] = w.reshape(-1, pieces, depth, lanes)
        main[:, :, depth:] = run.domain.constant(np.float32(0), f32)
        here[:, pieces * whole : -2] = _pairs(main.reshape(-1, pieces, whole // GROUP, GROUP, lanes), run.domain)
        here[:, -2] = unscale
        plain = plain or odd
    out[:, -1] = run.domain.constant(np.float32(plain), f32)
    return (out,)


def _pairs(w: Any, domain: Domain) -> Any:
    """Per piece and column: the sum of the products of pairs, those with turned signs taken off."""
    if domain.name == "ieee":
        with np.errstate(over="ignore", invalid="ignore"):
            first, turned = (np.einsum("bpgl,bpgl->bpl", w[..., s, :], w[..., s + 1, :]) for s in (0, 3))
            return first - turned
    first = domain.float2("mul", w[..., 0, :], w[..., 1, :], f32)
    turned = domain.float2("mul", w[..., 3, :], w[..., 4, :], f32)
    return domain.sum(domain.float2("sub", first, turned, f32), (2,), f32)


@semantics("linalg_ext.winograd_matmul")
def matmul(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, WinogradMatmulOp)
    w = args[1].read() if isinstance(args[1], Buffer) else np.asarray(args[1])
    blocks, _, lanes = w.shape
    pieces, depth = op.pieces(), op.piece()
    main = w[:, : pieces * padded(depth)].reshape(blocks, pieces, -1, lanes)[:, :, :depth].reshape(blocks, -1, lanes)
    return plain_product(op, main, w[:, -2], args, run)
