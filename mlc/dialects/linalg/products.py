"""Large sums of products of constants by matrix products in float64: weights that a model multiplies by each other.

Only where the order of additions is left open (`ANY_ORDER`): the nest's own takes ten seconds for a thousand million.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from xdsl.dialects.builtin import f32, f64
from xdsl.ir import Block

from mlc.dialects.linalg.structured_ops import is_multiply_add
from mlc.ir.semantics import ANY_ORDER, Runner

LEAST = 1 << 22
"""Multiplications; fewer are done in the nest's order."""


def multiply(
    body: Block,
    reads: Sequence[Any],
    writes: Sequence[np.ndarray],
    trip: Sequence[int],
    shape: Sequence[int],
    run: Runner,
) -> bool:
    """writes[0] += the sum over `trip` of reads[0] * reads[1], if the body is that and it is much; says whether it did.

    Operands are laid out over the reduced loops, then over those of the result; 1 where they do not depend on one."""
    if not run.state.get(ANY_ORDER) or prod(trip) * prod(shape) < LEAST or not is_multiply_add(body):
        return False
    if any(not hasattr(r, "full") for r in reads) or body.args[-1].type not in (f32, f64):
        return False  # narrower ones are rounded at every step
    loops = len(trip) + len(shape)
    operands: list[Any] = []
    for full in (r.full for r in reads):
        used = [d for d in range(loops) if full.shape[d] > 1]
        operands += [full.reshape([full.shape[d] for d in used]).astype(np.float64), used]
    found = {d for used in operands[1::2] for d in used}
    kept = [d for d in range(len(trip), loops) if d in found]
    total = np.einsum(*operands, kept, optimize=True)
    alone = prod(n for d, n in enumerate(trip) if d not in found)  # loops that no operand depends on
    total = total.reshape([shape[d - len(trip)] if d in found else 1 for d in range(len(trip), loops)])
    writes[0][...] = writes[0] + alone * total
    return True
