"""A flat byte memory for the llvm dialect's pointers: every allocation has its own address range, with gaps between.

A pointer is an address (int64). An access must lie inside one allocation; anything else is an `OutOfBounds`.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import numpy as np
from xdsl.dialects.builtin import BFloat16Type, IntegerType, VectorType
from xdsl.dialects.llvm import LLVMArrayType, LLVMPointerType, LLVMStructType
from xdsl.ir import Attribute

from mlc.errors import UnsupportedError
from mlc.ir.memory import OutOfBounds
from mlc.ir.values import dtype_of, int_width

GUARD = 1 << 12
FIRST = 1 << 16


def size_of(t: Attribute) -> int:
    """Bytes a value of type `t` takes in memory, padding included."""
    match t:
        case LLVMPointerType():
            return 8
        case LLVMArrayType():
            return t.size.data * size_of(t.type)
        case LLVMStructType():
            return struct_offsets(t)[-1]
        case VectorType():
            n = int(np.prod(t.get_shape(), dtype=np.int64))
            e = t.element_type
            bits = n * (1 if isinstance(e, IntegerType) and e.width.data == 1 else 8 * size_of(e))
            return -(-bits // 8)
        case BFloat16Type():
            return 2
        case _:
            return dtype_of(t).itemsize


def align_of(t: Attribute) -> int:
    """Natural alignment."""
    match t:
        case LLVMArrayType():
            return align_of(t.type)
        case LLVMStructType():
            return max([align_of(m) for m in t.types.data], default=1)
        case _:
            return size_of(t)


def struct_offsets(t: LLVMStructType) -> list[int]:
    """Byte offset of each member, and the total size."""
    out: list[int] = []
    at = 0
    for member in t.types.data:
        at = -(-at // align_of(member)) * align_of(member)
        out.append(at)
        at += size_of(member)
    whole = align_of(t)
    return [*out, -(-at // whole) * whole]


class FlatMemory:
    """Allocations by ascending address."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._bytes: list[np.ndarray] = []
        self._constant: list[bool] = []
        self._next = FIRST

    def allocate(self, nbytes: int, *, align: int = 64, data: np.ndarray | None = None, constant: bool = False) -> int:
        """Address of fresh memory (all ones, or the bytes of `data` in place)."""
        start = -(-self._next // max(align, 64)) * max(align, 64)
        raw = np.full(nbytes, 0xFF, dtype=np.uint8) if data is None else data.reshape(-1).view(np.uint8)
        self._starts.append(start)
        self._bytes.append(raw)
        self._constant.append(constant)
        self._next = start + len(raw) + GUARD
        return start

    def window(self, address: int, nbytes: int, *, write: bool = False) -> np.ndarray:
        """The bytes at an address, as a view."""
        k = bisect_right(self._starts, address) - 1
        if k < 0 or address + nbytes > self._starts[k] + len(self._bytes[k]):
            raise OutOfBounds(f"{nbytes} bytes at address {address:#x} lie in no allocation")
        if write and self._constant[k]:
            raise OutOfBounds("write to a constant")
        at = address - self._starts[k]
        return self._bytes[k][at : at + nbytes]

    def load(self, address: int, t: Attribute) -> Any:
        """A value of type `t`."""
        match t:
            case LLVMPointerType():
                return np.int64(self.window(address, 8).view(np.int64)[0])
            case LLVMStructType():
                return tuple(self.load(address + o, m) for o, m in zip(struct_offsets(t), t.types.data, strict=False))
            case LLVMArrayType():
                step = size_of(t.type)
                return tuple(self.load(address + k * step, t.type) for k in range(t.size.data))
            case VectorType():
                return _decode(self.window(address, size_of(t)), t.element_type, t.get_shape())
            case _:
                return _decode(self.window(address, size_of(t)), t, ())[()]

    def store(self, address: int, value: Any, t: Attribute) -> None:
        """Write a value of type `t`."""
        match t:
            case LLVMPointerType():
                self.window(address, 8, write=True).view(np.int64)[0] = value
            case LLVMStructType():
                for o, m, v in zip(struct_offsets(t), t.types.data, value, strict=False):
                    self.store(address + o, v, m)
            case LLVMArrayType():
                step = size_of(t.type)
                for k, v in enumerate(value):
                    self.store(address + k * step, v, t.type)
            case _:
                e = t.element_type if isinstance(t, VectorType) else t
                self.window(address, size_of(t), write=True)[...] = encode(value, e)


def _decode(raw: np.ndarray, e: Attribute, shape: tuple[int, ...]) -> np.ndarray:
    if isinstance(e, BFloat16Type):
        return (raw.copy().view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32).reshape(shape)
    if isinstance(e, IntegerType) and e.width.data == 1 and shape:
        n = int(np.prod(shape, dtype=np.int64))
        return np.unpackbits(raw, count=n, bitorder="little").astype(np.bool_).reshape(shape)
    if isinstance(e, IntegerType) and e.width.data == 1:
        return ((raw & 1) != 0).reshape(shape)
    if isinstance(e, LLVMPointerType):
        return raw.copy().view(np.int64).reshape(shape)
    dtype = dtype_of(e)
    if int_width(e) != dtype.itemsize * 8 and isinstance(e, IntegerType):
        raise UnsupportedError(f"{e} in memory")
    return raw.copy().view(dtype).reshape(shape)


def encode(value: Any, e: Attribute) -> np.ndarray:
    """The bytes of a scalar or vector with elements of type `e`."""
    x = np.ascontiguousarray(value)
    if isinstance(e, BFloat16Type):
        return (x.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16).reshape(-1).view(np.uint8)
    if isinstance(e, IntegerType) and e.width.data == 1 and np.ndim(value):
        return np.packbits(x.astype(np.bool_).reshape(-1), bitorder="little")
    dtype = np.dtype(np.int64) if isinstance(e, LLVMPointerType) else dtype_of(e)
    return x.astype(dtype, copy=False).reshape(-1).view(np.uint8)
