"""Formats that are read late: the same text in and out, errors when the format is needed."""

from __future__ import annotations

from typing import Any

import pytest
from xdsl.dialects.builtin import i32
from xdsl.ir import Dialect, Operation
from xdsl.irdl import IRDLOperation, irdl_op_definition, operand_def, result_def
from xdsl.irdl.declarative_assembly_format import FormatProgram
from xdsl.utils.exceptions import ParseError, PyRDLOpDefinitionError

from mlc.ir.context import make_context
from mlc.ir.extensions import extended
from mlc.ir.late_formats import late_formats
from mlc.ir.parsing import parse_text, print_text

RIGHT, WRONG = "$x attr-dict `:` type($x)", "$y attr-dict"
TEXT = "%0 = arith.constant 1 : i32\n%1 = late.op %0 : i32"


def op_of(format: str) -> type[Operation]:
    @irdl_op_definition
    class Op(IRDLOperation):
        name = "late.op"
        x = operand_def(i32)
        y = result_def(i32)
        assembly_format = format

    return Op


def context_with(op: type[Operation]) -> Any:
    ctx = make_context()
    ctx.load_dialect(Dialect("late", [op], []))
    return ctx


def test_the_text_is_the_same() -> None:
    now = op_of(RIGHT)
    with late_formats():
        late = op_of(RIGHT)
    texts = [print_text(parse_text(TEXT, context_with(op))) for op in (now, late)]
    assert texts[0] == texts[1]
    assert "late.op %0 : i32" in texts[0]


def test_a_wrong_format_is_told_when_it_is_needed() -> None:
    with late_formats():
        late = op_of(WRONG)
    with pytest.raises(ParseError, match="expected"):
        late.parse(None)  # pyright: ignore[reportArgumentType]


def test_outside_formats_are_read_at_once() -> None:
    with late_formats(), late_formats():
        pass
    with pytest.raises(PyRDLOpDefinitionError):
        op_of(WRONG)


@pytest.mark.parametrize(("module", "late"), [("xdsl.dialects", True), ("mlc.universe", True), ("theirs", False)])
def test_only_known_dialects_are_loaded_so(module: str, late: bool) -> None:
    seen: list[bool] = []
    usual = FormatProgram.from_str

    def factory() -> Dialect:
        seen.append(FormatProgram.from_str is not usual)
        return Dialect("late", [], [])

    factory.__module__ = module
    extended("late", factory)()
    assert seen == [late]
