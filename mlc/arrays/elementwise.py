"""Scalar arithmetic on whole arrays, given as plain data.

    # max(x, 0) * row, of x[i, j] and row[j]
    elementwise([4, 8], "f4", [[0, 1], [1], []], [0, 1],
                [["float2", ["max", "f32"], [0, 2]], ["float2", ["mul", "f32"], [3, 1]]], 4, x, row, zero)

Values are numbered: the operands, then one per row of the body. Tests: tests/arrays/test_recipes.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlc.arrays.blocks import in_blocks

Body = Sequence[tuple[str, Sequence[Any], Sequence[int]]]
"""Kind, attributes and operands of each step."""


def elementwise(
    functions: Callable[[str], Callable[..., Any]],
    shape: Sequence[int],
    dtype: str,
    reads: Sequence[Sequence[int]],
    writes: Sequence[int],
    body: Body,
    result: int,
    *operands: np.ndarray,
) -> np.ndarray:
    """Value `result` of `body` at each point of loops of this `shape`. Operand k is read at the loops `reads[k]`, the
    array that comes back is indexed by the loops `writes`. `functions`: what steps of a kind call."""
    out = np.empty([shape[d] for d in writes], dtype)

    def compute(inputs: list[Any], *_: Any) -> list[Any]:
        return [run_body(functions, body, inputs)[result]]

    views = [over_loops(x, dims, len(shape)) for x, dims in zip(operands, reads, strict=True)]
    in_blocks(views, [out.transpose(np.argsort(writes))], shape, compute)
    return out


def run_body(functions: Callable[[str], Callable[..., Any]], body: Body, inputs: Sequence[Any]) -> list[Any]:
    """All values: the inputs, then one per step."""
    values = list(inputs)
    for kind, attributes, places in body:
        values.append(functions(kind)(*attributes, *(values[i] for i in places)))
    return values


def over_loops(x: np.ndarray, dims: Sequence[int], loops: int) -> np.ndarray:
    """`x`, whose dimensions are these loops, with one dimension for each of all loops; a scalar as it is."""
    if not dims:
        return x
    return np.expand_dims(np.transpose(x, np.argsort(dims)), tuple(d for d in range(loops) if d not in dims))
