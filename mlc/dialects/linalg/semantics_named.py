"""Reference semantics of the `linalg` ops that are no plain loop nest: transpose, broadcast, pack, unpack, softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr
from xdsl.ir import Operation

from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Results, Runner, fail, semantics
from mlc.ir.values import dtype_of, element_type, is_float, mixed


def _ints(op: Operation, name: str) -> list[int]:
    attr = op.properties.get(name)
    if attr is None:
        return []
    assert isinstance(attr, DenseArrayBase)
    return [int(v) for v in attr.get_values()]


def read(x: Any) -> np.ndarray:
    """Contents of a tensor or buffer."""
    return x.read() if isinstance(x, Buffer) else np.asarray(x)


def deliver(op: Operation, destination: Any, value: np.ndarray) -> Results:
    """Result of a destination-style op: written to a buffer, or returned when it has results."""
    shape = destination.sizes if isinstance(destination, Buffer) else np.shape(destination)
    if tuple(shape) != value.shape:
        fail(op, f"a result of shape {list(value.shape)} does not fit {list(shape)}")
    if isinstance(destination, Buffer):
        destination.write(value)
        return ()
    return (value,)


@semantics("linalg.transpose")
def transpose(op: Operation, args: Args, run: Runner) -> Results:
    return deliver(op, args[1], read(args[0]).transpose(_ints(op, "permutation")))


@semantics("linalg.broadcast")
def broadcast(op: Operation, args: Args, run: Runner) -> Results:
    added = _ints(op, "dimensions")
    shape = args[1].sizes if isinstance(args[1], Buffer) else np.shape(args[1])
    x = np.expand_dims(read(args[0]), tuple(added))
    return deliver(op, args[1], np.array(np.broadcast_to(x, shape)))


def _tiles(op: Operation, dynamic: Args) -> tuple[int, ...]:
    return mixed(_ints(op, "static_inner_tiles"), dynamic)


def _outer(op: Operation, rank: int) -> list[int]:
    return _ints(op, "outer_dims_perm") or list(range(rank))


def packing_order(rank: int, positions: Sequence[int], outer: Sequence[int]) -> tuple[list[int], list[int]]:
    """Where dimension d lies once each tiled one is split in two, and the order that packing puts them in."""
    place: list[int] = []
    at = 0
    for d in range(rank):
        place.append(at)
        at += 2 if d in positions else 1
    return place, [place[d] for d in outer] + [place[p] + 1 for p in positions]


@semantics("linalg.pack")
def pack(op: Operation, args: Args, run: Runner) -> Results:
    x, destination = args[0], args[1]
    positions = _ints(op, "inner_dims_pos")
    segments = op.properties["operandSegmentSizes"]
    assert isinstance(segments, DenseArrayBase)
    padded = int(segments.get_values()[2]) == 1
    tiles = dict(zip(positions, _tiles(op, args[3:] if padded else args[2:]), strict=True))
    rank = np.ndim(x)
    _, order = packing_order(rank, positions, _outer(op, rank))
    sizes = [-(-n // tiles[d]) * tiles[d] if d in tiles else n for d, n in enumerate(np.shape(x))]
    if tuple(sizes) != np.shape(x):
        if not padded:
            fail(op, f"shape {list(np.shape(x))} is no multiple of the tiles and there is no padding value")
        grown = np.full(sizes, args[2], dtype=x.dtype)
        grown[tuple(slice(0, n) for n in np.shape(x))] = x
        x = grown
    split: list[int] = []
    for d, n in enumerate(sizes):
        split += [n // tiles[d], tiles[d]] if d in tiles else [n]
    return deliver(op, destination, np.reshape(x, split).transpose(order))


@semantics("linalg.unpack")
def unpack(op: Operation, args: Args, run: Runner) -> Results:
    x, destination = args[0], args[1]
    positions = _ints(op, "inner_dims_pos")
    rank = np.ndim(destination)
    place, order = packing_order(rank, positions, _outer(op, rank))
    split = np.transpose(x, np.argsort(order))
    sizes = [split.shape[place[d]] * (split.shape[place[d] + 1] if d in positions else 1) for d in range(rank)]
    whole = np.reshape(split, sizes)
    shape = np.shape(destination)
    if any(n > have for n, have in zip(shape, sizes, strict=True)):
        fail(op, f"{sizes} packed elements do not fill {list(shape)}")
    return deliver(op, destination, whole[tuple(slice(0, n) for n in shape)])


@semantics("linalg.softmax")
def softmax(op: Operation, args: Args, run: Runner) -> Results:
    """max, exp(x - max), sum in order, as upstream decomposes it; times the sum's reciprocal, where that divides."""
    attr = op.properties["dimension"]
    assert isinstance(attr, IntegerAttr)
    axis = attr.value.data
    t = element_type(op.operands[0].type)
    if not is_float(t):
        fail(op, "softmax is of floats")
    x = read(args[0])
    if x.shape[axis] == 0:
        return deliver(op, args[1], x)
    d = run.domain
    peak: Any = np.take(x, 0, axis)
    for k in range(1, x.shape[axis]):
        peak = d.float2("max", peak, np.take(x, k, axis), t)
    e = d.float1("exp", d.float2("sub", x, np.expand_dims(peak, axis), t), t)
    total = np.expand_dims(d.sum(e, (axis,), t), axis)
    one = d.constant(np.asarray(1, dtype=dtype_of(t)), t)
    return deliver(op, args[1], np.asarray(d.float2("mul", e, d.float2("div", one, total, t), t)))
