"""vector -> LLVM vectors. A multi-dimensional vector is the tuple of its 1-D rows; reshaping one costs nothing.

    %v = vector.load %m[%i, %j] : memref<?x64xf32>, vector<16xf32>   -->   gep, llvm.load {alignment = 4}
    vector.reduction <add>, %v                                       -->   llvm.intr.vector.reduce.fadd

A float add or mul reduction goes from lane 0 upwards unless its fast-math flags allow reassociation, as in MLIR.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import cast

from xdsl.dialects import llvm
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    BFloat16Type,
    DenseArrayBase,
    DenseIntElementsAttr,
    Float16Type,
    Float32Type,
    IntegerAttr,
    IntegerType,
    MemRefType,
    UnitAttr,
    VectorType,
    i1,
    i32,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue

from mlc.dialects.llvm import ops as llvm_ops
from mlc.dialects.llvm.intrinsics import INTRINSICS, MaskedGatherOp, MaskedLoadOp, MaskedScatterOp, MaskedStoreOp
from mlc.errors import UnsupportedError
from mlc.lowering.llvm.arith_ops import NO_OVERFLOW, elementwise, fastmath, part_type, set_parts
from mlc.lowering.llvm.builder import FunctionBuilder, MemRefValue, memory_type
from mlc.lowering.llvm.floats import convert_float, is_float, through_float32
from mlc.lowering.llvm.linear import Linear
from mlc.lowering.llvm.memref_ops import from_memory, memory_access, to_memory
from mlc.lowering.llvm.registry import converts
from mlc.lowering.llvm.types import PTR, element_bytes, vector_parts

_FAST = {"fastmathFlags": llvm.FastMathAttr(None)}


def _vector(ty: Attribute) -> VectorType:
    assert isinstance(ty, VectorType)
    return ty


def _row_offsets(ref: MemRefValue, ty: VectorType, b: FunctionBuilder) -> list[Linear]:
    """Element offsets of the vector's 1-D rows; the trailing dimensions of the memref are walked."""
    lead = ty.get_shape()[:-1]
    strides = ref.strides[len(ref.strides) - ty.get_num_dims() : -1] if lead else ()
    offsets = [Linear()]
    for size, stride in zip(lead, strides, strict=True):
        offsets = [o.plus(b.product(stride, Linear(i))) for o in offsets for i in range(size)]
    return offsets


def _require_unit_stride(ref: MemRefValue, op: Operation) -> None:
    if ref.strides and ref.strides[-1] != Linear(1):
        raise UnsupportedError(f"'{op.name}' of a memref whose last dimension is not contiguous")


# Memory


@converts("vector.load")
def load(b: FunctionBuilder, op: Operation) -> None:
    ref, ty = b.memref(op.operands[0]), _vector(op.results[0].type)
    _require_unit_stride(ref, op)
    base = b.element_index(ref, op.operands[1:])
    _, part = vector_parts(ty)
    memory = VectorType(memory_type(ref.element), part.get_shape())
    properties = memory_access(ref.element)
    rows = [
        from_memory(b, b.emit(llvm.LoadOp, (b.address(ref, base.plus(o)),), memory, properties), ref.element)
        for o in _row_offsets(ref, ty, b)
    ]
    set_parts(b, op.results[0], rows)


@converts("vector.store")
def store(b: FunctionBuilder, op: Operation) -> None:
    ref, ty = b.memref(op.operands[1]), _vector(op.operands[0].type)
    _require_unit_stride(ref, op)
    base = b.element_index(ref, op.operands[2:])
    properties = memory_access(ref.element)
    nontemporal = op.properties.get("nontemporal")
    if isinstance(nontemporal, IntegerAttr) and nontemporal.value.data:
        properties = {**properties, "nontemporal": UnitAttr()}
    for row, offset in zip(b.parts(op.operands[0]), _row_offsets(ref, ty, b), strict=True):
        b.effect(llvm.StoreOp, (to_memory(b, row, ref.element), b.address(ref, base.plus(offset))), properties)


