"""Reference semantics of the llvm dialect: pointers, loads, stores, globals, over a flat byte memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.builtin import IntegerAttr, StringAttr, SymbolRefAttr, UnitAttr, VectorType
from xdsl.dialects.llvm import GEP_USE_SSA_VAL, GEPOp, LLVMArrayType, LLVMStructType
from xdsl.ir import Attribute, Operation

from mlc.dialects.llvm.flat_memory import FlatMemory, encode, size_of, struct_offsets
from mlc.errors import UnsupportedError
from mlc.ir.semantics import Args, Results, Runner, fail, semantics
from mlc.ir.values import attribute_array, element_type


def memory_of(run: Runner) -> FlatMemory:
    """The run's memory."""
    memory = run.state.get("llvm.memory")
    if memory is None:
        if run.domain.name not in ("ieee", "integers"):
            raise UnsupportedError(f"the llvm dialect works on bytes, the {run.domain.name} domain has none")
        memory = run.state["llvm.memory"] = FlatMemory()
    assert isinstance(memory, FlatMemory)
    return memory


@semantics("llvm.getelementptr")
def gep(op: Operation, args: Args, run: Runner) -> Results:
    assert isinstance(op, GEPOp)
    dynamic = iter(args[1:])
    indices: list[Any] = [next(dynamic) if i == GEP_USE_SSA_VAL else i for i in op.rawConstantIndices.get_values()]
    t: Attribute = op.elem_type
    address = args[0] + np.int64(size_of(t)) * _wide(indices[0])
    for index in indices[1:]:
        match t:
            case LLVMStructType():
                address = address + np.int64(struct_offsets(t)[int(index)])
                t = t.types.data[int(index)]
            case LLVMArrayType():
                t = t.type
                address = address + np.int64(size_of(t)) * _wide(index)
            case VectorType():
                t = t.element_type
                address = address + np.int64(size_of(t)) * _wide(index)
            case _:
                fail(op, f"an index into {t}")
    return (address,)


def _wide(index: Any) -> Any:
    return np.asarray(index).astype(np.int64)[()]


@semantics("llvm.load")
def load(op: Operation, args: Args, run: Runner) -> Results:
    _check_alignment(op, args[0])
    return (memory_of(run).load(int(args[0]), op.results[0].type),)


@semantics("llvm.store")
def store(op: Operation, args: Args, run: Runner) -> Results:
    _check_alignment(op, args[1])
    memory_of(run).store(int(args[1]), args[0], op.operands[0].type)
    return ()


def _check_alignment(op: Operation, address: Any) -> None:
    attr = op.properties.get("alignment")
    if isinstance(attr, IntegerAttr) and attr.value.data > 1 and int(address) % attr.value.data:
        fail(op, f"address {int(address):#x} is not aligned to {attr.value.data} bytes")


@semantics("llvm.alloca")
def alloca(op: Operation, args: Args, run: Runner) -> Results:
    t = op.properties["elem_type"]
    attr = op.properties.get("alignment")
    align = attr.value.data if isinstance(attr, IntegerAttr) else 1
    return (np.int64(memory_of(run).allocate(int(args[0]) * size_of(t), align=align)),)


@semantics("llvm.intr.stacksave")
def stacksave(op: Operation, args: Args, run: Runner) -> Results:
    return (np.int64(0),)


@semantics("llvm.intr.stackrestore")
def stackrestore(op: Operation, args: Args, run: Runner) -> Results:
    return ()


@semantics("llvm.mlir.global")
def global_(op: Operation, args: Args, run: Runner) -> Results:
    """A declaration; `llvm.mlir.addressof` places it."""
    return ()


