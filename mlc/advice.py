"""What a user is told before anything is compiled: that nothing will be kept, that a precision does not pay here.

advise(options, backend)     # in mlc.compile: the warning points at the line that calls it
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from mlc.backends.llvm.backend import CPU_BACKEND
from mlc.backends.machine import PRESETS, MachineModel
from mlc.options import Options
from mlc.runtime.cache import cache_at, using

if TYPE_CHECKING:
    from mlc.backends.registry import Backend

_FAST = {"bfloat16": "avx512bf16", "int8": "avx512vnni"}
"""The instructions that make a precision faster than float32."""
_told: set[str] = set()
"""Why caches keep nothing: each is told once per process."""


def advise(options: Options, backend: Backend) -> None:
    """Warn the caller of who calls this."""
    advise_cache(options, stacklevel=4)
    if options.precision in _FAST and backend is CPU_BACKEND:  # what others' machines do well is theirs to know
        with using(cache_at(options.cache_dir)):  # where what LLVM says of this machine is kept
            lacks = slow_without(options.precision, backend.machine(options.target))
        if lacks:
            whose = "this machine" if options.target == "native" else f"target '{options.target}'"
            warnings.warn(
                f'precision="{options.precision}": {whose} lacks {", ".join(lacks)}, so float32 is likely faster, '
                "and it is more accurate; only layers of few rows whose weights do not fit the caches may gain",
                stacklevel=3,
            )


def slow_without(precision: str, machine: MachineModel) -> list[str]:
    """The features that `machine` lacks for a lower precision to be fast; none where it is."""
    if {"bfloat16": machine.dot_bf16, "int8": machine.dot_int8}[precision]:
        return []
    needed = (_FAST[precision], *PRESETS["x86-64-avx512"].features)
    missing = [f for f in needed if f not in machine.features]
    if not missing and machine.vector_bits == 512:  # its pairs of bf16 take longer than two products of f32
        missing = [f for f in PRESETS["x86-64-amx"].features if f not in machine.features]
    return missing[:1] or [f"vectors of 512 bits (it has {machine.vector_bits})"]


def advise_cache(options: Options, *, stacklevel: int = 3) -> None:
    """Warn where the cache of a compile can keep nothing; UsageError where its size is no size."""
    cache = cache_at(options.cache_dir)
    wrong = cache.keeps_nothing() if cache is not None else None
    if wrong is not None and wrong not in _told:
        _told.add(wrong)
        warnings.warn(
            f"no cache: {wrong}; models are compiled again in each process. MLC_CACHE_DIR or cache_dir= names another "
            'directory, cache_dir="" none',
            stacklevel=stacklevel,
        )
