"""How IR types and attributes look as numpy: dtypes, element types, literals. Shared by all reference semantics.

Signless and signed ints are numpy's signed ints, unsigned ones its unsigned ints; `index` is int64, `i1` bool. Widths
that numpy lacks (i4, i5) use the next larger dtype and `wrap_int` after each op. bf16 is carried in float32 arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import (
    BFloat16Type,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    Float16Type,
    Float32Type,
    Float64Type,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    MemRefType,
    Signedness,
    TensorType,
    UnrankedMemRefType,
    UnrankedTensorType,
    VectorType,
)
from xdsl.ir import Attribute

from mlc.arrays.bfloat16 import round_bf16
from mlc.arrays.stored import carried
from mlc.errors import UnsupportedError, VerifyError
from mlc.ir.resources import ResourceStore

ShapedTypes = TensorType | VectorType | MemRefType
FloatTypes = Float16Type | BFloat16Type | Float32Type | Float64Type

DYNAMIC = -(2**63)
"""`ShapedType::kDynamic`: a dynamic dim of a type, a hole in a static offset, size or stride array."""


_SHAPED = frozenset((TensorType, VectorType, MemRefType, UnrankedTensorType, UnrankedMemRefType))
_FLOATS = frozenset((Float16Type, BFloat16Type, Float32Type, Float64Type))
_BY_CLASS: dict[type[Attribute], np.dtype[Any]] = {
    Float16Type: np.dtype(np.float16),
    BFloat16Type: np.dtype(np.float32),
    Float32Type: np.dtype(np.float32),
    Float64Type: np.dtype(np.float64),
    IndexType: np.dtype(np.int64),
}
_KINDS: dict[type[Attribute], str] = {
    Float16Type: "f16",
    BFloat16Type: "bf16",
    Float32Type: "f32",
    Float64Type: "f64",
}
_INTS: dict[tuple[int, bool], np.dtype[Any]] = {
    (width, unsigned): np.dtype(f"{'uint' if unsigned else 'int'}{max(8, 1 << (width - 1).bit_length())}")
    for width in range(2, 65)
    for unsigned in (False, True)
} | {(1, False): np.dtype(np.bool_), (1, True): np.dtype(np.bool_)}


def element_type(t: Attribute) -> Attribute:
    """The element type of a shaped type; a scalar type is its own."""
    return t.element_type if type(t) in _SHAPED else t  # pyright: ignore[reportAttributeAccessIssue]


def is_float(t: Attribute) -> bool:
    """Whether `t`, or its element type, is a float type."""
    return type(element_type(t)) in _FLOATS


def is_bf16(t: Attribute) -> bool:
    """Whether `t`, or its element type, is bf16: carried in float32, stored as its bits."""
    return type(element_type(t)) is BFloat16Type


def float_kind(t: Attribute) -> str:
    """The name of a float type, or of a shaped type's elements, in `mlc.arrays.floats`."""
    kind = _KINDS.get(type(element_type(t)))
    if kind is None:
        raise UnsupportedError(f"type {t} is no float type that the interpreter knows", expected="f16 bf16 f32 f64")
    return kind


def dtype_of(t: Attribute) -> np.dtype[Any]:
    """The IEEE numpy dtype of a scalar type or of a shaped type's elements."""
    e = element_type(t)
    found = _BY_CLASS.get(type(e))
    if found is None and isinstance(e, IntegerType):
        found = _INTS.get((e.width.data, e.signedness.data == Signedness.UNSIGNED))
    if found is None:
        raise UnsupportedError(
            f"type {t} has no numpy counterpart", hint="the interpreter knows f16 bf16 f32 f64, i1 to i64, index"
        )
    return found


def int_width(t: Attribute) -> int:
    """Bits of an int or index type (or of a shaped type's elements)."""
    e = element_type(t)
    return e.width.data if isinstance(e, IntegerType) else 64


def float_bytes(t: Attribute) -> int:
    """Bytes of a float type in memory."""
    e = element_type(t)
    return 2 if isinstance(e, BFloat16Type) else dtype_of(e).itemsize


def byte_size(t: Attribute) -> int:
    """Bytes of one element in memory."""
    return float_bytes(t) if is_float(t) else dtype_of(t).itemsize


def wrap_int(a: Any, t: Attribute) -> Any:
    """Reduce ints to the width of `t` where numpy's dtype is wider (i4, i5, …): extended from that width."""
    width = int_width(t)
    dtype = dtype_of(t)
    if width == 1 or width == dtype.itemsize * 8:
        return a
    if dtype.kind == "u":
        return a & dtype.type(2**width - 1)
    shift = dtype.type(dtype.itemsize * 8 - width)
    return np.right_shift(np.left_shift(a, shift), shift)


