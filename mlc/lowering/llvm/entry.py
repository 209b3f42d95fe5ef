"""@forward and @arena_size of the buffers level -> the C entry points.

    func.func @forward(%x: memref<?x4xf32>, %y: memref<?x2xf32>, %arena: memref<?xi8>)
 -->
    llvm.func @mlc_forward(%args: !llvm.ptr, %dims: !llvm.ptr, %consts: !llvm.ptr, %arena: !llvm.ptr,
                           %team: !llvm.ptr) -> i32

`args[i]` points to the dense data of argument i, inputs then outputs. `dims` holds the dynamic sizes of the inputs in
order, which `@arena_size` and `@output_dims` take as arguments; the latter gives those of the outputs, to
`mlc_output_dims(dims, out)` and to the entry itself. `consts[k]` points to the k-th weight: the `memref.global`s with a
`dense_resource`, in module order, listed in the attribute `mlc.consts`. `team` is passed on to the kernels: who helps
with parallel loops, or null (`parallel.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects import func, llvm
from xdsl.dialects.builtin import DYNAMIC_INDEX, ArrayAttr, IntegerAttr, MemRefType, StringAttr, i8, i32, i64
from xdsl.ir import Attribute, Block, Region, SSAValue

from mlc.errors import UnsupportedError
from mlc.ir.locations import format_location
from mlc.lowering.llvm.builder import FunctionBuilder, MemRefValue, ModuleState
from mlc.lowering.llvm.func_ops import convert_body, note_messages
from mlc.lowering.llvm.linear import ZERO, Linear
from mlc.lowering.llvm.memref_ops import memory_access
from mlc.lowering.llvm.registry import convert_block
from mlc.lowering.llvm.types import PTR, dynamic_sizes, parts

FORWARD, ARENA_SIZE, OUTPUT_DIMS = "forward", "arena_size", "output_dims"
ENTRY, ENTRY_ARENA_SIZE, ENTRY_OUTPUT_DIMS = "mlc_forward", "mlc_arena_size", "mlc_output_dims"


def _slot(b: FunctionBuilder, array: SSAValue, index: int, ty: Attribute) -> SSAValue:
    properties = {"ordering": IntegerAttr(0, i64), "alignment": IntegerAttr(8, i64)}
    slots = MemRefValue(array, ZERO, (), (), ty)
    return b.emit(llvm.LoadOp, (b.address(slots, Linear(index)),), ty, properties)


def _function(name: str, inputs: list[Attribute], output: Attribute, region: Region, op: func.FuncOp) -> llvm.FuncOp:
    made = llvm.FuncOp(name, llvm.LLVMFunctionType(inputs, output), linkage=llvm.LinkageAttr("external"), body=region)
    made.location = op.location
    return made


def convert_forward(op: func.FuncOp, state: ModuleState) -> llvm.FuncOp:
    """The entry `mlc_forward`."""
    types = op.function_type.inputs.data
    if op.function_type.outputs.data or not types or types[-1] != MemRefType(i8, [DYNAMIC_INDEX]):
        raise UnsupportedError(
            "@forward of the buffers level takes memrefs, the arena last, and returns nothing",
            format_location(op.location) or None,
            expected="memref<?xi8> as the last argument",
            hint="plan-memory gives @forward its arena",
        )
    region = Region(Block(arg_types=[PTR] * 5))
    b = FunctionBuilder(region, state, returns_status=True)
    b.push(region.blocks[0])
    args, dims, b.consts, arena, b.team = region.blocks[0].args
    sources = op.body.blocks[0].args[:-1]
    inputs = _input_count(op, len(sources))
    sizes: list[SSAValue] = []
    for n, value in enumerate(sources):
        ty = value.type
        if not isinstance(ty, MemRefType) or len(parts(ty)) != 1 + len(dynamic_sizes(ty)):
            raise UnsupportedError(f"argument {n} of @forward is not a dense memref: {ty}")
        if n == inputs:
            sizes = _output_sizes(b, sizes, sum(len(dynamic_sizes(cast(MemRefType, v.type))) for v in sources[n:]))
        count = len(dynamic_sizes(ty))
        if n < inputs:
            own = [_slot(b, dims, len(sizes) + k, i64) for k in range(count)]
            sizes += own
        else:
            own, sizes = sizes[:count], sizes[count:]
        b.bind([value], [_slot(b, args, n, PTR), *own])
    bytes_of_arena = Linear((1 << 62) - 1)  # the caller allocates what mlc_arena_size says; nothing here reads it
    last = op.body.blocks[0].args[-1]
    assert isinstance(last.type, MemRefType)
    b.values[last] = MemRefValue(arena, ZERO, (bytes_of_arena,), (Linear(1),), last.type.element_type)
    convert_body(b, op.body)
    made = _function(ENTRY, [PTR] * 5, i32, region, op)
    note_messages(made, b.messages)
    made.attributes["mlc.consts"] = ArrayAttr([StringAttr(name) for name in state.weights])
    return made


def _input_count(op: func.FuncOp, arguments: int) -> int:
    """How many arguments are inputs; all, where the function does not say."""
    count = op.attributes.get("num_inputs")
    return count.value.data if isinstance(count, IntegerAttr) else arguments


def _output_sizes(b: FunctionBuilder, dims: Sequence[SSAValue], count: int) -> list[SSAValue]:
    """Dynamic sizes of the outputs, by the body of @output_dims."""
    if not count:
        return []
    if b.module.output_dims is None:
        raise UnsupportedError("outputs of @forward have dynamic sizes, but there is no @output_dims")
    block = b.module.output_dims.block
    for size in dims:
        b.nonneg.add(size)
    b.bind(block.args, dims)
    return [b.value(v) for v in convert_block(b, block).operands]


def convert_output_dims(op: func.FuncOp, state: ModuleState) -> llvm.FuncOp:
    """The entry `mlc_output_dims`: results go to the array given."""
    region = Region(Block(arg_types=[PTR, PTR]))
    b = FunctionBuilder(region, state, returns_status=False)
    b.push(region.blocks[0])
    dims, out = region.blocks[0].args
    block = op.body.block
    b.bind(block.args, [_slot(b, dims, n, i64) for n in range(len(block.args))])
    slots = MemRefValue(out, ZERO, (), (), i64)
    for n, value in enumerate(convert_block(b, block).operands):
        b.effect(llvm.StoreOp, (b.value(value), b.address(slots, Linear(n))), memory_access(i64))
    b.add(llvm.ReturnOp.create(location=op.location))
    b.finish()
    return _function(ENTRY_OUTPUT_DIMS, [PTR, PTR], llvm.LLVMVoidType(), region, op)


def convert_arena_size(op: func.FuncOp, state: ModuleState) -> llvm.FuncOp:
    """The entry `mlc_arena_size`: index arguments come from the array."""
    region = Region(Block(arg_types=[PTR]))
    b = FunctionBuilder(region, state, returns_status=False)
    b.push(region.blocks[0])
    for n, value in enumerate(op.body.blocks[0].args):
        size = _slot(b, region.blocks[0].args[0], n, i64)
        b.nonneg.add(size)
        b.values[value] = Linear(0, {size: 1})
    convert_body(b, op.body)
    return _function(ENTRY_ARENA_SIZE, [PTR], i64, region, op)
