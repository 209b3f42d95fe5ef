"""Convolutions in blocked layout whose operands may be rounded to bf16, and what is left of them further down."""

from __future__ import annotations

from fuzz.generators.staged import lower, run
from fuzz.generators.winograd import WinogradGenerator, laid_out
from fuzz.generators.winograd_pointwise import WinogradPointwiseGenerator
from fuzz.tape import Tape
from mlc.ir.pipeline import make_pass
from mlc.ir.pipeline_table import MODULE_ROWS
from mlc.testing.program import Program

_PASS = "linalg-demote-convolution-inputs"
_UNTAKEN = ("linalg-winograd-conv2d", "linalg-winograd-pointwise")


def linalg_demote_convolutions(tape: Tape) -> Program:
    """1x1 and 3x3 convolutions with residuals, padding and concatenations around them, before any is rounded."""
    kind = tape.pick((WinogradPointwiseGenerator, WinogradGenerator))
    return laid_out(kind(tape).program(), tape.pick((4, 8, 4)))


def demoted_convolution_groups(tape: Tape) -> Program:
    """The same in bf16, before kernels are formed."""
    return _taken(tape, "linalg-form-kernels")


def demoted_convolution_kernels(tape: Tape) -> Program:
    """The same as kernels on tensors, before buffers."""
    return _taken(tape, "bufferize")


def demoted_convolutions(tape: Tape) -> Program:
    """The same on buffers."""
    return _taken(tape, None)


def _taken(tape: Tape, before: str | None) -> Program:
    program = linalg_demote_convolutions(tape)
    program = run(program, [make_pass(_PASS, {"pairs": True, "winograd": False})])
    names = [row.pass_name for row in MODULE_ROWS]
    names = names[names.index("linalg-block-layouts") + 1 : names.index(before) if before else None]
    return lower(program, [name for name in names if name not in _UNTAKEN])
