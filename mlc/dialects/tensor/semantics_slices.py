"""Reference semantics of `tensor`: slices and padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.tensor import ExtractSliceOp, InsertSliceOp, PadOp
from xdsl.ir import Attribute, Operation

from mlc.ir.semantics import Args, Results, Runner, fail, semantics
from mlc.ir.values import mixed, static_shape


def slice_of(
    op: Operation, shape: Sequence[int], offsets: Sequence[int], sizes: Sequence[int], strides: Sequence[int]
) -> tuple[slice, ...]:
    """The window as numpy slices, refused when any of it lies outside."""
    out: list[slice] = []
    for d, (n, o, k, s) in enumerate(zip(shape, offsets, sizes, strides, strict=True)):
        last = o + (k - 1) * s
        if k < 0 or s <= 0 or (k > 0 and not (0 <= o < n and 0 <= last < n)) or (k == 0 and not 0 <= o <= n):
            fail(op, f"dimension {d}: {k} elements from {o} by {s} reach outside size {n}")
        out.append(slice(o, last + 1 if k > 0 else o, s))
    return tuple(out)


def reduced_dims(full: Sequence[int], target: Attribute) -> tuple[int, ...]:
    """Which dimensions of size 1 a rank-reducing slice drops: matched from the left, as upstream does."""
    wanted = static_shape(target)
    dropped: list[int] = []
    k = 0
    for d, n in enumerate(full):
        left = len(full) - d
        need = len(wanted) - k
        if need > 0 and (n != 1 or left == need or wanted[k] == 1):
            k += 1
        else:
            dropped.append(d)
    return tuple(dropped)


@semantics("tensor.extract_slice")
def extract_slice(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, ExtractSliceOp)
    a, b = 1 + len(op.offsets), 1 + len(op.offsets) + len(op.sizes)
    offsets = mixed(op.static_offsets.get_values(), args[1:a])
    sizes = mixed(op.static_sizes.get_values(), args[a:b])
    strides = mixed(op.static_strides.get_values(), args[b:])
    window = args[0][slice_of(op, np.shape(args[0]), offsets, sizes, strides)]
    return (np.squeeze(window, axis=reduced_dims(sizes, op.result.type)),)


@semantics("tensor.insert_slice")
def insert_slice(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, InsertSliceOp)
    a, b = 2 + len(op.offsets), 2 + len(op.offsets) + len(op.sizes)
    offsets = mixed(op.static_offsets.get_values(), args[2:a])
    sizes = mixed(op.static_sizes.get_values(), args[a:b])
    strides = mixed(op.static_strides.get_values(), args[b:])
    out = np.array(args[1])
    window = slice_of(op, out.shape, offsets, sizes, strides)
    if int(np.prod(sizes, dtype=np.int64)) != np.size(args[0]):
        fail(op, f"a source of shape {list(np.shape(args[0]))} does not fill sizes {list(sizes)}")
    out[window] = np.reshape(args[0], sizes)
    return (out,)


@semantics("tensor.pad")
def pad(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, PadOp)
    a = 1 + len(op.low)
    low = mixed(op.static_low.get_values(), args[1:a])
    high = mixed(op.static_high.get_values(), args[a:])
    x = args[0]
    if any(p < 0 for p in (*low, *high)):
        fail(op, f"negative padding {list(low)} {list(high)}")
    shape = tuple(n + lo + hi for n, lo, hi in zip(np.shape(x), low, high, strict=True))
    index = tuple(
        np.arange(n, dtype=np.int64).reshape([-1 if k == d else 1 for k in range(len(shape))])
        for d, n in enumerate(shape)
    )
    (value,) = run.run_region(op.region, index)
    out = np.array(np.broadcast_to(np.asarray(value, dtype=x.dtype), shape))
    out[tuple(slice(lo, lo + n) for lo, n in zip(low, np.shape(x), strict=True))] = x
    return (out,)
