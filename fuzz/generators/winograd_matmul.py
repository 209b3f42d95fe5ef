"""Matrix products for Winograd's inner product: of packed panels, with what stands around them in networks."""

from __future__ import annotations

from fuzz.generators.linalg_base import Value
from fuzz.generators.linalg_witnesses import WitnessGenerator
from fuzz.generators.staged import lower
from fuzz.generators.text import affine, tensor
from fuzz.tape import Tape
from mlc.ir.pipeline import make_pass
from mlc.ir.pipeline_table import MODULE_ROWS
from mlc.testing.program import Program

_STEPS = {
    **{"layer": 12, "sum_of_layers": 4, "recurrent_layer": 3, "tied_weight": 3},
    **{"elementwise": 2, "reshape": 1, "reduction": 1},
}
_PASS = "linalg-winograd-matmul"


class WinogradMatmulGenerator(WitnessGenerator):
    """One program: short, as a product has hundreds of ops for the interpreter."""

    most_steps = 2
    row_counts: tuple[int, ...] = (4, 6, 8, 3, 1, 7, 13, 5, 2, 9, 12, 21, 40)
    term_counts: tuple[int, ...] = (12, 6, 5, 7, 13, 24, 2, 18, 9, 31, 10, 49, 60, 1)
    column_counts: tuple[int, ...] = (8, 12, 5, 9, 4, 16, 3, 17)
    state_sizes: tuple[int, ...] = (8, 12, 5, 16)
    most = 240
    """Numbers in an argument, or a product: many rows are short and long rows are few, or one program takes seconds."""

    def __init__(self, tape: Tape) -> None:
        super().__init__(tape, _STEPS, ())
        self.element = "f32"
        self.dynamic = False

    def argument_shape(self, k: int) -> tuple[int, ...]:
        """Rows of terms; the others as many rows."""
        if k == 0:
            self.rows = self.tape.pick(self.row_counts)
        return (self.rows, self.tape.pick([n for n in self.term_counts if self.rows * n <= self.most]))

    def layer(self) -> None:
        """A product with constant weights, on zeros in most, and what follows it."""
        x = self.matrix()
        columns = self.columns(x)
        y = self.multiplied(x, columns, self.start(x.shape[0], columns))
        for _ in range(self.tape.pick((1, 0, 2))):
            y = self.residual(y) if self.tape.chance(40) else self.follow(y)

    def sum_of_layers(self) -> None:
        """A product that goes on with the sums of another; both may be read elsewhere."""
        x = self.matrix()
        same_rows = [v for v in self.values if len(v.shape) == 2 and v.shape[0] == x.shape[0]]
        other, columns = self.tape.pick(same_rows[::-1]), self.columns(x)
        first = self.multiplied(x, columns, self.start(x.shape[0], columns))
        if self.tape.chance(20):
            self.follow(first)
        self.multiplied(other, columns, first.name)
        if self.tape.chance(70):
            self.follow(self.values[-1])

    def recurrent_layer(self) -> None:
        """state = f(x A + state B) some times, with weights from outside of the loop."""
        x, tape, k = self.matrix(), self.tape, self.out.counter
        shape = (x.shape[0], self.tape.pick([n for n in self.state_sizes if x.shape[0] * n <= self.most]))
        weights = [self.weights(n, shape[1]) for n in (x.shape[1], shape[1])]
        zero, one, trips = (self.out.value(f"arith.constant {v} : index") for v in (0, 1, tape.pick((2, 1, 3))))
        t, start = tensor(shape, "f32"), self.fill(shape, "f32", tape.pick((0.0, 1.0)))
        self.out.emit(
            f"%loop_{k} = scf.for %i_{k} = {zero} to {trips} step {one} iter_args(%h_{k} = {start}) -> ({t}) {{"
        )
        self.out.depth += 1
        kept = [*self.values]
        first = self.matmul_onto(x, weights[0], self.start(*shape))
        state = self.matmul_onto(Value(f"%h_{k}", shape, "f32"), weights[1], first.name)
        state = self.follow(state) if tape.chance(70) else state
        self.values = kept
        self.out.emit(f"scf.yield {state.name} : {t}")
        self.out.depth -= 1
        self.out.emit("}")
        self.add("recurrent_layer", f"%loop_{k}", shape, "f32", x)

    def tied_weight(self) -> None:
        """A product whose weights are read elsewhere too, and what was read in one op with it."""
        super().tied_weight()
        y, read = self.values[-1], self.values[-2]
        same = affine(2, ["d0", "d1"])
        names = [f"%x{k}_{self.out.counter}" for k in range(2)]
        init = self.empty(y.shape, "f32")
        maps = [same, affine(2, ["0", "0"]), same]
        self.generic(maps, ["parallel"] * 2, [y, read], names, init, y.shape, "f32")
        self.add("tied", self.last, y.shape, "f32", y)

    def columns(self, x: Value) -> int:
        """Of a product; as many as terms in some, so that the input can be added to it."""
        return self.tape.pick((*(n for n in self.column_counts if x.shape[0] * n <= self.most), x.shape[1]))

    def start(self, rows: int, columns: int) -> str:
        """What a product is added to: zeros in most."""
        found = [v for v in self.values if v.shape == (rows, columns)]
        if found and self.tape.chance(35):
            return self.tape.pick(found[::-1]).name
        return self.fill((rows, columns), "f32", 1.5 if self.tape.chance(10) else 0.0)

    def multiplied(self, x: Value, columns: int, start: str) -> Value:
        """The product of `x` and constant weights, added to `start`; a value at hand from now on."""
        y = self.matmul_onto(x, self.weights(x.shape[1], columns), start)
        self.add("layer", y.name, y.shape, "f32", x)
        return y

    def matmul_onto(self, x: Value, w: Value, start: str) -> Value:
        """start + x w."""
        shape = (x.shape[0], w.shape[1])
        t = tensor(shape, "f32")
        name = self.out.value(f"linalg.matmul ins({x.name}, {w.name} : {x.type}, {w.type}) outs({start} : {t}) -> {t}")
        return Value(name, shape, "f32")

    def weights(self, terms: int, columns: int) -> Value:
        """Constant, plain or the transpose of what a linear layer holds; a column of zeros or of large ones in some."""
        w = self.weight((terms, columns), "f32") if self.tape.chance(50) else self.weight((columns, terms), "f32")
        data = self.data.get(f"w{len(self.data) - 1}")
        if data is not None and data.shape == w.shape and self.tape.chance(30):
            column = data[:, -1] if w.shape == (terms, columns) else data[-1]
            column *= self.tape.pick((0.0, 64.0))
        if w.shape == (terms, columns):
            return w
        t, turned = tensor((terms, columns), "f32"), self.empty((terms, columns), "f32")
        name = self.out.value(f"linalg.transpose ins({w.name}:{w.type}) outs({turned}:{t}) permutation = [1, 0]")
        return Value(name, (terms, columns), "f32", True)

    def residual(self, y: Value) -> Value:
        """Another value of the shape in one elementwise op with `y`; one at hand, if there is any."""
        found = [v for v in self.values if v.shape == y.shape and v is not y]
        if not found:
            return self.follow(y)
        same = affine(2, ["d0", "d1"])
        names = [f"%x{k}_{self.out.counter}" for k in range(2)]
        init = self.empty(y.shape, "f32")
        self.generic([same] * 3, ["parallel"] * 2, [y, self.tape.pick(found)], names, init, y.shape, "f32")
        self.add("residual", self.last, y.shape, "f32", y)
        return self.values[-1]