def _alignment(ref: MemRefValue) -> dict[str, Attribute]:
    return {"alignment": IntegerAttr(element_bytes(ref.element), i32)}


@converts("vector.maskedload")
def masked_load(b: FunctionBuilder, op: Operation) -> None:
    ref = b.memref(op.operands[0])
    _require_unit_stride(ref, op)
    *indices, mask, pass_thru = op.operands[1:]
    set_parts(b, op.results[0], [_masked_read(b, ref, b.element_index(ref, indices), b.value(mask), b.value(pass_thru))])


def _masked_read(
    b: FunctionBuilder, ref: MemRefValue, at: Linear, mask: SSAValue, pass_thru: SSAValue
) -> SSAValue:
    other = to_memory(b, pass_thru, ref.element)
    value = b.emit(MaskedLoadOp, (b.address(ref, at), mask, other), other.type, _alignment(ref))
    return from_memory(b, value, ref.element)


@converts("vector.maskedstore")
def masked_store(b: FunctionBuilder, op: Operation) -> None:
    ref = b.memref(op.operands[0])
    _require_unit_stride(ref, op)
    *indices, mask, value = op.operands[1:]
    pointer = b.address(ref, b.element_index(ref, indices))
    b.effect(MaskedStoreOp, (to_memory(b, b.value(value), ref.element), pointer, b.value(mask)), _alignment(ref))


@converts("vector.gather")
def gather(b: FunctionBuilder, op: Operation) -> None:
    ref = b.memref(op.operands[0])
    *indices, index_vector, mask, pass_thru = op.operands[1:]
    at = b.element_index(ref, indices)
    rows: list[SSAValue] = []
    for index, m, p in zip(b.parts(index_vector), b.parts(mask), b.parts(pass_thru), strict=True):
        other = to_memory(b, p, ref.element)
        pointers = _pointers(b, ref, at, index)
        rows.append(from_memory(b, b.emit(MaskedGatherOp, (pointers, m, other), other.type, _alignment(ref)), ref.element))
    set_parts(b, op.results[0], rows)


@converts("vector.scatter")
def scatter(b: FunctionBuilder, op: Operation) -> None:
    ref = b.memref(op.operands[0])
    *indices, index_vector, mask, value = op.operands[1:]
    at = b.element_index(ref, indices)
    for index, m, v in zip(b.parts(index_vector), b.parts(mask), b.parts(value), strict=True):
        pointers = _pointers(b, ref, at, index)
        b.effect(MaskedScatterOp, (to_memory(b, v, ref.element), pointers, m), _alignment(ref))


def _pointers(b: FunctionBuilder, ref: MemRefValue, at: Linear, index: SSAValue) -> SSAValue:
    """Addresses of `ref[at + index[k] * innermost stride]`, one per lane."""
    base = b.address(ref, at)
    lanes = _vector(index.type).get_shape()[0]
    stride = ref.strides[-1] if ref.strides else Linear(1)
    if stride != Linear(1):
        wide = VectorType(i64, [lanes])
        if index.type != wide:
            index = b.emit(llvm.SExtOp, (index,), wide)
        index = b.emit(llvm.MulOp, (index, _splat_value(b, b.materialize(stride), wide)), wide, NO_OVERFLOW)
    properties = {
        "elem_type": memory_type(ref.element),
        "rawConstantIndices": DenseArrayBase.from_list(i32, [llvm.GEP_USE_SSA_VAL]),
        "noWrapFlags": IntegerAttr(0, 32),
    }
    return b.emit(llvm.GEPOp, (base, index), VectorType(PTR, [lanes]), properties)


# Broadcast, extract, insert, shuffle


