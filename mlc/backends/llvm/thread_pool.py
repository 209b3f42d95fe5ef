"""The native code of the worker threads (`thread_pool.ll`), loaded once per process, and compiled where the cache lacks
it.

    thread_pool()  -->  ThreadPool(parallel_for=0x…, stop=0x…, …), or None where there is none to be had

The text is plain LLVM IR over atomics and pthreads, so no C compiler is needed; what it cannot say without naming a
processor (a pause while spinning, the float mode of a thread) is added here.
Tests: tests/backends/llvm/test_thread_pool.py
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

from mlc.backends.llvm.jit import load_objects
from mlc.backends.llvm.kept import object_of
from mlc.backends.llvm.target import host_machine
from mlc.runtime.threads import ThreadPool

_SOURCE = Path(__file__).with_name("thread_pool.ll")

_ARCHITECTURES = {
    "x86_64": """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define internal void @relax() alwaysinline nounwind {
  call void asm sideeffect "pause", ""()
  ret void
}
define internal i64 @get_float_mode() nounwind {
  %at = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %at)
  %mode = load i32, ptr %at
  %wide = zext i32 %mode to i64
  ret i64 %wide
}
define internal void @set_float_mode(i64 %wide) nounwind {
  %at = alloca i32
  %mode = trunc i64 %wide to i32
  store i32 %mode, ptr %at
  call void @llvm.x86.sse.ldmxcsr(ptr %at)
  ret void
}
""",
    "aarch64": """
define internal void @relax() alwaysinline nounwind {
  call void asm sideeffect "isb", ""()
  ret void
}
define internal i64 @get_float_mode() nounwind {
  %mode = call i64 asm sideeffect "mrs $0, fpcr", "=r"()
  ret i64 %mode
}
define internal void @set_float_mode(i64 %mode) nounwind {
  call void asm sideeffect "msr fpcr, $0", "r"(i64 %mode)
  ret void
}
""",
}
"""How a processor waits a moment, and how denormals and rounding are set: tiles compute alike on every thread."""


@functools.cache
def thread_pool() -> ThreadPool | None:
    """This process's pool. None on systems other than Linux and on processors without a line in this file."""
    machine = host_machine()
    own = _ARCHITECTURES.get(machine.arch)
    if own is None or sys.platform != "linux":
        return None
    code = load_objects([object_of(_SOURCE.read_text() + own, machine, opt_level=0)])
    return ThreadPool(
        parallel_for=code.address("mlc_parallel_for"),
        run_alone=code.address("mlc_run_alone"),
        run_backwards=code.address("mlc_run_backwards"),
        stop=code.address("mlc_pool_stop"),
        reset=code.address("mlc_pool_reset"),
        owner=code,
    )
