"""Tensors become memrefs: every value gets a place in memory, kernels write over their destinations.

    func.func @forward(%x: tensor<4xf32>) -> tensor<4xf32> {    func.func @forward(%x: memref<4xf32>, %out0: memref<…>)
      %w = arith.constant dense_resource<w> : tensor<4xf32>         attributes {num_inputs = 1 : i64} {
      %e = tensor.empty() : tensor<4xf32>                    -->  %w = memref.get_global @w : memref<4xf32>
      %r = call @kernel_0(%x, %w, %e) : …                         call @kernel_0(%x, %w, %out0) : …
      return %r : tensor<4xf32> }                                 return }

What: destination style, destinations placed, then one walk per function with an in-place analysis: a copy is made
wherever memory is still needed, with a `missed` remark. `@const.*` functions stay on tensors: the interpreter runs
them. Dynamic sizes of the results are given by `@output_dims`.
Runs after kernels are formed. Runs before plan-memory, which turns `memref.alloc` of @forward into arena offsets.
Tests: tests/lowering/buffers/bufferize*.mlir, tests/lowering/buffers/test_bufferize.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects import func
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    DictionaryAttr,
    FunctionType,
    IndexType,
    IntegerAttr,
    ModuleOp,
    TensorType,
    UnitAttr,
    i64,
)
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

import mlc.lowering.buffers.bufferize_calls
import mlc.lowering.buffers.bufferize_control_flow
import mlc.lowering.buffers.bufferize_views  # noqa: F401  (these register rules)
from mlc.errors import UnsupportedError
from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.locations import format_location
from mlc.ir.passes import MlcPass
from mlc.ir.scratch import SCRATCH
from mlc.lowering.buffers.destination_style import SPELLED_OUT, to_destination_style
from mlc.lowering.buffers.destinations import Destinations, is_tensor
from mlc.lowering.buffers.extents import Extent, Materializer, dims_of, leaves
from mlc.lowering.buffers.function_bufferizer import RULES, FunctionBufferizer
from mlc.lowering.buffers.module_buffers import ExtraArgument, ModuleBuffers, buffer_type
from mlc.lowering.buffers.place_destinations import Placement


@dataclass(frozen=True)
class Bufferize(MlcPass):
    """From the kernels level to the buffers level, without an arena yet."""

    name = "bufferize"
    contract = Contract(
        level_in="kernels",
        level_out="buffers",
        preserves=Bitwise(),
        profile="kernels",
        establishes=("no tensors outside @const.* functions", "results of entry functions are trailing out-parameters"),
        rules={
            **{name: "on tensors -> on buffers" for name in sorted(RULES)},
            "structured": "a linalg op on tensors -> on buffers, its destination written in place",
            **{f"spell-out-{name}": f"{name} -> destinations and insertions" for name in sorted(SPELLED_OUT)},
        },
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        destinations = Destinations.of_module(module)
        defined = [f for f in destinations.functions.values() if f.body.blocks]
        kernels = [f for f in defined if "kernel" in f.attributes]
        entries = [f for f in defined if not {"kernel", "constant"} & f.attributes.keys()]
        if not any(_has_tensors(f) for f in (*kernels, *entries)):
            return
        for function in (*kernels, *entries):
            _check(function)
            for rule, times in to_destination_style(function, kernel="kernel" in function.attributes).items():
                ctx.remarks.count(self.name, f"spell-out-{rule}", times)
        for function in (*kernels, *entries):
            _check_ops(function.body.block)
        for kernel in kernels:
            Placement(kernel, _kernel_outs(kernel), destinations).run()
        state = ModuleBuffers(ctx, module, destinations, _bufferize_kernel)
        called: list[str] = []
        for function in entries:
            called += [op.callee.string_value() for op in function.walk() if isinstance(op, func.CallOp)]
            _bufferize_entry(state, function)
        # calls on tensors have got kernels on buffers; what takes and gives none is called as it is
        for kernel in kernels:
            types = (*kernel.function_type.inputs, *kernel.function_type.outputs)
            if kernel.sym_name.data not in called or not any(isinstance(t, TensorType) for t in types):
                _bufferize_kernel(state, kernel, tuple(_buffer_or_scalar(t) for t in kernel.function_type.inputs))
            else:
                kernel.detach()
                kernel.erase()


def _has_tensors(function: func.FuncOp) -> bool:
    types = (*function.function_type.inputs, *function.function_type.outputs)
    values = (v for op in function.walk() for v in (*op.operands, *op.results))
    return any(isinstance(t, TensorType) for t in types) or any(is_tensor(v) for v in values)


def _check(function: func.FuncOp) -> None:
    if len(function.body.blocks) != 1:
        raise UnsupportedError(
            f"@{function.sym_name.data} has {len(function.body.blocks)} blocks",
            where=format_location(function.location) or None,
            expected="one: control flow as scf.if, scf.for, scf.while",
        )


def _check_ops(block: Block) -> None:
    """Refuse ops on tensors that nothing here knows, before anything is asked about their sizes."""
    for op in block.ops:
        if isinstance(op, LinalgStructuredOperation):  # its body is made of scalars
            continue
        if op.name not in RULES and any(is_tensor(v) for v in (*op.operands, *op.results)):
            raise UnsupportedError(
                f"op '{op.name}' has no form on buffers",
                where=format_location(op.location) or None,
                expected="ops of linalg and tensor from linalg-form-kernels on",
                hint="a pass that turns it into these stands in the pipeline of a target: compile for that one, "
                "or put one in with Pipeline.insert",
            )
        for region in op.regions:
            for inner in region.blocks:
                _check_ops(inner)


def _buffer_or_scalar(t: Attribute) -> Attribute:
    return buffer_type(t) if isinstance(t, TensorType) else t


def _kernel_outs(kernel: func.FuncOp) -> list[SSAValue]:
    args, results = kernel.body.block.args, kernel.function_type.outputs
    outs = list(args[len(args) - len(results) :])
    if [a.type for a in outs] != list(results):
        raise UnsupportedError(
            f"kernel @{kernel.sym_name.data} has no destination per result",
            where=format_location(kernel.location) or None,
            expected="trailing arguments of the types of the results",
        )
    return list(outs)


def _bufferize_kernel(state: ModuleBuffers, kernel: func.FuncOp, types: tuple[Attribute, ...]) -> list[ExtraArgument]:
    b = FunctionBufferizer(state, kernel, kernel=True)
    b.take_arguments(types, _kernel_outs(kernel))
    b.run()
    _update_type(kernel)
    _mark_scratch(kernel, b.extras)
    return b.extras


def _mark_scratch(kernel: func.FuncOp, extras: Sequence[ExtraArgument]) -> None:
    """Note which of the last arguments, `extras`, nobody reads after the kernel."""
    if all(extra.value is not None for extra in extras):
        return
    empty, scratch = DictionaryAttr({}), DictionaryAttr({SCRATCH: UnitAttr()})
    count = len(kernel.body.block.args)
    given = kernel.arg_attrs.data if kernel.arg_attrs is not None else [empty] * count
    marks = [scratch if extra.value is None else empty for extra in extras]
    kernel.properties["arg_attrs"] = ArrayAttr([*given[: count - len(marks)], *marks])


def _bufferize_entry(state: ModuleBuffers, function: func.FuncOp) -> None:
    block = function.body.block
    inputs = len(block.args)
    outs: list[SSAValue] = []
    for i, t in enumerate(function.function_type.outputs):
        shaped = t if isinstance(t, TensorType) else TensorType(t, [])
        arg = block.insert_arg(shaped, len(block.args))
        arg.name_hint = f"out{i}"
        outs.append(arg)
    last = block.last_op
    assert last is not None
    extents = [dims_of(v) if is_tensor(v) else () for v in last.operands]
    _add_output_dims(state, function, extents)
    tensors = [o for o, v in zip(outs, last.operands, strict=True) if is_tensor(v)]
    Placement(function, tensors, state.destinations).run()
    b = FunctionBufferizer(state, function, kernel=False)
    b.take_arguments([_buffer_or_scalar(a.type) for a in block.args], outs)
    b.run()
    _update_type(function)
    function.attributes["num_inputs"] = IntegerAttr(inputs, i64)


def _add_output_dims(state: ModuleBuffers, function: func.FuncOp, extents: Sequence[tuple[Extent, ...]]) -> None:
    """`@output_dims`: the dynamic dims of the results from those of the inputs."""
    shapes = [t.get_shape() if isinstance(t, TensorType) else () for t in function.function_type.outputs]
    wanted = [
        e
        for extent, shape in zip(extents, shapes, strict=True)
        for e, d in zip(extent, shape, strict=True)
        if d == DYNAMIC_INDEX
    ]
    if not wanted:
        return
    inputs = [a for a in function.body.block.args[: len(function.function_type.inputs)] if is_tensor(a)]
    slots = [(a, i) for a in inputs for i, d in enumerate(dims_of(a)) if not isinstance(d, int)]
    block = Block(arg_types=[IndexType()] * len(slots))
    args = dict(zip(slots, block.args, strict=True))

    def add(op: Operation) -> None:
        op.location = function.location
        block.add_op(op)

    if not all(leaf in inputs for e in wanted for leaf in leaves(e)):
        raise UnsupportedError(
            f"@{function.sym_name.data} returns a tensor whose size depends on data",
            where=format_location(function.location) or None,
        )
    make = Materializer(add, lambda v, i: args[(v, i)])  # pyright: ignore[reportArgumentType]
    results = [make(e) for e in wanted]
    add(func.ReturnOp(*results))
    types = ([IndexType()] * len(slots), [IndexType()] * len(wanted))
    dims = func.FuncOp(state.unique_symbol("output_dims"), types, Region(block))
    dims.location = function.location
    state.module.body.block.insert_op_after(dims, function)


def _update_type(function: func.FuncOp) -> None:
    args = function.body.block.args
    given = function.arg_attrs
    function.properties["function_type"] = FunctionType.from_lists([a.type for a in args], [])
    function.properties.pop("res_attrs", None)
    if given is not None:
        empty = DictionaryAttr({})
        function.properties["arg_attrs"] = ArrayAttr([*given, *[empty] * (len(args) - len(given))])