def _splat_value(b: FunctionBuilder, scalar: SSAValue, ty: VectorType) -> SSAValue:
    owner = scalar.owner
    if isinstance(owner, llvm.ConstantOp):
        value = owner.value
        data = getattr(getattr(value, "value", None), "data", None)
        if isinstance(data, int | float) and data == data:
            return b.splat(data, ty)
    poison = b.emit(llvm_ops.PoisonOp, (), ty)
    first = b.emit(llvm.InsertElementOp, (poison, scalar, b.int_const(0)), ty)
    lanes = ty.get_shape()[0]
    if lanes == 1:
        return first
    return _shuffle(b, first, poison, [0] * lanes)


def _shuffle(b: FunctionBuilder, left: SSAValue, right: SSAValue, mask: Sequence[int]) -> SSAValue:
    source = _vector(left.type)
    if right.type == left.type and list(mask) == list(range(source.get_shape()[0])):
        return left
    properties = {"mask": DenseArrayBase.from_list(i32, list(mask))}
    return b.emit(llvm.ShuffleVectorOp, (left, right), VectorType(source.element_type, [len(mask)]), properties)


@converts("vector.broadcast", "vector.splat")
def broadcast(b: FunctionBuilder, op: Operation) -> None:
    ty, source = _vector(op.results[0].type), op.operands[0]
    count, part = vector_parts(ty)
    if not isinstance(source.type, VectorType):
        set_parts(b, op.results[0], [_splat_value(b, b.value(source), part)] * count)
        return
    rows = b.parts(source)
    have, want = source.type.get_shape(), ty.get_shape()
    lead, lead_have = want[:-1], have[:-1]
    lead_have = (1,) * (len(lead) - len(lead_have)) + tuple(lead_have)
    width, width_have = part.get_shape()[0], have[-1] if have else 1
    out: list[SSAValue] = []
    for flat in range(count):
        index, rest = 0, flat
        strides = 1
        for size, size_have in zip(reversed(lead), reversed(lead_have), strict=True):
            position = rest % size
            rest //= size
            index += (position if size_have != 1 else 0) * strides
            strides *= size_have
        row = rows[index]
        out.append(row if width_have == width else _shuffle(b, row, row, [0] * width))
    set_parts(b, op.results[0], out)


def _static_position(op: Operation) -> list[int]:
    values = cast(DenseArrayBase, op.properties["static_position"]).get_values()
    return cast(list[int], list(values))


def _row_range(position: Sequence[int], shape: Sequence[int]) -> tuple[int, int]:
    """First row and number of rows of the sub-vector at `position` (which covers leading dimensions only)."""
    lead = shape[:-1]
    count = prod(lead[len(position) :])
    first = 0
    for p, size in zip(position, lead, strict=False):
        first = first * size + p
    return first * count, count


@converts("vector.extract")
def extract(b: FunctionBuilder, op: Operation) -> None:
    source = op.operands[0]
    shape = _vector(source.type).get_shape()
    position = _static_position(op)
    rows = b.parts(source)
    lead, lane = (position[:-1], position[-1]) if len(position) == len(shape) and shape else (position, None)
    if DYNAMIC_INDEX in lead:
        raise UnsupportedError("vector.extract at a dynamic position of a leading dimension")
    first, count = _row_range(lead, shape) if shape else (0, 1)
    if lane is None and shape:
        set_parts(b, op.results[0], rows[first : first + count])
        return
    at = b.value(op.operands[1]) if lane == DYNAMIC_INDEX else b.int_const(lane or 0)
    b.values[op.results[0]] = b.emit(llvm_ops.ExtractElementOp, (rows[first], at), part_type(op.results[0].type))


@converts("vector.insert")
def insert(b: FunctionBuilder, op: Operation) -> None:
    source, target = op.operands[0], op.operands[1]
    shape = _vector(target.type).get_shape()
    position = _static_position(op)
    rows = list(b.parts(target))
    lead, lane = (position[:-1], position[-1]) if len(position) == len(shape) and shape else (position, None)
    if DYNAMIC_INDEX in lead:
        raise UnsupportedError("vector.insert at a dynamic position of a leading dimension")
    first, count = _row_range(lead, shape) if shape else (0, 1)
    if lane is None and shape:
        rows[first : first + count] = b.parts(source)
    else:
        at = b.value(op.operands[2]) if lane == DYNAMIC_INDEX else b.int_const(lane or 0)
        rows[first] = b.emit(llvm.InsertElementOp, (rows[first], b.value(source), at), rows[first].type)
    set_parts(b, op.results[0], rows)


