"""Reference semantics of Winograd's matrix product.

The prepared weights are the same in every domain but for their factors: a power of two in IEEE arithmetic, one elsewhere.
The product is the plain sum of the terms, divided by the factors of the columns: what its own arithmetic equals exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.builtin import TensorType, f32
from xdsl.ir import Operation

from mlc.dialects.linalg_ext.winograd_matmul_ops import (
    GROUP,
    LARGEST,
    SMALLEST,
    WinogradMatmulOp,
    WinogradMatmulWeightsOp,
    padded,
)
from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Domain, Results, Runner, semantics


@semantics("linalg_ext.winograd_matmul_weights")
def matmul_weights(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, WinogradMatmulWeightsOp) and isinstance(op.result.type, TensorType)
    panels, depth = np.asarray(args[0]), op.depth.value.data
    blocks, terms, lanes = panels.shape
    pieces, whole = terms // depth, padded(depth)
    out = np.empty(op.result.type.get_shape(), panels.dtype)
    out[:] = run.domain.constant(np.float32(0), f32)
    odd = False
    for block in range(blocks):  # one at a time: in the cache
        w = panels[block]
        factor, unscale, plain = _factors(w, run.domain)
        scaled = run.domain.float2("mul", w, np.broadcast_to(factor, w.shape), f32)
        filled = out[block, : pieces * whole].reshape(pieces, whole, lanes)
        filled[:, :depth] = scaled.reshape(pieces, depth, lanes)
        out[block, pieces * whole : -2] = _pairs(filled.reshape(pieces, -1, GROUP, lanes), run.domain)
        out[block, -2] = unscale
        odd = odd or bool(np.any(plain))
    out[:, -1] = run.domain.constant(np.float32(odd), f32)
    return (out,)


def _factors(w: Any, domain: Domain) -> tuple[Any, Any, Any]:
    """Per column: the factor, one by it, whether it is to be multiplied plainly."""
    one, zero = (domain.constant(np.full(w.shape[1], v, np.float32), f32) for v in (1.0, 0.0))
    if domain.name != "ieee":
        return one, one, np.zeros(w.shape[1], bool)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.mean(np.square(w.astype(np.float64)), axis=0)
        fits = (squares >= SMALLEST) & (squares <= LARGEST)
    factor = np.exp2(-np.rint(0.5 * np.log2(np.where(fits, squares, 1.0)))).astype(np.float32)
    empty = ~np.any(w, axis=0)
    return factor, np.where(empty, zero, one / factor), ~(fits | empty)


def _pairs(w: Any, domain: Domain) -> Any:
    """Per piece and column: the sum of the products of pairs, those with turned signs taken off. In float64, rounded
    once, where numbers are IEEE's."""
    if domain.name == "ieee":
        with np.errstate(over="ignore", invalid="ignore"):
            wide = w.astype(np.float64)
            return np.sum(wide[:, :, 0] * wide[:, :, 1] - wide[:, :, 3] * wide[:, :, 4], axis=1).astype(np.float32)
    first = domain.float2("mul", w[:, :, 0], w[:, :, 1], f32)
    turned = domain.float2("mul", w[:, :, 3], w[:, :, 4], f32)
    return domain.sum(domain.float2("sub", first, turned, f32), (1,), f32)


@semantics("linalg_ext.winograd_matmul")
def matmul(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, WinogradMatmulOp)
    x, w, y = (a.read() if isinstance(a, Buffer) else np.asarray(a) for a in args[:3])
    blocks, _, lanes = w.shape
    pieces, depth = op.pieces(), op.piece()
    main = w[:, : pieces * padded(depth)].reshape(blocks, pieces, -1, lanes)[:, :, :depth].reshape(blocks, -1, lanes)
    if x.ndim > 2:  # pixels are rows, channels terms
        x, total = np.moveaxis(x, 1, 3), np.moveaxis(y, 1, 3)
    else:
        total = y
    x, shape = x.reshape(-1, op.terms()), total.shape
    total = total.reshape(-1, blocks, lanes)
    unscale = np.broadcast_to(w[:, -2], total.shape)
    for k in range(x.shape[1]):
        weight = run.domain.float2("mul", np.broadcast_to(main[:, k], total.shape), unscale, f32)
        term = run.domain.float2("mul", np.broadcast_to(x[:, k, None, None], total.shape), weight, f32)
        total = run.domain.float2("add", total, term, f32)
    total = total.reshape(shape)
    if len(shape) > 3:
        total = np.moveaxis(total, 3, 1)
    if isinstance(args[2], Buffer):
        args[2].write(total)
        return ()
    return (total, *args[3:])