def linalg_winograd_matmul(tape: Tape) -> Program:
    """Packed panels, before products are chosen."""
    block = tape.pick((4, 8))
    return packed(WinogradMatmulGenerator(tape).program(), block)


def packed(program: Program, block: int) -> Program:
    """`program` with constant weights in panels of so many columns."""
    make_pass("linalg-pack-matmul", {"block": block, "in_place": False}).apply(program.ctx, program.module)
    return lower(program, [])


def winograd_matmul(tape: Tape) -> Program:
    """Winograd products and their epilogues on buffers."""
    return _taken(tape, None)


def winograd_matmul_kernels(tape: Tape) -> Program:
    """The same on tensors before buffers, as kernels or without any: there, destinations are read later too."""
    return _taken(tape, tape.pick(("bufferize", "linalg-form-kernels")))


def winograd_matmul_groups(tape: Tape) -> Program:
    """The same before kernels are formed."""
    return _taken(tape, "linalg-form-kernels")


def _taken(tape: Tape, before: str | None) -> Program:
    block, depth = tape.pick((4, 8)), tape.pick((8, 256, 13, 5, 256, 24))
    program = packed(WinogradMatmulGenerator(tape).program(), block)
    make_pass(_PASS, {"columns": 1, "depth": depth}).apply(program.ctx, program.module)
    names = [row.pass_name for row in MODULE_ROWS]
    return lower(program, names[names.index(_PASS) + 1 : names.index(before) if before else None])
