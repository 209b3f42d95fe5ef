"""Fixtures: run a function of the loops level natively and in the reference interpreter, and compare every bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from mlc.backends.llvm.testing import NativeKernel, compile_functions
from mlc.interp import run_function
from mlc.ir.context import MlcContext, make_context
from mlc.ir.parsing import parse_text


@pytest.fixture(scope="session")
def ctx() -> MlcContext:
    return make_context()


@pytest.fixture(scope="session")
def parse(ctx: MlcContext) -> Callable[[str], ModuleOp]:
    def run(text: str) -> ModuleOp:
        module = parse_text(text, ctx, name="<test>")
        module.verify()
        return module

    return run


def same_bits(got: np.ndarray, want: np.ndarray) -> bool:
    """Equal bits, any NaN equal to any other."""
    if got.dtype.kind == "f":
        nan = np.isnan(got) & np.isnan(want)
        unsigned = np.dtype(f"u{got.dtype.itemsize}")
        return bool(np.all((got.view(unsigned) == want.view(unsigned)) | nan))
    return bool(np.array_equal(got, want))


@pytest.fixture
def native(ctx: MlcContext) -> Callable[..., NativeKernel]:
    """A compiled function of a module; the module is compiled once per test."""
    compiled: dict[tuple[int, int], dict[str, NativeKernel]] = {}

    def compile_(module: ModuleOp, name: str, *, opt_level: int = 2) -> NativeKernel:
        key = (id(module), opt_level)
        if key not in compiled:
            keep.append(module)
            compiled[key] = compile_functions(module, opt_level=opt_level, ctx=ctx)
        return compiled[key][name]

    keep: list[ModuleOp] = []
    return compile_


@pytest.fixture
def check(parse: Callable[[str], ModuleOp], native: Callable[..., NativeKernel]) -> Callable[..., list[np.ndarray]]:
    """Run `name` both ways on copies of `arrays`; every array must end up the same. Returns the native ones."""

    def run(source: str | ModuleOp, name: str, arrays: Sequence[Any], *, opt_level: int = 2) -> list[np.ndarray]:
        module = parse(source) if isinstance(source, str) else source
        got = [np.array(a) if isinstance(a, np.ndarray) else a for a in arrays]
        native(module, name, opt_level=opt_level)(*got)
        _, after = run_function(module, name, [np.array(a) if isinstance(a, np.ndarray) else a for a in arrays])
        arrays_after = [a for a in got if isinstance(a, np.ndarray)]
        for n, (a, b) in enumerate(zip(arrays_after, after, strict=True)):
            b = np.asarray(b)
            assert same_bits(a, b.astype(a.dtype, copy=False)), (
                f"@{name} argument {n}:\nnative      {a}\ninterpreter {b}"
            )
        return arrays_after

    return run
