"""Random programs on tensors, full of aliasing traps, from a tape of bytes: every tape is a valid program.

Values are reused as destinations, sliced, inserted into arguments and constants, inserted twice, carried through loops
and branches, and returned more than once. `in_kernel`: everything inside one kernel; otherwise calls of small kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fuzz.tape import Tape
from mlc.testing.program import Program, build

Shape = tuple[int, ...]
DYN = -1


@dataclass(frozen=True)
class Value:
    """An SSA name and the static sizes of its tensor; `dynamic`: its first dim is `?` in the type."""

    name: str
    shape: Shape
    dynamic: bool = False

    @property
    def type(self) -> str:
        dims = ["?" if self.dynamic and i == 0 else str(d) for i, d in enumerate(self.shape)]
        return f"tensor<{'x'.join([*dims, 'f32'])}>"


def _maps(*maps: str, rank: int) -> str:
    dims = ", ".join(f"d{i}" for i in range(rank))
    return "[" + ", ".join(f"affine_map<({dims}) -> ({m})>" for m in maps) + "]"


def _identity(rank: int) -> str:
    return ", ".join(f"d{i}" for i in range(rank))


class ByteTape(Tape):
    """One byte per decision, however few the choices: a change of one byte changes one decision."""

    def below(self, n: int) -> int:
        return self.byte() % n


@dataclass
class AliasingGenerator:
    """Text of a module with `@forward`, and the shapes of its inputs."""

    tape: Tape
    in_kernel: bool
    dynamic: bool
    lines: list[str] = field(default_factory=list)
    kernels: dict[str, str] = field(default_factory=dict)
    values: list[Value] = field(default_factory=list)
    inputs: list[Value] = field(default_factory=list)
    count: int = 0
    indent: str = "  "

    # --- pieces ---

    def name(self) -> str:
        self.count += 1
        return f"%v{self.count}"

    def line(self, text: str) -> None:
        self.lines.append(self.indent + text)

    def size(self, v: Value) -> str:
        """First dim of a dynamic value, as an SSA name."""
        n = self.name()
        self.line(f"{n} = tensor.dim {v.name}, %c0 : {v.type}")
        return n

    def empty(self, like: Value, rows: Value | None = None) -> Value:
        """An empty tensor of the shape of `like`; `rows` gives its dynamic dim when `like` is no value yet."""
        size = self.size(rows or like) if like.dynamic else ""
        n = self.name()
        self.line(f"{n} = tensor.empty({size}) : {like.type}")
        return Value(n, like.shape, like.dynamic)

    def choose(self, values: Sequence[Value]) -> Value:
        """A value, more often a recent one: those lie in memory that may be written over."""
        return self.tape.pick(values[-3:] if self.tape.below(3) else values)

    def same_shape(self, v: Value) -> Value:
        return self.choose([w for w in self.values if w.shape == v.shape and w.dynamic == v.dynamic] or [v])

    def destination(self, like: Value) -> Value:
        """Where a result of the shape of `like` is written: fresh, a live value, or a slice of one."""
        kind = self.tape.below(8)
        if kind < 3:
            return self.empty(like)
        same = [w for w in self.values if w.shape == like.shape and w.dynamic == like.dynamic]
        if kind < 6 and same:
            return self.choose(same)
        larger = [
            w
            for w in self.values
            if len(w.shape) == len(like.shape)
            and w.dynamic == like.dynamic
            and all(a >= b for a, b in zip(w.shape, like.shape, strict=True))
        ]
        return self.slice_of(self.choose(larger), like.shape) if larger else self.empty(like)

    # --- computing ops ---

    def generic(self, ins: list[Value], out: Value, maps: list[str], expr: str, *, uses_out: bool = False) -> str:
        """A linalg.generic over the loops of `out` (all parallel); `expr` names block arguments %a, %b, %o."""
        rank = len(out.shape)
        n = self.name()
        iterators = ", ".join(['"parallel"'] * rank)
        args = ", ".join(f"%{'ab'[i]}: f32" for i in range(len(ins)))
        self.line(f"{n} = linalg.generic {{indexing_maps = {_maps(*maps, rank=rank)}, iterator_types = [{iterators}]}}")
        operands = ", ".join(v.name for v in ins)
        types = ", ".join(v.type for v in ins)
        self.line(f"  ins({operands} : {types}) outs({out.name} : {out.type}) {{")
        self.line(f"^bb0({args}, %o: f32):")
        self.line(f"  {expr}")
        self.line("  linalg.yield %y : f32")
        self.line(f"}} -> {out.type}")
        return n

    def compute(self, kind: str, args: list[Value], out: Value) -> Value:
        """One computation, inline or as a call of a kernel."""
        if self.in_kernel:
            return Value(self.body(kind, args, out), out.shape, out.dynamic)
        key = "_".join([kind, *("x".join(map(str, v.shape)) + "d" * v.dynamic for v in (*args, out))])
        if key not in self.kernels:
            outer = self.lines, self.indent
            self.lines, self.indent = [], "  "
            params = [Value(f"%p{i}", v.shape, v.dynamic) for i, v in enumerate(args)]
            dest = Value("%out", out.shape, out.dynamic)
            self.line("%c0 = arith.constant 0 : index")
            result = self.body(kind, params, dest)
            self.line(f"return {result} : {dest.type}")
            signature = ", ".join(f"{v.name}: {v.type}" for v in (*params, dest))
            head = f"func.func private @{key}({signature}) -> {dest.type} attributes {{kernel}} {{"
            self.kernels[key] = "\n".join([head, *self.lines, "}"])
            self.lines, self.indent = outer
        n = self.name()
        operands = [*args, out]
        types = ", ".join(v.type for v in operands)
        self.line(f"{n} = func.call @{key}({', '.join(v.name for v in operands)}) : ({types}) -> {out.type}")
        return Value(n, out.shape, out.dynamic)

    def body(self, kind: str, args: list[Value], out: Value) -> str:
        rank = len(out.shape)
        same = _identity(rank)
        match kind:
            case "add":
                return self.generic(args, out, [same] * 3, "%y = arith.addf %a, %b : f32")
            case "twice":  # a root and an epilogue that reads root and argument
                root = self.generic(args[:1], self.empty(out), [same] * 2, "%y = arith.mulf %a, %a : f32")
                mid = Value(root, out.shape, out.dynamic)
                return self.generic([mid, args[1]], out, [same] * 3, "%y = arith.subf %a, %b : f32")
            case "accumulate":
                return self.generic(args, out, [same] * 2, "%y = arith.addf %a, %o : f32", uses_out=True)
            case "transpose":
                return self.generic(args, out, ["d1, d0", same], "%y = arith.negf %a : f32")
            case "first":  # every element reads the first of its row
                first = ", ".join([*(f"d{i}" for i in range(rank - 1)), "0"])
                return self.generic(args, out, [first, same, same], "%y = arith.addf %a, %b : f32")
            case "fill":
                z, n = self.name(), self.name()
                self.line(f"{z} = arith.constant 7.0 : f32")
                self.line(f"{n} = linalg.fill ins({z} : f32) outs({out.name} : {out.type}) -> {out.type}")
                return n
            case _:
                raise AssertionError(kind)

    def step_compute(self) -> None:
        a = self.choose(self.values)
        kind = self.tape.pick(["add", "twice", "accumulate", "transpose", "first", "fill", "add"])
        out = a
        if kind == "transpose":
            if len(a.shape) != 2 or a.dynamic:
                return
            out = Value("", (a.shape[1], a.shape[0]))
        args = {"fill": 0, "accumulate": 1, "transpose": 1}.get(kind, 2)
        operands = [a, self.same_shape(a)][:args]
        dest = self.same_shape(a) if kind == "accumulate" else self.destination(out)  # it reads what is there
        self.values.append(self.compute(kind, operands, dest))

    # --- views ---

    def box(self, shape: Shape, small: Shape) -> tuple[list[int], list[int]]:
        offsets, strides = [], []
        for full, part in zip(shape, small, strict=True):
            stride = 2 if part > 1 and (part - 1) * 2 < full and self.tape.below(4) == 0 else 1
            offsets.append(self.tape.below(full - (part - 1) * stride if part else full + 1))
            strides.append(stride)
        return offsets, strides

    def slice_of(self, v: Value, small: Shape) -> Value:
        offsets, strides = self.box(v.shape, small)
        sizes: list[object] = list(small)
        if v.dynamic:
            sizes[0], offsets[0], strides[0] = self.size(v), 0, 1
        out = Value(self.name(), small, v.dynamic)
        self.line(
            f"{out.name} = tensor.extract_slice {v.name}{offsets} {_list(sizes)} {strides} : {v.type} to {out.type}"
        )
        return out

    def step_slice(self) -> None:
        v = self.choose(self.values)
        small = tuple(d if v.dynamic and i == 0 else 1 + self.tape.below(d) if d else 0 for i, d in enumerate(v.shape))
        self.values.append(self.slice_of(v, small))

    def step_insert(self) -> None:
        source = self.choose(self.values)
        larger = [
            w
            for w in self.values
            if len(w.shape) == len(source.shape)
            and w.dynamic == source.dynamic
            and all(a >= b for a, b in zip(w.shape, source.shape, strict=True))
        ]
        dest = self.choose(larger)
        offsets, strides = self.box(dest.shape, source.shape)
        sizes: list[object] = list(source.shape)
        if source.dynamic:
            sizes[0], offsets[0], strides[0] = self.size(source), 0, 1
        out = Value(self.name(), dest.shape, dest.dynamic)
        text = f"{offsets} {_list(sizes)} {strides} : {source.type} into {dest.type}"
        self.line(f"{out.name} = tensor.insert_slice {source.name} into {dest.name}{text}")
        self.values.append(out)

    def step_reshape(self) -> None:
        v = self.choose(self.values)
        if len(v.shape) == 2 and not v.dynamic:
            out = Value(self.name(), (v.shape[0] * v.shape[1],))
            self.line(f"{out.name} = tensor.collapse_shape {v.name} [[0, 1]] : {v.type} into {out.type}")
        elif len(v.shape) == 2 and v.shape[1] % 2 == 0:
            out = Value(self.name(), (v.shape[0], v.shape[1] // 2, 2), dynamic=True)
            shape = _list([self.size(v), v.shape[1] // 2, 2])
            reshape = f"tensor.expand_shape {v.name} [[0], [1, 2]] output_shape {shape}"
            self.line(f"{out.name} = {reshape} : {v.type} into {out.type}")
        elif len(v.shape) == 1 and v.shape[0] % 2 == 0 and v.shape[0]:
            out = Value(self.name(), (2, v.shape[0] // 2))
            shape = list(out.shape)
            self.line(
                f"{out.name} = tensor.expand_shape {v.name} [[0, 1]] output_shape {shape} : {v.type} into {out.type}"
            )
        elif len(v.shape) == 3:
            out = Value(self.name(), (v.shape[0], v.shape[1] * v.shape[2]), v.dynamic)
            self.line(f"{out.name} = tensor.collapse_shape {v.name} [[0], [1, 2]] : {v.type} into {out.type}")
        else:
            return
        self.values.append(out)

    def step_concat(self) -> None:
        """Two values written side by side into a fresh tensor, one of them possibly straight from its producer."""
        a = self.choose(self.values)
        b = self.same_shape(a)
        if len(a.shape) != 2:
            return
        base = self.empty(Value("", (a.shape[0], a.shape[1] * 2), a.dynamic), a)
        current = base
        for k, part in enumerate((a, b)):
            if self.tape.below(2):
                part = self.compute("twice", [part, b], self.empty(part))
                self.values.append(part)
            sizes = [self.size(a) if a.dynamic else a.shape[0], a.shape[1]]
            box = f"[0, {k * a.shape[1]}] {_list(sizes)} [1, 1] : {part.type} into {base.type}"
            out = Value(self.name(), base.shape, base.dynamic)
            self.line(f"{out.name} = tensor.insert_slice {part.name} into {current.name}{box}")
            current = out
        self.values.append(current)

    # --- control flow ---

    def step_if(self) -> None:
        v = self.choose(self.values)
        results: list[str] = []
        condition = self.name()
        self.line(f"{condition} = arith.constant {'true' if self.tape.below(2) else 'false'}")
        out = Value(self.name(), v.shape, v.dynamic)
        self.line(f"{out.name} = scf.if {condition} -> ({v.type}) {{")
        for last in (False, True):
            outer, self.indent = list(self.values), self.indent + "  "
            self.block(1 + self.tape.below(2))
            results.append(self.same_shape(v).name)
            self.line(f"scf.yield {results[-1]} : {v.type}")
            self.values, self.indent = outer, self.indent[:-2]
            self.line("}" if last else "} else {")
        self.values.append(out)

    def step_for(self) -> None:
        a = self.choose(self.values)
        b = self.same_shape(a)
        n = self.name()
        arg_a, arg_b = Value(self.name(), a.shape, a.dynamic), Value(self.name(), a.shape, a.dynamic)
        bound = self.tape.pick(["%c3", "%c0", "%c2", "%c3"])
        self.line(
            f"{n}:2 = scf.for %i{n[1:]} = %c0 to {bound} step %c1 "
            f"iter_args({arg_a.name} = {a.name}, {arg_b.name} = {b.name}) -> ({a.type}, {a.type}) {{"
        )
        outer, self.indent = list(self.values), self.indent + "  "
        self.values += [arg_a, arg_b, arg_a, arg_b]
        self.block(1 + self.tape.below(4))
        x, y = self.same_shape(arg_a), self.same_shape(arg_a)
        self.line(f"scf.yield {x.name}, {y.name} : {a.type}, {a.type}")
        self.values, self.indent = outer, self.indent[:-2]
        self.line("}")
        self.values += [Value(f"{n}#0", a.shape, a.dynamic), Value(f"{n}#1", a.shape, a.dynamic)]

    def step_while(self) -> None:
        a = self.choose(self.values)
        n, i, arg, forwarded = (self.name() for _ in range(4))
        j, less, more = (self.name() for _ in range(3))
        bound = self.tape.pick(["%c3", "%c0", "%c2"])
        self.line(f"{n}:2 = scf.while ({arg} = {a.name}, {i} = %c0) : ({a.type}, index) -> ({a.type}, index) {{")
        outer, self.indent = list(self.values), self.indent + "  "
        self.values += [Value(arg, a.shape, a.dynamic)] * 2
        self.block(self.tape.below(2))
        sent = self.same_shape(Value(arg, a.shape, a.dynamic))
        self.line(f"{less} = arith.cmpi slt, {i}, {bound} : index")
        self.line(f"scf.condition({less}) {sent.name}, {i} : {a.type}, index")
        self.values, self.indent = list(outer), self.indent[:-2]
        self.line("} do {")
        self.line(f"^bb0({forwarded} : {a.type}, {j} : index):")
        self.indent += "  "
        self.values += [Value(forwarded, a.shape, a.dynamic)] * 2
        self.block(self.tape.below(2))
        back = self.same_shape(Value(forwarded, a.shape, a.dynamic))
        self.line(f"{more} = arith.addi {j}, %c1 : index")
        self.line(f"scf.yield {back.name}, {more} : {a.type}, index")
        self.values, self.indent = outer, self.indent[:-2]
        self.line("}")
        self.values.append(Value(f"{n}#0", a.shape, a.dynamic))

    def block(self, steps: int) -> None:
        for _ in range(steps):
            kind = self.tape.below(20)
            if kind < 8:
                self.step_compute()
            elif kind < 10:
                self.step_slice()
            elif kind < 13:
                self.step_insert()
            elif kind < 15:
                self.step_reshape()
            elif kind < 17:
                self.step_concat()
            elif len(self.indent) < 6:
                (self.step_if, self.step_for, self.step_while)[kind - 17]()


def _list(items: Sequence[object]) -> str:
    return "[" + ", ".join(map(str, items)) + "]"


def make_program(data: bytes, *, in_kernel: bool, dynamic: bool) -> AliasingGenerator:
    """The program of a tape."""
    return _generate(ByteTape(data), in_kernel=in_kernel, dynamic=dynamic)


def aliasing_kernels(tape: Tape) -> Program:
    """@forward and its kernels, before buffers."""
    seed = tape.byte()
    p = _generate(tape, in_kernel=tape.chance(50), dynamic=tape.chance(30))
    weights = {"w": np.random.default_rng(seed).integers(-4, 5, (4, 4)).astype(np.float32)}
    return build("\n".join(p.lines), weights=weights, seed=seed, features=("dynamic",) if p.dynamic else ())


def _generate(tape: Tape, *, in_kernel: bool, dynamic: bool) -> AliasingGenerator:
    p = AliasingGenerator(tape, in_kernel, dynamic)
    rows = 3
    shapes = [(rows, 4), (rows, 4), (rows, 2)] if dynamic else [(4, 4), (4, 4), (2, 4)]
    p.inputs = [Value(f"%x{i}", s, dynamic) for i, s in enumerate(shapes)]
    constant = Value("%w", (4, 4))
    p.values = [*p.inputs, constant]
    if dynamic:  # one dynamic input: two `?` are never known to be equal
        p.inputs = p.inputs[:1]
        p.values = [*p.inputs, constant]
        p.values += [p.slice_of(p.inputs[0], (rows, 2)), p.compute("add", [p.inputs[0]] * 2, p.empty(p.inputs[0]))]
    for _ in range(2):
        fresh = p.choose(p.values)
        p.values.append(p.compute("twice", [fresh, p.same_shape(fresh)], p.empty(fresh)))
    steps = 3 + p.tape.below(8)
    p.block(steps)
    results = [p.tape.pick(p.values[:-7:-1]) for _ in range(1 + p.tape.below(3))]
    indices = [f"  %c{i} = arith.constant {i} : index" for i in range(4)]
    weight = "  %w = arith.constant dense_resource<w> : tensor<4x4xf32>"
    types = ", ".join(v.type for v in results)
    returned = f"  return {', '.join(v.name for v in results)} : {types}"
    params = ", ".join(f"{v.name}: {v.type}" for v in p.inputs)
    if not in_kernel:
        head = f"func.func @forward({params}) -> ({types}) {{"
        p.lines = [head, *indices, weight, *p.lines, returned, "}", *p.kernels.values()]
        return p
    outs = [Value(f"%out{i}", v.shape, v.dynamic) for i, v in enumerate(results)]
    all_params = ", ".join([params, "%w: tensor<4x4xf32>", *(f"{v.name}: {v.type}" for v in outs)])
    kernel = [
        f"func.func private @k({all_params}) -> ({types}) attributes {{kernel}} {{",
        *indices,
        *p.lines,
        returned,
        "}",
    ]
    body: list[str] = [f"func.func @forward({params}) -> ({types}) {{", weight, *indices]
    for v in outs:
        size = ""
        if v.dynamic:
            body.append(f"  {v.name}n = tensor.dim %x0, %c0 : {p.inputs[0].type}")
            size = f"{v.name}n"
        body.append(f"  {v.name} = tensor.empty({size}) : {v.type}")
    operands = [*p.inputs, constant, *outs]
    names = ", ".join(v.name for v in operands)
    operand_types = ", ".join(v.type for v in operands)
    body.append(f"  %r:{len(outs)} = func.call @k({names}) : ({operand_types}) -> ({types})")
    body.append("  return " + ", ".join(f"%r#{i}" for i in range(len(outs))) + f" : {types}")
    p.lines = [*body, "}", *kernel]
    return p
