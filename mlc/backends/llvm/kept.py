"""Object code of mlc's own LLVM IR text (worker threads, float16): from the cache in use, or compiled and kept there.

    code = object_of(text, machine, opt_level=0)

Tests: tests/backends/llvm/test_host.py
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import mlc
from mlc.backends.llvm.target import code_generator
from mlc.backends.machine import MachineModel
from mlc.runtime.cache import cache_in_use
from mlc.sources import digest


def object_of(text: str, machine: MachineModel, *, opt_level: int = 2) -> bytes:
    """Object code of `text` for `machine`."""
    cache = cache_in_use()
    own = f"object 1 {digest(Path(mlc.__file__).parent)} {code_generator(machine)} {machine} O{opt_level}"
    key = hashlib.blake2b(f"{own}\n{text}".encode(), digest_size=16).hexdigest()
    code = cache.get(key) if cache is not None else None
    if code is None:
        from mlc.backends.llvm.codegen import CodegenOptions, compile_ir  # noqa: PLC0415 - not for code from the cache

        code = compile_ir(text, machine, CodegenOptions(opt_level=opt_level))
        if cache is not None:
            cache.put(key, code)
    return code
