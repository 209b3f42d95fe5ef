"""Unrolled recurrences: what a Python loop over time leaves in a captured model, with the ways in which steps differ.

for t in range(n): h, c = cell(select(x, dim, start + t * stride), h, c); kept.append(h)
stack(kept) | cat(unsqueeze(kept)) | the last h | single steps | a list there and back | out[t] = h in each step
"""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue

from fuzz.generators.torch_base import TorchBase
from fuzz.tape import Tape
from mlc.dialects.torch.types import VTensorType
from mlc.testing.program import Program, finish

BODY = ("tanh", "sigmoid", "relu", "neg", "add", "mul", "chunk", "square")


class StepsGenerator(TorchBase):
    """One recurrent cell, unrolled; its body is drawn once and written out for every step."""

    def program(self) -> Program:
        """Arguments, steps, results."""
        tape = self.tape
        steps, batch = tape.pick((4, 3, 9, 2, 8)), tape.pick((2, 1, 3))
        self.width, size = tape.pick((4, 2, 8)), tape.pick((3, 4, 8))
        stride = tape.pick((1, 2)) if tape.chance(30) else 1
        self.backward = tape.chance(20)
        self.dim = tape.below(2)
        length = steps * stride + tape.below(2)
        shape = [length, batch, size] if self.dim == 0 else [batch, length, size]
        x = VTensorType.get(shape, self.element)
        state = VTensorType.get([batch, self.width], self.element)
        self.block = Block(arg_types=[x, state, state])
        self.body = [tape.pick(BODY) for _ in range(tape.between(1, 4))]
        self.w_x, self.w_h = self.weight([self.width, size]), self.weight([self.width, self.width])
        self.bias = self.weight([self.width]) if tape.chance(60) else None
        self.two, self.project, self.shared = tape.chance(50), tape.chance(80), tape.chance(20)
        self.own = tape.chance(15)
        odd = tape.below(steps) if tape.chance(15) else -1
        h, c = self.block.args[1:]
        if tape.chance(30):
            (h,) = self.call("tanh", h)
        kept: list[SSAValue] = []
        written, turned, joined, signs = tape.chance(15), tape.chance(30), tape.chance(15), tape.chance(10)
        (out,) = self.call("new_zeros", h, [steps, batch, self.width], None, None, None, None) if written else (h,)
        for t in range(steps):
            at = (steps - 1 - t if self.backward else t) * stride
            h, c = self.step(self.block.args[0], at, h, c)
            if t == odd:
                (h,) = self.call("neg", h)
            if written:
                (out,) = self.call("select_scatter", out, h, 0, steps - 1 - t if turned else t)
            kept.append(self.call("gt.Scalar", h, 0)[0] if signs else self.call("unsqueeze", h, 0)[0] if joined else h)
        if signs or joined:
            rows = [*([self.block.args[1]] if signs else []), *self.in_some_order(kept)]  # joined with another type
            results = [*self.call("cat", rows, 0), h]
        else:
            results = self.results(kept, h, c)
        results += [out] if written else []
        self.block.add_op(ReturnOp(*results))
        function = FuncOp("forward", ([a.type for a in self.block.args], [r.type for r in results]), Region(self.block))
        return finish(ModuleOp([function]), weights=self.weights, seed=self.seed, features=tuple(self.features))

    def step(self, x: SSAValue, at: int, h: SSAValue, c: SSAValue) -> tuple[SSAValue, SSAValue]:
        """One step: a product of the state, maybe one of the input, then the drawn elementwise ops."""
        (v,) = self.call("linear", h, self.w_h, self.bias)
        if self.project:
            (row,) = self.call("select.int", x, self.dim, at)
            (given,) = self.call("linear", row, self.w_x, self.input_bias(h))
            (v,) = self.call("add.Tensor", v, given, 1)
        for name in self.body:
            match name:
                case "add":
                    (v,) = self.call("add.Tensor", v, c if self.two else h, 1)
                case "mul":
                    (v,) = self.call("mul.Tensor", v, h)
                case "chunk":
                    half = self.width // 2
                    (low,) = self.call("slice.Tensor", v, 1, 0, half, 1)
                    (high,) = self.call("slice.Tensor", v, 1, half, self.width, 1)
                    (v,) = self.call("cat", [high, low], 1)
                case _:
                    (v,) = self.call(name, v)
        (v,) = self.call("tanh", v)
        if not self.two:
            return v, c
        (memory,) = self.call("mul.Tensor", c, v)
        (memory,) = self.call("sigmoid", memory)
        return v, memory

    def input_bias(self, h: SSAValue) -> SSAValue | None:
        """What is added to the input's product: nothing, the state's bias, or what the step itself makes."""
        if self.own:
            return self.call("select.int", h, 0, 0)[0]
        return self.bias if self.shared else None

    def results(self, kept: list[SSAValue], h: SSAValue, c: SSAValue) -> list[SSAValue]:
        """What is returned of the steps."""
        tape, found = self.tape, [h]
        where = tape.below(3)
        rows = self.in_some_order(kept)
        if tape.chance(20):
            rows.insert(0 if tape.chance(50) else len(rows), self.block.args[1])
        match tape.below(5):
            case 0:
                found = self.call("stack", rows, where)
            case 1:
                dim = where % 2
                found = self.call("cat", [self.call("unsqueeze", r, dim)[0] for r in rows], dim)
            case 2:
                found = [*self.call("stack", rows, where), *self.call("stack", rows, 0), h]
            case 3:
                pairs = zip(kept, rows, strict=False)
                found = self.call("stack", [self.call("mul.Tensor", a, b)[0] for a, b in pairs], 0)
            case _:
                if tape.chance(40):
                    found = [h, kept[len(kept) // 2]]
        return [*found, c] if tape.chance(40) else found

    def in_some_order(self, kept: list[SSAValue]) -> list[SSAValue]:
        """The steps' values as they were made, mostly; backwards, there and back, with one of them again."""
        match self.tape.pick((0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4)):
            case 1:
                return kept[::-1]
            case 2:
                return kept + kept[::-1]
            case 3:
                return kept + kept[-2::-1]
            case 4:
                return [*kept, kept[self.tape.below(len(kept))]]
            case _:
                return list(kept)


def torch_steps(tape: Tape) -> Program:
    """An unrolled recurrent cell."""
    return StepsGenerator(tape, {}).program()
