"""Kernels of the buffers level: structured ops on memrefs, strided and dynamic, with fused epilogues.

One root (a contraction, a sliding window, a reduction, a pooling, a copy) over a filled destination, then
elementwise ops that read and write it in place. Loop sizes around the vector width; operands permuted, broadcast,
strided.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from fuzz.generators.bodies import body, is_float
from fuzz.generators.text import Lines, affine, float_literal, memref
from fuzz.tape import Tape
from mlc.testing.program import Program, build

SIZES = (4, 1, 3, 8, 16, 17, 33, 2, 7, 0)
ELEMENTS = ("f32",) * 10 + ("f64", "i32", "f16", "i64")


@dataclass
class Operand:
    """A memref and the affine expressions that reach into it."""

    name: str
    sizes: tuple[int, ...]
    exprs: list[str]
    element: str
    type: str = ""


@dataclass
class Loop:
    """A loop of the nest."""

    size: int
    dynamic: bool = False


@dataclass
class KernelGenerator:
    """One kernel function."""

    roots: ClassVar[tuple[str, ...]] = (
        "contraction", "reduction", "elementwise", "window", "pooling", "copy", "reduction", "copy"
    )  # fmt: skip
    tape: Tape
    out: Lines = field(default_factory=Lines)
    arguments: list[Operand] = field(default_factory=list)
    features: list[str] = field(default_factory=list)

    def program(self) -> Program:
        """Root and epilogues."""
        tape = self.tape
        self.seed = tape.byte()
        self.element = tape.pick(ELEMENTS)
        self.limit = tape.pick((5, 7, 10))
        self.dynamic = tape.chance(15)
        target = getattr(self, tape.pick(self.roots))()
        for _ in range(tape.pick((0, 1, 2, 3))):
            self.epilogue(target)
        signature = ", ".join(f"{a.name}: {a.type}" for a in self.arguments)
        text = (
            f"func.func private @kernel({signature}) attributes {{kernel}} {{\n{self.out.text()}\n  func.return\n}}\n"
        )
        sizes = {k: a.sizes for k, a in enumerate(self.arguments)}
        return build(text, entry="kernel", seed=self.seed, features=tuple(self.features), sizes=sizes)

    # --- arguments

    def argument(self, sizes: tuple[int, ...], exprs: list[str], element: str | None = None) -> Operand:
        """A new memref argument; sometimes strided, sometimes with dynamic dims."""
        name = f"%a{len(self.arguments)}"
        element = element or self.element
        layout = ""
        shown = list(sizes)
        if self.dynamic:
            self.features.append("dynamic-dims")
            shown = [-1 if self.tape.chance(50) else n for n in sizes]
        if sizes and self.tape.chance(25):
            self.features.append("strided")
            strides = self.strides(sizes)
            layout = f"strided<[{', '.join(strides)}], offset: {self.tape.pick(('?', '0', '5'))}>"
        out = Operand(name, sizes, exprs, element, memref(shown, element, layout))
        self.arguments.append(out)
        return out

    def strides(self, sizes: tuple[int, ...]) -> list[str]:
        """Strides with gaps: outer ones grow by a little, the inner one is 1 most of the time."""
        step = self.tape.pick((1, 1, 1, 2))
        out: list[str] = []
        for n in reversed(sizes):
            open_inside = "?" in out  # a stride that is only known at run time leaves those around it open too
            out.append("?" if open_inside or (out and self.tape.chance(15)) else str(step))
            step = step * max(n, 1) + self.tape.pick((0, 0, 3, 16))
        return out[::-1]

    def sizes(self, n: int) -> list[int]:
        return [self.tape.pick(SIZES[: self.limit]) for _ in range(n)]

    def fill(self, target: Operand, value: float) -> None:
        e = target.element
        literal = float_literal(value, e) if is_float(e) else str(int(np.clip(value, -100, 100)))
        z = self.out.value(f"arith.constant {literal} : {e}")
        self.out.emit(f"linalg.fill ins({z} : {e}) outs({target.name} : {target.type})")

    # --- roots

    def generic(
        self, loops: int, kinds: str, inputs: list[Operand], target: Operand, combine: str | None, *, own: bool
    ) -> None:
        """A generic on memrefs; the body folds into the accumulator by `combine`; `own`: reads the target too."""
        maps = [affine(loops, o.exprs) for o in (*inputs, target)]
        quoted = ", ".join('"parallel"' if k == "p" else '"reduction"' for k in kinds)
        types = ", ".join(o.type for o in inputs)
        ins = f" ins({', '.join(o.name for o in inputs)} : {types})" if inputs else ""
        c = self.out.counter
        self.out.counter += 1
        self.out.emit(
            f"linalg.generic {{indexing_maps = [{', '.join(maps)}], iterator_types = [{quoted}]}}"
            f"{ins} outs({target.name} : {target.type}) {{"
        )
        names = [f"%x{k}_{c}" for k in range(len(inputs))]
        acc = f"%acc_{c}"
        args = [f"{n}: {o.element}" for n, o in zip((*names, acc), (*inputs, target), strict=True)]
        self.out.emit(f"^bb0({', '.join(args)}):")
        self.out.depth += 1
        e = target.element
        if combine in ("addf", "addi") and len(names) == 2:
            term = self.out.value(f"arith.mul{combine[-1]} {names[0]}, {names[1]} : {e}")
        else:
            term = body(self.tape, self.out, [*names, acc] if own else names, e)
        if combine is not None:
            pair = f"{acc}, {term}" if self.tape.chance(60) else f"{term}, {acc}"
            term = self.out.value(f"arith.{combine} {pair} : {e}")
        self.out.emit(f"linalg.yield {term} : {e}")
        self.out.depth -= 1
        self.out.emit("}")

    def contraction(self) -> Operand:
        """A sum of products: matmul in its layouts, batched, or with several parallel loops."""
        self.features.append("contraction")
        spec = self.tape.pick(
            ("mk,kn,mn", "mk,nk,mn", "bmk,bkn,bmn", "km,kn,mn", "k,kn,n", "mk,k,m", "mkl,kln,mn", "mk,okp,omp")
        )
        left, right, result = spec.split(",")
        letters = list(dict.fromkeys(result + left + right))
        size = dict(zip(letters, self.sizes(len(letters)), strict=True))
        at = {c: f"d{k}" for k, c in enumerate(letters)}
        kinds = "".join("p" if c in result else "r" for c in letters)
        a, b, o = (self.argument(tuple(size[c] for c in s), [at[c] for c in s]) for s in (left, right, result))
        floats = is_float(self.element)
        self.fill(o, 0.0)
        self.generic(len(letters), kinds, [a, b], o, "addf" if floats else "addi", own=False)
        return self.plain(o)

    def plain(self, o: Operand) -> Operand:
        """The target as later ops see it: identity."""
        return Operand(o.name, o.sizes, [f"d{k}" for k in range(len(o.sizes))], o.element, o.type)

    def reduction(self) -> Operand:
        """A fold of one operand over some loops."""
        self.features.append("reduction")
        sizes = self.sizes(self.tape.pick((2, 1, 3)))
        dropped = self.tape.subset(range(len(sizes))) or [len(sizes) - 1]
        if self.tape.chance(50):  # sums of columns: lanes across results
            sizes, dropped = [self.tape.pick((3, 5, 8)), self.tape.pick((16, 17, 33, 8))], [0]
        kept = [k for k in range(len(sizes)) if k not in dropped]
        order = [kept[k] for k in self.tape.shuffled(len(kept))] if self.tape.chance(20) else kept
        x = self.argument(tuple(sizes), [f"d{k}" for k in range(len(sizes))])
        o = self.argument(tuple(sizes[k] for k in order), [f"d{k}" for k in order])
        floats = is_float(self.element)
        choices = ("addf", "maximumf", "minimumf", "mulf") if floats else ("addi", "maxsi", "minsi", "muli")
        combine = self.tape.pick(choices)
        start = {"maximumf": -np.inf, "minimumf": np.inf, "mulf": 1, "muli": 1, "maxsi": -100, "minsi": 100}.get(
            combine, 0.0
        )
        self.fill(o, start)
        kinds = "".join("r" if k in dropped else "p" for k in range(len(sizes)))
        self.generic(len(sizes), kinds, [x], o, combine, own=False)
        return self.plain(o)

    def elementwise(self) -> Operand:
        """From operands broadcast or transposed to the target; sometimes a single element."""
        self.features.append("elementwise")
        sizes = self.sizes(self.tape.pick((2, 1, 3, 4)))
        if self.tape.chance(55):
            sizes = [1] * len(sizes)
        inputs = [self.reader(sizes, full=k == 0) for k in range(self.tape.between(1, 3))]
        o = self.argument(tuple(sizes), [f"d{k}" for k in range(len(sizes))])
        self.generic(len(sizes), "p" * len(sizes), inputs, o, None, own=False)
        return o

    def reader(self, sizes: list[int], *, full: bool = False) -> Operand:
        """An operand over some of the loops, in some order."""
        dims = list(range(len(sizes))) if full else self.tape.subset(range(len(sizes)))
        order = [dims[k] for k in self.tape.shuffled(len(dims))] if self.tape.chance(30) else dims
        return self.argument(tuple(sizes[k] for k in order), [f"d{k}" for k in order])

    def window(self) -> Operand:
        """A sum over a sliding window: convolutions of one or two dimensions, with stride and dilation."""
        self.features.append("window")
        stride, dilation = self.tape.pick((1, 2, 3)), self.tape.pick((1, 2))
        h, k = self.tape.pick((4, 1, 7, 16)), self.tape.pick((3, 1, 2))
        c, f = self.tape.pick((3, 1, 8, 16)), self.tape.pick((4, 16, 17, 1))
        length = (h - 1) * stride + (k - 1) * dilation + 1 + self.tape.pick((0, 0, 2))
        floats = is_float(self.element)
        reach = f"d1 * {stride} + d3 * {dilation}"
        if self.tape.chance(50):  # channels last
            x = self.argument((length, c), [reach, "d2"])
            w = self.argument((k, c, f), ["d3", "d2", "d0"])
            o = self.argument((h, f), ["d1", "d0"])
        else:
            x = self.argument((c, length), ["d2", reach])
            w = self.argument((f, c, k), ["d0", "d2", "d3"])
            o = self.argument((f, h), ["d0", "d1"])
        self.fill(o, 0.0)
        self.generic(4, "pprr", [x, w], o, "addf" if floats else "addi", own=False)
        return self.plain(o)

    def pooling(self) -> Operand:
        """A maximum or sum over windows, as a generic with a shape operand."""
        self.features.append("pooling")
        stride, k = self.tape.pick((1, 2)), self.tape.pick((2, 3))
        n, h = self.tape.pick((3, 16, 17)), self.tape.pick((4, 1, 7))
        x = self.argument((n, (h - 1) * stride + k), ["d0", f"d1 * {stride} + d2"])
        shape = self.argument((k,), ["d2"])
        o = self.argument((n, h), ["d0", "d1"])
        floats = is_float(self.element)
        kind, start = self.tape.pick((("max", -np.inf), ("add", 0.0)))
        combine = {"max": "maximumf" if floats else "maxsi", "add": "addf" if floats else "addi"}[kind]
        self.fill(o, start)
        maps = [affine(3, v.exprs) for v in (x, shape, o)]
        c, e = self.out.counter, self.element
        self.out.counter += 1
        self.out.emit(
            f"linalg.generic {{indexing_maps = [{', '.join(maps)}], iterator_types = "
            f'["parallel", "parallel", "reduction"]}} ins({x.name}, {shape.name} : {x.type}, {shape.type})'
            f" outs({o.name} : {o.type}) {{"
        )
        self.out.emit(f"^bb0(%x_{c}: {e}, %s_{c}: {e}, %o_{c}: {e}):")
        self.out.emit(f"  %r_{c} = arith.{combine} %o_{c}, %x_{c} : {e}")
        self.out.emit(f"  linalg.yield %r_{c} : {e}")
        self.out.emit("}")
        return o

    def copy(self) -> Operand:
        """A copy or transposition."""
        self.features.append("copy")
        sizes = self.sizes(self.tape.pick((2, 3, 1)))
        order = self.tape.shuffled(len(sizes))
        if self.tape.chance(80):  # rows become columns, tile by tile
            sizes, order = [self.tape.pick((16, 17, 33, 32, 8)) for _ in range(2)], [1, 0]
        x = self.argument(tuple(sizes[k] for k in order), [f"d{k}" for k in order])
        o = self.argument(tuple(sizes), [f"d{k}" for k in range(len(sizes))])
        maps = [affine(len(sizes), v.exprs) for v in (x, o)]
        quoted = ", ".join(['"parallel"'] * len(sizes))
        c, e = self.out.counter, self.element
        self.out.counter += 1
        self.out.emit(
            f"linalg.generic {{indexing_maps = [{', '.join(maps)}], iterator_types = [{quoted}]}}"
            f" ins({x.name} : {x.type}) outs({o.name} : {o.type}) {{"
        )
        self.out.emit(f"^bb0(%x_{c}: {e}, %o_{c}: {e}):")
        self.out.emit(f"  linalg.yield %x_{c} : {e}")
        self.out.emit("}")
        return o

    # --- what follows

    def epilogue(self, target: Operand) -> None:
        """An elementwise op that reads and writes the target in place."""
        self.features.append("epilogue")
        n = len(target.sizes)
        inputs = [self.reader(list(target.sizes)) for _ in range(self.tape.below(3))]
        same = Operand(target.name, target.sizes, [f"d{k}" for k in range(n)], target.element, target.type)
        self.generic(n, "p" * n, inputs, same, None, own=True)


def memref_kernel(tape: Tape) -> Program:
    """One kernel on memrefs."""
    return KernelGenerator(tape).program()