@converts("vector.extractelement")
def extract_element(b: FunctionBuilder, op: Operation) -> None:
    at = b.value(op.operands[1]) if len(op.operands) > 1 else b.int_const(0)
    b.values[op.results[0]] = b.emit(
        llvm_ops.ExtractElementOp, (b.value(op.operands[0]), at), part_type(op.results[0].type)
    )


@converts("vector.insertelement")
def insert_element(b: FunctionBuilder, op: Operation) -> None:
    at = b.value(op.operands[2]) if len(op.operands) > 2 else b.int_const(0)
    row = b.value(op.operands[1])
    b.values[op.results[0]] = b.emit(llvm.InsertElementOp, (row, b.value(op.operands[0]), at), row.type)


@converts("vector.from_elements")
def from_elements(b: FunctionBuilder, op: Operation) -> None:
    count, part = vector_parts(_vector(op.results[0].type))
    set_parts(b, op.results[0], _pack(b, [b.value(v) for v in op.operands], count, part))


def _pack(b: FunctionBuilder, elements: Sequence[SSAValue], count: int, part: VectorType) -> list[SSAValue]:
    width = part.get_shape()[0]
    rows: list[SSAValue] = []
    for r in range(count):
        row = b.emit(llvm_ops.PoisonOp, (), part)
        for lane in range(width):
            row = b.emit(llvm.InsertElementOp, (row, elements[r * width + lane], b.int_const(lane)), part)
        rows.append(row)
    return rows


@converts("vector.to_elements")
def to_elements(b: FunctionBuilder, op: Operation) -> None:
    for result, element in zip(op.results, _elements(b, op.operands[0]), strict=True):
        b.values[result] = element


def _elements(b: FunctionBuilder, value: SSAValue) -> list[SSAValue]:
    out: list[SSAValue] = []
    for row in b.parts(value):
        ty = _vector(row.type)
        out += [b.emit(llvm_ops.ExtractElementOp, (row, b.int_const(i)), ty.element_type) for i in range(ty.get_shape()[0])]
    return out


@converts("vector.shuffle")
def shuffle(b: FunctionBuilder, op: Operation) -> None:
    mask = cast(list[int], list(cast(DenseArrayBase, op.properties["mask"]).get_values()))
    left, right = op.operands
    shape = _vector(left.type).get_shape()
    if len(shape) <= 1:
        x, y = b.value(left), b.value(right)
        n, m = _vector(x.type).get_shape()[0], _vector(y.type).get_shape()[0]
        if n != m:
            width = max(n, m)
            x, y = (_shuffle(b, v, v, [i if i < k else -1 for i in range(width)]) for v, k in ((x, n), (y, m)))
            mask = [i if i < n else i - n + width for i in mask]
        set_parts(b, op.results[0], [_shuffle(b, x, y, mask)])
        return
    rows = [*b.parts(left), *b.parts(right)]
    per = prod(shape[1:-1])
    _, part = vector_parts(_vector(op.results[0].type))
    out: list[SSAValue] = []
    for i in mask:
        out += rows[i * per : (i + 1) * per] if i >= 0 else [b.emit(llvm_ops.PoisonOp, (), part)] * per
    set_parts(b, op.results[0], out)


@converts("vector.shape_cast")
def shape_cast(b: FunctionBuilder, op: Operation) -> None:
    rows = list(b.parts(op.operands[0]))
    count, part = vector_parts(_vector(op.results[0].type))
    width, width_have = part.get_shape()[0], _vector(rows[0].type).get_shape()[0]
    set_parts(b, op.results[0], _resize_rows(b, rows, width_have, width, count))


