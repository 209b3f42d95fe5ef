"""Reference semantics of Winograd's matrix product.

The prepared weights are the same in every domain but for their factors: a power of two in IEEE arithmetic, one
elsewhere. The product is the plain sum of the terms, divided by the factors of the columns: what its own arithmetic
equals exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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

LINE = 64
"""Bytes."""
LEAST = 149
"""2^-149 is the least number of single precision."""
AT_ONCE = 1 << 16
"""Elements prepared at a time: they stay in the second-level cache."""


@semantics("linalg_ext.winograd_matmul_weights")
def matmul_weights(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, WinogradMatmulWeightsOp) and isinstance(op.result.type, TensorType)
    panels, depth = np.asarray(args[0]), op.depth.value.data
    blocks, terms, lanes = panels.shape
    pieces, whole = terms // depth, padded(depth)
    out = _aligned(op.result.type.get_shape(), panels.dtype)
    step = max(1, AT_ONCE // (terms * lanes))
    plain = False
    for first in range(0, blocks, step):
        w = np.ascontiguousarray(panels[first : first + step])  # panels may be a view of weights that lie otherwise
        here = out[first : first + step]
        factor, unscale, odd = _factors(w, run.domain)
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


def _aligned(shape: Sequence[int], dtype: np.dtype[Any]) -> np.ndarray:
    """An array that begins where a cache line does, so that whoever runs native code need not copy it."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + LINE, np.uint8)
    return raw[-raw.ctypes.data % LINE :][:size].view(dtype).reshape(shape)


def _factors(w: Any, domain: Domain) -> tuple[Any, Any, bool]:
    """Per column: the factor (none where it is one), one by it; whether any is to be multiplied plainly."""
    if domain.name != "ieee":
        return None, domain.constant(np.float32(1), f32), False
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("bkl,bkl->bl", w, w) / np.float32(w.shape[1])
        fits = (squares >= SMALLEST) & (squares <= LARGEST)
        if fits.all():
            empty = ~fits
        else:  # weights of units that training has left for dead are often tiny: double precision squares them
            wide = w.astype(np.float64)
            squares = np.einsum("bkl,bkl->bl", wide, wide) / w.shape[1]
            empty = squares == 0
            fits = (squares > 0) & (squares <= LARGEST)
    exponent = -np.rint(0.5 * np.log2(np.where(fits, squares, 1.0))).astype(np.int32)
    exponent = np.minimum(exponent, LEAST)
    factor = np.ldexp(np.float64(1), exponent)  # one by it is a number of single precision, even where it is none
    if exponent.max(initial=0) < 128:
        factor = factor.astype(np.float32)
    unscale = np.where(empty, np.float32(0), np.ldexp(np.float32(1), -exponent))
    return factor, unscale, not bool((fits | empty).all())


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
