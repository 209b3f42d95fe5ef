"""Reference semantics of `memref`: allocation, access, copies, globals. Any access outside a buffer is an error."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import BFloat16Type, IntegerAttr, MemRefType, SymbolRefAttr, UnitAttr
from xdsl.ir import Operation

from mlc.ir.memory import Buffer, Storage, allocate, row_major
from mlc.ir.semantics import Args, Results, Runner, fail, semantics
from mlc.ir.values import attribute_array, element_type, fill_shape, is_float


def _buffer(value: object) -> Buffer:
    assert isinstance(value, Buffer)
    return value


@semantics("memref.alloc", "memref.alloca")
def alloc(op: Operation, args: Args, run: Runner) -> Results:
    t = op.results[0].type
    return (allocate(t, fill_shape(t, args), run.domain),)


@semantics("memref.dealloc")
def dealloc(op: Operation, args: Args, run: Runner) -> Results:
    storage = _buffer(args[0]).storage
    if storage.freed:
        fail(op, "freed twice")
    storage.freed = True
    return ()


def _index_text(first: int, op: Operation) -> str:
    return "(" + "".join(f"{{{k}}}, " for k in range(first, len(op.operands))) + ")"


def _direct(op: Operation) -> bool:
    """Whether elements are stored as they are (bf16 is not) and rank says that numpy gives scalars."""
    return not isinstance(element_type(op.operands[0 if op.name == "memref.load" else 1].type), BFloat16Type)


@semantics("memref.load", inline=lambda op, d: f"{{0}}.at({_index_text(1, op)})" if _direct(op) else None)
def load(op: Operation, args: Args, run: Runner) -> Results:
    return (_buffer(args[0]).load(args[1:]),)


@semantics("memref.store", inline=lambda op, d: f"{{1}}.put({_index_text(2, op)}, {{0}})" if _direct(op) else None)
def store(op: Operation, args: Args, run: Runner) -> Results:
    _buffer(args[1]).store(args[2:], args[0])
    return ()


@semantics("memref.copy")
def copy(op: Operation, args: Args, run: Runner) -> Results:
    source, destination = _buffer(args[0]), _buffer(args[1])
    if source.sizes != destination.sizes:
        fail(op, f"sizes {list(source.sizes)} and {list(destination.sizes)} differ")
    destination.write(source.read())
    return ()


@semantics("memref.dim")
def dim(op: Operation, args: Args, run: Runner) -> Results:
    sizes, index = _buffer(args[0]).sizes, int(args[1])
    if not 0 <= index < len(sizes):
        fail(op, f"dimension {index} of a buffer of rank {len(sizes)}")
    return (np.int64(sizes[index]),)


@semantics("memref.rank")
def rank(op: Operation, args: Args, run: Runner) -> Results:
    return (np.int64(len(_buffer(args[0]).sizes)),)


@semantics("memref.global")
def global_(op: Operation, args: Args, run: Runner) -> Results:
    """A declaration; `memref.get_global` makes the buffer."""
    return ()


@semantics("memref.get_global")
def get_global(op: Operation, args: Args, run: Runner) -> Results:
    symbol = op.properties["name"]
    assert isinstance(symbol, SymbolRefAttr)
    name = symbol.root_reference.data
    made: dict[str, Buffer] = run.state.setdefault("memref.globals", {})
    if name not in made:
        declaration = run.symbol(name)
        if declaration is None or declaration.name != "memref.global":
            fail(op, f"there is no memref.global @{name}")
        made[name] = _make_global(op, declaration, run)
    return (made[name],)


def _make_global(op: Operation, declaration: Operation, run: Runner) -> Buffer:
    t = declaration.properties["type"]
    assert isinstance(t, MemRefType)
    initial = declaration.properties.get("initial_value")
    if initial is None:
        fail(op, "the global is external, there is nothing to read")
    shape = fill_shape(t, ())
    if isinstance(initial, UnitAttr):
        return allocate(t, shape, run.domain)
    value = attribute_array(initial, run.resources)
    constant = "constant" in declaration.properties
    e = element_type(t)
    if (
        constant
        and value.flags.c_contiguous
        and value.size
        and run.domain.dtype(e) == value.dtype
        and not isinstance(e, BFloat16Type)  # values are float32, memory holds their upper halves
        and run.domain.name == "ieee"
    ):
        storage = Storage.over(value)  # a weight is read in place
        out = Buffer(storage, e, run.domain, 0, 0, shape, row_major(shape))
    else:
        out = allocate(t, shape, run.domain)
        out.write(run.domain.constant(value, e) if is_float(e) else value)
    out.storage.constant = constant
    return out


@semantics("memref.assume_alignment", "memref.memory_space_cast")
def same(op: Operation, args: Args, run: Runner) -> Results:
    return args


@semantics("memref.alloca_scope")
def alloca_scope(op: Operation, args: Args, run: Runner) -> Results:
    return run.run_region(op.regions[0], ())


@semantics("memref.alloca_scope.return")
def alloca_scope_return(op: Operation, args: Args, run: Runner) -> Results:
    return args


_RMW = ("addf", "addi", "assign", "maximumf", "maxs", "maxu", "minimumf", "mins", "minu", "mulf", "muli", "ori", "andi")


@semantics("memref.atomic_rmw")
def atomic_rmw(op: Operation, args: Args, run: Runner) -> Results:
    kind = op.properties["kind"]
    assert isinstance(kind, IntegerAttr)
    name = _RMW[kind.value.data]
    buffer, indices = _buffer(args[1]), args[2:]
    old = buffer.load(indices)
    t = element_type(op.operands[1].type)
    match name:
        case "assign":
            new = args[0]
        case "addf" | "mulf":
            new = run.domain.float2(name[:3], old, args[0], t)
        case "maximumf" | "minimumf":
            new = run.domain.float2(name[:3], old, args[0], t)
        case "addi":
            new = np.add(old, args[0])
        case "muli":
            new = np.multiply(old, args[0])
        case "ori":
            new = np.bitwise_or(old, args[0])
        case "andi":
            new = np.bitwise_and(old, args[0])
        case "maxs":
            new = np.maximum(old, args[0])
        case "mins":
            new = np.minimum(old, args[0])
        case _:
            fail(op, f"kind {name} is not known")
    buffer.store(indices, new)
    return (new,)


@semantics("memref.prefetch")
def prefetch(op: Operation, args: Args, run: Runner) -> Results:
    return ()
