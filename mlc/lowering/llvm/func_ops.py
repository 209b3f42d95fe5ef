"""func -> llvm.func and llvm.call, with the calling convention of ARCHITECTURE.md.

    func.func private @k(%x: memref<?x4xf32>) attributes {kernel}
 -->
    llvm.func @k(%x: !llvm.ptr {llvm.noalias}, %n: i64, %team: !llvm.ptr) -> i32

A kernel's last argument says who helps with its parallel loops (`parallel.py`).
A function without results returns a status: 0, or the number of its failed `cf.assert` (asserts of one message share a
number). A function with one scalar result returns that. The entry returns `call << 16 | number`, where `call` counts
the module's `func.call`s from 1 in order of the text, and 0 stands for the entry's own asserts.
"""

from __future__ import annotations

from typing import cast

from xdsl.dialects import func, llvm
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    FunctionType,
    IntegerAttr,
    MemRefType,
    StringAttr,
    SymbolRefAttr,
    UnitAttr,
    VectorType,
    i1,
    i32,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from mlc.errors import UnsupportedError
from mlc.ir.own_memory import MAY_ALIAS
from mlc.lowering.llvm.builder import FunctionBuilder, ModuleState
from mlc.lowering.llvm.control import convert_terminator
from mlc.lowering.llvm.parallel import call_parallel, parallel_loop
from mlc.lowering.llvm.registry import convert_block, converts
from mlc.lowering.llvm.types import PTR, parts

NUMBER_BITS = 16
"""Bits of a failure code that number the assert; those above number the kernel."""


def returns_status(ty: FunctionType, name: str) -> bool:
    """Whether a function of type `ty` returns a status; one scalar result is returned as it is."""
    outputs = list(ty.outputs)
    if not outputs:
        return True
    if len(outputs) > 1 or isinstance(outputs[0], MemRefType | VectorType):
        raise UnsupportedError(
            f"function @{name} returns {', '.join(map(str, outputs))}: pass destinations as arguments"
        )
    return False


def llvm_signature(ty: FunctionType, status: bool, *, team: bool = False) -> llvm.LLVMFunctionType:
    """The signature under the calling convention; a kernel's ends with the team."""
    inputs = [part for arg in ty.inputs for part in parts(arg)] + [PTR] * team
    return llvm.LLVMFunctionType(inputs, i32 if status else parts(ty.outputs.data[0])[0])


def _argument_attributes(op: func.FuncOp) -> ArrayAttr[DictionaryAttr] | None:
    """`llvm.noalias` on each memref of a kernel that does not share memory with another argument.

    A kernel's destinations never alias its inputs unless marked: an argument attribute `mlc.may_alias`.
    """
    given = op.arg_attrs.data if op.arg_attrs is not None else [DictionaryAttr({})] * len(op.function_type.inputs)
    kernel = "kernel" in op.attributes
    distinct = kernel or parallel_loop(op) is not None
    out: list[DictionaryAttr] = []
    for ty, attributes in zip(op.function_type.inputs, given, strict=True):
        flags: dict[str, Attribute] = {k: v for k, v in attributes.data.items() if k.startswith("llvm.")}
        if isinstance(ty, MemRefType) and distinct and MAY_ALIAS not in attributes.data:
            flags["llvm.noalias"] = UnitAttr()
        out += [DictionaryAttr(flags)] + [DictionaryAttr({})] * (len(parts(ty)) - 1)
    out += [DictionaryAttr({})] * kernel
    return ArrayAttr(out) if any(a.data for a in out) else None


def declare(name: str, ty: llvm.LLVMFunctionType) -> llvm.FuncOp:
    """A function defined elsewhere."""
    return llvm.FuncOp(name, ty, linkage=llvm.LinkageAttr("external"))


