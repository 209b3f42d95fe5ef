"""Reference semantics of `tensor`: making tensors, reading elements, reshaping."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, IntegerAttr
from xdsl.dialects.tensor import CollapseShapeOp, ConcatOp, ExpandShapeOp
from xdsl.ir import Attribute, Operation

from mlc.arrays import shapes
from mlc.ir.semantics import Args, Results, Runner, Step, fail, semantics
from mlc.ir.values import DYNAMIC, element_type, fill_shape, is_float, mixed, static_shape


@semantics("tensor.yield")
def yield_(op: Operation, args: Args, run: Runner) -> Results:
    return args


def undefined(shape: tuple[int, ...], t: Attribute, run: Runner) -> np.ndarray:
    """A tensor whose contents nobody may rely on: NaN or -1, so that relying on it shows."""
    if any(n < 0 for n in shape):
        raise ValueError(f"negative size in {list(shape)}")
    dtype = run.domain.dtype(element_type(t))
    if is_float(t):
        value = run.domain.constant(np.float32(np.nan), element_type(t))
        return np.broadcast_to(np.asarray(value, dtype=dtype), shape)
    return np.broadcast_to(np.asarray(-1 if dtype.kind == "i" else 1, dtype=dtype), shape)


@semantics("tensor.empty")
def empty(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    shape = fill_shape(t, args)
    if any(n < 0 for n in shape):
        fail(op, f"negative size in {list(shape)}")
    return (undefined(shape, t, run),)


@semantics("tensor.splat")
def splat(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    return (np.full(fill_shape(t, args[1:]), args[0], dtype=run.domain.dtype(element_type(t))),)


@semantics("tensor.from_elements")
def from_elements(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    dtype = run.domain.dtype(element_type(t))
    if any(np.ndim(a) for a in args):
        return (np.stack(np.broadcast_arrays(*args), axis=-1).reshape(static_shape(t)),)
    flat = np.empty(len(args), dtype=dtype)
    for k, a in enumerate(args):
        flat[k] = a
    return (flat.reshape(static_shape(t)),)


@semantics("tensor.dim")
def dim(op: Operation, args: Args, run: Runner) -> Results:
    shape, index = np.shape(args[0]), int(args[1])
    if not 0 <= index < len(shape):
        fail(op, f"dimension {index} of a tensor of rank {len(shape)}")
    return (np.int64(shape[index]),)


@semantics("tensor.rank")
def rank(op: Operation, args: Args, run: Runner) -> Results:
    return (np.int64(np.ndim(args[0])),)


def checked_indices(op: Operation, indices: Args, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Indices (scalars or arrays of them), refused when one lies outside."""
    for i, n in zip(indices, shape, strict=True):
        if isinstance(i, np.integer) and 0 <= i < n:
            continue
        x = np.asarray(i)
        if x.size and (x.min() < 0 or x.max() >= n):
            fail(op, f"index {x.min()}..{x.max()} is outside dimension of size {n}")
    return indices


@semantics("tensor.extract")
def extract(op: Operation, args: Args, run: Runner) -> Results:
    indices = checked_indices(op, args[1:], np.shape(args[0]))
    if any(np.ndim(i) for i in indices):
        indices = tuple(np.broadcast_arrays(*indices))
    return (args[0][indices],)


@semantics("tensor.insert")
def insert(op: Operation, args: Args, run: Runner) -> Results:
    out = np.array(args[1])
    out[checked_indices(op, args[2:], out.shape)] = args[0]
    return (out,)


@semantics("tensor.cast")
def cast(op: Operation, args: Args, run: Runner) -> Results:
    wanted = static_shape(op.results[0].type)
    if wanted and any(w not in (DYNAMIC, n) for w, n in zip(wanted, np.shape(args[0]), strict=True)):
        fail(op, f"a tensor of shape {list(np.shape(args[0]))} is no {op.results[0].type}")
    return (args[0],)


def reassociation_of(op: Operation) -> list[list[int]]:
    """Groups of dimensions of an expand_shape or collapse_shape."""
    groups = op.properties["reassociation"]
    assert isinstance(groups, ArrayAttr)
    return [
        [int(i.value.data) for i in group.data if isinstance(i, IntegerAttr)]
        for group in groups.data
        if isinstance(group, ArrayAttr)
    ]


def _reshape_step(op: Operation) -> Step | None:
    shape = static_shape(op.results[0].type)
    return None if DYNAMIC in shape else Step("reshape", (shape,), (op.operands[0],))


@semantics("tensor.collapse_shape", step=_reshape_step)
def collapse_shape(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, CollapseShapeOp)
    shape = np.shape(args[0])
    new = tuple(int(np.prod([shape[d] for d in group], dtype=np.int64)) for group in reassociation_of(op))
    return (shapes.reshape(new, args[0]),)


@semantics("tensor.expand_shape", step=_reshape_step)
def expand_shape(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, ExpandShapeOp)
    new = mixed(op.static_output_shape.get_values(), args[1:])
    shape = np.shape(args[0])
    for d, group in enumerate(reassociation_of(op)):
        if int(np.prod([new[i] for i in group], dtype=np.int64)) != shape[d]:
            fail(op, f"dimension {d} of size {shape[d]} does not split into {[new[i] for i in group]}")
    return (shapes.reshape(new, args[0]),)


@semantics("tensor.reshape")
def reshape(op: Operation, args: Args, run: Runner) -> Results:
    new = tuple(int(n) for n in args[1])
    if int(np.prod(new, dtype=np.int64)) != np.size(args[0]):
        fail(op, f"{np.size(args[0])} elements do not fill {list(new)}")
    return (shapes.reshape(new, args[0]),)


@semantics("tensor.concat")
def concat(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, ConcatOp)
    return (np.concatenate(args, axis=op.dim.value.data),)
