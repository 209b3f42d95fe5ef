"""Types and constants of the llvm dialect as LLVM IR text."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np
from xdsl.dialects import llvm
from xdsl.dialects.builtin import (
    BFloat16Type,
    DenseIntOrFPElementsAttr,
    Float16Type,
    Float32Type,
    Float64Type,
    FloatAttr,
    IndexType,
    IntAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    UnitAttr,
    VectorType,
)
from xdsl.ir import Attribute

from mlc.dialects.llvm.tile_type import X86AMXType
from mlc.errors import LimitError, UnsupportedError

MAX_VECTOR_BITS = 1 << 16
MAX_INT_BITS = 128
MAX_NESTING = 64
MAX_GLOBAL_BYTES = 1 << 26


def size_of(ty: Attribute) -> int:
    """Bytes of a type in memory, give or take padding."""
    match ty:
        case llvm.LLVMArrayType():
            return ty.size.data * size_of(ty.type)
        case llvm.LLVMStructType():
            return sum(size_of(t) for t in ty.types)
        case VectorType():
            return math.prod(ty.get_shape()) * size_of(ty.element_type)
        case IntegerType():
            return -(-ty.width.data // 8)
        case _:
            return 8


class TypeTable:
    """Text of types, each made once; named structs are collected for the head of the module."""

    def __init__(self) -> None:
        self._text: dict[int, str] = {}
        self._keep: list[Attribute] = []
        self.structs: dict[str, str] = {}

    def __call__(self, ty: Attribute) -> str:
        found = self._text.get(id(ty))
        if found is None:
            found = self._text[id(ty)] = self._make(ty, 0)
            self._keep.append(ty)
        return found

    def _make(self, ty: Attribute, depth: int) -> str:
        if depth > MAX_NESTING:
            raise LimitError(f"type nested deeper than {MAX_NESTING}")
        match ty:
            case IntegerType():
                if not 1 <= ty.width.data <= MAX_INT_BITS:
                    raise LimitError(f"integer type of {ty.width.data} bits", expected=f"1 to {MAX_INT_BITS}")
                return f"i{ty.width.data}"
            case IndexType():
                return "i64"
            case Float32Type():
                return "float"
            case Float64Type():
                return "double"
            case Float16Type():
                return "half"
            case BFloat16Type():
                return "i16"  # see bfloat16.py
            case VectorType():
                return self._vector(ty, depth)
            case llvm.LLVMPointerType():
                space = ty.addr_space.data if isinstance(ty.addr_space, IntAttr) else 0
                return f"ptr addrspace({space})" if space else "ptr"
            case llvm.LLVMArrayType():
                return f"[{ty.size.data} x {self._make(ty.type, depth + 1)}]"
            case llvm.LLVMStructType():
                return self._struct(ty, depth)
            case llvm.LLVMVoidType():
                return "void"
            case X86AMXType():
                return "x86_amx"
            case llvm.LLVMFunctionType():
                inputs = [self._make(t, depth + 1) for t in ty.inputs] + (["..."] if ty.is_variadic else [])
                return f"{self._make(ty.output, depth + 1)} ({', '.join(inputs)})"
            case _:
                raise UnsupportedError(f"type {ty} has no form in LLVM IR")

    def _vector(self, ty: VectorType, depth: int) -> str:
        shape = ty.get_shape()
        if len(shape) != 1 or ty.get_num_scalable_dims():
            raise UnsupportedError(f"vector type {ty} has no form in LLVM IR: only fixed 1-D vectors do")
        element = self._make(ty.element_type, depth + 1)
        if isinstance(ty.element_type, VectorType | llvm.LLVMArrayType | llvm.LLVMStructType):
            raise UnsupportedError(f"vector type {ty} has no form in LLVM IR")
        bits = ty.element_type.width.data if isinstance(ty.element_type, IntegerType) else 64
        if shape[0] < 1 or shape[0] * bits > 2 * MAX_VECTOR_BITS:
            raise LimitError(
                f"vector type {ty} is too large for the target", expected=f"at most {MAX_VECTOR_BITS} bits"
            )
        return f"<{shape[0]} x {element}>"

    def _struct(self, ty: llvm.LLVMStructType, depth: int) -> str:
        body = "{ " + ", ".join(self._make(t, depth + 1) for t in ty.types) + " }" if ty.types.data else "{}"
        name = ty.struct_name.data
        if not name:
            return body
        quoted = "%" + quote(name)
        if self.structs.setdefault(quoted, body) != body:
            raise UnsupportedError(f"two struct types are called '{name}'")
        return quoted


def quote(name: str) -> str:
    """A name as LLVM writes it after @ or %: plain when possible, quoted otherwise."""
    if name and all(c.isascii() and (c.isalnum() or c in "._$-") for c in name) and not name[0].isdigit():
        return name
    return f'"{escape(name.encode())}"'


def escape(data: bytes) -> str:
    """Bytes of a quoted LLVM string."""
    return "".join(chr(c) if 32 <= c < 127 and c not in (34, 92) else f"\\{c:02X}" for c in data)


def float_text(value: float, ty: Attribute) -> str:
    """A float constant in hexadecimal (of bf16, its bits as an integer): exact, NaN and infinities included."""
    match ty:
        case Float64Type():
            return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
        case Float32Type():
            # LLVM writes f32 as the f64 of the same value.
            rounded = float(np.float32(value)) if not math.isnan(value) else value
            return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0] & _F32_MASK:016X}"
        case Float16Type():
            with np.errstate(over="ignore"):
                return f"0xH{int(np.float16(value).view(np.uint16)):04X}"
        case BFloat16Type():
            return scalar_text(_bfloat16_bits(value), IntegerType(16))
        case _:
            raise UnsupportedError(f"float constant of type {ty}")


_F32_MASK = ~((1 << 29) - 1) & (1 << 64) - 1


def _bfloat16_bits(value: float) -> int:
    bits = int(np.float32(value).view(np.uint32))
    if math.isnan(value):
        return (bits >> 16) | 0x40
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) & 0xFFFF


def scalar_text(value: object, ty: Attribute) -> str:
    """A number as an LLVM constant of a scalar type."""
    if isinstance(ty, IntegerType | IndexType):
        number = int(value)  # pyright: ignore[reportArgumentType]
        width = 64 if isinstance(ty, IndexType) else ty.width.data
        if width == 1:
            return "true" if number & 1 else "false"
        half = 1 << (width - 1)
        return str((number + half) % (2 * half) - half)
    if isinstance(ty, llvm.LLVMPointerType):
        raise UnsupportedError("pointer constants other than llvm.mlir.zero")
    return float_text(float(value), ty)  # pyright: ignore[reportArgumentType]


def constant_text(value: Attribute, ty: Attribute, types: TypeTable) -> str:
    """An `llvm.mlir.constant` or global initialiser, without its type."""
    match value:
        case IntegerAttr():
            return _splat(scalar_text(value.value.data, _element(ty)), ty, types)
        case FloatAttr():
            return _splat(scalar_text(value.value.data, _element(ty)), ty, types)
        case DenseIntOrFPElementsAttr():
            return _dense(value, ty, types)
        case StringAttr():
            data = value.data.encode()
            if size_of(ty) != len(data):
                raise UnsupportedError(f"a string of {len(data)} bytes as value of type {ty}")
            return f'c"{escape(data)}"'
        case UnitAttr():
            return "undef"
        case _:
            raise UnsupportedError(f"constant {value} has no form in LLVM IR")


def _element(ty: Attribute) -> Attribute:
    return ty.element_type if isinstance(ty, VectorType) else ty


def _splat(text: str, ty: Attribute, types: TypeTable) -> str:
    return f"splat ({types(_element(ty))} {text})" if isinstance(ty, VectorType) else text


def _dense(value: DenseIntOrFPElementsAttr, ty: Attribute, types: TypeTable) -> str:
    if isinstance(ty, VectorType):
        element = ty.element_type
        if value.is_splat():
            return _splat(scalar_text(next(iter(value.iter_values())), element), ty, types)
        name = types(element)
        return "<" + ", ".join(f"{name} {scalar_text(v, element)}" for v in value.get_values()) + ">"
    shape: list[int] = []
    element = ty
    while isinstance(element, llvm.LLVMArrayType):
        shape.append(element.size.data)
        element = element.type
    values: Sequence[object]
    if value.is_splat():
        if math.prod(shape) and _is_zero(next(iter(value.iter_values()))):
            return "zeroinitializer"
        values = [next(iter(value.iter_values()))] * math.prod(shape)
    else:
        values = list(value.get_values())
    if len(values) != math.prod(shape):
        raise UnsupportedError(f"constant of {len(values)} elements for a value of type {ty}")
    return _nested(values, shape, element, types)


def _is_zero(value: object) -> bool:
    return value == 0 and math.copysign(1.0, float(value)) > 0  # pyright: ignore[reportArgumentType]


def _nested(values: Sequence[object], shape: list[int], element: Attribute, types: TypeTable) -> str:
    if not shape:
        return scalar_text(values[0], element)
    if len(shape) == 1:
        name = types(element)
        return "[" + ", ".join(f"{name} {scalar_text(v, element)}" for v in values) + "]"
    per = math.prod(shape[1:])
    inner = types(element)
    for size in reversed(shape[1:]):
        inner = f"[{size} x {inner}]"
    rows = [_nested(values[i * per : (i + 1) * per], shape[1:], element, types) for i in range(shape[0])]
    return "[" + ", ".join(f"{inner} {row}" for row in rows) + "]"