@semantics("llvm.mlir.addressof")
def addressof(op: Operation, args: Args, run: Runner) -> Results:
    symbol = op.properties["global_name"]
    assert isinstance(symbol, SymbolRefAttr)
    name = symbol.root_reference.data
    placed: dict[str, np.int64] = run.state.setdefault("llvm.globals", {})
    if name not in placed:
        target = run.symbol(name)
        if target is None or target.name != "llvm.mlir.global":
            fail(op, f"there is no global @{name} with an address here")
        placed[name] = _place(op, target, run)
    return (placed[name],)


def _place(op: Operation, target: Operation, run: Runner) -> np.int64:
    t = target.properties["global_type"]
    value = target.properties.get("value")
    constant = "constant" in target.properties
    align = target.properties.get("alignment")
    alignment = align.value.data if isinstance(align, IntegerAttr) else 16
    match value:
        case None if target.regions and target.regions[0].blocks:
            fail(op, "a global with an initializer region")
        case None | UnitAttr():
            data = np.full(size_of(t), 0xFF, dtype=np.uint8)
        case StringAttr():
            data = np.frombuffer(value.data.encode(), dtype=np.uint8).copy()
        case _:
            data = encode(attribute_array(value, run.resources), _innermost(t)).copy()
    if len(data) < size_of(t):
        fail(op, f"{len(data)} bytes do not fill {t}")
    return np.int64(memory_of(run).allocate(len(data), align=alignment, data=data, constant=constant))


def _innermost(t: Attribute) -> Attribute:
    while isinstance(t, LLVMArrayType):
        t = t.type
    return element_type(t)


def _passed_through(op: Operation, mask: Any, passed: Args, run: Runner) -> np.ndarray:
    """What lanes that are off give."""
    dtype = run.domain.dtype(element_type(op.results[0].type))
    return np.array(passed[0]) if passed else np.zeros(np.shape(mask), dtype=dtype)


@semantics("llvm.intr.masked.load")
def masked_load(op: Operation, args: Args, run: Runner) -> Results:
    address, mask, *passed = args
    e = element_type(op.results[0].type)
    out = _passed_through(op, mask, tuple(passed), run)
    memory, step = memory_of(run), size_of(e)
    for k in np.flatnonzero(mask):
        out[k] = memory.load(int(address) + int(k) * step, e)
    return (out,)


@semantics("llvm.intr.masked.store")
def masked_store(op: Operation, args: Args, run: Runner) -> Results:
    value, address, mask = args
    e = element_type(op.operands[0].type)
    memory, step = memory_of(run), size_of(e)
    for k in np.flatnonzero(mask):
        memory.store(int(address) + int(k) * step, value[k], e)
    return ()


@semantics("llvm.intr.masked.gather")
def masked_gather(op: Operation, args: Args, run: Runner) -> Results:
    addresses, mask, *passed = args
    e = element_type(op.results[0].type)
    out = _passed_through(op, mask, tuple(passed), run)
    for k in np.flatnonzero(mask):
        out[k] = memory_of(run).load(int(addresses[k]), e)
    return (out,)


@semantics("llvm.intr.masked.scatter")
def masked_scatter(op: Operation, args: Args, run: Runner) -> Results:
    value, addresses, mask = args
    e = element_type(op.operands[0].type)
    for k in np.flatnonzero(mask):
        memory_of(run).store(int(addresses[k]), value[k], e)
    return ()


@semantics("llvm.intr.memcpy", "llvm.intr.memmove")
def memcpy(op: Operation, args: Args, run: Runner) -> Results:
    target, source, n = (int(a) for a in args[:3])
    if op.name == "llvm.intr.memcpy" and source != target and abs(source - target) < n:
        fail(op, "the ranges overlap")
    if n:
        memory = memory_of(run)
        memory.window(target, n, write=True)[...] = memory.window(source, n).copy()
    return ()


@semantics("llvm.intr.memset")
def memset(op: Operation, args: Args, run: Runner) -> Results:
    n = int(args[2])
    if n:
        memory_of(run).window(int(args[0]), n, write=True)[...] = np.asarray(args[1]).astype(np.uint8)
    return ()
