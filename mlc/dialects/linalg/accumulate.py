"""Faster reductions with the same result, for bodies that end in `acc <combine> term`.

All terms of a stretch of the reduction are computed at once, then combined: floating sums in exactly the nest's order
(`Domain.sum`), exact operations (min, max, integers) as a tree. The terms come from the body itself, run with the
neutral element as accumulator: -0.0 + t is t for every t.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from xdsl.ir import Block, Operation

from mlc.ir.semantics import Results, Runner, semantics_of
from mlc.ir.values import dtype_of, element_type, int_width

MAX_POINTS = 8192
"""With more parallel points than this a step of the loop is long enough by itself."""

MAX_TERMS = 1 << 20

_FLOAT_NEUTRAL = {"arith.addf": -0.0, "arith.maximumf": -np.inf, "arith.minimumf": np.inf}
_INT_OPS = ("arith.addi", "arith.muli", "arith.maxsi", "arith.minsi", "arith.andi", "arith.ori")

Evaluate = Callable[[Sequence[Any], Sequence[Any], Sequence[Any]], Results]


def _combiner(body: Block, n_inputs: int) -> Operation | None:
    """The op that folds the accumulator in, when it is the only reader of it and its result is yielded."""
    if len(body.args) != n_inputs + 1:
        return None
    acc = body.args[n_inputs]
    uses = list(acc.uses)
    last = body.last_op
    if len(uses) != 1 or last is None:
        return None
    op = uses[0].operation
    if op.name not in _FLOAT_NEUTRAL and op.name not in _INT_OPS:
        return None
    if last.operands[0] is not op.results[0] or len(list(op.results[0].uses)) != 1 or op.operands[0] is op.operands[1]:
        return None
    return op


def _neutral(op: Operation, run: Runner) -> Any:
    t = element_type(op.results[0].type)
    dtype = dtype_of(t)
    if op.name in _FLOAT_NEUTRAL:
        return run.domain.constant(dtype.type(_FLOAT_NEUTRAL[op.name]), t)
    width = int_width(t)
    match op.name:
        case "arith.addi" | "arith.ori":
            return dtype.type(0)
        case "arith.muli":
            return dtype.type(1)
        case "arith.andi":
            return dtype.type(1 if width == 1 else -1)
        case "arith.maxsi":
            return dtype.type(1 if width == 1 else -(2 ** (width - 1)))
        case _:
            return dtype.type(0 if width == 1 else 2 ** (width - 1) - 1)


def accumulate(
    op: Operation,
    body: Block,
    reads: Sequence[Any],
    writes: Sequence[np.ndarray],
    trip: Sequence[int],
    shape: Sequence[int],
    n_inputs: int,
    evaluate: Evaluate,
    run: Runner,
) -> bool:
    """Do the whole reduction into `writes` if it has the right form; says whether it did."""
    points = prod(shape)
    combine = _combiner(body, n_inputs)
    if combine is None or points > MAX_POINTS or prod(trip) < 4 or any(not hasattr(r, "full") for r in reads):
        return False
    split = len(trip)
    while split > 0 and prod(trip[split - 1 :]) * points <= MAX_TERMS:
        split -= 1
    if split == len(trip):
        return False
    inner = tuple(trip[split:])
    k = prod(inner)
    neutral = _neutral(combine, run)
    inner_index = [
        np.arange(n, dtype=np.int64).reshape([-1 if e == d else 1 for e in range(len(inner))] + [1] * len(shape))
        for d, n in enumerate(inner)
    ]
    acc: Any = np.array(writes[0])
    for point in np.ndindex(*trip[:split]):
        run.tick()
        inputs = [_stretch(r.full, point) for r in reads]
        (terms,) = evaluate([*(np.int64(i) for i in point), *inner_index], inputs, [neutral])
        terms = np.broadcast_to(terms, (*inner, *shape)).reshape((k, *shape))
        acc = _combine(combine, acc, terms, run)
    writes[0][...] = acc
    return True


def _stretch(full: np.ndarray, point: Sequence[int]) -> np.ndarray:
    """The operand at one index of the outer reduction loops (size-1 axes where it does not vary)."""
    return full[tuple(i if n > 1 else 0 for i, n in zip(point, full.shape, strict=False))]


def _combine(op: Operation, acc: Any, terms: np.ndarray, run: Runner) -> Any:
    if op.name == "arith.addf":
        return run.domain.sum(terms, (0,), op.results[0].type, acc)
    fold = semantics_of(op)
    while len(terms) > 1:
        half = len(terms) // 2
        (combined,) = fold(op, (terms[:half], terms[half : 2 * half]), run)
        terms = np.concatenate([combined, terms[2 * half :]]) if len(terms) % 2 else np.asarray(combined)
    return fold(op, (acc, terms[0]), run)[0]
