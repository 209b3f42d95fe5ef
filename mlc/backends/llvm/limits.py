"""What one core can do at most, measured: multiply-adds on registers, and copying memory.

    limits = measure_limits(host_machine())     # Limits(flops=1.17e11, bandwidth=2.3e10)

The loop over multiply-adds has as many independent accumulators as the registers hold, so that neither latency nor
loads hold it back: what it reaches is the FMA limit that shares are given of.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mlc.backends.llvm.codegen import compile_ir
from mlc.backends.llvm.jit import load_objects
from mlc.backends.machine import MachineModel

TRIPS = 100_000
COPY_BYTES = 64 << 20
TRIES = 7


@dataclass(frozen=True)
class Limits:
    """Of one core: float32 operations per second, bytes read and written per second by a large copy."""

    flops: float
    bandwidth: float


@lru_cache
def measure_limits(machine: MachineModel) -> Limits:
    """Measure this machine, best of several tries; takes about a tenth of a second."""
    lanes = machine.lanes(32)
    accumulators = max(4, machine.vector_registers - 4)
    library = load_objects([compile_ir(_fma_loop(lanes, accumulators, fused=machine.fma), machine)])
    run = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64, ctypes.c_float)(library.address("fma_loop"))
    flops = 2 * TRIPS * accumulators * lanes / _best(lambda: run(TRIPS, 0.5))
    source = np.ones(COPY_BYTES, np.uint8)
    target = np.empty_like(source)
    return Limits(flops, 2 * COPY_BYTES / _best(lambda: np.copyto(target, source)))


def _best(fn: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(TRIES):
        start = time.perf_counter()
        fn()
        best = min(best, time.perf_counter() - start)
    return best


def _fma_loop(lanes: int, accumulators: int, *, fused: bool) -> str:
    """`float fma_loop(i64 trips, float x)`: every accumulator becomes acc * x + x, `trips` times; returns their sum."""
    vector = f"<{lanes} x float>"
    numbers = range(accumulators)
    phis = [f"  %a{k} = phi {vector} [ splat (float {float(k)}), %entry ], [ %b{k}, %loop ]" for k in numbers]
    if fused:
        steps = [f"  %b{k} = call {vector} @llvm.fma({vector} %a{k}, {vector} %x, {vector} %x)" for k in numbers]
    else:
        steps = [
            f"  %m{k} = fmul {vector} %a{k}, %x\n  %b{k} = fadd {vector} %m{k}, %x"
            for k in numbers
        ]  # fmt: skip
    sums = [f"  %s{k} = fadd {vector} {f'%s{k - 1}' if k else 'zeroinitializer'}, %b{k}" for k in numbers]
    return "\n".join(
        [
            f"declare {vector} @llvm.fma({vector}, {vector}, {vector})",
            "define float @fma_loop(i64 %trips, float %value) {",
            "entry:",
            f"  %one = insertelement {vector} poison, float %value, i64 0",
            f"  %x = shufflevector {vector} %one, {vector} poison, <{lanes} x i32> zeroinitializer",
            "  br label %loop",
            "loop:",
            "  %i = phi i64 [ 0, %entry ], [ %next, %loop ]",
            *phis,
            *steps,
            "  %next = add i64 %i, 1",
            "  %more = icmp ult i64 %next, %trips",
            "  br i1 %more, label %loop, label %done",
            "done:",
            *sums,
            f"  %r = extractelement {vector} %s{accumulators - 1}, i64 0",
            "  ret float %r",
            "}",
        ]
    )
