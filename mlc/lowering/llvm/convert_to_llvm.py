"""Convert the loops level to the llvm dialect, in one walk that builds the llvm functions directly.

    func.func private @k(%x: memref<4x16xf32>, %y: memref<4x16xf32>) attributes {kernel} {
      scf.for %i = %c0 to %c4 step %c1 {
        %v = vector.load %x[%i, %c0] : memref<4x16xf32>, vector<16xf32>
        %w = arith.addf %v, %v : vector<16xf32>
        vector.store %w, %y[%i, %c0] : memref<4x16xf32>, vector<16xf32>
      }
      return
    }
 -->
    llvm.func @k(%x: !llvm.ptr {llvm.noalias}, %y: !llvm.ptr {llvm.noalias}) -> i32 {
      llvm.br ^bb1(%0 : i64)
    ^bb1(%i: i64):
      %p = llvm.getelementptr inbounds %x[%i * 16] … llvm.load, llvm.fadd, llvm.store
      llvm.cond_br %again, ^bb1(%next : i64), ^bb2
    ^bb2:
      llvm.return %zero : i32
    }

Runs after every pass that works on loops; before the backend. Preserves values bit for bit. How each op is converted:
`mlc.lowering.llvm.registry`.
Tests: tests/lowering/llvm/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects import func, llvm, memref
from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    IntegerType,
    MemRefType,
    ModuleOp,
    UnitAttr,
    UnknownLoc,
)
from xdsl.ir import Attribute, Operation

from mlc.errors import UnsupportedError
from mlc.ir.context import MlcContext
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.locations import with_location
from mlc.ir.passes import MlcPass
from mlc.ir.release import release
from mlc.lowering.llvm import (
    arith_casts,
    arith_ops,
    control,
    func_ops,
    math_ops,
    memref_ops,
    tile_ops,
    vector_arith,
    vector_memory,
    vector_rows,
)
from mlc.lowering.llvm.builder import ModuleState, memory_type
from mlc.lowering.llvm.entry import (
    ARENA_SIZE,
    FORWARD,
    OUTPUT_DIMS,
    convert_arena_size,
    convert_forward,
    convert_output_dims,
)
from mlc.lowering.llvm.func_ops import convert_function, declare, llvm_signature, returns_status
from mlc.lowering.llvm.parallel import parallel_loop, range_function
from mlc.lowering.llvm.registry import family_of
from mlc.lowering.llvm.types import element_bytes

CONVERTER_MODULES = (
    *(arith_ops, arith_casts, control, math_ops, memref_ops),
    *(tile_ops, vector_arith, vector_memory, vector_rows),
)
"""Imported for their registrations."""


@dataclass(frozen=True)
class ConvertToLLVM(MlcPass):
    """Loops level to llvm dialect."""

    name = "convert-to-llvm"
    contract: ClassVar[Contract] = Contract(
        level_in="loops",
        level_out="llvm",
        preserves=Bitwise(),
        profile="loops",
        establishes=("only ops of the llvm dialect are left, and functions of derived constants, which are no code",),
        rules={
            **{
                module.__name__.rpartition(".")[2]: "ops of this family -> llvm ops"
                for module in (*CONVERTER_MODULES, func_ops)
            },
            "function": "func.func -> llvm.func",
        },
    )

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        state = _survey(module)
        converted = [made for op in list(module.ops) for made in _convert(op, state)]
        kept = set(converted)
        for op in list(module.ops):
            op.detach()
            if op not in kept:
                release(op)
        defined = {op.sym_name.data for op in converted if isinstance(op, llvm.FuncOp)}
        externals = [declare(name, ty) for name, ty in state.externals.items() if name not in defined]
        module.body.block.add_ops([*externals, *converted])
        for op in (*externals, *converted):
            with_location(op, module.location if isinstance(op.location, UnknownLoc) else op.location)
        for op in converted:
            if isinstance(op, llvm.FuncOp) and op.body.blocks:
                message = f"converted @{op.sym_name.data}"
                ctx.remarks.applied(self.name, op, message, rule="function", blocks=len(op.body.blocks))
        for name, times in state.converted.items():
            ctx.remarks.count(self.name, family_of(name), times)


def _survey(module: ModuleOp) -> ModuleState:
    """Signatures, and which globals are weights."""
    state = ModuleState()
    for op in module.ops:
        if isinstance(op, func.FuncOp) and "constant" not in op.attributes:
            name = op.sym_name.data
            tile_ops.check_tiles(op)
            if name == OUTPUT_DIMS:
                state.output_dims = op.body
            else:
                state.functions[name] = (op.function_type, returns_status(op.function_type, name))
                if "kernel" in op.attributes:
                    state.kernels.add(name)
                if (about := parallel_loop(op)) is not None:
                    state.parallel[name] = about
        elif isinstance(op, memref.GlobalOp) and isinstance(op.initial_value, DenseResourceAttr):
            state.consts[op.sym_name.data] = len(state.consts)
            state.weights.append(op.initial_value.resource_handle.data)
    if FORWARD in state.functions:
        calls = (op for op in module.walk() if isinstance(op, func.CallOp))
        state.calls = {op: n for n, op in enumerate(calls, 1)}
    return state


def _convert(op: Operation, state: ModuleState) -> list[Operation]:
    if isinstance(op, func.FuncOp) and "constant" in op.attributes:  # the weight store runs it in the interpreter
        return [op]
    if isinstance(op, func.FuncOp):
        name = op.sym_name.data
        if not op.body.blocks:
            return [
                declare(name, llvm_signature(op.function_type, state.functions[name][1], team=name in state.kernels))
            ]
        if name == FORWARD:
            return [convert_forward(op, state)]
        if name == OUTPUT_DIMS:
            return [convert_output_dims(op, state)]
        if name == ARENA_SIZE:
            return [convert_arena_size(op, state)]
        made = convert_function(op, state)
        return [made, range_function(op, state)] if name in state.parallel else [made]
    if isinstance(op, memref.GlobalOp):
        return [] if op.sym_name.data in state.consts else [_global(op)]
    if op.name.startswith("llvm."):
        return [op.clone()]
    raise UnsupportedError(f"'{op.name}' at the top of the module cannot be converted to the llvm dialect")


def _global(op: memref.GlobalOp) -> llvm.GlobalOp:
    """A small table held in the code."""
    ty = op.type
    assert isinstance(ty, MemRefType)
    value = op.initial_value
    element = memory_type(ty.element_type)
    array: Attribute = element
    for size in reversed(ty.get_shape()):
        array = llvm.LLVMArrayType(size, array)
    if isinstance(element, IntegerType) and element != ty.element_type and isinstance(value, DenseIntOrFPElementsAttr):
        raise UnsupportedError(f"memref.global @{op.sym_name.data} of element type {ty.element_type}")
    made = llvm.GlobalOp(
        array,
        op.sym_name.data,
        "private" if op.sym_visibility is not None and op.sym_visibility.data == "private" else "external",
        constant=op.constant is not None,
        value=value if isinstance(value, DenseIntOrFPElementsAttr) else None,
        alignment=max(64, element_bytes(ty.element_type)),
    )
    if isinstance(value, UnitAttr):
        made.properties["value"] = value
    made.location = op.location
    return made
