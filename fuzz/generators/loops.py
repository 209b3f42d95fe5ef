"""Kernels of the loops level: scf over vector, memref and scalar ops, every access in bounds by construction.

Loop bounds come from buffer sizes (0, 1, 2, around the vector width), indices are masked or clamped, integers of
several widths, vectors loaded, shuffled, reduced, masked; conditions, while loops with a counter, asserts that hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fuzz.generators.bodies import constant, is_float, scalar_op
from fuzz.generators.text import Lines, memref
from fuzz.tape import Tape
from mlc.testing.program import Program, build

LANES = (4, 8, 16, 2, 1)
ELEMENTS = ("f32", "f32", "f32", "f64", "i32", "i64", "i8", "f16")


@dataclass
class Memory:
    """A memref argument."""

    name: str
    sizes: tuple[int, ...]
    element: str
    type: str


@dataclass
class Scope:
    """Names in reach: scalars by type, vectors by type, induction variables with their bounds."""

    scalars: dict[str, list[str]] = field(default_factory=dict)
    vectors: dict[str, list[str]] = field(default_factory=dict)
    indices: list[tuple[str, int]] = field(default_factory=list)

    def inner(self) -> Scope:
        """A copy for a nested region."""
        return Scope(
            {k: list(v) for k, v in self.scalars.items()},
            {k: list(v) for k, v in self.vectors.items()},
            list(self.indices),
        )


class LoopGenerator:
    """One kernel."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.out = Lines()
        self.features: list[str] = []
        self.seed = tape.byte()
        self.element = tape.pick(ELEMENTS)
        self.lanes = tape.pick(LANES)
        self.constants: dict[int, str] = {}
        self.functions = is_float(self.element)

    def program(self) -> Program:
        """Arguments, then statements."""
        tape = self.tape
        sizes = [(tape.pick((3, 1, 0, 2, 5)), tape.pick((4, 16, 17, 8, 33)))]
        sizes += [(tape.pick((4, 16, 17, 8, 33)),) for _ in range(2)]
        self.memory = [Memory(f"%m{k}", s, self.element, self.layout(s)) for k, s in enumerate(sizes)]
        for n in (0, 1, 2, 3, *(d for m in self.memory for d in m.sizes), self.lanes):
            self.index(n)
        scope = Scope()
        scope.scalars[self.element] = ["%s0", constant(tape, self.out, self.element)]
        for _ in range(tape.between(1, 4)):
            self.statement(scope, 0)
        arguments = ", ".join([*(f"{m.name}: {m.type}" for m in self.memory), f"%s0: {self.element}"])
        text = (
            f"func.func private @kernel({arguments}) attributes {{kernel}} {{\n{self.out.text()}\n  func.return\n}}\n"
        )
        held = {k: m.sizes for k, m in enumerate(self.memory)}
        return build(text, entry="kernel", seed=self.seed, features=tuple(self.features), sizes=held)

    def layout(self, sizes: tuple[int, ...]) -> str:
        """Dense, or rows with a gap."""
        if len(sizes) == 2 and self.tape.chance(30):
            return memref(sizes, self.element, f"strided<[{sizes[1] + 3}, 1], offset: ?>")
        return memref([-1 if self.tape.chance(15) else n for n in sizes], self.element)

    def index(self, n: int) -> str:
        """An index constant, made once at the top."""
        if n not in self.constants:
            self.constants[n] = self.out.value(f"arith.constant {n} : index")
        return self.constants[n]

    def statement(self, scope: Scope, depth: int) -> None:
        """One of the kinds; deeper ones are simpler."""
        kinds = ["scalar", "store", "lanewise", "row"]
        if depth < 3:
            kinds += ["loop", "reduce_loop", "branch", "parallel", "loop", "whilst", "check"]
        getattr(self, self.tape.pick(kinds))(scope, depth)

    # --- scalars

    def scalar(self, scope: Scope, depth: int) -> None:
        """Arithmetic on what is at hand, sometimes through another type."""
        names = scope.scalars[self.element]
        r = scalar_op(self.tape, self.out, names, self.element, functions=self.functions)
        if self.tape.chance(20):
            r = self.cast_round_trip(r)
        names.append(r)
        self.features.append("scalar")

    def cast_round_trip(self, r: str) -> str:
        """To another type and back."""
        e = self.element
        match e:
            case "f32":
                return self.out.value(f"arith.truncf {self.out.value(f'arith.extf {r} : f32 to f64')} : f64 to f32")
            case "f16":
                return self.out.value(f"arith.truncf {self.out.value(f'arith.extf {r} : f16 to f32')} : f32 to f16")
            case "i32" | "i8":
                kind = self.tape.pick(("extsi", "extui"))
                return self.out.value(f"arith.trunci {self.out.value(f'arith.{kind} {r} : {e} to i64')} : i64 to {e}")
            case "i64":
                return self.out.value(f"arith.extsi {self.out.value(f'arith.trunci {r} : i64 to i32')} : i32 to i64")
            case _:
                return r

    # --- memory

    def place(self, scope: Scope, m: Memory) -> list[str] | None:
        """Indices inside a buffer: constants or induction variables small enough."""
        out: list[str] = []
        for n in m.sizes:
            fitting = [name for name, high in scope.indices if high <= n]
            if fitting and self.tape.chance(70):
                out.append(self.tape.pick(fitting[::-1]))
            elif n > 0:
                out.append(self.index_here(self.tape.below(min(n, 4))))
            else:
                return None
        return out

    def index_here(self, n: int) -> str:
        """A constant that may not exist yet: then made on the spot."""
        return self.constants[n] if n in self.constants else self.out.value(f"arith.constant {n} : index")

    def store(self, scope: Scope, depth: int) -> None:
        """Load, change, store."""
        m = self.tape.pick(self.memory)
        at = self.place(scope, m)
        if at is None:
            return
        where = f"{m.name}[{', '.join(at)}] : {m.type}"
        scope.scalars[self.element].append(self.out.value(f"memref.load {where}"))
        self.scalar(scope, depth)
        self.out.emit(f"memref.store {scope.scalars[self.element][-1]}, {where}")
        self.features.append("store")

    # --- vectors

    def row(self, scope: Scope, depth: int) -> None:
        """Walk a buffer's last dimension a vector at a time, the rest by mask."""
        m = self.tape.pick(self.memory)
        n, lanes = m.sizes[-1], self.lanes
        lead: list[str] = []
        for d in m.sizes[:-1]:
            if d == 0:
                return
            lead.append(self.index_here(self.tape.below(min(d, 3))))
        whole = n - n % lanes
        end = self.index_here(whole)
        width = self.index_here(lanes)
        i = self.out.name()
        self.out.emit(f"scf.for {i} = {self.index_here(0)} to {end} step {width} {{")
        self.out.depth += 1
        inner = scope.inner()
        where = f"{m.name}[{', '.join([*lead, i])}] : {m.type}, {self.vector_type}"
        inner.vectors.setdefault(self.vector_type, []).append(self.out.value(f"vector.load {where}"))
        for _ in range(self.tape.between(1, 3)):
            self.vector_op(inner)
        self.out.emit(f"vector.store {inner.vectors[self.vector_type][-1]}, {where}")
        self.out.depth -= 1
        self.out.emit("}")
        if n % lanes:
            self.masked_rest(scope, m, lead, end, n % lanes)
        self.features.append("row")

    def masked_rest(self, scope: Scope, m: Memory, lead: list[str], start: str, count: int) -> None:
        """The lanes that are left."""
        mask_type = f"vector<{self.lanes}xi1>"
        mask = self.out.value(f"vector.create_mask {self.index_here(count)} : {mask_type}")
        zero = constant(self.tape, self.out, self.element)
        passed = self.out.value(f"vector.broadcast {zero} : {self.element} to {self.vector_type}")
        where = f"{m.name}[{', '.join([*lead, start])}], {mask}"
        x = self.out.value(
            f"vector.maskedload {where}, {passed} : {m.type}, {mask_type}, {self.vector_type} into {self.vector_type}"
        )
        inner = scope.inner()
        inner.vectors.setdefault(self.vector_type, []).append(x)
        self.vector_op(inner)
        y = inner.vectors[self.vector_type][-1]
        self.out.emit(f"vector.maskedstore {where}, {y} : {m.type}, {mask_type}, {self.vector_type}")
        kind = self.tape.pick(("add", "maximumf") if is_float(self.element) else ("add", "maxsi", "xor"))
        r = self.out.value(f"vector.reduction <{kind}>, {y} : {self.vector_type} into {self.element}")
        scope.scalars[self.element].append(r)
        self.features.append("masked")

    def lanewise(self, scope: Scope, depth: int) -> None:
        """A statement on vectors alone."""
        self.vector_op(scope)

    def vector_op(self, scope: Scope) -> None:
        """One op on vectors at hand; a broadcast where there is none."""
        t, e = self.vector_type, self.element
        names = scope.vectors.setdefault(t, [])
        if not names or self.tape.chance(15):
            s = self.tape.pick(scope.scalars[e][::-1])
            names.append(self.out.value(f"vector.broadcast {s} : {e} to {t}"))
        a, b = self.tape.pick(names[::-1]), self.tape.pick(names)
        kinds = ["binary", "fma" if is_float(e) else "binary", "reduction", "extract", "shuffle", "insert", "select"]
        match self.tape.pick(kinds):
            case "fma":
                names.append(self.out.value(f"vector.fma {a}, {b}, {self.tape.pick(names)} : {t}"))
            case "reduction":
                kind = self.tape.pick(
                    ("add", "mul", "maximumf", "minimumf") if is_float(e) else ("add", "xor", "minsi", "maxui")
                )
                acc = f", {self.tape.pick(scope.scalars[e])}" if self.tape.chance(40) else ""
                scope.scalars[e].append(self.out.value(f"vector.reduction <{kind}>, {a}{acc} : {t} into {e}"))
            case "extract":
                k = self.tape.below(self.lanes)
                scope.scalars[e].append(self.out.value(f"vector.extract {a}[{k}] : {e} from {t}"))
            case "insert":
                k = self.tape.below(self.lanes)
                s = self.tape.pick(scope.scalars[e])
                names.append(self.out.value(f"vector.insert {s}, {a} [{k}] : {e} into {t}"))
            case "shuffle":
                mask = [self.tape.below(2 * self.lanes) for _ in range(self.lanes)]
                names.append(self.out.value(f"vector.shuffle {a}, {b} {mask} : {t}, {t}"))
            case "select":
                compare = "arith.cmpf ole," if is_float(e) else "arith.cmpi slt,"
                m = self.out.value(f"{compare} {a}, {b} : {t}")
                names.append(self.out.value(f"arith.select {m}, {a}, {b} : vector<{self.lanes}xi1>, {t}"))
            case _:
                op = self.tape.pick(
                    ("addf", "mulf", "subf", "maximumf", "minimumf", "divf")
                    if is_float(e)
                    else ("addi", "muli", "subi", "xori", "maxsi", "minui")
                )
                names.append(self.out.value(f"arith.{op} {a}, {b} : {t}"))
        self.features.append("vector")

    @property
    def vector_type(self) -> str:
        """The one vector type of the program."""
        return f"vector<{self.lanes}x{self.element}>"

    # --- control flow

    def bounds(self) -> tuple[str, str, str, int]:
        """Lower, upper, step, and what the induction variable stays below."""
        high = self.tape.pick([0, 1, 2, 3, *(d for m in self.memory for d in m.sizes)][::-1])
        low = self.tape.below(3)
        step = self.tape.pick((1, 2, 3))
        return self.index_here(low), self.index_here(high), self.index_here(step), high

    def loop(self, scope: Scope, depth: int) -> None:
        """A counted loop for its effects."""
        low, high, step, limit = self.bounds()
        i = self.out.name()
        self.out.emit(f"scf.for {i} = {low} to {high} step {step} {{")
        self.nested(scope, depth, (i, limit))
        self.out.emit("}")
        self.features.append("for")

    def parallel(self, scope: Scope, depth: int) -> None:
        """One or two parallel loops whose iterations change their own element, some by way of a private buffer."""
        m = self.memory[0]
        dims = 2 if self.tape.chance(60) else 1
        names = [self.out.name() for _ in range(dims)]
        step = self.index_here(self.tape.pick((1, 2)) if dims == 2 else 1)
        bounds = [[self.index_here(0)] * dims, [self.index_here(n) for n in m.sizes[:dims]]]
        steps = [self.index_here(1), step][:dims]
        flat = ", ".join([*bounds[0], *bounds[1], *steps])
        segments = f"array<i32: {dims}, {dims}, {dims}, 0>"
        mine, owned = "", f"memref<3x{self.element}>"
        shared = self.out.value(f"memref.alloca() : {owned}") if self.tape.chance(40) else None
        self.out.emit(f'"scf.parallel"({flat}) <{{operandSegmentSizes = {segments}}}> ({{')
        self.out.emit(f"^bb0({', '.join(f'{n}: index' for n in names)}):")
        self.out.depth += 1
        inner = scope.inner()
        where = f"{m.name}[{names[0]}, {names[1] if dims == 2 else self.index_here(1)}] : {m.type}"
        old = self.out.value(f"memref.load {where}")
        inner.scalars[self.element].append(old)
        if shared is not None:
            mine = self.out.value(f'"linalg_ext.private"({shared}) : ({owned}) -> {owned}')
            self.out.emit(f"memref.store {old}, {mine}[{self.index_here(2)}] : {owned}")
        self.scalar(inner, 3)
        if shared is not None:
            inner.scalars[self.element].append(self.out.value(f"memref.load {mine}[{self.index_here(2)}] : {owned}"))
            self.scalar(inner, 3)
            self.features.append("private")
        self.out.emit(f"memref.store {inner.scalars[self.element][-1]}, {where}")
        self.out.emit("scf.reduce")
        self.out.depth -= 1
        self.out.emit(f"}}) : ({', '.join(['index'] * 3 * dims)}) -> ()")
        self.features.append("parallel")

    def nested(self, scope: Scope, depth: int, variable: tuple[str, int] | None = None) -> Scope:
        """Statements of a region."""
        inner = scope.inner()
        if variable is not None:
            inner.indices.append(variable)
        self.out.depth += 1
        for _ in range(self.tape.between(1, 2)):
            self.statement(inner, depth + 1)
        self.out.depth -= 1
        return inner

    def reduce_loop(self, scope: Scope, depth: int) -> None:
        """A loop that carries a scalar and sometimes a vector."""
        low, high, step, limit = self.bounds()
        e, t = self.element, self.vector_type
        start = self.tape.pick(scope.scalars[e])
        carried = [(self.out.name(), start, e)]
        if scope.vectors.get(t) and self.tape.chance(60):
            carried.append((self.out.name(), self.tape.pick(scope.vectors[t]), t))
        i, result = self.out.name(), self.out.name()
        init = ", ".join(f"{name} = {value}" for name, value, _ in carried)
        types = ", ".join(kind for _, _, kind in carried)
        many = f":{len(carried)}" if len(carried) > 1 else ""
        self.out.emit(f"{result}{many} = scf.for {i} = {low} to {high} step {step} iter_args({init}) -> ({types}) {{")
        inner = scope.inner()
        inner.indices.append((i, limit))
        inner.scalars[e].append(carried[0][0])
        if len(carried) > 1:
            inner.vectors[t].append(carried[1][0])
        self.out.depth += 1
        self.statement(inner, depth + 1)
        self.scalar(inner, depth)
        yielded = [inner.scalars[e][-1]]
        if len(carried) > 1:
            self.vector_op(inner)
            yielded.append(inner.vectors[t][-1])
        self.out.emit(f"scf.yield {', '.join(yielded)} : {types}")
        self.out.depth -= 1
        self.out.emit("}")
        scope.scalars[e].append(f"{result}#0" if many else result)
        if many:
            scope.vectors[t].append(f"{result}#1")
        self.features.append("reduce")

    def branch(self, scope: Scope, depth: int) -> None:
        """An if with results."""
        e = self.element
        a, b = self.tape.pick(scope.scalars[e][::-1]), self.tape.pick(scope.scalars[e])
        kind = self.tape.pick(("olt", "ueq", "ord")) if is_float(e) else self.tape.pick(("slt", "ne", "uge"))
        c = self.out.value(f"arith.{'cmpf' if is_float(e) else 'cmpi'} {kind}, {a}, {b} : {e}")
        result = self.out.name()
        self.out.emit(f"{result} = scf.if {c} -> ({e}) {{")
        for k in range(2):
            inner = self.nested(scope, depth)
            self.out.emit(f"  scf.yield {inner.scalars[e][-1]} : {e}")
            self.out.emit("} else {" if k == 0 else "}")
        scope.scalars[e].append(result)
        self.features.append("if")

    def whilst(self, scope: Scope, depth: int) -> None:
        """A while loop that counts down."""
        n = self.index_here(self.tape.pick((2, 0, 1, 3)))
        zero, one = self.index_here(0), self.index_here(1)
        e = self.element
        result, k, x, k2, x2 = (self.out.name() for _ in range(5))
        start = self.tape.pick(scope.scalars[e])
        self.out.emit(f"{result}:2 = scf.while ({k} = {n}, {x} = {start}) : (index, {e}) -> (index, {e}) {{")
        self.out.depth += 1
        going = self.out.value(f"arith.cmpi sgt, {k}, {zero} : index")
        self.out.emit(f"scf.condition({going}) {k}, {x} : index, {e}")
        self.out.depth -= 1
        self.out.emit("} do {")
        self.out.emit(f"^bb0({k2}: index, {x2}: {e}):")
        self.out.depth += 1
        inner = scope.inner()
        inner.scalars[e].append(x2)
        self.scalar(inner, depth)
        left = self.out.value(f"arith.subi {k2}, {one} : index")
        self.out.emit(f"scf.yield {left}, {inner.scalars[e][-1]} : index, {e}")
        self.out.depth -= 1
        self.out.emit("}")
        scope.scalars[e].append(f"{result}#1")
        self.features.append("while")

    def check(self, scope: Scope, depth: int) -> None:
        """An assertion that holds."""
        zero = self.index_here(0)
        names = [name for name, _ in scope.indices] or [zero]
        c = self.out.value(f"arith.cmpi sge, {self.tape.pick(names)}, {zero} : index")
        self.out.emit(f'cf.assert {c}, "index is negative"')
        self.features.append("assert")


def loop_kernel(tape: Tape) -> Program:
    """One kernel of loops, vectors and scalars."""
    return LoopGenerator(tape).program()
