"""Types of the loops level in llvm terms, and the parts a value is made of there.

index                                    i64
vector<16xf32>                           vector<16xf32>
vector<2x4xf32>                          two vector<4xf32>
memref<?x4xf32, strided<[?, 1]>>         !llvm.ptr, i64 (size 0), i64 (stride 0)
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

from xdsl.dialects import llvm
from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    IndexType,
    IntegerType,
    MemRefType,
    NoneAttr,
    StridedLayoutAttr,
    VectorType,
    i64,
)
from xdsl.ir import Attribute

from mlc.dialects.amx.ops import TileType
from mlc.dialects.llvm.tile_type import X86AMXType
from mlc.errors import LimitError, UnsupportedError

PTR = llvm.LLVMPointerType()

MAX_VECTOR_BITS = 1 << 16
"""Longest vector handed to LLVM: instruction selection of much longer ones takes minutes or ends the process."""

MAX_INT_BITS = 128


@lru_cache(maxsize=4096)
def element_bits(ty: Attribute) -> int:
    """Bits of a scalar type at this level."""
    match ty:
        case IndexType():
            return 64
        case IntegerType():
            if not 1 <= ty.width.data <= MAX_INT_BITS:
                raise LimitError(f"integer type {ty} is wider than {MAX_INT_BITS} bits")
            return ty.width.data
        case BFloat16Type() | Float16Type():
            return 16
        case Float32Type():
            return 32
        case Float64Type():
            return 64
        case llvm.LLVMPointerType():
            return 64
        case _:
            raise UnsupportedError(f"type {ty} has no form in the llvm dialect")


@lru_cache(maxsize=4096)
def element_bytes(ty: Attribute) -> int:
    """Bytes an element takes in memory: a bool one, others a power of two."""
    size = -(-element_bits(ty) // 8)
    return 1 << (size - 1).bit_length()


@lru_cache(maxsize=4096)
def scalar_type(ty: Attribute) -> Attribute:
    """A scalar's llvm type; signs are dropped."""
    match ty:
        case IndexType():
            return i64
        case IntegerType():
            element_bits(ty)
            return IntegerType(ty.width.data)
        case _:
            element_bits(ty)
            return ty


@lru_cache(maxsize=4096)
def vector_parts(ty: VectorType) -> tuple[int, VectorType]:
    """How many 1-D vectors a vector is, and their type. A 0-D one is a vector of one element."""
    if any(s.value.data for s in ty.scalable_dims):
        raise UnsupportedError(f"scalable vector type {ty} is not supported")
    shape = ty.get_shape()
    width = shape[-1] if shape else 1
    count = prod(shape[:-1])
    bits = element_bits(ty.element_type)
    if width * bits > MAX_VECTOR_BITS or count > 4096 or width < 1 or count < 1:
        raise LimitError(
            f"vector type {ty} is too large for the target", expected=f"at most {MAX_VECTOR_BITS} bits per row"
        )
    return count, VectorType(scalar_type(ty.element_type), [width])


def layout_strides(ty: MemRefType) -> tuple[int | None, ...]:
    """Element strides that the type fixes; None is dynamic. Row-major with dynamic sizes has dynamic strides too."""
    if isinstance(ty.layout, NoneAttr):
        out: list[int | None] = []
        stride: int | None = 1
        for size in reversed(ty.get_shape()):
            out.append(stride)
            stride = None if stride is None or size == DYNAMIC_INDEX else stride * size
        return tuple(reversed(out))
    strides = ty.get_strides()
    if strides is None:
        raise UnsupportedError(f"memref layout {ty.layout} is not strided")
    return tuple(strides)


def dynamic_strides(ty: MemRefType) -> tuple[int, ...]:
    """Dimensions whose stride travels beside the pointer: the `?` of a strided layout."""
    if not isinstance(ty.layout, StridedLayoutAttr):
        return ()
    return tuple(i for i, s in enumerate(layout_strides(ty)) if s is None)


def dynamic_sizes(ty: MemRefType) -> tuple[int, ...]:
    """Dimensions whose size travels beside the pointer."""
    return tuple(i for i, s in enumerate(ty.get_shape()) if s == DYNAMIC_INDEX)


def parts(ty: Attribute) -> list[Attribute]:
    """llvm types that a value of `ty` becomes, in calling-convention order."""
    match ty:
        case MemRefType():
            layout_strides(ty)
            scalar_type(ty.element_type)
            return [PTR, *[i64] * (len(dynamic_sizes(ty)) + len(dynamic_strides(ty)))]
        case VectorType():
            count, vector = vector_parts(ty)
            return [vector] * count
        case TileType():
            return [X86AMXType()]
        case _:
            return [scalar_type(ty)]
