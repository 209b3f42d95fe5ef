"""Faster reductions with the same result, for bodies that end in `acc <combine> term`.

All terms of a stretch of the reduction are computed at once, then combined: floating sums in exactly the nest's order
(`Domain.sum`), exact operations (min, max, integers) as a tree. The terms come from the body itself, run with the
neutral element as accumulator: -0.0 + t is t for every t, and the greater number of NaN and t, too. Differences of
integers are sums of the terms that 0 - t gives.
Tests: tests/dialects/linalg/test_accumulate.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from xdsl.ir import Block, Operation

from mlc.dialects.arith.integers import binary_int, flags_of
from mlc.ir.semantics import Results, Runner, semantics_of
from mlc.ir.values import dtype_of, element_type, int_width, signed

MAX_POINTS = 8192
"""With more parallel points than this a step of the loop is long enough by itself."""

MAX_TERMS = 1 << 18
"""Computed at once."""

_FLOAT_NEUTRAL = {
    "arith.addf": -0.0,
    "arith.maximumf": -np.inf,
    "arith.minimumf": np.inf,
    "arith.maxnumf": np.nan,
    "arith.minnumf": np.nan,
}
_INT_OPS = {
    "arith.addi": "add",
    "arith.subi": "add",
    "arith.muli": "mul",
    "arith.maxsi": "maxs",
    "arith.minsi": "mins",
    "arith.maxui": "maxu",
    "arith.minui": "minu",
    "arith.andi": "and",
    "arith.ori": "or",
    "arith.xori": "xor",
}
"""What combines the terms of each."""

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
    if op.name not in _FLOAT_NEUTRAL and (op.name not in _INT_OPS or flags_of(op)):
        return None  # under flags, it counts where an overflow happens
    if op.name == "arith.subi" and op.operands[0] is not acc:
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
    match _INT_OPS[op.name]:
        case "mul":
            return dtype.type(1)
        case "and" | "minu":
            return signed(np.asarray(2**width - 1, dtype=np.uint64), t)
        case "maxs":
            return dtype.type(1 if width == 1 else -(2 ** (width - 1)))
        case "mins":
            return dtype.type(0 if width == 1 else 2 ** (width - 1) - 1)
        case _:
            return dtype.type(0)


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
    split = len(trip) - 1  # loops before this one run step by step, this one in stretches, those after it as a whole
    while split > 0 and 2 * prod(trip[split:]) * points <= MAX_TERMS:
        split -= 1
    length = max(1, MAX_TERMS // (prod(trip[split + 1 :]) * points))
    neutral = _neutral(combine, run)
    acc: Any = np.array(writes[0])
    for point in np.ndindex(*trip[:split]):
        for first in range(0, trip[split], length):
            run.tick()
            spans = [range(first, min(first + length, trip[split])), *(range(n) for n in trip[split + 1 :])]
            inner = [len(span) for span in spans]
            index = [
                np.arange(span.start, span.stop).reshape([-1 if e == d else 1 for e in range(len(inner) + len(shape))])
                for d, span in enumerate(spans)
            ]
            inputs = [_stretch(r.full, point, spans[0]) for r in reads]
            (terms,) = evaluate([*(np.int64(i) for i in point), *index], inputs, [neutral])
            terms = np.broadcast_to(terms, (*inner, *shape)).reshape((prod(inner), *shape))
            acc = _combine(combine, acc, terms, run)
    writes[0][...] = acc
    return True


def _stretch(full: np.ndarray, point: Sequence[int], span: range) -> np.ndarray:
    """The operand at one index of the outer reduction loops, for some of the next (size-1 axes where it does not
    vary)."""
    here = full[tuple(i if n > 1 else 0 for i, n in zip(point, full.shape, strict=False))]
    return here[span.start : span.stop] if here.shape[0] > 1 else here


def _combine(op: Operation, acc: Any, terms: np.ndarray, run: Runner) -> Any:
    t = op.results[0].type
    if op.name == "arith.addf":
        return run.domain.sum(terms, (0,), t, acc)
    if op.name in _INT_OPS:
        return _folded(terms, acc, lambda a, b: binary_int(op, _INT_OPS[op.name], a, b, t))
    fold = semantics_of(op)
    return _folded(terms, acc, lambda a, b: fold(op, (a, b), run)[0])


def _folded(terms: np.ndarray, acc: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """`acc` with all of the terms: pairs, then pairs of those."""
    while len(terms) > 1:
        half = len(terms) // 2
        combined = np.asarray(combine(terms[:half], terms[half : 2 * half]))
        terms = np.concatenate([combined, terms[2 * half :]]) if len(terms) % 2 else combined
    return combine(acc, terms[0])
