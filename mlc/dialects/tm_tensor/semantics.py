"""Reference semantics of `tm_tensor`, after torch-mlir's own lowering to loops: the order of every operation is its.

Steps along the dimension that an op works on are taken one by one, all rows at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.builtin import Float32Type, FloatAttr
from xdsl.ir import Operation

from mlc.dialects.tm_tensor.ops import ScanOp, ScatterOp, SortOp, TopkOp
from mlc.ir.semantics import Args, Results, Runner, fail, semantics
from mlc.ir.values import dtype_of, element_type, is_float


@semantics("tm_tensor.yield")
def yield_(op: Operation, args: Args, run: Runner) -> Results:
    return args


def _front(x: Any, d: int) -> np.ndarray:
    """A copy with dimension `d` first."""
    return np.array(np.moveaxis(np.asarray(x), d, 0))


@semantics("tm_tensor.scan")
def scan(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, ScanOp)
    d, inclusive = op.dimension.value.data, bool(op.inclusive.value.data)
    x, y, last = _front(args[0], d), _front(args[1], d), np.array(args[2])
    for i in range(len(x)):
        run.tick()
        if i == 0:
            y[0] = x[0] if inclusive else last
        else:
            y[i] = last = np.asarray(run.run_block(op.body.block, (y[i - 1], x[i if inclusive else i - 1]))[0])
    return np.moveaxis(y, 0, d), np.array(np.broadcast_to(last, args[2].shape))


@semantics("tm_tensor.scatter")
def scatter(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, ScatterOp)
    updates, indices, out = args[0], args[1], np.array(args[2])
    moved = [int(d) for d in op.dimension_map.get_values()]
    window = np.shape(updates)[1:]
    for row in range(len(updates)):
        run.tick()
        for at in np.ndindex(*window):
            place = [0] * (out.ndim - len(window)) + list(at)
            for column, d in enumerate(moved):
                place[d] += int(indices[row, column])
            if any(not 0 <= p < n for p, n in zip(place, out.shape, strict=True)):
                fail(op, f"index {place} is outside a tensor of shape {list(out.shape)}")
            here = tuple(place)
            (out[here],) = run.run_block(op.body.block, (updates[(row, *at)], out[here]))
    return (out,)


@semantics("tm_tensor.sort")
def sort(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, SortOp)
    d = op.dimension.value.data
    rows = [_front(a, d) for a in args]
    n = len(rows[0])
    for _ in range(n):
        for j in range(n - 1):
            run.tick()
            pairs = [v for r in rows for v in (r[j].copy(), r[j + 1].copy())]
            keep = np.asarray(run.run_block(op.body.block, pairs)[0])
            for r, a, b in zip(rows, pairs[::2], pairs[1::2], strict=True):
                r[j], r[j + 1] = np.where(keep, a, b), np.where(keep, b, a)
    return tuple(np.moveaxis(r, 0, d) for r in rows)


@semantics("tm_tensor.topk")
def topk(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, TopkOp)
    d = op.dimension.value.data
    best, places = _front(args[-2], d), _front(args[-1], d)
    x = _front(args[0], d)
    given = _front(args[1], d) if len(args) == 4 else None
    before = op.body.block
    for i in range(len(x)):
        value = x[i]
        place = given[i] if given is not None else np.full(places.shape[1:], i, dtype=places.dtype)
        for j in range(len(best)):
            run.tick()
            (first,), (second,) = run.run_block(before, (value, best[j])), run.run_block(before, (best[j], value))
            takes = first | ((first == second) & (place < places[j]))
            kept, kept_place = best[j].copy(), places[j].copy()
            best[j], places[j] = np.where(first, value, kept), np.where(takes, place, kept_place)
            value, place = np.where(first, kept, value), np.where(takes, kept_place, place)
    return np.moveaxis(best, 0, d), np.moveaxis(places, 0, d)


@semantics("tm_tensor.attention")
def attention(op: Operation, args: Args, run: Runner) -> Results:
    q, k, v = args[:3]
    t = element_type(op.operands[0].type)
    if not is_float(t):
        fail(op, "attention is of floats")
    d = run.domain
    zero = d.constant(np.float32(0), t)
    scores = d.sum(d.float2("mul", k[..., None, :, :], q[..., :, None, :], t), (np.ndim(q),), t, zero)
    scores = d.float2("div", scores, d.constant(np.asarray(scale(q.shape[-1]), dtype=dtype_of(t)), t), t)
    if len(args) == 5:
        scores = d.float2("add", scores, args[3], t)
    peak: Any = d.constant(np.float32(-np.inf), t)
    for j in range(scores.shape[-1]):
        peak = d.float2("max", scores[..., j], peak, t)
    e = d.float1("exp", d.float2("sub", scores, np.expand_dims(peak, -1), t), t)
    total = np.expand_dims(d.sum(e, (np.ndim(e) - 1,), t, zero), -1)
    shares = d.float2("div", e, total, t)
    shares = np.where(d.compare("oeq", total, zero, t), zero, shares)
    terms = d.float2("mul", shares[..., None, :], np.swapaxes(v, -1, -2)[..., None, :, :], t)
    return (np.asarray(d.sum(terms, (np.ndim(q),), t, zero)),)


def scale(width: int) -> float:
    """The square root of the width, as an f32 constant holds it."""
    return FloatAttr(float(width) ** 0.5, Float32Type()).value.data
