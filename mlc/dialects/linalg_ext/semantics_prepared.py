"""What the semantics of prepared products share: numbers of a domain, and the plain sum that a product is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from xdsl.dialects.builtin import f32

from mlc.arrays.scaled_weights import Columns
from mlc.dialects.linalg_ext.prepared_matmul import PreparedMatmulOp
from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Domain, Results, Runner


def columns_of(domain: Domain, factors: Columns) -> Columns:
    """What brings columns near one: `factors`, for numbers of IEEE arithmetic."""
    if domain.name == "ieee":
        return factors
    one = domain.constant(np.float32(1), f32)
    return lambda w: (None, one, False)


def number_of(domain: Domain) -> Callable[[float], Any]:
    """A number of a domain."""
    return lambda value: domain.constant(np.float32(value), f32)


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
