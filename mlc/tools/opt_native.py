"""`mlc-opt --run --native`: a function of any level but llvm, compiled as it stands and called.

    func.func @forward(%a: f32) -> f32           scalars travel as tensors of rank 0
    func.func @forward(%a: memref<4xf32>)        buffers are read and written in place, and shown after the call
    buffers and loops level, as --mlc-to gives   compiled as one module, from that level on

Tests: `tests/tools/test_run_native.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects import memref, scf, tensor
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    FunctionType,
    IndexType,
    IntegerType,
    MemRefType,
    ModuleOp,
    ShapedType,
    StringAttr,
    TensorType,
)
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation

from mlc.arrays.recipes import Recipes
from mlc.backends.llvm.testing import NativeKernel, failure_messages
from mlc.backends.registry import check_runs_here
from mlc.compile_parts import run_rows
from mlc.driver import compile_module
from mlc.errors import UnsupportedError
from mlc.ir.compact import to_compact
from mlc.ir.context import MlcContext
from mlc.ir.locations import format_location
from mlc.ir.values import is_float
from mlc.linking import link
from mlc.module_parts import constant_names
from mlc.options import Options
from mlc.phases import Phases
from mlc.runtime.bundle import Bundle
from mlc.signature import messages_of, numpy_dtype, signature_of
from mlc.tools.opt_target import Target


def run_native(
    module: ModuleOp, ctx: MlcContext, name: str, inputs: Sequence[np.ndarray], target: Target
) -> list[np.ndarray]:
    """Results of `@name`, then its memref arguments as they are after the call. `module` may be changed."""
    entry = next((op for op in module.ops if isinstance(op, FuncOp) and op.sym_name.data == name), None)
    if entry is None:  # an llvm.func
        raise UnsupportedError(f"@{name} is no func.func", hint=_INTERPRET)
    check_runs_here(target.backend, target.name)
    types = (*entry.function_type.inputs.data, *entry.function_type.outputs.data)
    options = Options(target=target.name, debug="verify" if target.verify else "")
    if "num_inputs" in entry.attributes:
        return _run_lowered(module, ctx, entry, inputs, target, options)
    if any(isinstance(t, MemRefType) for t in types) or _is_below_tensors(module):
        return _run_in_place(module, ctx, entry, inputs, target, options)
    _refuse_blocks_and_calls(module)
    if _accesses_depend_on_values(module):
        options = Options(target=target.name, debug="bounds")
    _scalars_as_tensors(module, entry)
    return compile_module(module, ctx, options).run(list(inputs))


_INTERPRET = "without --native the interpreter runs it"


def _refuse_blocks_and_calls(module: ModuleOp) -> None:
    """What tensors have no way down for: branches between blocks, and functions that other functions call."""
    for op in module.walk():
        where = format_location(op.location) or None
        if op.successors:
            raise UnsupportedError(
                f"'{op.name}' in a function of tensors", where=where, expected="scf.if, scf.for or scf.while",
                hint=_INTERPRET,
            )  # fmt: skip
        if isinstance(op, CallOp):
            name = op.callee.root_reference.data
            called = next((f for f in module.ops if _symbol(f) == name), None)
            if called is not None and "kernel" not in called.attributes:
                raise UnsupportedError(
                    f"a call of @{name}, a function of tensors", where=where, expected="one function", hint=_INTERPRET
                )


def _accesses_depend_on_values(module: ModuleOp) -> bool:
    """Whether an element or a slice outside of a tensor can be asked for, which nobody has checked. What comes from
    the torch level is lowered with its checks."""
    ops = list(module.walk())
    if any(op.name.startswith("torch") for op in ops):
        return False
    types = [v.type for op in ops for v in (*op.operands, *op.results)]
    indexed = any(isinstance(op, tensor.ExtractOp | tensor.InsertOp | scf.ForOp) for op in ops)
    sliced = any(isinstance(op, tensor.ExtractSliceOp | tensor.InsertSliceOp) and op.offsets for op in ops)
    return indexed or sliced or any(isinstance(t, TensorType) and DYNAMIC_INDEX in t.get_shape() for t in types)


def _is_below_tensors(module: ModuleOp) -> bool:
    """Whether there are branches, calls or buffers and no tensor: what the way down from tensors does not know."""
    arguments = (a for op in module.walk() for r in op.regions for b in r.blocks for a in b.args)
    results = (r for op in module.walk() for r in op.results)
    types = [v.type for v in (*arguments, *results)]
    if any(isinstance(t, TensorType) for t in types):
        return False
    lower = any(op.successors or isinstance(op, CallOp) for op in module.walk())
    return lower or any(isinstance(t, MemRefType) for t in types)


def _is_scalar(t: Attribute) -> bool:
    return isinstance(t, IntegerType | IndexType) or (is_float(t) and not isinstance(t, ShapedType))


def _scalars_as_tensors(module: ModuleOp, entry: FuncOp) -> None:
    """Scalar arguments and results of the entry become tensors of rank 0."""
    types = entry.function_type
    if not any(_is_scalar(t) for t in (*types.inputs.data, *types.outputs.data)):
        return
    _refuse_calls(module, entry)
    block = entry.body.blocks[0]
    for arg in list(block.args):
        if _is_scalar(arg.type):
            scalar = arg.type
            read = tensor.ExtractOp(arg, [], scalar)
            read.location = entry.location
            new = block.insert_arg(TensorType(scalar, []), arg.index)
            arg.replace_all_uses_with(read.result)
            read.operands[0] = new
            block.erase_arg(arg)
            first = block.first_op
            assert first is not None
            block.insert_op_before(read, first)
    for at, end in _returns(entry):
        for k, value in enumerate(end.operands):
            if _is_scalar(value.type):
                made = tensor.FromElementsOp.build(operands=[[value]], result_types=[TensorType(value.type, [])])
                made.location = end.location
                at.insert_op_before(made, end)
                end.operands[k] = made.results[0]
    entry.properties["function_type"] = FunctionType.from_lists(
        [TensorType(t, []) if _is_scalar(t) else t for t in types.inputs.data],
        [TensorType(t, []) if _is_scalar(t) else t for t in types.outputs.data],
    )


def _run_in_place(
    module: ModuleOp, ctx: MlcContext, entry: FuncOp, inputs: Sequence[np.ndarray], target: Target, options: Options
) -> list[np.ndarray]:
    """A function of memrefs and scalars, compiled with the functions it calls. Every access is checked: the sizes of
    buffers come from outside."""
    name = entry.sym_name.data
    buffers = [isinstance(t, MemRefType) for t in entry.function_type.inputs.data]
    results = list(entry.function_type.outputs.data)
    foreign = [str(t) for t in results if not _is_scalar(t)]
    if foreign:
        raise UnsupportedError(
            f"@{name} takes buffers and gives {', '.join(foreign)}",
            expected="scalar results, or none, for a native run",
            hint=_INTERPRET,
        )
    _results_as_buffers(module, entry)
    loops, rest = target.pipeline.kernel_rows(bounds=True)
    run_rows((*loops, *rest), ctx, module, options)
    lowered = next(op for op in module.ops if _symbol(op) == _NAME)
    library = target.backend.load(target.backend.compile_many([module], target.machine))
    messages = failure_messages(lowered)  # pyright: ignore[reportArgumentType]
    kernel = NativeKernel(library, _NAME, entry.function_type.inputs.data, messages, None, kernel=_is_kernel(entry))
    kernel.name = name  # as the file has it, in messages
    arrays = [np.array(x) for x in inputs]
    made = [np.zeros((), numpy_dtype(t)) for t in results]
    kernel(*(a if is_buffer else a.item() for a, is_buffer in zip(arrays, buffers, strict=True)), *made)
    return [*made, *(a for a, is_buffer in zip(arrays, buffers, strict=True) if is_buffer)]


def _is_kernel(entry: FuncOp) -> bool:
    return "kernel" in entry.attributes


_NAME = "mlc_entry"


def _results_as_buffers(module: ModuleOp, entry: FuncOp) -> None:
    """Scalar results are stored into trailing arguments: what returns a value cannot say that it failed. The name is
    one that no pass knows: @forward of the buffers level has a calling convention of its own."""
    _refuse_calls(module, entry)
    entry.properties["sym_name"] = StringAttr(_NAME)
    results = [MemRefType(t, []) for t in entry.function_type.outputs.data]
    block = entry.body.blocks[0]
    outs = [block.insert_arg(t, len(block.args)) for t in results]
    for at, end in _returns(entry):
        for value, out in zip(end.operands, outs, strict=True):
            store = memref.StoreOp.get(value, out, [])
            store.location = end.location
            at.insert_op_before(store, end)
        end.operands = []
    inputs = [*entry.function_type.inputs.data, *results]
    entry.properties["function_type"] = FunctionType.from_lists(inputs, [])


def _returns(entry: FuncOp) -> list[tuple[Block, ReturnOp]]:
    return [(block, op) for block in entry.body.blocks for op in block.ops if isinstance(op, ReturnOp)]


def _refuse_calls(module: ModuleOp, entry: FuncOp) -> None:
    """The signature of the entry is about to change."""
    name = entry.sym_name.data
    if any(isinstance(op, CallOp) and op.callee.root_reference.data == name for op in module.walk()):
        raise UnsupportedError(f"@{name} is called by the module itself", hint=_INTERPRET)


def _symbol(op: Operation) -> str | None:
    return getattr(op.properties.get("sym_name"), "data", None)


def _run_lowered(
    module: ModuleOp, ctx: MlcContext, entry: FuncOp, inputs: Sequence[np.ndarray], target: Target, options: Options
) -> list[np.ndarray]:
    """A module of the buffers or loops level, as the pipeline leaves it, compiled in one piece. Where there is no arena
    yet (after bufferize alone), it is planned first."""
    run_rows(tuple(row for row in target.pipeline.module if row.pass_name == "plan-memory"), ctx, module, options)
    signature = signature_of(module)
    constants = ModuleOp([])
    kernels: dict[str, Operation] = {}
    for op in list(module.ops):
        if isinstance(op, FuncOp) and "constant" in op.attributes:  # run by the interpreter, never lowered
            op.detach()
            constants.body.block.add_op(op)
        elif isinstance(op, FuncOp) and op is not entry:
            kernels[op.sym_name.data] = op
    names = constant_names(module)
    derived = [n for op in constants.ops if (n := _symbol(op)) is not None]
    messages = messages_of(entry, kernels)
    run_rows(target.pipeline.kernels, ctx, module, options)
    bundle = Bundle(
        objects=target.backend.compile_many([module], target.machine),
        inputs=signature.inputs,
        outputs=signature.outputs,
        constants=names,
        derived=sorted(derived),
        recipes=Recipes(),  # the functions are at hand
        constant_functions=to_compact(constants),
        literals={},
        weights={},  # checked against the module as it was parsed, and kept nowhere
        assertions=messages,
        places="",
        choices={},
    )
    return link(bundle, ctx.resources, target.backend, Phases(), functions=constants).run(list(inputs))
