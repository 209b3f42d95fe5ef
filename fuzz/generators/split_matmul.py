"""Products of split numbers: of panels of 16 columns and of pixels, with what stands around them in networks."""

from __future__ import annotations

import numpy as np

from fuzz.generators.linalg_base import LinalgBase
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


class _AllBits(LinalgBase):
    """Weights of all the bits that a number has, in most programs: otherwise their later parts are zero."""

    def array(self, shape: tuple[int, ...], element: str) -> np.ndarray:
        """Of weights."""
        data = super().array(shape, element)
        return np.asarray(data * np.float32(0.7390851)) if element == "f32" and self.tape.chance(70) else data


class SplitMatmulGenerator(_AllBits, WinogradMatmulGenerator):
    """Products of rows: whole tiles of terms, and half of the last one filled up."""

    row_counts = (4, 6, 16, 3, 1, 17, 13, 5, 2, 20, 12, 33, 40)
    term_counts = (32, 16, 48, 64, 16, 32)
    column_counts = (16, 32, 16, 17, 32, 16, 48)
    state_sizes = (16, 32, 16)
    most = 640

    def body_steps(self) -> None:
        """A product in most, and what else there is."""
        if self.tape.chance(60):
            self.layer()
        super().body_steps()


class SplitPointwiseGenerator(_AllBits, WinogradPointwiseGenerator):
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
    make_pass(_PASS, {"gain": 1 << 20, "depth": tape.pick((32, 768, 64))}).apply(program.ctx, program.module)
    names = [row.pass_name for row in MODULE_ROWS]
    return lower(program, names[names.index(_PASS) + 1 : names.index(before) if before else None])
