"""Reference semantics of the amx dialect: a tile is an array of its rows.

The unit adds the products of a column one group of terms after the other; each sum is rounded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.ir import Attribute, Operation

from mlc.dialects.amx.ops import TileLoadOp, TileMulIOp, TileStoreOp, TileType
from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Results, Runner, fail, semantics


@semantics("amx.tile_zero")
def tile_zero(op: Operation, args: Args, run: Runner) -> Results:
    tile = op.results[0].type
    assert isinstance(tile, TileType)
    return (zero_tile(tile.sizes, tile.element_type, run),)


def zero_tile(sizes: tuple[int, int], element: Attribute, run: Runner) -> Any:
    """A tile of zeros in the run's domain."""
    return run.domain.constant(np.zeros(sizes, dtype=run.domain.dtype(element)), element)


def _window(op: Operation, base: Buffer, indices: Args, tile: Attribute) -> tuple[slice, slice]:
    assert isinstance(tile, TileType)
    slices: list[slice] = []
    for at, size, n in zip(indices, base.sizes, tile.sizes, strict=True):
        if int(at) < 0 or int(at) + n > size:
            fail(op, f"{n} elements from {int(at)} reach outside size {size}")
        slices.append(slice(int(at), int(at) + n))
    return slices[0], slices[1]


@semantics("amx.tile_load")
def tile_load(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, TileLoadOp)
    base = args[0]
    assert isinstance(base, Buffer)
    return (base.widen(base.array[_window(op, base, args[1:], op.res.type)].copy()),)


@semantics("amx.tile_store")
def tile_store(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, TileStoreOp)
    base, value = args[0], args[-1]
    assert isinstance(base, Buffer)
    base.writable[_window(op, base, args[1:-1], op.val.type)] = base.narrow(value)
    return ()


@semantics("amx.tile_mulf")
def tile_mulf(op: Operation, args: Args, run: Runner) -> Results:
    lhs, acc = op.operands[0].type, op.operands[2].type
    assert isinstance(lhs, TileType) and isinstance(acc, TileType)
    return (multiplied(args, lhs.element_type, acc.element_type, run),)


def multiplied(args: Args, narrow: Attribute, wide: Attribute, run: Runner) -> Any:
    """The sums and, one pair after the other, odd terms first, products of bf16."""
    a, b, acc = args
    x, y = (run.domain.convert(v, narrow, wide) for v in (a, b))
    for k in range(y.shape[0]):
        for p in (1, 0):
            left, right = np.broadcast_arrays(x[:, 2 * k + p, None], y[k, None, p::2])
            acc = run.domain.fma(left, right, acc, wide)
    return acc


@semantics("amx.tile_muli")
def tile_muli(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, TileMulIOp)
    return (multiplied_int8(args, op.is_zext_lhs is not None, op.is_zext_rhs is not None),)


def multiplied_int8(args: Args, unsigned_lhs: bool, unsigned_rhs: bool) -> Any:
    """Sums modulo 2^32."""
    a, b, acc = (np.asarray(v) for v in args)
    x = a.view(np.uint8 if unsigned_lhs else np.int8).astype(np.int64)
    y = b.view(np.uint8 if unsigned_rhs else np.int8).astype(np.int64)
    columns = y.reshape(y.shape[0], -1, 4).transpose(0, 2, 1).reshape(-1, acc.shape[1])
    return (acc + x @ columns).astype(np.int32)