def unsigned(a: Any, t: Attribute) -> Any:
    """The same bits read as an unsigned int of the width of `t` (bools stay bools)."""
    dtype = dtype_of(t)
    if dtype.kind != "i":
        return a
    out = np.asarray(a).view(f"u{dtype.itemsize}")
    width = int_width(t)
    if width != dtype.itemsize * 8:
        out = out & out.dtype.type(2**width - 1)
    return out[()]


def signed(a: Any, t: Attribute) -> Any:
    """Unsigned ints back as values of type `t` (wrapped to its width)."""
    dtype = dtype_of(t)
    return wrap_int(np.asarray(a).astype(dtype)[()], t)


def static_shape(t: Attribute) -> tuple[int, ...]:
    """Shape of a shaped type, `DYNAMIC` where dynamic; `()` for a scalar."""
    return tuple(t.get_shape()) if isinstance(t, ShapedTypes) else ()


def mixed(static: Sequence[int], dynamic: Sequence[Any]) -> tuple[int, ...]:
    """Merge a static array that has `DYNAMIC` holes with the values that fill them."""
    it = iter(dynamic)
    return tuple(int(next(it)) if s == DYNAMIC else int(s) for s in static)


def fill_shape(t: Attribute, dynamic: Sequence[Any]) -> tuple[int, ...]:
    """Shape of `t` with its dynamic dims taken in order from `dynamic`."""
    it = iter(dynamic)
    return tuple(int(next(it)) if d == DYNAMIC else d for d in static_shape(t))


def attribute_array(attr: Attribute, resources: ResourceStore | None) -> np.ndarray:
    """The literal or weight behind an attribute as a read-only numpy array (scalars are 0-d)."""
    match attr:
        case DenseResourceAttr():
            if resources is None:
                raise VerifyError(f"resource '{attr.resource_handle.data}' is needed but there is no weight store")
            found = resources.get(attr.resource_handle.data)
            wanted = static_shape(attr.type)
            dtype = dtype_of(attr.type)
            if found.shape != wanted or (found.dtype != dtype and found.dtype.itemsize != byte_size(attr.type)):
                raise VerifyError(
                    f"resource '{attr.resource_handle.data}' is {found.dtype}{list(found.shape)}",
                    expected=f"{attr.type}",
                )
            return _reinterpret(found, attr.type)
        case DenseIntOrFPElementsAttr():
            return _dense(attr)
        case IntegerAttr():
            return np.asarray(_int_literal(attr.value.data, attr.type))
        case FloatAttr():
            value = np.asarray(attr.value.data, dtype=np.float64).astype(dtype_of(attr.type))
            return np.asarray(round_bf16(value)) if isinstance(attr.type, BFloat16Type) else value
        case _:
            raise UnsupportedError(f"attribute {attr} is not a value the interpreter knows")


def _int_literal(value: int, t: Attribute) -> Any:
    dtype = dtype_of(t)
    if dtype.kind == "b":
        return bool(value & 1)
    width = int_width(t)
    value &= 2**width - 1
    if dtype.kind == "i" and value >= 2 ** (width - 1):
        value -= 2**width
    return dtype.type(value)


def _reinterpret(data: np.ndarray, t: Attribute) -> np.ndarray:
    """An array as stored in the weight store as the dtype of `t`: bf16 bits widen, signedness is renamed."""
    return carried(data, dtype_of(t), bf16=is_bf16(t))


def _dense(attr: DenseIntOrFPElementsAttr) -> np.ndarray:
    t = attr.type
    e = element_type(t)
    shape = static_shape(t)
    raw = np.frombuffer(attr.data.data, dtype=np.uint8)
    if isinstance(e, IntegerType | FloatTypes | IndexType):
        if isinstance(e, BFloat16Type):
            flat = _reinterpret(raw.view(np.uint16), t)
        elif isinstance(e, IntegerType) and e.width.data == 1:
            flat = raw.astype(np.bool_)
        else:
            flat = raw.view(dtype_of(e))
        count = int(np.prod(shape, dtype=np.int64))
        if flat.size == 1 and count != 1:
            return np.broadcast_to(flat.reshape(()), shape)
        out = flat.reshape(shape)
        out.flags.writeable = False
        return out
    raise UnsupportedError(f"literal of type {t} is not a value the interpreter knows")
