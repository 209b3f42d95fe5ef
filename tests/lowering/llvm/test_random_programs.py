"""Random programs over scalars, vectors, memory, loops and conditions: native code and interpreter agree bit for bit.

A tape of bytes is read by a generator that always gives a valid program without undefined behaviour, so shrinking the
tape shrinks the program.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlc.backends.llvm.testing import compile_functions
from mlc.interp import run_function
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text

SIZE = 16
CTX = make_context()

FLOAT_BINARY = ("addf", "subf", "mulf", "divf", "maximumf", "minimumf")
INT_BINARY = ("addi", "subi", "muli", "andi", "ori", "xori", "minsi", "maxsi", "minui", "maxui")
INT_DIVISION = ("divui", "remui", "divsi", "remsi", "floordivsi", "ceildivsi", "ceildivui")
FLOAT_UNARY = ("arith.negf", "math.absf", "math.sqrt", "math.floor", "math.ceil", "math.roundeven", "math.trunc")
VECTORS = {"vector<4xf32>": "f32", "vector<4xi32>": "i32", "vector<2x4xf32>": "f32"}


class Program:
    """Text of one function; values in scope by type."""

    def __init__(self, tape: bytes) -> None:
        self.tape = tape
        self.at = 0
        self.lines: list[str] = []
        self.count = 0
        self.scopes: list[dict[str, list[str]]] = [{}]

    def draw(self, n: int) -> int:
        if self.at >= len(self.tape):
            return 0
        self.at += 1
        return self.tape[self.at - 1] % n

    def pick(self, items):
        return items[self.draw(len(items))]

    def emit(self, ty: str, text: str) -> str:
        name = f"%v{self.count}"
        self.count += 1
        self.lines.append(f"{name} = {text}")
        self.scopes[-1].setdefault(ty, []).append(name)
        return name

    def value(self, ty: str) -> str:
        known = [v for scope in self.scopes for v in scope.get(ty, [])]
        if known and self.draw(4):
            return known[-1 - self.draw(len(known))]
        if ty in VECTORS:
            return self.emit(ty, f"vector.broadcast {self.value(VECTORS[ty])} : {VECTORS[ty]} to {ty}")
        if ty == "i1":
            return self.emit("i1", f"arith.cmpi slt, {self.value('i32')}, {self.value('i32')} : i32")
        constants = {
            "f32": ("0.0", "-0.0", "1.5", "-3.25", "1.0e30", "0x7F800000", "0x7FC00000", "1.0e-42"),
            "i32": ("0", "1", "-1", "7", "2147483647", "-2147483648", "31", "100"),
            "index": ("0", "1", "3", "7", "-2", "12"),
        }[ty]
        return self.emit(ty, f"arith.constant {self.pick(constants)} : {ty}")

    def place(self, room: int) -> str:
        """An index below `room`."""
        bound = self.emit("index", f"arith.constant {room} : index")
        return self.emit("index", f"arith.remui {self.value('index')}, {bound} : index")

    def statement(self, depth: int) -> None:
        match self.draw(16 if depth < 3 else 13):
            case 0 | 1:
                ty = self.pick(("f32", "vector<4xf32>", "vector<2x4xf32>"))
                self.emit(ty, f"arith.{self.pick(FLOAT_BINARY)} {self.value(ty)}, {self.value(ty)} : {ty}")
            case 2:
                ty = self.pick(("i32", "vector<4xi32>", "index"))
                self.emit(ty, f"arith.{self.pick(INT_BINARY)} {self.value(ty)}, {self.value(ty)} : {ty}")
            case 3:
                ty = self.pick(("i32", "index"))
                seven = self.emit(ty, f"arith.constant 7 : {ty}")
                one = self.emit(ty, f"arith.constant 1 : {ty}")
                low = self.emit(ty, f"arith.andi {self.value(ty)}, {seven} : {ty}")
                divisor = self.emit(ty, f"arith.addi {low}, {one} : {ty}")
                self.emit(ty, f"arith.{self.pick(INT_DIVISION)} {self.value(ty)}, {divisor} : {ty}")
            case 4:
                ty = self.pick(("f32", "vector<4xf32>", "vector<2x4xf32>"))
                self.emit(ty, f"{self.pick(FLOAT_UNARY)} {self.value(ty)} : {ty}")
            case 5:
                mask = self.emit("i32", "arith.constant 31 : i32")
                amount = self.emit("i32", f"arith.andi {self.value('i32')}, {mask} : i32")
                self.emit("i32", f"arith.{self.pick(('shli', 'shrsi', 'shrui'))} {self.value('i32')}, {amount} : i32")
            case 6:
                ty = self.pick(("f32", "i32", "index", "vector<4xf32>"))
                self.emit(ty, f"arith.select {self.value('i1')}, {self.value(ty)}, {self.value(ty)} : {ty}")
            case 7:
                predicate = self.pick(("olt", "oge", "une", "ueq", "uno", "one"))
                self.emit("i1", f"arith.cmpf {predicate}, {self.value('f32')}, {self.value('f32')} : f32")
            case 8:
                if self.draw(2):
                    self.emit("f32", f"memref.load %x[{self.place(SIZE)}] : memref<{SIZE}xf32>")
                else:
                    self.emit(
                        "vector<4xf32>", f"vector.load %x[{self.place(SIZE - 3)}] : memref<{SIZE}xf32>, vector<4xf32>"
                    )
            case 9:
                if self.draw(2):
                    self.lines.append(f"memref.store {self.value('i32')}, %n[{self.place(SIZE)}] : memref<{SIZE}xi32>")
                else:
                    vector, at = self.value("vector<4xf32>"), self.place(SIZE - 3)
                    self.lines.append(f"vector.store {vector}, %x[{at}] : memref<{SIZE}xf32>, vector<4xf32>")
            case 10:
                kind = self.pick(("add", "mul", "maximumf", "minimumf"))
                self.emit("f32", f"vector.reduction <{kind}>, {self.value('vector<4xf32>')} : vector<4xf32> into f32")
            case 11:
                wide, row = self.value("vector<2x4xf32>"), self.draw(2)
                self.emit("vector<4xf32>", f"vector.extract {wide}[{row}] : vector<4xf32> from vector<2x4xf32>")
                lane = self.emit("index", f"arith.constant {self.draw(4)} : index")
                self.emit("f32", f"vector.extract {self.value('vector<4xf32>')}[{lane}] : f32 from vector<4xf32>")
            case 12:
                ty = self.pick(("f32", "vector<4xf32>"))
                self.emit(ty, f"math.fma {self.value(ty)}, {self.value(ty)}, {self.value(ty)} : {ty}")
            case 13:
                self.loop(depth)
            case _:
                self.condition(depth)

    def block(self, depth: int, types: list[str], arguments: dict[str, list[str]]) -> None:
        self.scopes.append(arguments)
        for _ in range(self.draw(5)):
            self.statement(depth + 1)
        if types:
            values = ", ".join(self.value(t) for t in types)
            self.lines.append(f"scf.yield {values} : {', '.join(types)}")
        self.scopes.pop()

    def types(self) -> list[str]:
        return [self.pick(("f32", "i32", "vector<4xf32>", "index", "vector<2x4xf32>")) for _ in range(self.draw(3))]

    def results(self, types: list[str]) -> tuple[str, list[str]]:
        names = [f"%v{self.count + i}" for i in range(len(types))]
        self.count += len(types)
        return (f"{', '.join(names)} = " if names else ""), names

    def loop(self, depth: int) -> None:
        low, step = (self.emit("index", f"arith.constant {v} : index") for v in (self.draw(3), 1 + self.draw(3)))
        high = self.place(5) if self.draw(2) else self.emit("index", f"arith.constant {self.draw(6)} : index")
        types = self.types()
        inits = [self.value(t) for t in types]
        head, names = self.results(types)
        number = self.count
        self.count += 1
        carried = [f"%c{number}_{i}" for i in range(len(types))]
        iter_args = ", ".join(f"{c} = {v}" for c, v in zip(carried, inits, strict=True))
        clause = f" iter_args({iter_args}) -> ({', '.join(types)})" if types else ""
        self.lines.append(f"{head}scf.for %i{number} = {low} to {high} step {step}{clause} {{")
        arguments: dict[str, list[str]] = {"index": [f"%i{number}"]}
        for name, ty in zip(carried, types, strict=True):
            arguments.setdefault(ty, []).append(name)
        self.block(depth, types, arguments)
        self.lines.append("}")
        for name, ty in zip(names, types, strict=True):
            self.scopes[-1].setdefault(ty, []).append(name)

    def condition(self, depth: int) -> None:
        types = self.types()
        flag = self.value("i1")
        head, names = self.results(types)
        self.lines.append(f"{head}scf.if {flag} {f'-> ({chr(44).join(types)}) ' if types else ''}{{")
        self.block(depth, types, {})
        if types or self.draw(2):
            self.lines.append("} else {")
            self.block(depth, types, {})
        self.lines.append("}")
        for name, ty in zip(names, types, strict=True):
            self.scopes[-1].setdefault(ty, []).append(name)

    def text(self) -> str:
        self.lines = []
        while self.at < len(self.tape):
            self.statement(0)
        zero = self.emit("index", "arith.constant 0 : index")
        self.lines.append(f"memref.store {self.value('f32')}, %x[{zero}] : memref<{SIZE}xf32>")
        self.lines.append(f"memref.store {self.value('i32')}, %n[{zero}] : memref<{SIZE}xi32>")
        arguments = f"%x: memref<{SIZE}xf32>, %n: memref<{SIZE}xi32>"
        return "\n".join([f"func.func @f({arguments}) {{", *self.lines, "func.return", "}"])


def both(text: str, *, opt_level: int = 2) -> None:
    module = parse_text(text, CTX, name="<random>")
    module.verify()
    x = np.linspace(-4, 5, SIZE).astype(np.float32)
    n = np.arange(SIZE, dtype=np.int32) * 3 - 20
    native = [x.copy(), n.copy()]
    compile_functions(module, opt_level=opt_level, ctx=CTX)["f"](*native)
    _, (want_x, want_n) = run_function(module, "f", [x.copy(), n.copy()])
    nan = np.isnan(native[0]) & np.isnan(want_x)
    assert np.array_equal(native[0].view(np.uint32)[~nan], want_x.view(np.uint32)[~nan])
    assert np.array_equal(nan, np.isnan(native[0]))
    assert np.array_equal(native[1], want_n)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.binary(min_size=4, max_size=300))
def test_native_agrees_with_the_interpreter(tape):
    both(Program(tape).text())


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.binary(min_size=40, max_size=160), st.sampled_from([0, 1, 3]))
def test_every_level_agrees(tape, opt_level):
    both(Program(tape).text(), opt_level=opt_level)


def test_programs_are_varied():
    """The generator reaches every kind of statement."""
    rng = np.random.default_rng(0)
    text = "\n".join(Program(rng.integers(0, 256, 160).astype(np.uint8).tobytes()).text() for _ in range(30))
    for word in (
        "scf.for",
        "iter_args",
        "scf.if",
        "else",
        "vector.reduction",
        "math.fma",
        "floordivsi",
        "vector.store",
        "select",
    ):
        assert word in text
