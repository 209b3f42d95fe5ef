"""Calls of kernels and the return of a function, on buffers.

%r = call @kernel_3(%x, %d) : …   -->   call @kernel_3(%x, %d, %scratch) : (memref…) -> ()     %r is %d
return %r : tensor<…>             -->   a copy of %r into %out0, unless it was computed there
"""

from __future__ import annotations

from xdsl.dialects import arith, func, memref
from xdsl.dialects.builtin import IndexType, TensorType
from xdsl.ir import BlockArgument, Operation, SSAValue

from mlc.lowering.buffers.destinations import is_tensor
from mlc.lowering.buffers.extents import Materializer, substitute
from mlc.lowering.buffers.function_bufferizer import FunctionBufferizer, rule
from mlc.lowering.buffers.module_buffers import ExtraArgument
from mlc.lowering.buffers.views import View


@rule("func.call")
def _call(b: FunctionBufferizer, op: Operation) -> None:
    assert isinstance(op, func.CallOp)
    indices = b.module.destinations.indices(op)
    targets = dict(zip(indices, (b.destination(op, i) for i in indices), strict=True))
    args = [
        b.as_parameter(targets[i][0] if i in targets else b.memrefs[v]) if is_tensor(v) else v
        for i, v in enumerate(op.arguments)
    ]
    kernel = b.module.specialise(op, tuple(a.type for a in args))
    outer = dict(zip(kernel.parameters, args, strict=True))
    for extra in kernel.extras:
        args.append(_extra(b, op, extra, outer))
    b.insert(func.CallOp(kernel.symbol, args, []))
    for result, i in zip(op.results, indices, strict=True):
        b.bind(result, *targets[i])
    b.drop(op)


def _extra(
    b: FunctionBufferizer, op: Operation, extra: ExtraArgument, outer: dict[BlockArgument, SSAValue]
) -> SSAValue:
    """Scratch or a constant that the kernel called by `op` asks for; `outer` maps its parameters to arguments."""
    if extra.value is not None:
        t = TensorType(extra.type.element_type, extra.type.shape)
        return b.constant(extra.value, t)

    def at_call(value: SSAValue) -> SSAValue:
        if not isinstance(value, BlockArgument) or value not in outer:
            raise b.fail(op, "a kernel's scratch has a size that is not known at its call")
        return outer[value]

    def dim(value: SSAValue, i: int) -> SSAValue:
        constant = b.emit(arith.ConstantOp.from_int_and_width(i, IndexType()))
        return b.emit(memref.DimOp(value, constant))

    make = Materializer(b.insert, dim)
    sizes = [substitute(e, at_call) for e in extra.extents]
    sizes = [e if isinstance(e, int) else make(e) for e in sizes]
    return b.allocate(TensorType(extra.type.element_type, extra.type.shape), sizes)[0]


@rule("func.return")
def _return(b: FunctionBufferizer, op: Operation) -> None:
    outs = iter(b.outs)
    moves: list[tuple[SSAValue, View, SSAValue, View]] = []
    scalars: list[tuple[SSAValue, SSAValue]] = []
    for value in op.operands:
        out = next(outs)
        if is_tensor(value):
            moves.append((b.memrefs[value], b.analysis.places[value], b.memrefs[out], b.analysis.places[out]))
        else:
            scalars.append((value, b.memrefs[out]))
    b.move_all(moves)
    for value, out in scalars:
        b.insert(memref.StoreOp.get(value, out, []))
    b.insert(func.ReturnOp())
    b.drop(op)
