"""Products of split numbers: of panels of 16 columns and of pixels, with what stands around them in networks."""

from __future__ import annotations

from fuzz.generators.staged import lower
from fuzz.generators.winograd import laid_out
from fuzz.generators.winograd_matmul import WinogradMatmulGenerator, packed
from fuzz.generators.winograd_pointwise import WinogradPointwiseGenerator
from fuzz.tape import Tape
from mlc.dialects.linalg_ext.split_matmul_ops import LANES
from mlc.ir.pipeline import make_pass
from mlc.ir.pipeline_table import MODULE_ROWS
from mlc.testing.program import Program

_PASS = "linalg-split-matmul"


class SplitMatmulGenerator(WinogradMatmulGenerator):
    """Products of rows: whole tiles of terms, and half of the last one filled up."""

    row_counts = (4, 6, 16, 3, 1, 17, 13, 5, 2, 20, 12, 33, 40)
    term_counts = (32, 16, 48, 64, 16, 32)
    column_counts = (16, 32, 16, 17, 32, 16, 48)
    state_sizes = (16, 32, 16)
    most = 640

    def body_steps(self) -> None:
        """A product, and what else there is."""
        self.layer()
        super().body_steps()


class SplitPointwiseGenerator(WinogradPointwiseGenerator):
    """1x1 convolutions of whole blocks."""

    most_inputs = 640
    most_pixels = 40
    channel_counts = (16, 32, 16, 48, 16, 32, 24)
    filter_counts = (16, 32, 16, 32, 8)

    def body_steps(self) -> None:
        """A convolution, and what else there is."""
        self.convolution()
        super().body_steps()


def linalg_split_matmul(tape: Tape) -> Program:
    """Packed panels or blocked layout, before products are chosen."""
    return _program(tape)


def split_matmul(tape: Tape) -> Program:
    """Products of split numbers and their epilogues on buffers."""
    return _taken(tape, None)


def split_matmul_kernels(tape: Tape) -> Program:
    """The same on tensors before buffers, as kernels or without any: there, destinations are read later too."""
    return _taken(tape, tape.pick(("bufferize", "linalg-form-kernels")))


def split_matmul_groups(tape: Tape) -> Program:
    """The same before kernels are formed."""
    return _taken(tape, "linalg-form-kernels")


def _program(tape: Tape) -> Program:
    if tape.chance(35):
        return laid_out(SplitPointwiseGenerator(tape).program(), LANES)
    return packed(SplitMatmulGenerator(tape).program(), LANES)


def _taken(tape: Tape, before: str | None) -> Program:
    program = _program(tape)
    make_pass(_PASS, {"gain": 1 << 20}).apply(program.ctx, program.module)
    names = [row.pass_name for row in MODULE_ROWS]
    return lower(program, names[names.index(_PASS) + 1 : names.index(before) if before else None])
