"""mlc's own conversions of float16: every float16, and floats around every one of them and around every tie."""

from __future__ import annotations

import ctypes
import functools

import numpy as np
import pytest
import torch

import mlc
from mlc.backends.llvm.codegen import compile_ir
from mlc.backends.llvm.half_support import TEXT
from mlc.backends.llvm.jit import load_objects
from mlc.backends.machine import preset
from mlc.runtime.linker import Library
from tests.targets import runnable

EVERY = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
LOOP = """
define void @run_{name}(ptr %in, ptr %out, i64 %n) {{
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %j, %next ]
  %at = getelementptr {source}, ptr %in, i64 %i
  %to = getelementptr {dest}, ptr %out, i64 %i
  %v = load {source}, ptr %at
  %r = call {dest} @{name}({source} %v)
  store {dest} %r, ptr %to
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %n
  br i1 %more, label %next, label %end
end:
  ret void
}}
"""
KINDS = {"__extendhfsf2": ("half", "float"), "__truncsfhf2": ("float", "half"), "__truncdfhf2": ("double", "half")}
DTYPES = {"half": np.float16, "float": np.float32, "double": np.float64}


@functools.cache
def library() -> Library:
    loops = [LOOP.format(name=name, source=source, dest=dest) for name, (source, dest) in KINDS.items()]
    return load_objects([compile_ir("".join([TEXT, *loops]), preset("x86-64-sse2"))])


def converted(name: str, values: np.ndarray) -> np.ndarray:
    source, dest = KINDS[name]
    assert values.dtype == DTYPES[source]
    out = np.empty(values.shape, DTYPES[dest])
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(library().address(f"run_{name}"))
    run(values.ctypes.data, out.ctypes.data, values.size)
    return out


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    nan = np.isnan(a)
    whole = np.dtype(f"u{a.itemsize}")
    return np.array_equal(nan, np.isnan(b)) and np.array_equal(a.view(whole)[~nan], b.view(whole)[~nan])


def around(dtype: type[np.floating]) -> np.ndarray:
    """Every float16, every middle between two, and their neighbours in `dtype`."""
    with np.errstate(all="ignore"):
        exact = EVERY[np.isfinite(EVERY)].astype(dtype)
        middles = (np.sort(exact)[1:] + np.sort(exact)[:-1]) / dtype(2)
        ends = np.array([65504, 65519.99, 65520, 65536, 1e30, np.inf, np.nan, np.finfo(dtype).tiny, 0], dtype)
        found = np.concatenate([exact, middles, ends, -ends])
        return np.concatenate([found, np.nextafter(found, dtype(np.inf)), np.nextafter(found, dtype(-np.inf))])


def test_every_half_is_widened():
    assert same_bits(converted("__extendhfsf2", EVERY), EVERY.astype(np.float32))


@pytest.mark.parametrize(("name", "dtype"), [("__truncsfhf2", np.float32), ("__truncdfhf2", np.float64)])
def test_numbers_around_every_half_are_rounded_to_it(name: str, dtype: type[np.floating]):
    values = around(dtype)
    with np.errstate(all="ignore"):
        assert same_bits(converted(name, values), values.astype(np.float16))


@pytest.mark.parametrize("target", runnable("x86-64-sse2", "x86-64-avx2"))
def test_models_with_halves_run_on_older_processors(target: str):
    def fn(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.half().float() * 2, x.double().half() + 1

    x = torch.randn(5, 67) * 100
    assert all(map(torch.equal, mlc.compile(fn, target=target, cache_dir="")(x), fn(x)))
