"""A meaning that another package gives an op is held to the op's types: a reference that is wrong helps nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from xdsl.ir import Dialect, Operation
from xdsl.irdl import AnyAttr, IRDLOperation, irdl_op_definition, operand_def, result_def

from mlc.errors import ExecutionError, PluginError
from mlc.interp import run_module
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text
from mlc.ir.semantics import fail, semantics


@irdl_op_definition
class AnswerOp(IRDLOperation):
    """What the test at hand says."""

    name = "foreign_semantics.answer"

    x = operand_def(AnyAttr())
    result = result_def(AnyAttr())

    assembly_format = "$x attr-dict `:` type($x) `->` type($result)"


ANSWER: list[Any] = [None]


@semantics("foreign_semantics.answer")
def answer(op: Operation, args: tuple[Any, ...], run: Any) -> Any:
    return ANSWER[0](op, args, run)


def run(text: str, domain: str = "ieee") -> np.ndarray:
    ctx = make_context()
    ctx.load_dialect(Dialect("foreign_semantics", [AnswerOp], []))
    module = parse_text(text, ctx, name="f.mlir")
    (y,) = run_module(module, "f", [np.arange(6, dtype=np.float32).reshape(2, 3)], domain=domain)
    return y


WHOLE = """func.func @f(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %0 = foreign_semantics.answer %x : tensor<2x3xf32> -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}"""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            lambda op, args, run: (args[0][:1],),
            r"gave float32\[1, 3\]\n  expected: float32\[2, 3\] in the domain 'ieee'",
        ),
        (lambda op, args, run: (args[0].astype(np.float64),), r"gave float64\[2, 3\]"),
        (lambda op, args, run: (1.0,), "gave a float"),
        (lambda op, args, run: args[0], "gave a ndarray\n  expected: a tuple of 1, one for each result"),
        (lambda op, args, run: (*args, *args), "gave 2 values"),
        (lambda op, args, run: None, "gave a NoneType"),
        (lambda op, args, run: {}["k"], "failed: KeyError: 'k'"),
    ],
)
def test_what_it_gives_is_checked(given: Any, message: str):
    ANSWER[0] = given
    with pytest.raises(PluginError, match=message) as caught:
        run(WHOLE)
    assert f"its meaning, {__name__}.answer" in caught.value.message and caught.value.where == "f.mlir:2"


def test_what_is_right_passes_in_every_domain():
    ANSWER[0] = lambda op, args, run: (run.domain.float2("add", args[0], args[0], op.result.type),)
    for domain in ("ieee", "field", "bound", "integers"):
        assert np.shape(run(WHOLE, domain)) == (2, 3)


def test_a_scalar_in_a_body_stands_for_all_points():
    ANSWER[0] = lambda op, args, run: (run.domain.float1("neg", args[0], op.result.type),)
    same = "affine_map<(i, j) -> (i, j)>"
    text = f"""func.func @f(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {{
      %e = tensor.empty() : tensor<2x3xf32>
      %0 = linalg.generic {{indexing_maps = [{same}, {same}], iterator_types = ["parallel", "parallel"]}}
        ins(%x : tensor<2x3xf32>) outs(%e : tensor<2x3xf32>) {{
      ^bb0(%a: f32, %b: f32):
        %r = foreign_semantics.answer %a : f32 -> f32
        linalg.yield %r : f32
      }} -> tensor<2x3xf32>
      return %0 : tensor<2x3xf32>
    }}"""
    assert run(text)[1, 2] == -5


def test_a_mistake_of_the_program_stays_one():
    ANSWER[0] = lambda op, args, run: fail(op, "not so")
    with pytest.raises(ExecutionError, match="not so"):
        run(WHOLE)
