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

from mlc.arrays.reduction import fold, stretch, stretches, terms_of
from mlc.dialects.arith.integers import binary_int, fills_dtype, flags_of
from mlc.ir.semantics import Results, Runner, semantics_of, step_of
from mlc.ir.values import dtype_of, element_type, int_width, signed

MAX_POINTS = 8192
"""With more parallel points than this a step of the loop is long enough by itself."""

_EXTREMES = {
    "arith.maximumf": "max",
    "arith.minimumf": "min",
    "arith.maxnumf": "maxnum",
    "arith.minnumf": "minnum",
}
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


def combiner_of(body: Block, n_inputs: int) -> Operation | None:
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


def neutral_of(op: Operation) -> Any:
    """What a combiner leaves every term as."""
    t = element_type(op.results[0].type)
    dtype = dtype_of(t)
    if op.name in _FLOAT_NEUTRAL:
        return dtype.type(_FLOAT_NEUTRAL[op.name])
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


def combining_step(op: Operation) -> tuple[str, tuple[Any, ...]] | None:
    """Kind and attributes of the step that takes the terms of a combiner in; None where it is no step, or where order
    counts."""
    step = step_of(op)
    if step is None or op.name == "arith.addf":
        return None
    return (step.kind, step.attributes) if op.name in _EXTREMES else ("int2", (_INT_OPS[op.name],))


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
    combine = combiner_of(body, n_inputs)
    if combine is None or points > MAX_POINTS or prod(trip) < 4 or any(not hasattr(r, "full") for r in reads):
        return False
    neutral = neutral_of(combine)
    if combine.name in _FLOAT_NEUTRAL:
        neutral = run.domain.constant(neutral, element_type(combine.results[0].type))
    acc: Any = np.array(writes[0])
    for point, spans in stretches(trip, points):
        run.tick()
        rank = len(spans) + len(shape)
        index = [
            np.arange(span.start, span.stop).reshape([-1 if e == d else 1 for e in range(rank)])
            for d, span in enumerate(spans)
        ]
        inputs = [stretch(r.full, point, spans[0]) for r in reads]
        (terms,) = evaluate([*(np.int64(i) for i in point), *index], inputs, [neutral])
        acc = _combine(combine, acc, terms_of(terms, spans, shape), run)
    writes[0][...] = acc
    return True


def _combine(op: Operation, acc: Any, terms: np.ndarray, run: Runner) -> Any:
    t = op.results[0].type
    if op.name == "arith.addf":
        return run.domain.sum(terms, (0,), t, acc)
    if op.name in _INT_OPS:
        name = _INT_OPS[op.name]
        return fold(terms, acc, name if fills_dtype(t) else "", lambda a, b: binary_int(op, name, a, b, t))
    meaning, name = semantics_of(op), _EXTREMES[op.name] if run.domain.name == "ieee" else ""
    return fold(terms, acc, name, lambda a, b: meaning(op, (a, b), run)[0])
