"""Programs of the linalg level: a chain of tensor ops as lowered networks have them, and the odd corners.

Shapes with 0, 1, primes and sizes around a vector width; a dynamic leading dimension in some; weights as resources;
constants that feed constants; elements other than f32 in some.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from fuzz.generators.bodies import body, constant, is_float
from fuzz.generators.text import Lines, affine, float_literal, tensor
from fuzz.tape import Tape
from mlc.testing.program import Program, build

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


class LinalgGenerator:
    """One program. `weights`: how likely each kind of step is, by name."""

    def __init__(self, tape: Tape, steps: dict[str, int], *, small: bool = True) -> None:
        self.tape = tape
        self.out = Lines()
        self.values: list[Value] = []
        self.data: dict[str, np.ndarray] = {}
        self.features: list[str] = []
        self.seed = tape.byte()
        self.rng = np.random.default_rng(self.seed)
        self.element = tape.pick(("f32",) * 8 + ("f64", "f16", "i32", "i64"))
        self.dynamic = tape.chance(20)
        self.theme = tape.pick(("mix", "products", "images"))
        favoured = {"products": ("matmul",), "images": ("convolution", "pooling")}.get(self.theme, ())
        self.steps = [s for s, n in steps.items() for _ in range(n * (3 if s in favoured else 1))]
        self.sizes = SIZES[: tape.pick((4, 8, 10))] if small else SIZES
        self.dim_name = ""

    # --- building blocks

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

    # --- steps

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
            else self.weight((max(k, 0), self.tape.pick((8, 16, 4, 17, 33, 3, 1))), a.element)
        )
        if k == DYN:
            return self.elementwise()
        self.named("linalg.matmul", "matmul", [a, b], (a.shape[0], b.shape[1]))

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
        f = self.tape.pick((4, 3, 8, 16, 1, 17))
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

    def transpose(self) -> None:
        """A permutation as the named op."""
        a = self.any_value()
        order = self.tape.shuffled(len(a.shape))
        shape = tuple(a.shape[k] for k in order)
        init = self.empty(shape, a.element)
        name = self.out.value(
            f"linalg.transpose ins({a.name}:{a.type}) outs({init}:{tensor(shape, a.element)}) permutation = {order}"
        )
        self.add("transpose", name, shape, a.element, a)

    def reshape(self) -> None:
        """expand_shape or collapse_shape of static dims."""
        a = self.any_value()
        n = len(a.shape)
        if n >= 2 and self.tape.chance(50):
            at = self.tape.below(n - 1)
            if DYN in a.shape[at : at + 2]:
                return self.elementwise()
            shape = (*a.shape[:at], a.shape[at] * a.shape[at + 1], *a.shape[at + 2 :])
            groups = [[k] for k in range(at)] + [[at, at + 1]] + [[k] for k in range(at + 2, n)]
            name = self.out.value(f"tensor.collapse_shape {a.name} {groups} : {a.type} into {tensor(shape, a.element)}")
            return self.add("collapse", name, shape, a.element, a)
        if n == 0:
            return self.elementwise()
        at = self.tape.below(n)
        if a.shape[at] == DYN:
            return self.elementwise()
        d = a.shape[at]
        factor = self.tape.pick([f for f in (1, 2, 3, 4, d) if f and d % f == 0] or [1])
        shape = (*a.shape[:at], factor, d // factor, *a.shape[at + 1 :])
        groups = [[k] for k in range(at)] + [[at, at + 1]] + [[k + 1] for k in range(at + 1, n)]
        sizes = ", ".join(self.dim() if d == DYN else str(d) for d in shape)
        name = self.out.value(
            f"tensor.expand_shape {a.name} {groups} output_shape [{sizes}] : {a.type} into {tensor(shape, a.element)}"
        )
        self.add("expand", name, shape, a.element, a)

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

    def pad(self) -> None:
        """Grow some dimensions."""
        a = self.any_value()
        if not a.shape:
            return self.elementwise()
        self.padded(a, [self.tape.below(3) for _ in a.shape], [self.tape.below(3) for _ in a.shape])

    def slice(self) -> None:
        """A window of a value, or a value with a window replaced."""
        a = self.any_value()
        offsets, sizes, strides = [], [], []
        for d in a.shape:
            step = self.tape.pick((1, 1, 2))
            start = self.tape.below(d) if d > 0 else 0
            room = (d - start + step - 1) // step if d > 0 else 0
            offsets.append(start)
            sizes.append(DYN if d == DYN else self.tape.between(min(1, room), room) if room else 0)
            strides.append(1 if d == DYN else step)
        if DYN in a.shape or not a.shape:
            return self.elementwise()
        shape = tuple(sizes)
        window = f"{offsets} {sizes} {strides}"
        name = self.out.value(f"tensor.extract_slice {a.name}{window} : {a.type} to {tensor(shape, a.element)}")
        self.add("extract_slice", name, shape, a.element, a)
        if self.tape.chance(40):
            self.elementwise()
            v = self.values[-1]
            if v.shape != shape or v.element != a.element:
                v = self.values[-2]
            if v.shape == shape and v.element == a.element:
                name = self.out.value(f"tensor.insert_slice {v.name} into {a.name}{window} : {v.type} into {a.type}")
                self.add("insert_slice", name, a.shape, a.element, v, a)

    def concat(self) -> None:
        """Along one dimension, with itself or a weight of another size."""
        a = self.any_value()
        static = [k for k, d in enumerate(a.shape) if d != DYN]
        if not static or DYN in a.shape:
            return self.elementwise()
        axis = self.tape.pick(static)
        other = a
        if self.tape.chance(60):
            shape = tuple(self.size() if k == axis else d for k, d in enumerate(a.shape))
            other = self.weight(shape, a.element)
        shape = tuple(d + other.shape[k] if k == axis else d for k, d in enumerate(a.shape))
        t = tensor(shape, a.element)
        name = self.out.value(f"tensor.concat dim({axis}) {a.name}, {other.name} : ({a.type}, {other.type}) -> {t}")
        self.add("concat", name, shape, a.element, a, other)

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

    def comparison(self) -> None:
        """A mask, then a select by it."""
        a = self.any_value()
        n = len(a.shape)
        b, at = self.operand_for(a)
        identity = affine(n, [f"d{k}" for k in range(n)])
        t, m = a.type, tensor(a.shape, "i1")
        quoted = ", ".join(['"parallel"'] * n)
        compare = "cmpf olt" if is_float(a.element) else "cmpi slt"
        mask = self.out.name()
        c = self.out.counter
        self.out.emit(
            f"{mask} = linalg.generic {{indexing_maps = [{identity}, {affine(n, at)}, {identity}], "
            f"iterator_types = [{quoted}]}}"
            f" ins({a.name}, {b.name} : {t}, {b.type}) outs({self.empty(a.shape, 'i1')} : {m}) {{"
        )
        self.out.emit(f"^bb0(%x{c}: {a.element}, %y{c}: {a.element}, %o{c}: i1):")
        self.out.emit(f"  %r{c} = arith.{compare}, %x{c}, %y{c} : {a.element}")
        self.out.emit(f"  linalg.yield %r{c} : i1")
        self.out.emit(f"}} -> {m}")
        result = self.out.name()
        self.out.emit(
            f"{result} = linalg.generic {{indexing_maps = [{identity}, {identity}, {identity}], "
            f"iterator_types = [{quoted}]}}"
            f" ins({mask}, {a.name} : {m}, {t}) outs({self.empty(a.shape, a.element)} : {t}) {{"
        )
        self.out.emit(f"^bb0(%x{c}: i1, %y{c}: {a.element}, %o{c}: {a.element}):")
        z = constant(self.tape, self.out, a.element)
        self.out.emit(f"  %r{c} = arith.select %x{c}, %y{c}, {z} : {a.element}")
        self.out.emit(f"  linalg.yield %r{c} : {a.element}")
        self.out.emit(f"}} -> {t}")
        self.add("comparison", result, a.shape, a.element, a, b)

    def indexed(self) -> None:
        """A generic that uses its loop indices."""
        a = self.any_value()
        n = len(a.shape)
        if n == 0:
            return self.elementwise()
        identity = affine(n, [f"d{k}" for k in range(n)])
        quoted = ", ".join(['"parallel"'] * n)
        result = self.out.name()
        c = self.out.counter
        self.out.emit(
            f"{result} = linalg.generic {{indexing_maps = [{identity}, {identity}], iterator_types = [{quoted}]}}"
            f" ins({a.name} : {a.type}) outs({self.empty(a.shape, a.element)} : {a.type}) {{"
        )
        self.out.emit(f"^bb0(%x{c}: {a.element}, %o{c}: {a.element}):")
        self.out.emit(f"  %i{c} = linalg.index {self.tape.below(n)} : index")
        self.out.emit(f"  %j{c} = linalg.index {self.tape.below(n)} : index")
        self.out.emit(f"  %m{c} = arith.cmpi {self.tape.pick(('sge', 'slt', 'eq'))}, %i{c}, %j{c} : index")
        z = constant(self.tape, self.out, a.element)
        self.out.emit(f"  %r{c} = arith.select %m{c}, %x{c}, {z} : {a.element}")
        self.out.emit(f"  linalg.yield %r{c} : {a.element}")
        self.out.emit(f"}} -> {a.type}")
        self.add("indexed", result, a.shape, a.element, a)

    # --- the whole program

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

    def program(self) -> Program:
        """Arguments, steps, results."""
        arguments = [Value(f"%arg{k}", self.argument_shape(k), self.element) for k in range(self.tape.between(1, 3))]
        if DYN in arguments[0].shape:
            zero = self.out.value("arith.constant 0 : index")
            self.dim_name = self.out.value(f"tensor.dim %arg0, {zero} : {arguments[0].type}")
            self.features.append("dynamic")
        self.values = list(arguments)
        for _ in range(self.tape.between(1, 6)):
            getattr(self, self.tape.pick(self.steps))()
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


def linalg(tape: Tape) -> Program:
    """Everything."""
    return LinalgGenerator(tape, ALL_STEPS).program()


def linalg_named(tape: Tape) -> Program:
    """Named ops above all."""
    steps = {
        "matmul": 3,
        "convolution": 4,
        "pooling": 3,
        "softmax": 3,
        "transpose": 3,
        "concat": 2,
        "pad": 1,
        "elementwise": 2,
    }
    return LinalgGenerator(tape, steps).program()


def linalg_elementwise(tape: Tape) -> Program:
    """Chains of elementwise ops around little else."""
    steps = {
        "elementwise": 10,
        "reduction": 3,
        "comparison": 2,
        "indexed": 1,
        "transpose": 1,
        "reshape": 1,
        "matmul": 1,
    }
    return LinalgGenerator(tape, steps).program()


def linalg_constants(tape: Tape) -> Program:
    """Arithmetic on weights."""
    steps = {"constants": 6, "elementwise": 3, "matmul": 2, "convolution": 1, "reduction": 1, "concat": 1, "reshape": 1}
    return LinalgGenerator(tape, steps).program()
