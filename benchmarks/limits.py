"""What this machine can do: fused multiply-adds per second, bytes per second from memory; a process of its own.

    python -m benchmarks.limits 2    ->  {"gflops": 234.1, "read_gb": 30.2, "copy_gb": 27.9}

The arithmetic loop keeps enough independent accumulators in registers that only the multiply-add units limit it; the
reading loop sums a block that no cache holds. Both are LLVM IR, compiled for this machine by mlc's own backend.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mlc.backends.llvm.codegen import compile_ir
from mlc.backends.llvm.jit import load_objects
from mlc.backends.llvm.target import function_attributes, host_machine
from mlc.backends.machine import MachineModel
from mlc.runtime.executable import aligned_empty

ACCUMULATORS = 12  # more than latency times units, few enough for sixteen registers
BLOCK_BYTES = 128 << 20  # per thread, above any cache
FMA_TRIPS = 500_000
ROUNDS = 15


def _fma_step(lanes: int, i: int) -> list[str]:
    v = f"<{lanes} x float>"
    return [f"%new{i} = call {v} @llvm.fmuladd.v{lanes}f32({v} %x, {v} %x, {v} %acc{i})"]


def _read_step(lanes: int, i: int) -> list[str]:
    v = f"<{lanes} x float>"
    return [
        f"%p{i} = getelementptr {v}, ptr %row, i64 {i}",
        f"%v{i} = load {v}, ptr %p{i}",
        f"%new{i} = fadd {v} %acc{i}, %v{i}",
    ]


def _function(name: str, lanes: int, step: Callable[[int, int], list[str]]) -> str:
    """`float name(data, trips)`: a counted loop, one step per accumulator, and their sum. `%x` is the first vector of
    the data, `%row` where the trip's own vectors begin."""
    v = f"<{lanes} x float>"
    body = [line for i in range(ACCUMULATORS) for line in step(lanes, i)]
    sums = [f"%s{i} = fadd {v} {f'%s{i - 1}' if i > 1 else '%new0'}, %new{i}" for i in range(1, ACCUMULATORS)]
    lines = [
        f"define float @{name}(ptr %data, i64 %trips) #0 {{",
        "entry:",
        f"%x = load {v}, ptr %data",
        "br label %loop",
        "loop:",
        "%t = phi i64 [ 0, %entry ], [ %next, %loop ]",
        *(f"%acc{i} = phi {v} [ zeroinitializer, %entry ], [ %new{i}, %loop ]" for i in range(ACCUMULATORS)),
        f"%row = getelementptr [{ACCUMULATORS} x {v}], ptr %data, i64 %t",
        *body,
        "%next = add i64 %t, 1",
        "%more = icmp ult i64 %next, %trips",
        "br i1 %more, label %loop, label %exit",
        "exit:",
        *sums,
        f"%sum = call reassoc float @llvm.vector.reduce.fadd.v{lanes}f32(float 0.0, {v} %s{ACCUMULATORS - 1})",
        "ret float %sum",
        "}",
    ]
    return "\n".join(lines)


def loops_ir(machine: MachineModel) -> str:
    """Both loops as LLVM IR."""
    lanes = machine.lanes(32)
    return "\n".join(
        (
            _function("fma", lanes, _fma_step),
            _function("read", lanes, _read_step),
            f"declare <{lanes} x float> @llvm.fmuladd.v{lanes}f32({', '.join([f'<{lanes} x float>'] * 3)})",
            f"declare float @llvm.vector.reduce.fadd.v{lanes}f32(float, <{lanes} x float>)",
            f"attributes #0 = {{ {function_attributes(machine)} }}",
        )
    )


def _best(threads: int, work: Callable[[int], object], rounds: int) -> float:
    """Shortest wall time of `work(thread)` on all threads at once."""
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(rounds):
            start = time.perf_counter()
            list(pool.map(work, range(threads)))
            best = min(best, time.perf_counter() - start)
    return best


def limits(threads: int, *, rounds: int = ROUNDS, block_bytes: int = BLOCK_BYTES) -> dict[str, float]:
    """GFLOP/s, and GB/s of reading and of copying (read and written bytes both counted), best of `rounds`."""
    machine = host_machine()
    library = load_objects([compile_ir(loops_ir(machine), machine)])
    kind = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_void_p, ctypes.c_int64)
    fma, read = kind(library.address("fma")), kind(library.address("read"))
    blocks, ends = ([aligned_empty(block_bytes).view(np.float32) for _ in range(threads)] for _ in range(2))
    for block, end in zip(blocks, ends, strict=True):
        block[:] = 1e-3
        end[:] = 0
    vectors = ACCUMULATORS * machine.lanes(32)
    trips = block_bytes // (4 * vectors)
    fma_s = _best(threads, lambda t: fma(blocks[t].ctypes.data, FMA_TRIPS), rounds)
    read_s = _best(threads, lambda t: read(blocks[t].ctypes.data, trips), rounds)
    copy_s = _best(threads, lambda t: ctypes.memmove(ends[t].ctypes.data, blocks[t].ctypes.data, block_bytes), rounds)
    return {
        "gflops": threads * 2 * vectors * FMA_TRIPS / fma_s / 1e9,
        "read_gb": threads * trips * vectors * 4 / read_s / 1e9,
        "copy_gb": threads * 2 * block_bytes / copy_s / 1e9,
    }


if __name__ == "__main__":
    print(json.dumps(limits(int(sys.argv[1]))))
