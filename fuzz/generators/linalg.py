"""Programs of the linalg level: a chain of tensor ops as lowered networks have them, and the odd corners.

Shapes with 0, 1, primes and sizes around a vector width; a dynamic leading dimension in some; weights as resources;
constants that feed constants; elements other than f32 in some.
"""

from __future__ import annotations

import numpy as np

from fuzz.generators.bodies import is_float
from fuzz.generators.linalg_base import DYN, Value
from fuzz.generators.linalg_shapes import LinalgShapes
from fuzz.generators.text import affine
from fuzz.tape import Tape
from mlc.testing.program import Program, build


class LinalgGenerator(LinalgShapes):
    """One program."""

    most_steps = 6

    def elementwise(self) -> None:
        """A generic with identity, broadcast or transposed reads."""
        a = self.any_value()
        n = len(a.shape)
        reads: list[tuple[Value, list[str]]] = [(a, [f"d{k}" for k in range(n)])]
        for _ in range(self.tape.below(3)):
            reads.append(self.operand_for(a))
        names = [f"%x{k}_{self.out.counter}" for k in range(len(reads))]
        maps = [affine(n, m) for _, m in reads] + [affine(n, [f"d{k}" for k in range(n)])]
        self.generic(
            maps, ["parallel"] * n, [v for v, _ in reads], names, self.empty(a.shape, a.element), a.shape, a.element
        )
        self.add("elementwise", self.last, a.shape, a.element, *(v for v, _ in reads))

    def reduction(self) -> None:
        """A sum, maximum or minimum over some dimensions."""
        a = self.any_value()
        n = len(a.shape)
        if n == 0:
            return self.elementwise()
        dropped = self.tape.subset(range(n)) or [n - 1]
        if len(dropped) == n and DYN in a.shape:
            dropped = dropped[1:] or [n - 1]
        kept = [k for k in range(n) if k not in dropped]
        shape = tuple(a.shape[k] for k in kept)
        floats = is_float(a.element)
        combine = self.tape.pick(
            ("addf", "maximumf", "minimumf", "mulf") if floats else ("addi", "maxsi", "minsi", "muli")
        )
        start = {"maximumf": -np.inf, "minimumf": np.inf, "mulf": 1, "muli": 1, "maxsi": -100, "minsi": 100}.get(
            combine, 0.0
        )
        maps = [affine(n, [f"d{k}" for k in range(n)]), affine(n, [f"d{k}" for k in kept])]
        iterators = ["reduction" if k in dropped else "parallel" for k in range(n)]
        init = self.fill(shape, a.element, start)
        self.generic(maps, iterators, [a], [f"%x{self.out.counter}"], init, shape, a.element, combine)
        self.add("reduction", self.last, shape, a.element, a)

    def matmul(self) -> None:
        """A product: plain with a constant or computed right side, or batched."""
        if self.tape.chance(30):
            a = self.any_value(rank=3)
            b = self.weight((a.shape[0], a.shape[2], self.size()), a.element) if DYN not in a.shape else None
            if b is not None:
                shape = (a.shape[0], a.shape[1], b.shape[2])
                return self.named("linalg.batch_matmul", "batch_matmul", [a, b], shape)
        a = self.any_value(rank=2)
        k = a.shape[1]
        others = [
            v for v in self.values if len(v.shape) == 2 and v.shape[0] == k and v.element == a.element and k != DYN
        ]
        b = (
            self.tape.pick(others)
            if others and self.tape.chance(30)
            else self.weight((max(k, 0), self.tape.pick((16, 8, 32, 4, 17, 33, 3))), a.element)
        )
        if k == DYN:
            return self.elementwise()
        self.named("linalg.matmul", "matmul", [a, b], (a.shape[0], b.shape[1]))

    def window(self, x: Value, kernel: tuple[int, int]) -> tuple[Value, tuple[int, int], str] | None:
        """Pad an image, choose strides and dilations; the output size, None where nothing would fit."""
        if self.tape.chance(50):
            x = self.padded(
                x, [0, 0, *(self.tape.below(3) for _ in range(2))], [0, 0, *(self.tape.below(3) for _ in range(2))]
            )
        stride = [self.tape.pick((1, 2, 3)) for _ in range(2)]
        dilation = [self.tape.pick((1, 1, 2)) for _ in range(2)]
        out: list[int] = []
        for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True):
            room = n - (k - 1) * d - 1
            if n == DYN or room < 0:
                return None
            out.append(room // s + 1)
        attrs = (
            f"{{dilations = dense<[{dilation[0]}, {dilation[1]}]> : tensor<2xi64>, "
            f"strides = dense<[{stride[0]}, {stride[1]}]> : tensor<2xi64>}} "
        )
        return x, (out[0], out[1]), attrs

    def image(self) -> Value:
        """A rank-4 value, NCHW."""
        found = [v for v in self.values if len(v.shape) == 4 and v.element == self.element and DYN not in v.shape[1:]]
        if found:
            return found[-1 - self.tape.below(min(3, len(found)))]
        shape = (
            self.tape.pick((1, 2)),
            self.tape.pick((4, 3, 8, 16, 17, 1)),
            self.tape.pick((5, 7, 4)),
            self.tape.pick((5, 6)),
        )
        return self.weight(shape, self.element)

    def convolution(self) -> None:
        """A convolution, depthwise or full, of a constant or computed kernel."""
        x = self.image()
        kernel = (self.tape.pick((3, 1, 2)), self.tape.pick((3, 1, 2)))
        found = self.window(x, kernel)
        if found is None:
            return self.elementwise()
        x, size, attrs = found
        c = x.shape[1]
        if self.tape.chance(30):
            w = self.weight((c, *kernel), x.element)
            return self.named("linalg.depthwise_conv_2d_nchw_chw", "depthwise", [x, w], (x.shape[0], c, *size), attrs)
        f = self.tape.pick((4, 16, 8, 3, 1, 17))
        w = self.weight((f, c, *kernel), x.element)
        self.named("linalg.conv_2d_nchw_fchw", "convolution", [x, w], (x.shape[0], f, *size), attrs)

    def pooling(self) -> None:
        """A maximum or sum over windows."""
        x = self.image()
        kernel = (self.tape.pick((2, 3, 1)), self.tape.pick((2, 3, 1)))
        found = self.window(x, kernel)
        if found is None:
            return self.elementwise()
        x, size, attrs = found
        window = Value(self.empty(kernel, x.element), kernel, x.element)
        kind, start = self.tape.pick((("max", -np.inf), ("sum", 0.0)))
        if kind == "max" and not is_float(x.element):
            start = -100
        self.named(f"linalg.pooling_nchw_{kind}", "pooling", [x, window], (*x.shape[:2], *size), attrs, start)

    def softmax(self) -> None:
        """Along one dimension."""
        a = self.any_value()
        if not is_float(a.element) or not a.shape:
            return self.elementwise()
        t, axis = a.type, self.tape.below(len(a.shape))
        init = self.empty(a.shape, a.element)
        name = self.out.value(f"linalg.softmax dimension({axis}) ins({a.name} : {t}) outs({init} : {t}) -> {t}")
        self.add("softmax", name, a.shape, a.element, a)

    def constants(self) -> None:
        """Arithmetic on weights alone, then its use: what hoisting looks for."""
        kept = self.values
        self.values = []
        self.weight_value()
        for _ in range(self.tape.between(1, 3)):
            getattr(self, self.tape.pick(("elementwise", "transpose", "reduction", "reshape")))()
        self.values = kept + self.values[-1:]

    def weight_value(self) -> None:
        w = self.weight(self.shape(self.tape.between(1, 3)), self.element)
        self.values.append(w)

    def argument_shape(self, k: int) -> tuple[int, ...]:
        """Shape of an argument; the first decides what the program is about."""
        rank = self.tape.pick((2, 4, 3, 1, 2, 0))
        if k == 0 and self.theme != "mix":
            rank = 2 if self.theme == "products" else 4
        shape = self.shape(rank)
        if rank == 4:
            channels = self.tape.pick((4, 3, 8, 16, 17))
            shape = (self.tape.pick((1, 2)), channels, self.tape.pick((5, 7, 4)), self.tape.pick((5, 6)))
        return (DYN, *shape[1:]) if k == 0 and self.dynamic and rank else shape

    def body_steps(self) -> None:
        """What the function does."""
        for _ in range(self.tape.between(1, self.most_steps)):
            getattr(self, self.tape.pick(self.steps))()

    def program(self) -> Program:
        """Arguments, steps, results."""
        for k in range(self.tape.between(1, 3)):
            self.late_argument(self.argument_shape(k), self.element)
        arguments = self.arguments
        if DYN in arguments[0].shape:
            zero = self.out.value("arith.constant 0 : index")
            self.dim_name = self.out.value(f"tensor.dim %arg0, {zero} : {arguments[0].type}")
            self.features.append("dynamic")
        self.values = list(arguments)
        self.body_steps()
        results = [self.values[-1]]
        for _ in range(self.tape.pick((0, 0, 1, 2))):
            results.append(self.tape.pick(self.values[::-1]))
        signature = ", ".join(f"{a.name}: {a.type}" for a in arguments)
        types = ", ".join(v.type for v in results)
        text = (
            f"func.func @forward({signature}) -> ({types}) {{\n{self.out.text()}\n"
            f"  func.return {', '.join(v.name for v in results)} : {types}\n}}\n"
        )
        return build(text, weights=self.data, seed=self.seed, features=tuple(self.features))


ALL_STEPS = {
    "elementwise": 6,
    "matmul": 3,
    "convolution": 3,
    "pooling": 2,
    "reduction": 3,
    "softmax": 1,
    "transpose": 2,
    "reshape": 3,
    "pad": 1,
    "slice": 2,
    "concat": 2,
    "constants": 2,
    "comparison": 1,
    "indexed": 1,
}


NAMED_STEPS = {
    "matmul": 3,
    "convolution": 4,
    "pooling": 3,
    "softmax": 3,
    "transpose": 3,
    "concat": 2,
    "pad": 1,
    "elementwise": 2,
}
ELEMENTWISE_STEPS = {
    "elementwise": 10,
    "reduction": 3,
    "comparison": 2,
    "indexed": 1,
    "transpose": 1,
    "reshape": 1,
    "matmul": 1,
}
CONSTANT_STEPS = {
    "constants": 6,
    "elementwise": 3,
    "matmul": 2,
    "convolution": 1,
    "reduction": 1,
    "concat": 1,
    "reshape": 1,
}


def linalg(tape: Tape) -> Program:
    """Everything."""
    return LinalgGenerator(tape, ALL_STEPS).program()


def linalg_elementwise(tape: Tape) -> Program:
    """Chains of elementwise ops around little else."""
    return LinalgGenerator(tape, ELEMENTWISE_STEPS).program()