def _resize_rows(b: FunctionBuilder, rows: list[SSAValue], have: int, want: int, count: int) -> list[SSAValue]:
    """The same elements in rows of another width: rows are cut or joined."""
    if have == want:
        return rows
    if have % want == 0:
        per = have // want
        return [
            _shuffle(b, rows[i // per], rows[i // per], range(i % per * want, i % per * want + want)) for i in range(count)
        ]
    if want % have == 0:
        per = want // have
        return [_join(b, rows[i * per : (i + 1) * per]) for i in range(count)]
    joined = _join(b, rows)
    return [_shuffle(b, joined, joined, range(i * want, (i + 1) * want)) for i in range(count)]


def _join(b: FunctionBuilder, rows: list[SSAValue]) -> SSAValue:
    """Concatenation, pairwise."""
    while len(rows) > 1:
        paired: list[SSAValue] = []
        for i in range(0, len(rows) - 1, 2):
            x, y = rows[i], rows[i + 1]
            n, m = _vector(x.type).get_shape()[0], _vector(y.type).get_shape()[0]
            if m < n:
                y = _shuffle(b, y, y, [k if k < m else -1 for k in range(n)])
            paired.append(_shuffle(b, x, y, range(n + m)))
        if len(rows) % 2:
            paired.append(rows[-1])
        rows = paired
    return rows[0]


@converts("vector.transpose")
def transpose(b: FunctionBuilder, op: Operation) -> None:
    """By two-input shuffles for matrices of power-of-two sides, else lane by lane; moving whole rows is free."""
    source, target = _vector(op.operands[0].type), _vector(op.results[0].type)
    permutation = cast(list[int], list(cast(DenseArrayBase, op.properties["permutation"]).get_values()))
    shape = source.get_shape()
    rows = b.parts(op.operands[0])
    if permutation[-1] == len(shape) - 1:
        lead = [shape[p] for p in permutation[:-1]]
        out = [rows[_flat(_permuted(index, permutation), shape[:-1])] for index in _indices(lead)]
        set_parts(b, op.results[0], out)
        return
    if len(shape) == 2 and shape[0] == shape[1] and shape[0] & (shape[0] - 1) == 0:
        set_parts(b, op.results[0], _transpose_square(b, list(rows)))
        return
    elements = _elements(b, op.operands[0])
    order = [elements[_flat(_permuted(index, permutation), shape)] for index in _indices(target.get_shape())]
    count, part = vector_parts(target)
    set_parts(b, op.results[0], _pack(b, order, count, part))


def _indices(shape: Sequence[int]) -> list[tuple[int, ...]]:
    out: list[tuple[int, ...]] = [()]
    for size in shape:
        out = [(*index, i) for index in out for i in range(size)]
    return out


def _permuted(index: Sequence[int], permutation: Sequence[int]) -> list[int]:
    """Source index of the transposed `index` (a trailing dimension that stays is left out)."""
    source = [0] * len(index)
    for at, dim in zip(index, permutation, strict=False):
        source[dim] = at
    return source


def _flat(index: Sequence[int], shape: Sequence[int]) -> int:
    flat = 0
    for i, size in zip(index, shape, strict=True):
        flat = flat * size + i
    return flat


def _transpose_square(b: FunctionBuilder, rows: list[SSAValue]) -> list[SSAValue]:
    """Exchange off-diagonal blocks of size n/2, n/4, …, 1."""
    n = len(rows)
    block = n // 2
    while block:
        low = [j if not j & block else j - block + n for j in range(n)]
        high = [j + block if not j & block else j + n for j in range(n)]
        for i in range(n):
            if not i & block:
                x, y = rows[i], rows[i + block]
                rows[i], rows[i + block] = _shuffle(b, x, y, low), _shuffle(b, x, y, high)
        block //= 2
    return rows


@converts("vector.extract_strided_slice", "vector.insert_strided_slice")
def strided_slice(b: FunctionBuilder, op: Operation) -> None:
    inserting = op.name == "vector.insert_strided_slice"
    big, small = (op.operands[1], op.operands[0]) if inserting else (op.operands[0], op.results[0])
    shape, part_shape = _vector(big.type).get_shape(), list(_vector(small.type).get_shape())
    if any(_ints(op, "strides", i) != 1 for i in range(len(cast(ArrayAttr, op.properties["strides"])))):
        raise UnsupportedError(f"'{op.name}' with strides other than 1")
    offsets = [cast(IntegerAttr, v).value.data for v in cast(ArrayAttr, op.properties["offsets"])]
    offsets = [0] * (len(shape) - len(offsets)) + offsets if inserting else offsets + [0] * (len(shape) - len(offsets))
    part_shape = [1] * (len(shape) - len(part_shape)) + part_shape
    rows = list(b.parts(big))
    at, width, width_part = offsets[-1], shape[-1], part_shape[-1]
    small_rows = iter(b.parts(small)) if inserting else iter(())
    taken: list[SSAValue] = []
    for index in _indices(part_shape[:-1]):
        r = _flat([i + o for i, o in zip(index, offsets[:-1], strict=True)], shape[:-1])
        if inserting:
            piece = next(small_rows)
            grown = _shuffle(b, piece, piece, [k - at if 0 <= k - at < width_part else -1 for k in range(width)])
            mask = [width + k if 0 <= k - at < width_part else k for k in range(width)]
            rows[r] = _shuffle(b, rows[r], grown, mask)
        else:
            taken.append(_shuffle(b, rows[r], rows[r], range(at, at + width_part)))
    set_parts(b, op.results[0], rows if inserting else taken)


def _ints(op: Operation, name: str, i: int) -> int:
    return cast(IntegerAttr, cast(ArrayAttr, op.properties[name]).data[i]).value.data


@converts("vector.bitcast")
def bitcast(b: FunctionBuilder, op: Operation) -> None:
    part = part_type(op.results[0].type)
    elementwise(b, op, lambda x: x if x.type == part else b.emit(llvm.BitcastOp, (x,), part))


@converts("vector.interleave")
def interleave(b: FunctionBuilder, op: Operation) -> None:
    def one(x: SSAValue, y: SSAValue) -> SSAValue:
        n = _vector(x.type).get_shape()[0]
        return _shuffle(b, x, y, [k // 2 + n * (k % 2) for k in range(2 * n)])

    elementwise(b, op, one)


@converts("vector.step")
def step(b: FunctionBuilder, op: Operation) -> None:
    b.values[op.results[0]] = _iota(b, _vector(op.results[0].type).get_shape()[0])


def _iota(b: FunctionBuilder, lanes: int) -> SSAValue:
    ty = VectorType(i64, [lanes])
    return b.constant(DenseIntElementsAttr.from_list(ty, list(range(lanes))), ty)  # pyright: ignore[reportArgumentType]


# Arithmetic of its own


@converts("vector.fma")
def fma(b: FunctionBuilder, op: Operation) -> None:
    elementwise(b, op, through_float32(b, lambda x, y, z: b.emit(llvm.FMAOp, (x, y, z), x.type, _FAST)))


_REDUCE_INT = {
    "add": ("add", llvm.AddOp), "mul": ("mul", llvm.MulOp), "and": ("and", llvm.AndOp), "or": ("or", llvm.OrOp),
    "xor": ("xor", llvm.XOrOp), "minui": ("umin", INTRINSICS["umin"]), "minsi": ("smin", INTRINSICS["smin"]),
    "maxui": ("umax", INTRINSICS["umax"]), "maxsi": ("smax", INTRINSICS["smax"]),
}  # fmt: skip
_REDUCE_FLOAT = {
    "minnumf": ("fmin", llvm.VectorFMinOp), "maxnumf": ("fmax", llvm.VectorFMaxOp),
    "minimumf": ("fminimum", INTRINSICS["minimum"]), "maximumf": ("fmaximum", INTRINSICS["maximum"]),
}  # fmt: skip


@converts("vector.reduction")
def reduction(b: FunctionBuilder, op: Operation) -> None:
    kind = str(getattr(op.properties["kind"], "data", ""))
    vector = b.value(op.operands[0])
    acc = b.value(op.operands[1]) if len(op.operands) > 1 else None
    element = _vector(vector.type).element_type
    flags = fastmath(op)
    if not is_float(element):
        name, cls = _REDUCE_INT[kind]
        result = b.emit(INTRINSICS[f"vector.reduce.{name}"], (vector,), element)
        if acc is not None:
            properties = NO_OVERFLOW if kind in ("add", "mul") else {}
            result = b.emit(cls, (acc, result), element, properties)
        b.values[op.results[0]] = result
        return
    narrow = element
    if isinstance(narrow, BFloat16Type | Float16Type):
        wide = Float32Type()
        vector = convert_float(b, vector, wide)
        acc = None if acc is None else convert_float(b, acc, wide)
        element = wide
    if kind in ("add", "mul"):
        cls = llvm.VectorReduceFAddOp if kind == "add" else llvm.VectorReduceFMulOp
        # -0 and 1 are the neutral starts.
        start = acc if acc is not None else b.splat(-0.0 if kind == "add" else 1.0, element)
        result = b.emit(cls, (start, vector), element, flags)
    else:
        name, combine = _REDUCE_FLOAT[kind]
        result = b.emit(INTRINSICS[f"vector.reduce.{name}"], (vector,), element, flags)
        if acc is not None:
            result = b.emit(combine, (acc, result), element, flags)
    b.values[op.results[0]] = convert_float(b, result, narrow)


# Masks and transfers


@converts("vector.create_mask", "vector.constant_mask")
def create_mask(b: FunctionBuilder, op: Operation) -> None:
    ty = _vector(op.results[0].type)
    if op.name == "vector.create_mask":
        limits = [b.linear(v) for v in op.operands]
    else:
        limits = [Linear(v) for v in cast(list[int], list(cast(DenseArrayBase, op.properties["mask_dim_sizes"]).get_values()))]
    count, part = vector_parts(ty)
    row = _lane_mask(b, limits[-1] if limits else Linear(1), part)
    lead = ty.get_shape()[:-1]
    rows: list[SSAValue] = []
    for index in _indices(lead):
        keep = row
        for i, limit in zip(index, limits, strict=False):
            inside = b.emit(llvm.ICmpOp, (b.int_const(i), b.materialize(limit)), i1, {"predicate": IntegerAttr(2, 64)})
            keep = b.emit(llvm.AndOp, (keep, _splat_value(b, inside, part)), part)
        rows.append(keep)
    assert len(rows) == count
    set_parts(b, op.results[0], rows)


def _lane_mask(b: FunctionBuilder, limit: Linear, part: VectorType) -> SSAValue:
    """Lanes below `limit`; compared in 32 bits, where lanes are cheap, after clamping to the lane count."""
    lanes = part.get_shape()[0]
    if not limit.terms:
        flags = [int(i < limit.const) for i in range(lanes)]
        return b.constant(DenseIntElementsAttr.from_list(part, flags), part)  # pyright: ignore[reportArgumentType]
    value = b.pure(INTRINSICS["smax"], (b.materialize(limit), b.int_const(0)), i64)
    value = b.pure(INTRINSICS["smin"], (value, b.int_const(lanes)), i64)
    narrow = b.pure(llvm.TruncOp, (value,), i32)
    wide = VectorType(i32, [lanes])
    lane_numbers = b.constant(DenseIntElementsAttr.from_list(wide, list(range(lanes))), wide)  # pyright: ignore[reportArgumentType]
    return b.emit(llvm.ICmpOp, (lane_numbers, _splat_value(b, narrow, wide)), part, {"predicate": IntegerAttr(2, 64)})


def _transfer(b: FunctionBuilder, op: Operation, ref: MemRefValue, ty: VectorType, rank: int) -> tuple[bool, int]:
    """Checks that a transfer is along the innermost dimensions in order; whether it needs a mask, and leading rank."""
    permutation = op.properties["permutation_map"].data  # pyright: ignore[reportAttributeAccessIssue]
    dims = [getattr(r, "position", None) for r in permutation.results]
    if dims != list(range(rank - ty.get_num_dims(), rank)):
        raise UnsupportedError(f"'{op.name}' with permutation map {permutation}")
    _require_unit_stride(ref, op)
    in_bounds = [bool(cast(IntegerAttr, v).value.data) for v in cast(ArrayAttr, op.properties["in_bounds"])]
    if not all(in_bounds[:-1]):
        raise UnsupportedError(f"'{op.name}' out of bounds in a leading dimension")
    return bool(in_bounds) and not in_bounds[-1], rank - ty.get_num_dims()


def _tail_mask(b: FunctionBuilder, ref: MemRefValue, innermost: SSAValue, part: VectorType) -> SSAValue:
    left = ref.sizes[-1].plus(b.linear(innermost).times(-1))
    return _lane_mask(b, left, VectorType(IntegerType(1), part.get_shape()))


@converts("vector.transfer_read")
def transfer_read(b: FunctionBuilder, op: Operation) -> None:
    ref, ty = b.memref(op.operands[0]), _vector(op.results[0].type)
    rank = cast(MemRefType, op.operands[0].type).get_num_dims()
    masked, _ = _transfer(b, op, ref, ty, rank)
    indices, padding = op.operands[1 : 1 + rank], op.operands[1 + rank]
    explicit = b.parts(op.operands[2 + rank]) if len(op.operands) > 2 + rank else None
    _, part = vector_parts(ty)
    base = b.element_index(ref, indices)
    other = _splat_value(b, b.value(padding), part)
    tail = _tail_mask(b, ref, indices[-1], part) if masked else None
    rows: list[SSAValue] = []
    for i, offset in enumerate(_row_offsets(ref, ty, b)):
        mask = _both(b, tail, explicit[i] if explicit is not None else None)
        if mask is not None:
            rows.append(_masked_read(b, ref, base.plus(offset), mask, other))
            continue
        memory = VectorType(memory_type(ref.element), part.get_shape())
        value = b.emit(llvm.LoadOp, (b.address(ref, base.plus(offset)),), memory, memory_access(ref.element))
        rows.append(from_memory(b, value, ref.element))
    set_parts(b, op.results[0], rows)


def _both(b: FunctionBuilder, x: SSAValue | None, y: SSAValue | None) -> SSAValue | None:
    if x is None or y is None:
        return x if y is None else y
    return b.emit(llvm.AndOp, (x, y), x.type)


@converts("vector.transfer_write")
def transfer_write(b: FunctionBuilder, op: Operation) -> None:
    value, ty = op.operands[0], _vector(op.operands[0].type)
    ref = b.memref(op.operands[1])
    rank = cast(MemRefType, op.operands[1].type).get_num_dims()
    masked, _ = _transfer(b, op, ref, ty, rank)
    indices = op.operands[2 : 2 + rank]
    explicit = b.parts(op.operands[2 + rank]) if len(op.operands) > 2 + rank else None
    _, part = vector_parts(ty)
    base = b.element_index(ref, indices)
    tail = _tail_mask(b, ref, indices[-1], part) if masked else None
    for i, (row, offset) in enumerate(zip(b.parts(value), _row_offsets(ref, ty, b), strict=True)):
        pointer, stored = b.address(ref, base.plus(offset)), to_memory(b, row, ref.element)
        mask = _both(b, tail, explicit[i] if explicit is not None else None)
        if mask is not None:
            b.effect(MaskedStoreOp, (stored, pointer, mask), _alignment(ref))
        else:
            b.effect(llvm.StoreOp, (stored, pointer), memory_access(ref.element))

