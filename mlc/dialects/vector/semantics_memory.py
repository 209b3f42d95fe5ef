"""Reference semantics of `vector`: loads, stores, transfers. Lanes outside a buffer are an error unless masked off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import AffineMapAttr, ArrayAttr, IntegerAttr
from xdsl.dialects.vector import TransferReadOp, TransferWriteOp
from xdsl.ir import Operation
from xdsl.ir.affine import AffineDimExpr

from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Results, Runner, fail, semantics
from mlc.ir.values import element_type, static_shape


def _window(op: Operation, sizes: Sequence[int], indices: Args, shape: Sequence[int]) -> tuple[Any, ...]:
    """Slices of the elements at `indices` onwards along the trailing dimensions."""
    lead = len(sizes) - len(shape)
    at: list[Any] = []
    for d, (i, n) in enumerate(zip(indices, sizes, strict=True)):
        start, length = int(i), 1 if d < lead else shape[d - lead]
        if start < 0 or start + length > n:
            fail(op, f"dimension {d}: {length} elements from {start} reach outside size {n}")
        at.append(start if d < lead else slice(start, start + length))
    return tuple(at)


@semantics("vector.load")
def load(op: Operation, args: Args, run: Runner) -> Results:
    base = args[0]
    assert isinstance(base, Buffer)
    window = _window(op, base.sizes, args[1:], static_shape(op.results[0].type))
    return (base.widen(base.array[window].copy()),)


@semantics("vector.store")
def store(op: Operation, args: Args, run: Runner) -> Results:
    value, base = args[0], args[1]
    assert isinstance(base, Buffer)
    base.writable[_window(op, base.sizes, args[2:], np.shape(value))] = base.narrow(value)
    return ()


def _lanes(op: Operation, base: Buffer, indices: Args, mask: Any) -> tuple[tuple[int, ...], np.ndarray]:
    """Leading indices and the last-dimension indices of the lanes that are on."""
    at = tuple(int(i) for i in indices)
    on = np.flatnonzero(mask)
    last = at[-1] + on
    for i, n in zip(at[:-1], base.sizes[:-1], strict=True):
        if len(on) and not 0 <= i < n:
            fail(op, f"index {list(at)} is outside {list(base.sizes)}")
    if len(on) and (last[0] < 0 or last[-1] >= base.sizes[-1]):
        fail(op, f"lanes at {last[0]}..{last[-1]} reach outside size {base.sizes[-1]}")
    return at[:-1], last


@semantics("vector.maskedload")
def maskedload(op: Operation, args: Args, run: Runner) -> Results:
    base, mask, passed = args[0], args[-2], args[-1]
    assert isinstance(base, Buffer)
    lead, last = _lanes(op, base, args[1:-2], mask)
    out = np.array(passed)
    if len(last):
        out[np.asarray(mask)] = base.widen(base.array[(*lead, last)])
    return (out,)


@semantics("vector.maskedstore")
def maskedstore(op: Operation, args: Args, run: Runner) -> Results:
    base, mask, value = args[0], args[-2], args[-1]
    assert isinstance(base, Buffer)
    lead, last = _lanes(op, base, args[1:-2], mask)
    if len(last):
        base.writable[(*lead, last)] = base.narrow(value[np.asarray(mask)])
    return ()


@semantics("vector.gather")
def gather(op: Operation, args: Args, run: Runner) -> Results:
    base, offsets, mask, passed = args[0], args[-3], args[-2], args[-1]
    out = np.array(passed)
    start = [int(i) for i in args[1:-3]]
    for lane in np.argwhere(np.asarray(mask)):
        at = (*start[:-1], start[-1] + int(offsets[tuple(lane)]))
        out[tuple(lane)] = base.load(at) if isinstance(base, Buffer) else base[at]
    return (out,)


@semantics("vector.scatter")
def scatter(op: Operation, args: Args, run: Runner) -> Results:
    base, offsets, mask, value = args[0], args[-3], args[-2], args[-1]
    assert isinstance(base, Buffer)
    start = [int(i) for i in args[1:-3]]
    for lane in np.argwhere(np.asarray(mask)):
        base.store((*start[:-1], start[-1] + int(offsets[tuple(lane)])), value[tuple(lane)])
    return ()


def _transfer(
    op: TransferReadOp | TransferWriteOp, shape: Sequence[int], indices: Args, lanes: Sequence[int], mask: Any
) -> tuple[list[np.ndarray], np.ndarray]:
    """Source index of each lane per source dimension, and which lanes are inside (and on)."""
    assert isinstance(op.permutation_map, AffineMapAttr) and isinstance(op.in_bounds, ArrayAttr)
    exprs = op.permutation_map.data.results
    at = [np.full(tuple(lanes), int(i), dtype=np.int64) for i in indices]
    inside = np.ones(tuple(lanes), dtype=np.bool_)
    on = inside.copy()
    if mask is not None:
        dims = [k for k, e in enumerate(exprs) if isinstance(e, AffineDimExpr)]
        order = sorted(dims, key=lambda k: getattr(exprs[k], "position", 0))
        spread = np.transpose(mask, [order.index(k) for k in dims])
        on &= spread.reshape([n if k in dims else 1 for k, n in enumerate(lanes)])
    for k, expr in enumerate(exprs):
        if isinstance(expr, AffineDimExpr):
            step = np.arange(lanes[k], dtype=np.int64).reshape([-1 if e == k else 1 for e in range(len(lanes))])
            at[expr.position] = at[expr.position] + step
    for d, (index, n) in enumerate(zip(at, shape, strict=True)):
        ok = (index >= 0) & (index < n)
        position = next((k for k, e in enumerate(exprs) if isinstance(e, AffineDimExpr) and e.position == d), None)
        flag = op.in_bounds.data[position] if position is not None else None
        promised = position is None or (isinstance(flag, IntegerAttr) and bool(flag.value.data))
        if promised and not np.all(ok | ~on):
            fail(op, f"dimension {d} was promised in bounds but reaches outside size {n}")
        inside &= ok
    return at, inside & on


@semantics("vector.transfer_read")
def transfer_read(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, TransferReadOp)
    n = len(op.indices)
    source, indices, padding = args[0], args[1 : 1 + n], args[1 + n]
    mask = args[2 + n] if op.mask is not None else None
    data = source.read() if isinstance(source, Buffer) else source
    t = op.result.type
    lanes = static_shape(t)
    at, inside = _transfer(op, np.shape(data), indices, lanes, mask)
    out = np.full(lanes, padding, dtype=run.domain.dtype(element_type(t)))
    out[inside] = data[tuple(i[inside] for i in at)]
    return (out,)


@semantics("vector.transfer_write")
def transfer_write(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, TransferWriteOp)
    n = len(op.indices)
    value, target, indices = args[0], args[1], args[2 : 2 + n]
    mask = args[2 + n] if op.mask is not None else None
    data = target.read() if isinstance(target, Buffer) else np.array(target)
    at, inside = _transfer(op, np.shape(data), indices, np.shape(value), mask)
    data[tuple(i[inside] for i in at)] = value[inside]
    if isinstance(target, Buffer):
        target.write(data)
        return ()
    return (data,)
