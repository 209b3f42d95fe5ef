"""1x1 convolutions that Winograd's inner product may take, in blocked layout, and what stands around them."""

from __future__ import annotations

from fuzz.generators.linalg import LinalgGenerator
from fuzz.generators.staged import lower
from fuzz.generators.winograd import WinogradGenerator, laid_out
from fuzz.tape import Tape
from mlc.ir.pipeline import make_pass
from mlc.ir.pipeline_table import MODULE_ROWS
from mlc.testing.program import Program

_PASS = "linalg-winograd-pointwise"


class WinogradPointwiseGenerator(WinogradGenerator):
    """One program."""

    taps = (1, 1)
    most_pixels = 60
    """Of an argument: each is a row of products, and one program of many takes seconds in the interpreter."""
    channel_counts: tuple[int, ...] = (8, 16, 4, 24, 8, 16, 3)
    filter_counts: tuple[int, ...] = (8, 4, 16, 8, 5)

    def argument_shape(self, k: int) -> tuple[int, ...]:
        """Images, whole blocks of channels in most; wide and tall ones, and ones of a few pixels."""
        tape = self.tape
        height = tape.pick((4, 1, 3, 7, 2))
        width = tape.pick([w for w in (5, 1, 23, 4, 8, 12) if height * w <= self.most_pixels])
        images = tape.pick((1, 2)) if 2 * height * width <= self.most_pixels else 1
        return (images, tape.pick(self.channel_counts), height, width)

    def convolution(self) -> None:
        """1x1, not padded, in most; otherwise any. The input may be added to it, and a border put around it."""
        if self.tape.chance(10):
            return LinalgGenerator.convolution(self)
        x = self.image()
        images, channels, height, width = x.shape
        stride = self.tape.pick((1, 1, 1, 2, 1, 3))
        few, more = self.filter_counts[:2], self.filter_counts[2:]
        filters = self.tape.pick((channels, *few, channels, *more))
        w = self.filters(filters, channels)
        attrs = f"{{dilations = dense<1> : tensor<2xi64>, strides = dense<{stride}> : tensor<2xi64>}} "
        size = ((height - 1) // stride + 1, (width - 1) // stride + 1)
        start = 1.0 if self.tape.chance(10) else 0.0
        self.named("linalg.conv_2d_nchw_fchw", "convolution", [x, w], (images, filters, *size), attrs, start)
        same = [v for v in self.values[:-1] if v.shape == self.values[-1].shape]
        if same and self.tape.chance(50):
            self.residual(self.values[-1], same[0])
        if self.tape.chance(25):
            self.padded(self.values[-1], [0, 0, 1, 1], [0, 0, 1, 1])


def linalg_winograd_pointwise(tape: Tape) -> Program:
    """Blocked layout, before convolutions are chosen."""
    return laid_out(WinogradPointwiseGenerator(tape).program(), tape.pick((4, 8)))


def winograd_pointwise(tape: Tape) -> Program:
    """Winograd products of pixels and their epilogues on buffers."""
    return _taken(tape, None)


def winograd_pointwise_kernels(tape: Tape) -> Program:
    """The same as kernels on tensors, before buffers."""
    return _taken(tape, "bufferize")


def winograd_pointwise_groups(tape: Tape) -> Program:
    """The same before kernels are formed."""
    return _taken(tape, "linalg-form-kernels")


def _taken(tape: Tape, before: str | None) -> Program:
    block, depth = tape.pick((4, 8)), tape.pick((8, 256, 4))
    program = laid_out(WinogradPointwiseGenerator(tape).program(), block)
    make_pass(_PASS, {"gain": 1 << 20, "depth": depth}).apply(program.ctx, program.module)
    names = [row.pass_name for row in MODULE_ROWS]
    return lower(program, names[names.index(_PASS) + 1 : names.index(before) if before else None])
