"""vector reshaping -> moves of rows and LLVM shuffles.

vector.extract %v[1] : vector<4xf32> from vector<2x4xf32>   -->   nothing: the second row
vector.transpose %v, [1, 0] : vector<16x16xf32>             -->   64 two-input shuffles
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects import llvm
from xdsl.dialects.builtin import DYNAMIC_INDEX, VectorType
from xdsl.ir import Operation, SSAValue

from mlc.dialects.llvm import ops as llvm_ops
from mlc.errors import UnsupportedError
from mlc.lowering.llvm.arith_ops import part_type, set_parts
from mlc.lowering.llvm.attributes import int_array
from mlc.lowering.llvm.builder import FunctionBuilder
from mlc.lowering.llvm.registry import converts
from mlc.lowering.llvm.types import vector_parts
from mlc.lowering.llvm.vectors import flat_index, indices_of, shuffled, splat_value, vector_of


@converts("vector.broadcast", "vector.splat")
def broadcast(b: FunctionBuilder, op: Operation) -> None:
    ty, source = vector_of(op.results[0].type), op.operands[0]
    count, part = vector_parts(ty)
    if not isinstance(source.type, VectorType):
        set_parts(b, op.results[0], [splat_value(b, b.value(source), part)] * count)
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
        out.append(row if width_have == width else shuffled(b, row, row, [0] * width))
    set_parts(b, op.results[0], out)


def _static_position(op: Operation) -> list[int]:
    return int_array(op, "static_position")


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
    shape = vector_of(source.type).get_shape()
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
    shape = vector_of(target.type).get_shape()
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
    count, part = vector_parts(vector_of(op.results[0].type))
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
        ty = vector_of(row.type)
        out += [
            b.emit(llvm_ops.ExtractElementOp, (row, b.int_const(i)), ty.element_type) for i in range(ty.get_shape()[0])
        ]
    return out


@converts("vector.shuffle")
def shuffle(b: FunctionBuilder, op: Operation) -> None:
    mask = int_array(op, "mask")
    left, right = op.operands
    shape = vector_of(left.type).get_shape()
    if len(shape) <= 1:
        x, y = b.value(left), b.value(right)
        n, m = vector_of(x.type).get_shape()[0], vector_of(y.type).get_shape()[0]
        if n != m:
            width = max(n, m)
            x, y = (shuffled(b, v, v, [i if i < k else -1 for i in range(width)]) for v, k in ((x, n), (y, m)))
            mask = [i if i < n else i - n + width for i in mask]
        set_parts(b, op.results[0], [shuffled(b, x, y, mask)])
        return
    rows = [*b.parts(left), *b.parts(right)]
    per = prod(shape[1:-1])
    _, part = vector_parts(vector_of(op.results[0].type))
    out: list[SSAValue] = []
    for i in mask:
        out += rows[i * per : (i + 1) * per] if i >= 0 else [b.emit(llvm_ops.PoisonOp, (), part)] * per
    set_parts(b, op.results[0], out)


@converts("vector.shape_cast")
def shape_cast(b: FunctionBuilder, op: Operation) -> None:
    rows = list(b.parts(op.operands[0]))
    count, part = vector_parts(vector_of(op.results[0].type))
    width, width_have = part.get_shape()[0], vector_of(rows[0].type).get_shape()[0]
    set_parts(b, op.results[0], _resize_rows(b, rows, width_have, width, count))


def _resize_rows(b: FunctionBuilder, rows: list[SSAValue], have: int, want: int, count: int) -> list[SSAValue]:
    """The same elements in rows of another width: rows are cut or joined."""
    if have == want:
        return rows
    if have % want == 0:
        per = have // want
        return [
            shuffled(b, rows[i // per], rows[i // per], range(i % per * want, i % per * want + want))
            for i in range(count)
        ]
    if want % have == 0:
        per = want // have
        return [_join(b, rows[i * per : (i + 1) * per]) for i in range(count)]
    joined = _join(b, rows)
    return [shuffled(b, joined, joined, range(i * want, (i + 1) * want)) for i in range(count)]


def _join(b: FunctionBuilder, rows: list[SSAValue]) -> SSAValue:
    """Concatenation, pairwise."""
    while len(rows) > 1:
        paired: list[SSAValue] = []
        for i in range(0, len(rows) - 1, 2):
            x, y = rows[i], rows[i + 1]
            n, m = vector_of(x.type).get_shape()[0], vector_of(y.type).get_shape()[0]
            if m < n:
                y = shuffled(b, y, y, [k if k < m else -1 for k in range(n)])
            paired.append(shuffled(b, x, y, range(n + m)))
        if len(rows) % 2:
            paired.append(rows[-1])
        rows = paired
    return rows[0]


@converts("vector.transpose")
def transpose(b: FunctionBuilder, op: Operation) -> None:
    """By two-input shuffles for matrices of power-of-two sides, else lane by lane; moving whole rows is free."""
    source, target = vector_of(op.operands[0].type), vector_of(op.results[0].type)
    permutation = int_array(op, "permutation")
    shape = source.get_shape()
    rows = b.parts(op.operands[0])
    if permutation[-1] == len(shape) - 1:
        lead = [shape[p] for p in permutation[:-1]]
        out = [rows[flat_index(_permuted(index, permutation), shape[:-1])] for index in indices_of(lead)]
        set_parts(b, op.results[0], out)
        return
    if len(shape) == 2 and shape[0] == shape[1] and shape[0] & (shape[0] - 1) == 0:
        set_parts(b, op.results[0], _transpose_square(b, list(rows)))
        return
    elements = _elements(b, op.operands[0])
    order = [elements[flat_index(_permuted(index, permutation), shape)] for index in indices_of(target.get_shape())]
    count, part = vector_parts(target)
    set_parts(b, op.results[0], _pack(b, order, count, part))


def _permuted(index: Sequence[int], permutation: Sequence[int]) -> list[int]:
    """Source index of the transposed `index` (a trailing dimension that stays is left out)."""
    source = [0] * len(index)
    for at, dim in zip(index, permutation, strict=False):
        source[dim] = at
    return source


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
                rows[i], rows[i + block] = shuffled(b, x, y, low), shuffled(b, x, y, high)
        block //= 2
    return rows


@converts("vector.extract_strided_slice", "vector.insert_strided_slice")
def strided_slice(b: FunctionBuilder, op: Operation) -> None:
    inserting = op.name == "vector.insert_strided_slice"
    big, small = (op.operands[1], op.operands[0]) if inserting else (op.operands[0], op.results[0])
    shape, part_shape = vector_of(big.type).get_shape(), list(vector_of(small.type).get_shape())
    if any(s != 1 for s in int_array(op, "strides")):
        raise UnsupportedError(f"'{op.name}' with strides other than 1")
    offsets = int_array(op, "offsets")
    offsets = [0] * (len(shape) - len(offsets)) + offsets if inserting else offsets + [0] * (len(shape) - len(offsets))
    part_shape = [1] * (len(shape) - len(part_shape)) + part_shape
    rows = list(b.parts(big))
    at, width, width_part = offsets[-1], shape[-1], part_shape[-1]
    small_rows = iter(b.parts(small)) if inserting else iter(())
    taken: list[SSAValue] = []
    for index in indices_of(part_shape[:-1]):
        r = flat_index([i + o for i, o in zip(index, offsets[:-1], strict=True)], shape[:-1])
        if inserting:
            piece = next(small_rows)
            grown = shuffled(b, piece, piece, [k - at if 0 <= k - at < width_part else -1 for k in range(width)])
            mask = [width + k if 0 <= k - at < width_part else k for k in range(width)]
            rows[r] = shuffled(b, rows[r], grown, mask)
        else:
            taken.append(shuffled(b, rows[r], rows[r], range(at, at + width_part)))
    set_parts(b, op.results[0], rows if inserting else taken)
