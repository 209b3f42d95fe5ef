"""Witnesses of the torch level's rules: canonical forms to find, layers in front of batch norm, families of ops.

Half of the programs of a pass's profile hold some of its pieces; near misses break one condition of the rule.
"""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import DenseResourceAttr, IntegerType, Signedness
from xdsl.ir import SSAValue

from fuzz.generators.torch import CONV_BN_STEPS, OPS, TorchGenerator
from fuzz.generators.torch_base import SIZES
from fuzz.tape import Generator, Tape
from mlc.dialects.torch.build import list_construct, list_unpack
from mlc.dialects.torch.constants import VTensorLiteralOp, literal_type_of
from mlc.dialects.torch.types import VTensorType
from mlc.testing.program import Program

SI64 = IntegerType(64, Signedness.SIGNED)
INT8, F32, F64 = 1, 6, 7


class TorchWitnesses(TorchGenerator):
    """A random program with witnesses among its steps."""

    def __init__(self, tape: Tape, steps: dict[str, int], witnesses: tuple[str, ...]) -> None:
        super().__init__(tape, steps)
        self.witnesses = witnesses if self.seed % 2 == 1 else ()

    def body_steps(self) -> None:
        """Random steps, then a few witnesses."""
        super().body_steps()
        if self.witnesses:
            for _ in range(self.tape.between(3, 6)):
                getattr(self, self.tape.pick(self.witnesses))()

    # --- pieces

    def filled(self, rank: int) -> SSAValue:
        """A value of this rank without empty dimensions."""
        x = self.any(rank)
        return x if 0 not in self.shape(x) else self.weight([self.tape.pick(SIZES) for _ in range(rank)])

    def indices(self, shape: list[int], high: int) -> SSAValue:
        """Whole numbers below `high`."""
        return self.whole(self.rng.integers(0, high, tuple(shape)))

    def whole(self, numbers: np.ndarray) -> SSAValue:
        """A constant of whole numbers."""
        name = f"w{len(self.weights)}"
        self.weights[name] = np.ascontiguousarray(numbers)
        kind = VTensorType.get(list(numbers.shape), SI64)
        op = VTensorLiteralOp.create(
            properties={"value": DenseResourceAttr.from_params(name, literal_type_of(kind))}, result_types=(kind,)
        )
        self.block.add_op(op)
        return op.results[0]

    @property
    def code(self) -> int:
        """PyTorch's number of the element type."""
        return F64 if str(self.element) == "f64" else F32

    # --- canonical forms

    def copies(self) -> None:
        """Ops that change nothing; near miss: a dropout that is active with probability zero."""
        x = self.any()
        name, extra = self.tape.pick(
            (("dropout", (0.5, False)), ("clone", (None,)), ("detach", ()), ("dropout", (0.0, True)), ("alias", ()))
        )
        self.keep(*self.call(name, x, *extra))

    def casts(self) -> None:
        """To the type it has; near miss: to the other one and back."""
        x = self.any()
        if self.tape.chance(30):
            (x,) = self.call("to.dtype", x, F32 if self.code == F64 else F64, False, False, None)
        self.keep(*self.call("to.dtype", x, self.code, False, False, None))

    def double_t(self) -> None:
        """t of t."""
        (x,) = self.call("t", self.filled(2))
        self.keep(*self.call("t", x))

    def double_transpose(self) -> None:
        """The same two dimensions, by any of their names; near miss: others."""
        x = self.filled(3)
        a, b = self.tape.pick(((0, 1), (1, 2), (0, 2)))
        (x,) = self.call("transpose.int", x, a, b)
        c, d = self.tape.pick(((b, a), (a - 3, b), (a, b - 3), (0, 1)))
        self.keep(*self.call("transpose.int", x, c, d))

    def views(self) -> None:
        """A view of a view, a view to the shape it has."""
        x = self.filled(2)
        a, b = self.shape(x)
        if self.tape.chance(40):
            return self.keep(*self.call(self.tape.pick(("view", "reshape")), x, [a, b]))
        (y,) = self.call("reshape", x, self.tape.pick(([b, a], [a * b], [1, a, b])))
        self.keep(*self.call(self.tape.pick(("view", "reshape")), y, self.tape.pick(([a * b], [b, a], [-1, a]))))

    def sizes(self) -> None:
        """Arithmetic on sizes, then a view by it."""
        x = self.filled(2)
        (rows,), (columns,) = (self.call("size.int", x, d) for d in (0, self.tape.pick((1, -1))))
        (n,) = self.call("mul.int", rows, columns)
        name = self.tape.pick(("add.int", "sub.int", "remainder.int", "floordiv.int"))
        (extra,) = self.call(name, n, self.tape.pick((1, 2, -3)))
        (back,) = self.call("sub.int", extra, extra)
        (total,) = self.call("add.int", n, back)
        self.keep(*self.call("view", x, self.int_list(total)))

    def int_list(self, *values: SSAValue) -> SSAValue:
        """A list of sizes."""
        op = list_construct(list(values), values[0].type)
        self.block.add_op(op)
        return op.results[0]

    def unpacked(self) -> None:
        """A list of tensors that is made and taken apart."""
        x, y = self.any(), self.any()
        made = list_construct([x, y], x.type if x.type == y.type else VTensorType.get())
        self.block.add_op(made)
        if x.type != y.type:
            self.keep(*self.call("cat", [x, x], 0) if self.shape(x) else [x])
            return
        apart = list_unpack(made.results[0], [x.type, y.type])
        self.block.add_op(apart)
        self.keep(*self.call("sub.Tensor", *apart.results, 1))

    # --- in front of batch norm

    def other_convolution(self) -> None:
        """Convolutions of one, two and three dimensions; near misses: transposed, in training, read twice."""
        rank = self.tape.pick((1, 3, 2))
        x = self.weight([1, self.tape.pick((3, 4)), *(self.tape.pick((5, 4)) for _ in range(rank))])
        (x,) = self.call("relu", x)
        f = self.tape.pick((4, 3))
        c = self.shape(x)[1]
        bias = self.weight([f]) if self.tape.chance(60) else None
        ones, zeros = [1] * rank, [0] * rank
        if rank == 2 or self.tape.chance(40):
            transposed = self.tape.chance(20)
            w = self.weight([c, f, *[2] * rank] if transposed else [f, c, *[2] * rank])
            (y,) = self.call("convolution", x, w, bias, ones, zeros, ones, transposed, zeros, 1)
        else:
            w = self.weight([f, c, *[2] * rank])
            (y,) = self.call(f"conv{rank}d", x, w, bias, ones, zeros, ones, 1)
        self.keep(y)
        self.norm_of(y)
        if self.tape.chance(15):
            self.keep(*self.call("add.Tensor", y, self.values[-1], 1))

    def features_elsewhere(self) -> None:
        """Near misses: as many features as dim 1 has, but not in dim 1."""
        f, c = self.tape.pick((3, 4)), self.tape.pick((2, 3))
        if self.tape.chance(50):
            (x,) = self.call("relu", self.weight([2, f, c]))
            (y,) = self.call("linear", x, self.weight([f, c]), self.weight([f]))
        else:  # no batch
            (x,) = self.call("relu", self.weight([c, f + 1]))
            (y,) = self.call("conv1d", x, self.weight([f, c, 2]), self.weight([f]), [1], [0], [1], 1)
        self.norm_of(y)

    # --- families of ops

    def gathers(self) -> None:
        """Rows of a table by number."""
        x = self.filled(2)
        rows, columns = self.shape(x)
        n = self.tape.pick((3, 1, 4))
        match self.tape.below(3):
            case 0:
                self.keep(*self.call("embedding", x, self.indices([n, 2], rows), -1, False, False))
            case 1:
                self.keep(*self.call("index_select", x, 0, self.indices([n], rows)))
            case _:
                self.keep(*self.call("gather", x, 1, self.indices([rows, n], columns), False))

    def scatters(self) -> None:
        """Rows written or added by number."""
        x = self.filled(2)
        rows, columns = self.shape(x)
        match self.tape.below(3):
            case 0:
                self.keep(*self.call("select_scatter", x, self.weight([columns]), 0, self.tape.below(rows)))
            case 1:
                source = self.weight([2, columns])
                self.keep(*self.call("index_add", x, 0, self.indices([2], rows), source, self.tape.pick((1, 2))))
            case _:
                order = np.broadcast_to(self.rng.permutation(columns), (rows, columns))  # each place is written once
                self.keep(*self.call("scatter.src", x, 1, self.whole(order), self.weight([rows, columns])))

    def sorts(self) -> None:
        """Sorted rows, the largest few, single places of the order, running extremes; some rows are long."""
        x = self.weight([2, self.tape.pick((9, 17, 140))]) if self.tape.chance(40) else self.filled(2)
        columns = self.shape(x)[1]
        match self.tape.below(5):
            case 0:
                (found, _) = self.call("sort", x, self.tape.pick((1, 0, -1)), self.tape.chance(50))
            case 1:
                (found, _) = self.call("topk", x, self.tape.between(1, columns), 1, self.tape.chance(60), True)
            case 2:
                (found, _) = self.call("kthvalue", x, self.tape.between(1, columns), 1, True)
            case 3:
                (found, _) = self.call(self.tape.pick(("median.dim", "nanmedian.dim")), x, 1, True)
            case _:
                (found, _) = self.call(self.tape.pick(("cummax", "cummin")), x, self.tape.pick((1, 0)))
        if columns > max(SIZES):  # other steps take short rows
            (found,) = self.call("slice.Tensor", found, 1, 0, min(columns, self.shape(found)[1], 8), 1)
        self.keep(found)

    def cells(self) -> None:
        """One step of a recurrent layer."""
        x = self.filled(2)
        batch, features = self.shape(x)
        hidden, gates = self.tape.pick((3, 2, 4)), {"lstm_cell": 4, "gru_cell": 3, "rnn_tanh_cell": 1}
        name = self.tape.pick(list(gates))
        n = gates[name] * hidden
        state = [self.weight([batch, hidden]) for _ in range(2)]
        weights = (self.weight([n, features]), self.weight([n, hidden]), self.weight([n]), self.weight([n]))
        self.keep(self.call(name, x, state if name == "lstm_cell" else state[0], *weights)[0])

    def resampled(self) -> None:
        """Images made larger or smaller."""
        x = self.image()
        size = [self.tape.pick((3, 8, 5)), self.tape.pick((4, 7))]
        if self.tape.chance(50):
            self.keep(*self.call("upsample_nearest2d", x, size, None, None))
        else:
            # a scale of one half exactly: ATen rounds others to f32 on its way to an index, which no bound covers
            corners = self.tape.chance(50)
            size = [2 * n - corners for n in self.shape(x)[2:]]
            self.keep(*self.call("upsample_bilinear2d", x, size, corners, None, None))

    def rounded(self) -> None:
        """Quantised to eight bits and back."""
        x = self.any()
        if self.code == F64:
            return self.unary()
        how = (self.tape.pick((0.25, 0.5)), self.tape.pick((0, 3)), -128, 127, INT8)
        (q,) = self.call("quantized_decomposed.quantize_per_tensor", x, *how)
        self.keep(*self.call("quantized_decomposed.dequantize_per_tensor", q, *how, None))

    def losses(self) -> None:
        """Gated halves, squared differences, limits."""
        x = self.filled(2)
        match self.tape.below(3):
            case 0:
                if self.shape(x)[1] % 2:
                    (x,) = self.call("cat", [x, x], 1)
                self.keep(*self.call("glu", x, 1))
            case 1:
                self.keep(*self.call("mse_loss", x, self.weight(self.shape(x)), self.tape.pick((0, 1, 2))))
            case _:
                self.keep(*self.call("clip", x, -0.5, 1.0))

    def filled_tensors(self) -> None:
        """Constants by shape, joined with a value; rows as often as numbers say."""
        x = self.filled(2)
        if self.tape.chance(60):
            counts = self.rng.integers(0, 3, self.shape(x)[0])
            repeats, total = self.whole(counts), int(counts.sum())
            self.keep(*self.call("repeat_interleave.self_Tensor", x, repeats, 0, total))
            return
        match self.tape.below(3):
            case 0:
                (y,) = self.call("new_full", x, self.shape(x)[1:], self.tape.pick((1.5, -2)), None, None, None, None)
            case 1:
                (y,) = self.call("full_like", x, 0.5, None, None, None, None, None)
            case _:
                (y,) = self.call("arange", self.shape(x)[1], self.code, None, None, None)
        self.keep(*self.call("add.Tensor", x, y, 1))

    def running(self) -> None:
        """Sums and products so far."""
        x = self.filled(2)
        self.keep(*self.call(self.tape.pick(("cumsum", "cumprod")), x, self.tape.below(2), None))

    def padded(self) -> None:
        """Borders: constant, mirrored, repeated."""
        x = self.image()
        mode = self.tape.pick(("constant", "reflect", "replicate"))
        pads = [self.tape.below(3) for _ in range(4)]
        self.keep(*self.call("pad", x, pads, mode, self.tape.pick((None, 1.5)) if mode == "constant" else None))

    def rearranged(self) -> None:
        """Elements rolled round, channels and pixels shuffled."""
        if self.tape.chance(60):
            x = self.filled(2)
            amount = self.tape.pick((1, -2, 3))
            return self.keep(*self.call("roll", x, [amount], self.tape.pick(([0], [1], []))))
        x = self.weight([1, 4, self.tape.pick((2, 4)), self.tape.pick((4, 2))])
        name = self.tape.pick(("channel_shuffle", "pixel_shuffle", "pixel_unshuffle"))
        self.keep(*self.call(name, x, 2))


CANONICAL = ("copies", "casts", "double_t", "double_transpose", "views", "sizes", "unpacked")
FAMILIES = (
    "gathers",
    "scatters",
    "sorts",
    "cells",
    "resampled",
    "rounded",
    "losses",
    "filled_tensors",
    "padded",
    "running",
    "rearranged",
)
WITNESSES: dict[str, tuple[tuple[str, ...], dict[str, int]]] = {
    "torch-canonicalize": (CANONICAL, OPS),
    "torch-fold-batch-norm": (("other_convolution", "features_elsewhere"), CONV_BN_STEPS),
    "convert-torch-to-linalg": ((*FAMILIES, "sizes", "attention"), OPS),
}
"""Pieces and other steps, by the pass whose rules they exercise."""


def torch_witnessed(pass_name: str) -> Generator:
    """Programs of the pass's steps, half of them with witnesses."""
    witnesses, steps = WITNESSES[pass_name]

    def generate(tape: Tape) -> Program:
        return TorchWitnesses(tape, steps, witnesses).program()

    return generate
