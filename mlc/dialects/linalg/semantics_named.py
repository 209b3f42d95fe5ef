"""Reference semantics of the `linalg` ops that are no plain loop nest: transpose, broadcast, pack, unpack, softmax."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr
from xdsl.ir import Operation

from mlc.arrays import packing
from mlc.arrays.shapes import transpose as transposed
from mlc.ir.memory import Buffer
from mlc.ir.semantics import Args, Results, Runner, Step, fail, semantics
from mlc.ir.values import DYNAMIC, dtype_of, element_type, is_float, mixed


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


@semantics("linalg.transpose", step=lambda op: Step("transpose", (_ints(op, "permutation"),), (op.operands[0],)))
def transpose(op: Operation, args: Args, run: Runner) -> Results:
    return deliver(op, args[1], transposed(_ints(op, "permutation"), read(args[0])))


@semantics("linalg.broadcast")
def broadcast(op: Operation, args: Args, run: Runner) -> Results:
    added = _ints(op, "dimensions")
    shape = args[1].sizes if isinstance(args[1], Buffer) else np.shape(args[1])
    x = np.expand_dims(read(args[0]), tuple(added))
    return deliver(op, args[1], np.array(np.broadcast_to(x, shape)))


def _tiles(op: Operation, dynamic: Args) -> tuple[int, ...]:
    return mixed(_ints(op, "static_inner_tiles"), dynamic)


def _is_padded(op: Operation) -> bool:
    segments = op.properties["operandSegmentSizes"]
    assert isinstance(segments, DenseArrayBase)
    return int(segments.get_values()[2]) == 1


def _pack_step(op: Operation) -> Step | None:
    tiles = _ints(op, "static_inner_tiles")
    if DYNAMIC in tiles:
        return None
    operands = (op.operands[0], *([op.operands[2]] if _is_padded(op) else []))
    return Step("pack", (_ints(op, "inner_dims_pos"), tiles, _ints(op, "outer_dims_perm")), operands)


@semantics("linalg.pack", step=_pack_step)
def pack(op: Operation, args: Args, run: Runner) -> Results:
    x, destination, *rest = args
    padding = [rest.pop(0)] if _is_padded(op) else []
    try:
        packed = packing.pack(
            _ints(op, "inner_dims_pos"), _tiles(op, tuple(rest)), _ints(op, "outer_dims_perm"), np.asarray(x), *padding
        )
    except ValueError as e:
        fail(op, str(e))
    return deliver(op, destination, packed)


@semantics("linalg.unpack")
def unpack(op: Operation, args: Args, run: Runner) -> Results:
    x, destination = args[0], args[1]
    positions = _ints(op, "inner_dims_pos")
    rank = np.ndim(destination)
    place, order = packing.packing_order(rank, positions, _ints(op, "outer_dims_perm"))
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
