"""What one core can do at most, measured: multiply-adds on registers, reading memory and copying it.

    limits = measure_limits(host_machine())     # Limits(1.17e11, 2.3e10, {"bf16": 2.3e11}, read=3.1e10)

The loop over multiply-adds has as many independent accumulators as the registers hold, so that neither latency nor
loads hold it back: what it reaches is the FMA limit that shares are given of. Sums of products of bf16 and of bytes
have limits of their own where the machine has an instruction for them, or a matrix unit.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from mlc.backends.llvm.codegen import compile_ir
from mlc.backends.llvm.jit import load_objects
from mlc.backends.llvm.read_loop import READS, read_loop
from mlc.backends.llvm.tile_loop import PRODUCTS, SUMS, tile_loop
from mlc.backends.machine import MachineModel
from mlc.dialects.llvm.intrinsics import DOT_BF16, DOT_UI8, TILE_MULF, TILE_MULI

Step = Callable[[int, str, str], tuple[str, str]]
TRIPS = 100_000
COPY_BYTES = 64 << 20
TRIES = 7


@dataclass(frozen=True)
class Limits:
    """Of one core: float32 operations per second, bytes read and written per second by a large copy.

    `dots`: operations per second in sums of products of narrower types, by type. `read`: bytes per second where memory
    is only read; as in a copy, where that is not known.
    """

    flops: float
    bandwidth: float
    dots: Mapping[str, float] = field(default_factory=dict)
    read: float = 0.0

    def seconds(self, done: Mapping[str, int]) -> float:
        """The least time for so many operations of each kind (f32, f64, bf16, int8)."""
        rates = {"f64": self.flops / 2, **self.dots}
        return sum(n / rates.get(kind, self.flops) for kind, n in done.items())

    def moving(self, read: int, written: int = 0) -> float:
        """The least time for so many bytes from and to memory. What a copy takes beyond reading is the writing."""
        reading = 1 / (self.read or self.bandwidth)
        return read * reading + written * max(reading, 2 / self.bandwidth - reading)


@lru_cache
def measure_limits(machine: MachineModel) -> Limits:
    """Measure this machine, best of several tries; takes some tenths of a second."""
    lanes = machine.lanes(32)
    accumulators = max(8, machine.vector_registers - 4)
    block = np.ones(2 * COPY_BYTES, np.uint8)
    source, target = block[:COPY_BYTES], block[COPY_BYTES:]
    bandwidth = 2 * COPY_BYTES / _best(lambda: np.copyto(target, source))

    def rate(products: int, text: str, each: int = accumulators * lanes) -> float:
        library = load_objects([compile_ir(text, machine)])
        run = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64, ctypes.c_float)(library.address("fma_loop"))
        return 2 * products * TRIPS * each / _best(lambda: run(TRIPS, 0.5))

    trips = len(block) // (4 * READS * lanes)
    library = load_objects([compile_ir(read_loop(lanes), machine)])
    read = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64)(library.address("read_loop"))
    reading = len(block) / _best(lambda: read(block.ctypes.data, trips))
    dots: dict[str, float] = {}
    if machine.tile_bf16:
        dots["bf16"] = rate(2, tile_loop(TILE_MULF), SUMS * PRODUCTS)
    elif machine.dot_bf16:
        dots["bf16"] = rate(2, _loop(lanes, accumulators, "float", f"<{2 * lanes} x bfloat>", _dot(DOT_BF16)))
    if machine.tile_int8:
        dots["int8"] = rate(4, tile_loop(TILE_MULI.format(signs="us")), SUMS * PRODUCTS)
    elif machine.dot_int8:
        dots["int8"] = rate(4, _loop(lanes, accumulators, "i32", f"<{4 * lanes} x i8>", _dot(DOT_UI8)))
    step = _fused if machine.fma else _multiplied_and_added
    return Limits(rate(1, _loop(lanes, accumulators, "float", f"<{lanes} x float>", step)), bandwidth, dots, reading)


def _best(fn: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(TRIES):
        start = time.perf_counter()
        fn()
        best = min(best, time.perf_counter() - start)
    return best


def _fused(k: int, vector: str, factor: str) -> tuple[str, str]:
    call = f"  %b{k} = call {vector} @llvm.fma({vector} %a{k}, {factor} %x, {factor} %x)"
    return call, f"declare {vector} @llvm.fma({vector}, {vector}, {vector})"


def _multiplied_and_added(k: int, vector: str, factor: str) -> tuple[str, str]:
    return f"  %m{k} = fmul {vector} %a{k}, %x\n  %b{k} = fadd {vector} %m{k}, %x", ""


def _dot(intrinsic: str) -> Step:
    def step(k: int, vector: str, factor: str) -> tuple[str, str]:
        name = intrinsic.format(bits=32 * int(vector[1:].split()[0]))
        call = f"  %b{k} = call {vector} @{name}({vector} %a{k}, {factor} %x, {factor} %x)"
        return call, f"declare {vector} @{name}({vector}, {factor}, {factor})"

    return step


def _loop(lanes: int, accumulators: int, element: str, factor: str, step: Step) -> str:
    """`float fma_loop(i64 trips, float x)`: every accumulator becomes acc * x + x, `trips` times; returns their sum.

    `step` writes the k-th of these, and what it declares; `factor` is the type of x as it takes it.
    """
    vector = f"<{lanes} x {element}>"
    bits = f"<{lanes} x i32>"
    numbers = range(accumulators)
    zero = "0.0" if element == "float" else "0"
    phis = [f"  %a{k} = phi {vector} [ splat ({element} {zero}), %entry ], [ %b{k}, %loop ]" for k in numbers]
    steps, declared = zip(*(step(k, vector, factor) for k in numbers), strict=True)
    add = "fadd" if element == "float" else "add"
    sums = [f"  %s{k} = {add} {vector} {f'%s{k - 1}' if k else 'zeroinitializer'}, %b{k}" for k in numbers]
    return "\n".join(
        [
            declared[0],
            "define float @fma_loop(i64 %trips, float %value) {",
            "entry:",
            "  %bits = bitcast float %value to i32",
            f"  %one = insertelement {bits} poison, i32 %bits, i64 0",
            f"  %all = shufflevector {bits} %one, {bits} poison, <{lanes} x i32> zeroinitializer",
            f"  %x = bitcast {bits} %all to {factor}",
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
            f"  %f = bitcast {element} %r to float",
            "  ret float %f",
            "}",
        ]
    )
