"""Calls of functions marked `parallel` -> the thread pool, where the kernel was given a team.

    call @f(%c0, %n, %x, %y)   -->   if (team == null) f(0, n, x, y);
                                     else { c = {x, y}; team->parallel_for(team, f.range, c, n, grain, cost); }
                                                           // or team->stream_for, for `parallel.streams`

    void f.range(void *c, int64_t begin, int64_t end, char *own) { f(begin, end, c->x, c->y); }

`parallel = grain` is the smallest piece of a range, `parallel.cost` the cycles of an iteration, from which the pool
decides whether the loop is worth waking a thread. A thread of the pool has `own` memory, the caller null: an argument
marked `mlc.private` lies there, else in the context.

A team is `{parallel_for, number of threads, stream_for}`, the last argument of every kernel and of the entry; null runs
alone and costs one comparison.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import func, llvm
from xdsl.dialects.builtin import IntegerAttr, IntegerType, MemRefType, SymbolRefAttr, VectorType, i1, i32, i64
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from mlc.dialects.linalg_ext.private_op import private_bytes
from mlc.dialects.llvm import ops as llvm_ops
from mlc.lowering.llvm.arith_ops import NO_FASTMATH
from mlc.lowering.llvm.builder import FunctionBuilder, MemRefValue, ModuleState, ParallelLoop
from mlc.lowering.llvm.linear import ZERO, Linear
from mlc.lowering.llvm.types import PTR, element_bytes, parts

PARALLEL, COST, STREAMS, PRIVATE = "parallel", "parallel.cost", "parallel.streams", "mlc.private"
MUCH = 1 << 30  # cycles of an iteration whose cost is not said: worth a thread
_BYTE = IntegerType(8)
_EQUAL = IntegerAttr(0, 64)
_LINE = 64
_STREAM_FOR = 16  # byte offset in a team


def parallel_loop(op: Operation) -> ParallelLoop | None:
    """What a function marked `parallel` says; None for others, and where something inside can fail."""
    grain, cost = op.attributes.get(PARALLEL), op.attributes.get(COST)
    if not isinstance(grain, IntegerAttr) or any(o.name in ("cf.assert", "func.call") for o in op.walk()):
        return None
    cycles = cost.value.data if isinstance(cost, IntegerAttr) else MUCH
    return ParallelLoop(grain.value.data, cycles, STREAMS in op.attributes)


def range_name(name: str) -> str:
    """The function that the pool calls for a part of @name."""
    return f"{name}.range"


def _layout(types: Sequence[Attribute]) -> tuple[list[int], int]:
    """Byte offsets of values in a context, and its size."""
    offsets: list[int] = []
    at = 0
    for ty in types:
        size = _bytes(ty)
        at = -(-at // size) * size
        offsets.append(at)
        at += size
    return offsets, max(at, 1)


def _bytes(ty: Attribute) -> int:
    if ty == PTR:
        return 8
    if isinstance(ty, VectorType):
        size = max(1, -(-ty.get_shape()[0] * 8 * element_bytes(ty.element_type) // 8))
        return 1 << (size - 1).bit_length()
    return element_bytes(ty)


def _slot(b: FunctionBuilder, context: SSAValue, offset: int) -> SSAValue:
    return b.address(MemRefValue(context, ZERO, (), (), _BYTE), Linear(offset))


def _access(ty: Attribute) -> dict[str, Attribute]:
    return {"ordering": IntegerAttr(0, i64), "alignment": IntegerAttr(min(_LINE, _bytes(ty)), i64)}


def call_parallel(b: FunctionBuilder, name: str, args: Sequence[SSAValue]) -> None:
    """Run @name over its range (the first two of `args`), which starts at 0."""
    if b.team is None:
        _call(b, name, args)
        return
    merge, together = Block(), Block()
    alone = b.new_block()
    address = b.emit(llvm.PtrToIntOp, (b.team,), i64)
    null = b.emit(llvm.ICmpOp, (address, b.int_const(0)), i1, {"predicate": _EQUAL})
    b.cond_branch(null, alone, [], together, [])
    b.push(alone)
    _call(b, name, args)
    b.branch(merge)
    b.scopes.pop()
    b.region.add_block(together)
    b.push(together)
    captured = args[2:]
    offsets, size = _layout([v.type for v in captured])
    context = b.entry_alloca(Linear(size), {"alignment": IntegerAttr(_LINE, i64), "elem_type": _BYTE})
    for value, offset in zip(captured, offsets, strict=True):
        b.effect(llvm.StoreOp, (value, _slot(b, context, offset)), _access(value.type))
    about = b.module.parallel[name]
    how = _slot(b, b.team, _STREAM_FOR) if about.streams else b.team
    run = b.emit(llvm.LoadOp, (how,), PTR, _access(PTR))
    body = b.emit(llvm.AddressOfOp, (), PTR, {"global_name": SymbolRefAttr(range_name(name))})
    _call_pointer(b, run, [b.team, body, context, args[1], b.int_const(about.grain), b.int_const(about.cost)])
    b.branch(merge)
    b.scopes.pop()
    b.region.add_block(merge)
    b.continue_at(merge)


def _call(b: FunctionBuilder, name: str, args: Sequence[SSAValue]) -> None:
    """A direct call; the status is of no interest, because nothing inside can fail."""
    made = llvm.CallOp(name, *args, return_type=i32)
    if b.loc is not None:
        made.location = b.loc
    b.add(made)


def _call_pointer(b: FunctionBuilder, callee: SSAValue, args: Sequence[SSAValue]) -> None:
    """An indirect call that returns nothing."""
    like = llvm.CallOp("callee", callee, *args)
    del like.properties["callee"]
    if b.loc is not None:
        like.location = b.loc
    b.add(like)


def range_function(op: func.FuncOp, state: ModuleState) -> llvm.FuncOp:
    """`f.range` of a function marked `parallel`."""
    name = op.sym_name.data
    region = Region(Block(arg_types=[PTR, i64, i64, PTR]))
    b = FunctionBuilder(region, state, returns_status=False)
    b.loc = op.location
    b.push(region.blocks[0])
    context, begin, end, own = region.blocks[0].args
    types = [part for arg in op.function_type.inputs.data[2:] for part in parts(arg)]
    offsets, _ = _layout(types)
    values = [
        b.emit(llvm.LoadOp, (_slot(b, context, offset),), ty, _access(ty))
        for offset, ty in zip(offsets, types, strict=True)
    ]
    _take_own(b, op, values, own)
    _call(b, name, [begin, end, *values])
    b.add(llvm.ReturnOp.create(location=op.location))
    b.finish()
    made = llvm.FuncOp(
        range_name(name),
        llvm.LLVMFunctionType([PTR, i64, i64, PTR]),
        linkage=llvm.LinkageAttr("internal"),
        body=region,
    )
    made.location = op.location
    return made


def _take_own(b: FunctionBuilder, op: func.FuncOp, values: list[SSAValue], own: SSAValue) -> None:
    """Put buffers in the thread's own memory in the place of those of private arguments, where it has such memory."""
    given = op.arg_attrs.data[2:] if op.arg_attrs is not None else ()
    at = place = 0
    alone: SSAValue | None = None
    for arg, attributes in zip(op.function_type.inputs.data[2:], given, strict=False):
        if PRIVATE in attributes.data:
            assert isinstance(arg, MemRefType)
            if alone is None:
                address = b.emit(llvm.PtrToIntOp, (own,), i64)
                alone = b.emit(llvm.ICmpOp, (address, b.int_const(0)), i1, {"predicate": _EQUAL})
            mine = _slot(b, own, place)
            flags = {"fastmathFlags": NO_FASTMATH}
            values[at] = b.emit(llvm_ops.SelectOp, (alone, values[at], mine), PTR, flags)
            place += private_bytes(arg)
        at += len(parts(arg))
