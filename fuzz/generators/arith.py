"""Scalar functions: ints of every width, floats, casts, selects, repeated and dead code: what folding passes meet."""

from __future__ import annotations

from fuzz.generators.bodies import FLOATS, is_float, scalar_op
from fuzz.generators.text import Lines
from fuzz.tape import Tape
from mlc.testing.program import Program, build

TYPES = ("i32", "f32", "i64", "i8", "i1", "f64", "f16", "index")
WIDTH = {"i1": 1, "i8": 8, "i32": 32, "i64": 64, "f16": 16, "f32": 32, "f64": 64}


class ScalarGenerator:
    """A function of scalars."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.out = Lines()
        self.names: dict[str, list[str]] = {}
        self.features: list[str] = []

    def program(self) -> Program:
        """Arguments of several types, ops on them, some results."""
        tape = self.tape
        seed = tape.byte()
        types = [tape.pick(TYPES) for _ in range(tape.between(2, 4))]
        arguments = [f"%a{k}: {t}" for k, t in enumerate(types)]
        for k, t in enumerate(types):
            self.names.setdefault(t, []).append(f"%a{k}")
        for _ in range(tape.between(2, 12)):
            getattr(self, tape.pick(("op", "op", "cast", "compare", "again", "divide", "extremes")))()
        pool = [(name, t) for t, names in self.names.items() for name in names]
        results = [pool[-1 - tape.below(min(8, len(pool)))] for _ in range(tape.between(1, 3))]
        names, kinds = ", ".join(n for n, _ in results), ", ".join(t for _, t in results)
        text = (
            f"func.func @forward({', '.join(arguments)}) -> ({kinds}) {{\n{self.out.text()}\n"
            f"  func.return {names} : {kinds}\n}}\n"
        )
        return build(text, seed=seed, features=tuple(self.features))

    def type(self) -> str:
        """A type of which there is a value."""
        return self.tape.pick(list(self.names))

    def add(self, t: str, name: str, feature: str) -> None:
        self.names.setdefault(t, []).append(name)
        self.features.append(feature)

    def op(self) -> None:
        """Arithmetic."""
        t = self.type()
        if t == "i1" or t == "index" or is_float(t) or t.startswith("i"):
            self.add(t, scalar_op(self.tape, self.out, self.names[t][::-1], t), "op")

    def again(self) -> None:
        """The same op twice, and one of them alone."""
        t = self.type()
        a, b = self.tape.pick(self.names[t][::-1]), self.tape.pick(self.names[t])
        op = "addf" if is_float(t) else "addi"
        for _ in range(2):
            self.add(t, self.out.value(f"arith.{op} {a}, {b} : {t}"), "again")

    def divide(self) -> None:
        """A division by a constant that is not zero."""
        t = self.type()
        if is_float(t) or t == "i1":
            return self.op()
        a = self.tape.pick(self.names[t][::-1])
        b = self.out.value(f"arith.constant {self.tape.pick((2, 1, 3, 7, 16))} : {t}")
        op = self.tape.pick(("divui", "remui", "divsi", "remsi", "floordivsi", "ceildivsi"))
        self.add(t, self.out.value(f"arith.{op} {a}, {b} : {t}"), "divide")

    def extremes(self) -> None:
        """Minima and maxima, signed and not."""
        t = self.type()
        if is_float(t):
            return self.op()
        a, b = self.tape.pick(self.names[t][::-1]), self.tape.pick(self.names[t])
        op = self.tape.pick(("maxsi", "minsi", "maxui", "minui", "andi"))
        self.add(t, self.out.value(f"arith.{op} {a}, {b} : {t}"), "extremes")

    def compare(self) -> None:
        """A comparison, and a select by it."""
        t = self.type()
        a, b = self.tape.pick(self.names[t][::-1]), self.tape.pick(self.names[t])
        if is_float(t):
            c = self.out.value(f"arith.cmpf {self.tape.pick(('olt', 'ueq', 'une', 'ord'))}, {a}, {b} : {t}")
        else:
            c = self.out.value(f"arith.cmpi {self.tape.pick(('slt', 'eq', 'ule', 'sge'))}, {a}, {b} : {t}")
        self.add("i1", c, "compare")
        self.add(t, self.out.value(f"arith.select {c}, {a}, {b} : {t}"), "select")

    def cast(self) -> None:
        """To a type of another width or kind, always defined."""
        t = self.type()
        a = self.tape.pick(self.names[t][::-1])
        if t == "index":
            return self.add("i64", self.out.value(f"arith.index_cast {a} : index to i64"), "index_cast")
        if t in FLOATS:
            to = self.tape.pick([f for f in FLOATS if WIDTH[f] != WIDTH[t]])
            kind = "extf" if WIDTH[to] > WIDTH[t] else "truncf"
            return self.add(to, self.out.value(f"arith.{kind} {a} : {t} to {to}"), kind)
        if self.tape.chance(30):
            to = self.tape.pick(FLOATS)
            kind = self.tape.pick(("sitofp", "uitofp"))
            return self.add(to, self.out.value(f"arith.{kind} {a} : {t} to {to}"), kind)
        to = self.tape.pick([i for i in ("i1", "i8", "i32", "i64") if i != t])
        kind = "trunci" if WIDTH[to] < WIDTH[t] else self.tape.pick(("extsi", "extui"))
        self.add(to, self.out.value(f"arith.{kind} {a} : {t} to {to}"), kind)


def scalar_function(tape: Tape) -> Program:
    """One function of scalars."""
    return ScalarGenerator(tape).program()
