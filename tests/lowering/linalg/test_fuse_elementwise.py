"""linalg-fuse-elementwise keeps bodies at a length that LLVM compiles quickly, and says so."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.linalg.ops import GenericOp

from mlc.interp import run_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text
from mlc.ir.pipeline import make_pass, run_pipeline
from mlc.lowering.linalg.linalg_fuse_elementwise import MAX_BODY

ROW = "tensor<3xf32>"
KIND = 'indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]'


def chain(length: int) -> str:
    """`length` ops, each a generic of its own, each reading the one before."""
    steps = [
        f"""%v{i + 1} = linalg.generic {{{KIND}}} ins(%v{i} : {ROW}) outs(%e : {ROW}) {{
    ^bb0(%a: f32, %o: f32):
      %r = arith.negf %a : f32
      linalg.yield %r : f32
    }} -> {ROW}"""
        for i in range(length)
    ]
    return f"""func.func @forward(%v0: {ROW}) -> {ROW} {{
    %e = tensor.empty() : {ROW}
    {" ".join(steps)}
    return %v{length} : {ROW}
  }}"""


@pytest.mark.parametrize("length", [MAX_BODY // 2, 3 * MAX_BODY])
def test_length_of_bodies(length: int) -> None:
    ctx = make_context()
    module = parse_text(chain(length), ctx)
    run_pipeline([make_pass("linalg-fuse-elementwise")], ctx, module)
    bodies = [sum(1 for _ in op.body.block.ops) for op in module.walk() if isinstance(op, GenericOp)]
    assert max(bodies) <= MAX_BODY
    assert len(bodies) == -(-length // (MAX_BODY - 1))
    missed = [r for r in ctx.remarks if r.kind == "missed" and "too long" in r.reason]
    assert bool(missed) == (length > MAX_BODY)
    x = np.array([1.0, -0.0, np.inf], np.float32)
    (got,) = run_module(module, "forward", [x])
    assert np.array_equal(got, x) and np.array_equal(np.signbit(got), np.signbit(x))
