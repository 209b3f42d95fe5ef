"""Run a module in the interpreter before and after passes and compare every bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from mlc.interp import run_module
from mlc.ir.context import MlcContext, make_context
from mlc.ir.parsing import parse_text
from mlc.ir.pipeline import make_pass
from mlc.ir.verifier import verify_module


def parsed(text: str, weights: dict[str, np.ndarray]) -> tuple[ModuleOp, MlcContext]:
    """A verified module and its context."""
    ctx = make_context()
    module = parse_text(text, ctx)
    for name, array in weights.items():
        ctx.resources.set(name, array)
    verify_module(module, ctx)
    return module, ctx


def check(
    text: str,
    inputs: Sequence[np.ndarray],
    weights: dict[str, np.ndarray] | None = None,
    passes: Sequence[str] = ("bufferize", "plan-memory", "linalg-to-loops", "scf-parallel-to-for"),
) -> tuple[ModuleOp, MlcContext]:
    """Assert that @forward gives the same bits after each of `passes`, and leaves its inputs as they are."""
    module, ctx = parsed(text, weights or {})
    expected = run_module(module, "forward", list(inputs), resources=ctx.resources)
    shapes = [np.shape(e) for e in expected]
    for name in passes:
        make_pass(name, {}).apply(ctx, module)
        verify_module(module, ctx)
        given = [np.array(x) for x in inputs]
        got = run_module(module, "forward", given, resources=ctx.resources, output_shapes=shapes)
        for k, (a, b) in enumerate(zip(expected, got, strict=True)):
            assert np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f"), f"result {k} differs after {name}"
        for k, (a, b) in enumerate(zip(inputs, given, strict=True)):
            assert np.array_equal(a, b), f"input {k} was changed after {name}"
    return module, ctx
