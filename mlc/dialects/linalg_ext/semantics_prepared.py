"""What the semantics of prepared products share: factors of columns, and the plain sum that a product is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import f32

from mlc.dialects.linalg_ext.prepared_matmul import LARGEST, SMALLEST, PreparedMatmulOp
from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Domain, Results, Runner

LINE = 64
"""Bytes."""
LEAST = 149
"""2^-149 is the least number of single precision."""


def aligned(shape: Sequence[int], dtype: np.dtype[Any]) -> np.ndarray:
    """An array that begins where a cache line does, so that whoever runs native code need not copy it."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + LINE, np.uint8)
    return raw[-raw.ctypes.data % LINE :][:size].view(dtype).reshape(shape)


def factors(w: Any, domain: Domain) -> tuple[Any, Any, bool]:
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


def plain_product(op: PreparedMatmulOp, main: np.ndarray, unscale: np.ndarray, args: Args, run: Runner) -> Results:
    """What is added to, and the sum of all products, one after the other. `main`: scaled weights, [columns / lanes,
    terms, lanes]; `unscale`: [columns / lanes, lanes]."""
    x, y = (a.read() if isinstance(a, Buffer) else np.asarray(a) for a in (args[0], args[2]))
    if x.ndim > 2:  # pixels are rows, channels terms
        x, total = np.moveaxis(x, 1, 3), np.moveaxis(y, 1, 3)
    else:
        total = y
    x, shape = x.reshape(-1, op.terms()), total.shape
    total = total.reshape(-1, *unscale.shape)
    unscale = np.broadcast_to(unscale, total.shape)
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
