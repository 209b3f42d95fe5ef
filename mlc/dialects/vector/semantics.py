"""Reference semantics of `vector`: lanes in registers. `vector.reduction` adds from lane 0 up, accumulator first."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, IntegerAttr
from xdsl.dialects.vector import BroadcastOp, ReductionOp
from xdsl.ir import Operation

from mlc.ir.semantics import Args, Results, Runner, fail, semantics
from mlc.ir.values import DYNAMIC, element_type, is_float, signed, static_shape, unsigned


def ints(op: Operation, name: str) -> tuple[int, ...]:
    """An array of ints held as `array<i64: …>` or `[…]`."""
    attr = op.properties.get(name, op.attributes.get(name))
    if isinstance(attr, ArrayAttr):
        return tuple(int(a.value.data) for a in attr.data if isinstance(a, IntegerAttr))
    assert isinstance(attr, DenseArrayBase)
    return tuple(int(v) for v in attr.get_values())


@semantics("vector.broadcast", "vector.splat")
def broadcast(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    shape = static_shape(t)
    if isinstance(op, BroadcastOp) and np.ndim(args[0]) > len(shape):
        fail(op, "the source has more dimensions than the result")
    return (np.array(np.broadcast_to(np.asarray(args[0], dtype=run.domain.dtype(element_type(t))), shape)),)


@semantics("vector.fma")
def fma(op: Operation, args: Args, run: Runner) -> Results:
    return (run.domain.fma(args[0], args[1], args[2], op.results[0].type),)


def combine(kind: str, a: Any, b: Any, t: Any, run: Runner) -> Any:
    """`a kind b` of a combining kind (`vector.kind`)."""
    if is_float(t):
        names = {
            "add": "add",
            "mul": "mul",
            "minnumf": "minnum",
            "maxnumf": "maxnum",
            "minimumf": "min",
            "maximumf": "max",
        }
        return run.domain.float2(names[kind], a, b, t)
    match kind:
        case "add":
            return np.logical_xor(a, b) if np.asarray(a).dtype.kind == "b" else np.add(a, b)
        case "mul":
            return np.multiply(a, b)
        case "and":
            return np.bitwise_and(a, b)
        case "or":
            return np.bitwise_or(a, b)
        case "xor":
            return np.bitwise_xor(a, b)
        case "minsi":
            return np.minimum(a, b)
        case "maxsi":
            return np.maximum(a, b)
        case "minui":
            return signed(np.minimum(unsigned(a, t), unsigned(b, t)), t)
        case _:
            return signed(np.maximum(unsigned(a, t), unsigned(b, t)), t)


@semantics("vector.reduction")
def reduction(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, ReductionOp)
    kind = str(op.kind.data)
    t = op.dest.type
    lanes = list(args[0])
    acc = args[1] if len(args) > 1 else lanes.pop(0)
    for lane in lanes:
        acc = combine(kind, acc, lane, t, run)
    return (acc,)


@semantics("vector.multi_reduction")
def multi_reduction(op: Operation, args: Args, run: Runner) -> Results:
    kind = str(getattr(op, "kind").data)  # noqa: B009  (defined outside xDSL's vector dialect)
    dims = ints(op, "reduction_dims")
    acc = args[1]
    shape = np.shape(args[0])
    for point in np.ndindex(*(shape[d] for d in dims)):
        at: list[Any] = [slice(None)] * len(shape)
        for d, i in zip(dims, point, strict=True):
            at[d] = i
        acc = combine(kind, acc, args[0][tuple(at)], op.results[0].type, run)
    return (acc,)


@semantics("vector.shuffle")
def shuffle(op: Operation, args: Args, run: Runner) -> Results:
    a, b = (np.atleast_1d(x) for x in args)
    mask = ints(op, "mask")
    both = np.concatenate([a, b])
    if any(m < -1 or m >= len(both) for m in mask):
        fail(op, f"mask {list(mask)} is outside {len(both)} lanes")
    return (both[[max(m, 0) for m in mask]],)


def _position(op: Operation, dynamic: Args, shape: tuple[int, ...]) -> tuple[int, ...]:
    it = iter(dynamic)
    position = tuple(int(next(it)) if s == DYNAMIC else s for s in ints(op, "static_position"))
    for p, n in zip(position, shape, strict=False):
        if not 0 <= p < n:
            fail(op, f"position {list(position)} is outside {list(shape)}")
    return position


@semantics("vector.extract")
def extract(op: Operation, args: Args, run: Runner) -> Results:
    return (args[0][_position(op, args[1:], np.shape(args[0]))],)


@semantics("vector.insert")
def insert(op: Operation, args: Args, run: Runner) -> Results:
    out = np.array(args[1])
    out[_position(op, args[2:], out.shape)] = args[0]
    return (out,)


def _lane(op: Operation, position: Args, count: int) -> tuple[int, ...]:
    """The lane of a vector, or nothing for a 0-d one."""
    lane = tuple(int(p) for p in position)
    if any(not 0 <= p < count for p in lane):
        fail(op, f"lane {list(lane)} of {count}")
    return lane


@semantics("vector.extractelement")
def extractelement(op: Operation, args: Args, run: Runner) -> Results:
    return (args[0][_lane(op, args[1:], np.size(args[0]))],)


@semantics("vector.insertelement")
def insertelement(op: Operation, args: Args, run: Runner) -> Results:
    out = np.array(args[1])
    out[_lane(op, args[2:], out.size)] = args[0]
    return (out,)


@semantics("vector.create_mask")
def create_mask(op: Operation, args: Args, run: Runner) -> Results:
    return (_mask(static_shape(op.results[0].type), [int(a) for a in args]),)


@semantics("vector.constant_mask")
def constant_mask(op: Operation, args: Args, run: Runner) -> Results:
    return (_mask(static_shape(op.results[0].type), ints(op, "mask_dim_sizes")),)


def _mask(shape: tuple[int, ...], sizes: Any) -> np.ndarray:
    out = np.ones(shape, dtype=np.bool_)
    for d, (n, k) in enumerate(zip(shape, sizes, strict=True)):
        out &= (np.arange(n) < k).reshape([-1 if e == d else 1 for e in range(len(shape))])
    return out


@semantics("vector.step")
def step(op: Operation, args: Args, run: Runner) -> Results:
    return (np.arange(static_shape(op.results[0].type)[0], dtype=np.int64),)


@semantics("vector.shape_cast")
def shape_cast(op: Operation, args: Args, run: Runner) -> Results:
    return (np.reshape(args[0], static_shape(op.results[0].type)),)


@semantics("vector.transpose")
def transpose(op: Operation, args: Args, run: Runner) -> Results:
    return (np.transpose(args[0], ints(op, "permutation")),)


@semantics("vector.interleave")
def interleave(op: Operation, args: Args, run: Runner) -> Results:
    both = np.stack([args[0], args[1]], axis=-1)
    return (both.reshape(static_shape(op.results[0].type)),)


@semantics("vector.deinterleave")
def deinterleave(op: Operation, args: Args, run: Runner) -> Results:
    return (args[0][..., 0::2], args[0][..., 1::2])


@semantics("vector.from_elements")
def from_elements(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    out = np.empty(len(args), dtype=run.domain.dtype(element_type(t)))
    for k, a in enumerate(args):
        out[k] = a
    return (out.reshape(static_shape(t)),)


@semantics("vector.to_elements")
def to_elements(op: Operation, args: Args, run: Runner) -> Results:
    return tuple(args[0].reshape(-1))


@semantics("vector.extract_strided_slice")
def extract_strided_slice(op: Operation, args: Args, run: Runner) -> Results:
    window = (slice(o, o + n) for o, n in zip(ints(op, "offsets"), ints(op, "sizes"), strict=True))
    return (args[0][tuple(window)],)


@semantics("vector.insert_strided_slice")
def insert_strided_slice(op: Operation, args: Args, run: Runner) -> Results:
    out = np.array(args[1])
    source = args[0]
    offsets = ints(op, "offsets")
    lead = len(offsets) - np.ndim(source)
    window: list[Any] = list(offsets[:lead])
    window += [slice(o, o + n) for o, n in zip(offsets[lead:], np.shape(source), strict=True)]
    out[tuple(window)] = source
    return (out,)


@semantics("vector.outerproduct")
def outerproduct(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    a = args[0][:, None] if np.ndim(args[1]) else args[0]
    b = args[1][None, :] if np.ndim(args[1]) else args[1]
    if len(args) == 2:
        return (run.domain.float2("mul", a, b, t),)
    return (run.domain.fma(a, b, args[2], t),)


@semantics("vector.bitcast")
def bitcast(op: Operation, args: Args, run: Runner) -> Results:
    source, target = op.operands[0].type, op.results[0].type
    if run.domain.name not in ("ieee", "integers") and is_float(source) != is_float(target):
        fail(op, f"bits of floats have no meaning in the {run.domain.name} domain")
    x = np.ascontiguousarray(args[0])
    dtype = run.domain.dtype(element_type(target))
    if x.dtype.kind == "b" or dtype.kind == "b":
        fail(op, "bits of i1 vectors are not packed here")
    return (x.view(dtype).reshape(static_shape(target)),)


@semantics("vector.print")
def print_(op: Operation, args: Args, run: Runner) -> Results:
    return ()
