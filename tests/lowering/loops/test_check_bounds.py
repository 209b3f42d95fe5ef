"""check-bounds stops the first access outside of its memory, in the interpreter and in native code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from xdsl.dialects import scf
from xdsl.dialects.builtin import ModuleOp

from mlc import build, driver
from mlc.compiled import Compiled
from mlc.errors import ExecutionError
from mlc.interp import run_function
from mlc.ir.context import MlcContext, make_context
from mlc.ir.parsing import parse_text
from mlc.ir.pipeline import make_pass
from mlc.ir.pipeline_table import Row
from mlc.ir.verifier import verify_module
from mlc.options import Options

TEXT = """
func.func @f(%x: memref<?x6xf32>, %i: index, %j: index) -> f32 {
  %c0 = arith.constant 0 : index
  %v = vector.load %x[%i, %j] : memref<?x6xf32>, vector<2x3xf32> loc("model.py":4:0)
  %flat = memref.reinterpret_cast %x to offset: [%j], sizes: [5], strides: [4]
    : memref<?x6xf32> to memref<5xf32, strided<[4], offset: ?>>
  %s = memref.load %flat[%i] : memref<5xf32, strided<[4], offset: ?>> loc("model.py":5:0)
  func.return %s : f32
}"""


@pytest.mark.parametrize(
    ("i", "j", "line"),
    [(0, 0, None), (2, 3, None), (3, 0, 4), (2, 4, 4), (-1, 0, 4), (0, -1, 4), (2**62, 0, 4)],
)
def test_sizes_are_the_limit(i: int, j: int, line: int | None):
    ctx = make_context()
    module = parse_text(TEXT, ctx)
    make_pass("check-bounds", {}).apply(ctx, module)
    verify_module(module, ctx)
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    if line is None:
        ((value,), _) = run_function(module, "f", [x, np.int64(i), np.int64(j)])
        assert value == j + 4 * i
    else:
        with pytest.raises(ExecutionError, match=rf"vector\.load outside of its memory at model\.py:{line}"):
            run_function(module, "f", [x, np.int64(i), np.int64(j)])


def test_views_are_limited_by_what_they_were_made_of():
    """Element 3 + 5 * 4 of 24 is the last."""
    ctx = make_context()
    text = TEXT.replace("vector.load %x[%i, %j] : memref<?x6xf32>, vector<2x3xf32>", "arith.constant 0 : index")
    module = parse_text(text, ctx)
    make_pass("check-bounds", {}).apply(ctx, module)
    x = np.zeros((4, 6), np.float32)
    run_function(module, "f", [x, np.int64(4), np.int64(3)])
    with pytest.raises(ExecutionError, match=r"memref\.load outside of its memory at model\.py:5"):
        run_function(module, "f", [x, np.int64(6), np.int64(0)])


MODEL = """
func.func @forward(%x: !torch.vtensor<[40,30],f32>) -> !torch.vtensor<[40,30],f32> {
  %0 = torch.aten.exp %x : !torch.vtensor<[40,30],f32> -> !torch.vtensor<[40,30],f32> loc("model.py":9:0)
  func.return %0 : !torch.vtensor<[40,30],f32>
}"""


def _loops_run_too_far(rows: tuple[Row, ...], ctx: MlcContext, module: ModuleOp, options: Options) -> None:
    """A miscompile: the loops of every kernel begin one step late and end one step late."""
    for row in rows:
        if row.pass_name == "check-bounds":
            for loop in [op for op in module.walk() if isinstance(op, scf.ForOp)]:
                loop.operands[0], loop.operands[1] = loop.step, _sum(loop)
        make_pass(row.pass_name, row.options).apply(ctx, module)


def _sum(loop: scf.ForOp):
    from xdsl.dialects import arith

    end = arith.AddiOp(loop.ub, loop.step)
    block = loop.parent_block()
    assert block is not None
    block.insert_op_before(end, loop)
    return end.result


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(build, "run_rows", _loops_run_too_far)
    yield


def _compiled(cache_dir: Path) -> Compiled:
    ctx = make_context()
    return driver.compile_module(parse_text(MODEL, ctx), ctx, Options(debug="bounds", cache_dir=cache_dir))


def test_native_code_runs_with_checks(tmp_path: Path):
    x = np.random.default_rng(0).standard_normal((40, 30)).astype(np.float32)
    for _ in range(2):  # compiled, and from the cache
        unit = _compiled(tmp_path)
        np.testing.assert_allclose(unit.run([x])[0], np.exp(x), rtol=1e-5)
    assert unit.from_cache and "cf.assert" in unit.ir("loops")


def test_native_code_stops_before_it_leaves_its_memory(planted: None, tmp_path: Path):
    unit = _compiled(tmp_path)
    with pytest.raises(ExecutionError, match=r"outside of its memory at model\.py:9"):
        unit.run([np.ones((40, 30), np.float32)])


def test_views_of_unknown_memory_are_left_with_a_remark():
    ctx = make_context()
    strided = "memref<?x6xf32, strided<[6, 1], offset: ?>>"
    module = parse_text(TEXT.replace("memref<?x6xf32>", strided), ctx)
    make_pass("check-bounds", {}).apply(ctx, module)
    assert [(r.kind, r.reason) for r in ctx.remarks] == [
        ("applied", ""),
        ("missed", "a flat view of a memref with an offset"),
    ]
