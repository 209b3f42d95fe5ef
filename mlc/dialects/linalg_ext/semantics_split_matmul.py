"""Reference semantics of products of split numbers.

The prepared weights are the same in every domain but for their factors: a power of two in IEEE arithmetic, one
elsewhere. The product is the plain sum of the terms, divided by the factors of the columns: what that of the parts is,
but for the least of their products.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.builtin import TensorType, f32
from xdsl.ir import Operation

from mlc.dialects.linalg_ext.semantics_prepared import aligned, factors, plain_product
from mlc.dialects.linalg_ext.split_matmul_ops import PARTS, STEP, SplitMatmulOp, SplitMatmulWeightsOp
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
    """The nearest bf16, that of what is left, and what is left then.

    Where numbers have no bits, the first two parts are any whose sum is the number: the result then shows whether all
    their products are summed. Bounds are those of the number, as its parts are no roundings.
    """
    left: Any = np.stack([args[0], args[1]], axis=-1).reshape(STEP)
    match run.domain.name:
        case "field":
            first = run.domain.float1("first part", left, f32)
            rest = run.domain.float2("sub", left, first, f32)
            return first, rest, run.domain.constant(np.zeros(STEP, np.float32), f32)
        case "bound":
            exact = [run.domain.constant(p, f32) for p in _eight_bits_each(left["v"])]
            exact[-1]["e"] = left["e"]
            return tuple(exact)
        case _:
            return tuple(_eight_bits_each(left))


def _eight_bits_each(left: Any) -> list[np.ndarray]:
    """Parts, as numbers of single precision."""
    found: list[np.ndarray] = []
    for _ in range(PARTS):
        half = np.uint32(0x8000 if len(found) < PARTS - 1 else 0)
        found.append(((left.view(np.uint32) + half) & np.uint32(0xFFFF0000)).view(np.float32))
        with np.errstate(invalid="ignore"):
            left = left - found[-1]
    return found
