"""Convolutions in blocked layout whose operands may be rounded to bf16, and what is left of them further down."""

from __future__ import annotations

from fuzz.generators.staged import lower, run
from fuzz.generators.text import tensor
from fuzz.generators.winograd import WinogradGenerator, laid_out
from fuzz.generators.winograd_pointwise import WinogradPointwiseGenerator
from fuzz.tape import Tape
from mlc.ir.pipeline import make_pass
from mlc.ir.pipeline_table import MODULE_ROWS
from mlc.testing.program import Program

_PASS = "linalg-demote-convolution-inputs"
_UNTAKEN = ("linalg-winograd-conv2d", "linalg-winograd-pointwise")


class JoinedGenerator(WinogradPointwiseGenerator):
    """1x1 convolutions whose results are joined before the next one reads them."""

    def convolution(self) -> None:
        """One, what it makes joined with another image, and one of both."""
        super().convolution()
        a = self.values[-1]
        beside = [v for v in self.values if len(v.shape) == 4 and v.shape[2:] == a.shape[2:] and v.element == a.element]
        b = self.tape.pick(beside)
        if a.shape[0] != b.shape[0]:
            return
        shape = (a.shape[0], a.shape[1] + b.shape[1], *a.shape[2:])
        joined = tensor(shape, a.element)
        name = self.out.value(f"tensor.concat dim(1) {b.name}, {a.name} : ({b.type}, {a.type}) -> {joined}")
        self.add("concat", name, shape, a.element, a, b)
        weights = self.weight((8, shape[1], 1, 1), "f32")
        attrs = "{dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} "
        read = [self.values[-1], weights]
        self.named("linalg.conv_2d_nchw_fchw", "convolution", read, (shape[0], 8, *shape[2:]), attrs, 0.0)


def linalg_demote_convolutions(tape: Tape) -> Program:
    """1x1 and 3x3 convolutions with residuals, padding and concatenations around them, before any is rounded."""
    return _laid_out(tape, WinogradGenerator.most_inputs)


def _laid_out(tape: Tape, most_inputs: int) -> Program:
    generator = tape.pick((WinogradPointwiseGenerator, WinogradGenerator, JoinedGenerator))(tape)
    generator.most_inputs = most_inputs
    return laid_out(generator.program(), tape.pick((4, 8, 4)))


def demoted_convolution_groups(tape: Tape) -> Program:
    """The same in bf16, before kernels are formed."""
    return _taken(tape, "linalg-form-kernels")


def demoted_convolution_kernels(tape: Tape) -> Program:
    """The same as kernels on tensors, before buffers."""
    return _taken(tape, "bufferize")


def demoted_convolutions(tape: Tape) -> Program:
    """The same on buffers, small: what vectors are made of here, the interpreter runs vector by vector."""
    return _taken(tape, None)


def _taken(tape: Tape, before: str | None) -> Program:
    program = _laid_out(tape, WinogradGenerator.most_inputs if before else 128)
    program = run(program, [make_pass(_PASS, {"pairs": True, "winograd": False})])
    names = [row.pass_name for row in MODULE_ROWS]
    names = names[names.index("linalg-block-layouts") + 1 : names.index(before) if before else None]
    return lower(program, [name for name in names if name not in _UNTAKEN])
