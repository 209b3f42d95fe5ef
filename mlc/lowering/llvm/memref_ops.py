"""memref -> pointers and address arithmetic.

%s = memref.subview %m[%i, 8] [1, 16] [1, 1]   -->   nothing: an offset 64*%i + 8 carried along
%x = memref.load %s[%c0, %j]                   -->   gep, llvm.load
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import cast

from xdsl.dialects import llvm
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    IntegerAttr,
    IntegerType,
    MemRefType,
    NoneAttr,
    SymbolRefAttr,
    VectorType,
    i1,
    i32,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue

from mlc.dialects.llvm.intrinsics import MemcpyOp, PrefetchOp
from mlc.errors import LimitError, UnsupportedError
from mlc.lowering.llvm.attributes import int_array, int_list
from mlc.lowering.llvm.builder import FunctionBuilder, MemRefValue, memory_type
from mlc.lowering.llvm.control import count_loop
from mlc.lowering.llvm.linear import ZERO, Linear
from mlc.lowering.llvm.registry import converts
from mlc.lowering.llvm.types import PTR, element_bytes, layout_strides, scalar_type

MAX_ALLOCA = 1 << 20
"""Bytes of one stack buffer; anything larger belongs in the arena."""

_ORDERING = IntegerAttr(0, i64)


@lru_cache(maxsize=4096)
def memory_access(element: Attribute) -> Mapping[str, Attribute]:
    """Properties of a load or store of `element`s: aligned as an element, no more."""
    return {"alignment": IntegerAttr(element_bytes(element), i64), "ordering": _ORDERING}


def from_memory(b: FunctionBuilder, value: SSAValue, element: Attribute) -> SSAValue:
    """A bool is a byte in memory: any non-zero byte is true."""
    if memory_type(element) == scalar_type(element):
        return value
    if element == i1:
        ty = VectorType(i1, value.type.get_shape()) if isinstance(value.type, VectorType) else i1
        return b.emit(llvm.ICmpOp, (value, b.zero(value.type)), ty, {"predicate": IntegerAttr(1, 64)})
    ty = scalar_type(element)
    return b.emit(
        llvm.TruncOp, (value,), VectorType(ty, value.type.get_shape()) if isinstance(value.type, VectorType) else ty
    )


def to_memory(b: FunctionBuilder, value: SSAValue, element: Attribute) -> SSAValue:
    """The inverse of `from_memory`."""
    memory = memory_type(element)
    if memory == scalar_type(element):
        return value
    ty = VectorType(memory, value.type.get_shape()) if isinstance(value.type, VectorType) else memory
    return b.emit(llvm.ZExtOp, (value,), ty)


@converts("memref.load")
def load(b: FunctionBuilder, op: Operation) -> None:
    ref = b.memref(op.operands[0])
    pointer = b.address(ref, b.element_index(ref, op.operands[1:]))
    value = b.emit(llvm.LoadOp, (pointer,), memory_type(ref.element), memory_access(ref.element))
    b.values[op.results[0]] = from_memory(b, value, ref.element)


@converts("memref.store")
def store(b: FunctionBuilder, op: Operation) -> None:
    ref = b.memref(op.operands[1])
    pointer = b.address(ref, b.element_index(ref, op.operands[2:]))
    value = to_memory(b, b.value(op.operands[0]), ref.element)
    b.effect(llvm.StoreOp, (value, pointer), memory_access(ref.element))


@converts("memref.prefetch")
def prefetch(b: FunctionBuilder, op: Operation) -> None:
    ref = b.memref(op.operands[0])
    pointer = b.address(ref, b.element_index(ref, op.operands[1:]), outside=True)
    names = {"rw": "isWrite", "hint": "localityHint", "cache": "isDataCache"}
    values = {to: cast(IntegerAttr, op.properties[name]).value.data for to, name in names.items()}
    b.effect(PrefetchOp, (pointer,), {to: IntegerAttr(abs(value), i32) for to, value in values.items()})


# Views


def _mixed(op: Operation, group: int, static: str) -> list[int | SSAValue]:
    """Static numbers and dynamic operands of one group of a subview-like op."""
    segments = int_array(op, "operandSegmentSizes")
    start = sum(segments[:group])
    dynamic = list(op.operands[start : start + segments[group]])
    return [dynamic.pop(0) if v == DYNAMIC_INDEX else v for v in int_array(op, static)]


def _form(b: FunctionBuilder, value: int | SSAValue) -> Linear:
    return Linear(value) if isinstance(value, int) else b.linear(value)


def _sized(b: FunctionBuilder, value: int | SSAValue) -> Linear:
    form = _form(b, value)
    _mark_size(b, form)
    return form


def _mark_size(b: FunctionBuilder, form: Linear) -> None:
    """A size is never negative."""
    if form.const == 0 and len(form.terms) == 1:
        ((value, factor),) = form.terms.items()
        if factor == 1:
            b.nonneg.add(value)


@converts("memref.subview")
def subview(b: FunctionBuilder, op: Operation) -> None:
    source = b.memref(op.operands[0])
    offsets, sizes, steps = (_mixed(op, g + 1, f"static_{n}") for g, n in enumerate(("offsets", "sizes", "strides")))
    ty = cast(MemRefType, op.results[0].type)
    offset = source.offset
    strides: list[Linear] = []
    for at, step, stride in zip(offsets, steps, source.strides, strict=True):
        offset = offset.plus(b.product(_form(b, at), stride))
        strides.append(b.product(_form(b, step), stride))
    forms = [_sized(b, s) for s in sizes]
    kept = _kept_dims(ty, sizes, strides)
    b.values[op.results[0]] = MemRefValue(
        source.base, offset, tuple(forms[i] for i in kept), tuple(strides[i] for i in kept), source.element
    )


def _kept_dims(ty: MemRefType, sizes: Sequence[int | SSAValue], strides: Sequence[Linear]) -> list[int]:
    """Source dimensions that a rank-reducing subview keeps: unit ones are dropped so that sizes and strides match."""
    rank = ty.get_num_dims()
    drop = len(sizes) - rank
    if drop == 0:
        return list(range(len(sizes)))
    shape, wanted = ty.get_shape(), layout_strides(ty)

    def matches(source: int, result: int) -> bool:
        size = sizes[source]
        have = size if isinstance(size, int) else DYNAMIC_INDEX
        stride = wanted[result]
        known = None if strides[source].terms else strides[source].const
        return have == shape[result] and (stride is None or known is None or stride == known)

    def search(source: int, result: int) -> list[int] | None:
        if len(sizes) - source < rank - result:
            return None
        if source == len(sizes):
            return [] if result == rank else None
        if sizes[source] == 1 and (rest := search(source + 1, result)) is not None:
            return rest
        if result < rank and matches(source, result) and (rest := search(source + 1, result + 1)) is not None:
            return [source, *rest]
        return None

    kept = search(0, 0)
    if kept is None:
        raise UnsupportedError(f"memref.subview to {ty} does not drop unit dimensions only")
    return kept


@converts("memref.reinterpret_cast")
def reinterpret_cast(b: FunctionBuilder, op: Operation) -> None:
    source = b.memref(op.operands[0])
    (offset,) = _mixed(op, 1, "static_offsets")
    sizes, strides = _mixed(op, 2, "static_sizes"), _mixed(op, 3, "static_strides")
    # The new offset counts from the start of the source's buffer; a carried pointer has its own offset applied.
    ty = cast(MemRefType, op.operands[0].type)
    base_offset = 0 if isinstance(ty.layout, NoneAttr) else ty.get_offset()
    if base_offset != 0:
        raise UnsupportedError(f"memref.reinterpret_cast of {ty}: its offset is not known to be 0")
    b.values[op.results[0]] = MemRefValue(
        source.base,
        source.offset.plus(_form(b, offset)),
        tuple(_sized(b, s) for s in sizes),
        tuple(_form(b, s) for s in strides),
        source.element,
    )


@converts("memref.view")
def view(b: FunctionBuilder, op: Operation) -> None:
    source = b.memref(op.operands[0])
    ty = cast(MemRefType, op.results[0].type)
    pointer = b.address(source, b.linear(op.operands[1]))
    dynamic = list(op.operands[2:])
    sizes = [_sized(b, dynamic.pop(0) if s == DYNAMIC_INDEX else s) for s in ty.get_shape()]
    b.values[op.results[0]] = MemRefValue(pointer, ZERO, tuple(sizes), tuple(b.row_major(sizes)), ty.element_type)


@converts("memref.cast", "memref.memory_space_cast", "memref.assume_alignment")
def cast_(b: FunctionBuilder, op: Operation) -> None:
    if not op.results:
        return
    ref = b.memref(op.operands[0])
    ty = op.results[0].type
    if not isinstance(ty, MemRefType):
        raise UnsupportedError(f"cast to {ty}: unranked memrefs have no llvm form")
    sizes = [Linear(s) if s != DYNAMIC_INDEX else have for s, have in zip(ty.get_shape(), ref.sizes, strict=True)]
    strides = [Linear(s) if s is not None else have for s, have in zip(layout_strides(ty), ref.strides, strict=True)]
    b.values[op.results[0]] = MemRefValue(ref.base, ref.offset, tuple(sizes), tuple(strides), ref.element)


def _groups(op: Operation) -> list[list[int]]:
    reassociation = op.properties["reassociation"]
    assert isinstance(reassociation, ArrayAttr)
    return [int_list(group) for group in reassociation]


@converts("memref.expand_shape")
def expand_shape(b: FunctionBuilder, op: Operation) -> None:
    ref = b.memref(op.operands[0])
    ty = cast(MemRefType, op.results[0].type)
    dynamic = list(op.operands[1:])
    shape = ty.get_shape()
    sizes: list[Linear] = [Linear(s) for s in shape]
    strides: list[Linear] = [ZERO] * len(shape)
    for outer, group in enumerate(_groups(op)):
        unknown = [i for i in group if shape[i] == DYNAMIC_INDEX]
        for i in unknown:
            if dynamic:
                sizes[i] = _sized(b, dynamic.pop(0))
            else:
                known = 1
                for j in group:
                    known *= shape[j] if j != i else 1
                sizes[i] = _quotient(b, ref.sizes[outer], known, len(unknown))
        stride = ref.strides[outer]
        for i in reversed(group):
            strides[i] = stride
            stride = b.product(stride, sizes[i])
    b.values[op.results[0]] = MemRefValue(ref.base, ref.offset, tuple(sizes), tuple(strides), ref.element)


def _quotient(b: FunctionBuilder, total: Linear, known: int, unknown: int) -> Linear:
    if unknown != 1:
        raise UnsupportedError("memref.expand_shape with two dynamic sizes in one group and no output shape")
    if known == 1:
        return total
    value = b.pure(llvm.UDivOp, (b.materialize(total), b.int_const(known)), i64, "div")
    b.nonneg.add(value)
    return Linear(0, {value: 1})


@converts("memref.collapse_shape")
def collapse_shape(b: FunctionBuilder, op: Operation) -> None:
    ref = b.memref(op.operands[0])
    ty = cast(MemRefType, op.results[0].type)
    fixed = layout_strides(ty)
    sizes: list[Linear] = []
    strides: list[Linear] = []
    for result, group in enumerate(_groups(op)):
        size = Linear(1)
        for i in group:
            size = b.product(size, ref.sizes[i])
        sizes.append(size)
        stride = fixed[result]
        # The innermost dimension that is not a unit gives the stride of the whole.
        inner = next((i for i in reversed(group) if ref.sizes[i] != Linear(1)), group[-1])
        strides.append(ref.strides[inner] if stride is None else Linear(stride))
    b.values[op.results[0]] = MemRefValue(ref.base, ref.offset, tuple(sizes), tuple(strides), ref.element)


@converts("memref.dim")
def dim(b: FunctionBuilder, op: Operation) -> None:
    ref = b.memref(op.operands[0])
    at = b.linear(op.operands[1])
    if at.terms or not 0 <= at.const < len(ref.sizes):
        raise UnsupportedError("memref.dim needs a constant dimension within the rank")
    b.values[op.results[0]] = ref.sizes[at.const]


@converts("memref.rank")
def rank(b: FunctionBuilder, op: Operation) -> None:
    b.values[op.results[0]] = Linear(len(b.memref(op.operands[0]).sizes))


@converts("memref.extract_strided_metadata")
def extract_strided_metadata(b: FunctionBuilder, op: Operation) -> None:
    ref = b.memref(op.operands[0])
    n = len(ref.sizes)
    ty = cast(MemRefType, op.operands[0].type)
    known = 0 if isinstance(ty.layout, NoneAttr) else ty.get_offset()
    # A carried pointer has its offset applied. One that the type states is taken back, as others may count on it;
    # one known only at run time is zero here.
    offset = Linear(known) if isinstance(known, int) and known > 0 else ZERO
    b.values[op.results[0]] = MemRefValue(ref.base, ref.offset.plus(Linear(-offset.const)), (), (), ref.element)
    b.values[op.results[1]] = offset
    for i in range(n):
        b.values[op.results[2 + i]] = ref.sizes[i]
        b.values[op.results[2 + n + i]] = ref.strides[i]


@converts("memref.extract_aligned_pointer_as_index")
def pointer_as_index(b: FunctionBuilder, op: Operation) -> None:
    pointer = b.address(b.memref(op.operands[0]), ZERO)
    b.values[op.results[0]] = b.emit(llvm.PtrToIntOp, (pointer,), i64)


# Allocation and globals


def _allocation(b: FunctionBuilder, op: Operation) -> tuple[MemRefType, list[Linear], Linear]:
    """Type, sizes and bytes of a memref.alloc or alloca."""
    ty = cast(MemRefType, op.results[0].type)
    if not isinstance(ty.layout, NoneAttr):
        raise UnsupportedError(f"'{op.name}' with a layout: {ty}")
    dynamic = list(op.operands)
    sizes = [_sized(b, dynamic.pop(0) if s == DYNAMIC_INDEX else s) for s in ty.get_shape()]
    count = Linear(element_bytes(ty.element_type))
    for size in sizes:
        count = b.product(count, size)
    return ty, sizes, count


def _alignment(op: Operation) -> int:
    given = op.properties.get("alignment")
    return max(64, given.value.data) if isinstance(given, IntegerAttr) else 64


@converts("memref.alloca")
def alloca(b: FunctionBuilder, op: Operation) -> None:
    ty, sizes, count = _allocation(b, op)
    if count.terms and len(b.scopes) > 1:
        raise UnsupportedError("memref.alloca of dynamic size inside a loop: hoist it or pass scratch memory")
    if not count.terms and count.const > MAX_ALLOCA:
        raise LimitError(f"stack buffer of {count.const} bytes", expected=f"at most {MAX_ALLOCA}", hint="use the arena")
    properties = {"alignment": IntegerAttr(_alignment(op), i64), "elem_type": IntegerType(8)}
    pointer = (
        b.entry_alloca(count, properties)
        if not count.terms
        else b.emit(llvm.AllocaOp, (b.materialize(count),), PTR, properties)
    )
    b.values[op.results[0]] = MemRefValue(pointer, ZERO, tuple(sizes), tuple(b.row_major(sizes)), ty.element_type)


@converts("memref.alloc")
def alloc(b: FunctionBuilder, op: Operation) -> None:
    ty, sizes, count = _allocation(b, op)
    alignment = _alignment(op)
    # aligned_alloc wants a multiple of the alignment.
    wanted = b.emit(
        llvm.AddOp, (b.materialize(count), b.int_const(alignment)), i64, {"overflowFlags": IntegerAttr(0, 32)}
    )
    rounded = b.emit(llvm.AndOp, (wanted, b.int_const(-alignment)), i64)
    pointer = b.call("aligned_alloc", (b.int_const(alignment), rounded), (i64, i64), PTR)
    b.values[op.results[0]] = MemRefValue(pointer, ZERO, tuple(sizes), tuple(b.row_major(sizes)), ty.element_type)


@converts("memref.dealloc")
def dealloc(b: FunctionBuilder, op: Operation) -> None:
    b.call("free", (b.address(b.memref(op.operands[0]), ZERO),), (PTR,), None)


@converts("memref.get_global")
def get_global(b: FunctionBuilder, op: Operation) -> None:
    name = op.properties["name"]
    assert isinstance(name, SymbolRefAttr)
    ty = cast(MemRefType, op.results[0].type)
    pointer = b.global_pointer(name.string_value())
    sizes = [Linear(s) for s in ty.get_shape()]
    b.values[op.results[0]] = MemRefValue(pointer, ZERO, tuple(sizes), tuple(b.row_major(sizes)), ty.element_type)


# Copies


def contiguous_tail(ref: MemRefValue) -> int:
    """How many trailing dimensions are dense."""
    expected = Linear(1)
    n = 0
    for size, stride in zip(reversed(ref.sizes), reversed(ref.strides), strict=True):
        if stride != expected and size != Linear(1):
            break
        if expected.terms and size.terms:
            return n + 1
        expected = size.times(expected.const) if not expected.terms else expected.times(size.const)
        n += 1
    return n


@converts("memref.copy")
def copy(b: FunctionBuilder, op: Operation) -> None:
    """Dense runs by memcpy, outer dimensions by loops."""
    source, target = b.memref(op.operands[0]), b.memref(op.operands[1])
    rank = len(target.sizes)
    tail = min(contiguous_tail(source), contiguous_tail(target))
    sizes = tuple(s if not s.terms else t for s, t in zip(source.sizes, target.sizes, strict=True))
    run = Linear(1)
    for size in sizes[rank - tail :]:
        run = b.product(run, size)

    def move(src: Linear, dst: Linear) -> None:
        from_pointer, to_pointer = b.address(source, src), b.address(target, dst)
        memory = memory_type(target.element)
        if run == Linear(1):
            value = b.emit(llvm.LoadOp, (from_pointer,), memory, memory_access(target.element))
            b.effect(llvm.StoreOp, (value, to_pointer), memory_access(target.element))
        else:
            count = b.materialize(run.times(element_bytes(target.element)))
            b.effect(MemcpyOp, (to_pointer, from_pointer, count), {"isVolatile": IntegerAttr(0, i1)})

    def nest(at: int, src: Linear, dst: Linear) -> None:
        if at == rank - tail:
            move(src, dst)
            return

        def body(iv: Linear) -> None:
            nest(at + 1, src.plus(b.product(iv, source.strides[at])), dst.plus(b.product(iv, target.strides[at])))

        count_loop(b, sizes[at], body)

    nest(0, ZERO, ZERO)
