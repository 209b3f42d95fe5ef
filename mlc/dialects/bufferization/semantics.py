"""Reference semantics of `bufferization`: tensors to buffers and back."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.bufferization import AllocTensorOp
from xdsl.ir import Operation

from mlc.dialects.tensor.semantics import undefined
from mlc.ir.memory import Buffer, buffer_from
from mlc.ir.semantics import Args, Results, Runner, semantics
from mlc.ir.values import element_type, fill_shape


@semantics("bufferization.alloc_tensor")
def alloc_tensor(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, AllocTensorOp)
    if op.copy is not None:
        return (np.array(args[len(op.dynamic_sizes)]),)
    t = op.tensor.type
    return (undefined(fill_shape(t, args[: len(op.dynamic_sizes)]), t, run),)


@semantics("bufferization.clone")
def clone(op: Operation, args: Args, run: Runner) -> Results:
    source = args[0]
    assert isinstance(source, Buffer)
    return (buffer_from(source.read(), source.element, run.domain),)


@semantics("bufferization.to_tensor")
def to_tensor(op: Operation, args: Args, run: Runner) -> Results:
    source = args[0]
    assert isinstance(source, Buffer)
    return (source.read(),)


@semantics("bufferization.to_buffer")
def to_buffer(op: Operation, args: Args, run: Runner) -> Results:
    return (buffer_from(args[0], element_type(op.results[0].type), run.domain),)


@semantics("bufferization.materialize_in_destination")
def materialize_in_destination(op: Operation, args: Args, run: Runner) -> Results:
    destination = args[1]
    if isinstance(destination, Buffer):
        destination.write(args[0])
        return ()
    return (args[0],)


@semantics("bufferization.dealloc_tensor")
def dealloc_tensor(op: Operation, args: Args, run: Runner) -> Results:
    return ()
