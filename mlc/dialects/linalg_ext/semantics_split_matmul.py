"""Reference semantics of products of split numbers.

The prepared weights are the same in every domain but for their factors: a power of two in IEEE arithmetic, one
elsewhere. The product is the plain sum of the terms, divided by the factors of the columns: what that of the parts is,
but for the least of their products.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.builtin import TensorType, bf16, f32
from xdsl.ir import Operation

from mlc.dialects.linalg_ext.semantics_prepared import aligned, factors, plain_product
from mlc.dialects.linalg_ext.split_matmul_ops import LANES, SplitMatmulOp, SplitMatmulWeightsOp
from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Results, Runner, semantics

AT_ONCE = 1 << 16
"""Elements prepared at a time: they stay in the second-level cache."""


@semantics("linalg_ext.split_matmul_weights")
def matmul_weights(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, SplitMatmulWeightsOp) and isinstance(op.result.type, TensorType)
    panels = np.asarray(args[0])
    blocks, terms, lanes = panels.shape
    out = aligned(op.result.type.get_shape(), panels.dtype)
    step = max(1, AT_ONCE // (terms * lanes))
    plain = False
    zero = run.domain.constant(np.float32(0), f32)
    for first in range(0, blocks, step):
        w = np.ascontiguousarray(panels[first : first + step])  # panels may be a view of weights that lie otherwise
        here = out[first : first + step]
        factor, unscale, odd = factors(w, run.domain)
        if factor is not None:
            w = w * factor[:, None]
        here[:, :terms] = w
        here[:, terms:-2] = zero
        here[:, -2] = unscale
        plain = plain or odd
    out[:, -1] = run.domain.constant(np.float32(plain), f32)
    return (out,)


@semantics("linalg_ext.split_matmul")
def matmul(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, SplitMatmulOp)
    w = args[1].read() if isinstance(args[1], Buffer) else np.asarray(args[1])
    return plain_product(op, w[:, : op.terms()], w[:, -2], args, run)


@semantics("linalg_ext.bf16_parts")
def parts(op: Operation, args: Args, run: Runner) -> Results:
    """The leading bits, then those of what is left; where numbers have no bits the nearest, as good as them."""
    left: Any = np.stack([args[0], args[1]], axis=-1).reshape(2 * LANES)
    found: list[Any] = []
    for _ in op.results:
        if run.domain.name == "ieee":
            leading = (left.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
            found.append(run.domain.convert(leading, f32, bf16))
        else:
            found.append(run.domain.convert(left, f32, bf16))
        left = run.domain.float2("sub", left, run.domain.convert(found[-1], bf16, f32), f32)
    return tuple(found)
