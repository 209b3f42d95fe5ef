"""Measure each kernel call of a compiled model on its own: `@forward` runs in the interpreter, its calls natively.

The kernels are those of the loaded executable, with the arguments and addresses they have in a real call, so nothing
is compiled again and the measured code is the code that runs. Calls follow each other as in a real run (caches are as
warm as there); the time of an empty foreign call is taken off. For a thread alone, what counts is its processor time,
which neighbours on a shared machine disturb far less than the time on the wall.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import IndexType, IntegerType, MemRefType, ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute

from mlc.errors import ExecutionError
from mlc.interp.domains import make_domain
from mlc.interp.engine import Interpreter
from mlc.interp.run import convert_input, function_type
from mlc.ir.memory import Buffer, Storage, allocate
from mlc.ir.resources import ResourceStore
from mlc.ir.semantics import Results
from mlc.ir.values import static_shape
from mlc.lowering.llvm.types import dynamic_sizes, dynamic_strides
from mlc.module_parts import ENTRY
from mlc.runtime.executable import Executable, aligned_empty


@dataclass(frozen=True)
class Measured:
    """One kernel call of `@forward`: its symbol, the sizes of its memref arguments, seconds (median over the runs)."""

    symbol: str
    sizes: tuple[tuple[int, ...], ...]
    seconds: float


class _Native(Interpreter):
    """An interpreter that calls some functions natively and notes how long each call took."""

    def __init__(self, module: ModuleOp, resources: ResourceStore, executable: Executable, team: int) -> None:
        super().__init__(module, resources=resources, domain=make_domain("ieee"))
        self._team = team
        self._clock = time.perf_counter_ns if team else time.thread_time_ns
        self._bound: dict[str, Callable[..., int]] = {}
        self.calls: list[tuple[str, tuple[tuple[int, ...], ...], int]] = []
        for op in module.body.ops:
            if isinstance(op, FuncOp) and not op.body.blocks:
                name = op.sym_name.data
                kinds = [kind for t in op.function_type.inputs for kind in _c_types(t)]
                kinds.append(ctypes.c_void_p)
                self._bound[name] = ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(executable.code.owner.address(name))

    def call(self, symbol: str, args: Sequence[Any]) -> Results:
        native = self._bound.get(symbol)
        if native is None:
            return super().call(symbol, args)
        op = self.symbol(symbol)
        assert isinstance(op, FuncOp)
        flat = [v for a, t in zip(args, op.function_type.inputs, strict=True) for v in _c_values(a, t)]
        start = self._clock()
        status = native(*flat, self._team)
        elapsed = self._clock() - start
        if status:
            raise ExecutionError(f"an assertion of @{symbol} failed while it was measured")
        self.calls.append((symbol, tuple(a.sizes for a in args if isinstance(a, Buffer)), elapsed))
        return ()


def profile_calls(
    main: ModuleOp,
    executable: Executable,
    constants: Sequence[str],
    inputs: Sequence[np.ndarray],
    runs: int,
    *,
    team: int = 0,
) -> list[Measured]:
    """Time every kernel call of the buffers-level `main`, in order; medians of `runs` runs.

    `team` helps with parallel loops (0: one thread). `constants` names `executable.constants` in order. `main` declares
    its kernels under the symbols of the executable.
    """
    resources = ResourceStore()
    for name, array in zip(constants, executable.constants, strict=True):
        resources.set(name, array)
    engine = _Native(main, resources, executable, team)
    args = _arguments(engine, main, executable, inputs)
    overhead = _empty_call()
    samples: list[list[int]] = []
    for _ in range(runs + 1):
        engine.calls = []
        engine.run_function(ENTRY, args)
        samples.append([t for _, _, t in engine.calls])
    return [
        Measured(symbol, sizes, max(0.0, min(run[k] for run in samples[1:]) - overhead) * 1e-9)
        for k, (symbol, sizes, _) in enumerate(engine.calls)
    ]


def _arguments(
    engine: Interpreter, main: ModuleOp, executable: Executable, inputs: Sequence[np.ndarray]
) -> list[Buffer]:
    """Inputs, outputs and arena of one call, as buffers at addresses the kernels may assume."""
    domain = engine.domain
    params = list(function_type(main, ENTRY).inputs.data)
    dims = [
        n
        for s, x in zip(executable.inputs, inputs, strict=True)
        for d, n in zip(s.shape, x.shape, strict=True)
        if d is None
    ]
    args: list[Buffer] = [
        convert_input(np.ascontiguousarray(x), t, domain) for x, t in zip(inputs, params, strict=False)
    ]
    shapes = [static_shape(t) for t in params[len(inputs) : -1]]
    if any(d < 0 for s in shapes for d in s):
        open_sizes = iter(engine.run_function("output_dims", [np.int64(d) for d in dims]))
        shapes = [tuple(int(next(open_sizes)) if d < 0 else d for d in s) for s in shapes]
    args += [allocate(t, s, domain) for t, s in zip(params[len(inputs) : -1], shapes, strict=True)]
    size = max(1, executable.arena_bytes(dims))
    arena = params[-1]
    assert isinstance(arena, MemRefType)
    args.append(Buffer(Storage.over(aligned_empty(size)), arena.element_type, domain, 0, 0, (size,), (1,)))
    return args


def _c_types(t: Attribute) -> list[Any]:
    if isinstance(t, MemRefType):
        return [ctypes.c_void_p] + [ctypes.c_int64] * (len(dynamic_sizes(t)) + len(dynamic_strides(t)))
    if isinstance(t, IndexType | IntegerType):
        width = 64 if isinstance(t, IndexType) else t.width.data
        return [ctypes.c_int64 if width > 32 else ctypes.c_int32 if width > 8 else ctypes.c_int8]
    return [ctypes.c_double if str(t) == "f64" else ctypes.c_float]


def _c_values(value: Any, t: Attribute) -> list[Any]:
    if not isinstance(value, Buffer):
        return [value.item() if isinstance(value, np.generic | np.ndarray) else value]
    assert isinstance(t, MemRefType)
    sizes = [value.sizes[d] for d in dynamic_sizes(t)]
    return [value.array.ctypes.data, *sizes, *(value.strides[d] for d in dynamic_strides(t))]


def _empty_call() -> int:
    """Nanoseconds that a foreign call with a few arguments takes by itself."""
    empty = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4)(
        ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p).value or 0
    )
    times: list[int] = []
    for _ in range(200):
        start = time.thread_time_ns()
        empty(0, 0, 0, 0)
        times.append(time.thread_time_ns() - start)
    return int(statistics.median(times))
