"""Buffers: what a memref value is at run time. One flat storage, an offset and strides, every access checked.

A `Storage` is a run of bytes. Floats of the IEEE domain and ints live in the bytes; floats of other domains (residues,
value-and-error pairs) live in a shadow with one slot per byte address, so that one arena can be viewed at any offset
and type in every domain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import BFloat16Type
from xdsl.ir import Attribute

from mlc.ir.semantics import Domain
from mlc.ir.values import byte_size, dtype_of, element_type, is_float


class OutOfBounds(Exception):
    """An access or a view outside the storage; the op that did it turns this into an `ExecutionError`."""


class Storage:
    """One allocation. Fresh memory is all ones (NaN, -1), not zeros, so that reading before writing shows."""

    def __init__(self, nbytes: int, *, fill: int = 0xFF) -> None:
        self.nbytes = nbytes
        self.bytes = np.full(nbytes, fill, dtype=np.uint8)
        self.shadow: np.ndarray | None = None
        self.freed = False
        self.constant = False

    @classmethod
    def over(cls, data: np.ndarray) -> Storage:
        """A storage that is the memory of a contiguous array, not a copy of it."""
        out = cls(0)
        out.bytes = data.reshape(-1).view(np.uint8)
        out.nbytes = out.bytes.size
        return out

    def plane(self, t: Attribute, domain: Domain) -> tuple[np.ndarray, int]:
        """The array that holds elements of type `t`, and how many of its bytes one byte of address is."""
        dtype = domain.dtype(t)
        if not is_float(t) or dtype == dtype_of(t):
            return self.bytes, 1
        if self.shadow is None or self.shadow.dtype != dtype:
            self.shadow = np.zeros(self.nbytes, dtype=dtype)
            self.shadow[...] = domain.constant(np.full(self.nbytes, np.nan), t)
        return self.shadow, dtype.itemsize


@dataclass(frozen=True)
class Buffer:
    """A memref value: `offset` and `strides` count elements of `element` in `storage`, from byte `base`."""

    storage: Storage
    element: Attribute
    domain: Domain
    base: int
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(s < 0 for s in self.sizes):
            raise OutOfBounds(f"negative size in {list(self.sizes)}")
        object.__setattr__(self, "_view", None)

    def with_layout(self, offset: int, sizes: Sequence[int], strides: Sequence[int]) -> Buffer:
        """Another window on the same storage."""
        return Buffer(self.storage, self.element, self.domain, self.base, offset, tuple(sizes), tuple(strides))

    @property
    def array(self) -> np.ndarray:
        """The elements as a numpy view, writable; checked once to lie inside the storage."""
        if self.storage.freed:
            raise OutOfBounds("use of a freed buffer")
        view: np.ndarray | None = self._view  # pyright: ignore[reportAttributeAccessIssue]
        if view is None:
            view = self._make_view()
            object.__setattr__(self, "_view", view)
        return view

    def _make_view(self) -> np.ndarray:
        size = byte_size(self.element)
        low = high = self.offset
        empty = any(n == 0 for n in self.sizes)
        for n, s in zip(self.sizes, self.strides, strict=True):
            if s < 0:
                low += (n - 1) * s
            else:
                high += (n - 1) * s
        if not empty and (self.base + low * size < 0 or self.base + (high + 1) * size > self.storage.nbytes):
            raise OutOfBounds(
                f"elements {low}..{high} of {size} bytes from byte {self.base} leave {self.storage.nbytes} bytes"
            )
        plane, scale = self.storage.plane(self.element, self.domain)
        dtype = self.domain.dtype(self.element) if scale != 1 else _memory_dtype(self.element)
        if empty:
            return np.zeros(self.sizes, dtype=dtype)
        return np.ndarray(
            self.sizes,
            dtype,
            buffer=plane.data if scale == 1 else plane,  # a plane of records is its own buffer
            offset=(self.base + self.offset * size) * scale,
            strides=tuple(s * size * scale for s in self.strides),
        )

    def read(self) -> np.ndarray:
        """A copy of the elements, as a tensor value."""
        return self.widen(self.array.copy())

    def write(self, value: Any) -> None:
        """Overwrite all elements."""
        self.writable[...] = self.narrow(value)

    def at(self, indices: tuple[Any, ...]) -> Any:
        """One element, as stored; numpy itself refuses an index too large."""
        for i in indices:
            if i < 0:
                raise OutOfBounds(f"index {list(map(int, indices))} is outside {list(self.sizes)}")
        view: np.ndarray | None = self._view  # pyright: ignore[reportAttributeAccessIssue]
        if view is None or self.storage.freed:
            view = self.array
        try:
            value = view[indices]
            return value.copy() if view.dtype.names else value  # records come out as views of the buffer
        except IndexError:
            raise OutOfBounds(f"index {list(map(int, indices))} is outside {list(self.sizes)}") from None

    def put(self, indices: tuple[Any, ...], value: Any) -> None:
        """Set one element to a value as stored."""
        for i in indices:
            if i < 0:
                raise OutOfBounds(f"index {list(map(int, indices))} is outside {list(self.sizes)}")
        try:
            self.writable[indices] = value
        except IndexError:
            raise OutOfBounds(f"index {list(map(int, indices))} is outside {list(self.sizes)}") from None

    def load(self, indices: Sequence[Any]) -> Any:
        """One element."""
        return self.widen(self.at(tuple(indices)))

    def store(self, indices: Sequence[Any], value: Any) -> None:
        """Set one element."""
        self.put(tuple(indices), self.narrow(value))

    @property
    def writable(self) -> np.ndarray:
        """`array`, refused for a constant."""
        if self.storage.constant:
            raise OutOfBounds("write to a constant")
        return self.array

    def widen(self, raw: Any) -> Any:
        """Elements as stored to elements as values (bf16 is carried in float32)."""
        if isinstance(self.element, BFloat16Type) and np.asarray(raw).dtype == np.uint16:
            return (np.asarray(raw).astype(np.uint32) << np.uint32(16)).view(np.float32)[()]
        return raw

    def narrow(self, value: Any) -> Any:
        """Elements as values to elements as stored."""
        if isinstance(self.element, BFloat16Type) and np.asarray(value).dtype == np.float32:
            return (
                (np.ascontiguousarray(value).view(np.uint32) >> np.uint32(16))
                .astype(np.uint16)
                .reshape(np.shape(value))
            )
        return value


def _memory_dtype(t: Attribute) -> np.dtype[Any]:
    return np.dtype(np.uint16) if isinstance(t, BFloat16Type) else dtype_of(t)


def row_major(sizes: Sequence[int]) -> tuple[int, ...]:
    """Dense row-major strides, in elements."""
    strides: list[int] = []
    step = 1
    for n in reversed(sizes):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def allocate(t: Attribute, sizes: Sequence[int], domain: Domain) -> Buffer:
    """A fresh dense buffer of elements of type `t`."""
    e = element_type(t)
    count = 1
    for n in sizes:
        if n < 0:
            raise OutOfBounds(f"negative size in {list(sizes)}")
        count *= n
    storage = Storage(count * byte_size(e))
    return Buffer(storage, e, domain, 0, 0, tuple(sizes), row_major(sizes))


def buffer_from(value: Any, t: Attribute, domain: Domain) -> Buffer:
    """A fresh dense buffer holding a tensor value."""
    out = allocate(t, np.shape(value), domain)
    out.write(value)
    return out
