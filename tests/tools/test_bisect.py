"""`--bisect` names the pass that lies, and shrinks the file to what it lies about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xdsl.dialects import arith
from xdsl.dialects.builtin import ModuleOp, UnknownLoc
from xdsl.dialects.linalg import GenericOp

from mlc.ir.context import MlcContext, make_context
from mlc.ir.contract import Bitwise, Contract
from mlc.ir.parsing import parse_text
from mlc.ir.passes import MlcPass
from mlc.ir.pipeline import Item, make_pass
from mlc.testing.reduce_ir import count_ops
from mlc.tools.opt_bisect import bisect, report

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Miscompile(MlcPass):
    """Every arith.addf becomes arith.subf."""

    name = "test-miscompile"
    contract = Contract(level_in="linalg", level_out="linalg", preserves=Bitwise(), profile="linalg")

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in list(module.walk()):
            if isinstance(op, arith.AddfOp) and isinstance(op.parent_op(), GenericOp):
                new = arith.SubfOp(op.lhs, op.rhs)
                new.location = op.location
                block = op.parent_block()
                assert block is not None
                block.insert_op_before(new, op)
                op.result.replace_all_uses_with(new.result)
                ctx.remarks.applied(self.name, op, "addition turned into subtraction")
                op.detach()
                op.erase()


NAMES = ("torch-canonicalize", "convert-torch-to-linalg", "linalg-fuse-elementwise")


@dataclass(frozen=True)
class LoseLocations(MlcPass):
    """No op has a location any more."""

    name = "test-lose-locations"
    contract = Contract(level_in="linalg", level_out="linalg", preserves=Bitwise(), profile="linalg")

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in module.walk():
            op.location = UnknownLoc()


MINUS_ZERO = """func.func @forward(%x: tensor<4xf32>) -> tensor<4xf32> {
  %z = arith.constant 0.0 : f32
  %0 = linalg.generic {indexing_maps = [affine_map<(i)->(i)>], iterator_types = ["parallel"]}
      outs(%x : tensor<4xf32>) {
  ^bb0(%y: f32):
    %1 = arith.addf %y, %z : f32
    linalg.yield %1 : f32
  } -> tensor<4xf32>
  func.return %0 : tensor<4xf32>
}
"""


@dataclass(frozen=True)
class DropZero(MlcPass):
    """x + 0.0 -> x, which is wrong for minus zero alone."""

    name = "test-drop-zero"
    contract = Contract(level_in="linalg", level_out="linalg", preserves=Bitwise(), profile="linalg")

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in list(module.walk()):
            if isinstance(op, arith.AddfOp):
                op.result.replace_all_uses_with(op.lhs)
                ctx.remarks.applied(self.name, op, "x + 0.0 is x")
                op.detach()
                op.erase()


def test_a_lie_about_one_value_is_seen():
    ctx = make_context()
    culprit = bisect(parse_text(MINUS_ZERO, ctx), ctx, [DropZero()], "forward", 0)
    assert culprit is not None and culprit.finding.kind == "values"


@dataclass(frozen=True)
class Raise(MlcPass):
    """Fails at an arith.addf, after a rewrite."""

    name = "test-raise"
    contract = Contract(level_in="linalg", level_out="linalg", preserves=Bitwise(), profile="linalg")

    def run(self, ctx: MlcContext, module: ModuleOp) -> None:
        for op in module.walk():
            if isinstance(op, arith.AddfOp):
                ctx.remarks.applied(self.name, op, "about to fail")
                raise KeyError("gone")


def test_a_pass_that_raises_is_named():
    ctx = make_context()
    module = parse_text(MINUS_ZERO, ctx)
    culprit = bisect(module, ctx, [Raise()], "forward", 0)
    text = report(culprit, [Raise()], module)
    assert "'test-raise', is guilty" in text and "KeyError" in text and "about to fail" in text


def run(passes: Sequence[Item]):
    ctx = make_context()
    module = parse_text((ROOT / "examples/mlp.mlir").read_text(), ctx, name="mlp.mlir")
    return bisect(module, ctx, passes, "forward", 0)


def test_an_honest_pipeline_is_acquitted():
    passes = [make_pass(n) for n in NAMES]
    assert run(passes) is None
    assert "none of the 3 passes" in report(None, passes, parse_text(MINUS_ZERO, make_context()))


def test_the_lying_pass_and_its_rewrite_are_named():
    passes = [*(make_pass(n) for n in NAMES[:2]), Miscompile(), make_pass(NAMES[2])]
    culprit = run(passes)
    assert culprit is not None
    assert (culprit.index, culprit.blamed.name) == (2, "test-miscompile")
    assert culprit.finding.kind == "values"
    assert count_ops(culprit.reduced.module) <= 8
    text = report(culprit, passes, parse_text(MINUS_ZERO, make_context()))
    assert "addition turned into subtraction" in text
    assert "mlp.mlir:" in text
    assert "// RUN: mlc-opt --pass-pipeline='builtin.module(test-miscompile)'" in text


def test_another_meaning_is_worse_than_a_lost_location():
    lowered = [make_pass(n) for n in NAMES[:2]]
    culprit = run([*lowered, LoseLocations(), Miscompile()])
    assert culprit is not None and (culprit.index, culprit.finding.kind) == (3, "values")
    culprit = run([*lowered, LoseLocations(), make_pass(NAMES[2])])
    assert culprit is not None and (culprit.index, culprit.finding.kind) == (2, "location")
