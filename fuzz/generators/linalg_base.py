"""What linalg programs are made of: values at hand, weights, fills, generics, named ops."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from fuzz.generators.bodies import body, constant, is_float
from fuzz.generators.text import Lines, float_literal, tensor
from fuzz.tape import Tape

SIZES = (2, 3, 4, 1, 5, 7, 8, 16, 17, 0)
DYN = -1


@dataclass(frozen=True)
class Value:
    """A tensor at hand; `derived` from weights alone or not."""

    name: str
    shape: tuple[int, ...]
    element: str
    constant: bool = False

    @property
    def type(self) -> str:
        """Its type."""
        return tensor(self.shape, self.element)


class LinalgBase:
    """One program. `weights`: how likely each kind of step is, by name."""

    def __init__(self, tape: Tape, steps: dict[str, int], *, small: bool = True) -> None:
        self.tape = tape
        self.out = Lines()
        self.arguments: list[Value] = []
        self.values: list[Value] = []
        self.data: dict[str, np.ndarray] = {}
        self.features: list[str] = []
        self.seed = tape.byte()
        self.rng = np.random.default_rng(self.seed)
        self.element = tape.pick(("f32",) * 8 + ("f64", "f16", "i32", "i64"))
        self.dynamic = tape.chance(20)
        self.theme = tape.pick(("mix", "images", "products"))
        favoured = {"products": ("matmul",), "images": ("convolution", "pooling")}.get(self.theme, ())
        self.steps = [s for s, n in steps.items() for _ in range(n * (4 if s in favoured else 1))]
        self.sizes = SIZES[: tape.pick((4, 8, 10))] if small else SIZES
        self.dim_name = ""

    def size(self) -> int:
        return self.tape.pick(self.sizes)

    def shape(self, rank: int) -> tuple[int, ...]:
        return tuple(self.size() for _ in range(rank))

    def any_value(self, *, rank: int | None = None, element: str | None = None, static: bool = False) -> Value:
        """A value that fits, preferably a recent one; a fresh weight when there is none."""
        fitting = [
            v
            for v in self.values
            if (rank is None or len(v.shape) == rank)
            and v.element == (element or self.element)
            and not (static and DYN in v.shape)
        ]
        if fitting:
            return fitting[-1 - self.tape.below(min(len(fitting), 4))]
        return self.weight(self.shape(rank or 2), element or self.element)

    def weight(self, shape: tuple[int, ...], element: str) -> Value:
        """A constant: a resource, or a literal when small."""
        t = tensor(shape, element)
        if self.tape.chance(20) and prod(shape) > 0:
            literal = float_literal(float(self.rng.integers(-3, 4)), element) if is_float(element) else "1"
            if element == "i1":
                literal = "true"
            return Value(self.out.value(f"arith.constant dense<{literal}> : {t}"), shape, element, True)
        name = f"w{len(self.data)}"
        self.data[name] = self.array(shape, element)
        return Value(self.out.value(f"arith.constant dense_resource<{name}> : {t}"), shape, element, True)

    def late_argument(self, shape: tuple[int, ...], element: str) -> Value:
        """One more argument of the function."""
        self.arguments.append(Value(f"%arg{len(self.arguments)}", shape, element))
        return self.arguments[-1]

    def array(self, shape: tuple[int, ...], element: str) -> np.ndarray:
        dtype = {
            "f32": np.float32,
            "f64": np.float64,
            "f16": np.float16,
            "i32": np.int32,
            "i64": np.int64,
            "i1": np.bool_,
        }
        if is_float(element):
            return np.asarray(self.rng.integers(-4, 5, shape) / 2, dtype=dtype[element])
        return np.asarray(self.rng.integers(0, 2 if element == "i1" else 5, shape), dtype=dtype[element])

    def empty(self, shape: tuple[int, ...], element: str) -> str:
        operands = ", ".join(self.dim() for d in shape if d == DYN)
        return self.out.value(f"tensor.empty({operands}) : {tensor(shape, element)}")

    def dim(self) -> str:
        return self.dim_name

    def fill(self, shape: tuple[int, ...], element: str, value: float = 0.0) -> str:
        literal = float_literal(value, element) if is_float(element) else str(int(np.clip(value, -100, 100)))
        z = self.out.value(f"arith.constant {literal} : {element}")
        t = tensor(shape, element)
        return self.out.value(f"linalg.fill ins({z} : {element}) outs({self.empty(shape, element)} : {t}) -> {t}")

    def add(self, feature: str, name: str, shape: tuple[int, ...], element: str | None = None, *of: Value) -> None:
        self.features.append(feature)
        self.values.append(Value(name, shape, element or self.element, bool(of) and all(v.constant for v in of)))

    def operand_for(self, a: Value) -> tuple[Value, list[str]]:
        """Another operand over the loops of `a`: the same shape, a broadcast, or a transposed weight."""
        n = len(a.shape)
        same = [v for v in self.values if v.shape == a.shape and v.element == a.element]
        kind = self.tape.below(3)
        if kind == 0 and same:
            return self.tape.pick(same[::-1]), [f"d{k}" for k in range(n)]
        static = [k for k in range(n) if a.shape[k] != DYN]
        if kind == 1 and static:
            order = [static[k] for k in self.tape.shuffled(len(static))]
            return self.weight(tuple(a.shape[k] for k in order), a.element), [f"d{k}" for k in order]
        kept = self.tape.subset(static)
        if self.tape.chance(30) and kept:
            shape, at = (
                [1 if k not in kept else a.shape[k] for k in static],
                [f"d{k}" if k in kept else "0" for k in static],
            )
            return self.weight(tuple(shape), a.element), at
        return self.weight(tuple(a.shape[k] for k in kept), a.element), [f"d{k}" for k in kept]

    last = ""

    def generic(
        self,
        maps: list[str],
        iterators: list[str],
        inputs: list[Value],
        names: list[str],
        init: str,
        shape: tuple[int, ...],
        element: str,
        combine: str | None = None,
    ) -> None:
        """Write a generic; `combine` folds the body's result into the accumulator."""
        t = tensor(shape, element)
        types = ", ".join(v.type for v in inputs)
        quoted = ", ".join(f'"{i}"' for i in iterators)
        ins = f" ins({', '.join(v.name for v in inputs)} : {types})" if inputs else ""
        result = self.out.name()
        self.out.emit(
            f"{result} = linalg.generic {{indexing_maps = [{', '.join(maps)}], iterator_types = [{quoted}]}}"
            f"{ins} outs({init} : {t}) {{"
        )
        acc = f"%acc{self.out.counter}"
        args = [f"{n}: {v.element}" for n, v in zip(names, inputs, strict=True)] + [f"{acc}: {element}"]
        self.out.emit(f"^bb0({', '.join(args)}):")
        self.out.depth += 1
        r = (
            body(self.tape, self.out, names, element, functions="functions" in self.steps or combine is None)
            if names
            else acc
        )
        if combine is not None:
            pair = f"{acc}, {r}" if self.tape.chance(50) else f"{r}, {acc}"
            r = self.out.value(f"arith.{combine} {pair} : {element}")
        self.out.emit(f"linalg.yield {r} : {element}")
        self.out.depth -= 1
        self.out.emit(f"}} -> {t}")
        self.last = result

    def named(
        self, op: str, feature: str, inputs: list[Value], shape: tuple[int, ...], attrs: str = "", start: float = 0.0
    ) -> None:
        """A named structured op over a fill."""
        t = tensor(shape, inputs[0].element)
        init = self.fill(shape, inputs[0].element, start)
        types = ", ".join(v.type for v in inputs)
        names = ", ".join(v.name for v in inputs)
        name = self.out.value(f"{op} {attrs}ins({names} : {types}) outs({init} : {t}) -> {t}")
        self.add(feature, name, shape, inputs[0].element, *inputs)

    def padded(self, a: Value, low: list[int], high: list[int]) -> Value:
        """tensor.pad with a constant."""
        shape = tuple(d if d == DYN else d + lo + hi for d, lo, hi in zip(a.shape, low, high, strict=True))
        low = [0 if d == DYN else p for d, p in zip(a.shape, low, strict=True)]
        high = [0 if d == DYN else p for d, p in zip(a.shape, high, strict=True)]
        z = constant(self.tape, self.out, a.element)
        result = self.out.name()
        args = ", ".join(f"%p{k}_{self.out.counter}: index" for k in range(len(shape)))
        self.out.emit(f"{result} = tensor.pad {a.name} low{low} high{high} {{")
        self.out.emit(f"^bb0({args}):")
        self.out.emit(f"  tensor.yield {z} : {a.element}")
        self.out.emit(f"}} : {a.type} to {tensor(shape, a.element)}")
        self.add("pad", result, shape, a.element, a)
        return self.values[-1]
