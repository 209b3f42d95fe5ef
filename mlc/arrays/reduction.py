"""Reductions whose terms are computed many at a time, then combined.

    # largest absolute value of each column of x[i, j], at least o[j]
    reduce([768], [512], "<f4", [[0, 1]], [0], [["float1", ["abs", "f32"], [1]], ["float2", ["max", "f32"], [0, 2]]], 3,
           ["float2", ["max", "f32"]], ["<f4", [], "000080ff"], x, o)

The body is run with the neutral element as accumulator, its value 0, so it gives the terms.
Tests: tests/arrays/test_recipes.py, tests/dialects/linalg/test_accumulate.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from mlc.arrays.elementwise import Body, over_loops, run_body
from mlc.arrays.floats import LARGEST, largest
from mlc.arrays.integers import INT2
from mlc.arrays.stored import literal

MAX_TERMS = 1 << 18
"""Computed at once."""


def reduce(
    functions: Callable[[str], Callable[..., Any]],
    trip: Sequence[int],
    shape: Sequence[int],
    dtype: str,
    reads: Sequence[Sequence[int]],
    writes: Sequence[int],
    body: Body,
    result: int,
    combine: tuple[str, Sequence[Any]],
    neutral: tuple[str, Sequence[int], str],
    *operands: np.ndarray,
) -> np.ndarray:
    """The last operand, which is indexed by the loops `writes` of `shape`, with all the terms: value `result` of
    `body` at each point of loops of sizes `trip` and `shape`. Operand k is read at `reads[k]` of all these loops.
    `combine`: the step that takes in a term, `neutral`: the literal that makes none."""
    kind, attributes = combine
    function = functions(kind)
    *inputs, init = operands
    loops = len(trip) + len(shape)
    views = [literal(*neutral), *(over_loops(x, dims, loops) for x, dims in zip(inputs, reads, strict=True))]
    acc: Any = over_loops(init, writes, len(shape))
    for point, spans in stretches(trip, prod(shape)):
        parts = [stretch(v, point, spans[0]) if np.ndim(v) else v for v in views]
        terms = run_body(functions, body, parts)[result]
        acc = fold(terms_of(terms, spans, shape), acc, attributes[0], lambda a, b: function(*attributes, a, b))
    return np.asarray(acc, dtype).transpose(writes)


def stretches(trip: Sequence[int], points: int) -> Iterator[tuple[tuple[int, ...], list[range]]]:
    """The loops `trip` in pieces: where the outer ones stand, and the spans of the next and of those inside. For each
    of the iterations there are `points` terms."""
    split = len(trip) - 1  # loops before this one run step by step, this one in stretches, those after it as a whole
    while split > 0 and 2 * prod(trip[split:]) * points <= MAX_TERMS:
        split -= 1
    length = max(1, MAX_TERMS // max(1, prod(trip[split + 1 :]) * points))
    for point in np.ndindex(*trip[:split]):
        for first in range(0, trip[split], length):
            yield point, [range(first, min(first + length, trip[split])), *(range(n) for n in trip[split + 1 :])]


def stretch(full: np.ndarray, point: Sequence[int], span: range) -> np.ndarray:
    """An operand laid out over all loops, where the outer ones stand, for some of the next (size-1 axes where it does
    not vary)."""
    here = full[tuple(i if n > 1 else 0 for i, n in zip(point, full.shape, strict=False))]
    return here[span.start : span.stop] if here.shape[0] > 1 else here


def terms_of(terms: Any, spans: Sequence[range], shape: Sequence[int]) -> np.ndarray:
    """The terms of a stretch, all in one dimension, the first."""
    inner = [len(span) for span in spans]
    return np.broadcast_to(terms, (*inner, *shape)).reshape((prod(inner), *shape))


def fold(terms: np.ndarray, acc: Any, name: str, combine: Callable[[Any, Any], Any]) -> Any:
    """`acc` with all of the terms, by an operation that is exact: `name` says it to numpy where that has it, else pairs
    are combined, then pairs of those."""
    if name in LARGEST:
        return combine(acc, largest(name, terms))
    if name in INT2:
        return combine(acc, INT2[name].reduce(terms, axis=0, dtype=terms.dtype))
    while len(terms) > 1:
        half = len(terms) // 2
        combined = np.asarray(combine(terms[:half], terms[half : 2 * half]))
        terms = np.concatenate([combined, terms[2 * half :]]) if len(terms) % 2 else combined
    return combine(acc, terms[0])
