"""The meaning of `tm_tensor` ops is that of torch-mlir's own loops for them; all the way down it stays the same."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fuzz.generators.tm_tensor import tm_tensor_op
from fuzz.tape import Tape
from mlc.driver import compile_module
from mlc.interp import run_function, run_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text
from mlc.options import Options
from mlc.testing.inputs import make_inputs
from mlc.testing.program import Program

pytestmark = pytest.mark.upstream


def programs(count: int) -> list[Program]:
    """Random programs of static shape without empty tensors."""
    found: list[Program] = []
    seed = 0
    while len(found) < count:
        program = tm_tensor_op(Tape(random.Random(seed).randbytes(60)))
        seed += 1
        if "dynamic" not in program.features and not any(0 in t.get_shape() for t in program.signature.inputs.data):  # pyright: ignore
            found.append(program)
    return found


def on_buffers(program: Program) -> str:
    """The same op on memrefs: it writes its outputs, which are the last arguments."""
    text = re.sub(r"tensor<", "memref<", print_text(program.module))
    text = re.sub(r"\) -> \(?memref.*\{", ") {", text, count=1)
    text = re.sub(r"%\d+(, %\d+)* = tm_tensor", "tm_tensor", text)
    text = re.sub(r"(\}|\)) -> memref<.*", r"\1", text)
    return re.sub(r"func.return .*", "func.return", text)


def same(got: Any, want: Any) -> bool:
    return np.array_equal(got, want, equal_nan=np.asarray(want).dtype.kind == "f")


def test_meaning_is_that_of_upstreams_loops(tmp_path: Path):
    cases = programs(80)
    assert {f for p in cases for f in p.features} >= {"scan", "scatter", "sort", "topk", "attention"}
    file = tmp_path / "in.mlir"
    file.write_text("// -----\n".join(on_buffers(p) for p in cases))
    pipeline = "builtin.module(func.func(tm-tensor-to-loops))"
    command = [
        "torch-mlir-opt",
        str(file),
        "--split-input-file",
        "--mlir-print-op-generic",
        f"--pass-pipeline={pipeline}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    for program, text in zip(cases, done.stdout.split("// -----"), strict=True):
        loops = parse_text(text, make_context())
        inputs = make_inputs(program, "normal")
        want = run_module(program.module, "forward", inputs)
        after = run_function(loops, "forward", [np.array(x) for x in inputs])[1][-len(want) :]
        for got, expected in zip(after, want, strict=True):
            if program.features == ("attention",):  # they subtract the maximum of all rows
                tolerance = 2e-2 if expected.dtype == np.float16 else 1e-5
                np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
            else:
                assert same(got, expected), text


def test_native_code_agrees():
    for program in programs(12):
        inputs = make_inputs(program, "normal")
        want = run_module(program.module, "forward", inputs)
        got = compile_module(program.module, program.ctx, Options(cache_dir="")).run([np.asarray(x) for x in inputs])
        for mine, expected in zip(got, want, strict=True):
            tolerance = 2e-2 if expected.dtype == np.float16 else 1e-5
            np.testing.assert_allclose(mine, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


SORT = """
func.func @forward(%x: tensor<2x300xf32>, %i: tensor<2x300xi64>) -> (tensor<2x300xf32>, tensor<2x300xi64>) {
  %0:2 = tm_tensor.sort dimension(1) outs(%x, %i : tensor<2x300xf32>, tensor<2x300xi64>) {
  ^bb0(%a: f32, %b: f32, %c: i64, %d: i64):
    %1 = arith.cmpf oge, %a, %b : f32
    tm_tensor.yield %1 : i1
  } -> tensor<2x300xf32>, tensor<2x300xi64>
  return %0#0, %0#1 : tensor<2x300xf32>, tensor<2x300xi64>
}
"""


@pytest.mark.parametrize("nan", [False, True])
def test_long_rows_with_equal_elements(nan: bool):
    """In the one stable order; what the passes of the op's meaning give with a NaN has no order."""
    ctx = make_context()
    x = np.random.default_rng(0).integers(-9, 9, (2, 300)).astype(np.float32)
    places = np.broadcast_to(np.arange(300), x.shape).copy()
    module = parse_text(SORT, ctx)
    if nan:
        x[0, 100] = np.nan
        want = run_module(module, "forward", [x, places])
    else:
        order = np.argsort(-x, axis=1, kind="stable")
        want = [np.take_along_axis(x, order, 1), order]
    got = compile_module(module, ctx, Options(cache_dir="")).run([x, places])
    assert all(same(mine, expected) for mine, expected in zip(got, want, strict=True))
