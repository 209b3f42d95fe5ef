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

from mlc.arrays.scaled_weights import distant_factors, split_weights
from mlc.dialects.linalg_ext.semantics_prepared import columns_of, number_of, plain_product
from mlc.dialects.linalg_ext.split_matmul_ops import PARTS, STEP, SplitMatmulOp, SplitMatmulWeightsOp
from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Results, Runner, Step, semantics


def _weights_step(op: Operation) -> Step:
    assert isinstance(op, SplitMatmulWeightsOp) and isinstance(op.result.type, TensorType)
    return Step("split_weights", (op.result.type.get_shape()[1],), (op.panels,))


@semantics("linalg_ext.split_matmul_weights", step=_weights_step)
def matmul_weights(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, SplitMatmulWeightsOp) and isinstance(op.result.type, TensorType)
    rows = op.result.type.get_shape()[1]
    return (split_weights(rows, np.asarray(args[0]), columns_of(run.domain, distant_factors), number_of(run.domain)),)


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