def convert_function(op: func.FuncOp, state: ModuleState) -> llvm.FuncOp:
    """A function with its body."""
    name, ty = op.sym_name.data, op.function_type
    status = returns_status(ty, name)
    kernel, shared = name in state.kernels, name in state.parallel
    signature = llvm_signature(ty, status, team=kernel)
    region = Region(Block(arg_types=signature.inputs.data))
    b = FunctionBuilder(region, state, returns_status=status)
    b.push(region.blocks[0])
    args = region.blocks[0].args
    if kernel:
        b.team = args[-1]
    if shared:
        b.nonneg.update(args[:2])
    b.bind(op.body.blocks[0].args, args)
    convert_body(b, op.body)
    result = llvm.FuncOp(name, signature, linkage=llvm.LinkageAttr("internal" if shared else "external"), body=region)
    if shared:
        result.properties["no_inline"] = UnitAttr()  # it has two callers: one copy of the loops is enough
    if (attributes := _argument_attributes(op)) is not None:
        result.properties["arg_attrs"] = attributes
    note_messages(result, b.messages)
    result.location = op.location
    return result


def note_messages(op: llvm.FuncOp, messages: list[str]) -> None:
    """Keep the assert messages on the function: number n is entry n - 1."""
    if len(messages) >= 1 << NUMBER_BITS:
        raise UnsupportedError(f"function @{op.sym_name.data} has {len(messages)} asserts")
    if messages:
        op.attributes["mlc.asserts"] = ArrayAttr([StringAttr(m) for m in messages])


def convert_body(b: FunctionBuilder, body: Region) -> None:
    """The source's blocks, the first one into the current place."""
    source = list(body.blocks)
    blocks: dict[Block, Block] = {}
    for block in source[1:]:
        blocks[block] = b.new_block([part for arg in block.args for part in parts(arg.type)])
    convert_terminator(b, convert_block(b, source[0]), blocks)
    for block in source[1:]:
        b.push(blocks[block])
        b.bind(block.args, blocks[block].args)
        convert_terminator(b, convert_block(b, block), blocks)
        b.scopes.pop()
    b.finish()


@converts("func.call")
def call(b: FunctionBuilder, op: Operation) -> None:
    callee = op.properties["callee"]
    assert isinstance(callee, SymbolRefAttr)
    name = callee.string_value()
    known = b.module.functions.get(name)
    if known is None:
        raise UnsupportedError(f"call of @{name}, which the module does not declare")
    ty, status = known
    args = [part for value in op.operands for part in b.flatten(value)]
    if name in b.module.parallel:
        call_parallel(b, name, args)
        return
    if name in b.module.kernels:
        args.append(b.team if b.team is not None else b.pure(llvm.ZeroOp, (), PTR))
    signature = llvm_signature(ty, status, team=name in b.module.kernels)
    made = llvm.CallOp(name, *args, return_type=cast(Attribute, signature.output))
    made.location = op.location
    b.add(made)
    result = made.results[0]
    b.own(result)
    if not status:
        b.values[op.results[0]] = result
        return
    _check(b, op, name, result)


def _check(b: FunctionBuilder, op: Operation, name: str, code: SSAValue) -> None:
    """Leave with the callee's failure; the entry adds which call it was."""
    if not b.returns_status:
        raise UnsupportedError(f"@{name} can fail, but its caller returns a value")
    ok, fail = b.new_block(), Block()
    zero = b.int_const(0, 32)
    fine = b.emit(llvm.ICmpOp, (code, zero), i1, {"predicate": IntegerAttr(0, 64)})
    b.cond_branch(fine, ok, [], fail, [])
    if b.consts is not None:
        kernel = b.int_const(b.module.calls[op] << NUMBER_BITS, 32)
        marked = llvm.OrOp.create(operands=(code, kernel), result_types=(i32,), location=b.loc)
        fail.add_op(marked)
        code = marked.results[0]
    fail.add_op(llvm.ReturnOp.create(operands=(code,), location=b.loc))
    b.fail_blocks.append(fail)
    b.continue_at(ok)
