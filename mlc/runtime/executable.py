"""A compiled model in memory: native entry points, constants, and what its inputs and outputs look like.

C ABI of the code (ARCHITECTURE.md, "llvm"):

    int32_t mlc_forward(void **args, const int64_t *dims, void **consts, void *arena, const team *team)
    int64_t mlc_arena_size(const int64_t *dims)
    void    mlc_output_dims(const int64_t *dims, int64_t *out)                          // only with dynamic outputs

`args` points to inputs then outputs; `dims` are the dynamic dimensions of the inputs in order; `team` says who helps
with parallel loops, or is null (`mlc/runtime/threads.py`). Return value 0, or the number of the assertion that failed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlc.errors import DTypeError, ExecutionError, LimitError, ShapeError, UsageError
from mlc.runtime.cpu_caches import cache_bytes
from mlc.runtime.threads import ThreadPool, threads_for

ALIGNMENT = 64
TURNS = 0.75, 3.0  # times the second-level cache: of so many constants a part stays in it that calls find going back

_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 5)
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


def empty(shape: int | tuple[int, ...], dtype: np.dtype[Any], use: str) -> np.ndarray:
    """An uninitialised array; LimitError, which says its `use`, where there is no memory for it."""
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError):  # more than the system has; more than fits an address
        sizes = list(shape) if isinstance(shape, tuple) else [shape]
        raise LimitError(
            f"there is no memory for {use}: {dtype}{sizes}", hint="use smaller inputs, or a machine with more memory"
        ) from None


def aligned_empty(nbytes: int) -> np.ndarray:
    """Uninitialised bytes at a 64-byte boundary; LimitError where there is no memory for them."""
    raw = empty(nbytes + ALIGNMENT, np.dtype(np.uint8), "what the model keeps while it runs")
    offset = -raw.ctypes.data % ALIGNMENT
    return raw[offset : offset + nbytes]


def is_aligned(array: np.ndarray) -> bool:
    """Whether an array is contiguous at a 64-byte boundary."""
    return array.flags.c_contiguous and array.ctypes.data % ALIGNMENT == 0


def aligned(array: np.ndarray) -> np.ndarray:
    """`array` itself when it is contiguous at a 64-byte boundary, else a copy that is."""
    if is_aligned(array):
        return array
    out = aligned_empty(array.nbytes).view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


def _turns(constants: int) -> bool:
    """Whether calls go back and forth through so many bytes."""
    cache = cache_bytes(2)
    return cache is not None and TURNS[0] * cache <= constants <= TURNS[1] * cache


class Frame:
    """What one call needs for itself while it runs: the table of its arguments' addresses and an arena."""

    __slots__ = ("address", "arena", "pointers", "table")

    def __init__(self, arguments: int, arena_bytes: int) -> None:
        self.pointers = (ctypes.c_void_p * max(1, arguments))()
        self.table: int = ctypes.addressof(self.pointers)
        self.reserve(arena_bytes)

    def reserve(self, nbytes: int) -> None:
        """A larger arena."""
        self.arena = aligned_empty(nbytes)
        self.address: int = self.arena.ctypes.data


@dataclass
class Executable:
    """Call it with numpy arrays. Thread-safe and reentrant: a call takes a frame of its own out of `free_frames` (or
    makes one) and puts it back; there are as many frames as calls ever ran at once.

    Without a `pool` it runs on the calling thread alone; `num_threads` is None for the process's own number. Where
    constants do not quite fit the second-level cache, every other call of one thread goes through them backwards, so
    that it begins with those that the call before has used last. Results do not depend on it.

    `same_words` asks natively whether memory is as it was (`mlc/backends/llvm/same_words.py`), for guards.

    `forward`, `free_frames`, `new_frame`, `constant_table`, `no_dims`, `team` and `failure` are for callers that have
    the addresses at hand and need none of what `run` checks.
    """

    code: NativeCode
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    constants: list[np.ndarray]
    assertions: dict[int, str] = field(default_factory=dict)
    pool: ThreadPool | None = None
    num_threads: int | None = None
    same_words: Callable[[int], int] | None = None
    free_frames: list[Frame] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.forward = _ENTRY(self.code.forward)
        self._arena_size = _SIZE(self.code.arena_size)
        self._output_dims = _DIMS(self.code.output_dims) if self.code.output_dims else None
        self.constant_table = (ctypes.c_void_p * max(1, len(self.constants)))(*(c.ctypes.data for c in self.constants))
        self.no_dims = (ctypes.c_int64 * 1)()
        self.is_static = all(None not in s.shape for s in self.inputs)
        self._goes_back = False  # the next call on one thread, where they take turns
        self._turns = _turns(sum(c.nbytes for c in self.constants)) and self.pool is not None
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
        outputs = [
            empty(shape, spec.dtype, f"result {number}")
            for number, (shape, spec) in enumerate(zip(self._shapes(c_dims), self.outputs, strict=True))
        ]
        frame = self._frame(c_dims)
        for i, array in enumerate((*dense, *outputs)):
            frame.pointers[i] = array.ctypes.data
        status = self.forward(frame.pointers, c_dims, self.constant_table, frame.address, self.team())
        self.free_frames.append(frame)
        if status:
            raise self.failure(status)
        return outputs

    def new_frame(self) -> Frame:
        """A frame for inputs of static sizes."""
        return Frame(len(self.inputs) + len(self.outputs), max(ALIGNMENT, self._arena(self.no_dims)))

    def team(self) -> int:
        """Address of the team for a call made here and now; 0 for the calling thread alone."""
        if self.pool is None:
            return 0
        threads = threads_for(self.num_threads)
        if self._turns and threads == 1:
            goes_back, self._goes_back = self._goes_back, not self._goes_back
            if goes_back:
                return self.pool.backwards()
        return self.pool.team(threads)

    def failure(self, status: int) -> ExecutionError:
        """The error of a status other than 0."""
        return ExecutionError(self.assertions.get(status, f"assertion {status} failed"))

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
        shapes = [tuple(next(rest) if d is None else d for d in s.shape) for s in self.outputs]
        for number, shape in enumerate(shapes):
            if min(shape, default=0) < 0:
                raise ShapeError(
                    f"result {number} would have the shape {list(shape)}",
                    expected=self.outputs[number].describe(),
                    hint="an input is too small for the model",
                )
        return shapes

    def _arena(self, dims: Any) -> int:
        """Bytes of the arena; LimitError where their number passed 63 bits, and the code would take any arena."""
        size = self._arena_size(dims)
        if size < 0:
            raise LimitError("there is no memory for what the model keeps while it runs", hint="use smaller inputs")
        return size

    def _frame(self, dims: Any) -> Frame:
        try:
            frame = self.free_frames.pop()
        except IndexError:
            frame = Frame(len(self.inputs) + len(self.outputs), ALIGNMENT)
        if not self.is_static or frame.arena.nbytes == ALIGNMENT:
            size = self._arena(dims)
            if size > frame.arena.nbytes:
                frame.reserve(size)
        return frame
