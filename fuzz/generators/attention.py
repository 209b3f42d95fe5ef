"""Attention kept whole: few heads of few rows, keys and terms, masked in some, and what stands around it in models."""

from __future__ import annotations

from fuzz.generators.linalg import LinalgGenerator
from fuzz.generators.linalg_base import Value
from fuzz.generators.staged import lower, names_before
from fuzz.generators.text import tensor
from fuzz.tape import Tape
from mlc.testing.program import Program

_STEPS = {"attention": 24, "elementwise": 2, "reduction": 1}
_ROWS = (5, 4, 8, 1, 7, 3, 9, 2, 13)
_TERMS = (4, 3, 8, 1, 5, 17)
_SCALES = ("0.5", "1.0", "0.125", "-0.25")


class AttentionGenerator(LinalgGenerator):
    """One program: short, as attention has hundreds of ops for the interpreter."""

    most_steps = 2

    def __init__(self, tape: Tape) -> None:
        super().__init__(tape, _STEPS)
        self.element = "f32"
        self.dynamic = False

    def argument_shape(self, k: int) -> tuple[int, ...]:
        """Heads, rows, terms."""
        return (self.tape.pick((1, 2, 4, 3)), self.tape.pick(_ROWS), self.tape.pick(_TERMS))

    def attention(self) -> None:
        """Of a value at hand, with keys and values that are that too or constant."""
        tape = self.tape
        q = self.any_value(rank=3)
        heads, rows, width = q.shape
        if 0 in q.shape:
            return self.elementwise()
        causal = tape.chance(35)
        keys = rows if causal else tape.pick(_ROWS)
        k = self.other((heads, keys, width))
        v = self.other((heads, keys, tape.pick((width, *_TERMS))))
        inputs = [q, k, v]
        if tape.chance(50):
            groups = tape.pick([g for g in (1, 2, heads) if heads % g == 0])
            inputs.append(self.weight((groups, tape.pick((1, rows)), keys), tape.pick(("i1", "f32"))))
        shape = (heads, rows, v.shape[2])
        t = tensor(shape, "f32")
        names = ", ".join([*(x.name for x in inputs), self.empty(shape, "f32")])
        types = ", ".join([*(x.type for x in inputs), t])
        attributes = f"{{scale = {tape.pick(_SCALES)} : f32{', causal' if causal else ''}}}"
        name = self.out.value(f'"linalg_ext.attention"({names}) {attributes} : ({types}) -> {t}')
        self.add("attention", name, shape, "f32", q)

    def other(self, shape: tuple[int, ...]) -> Value:
        """A value of this shape."""
        found = [x for x in self.values if x.shape == shape and x.element == "f32"]
        return self.tape.pick(found[::-1]) if found and self.tape.chance(40) else self.weight(shape, "f32")


def attention(tape: Tape) -> Program:
    """On buffers, before it is written as loops."""
    return lower(AttentionGenerator(tape).program(), names_before("expand-attention"))


def attention_kernels(tape: Tape) -> Program:
    """As kernels on tensors, before buffers."""
    return lower(AttentionGenerator(tape).program(), names_before("bufferize"))


def attention_groups(tape: Tape) -> Program:
    """Before kernels are formed."""
    return lower(AttentionGenerator(tape).program(), names_before("linalg-form-kernels"))
