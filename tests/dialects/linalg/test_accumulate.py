"""Reductions in stretches give the bits of the loop nest, in every domain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mlc.dialects.linalg.semantics as structured
from mlc.arrays import reduction
from mlc.dialects.linalg import accumulate
from mlc.interp import run_function
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text

# reduced first, in the middle and last; an operand that only one of the reduced loops moves; the body reads an index
TEXT = """func.func @f(%x: tensor<{a}x{b}x{c}x{e}>, %y: tensor<{c}x{e}>, %o: tensor<{b}x{e}>) -> tensor<{b}x{e}> {{
  %r = linalg.generic {{indexing_maps = [affine_map<(i, j, k) -> (i, j, k)>, affine_map<(i, j, k) -> (k)>,
      affine_map<(i, j, k) -> (j)>], iterator_types = ["reduction", "parallel", "reduction"]}}
      ins(%x, %y : tensor<{a}x{b}x{c}x{e}>, tensor<{c}x{e}>) outs(%o : tensor<{b}x{e}>) {{
  ^bb0(%p: {e}, %q: {e}, %acc: {e}):
    {term}
    %s = {combine}
    linalg.yield %s : {e}
  }} -> tensor<{b}x{e}>
  func.return %r : tensor<{b}x{e}>
}}"""
FLOATS = [
    "arith.addf %acc, %t", "arith.maximumf %t, %acc", "arith.minimumf %acc, %t", "arith.maxnumf %acc, %t",
    "arith.minnumf %t, %acc",
]  # fmt: skip
INTS = [
    *(f"arith.{n} %acc, %t" for n in ("addi", "subi", "muli", "maxsi", "minsi", "maxui", "minui", "andi", "ori")),
    "arith.xori %t, %acc", "arith.subi %t, %acc", "arith.addi %acc, %t overflow<nsw>",
]  # fmt: skip
SHAPES = [(3, 2, 5), (1, 3, 40), (40, 3, 1), (2, 1, 7), (7, 11, 2)]


def check(text: str, inputs: list[Any], domain: str, monkeypatch: pytest.MonkeyPatch, in_stretches: bool) -> None:
    """In stretches of several lengths, as far as that is to be: the same as step by step."""
    module = parse_text(text, make_context())
    done: list[bool] = []

    def noted(*args: Any) -> bool:
        done.append(accumulate.accumulate(*args))
        return done[-1]

    monkeypatch.setattr(structured, "accumulate", lambda *_: False)
    (steps,), _ = run_function(module, "f", inputs, domain=domain, raw=True)
    monkeypatch.setattr(structured, "accumulate", noted)
    for terms in (8, 30, 1 << 18):
        monkeypatch.setattr(reduction, "MAX_TERMS", terms)
        (stretches,), _ = run_function(module, "f", inputs, domain=domain, raw=True)
        assert stretches.dtype == steps.dtype
        if domain == "bound":  # each step adds a little to the bound, for the rounding of the bound itself
            np.testing.assert_allclose(stretches["e"], steps["e"], rtol=1e-9)
            assert stretches["v"].tobytes() == steps["v"].tobytes()
        else:
            assert stretches.tobytes() == steps.tobytes()
    assert done == [in_stretches] * 3


@pytest.mark.parametrize("combine", FLOATS)
@pytest.mark.parametrize("domain", ["ieee", "field", "bound", "integers"])
@pytest.mark.parametrize("e", ["f32", "bf16", "f16", "f64"])
def test_floats(e: str, domain: str, combine: str, monkeypatch: pytest.MonkeyPatch):
    dtype = np.dtype({"f16": np.float16, "f64": np.float64}.get(e, np.float32))
    rng = np.random.default_rng(0)
    for a, b, c in SHAPES:
        x, y, o = (rng.integers(-3, 4, s).astype(dtype) for s in ((a, b, c), (c,), (b,)))
        x[rng.random(x.shape) < 0.3] = -0.0
        if domain == "ieee":
            x = np.where(rng.random(x.shape) < 0.1, np.nan, x * 0.375).astype(dtype)
            y, o = (y * 1.25).astype(dtype), (o * 0.75).astype(dtype)
        term = f"%t = arith.mulf %p, %q : {e}"
        text = TEXT.format(a=a, b=b, c=c, e=e, term=term, combine=f"{combine} : {e}")
        check(text, [x, y, o], domain, monkeypatch, in_stretches=True)


@pytest.mark.parametrize("combine", INTS)
@pytest.mark.parametrize("e", ["i8", "i32", "i64", "i5", "i1"])
def test_ints(e: str, combine: str, monkeypatch: pytest.MonkeyPatch):
    width = int(e[1:])
    dtype = np.dtype({1: np.bool_, 5: np.int8}.get(width, f"i{width // 8}"))
    flagged = "nsw" in combine
    low, high = -(2 ** min(width - 1, 7)), 2 ** min(width - 1, 7)
    rng = np.random.default_rng(1)
    for a, b, c in SHAPES:
        x, y, o = (rng.integers(low, high, s) for s in ((a, b, c), (c,), (b,)))
        x, y, o = ((v * (not flagged)).astype(dtype) for v in (x, y, o))  # under the flag nothing may overflow
        term = f"%t = arith.xori %p, %q : {e}"
        if 8 <= width < 64 and not flagged:
            term = f"""%n = linalg.index 2 : index
    %m = arith.index_cast %n : index to {e}
    %w = arith.addi %q, %m : {e}
    %t = arith.xori %p, %w : {e}"""
        text = TEXT.format(a=a, b=b, c=c, e=e, term=term, combine=f"{combine} : {e}")
        expected = not flagged and combine != "arith.subi %t, %acc"
        check(text, [x, y, o], "ieee", monkeypatch, in_stretches=expected)
