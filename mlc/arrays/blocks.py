"""Elementwise computation block by block: what is computed on the way stays in the processor's cache.

in_blocks([x, row], [out], out.shape, lambda inputs, outputs, part: (inputs[0] * inputs[1],))

Tests: tests/dialects/linalg/test_semantics_blocks.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

BLOCK = 1 << 16
"""Elements that are computed at once."""

Part = tuple[slice, ...]


def in_blocks(
    reads: Sequence[Any],
    writes: Sequence[np.ndarray],
    shape: Sequence[int],
    compute: Callable[[list[Any], list[Any], Part], Sequence[Any]],
) -> None:
    """What `compute` makes of each piece of `reads` and of `writes`, written to that piece of `writes`. The former have
    the shape, or 1 where they do not vary; the latter have it."""
    for part in parts_of(shape):
        write_all(writes, compute([part_of(r, part) for r in reads], [part_of(w, part) for w in writes], part), part)


def write_all(writes: Sequence[np.ndarray], results: Sequence[Any], part: Part = ()) -> None:
    """Write each result to a piece of its array. One may be what another array holds: all are taken as they are now."""
    if len(writes) > 1:
        results = [np.array(r) if any(np.may_share_memory(r, w) for w in writes) else r for r in results]
    for w, r in zip(writes, results, strict=True):
        w[part] = r


def parts_of(shape: Sequence[int]) -> list[Part]:
    """Pieces of an array of this shape, cut along one dimension, of about `BLOCK` elements."""
    axis = next((d for d, n in enumerate(shape) if n > 1), 0)
    if prod(shape) <= BLOCK:
        return [()]
    step = max(1, BLOCK // prod(shape[axis + 1 :]))
    return [(*[slice(None)] * axis, slice(at, at + step)) for at in range(0, shape[axis], step)]


def part_of(value: Any, part: Part) -> Any:
    """A piece of an array; all of one that has a single element in that dimension."""
    return value if not part or np.ndim(value) == 0 or value.shape[len(part) - 1] == 1 else value[part]
