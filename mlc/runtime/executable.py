"""A compiled model in memory: native entry points, constants, and what its inputs and outputs look like.

C ABI of the code (ARCHITECTURE.md, "llvm"):

    int32_t mlc_forward(void **args, const int64_t *dims, void **consts, void *arena)   // args: inputs then outputs
    int64_t mlc_arena_size(const int64_t *dims)
    void    mlc_output_dims(const int64_t *dims, int64_t *out)                          // only with dynamic outputs

`dims` are the dynamic dimensions of the inputs in order; return value 0, or the number of the assertion that failed.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlc.errors import DTypeError, ExecutionError, ShapeError, UsageError

ALIGNMENT = 64

_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_SIZE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
_DIMS = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


@dataclass(frozen=True)
class TensorSpec:
    """Shape (None: dynamic) and numpy dtype of an input or output, with the name errors use."""

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    name: str = ""

    def describe(self) -> str:
        """`float32[?, 3, 224, 224]`."""
        return f"{self.dtype}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


@dataclass
class NativeCode:
    """Addresses of the entry points; `owner` keeps the code mapped."""

    forward: int
    arena_size: int
    output_dims: int | None
    owner: Any


def aligned_empty(nbytes: int) -> np.ndarray:
    """Uninitialised bytes at a 64-byte boundary."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    offset = -raw.ctypes.data % ALIGNMENT
    return raw[offset : offset + nbytes]


def aligned(array: np.ndarray) -> np.ndarray:
    """`array` itself when it is contiguous at a 64-byte boundary, else a copy that is."""
    if array.flags.c_contiguous and array.ctypes.data % ALIGNMENT == 0:
        return array
    out = aligned_empty(array.nbytes).view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


@dataclass
class Executable:
    """Call it with numpy arrays. Thread-safe: each thread has its own arena."""

    code: NativeCode
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    constants: list[np.ndarray]
    assertions: dict[int, str] = field(default_factory=dict)
    _local: threading.local = field(default_factory=threading.local, repr=False)

    def __post_init__(self) -> None:
        self._forward = _ENTRY(self.code.forward)
        self._arena_size = _SIZE(self.code.arena_size)
        self._output_dims = _DIMS(self.code.output_dims) if self.code.output_dims else None
        self._constants = (ctypes.c_void_p * max(1, len(self.constants)))(*(c.ctypes.data for c in self.constants))
        self._static = all(None not in s.shape for s in self.inputs)
        self._dynamic_outputs = sum(s.shape.count(None) for s in self.outputs)

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run on `inputs` (any strides); returns freshly allocated dense outputs."""
        if len(inputs) != len(self.inputs):
            raise UsageError(f"{len(inputs)} input tensors given", expected=f"{len(self.inputs)}")
        dense: list[np.ndarray] = []
        dims: list[int] = []
        for spec, array in zip(self.inputs, inputs, strict=True):
            if array.dtype.kind == "u" and spec.dtype == np.dtype(f"i{array.dtype.itemsize}"):
                array = array.view(spec.dtype)  # the code has no signedness: unsigned integers travel as their bits
            if array.dtype != spec.dtype:
                raise DTypeError(f"input '{spec.name}' has dtype {array.dtype}", expected=str(spec.dtype))
            if array.shape != spec.shape:
                self._match(spec, array.shape, dims)
            dense.append(array if array.flags.c_contiguous else np.ascontiguousarray(array))
        c_dims = (ctypes.c_int64 * max(1, len(dims)))(*dims)
        outputs = [np.empty(shape, spec.dtype) for shape, spec in zip(self._shapes(c_dims), self.outputs, strict=True)]
        pointers = (ctypes.c_void_p * max(1, len(dense) + len(outputs)))(
            *(a.ctypes.data for a in dense), *(a.ctypes.data for a in outputs)
        )
        arena = self._arena(c_dims)
        status = self._forward(pointers, c_dims, self._constants, arena)
        if status:
            raise ExecutionError(self.assertions.get(status, f"assertion {status} failed"))
        return outputs

    def arena_bytes(self, dims: Sequence[int] = ()) -> int:
        """Bytes of the activation arena for these dynamic dimensions."""
        return self._arena_size((ctypes.c_int64 * max(1, len(dims)))(*dims))

    def _match(self, spec: TensorSpec, shape: tuple[int, ...], dims: list[int]) -> None:
        if len(shape) != len(spec.shape):
            raise ShapeError(f"input '{spec.name}' has shape {list(shape)}", expected=spec.describe())
        for want, got in zip(spec.shape, shape, strict=True):
            if want is None:
                dims.append(got)
            elif want != got:
                raise ShapeError(f"input '{spec.name}' has shape {list(shape)}", expected=spec.describe())

    def _shapes(self, dims: Any) -> list[tuple[int, ...]]:
        if not self._dynamic_outputs:
            return [s.shape for s in self.outputs]  # pyright: ignore[reportReturnType]
        assert self._output_dims is not None
        found = (ctypes.c_int64 * self._dynamic_outputs)()
        self._output_dims(dims, found)
        rest = iter(found)
        return [tuple(next(rest) if d is None else d for d in s.shape) for s in self.outputs]

    def _arena(self, dims: Any) -> int:
        have = getattr(self._local, "arena", None)
        if have is not None and self._static:
            return self._local.address
        size = max(ALIGNMENT, self._arena_size(dims))
        if have is None or have.nbytes < size:
            have = self._local.arena = aligned_empty(size)
            self._local.address = have.ctypes.data
        return self._local.address
