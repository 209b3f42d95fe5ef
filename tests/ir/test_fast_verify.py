"""`mlc.ir.fast_verify`: ops pass where they pass xDSL's check, and fail with its errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xdsl.dialects import arith, llvm, memref, scf, test
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, MemRefType, ModuleOp, StringAttr, UnitAttr, f32, i1, i32
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    OpDef,
    attr_def,
    irdl_op_definition,
    opt_operand_def,
    opt_prop_def,
    region_def,
    result_def,
    successor_def,
    var_operand_def,
    var_result_def,
)
from xdsl.utils.exceptions import VerifyException

from fuzz.profiles import PROFILES
from fuzz.tape import Tape
from mlc.ir.fast_verify import verify_definition
from mlc.testing.program import Discard

PLAIN = OpDef.verify
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def said(check: object, op: IRDLOperation) -> str:
    """What a check says of an op."""
    assert callable(check)
    try:
        check(type(op).get_irdl_definition(), op)
    except Exception as e:  # xDSL's checks raise what they like
        return f"{type(e).__name__}: {e}"
    return ""


@contextmanager
def of_type(value: SSAValue) -> Iterator[None]:
    before, value._type = value.type, i1  # pyright: ignore[reportPrivateUsage]
    yield
    value._type = before  # pyright: ignore[reportPrivateUsage]


def wrong(op: IRDLOperation) -> Iterator[str]:
    """Break an op in one way after the other."""
    yield "as it is"
    for value in {*op.operands, *op.results}:
        with of_type(value):
            yield "a value of i1"
    operands = list(op.operands)
    for others in (operands[:-1], operands[1:], [*operands, *operands[:1]], operands * 2, operands[::-1]):
        op.operands = others
        yield f"{len(others)} operands"
    op.operands = operands
    for table in (op.properties, op.attributes):
        before = dict(table)
        for name, value in before.items():
            del table[name]
            yield f"without {name}"
            changed = [UnitAttr(), StringAttr("x")]
            if isinstance(value, DenseArrayBase):
                sizes = [int(n) for n in value.get_values()]
                changed += [
                    DenseArrayBase.from_list(value.elt_type, s) for s in (sizes[:-1], sizes[::-1], [*sizes, 0], [-1])
                ]
            for other in changed:
                table[name] = other
                yield f"{name} = {other}"
            table.clear()
            table.update(before)
        table["unheard_of"] = UnitAttr()
        yield "an unknown name"
        del table["unheard_of"]
    op.add_region(Region(Block()))
    yield "one region more"
    op.regions = op.regions[:-1]
    successors, op.successors = op.successors, [Block()]
    yield "another successor"
    op.successors = successors


def compare(op: IRDLOperation) -> int:
    """How many of the ways to break `op` are errors."""
    found = 0
    for how in wrong(op):
        plain = said(PLAIN, op)
        assert said(verify_definition, op) == plain, how
        found += bool(plain)
    return found


@pytest.mark.parametrize("profile", ["linalg-products", "kernels", "loops", "buffers", "tm-tensor"])
def test_ops_of_programs(profile: str) -> None:
    seen: set[type[Operation]] = set()
    errors = 0

    @settings(max_examples=6, derandomize=True, deadline=None, database=None, suppress_health_check=CHECKS)
    @given(st.binary(min_size=80, max_size=240))
    def check(data: bytes) -> None:
        nonlocal errors
        try:
            program = PROFILES[profile](Tape(data))
        except Discard:
            return
        for op in list(program.module.walk()):
            if isinstance(op, IRDLOperation) and not isinstance(op, ModuleOp) and type(op) not in seen:
                seen.add(type(op))
                errors += compare(op)

    check()
    assert len(seen) > 8 and errors > 5 * len(seen)


@irdl_op_definition
class OddOp(IRDLOperation):
    """Of each kind something."""

    name = "test.odd"
    maybe = opt_operand_def(f32)
    many = var_operand_def(f32)
    made = var_result_def(f32)
    last = result_def(i32)
    body = region_def("single_block")
    to = successor_def()
    noted = attr_def(StringAttr)
    held = opt_prop_def(IntegerAttr)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)


def values(*types: object) -> list[SSAValue]:
    return list(test.TestOp(result_types=types).results)  # pyright: ignore[reportArgumentType]


def test_ops_of_each_kind() -> None:
    odd = OddOp.build(
        operands=[values(f32), values(f32, f32)],
        result_types=[[f32, f32], i32],
        regions=[Region(Block())],
        successors=[Block()],
        attributes={"noted": StringAttr("a")},
    )
    assert said(PLAIN, odd) == "" and compare(odd) > 10
    memory, index, one = *values(MemRefType(f32, [2, 3])), *values(i32), *values(f32)
    ops = (arith.AddfOp(one, one), memref.LoadOp.get(memory, [index]), memref.StoreOp.get(one, memory, [index, index]))
    assert all(compare(op) for op in (*ops, llvm.ReturnOp(one), llvm.ReturnOp(), scf.YieldOp(one)))


def test_a_trait_is_asked() -> None:
    op = scf.YieldOp()
    Block([op, test.TestOp()])
    with pytest.raises(VerifyException):
        verify_definition(type(op).get_irdl_definition(), op)
