"""Convolutions that Winograd may take: 3x3 above all, in blocked layout, with what stands around them in networks."""

from __future__ import annotations

from fuzz.generators.linalg import LinalgGenerator
from fuzz.generators.linalg_base import Value
from fuzz.generators.staged import lower
from fuzz.generators.text import affine
from fuzz.tape import Tape
from mlc.ir.pipeline import make_pass
from mlc.ir.pipeline_table import MODULE_ROWS
from mlc.testing.program import Program

_STEPS = {"convolution": 14, "elementwise": 5, "pad": 1, "concat": 1, "pooling": 1}
_PASS = "linalg-winograd-conv2d"


class WinogradGenerator(LinalgGenerator):
    """One program: short, as a transform has hundreds of ops for the interpreter."""

    most_steps = 2
    taps = (3, 3)
    most_inputs = 320
    """Numbers in an argument, about: large images have few channels, or the interpreter takes seconds for a program."""

    def __init__(self, tape: Tape) -> None:
        super().__init__(tape, _STEPS)
        self.element = "f32"
        self.dynamic = False

    def argument_shape(self, k: int) -> tuple[int, ...]:
        """Images, whole blocks of channels in most."""
        height, width = self.tape.pick((6, 5, 7, 4, 9)), self.tape.pick((6, 5, 8, 4, 3))
        images = self.tape.pick((1, 2)) if 8 * height * width <= self.most_inputs else 1
        channels = [c for c in (4, 8, 16, 8, 4, 16) if images * c * height * width <= self.most_inputs]
        return (images, self.tape.pick((*channels, 3)), height, width)

    def convolution(self) -> None:
        """3x3, stride 1, padded like an image, in most; otherwise any."""
        if self.tape.chance(5):
            return super().convolution()
        x = self.image()
        if self.tape.chance(80):
            x = self.padded(x, [0, 0, 1, 1], [0, 0, 1, 1])
        images, channels, height, width = x.shape
        if height < 3 or width < 3:
            return self.elementwise()
        stride = 2 if self.tape.chance(10) else 1
        filters = self.tape.pick(
            (channels, 4, 8, channels, 12, 5)
        )  # as many as channels: the input can be added to the output
        weights = self.filters(filters, channels)
        size = ((height - 3) // stride + 1, (width - 3) // stride + 1)
        attrs = f"{{dilations = dense<1> : tensor<2xi64>, strides = dense<{stride}> : tensor<2xi64>}} "
        start = 1.0 if self.tape.chance(10) else 0.0
        self.named("linalg.conv_2d_nchw_fchw", "convolution", [x, weights], (images, filters, *size), attrs, start)
        same = [v for v in self.values[:-1] if v.shape == self.values[-1].shape]
        if same and self.tape.chance(60):
            self.residual(self.values[-1], same[0])

    def residual(self, a: Value, b: Value) -> None:
        """Both in one elementwise op."""
        identity = [f"d{k}" for k in range(4)]
        names = [f"%x{k}_{self.out.counter}" for k in range(2)]
        init = self.empty(a.shape, "f32")
        self.generic([affine(4, identity)] * 3, ["parallel"] * 4, [a, b], names, init, a.shape, "f32")
        self.add("elementwise", self.last, a.shape, "f32", a, b)

    def filters(self, filters: int, channels: int) -> Value:
        """Constant in most; an argument of the right shape otherwise."""
        shape = (filters, channels, *self.taps)
        found = [v for v in self.values if v.shape == shape]
        return found[0] if found and self.tape.chance(30) else self.weight(shape, "f32")


def linalg_winograd(tape: Tape) -> Program:
    """Blocked layout, before Winograd is chosen."""
    block = tape.pick((4, 8))
    program = WinogradGenerator(tape).program()
    return laid_out(program, block)


def laid_out(program: Program, block: int) -> Program:
    """`program` with channels in blocks."""
    make_pass("linalg-block-layouts", {"block": block}).apply(program.ctx, program.module)
    return lower(program, [])


def winograd(tape: Tape) -> Program:
    """Winograd convolutions and their epilogues on buffers."""
    return _taken(tape, None)


def winograd_kernels(tape: Tape) -> Program:
    """The same as kernels on tensors, before buffers."""
    return _taken(tape, "bufferize")


def _taken(tape: Tape, before: str | None) -> Program:
    block = tape.pick((4, 8))
    # many blocks of one tile in most: only then do blocks that overlap run side by side with others
    tile, tiles, depth = tape.pick(((4, 7, 8), (2, 1, 8), (2, 1, 8), (4, 2, 8), (2, 3, 4)))
    group = tape.pick((0, 1, 0, 2))
    program = laid_out(WinogradGenerator(tape).program(), block)
    make_pass(_PASS, {"tile": tile, "tiles": tiles, "group": group, "depth": depth}).apply(program.ctx, program.module)
    names = [row.pass_name for row in MODULE_ROWS]
    return lower(program, names[names.index(_PASS) + 1 : names.index(before) if before else None])
