"""Each linalg pass, and all of them in a row, keep every bit of random programs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from mlc.interp import run_module
from mlc.ir.context import MlcContext, make_context
from mlc.ir.pipeline import make_pass, run_pipeline
from mlc.ir.verifier import verify_module
from tests.lowering.linalg.random_programs import RandomProgram

TO_KERNELS = [
    "linalg-hoist-constants",
    "linalg-decompose-named-ops",
    "linalg-propagate-reshapes",
    "linalg-fold-transposes",
    "linalg-fuse-elementwise",
    "linalg-form-kernels",
]


def fill_constants(module: ModuleOp, ctx: MlcContext) -> None:
    """Run the functions of derived constants, as the driver does."""
    for op in module.ops:
        if isinstance(op, func.FuncOp) and "constant" in op.attributes:
            name = op.sym_name.data
            (value,) = run_module(module, name, [], resources=ctx.resources)
            ctx.resources.set(name, np.asarray(value))


ALLOWED = {
    "arith.constant", "tensor.empty", "tensor.expand_shape", "tensor.collapse_shape", "tensor.extract_slice",
    "tensor.insert_slice", "tensor.cast", "tensor.dim", "func.call", "func.return",
}  # fmt: skip


def check_kernels_level(module: ModuleOp) -> None:
    """Only views and calls are left; what is returned is distinct results; destinations are read while newest."""
    (forward,) = (op for op in module.ops if isinstance(op, func.FuncOp) and op.sym_name.data == "forward")
    block = forward.body.block
    assert {op.name for op in block.ops} <= ALLOWED
    position = {op: i for i, op in enumerate(block.ops)}
    for op in block.ops:
        if op.name == "tensor.insert_slice":
            older, newer = op.operands[1], position[op]
            assert all(position[use.operation] <= newer for use in older.uses)
    assert block.last_op is not None
    bases = [base_of(v) for v in block.last_op.operands]
    assert len(set(bases)) == len(bases)
    assert all(b.owner.name in ("func.call", "tensor.insert_slice") for b in bases)


def base_of(value: SSAValue) -> SSAValue:
    while value.owner.name in ("tensor.expand_shape", "tensor.collapse_shape", "tensor.cast"):
        value = value.owner.operands[0]
    return value


def check(program: RandomProgram, passes: list[str]) -> MlcContext:
    ctx = make_context()
    ctx.resources = program.resources
    verify_module(program.module, ctx)
    expected = run_module(program.module, "forward", program.inputs, resources=ctx.resources)
    for name in passes:
        run_pipeline([make_pass(name)], ctx, program.module)
        verify_module(program.module, ctx)
        fill_constants(program.module, ctx)
        got = run_module(program.module, "forward", program.inputs, resources=ctx.resources)
        for want, have in zip(expected, got, strict=True):
            np.testing.assert_array_equal(have, want, err_msg=f"after {name}", strict=True)
    if passes[-1] == "linalg-form-kernels":
        check_kernels_level(program.module)
    return ctx


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(min_size=40, max_size=160))
def test_all_passes_keep_every_bit(data: bytes) -> None:
    check(RandomProgram(data), TO_KERNELS)


@pytest.mark.parametrize("name", TO_KERNELS)
def test_each_pass_alone_keeps_every_bit(name: str) -> None:
    @settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(min_size=40, max_size=160))
    def property_(data: bytes) -> None:
        check(RandomProgram(data), [name])

    property_()
