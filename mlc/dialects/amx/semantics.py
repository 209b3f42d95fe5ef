"""Reference semantics of the amx dialect: a tile is an array of its rows.

Each sum is rounded; the order is the processor's, which besides counts subnormal numbers as zero.
Source: Intel 64 and IA-32 Architectures Software Developer's Manual, TDPBF16PS.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.ir import Attribute, Operation

from mlc.dialects.amx.ops import TileLoadOp, TileMulIOp, TileStoreOp, TileType
from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Results, Runner, fail, semantics
from mlc.ir.values import dtype_of, is_float


@semantics("amx.tile_zero")
def tile_zero(op: Operation, args: Args, run: Runner) -> Results:
    tile = op.results[0].type
    assert isinstance(tile, TileType)
    return (zero_tile(tile.sizes, tile.element_type, run),)


def zero_tile(sizes: tuple[int, ...], element: Attribute, run: Runner) -> Any:
    """A tile of zeros in the run's domain."""
    zeros = np.zeros(sizes, dtype=dtype_of(element))
    return run.domain.constant(zeros, element) if is_float(element) else zeros


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
    """Products of bf16: the even ones one after the other, the odd ones too, and what both give added to the sums."""
    a, b, acc = args
    x, y = (run.domain.convert(v, narrow, wide) for v in (a, b))
    even, odd = (_total(x[:, p::2], y[:, p::2], wide, run) for p in (0, 1))
    return run.domain.float2("add", acc, run.domain.float2("add", even, odd, wide), wide)


def _total(x: Any, y: Any, wide: Attribute, run: Runner) -> Any:
    """Sums over k of x[m, k] * y[k, n], one term after the other."""
    total = zero_tile((x.shape[0], y.shape[1]), wide, run)
    for k in range(y.shape[0]):
        left, right = np.broadcast_arrays(x[:, k, None], y[k, None, :])
        total = run.domain.fma(left, right, total, wide)
    return total


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
