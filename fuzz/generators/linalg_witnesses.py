"""Witnesses: program pieces on which a rule of a pass must fire, and near misses on which it must not.

Half of the programs of a pass's profile embed some of its witnesses (`WITNESSES`, by pass). The tape picks sizes,
operands and which of the conditions a near miss breaks. What the rest of the program does stays random.
"""

from __future__ import annotations

from fuzz.generators.linalg import LinalgGenerator
from fuzz.generators.linalg_base import DYN, Value
from fuzz.generators.text import affine, tensor
from fuzz.tape import Generator, Tape
from mlc.testing.program import Program


class WitnessGenerator(LinalgGenerator):
    """A random program with witnesses among its steps."""

    def __init__(self, tape: Tape, steps: dict[str, int], witnesses: tuple[str, ...]) -> None:
        super().__init__(tape, steps)
        self.witnesses = witnesses if self.seed % 2 == 1 else ()

    def body_steps(self) -> None:
        """Random steps, then a few witnesses."""
        super().body_steps()
        if self.witnesses:
            for _ in range(self.tape.between(2, 4)):
                getattr(self, self.tape.pick(self.witnesses))()

    # --- pieces

    def matrix(self, rank: int = 2) -> Value:
        """A value of static shape without empty dimensions."""
        found = [
            v
            for v in self.values
            if len(v.shape) == rank and min(v.shape) > 0 and v.element == self.element and not v.constant
        ]
        if found:
            return found[-1 - self.tape.below(min(3, len(found)))]
        return self.computed(self.weight(tuple(self.tape.pick((2, 4, 3, 8)) for _ in range(rank)), self.element))

    def computed(self, a: Value) -> Value:
        """`a` through an elementwise op that also reads an argument, so that it is no constant."""
        n = len(a.shape)
        maps = [affine(n, [f"d{k}" for k in range(n)])] * 2
        self.generic(
            maps, ["parallel"] * n, [a], [f"%x{self.out.counter}"], self.empty(a.shape, a.element), a.shape, a.element
        )
        self.features.append("computed")
        self.values.append(Value(self.last, a.shape, a.element))
        return self.values[-1]

    def follow(self, a: Value, *, extra: bool = True) -> Value:
        """An elementwise op that reads `a` in order, and sometimes a weight along its last dimension."""
        n = len(a.shape)
        same = [f"d{k}" for k in range(n)]
        reads = [(a, same)]
        if extra and n and a.shape[-1] != DYN and self.tape.chance(60):
            size = a.shape[-1]
            shape, read = self.tape.pick(
                (
                    *(((size,), same[-1:]), ((size,), same[-1:]), ((size,), same[-1:])),
                    *(((size, size), same[-1:] * 2), ((2, size), ["1", same[-1]])),  # a diagonal, the second row
                )
            )
            reads.append((self.weight(shape, a.element), read))
        names = [f"%x{k}_{self.out.counter}" for k in range(len(reads))]
        maps = [affine(n, m) for _, m in reads] + [affine(n, same)]
        init = self.empty(a.shape, a.element)
        self.generic(maps, ["parallel"] * n, [v for v, _ in reads], names, init, a.shape, a.element)
        self.add("follow", self.last, a.shape, a.element, *(v for v, _ in reads))
        return self.values[-1]

    def moved(self, a: Value, order: list[int]) -> Value:
        """`a` through a copying generic with its dimensions in another order."""
        n = len(a.shape)
        shape = tuple(a.shape[k] for k in order)
        t, c = tensor(shape, a.element), self.out.counter
        read = affine(n, [f"d{order.index(k)}" for k in range(n)])
        kinds = ", ".join(['"parallel"'] * n)
        init = self.empty(shape, a.element)
        result = self.out.name()
        self.out.emit(
            f"{result} = linalg.generic {{indexing_maps = [{read}, {affine(n, [f'd{k}' for k in range(n)])}], "
            f"iterator_types = [{kinds}]}} ins({a.name} : {a.type}) outs({init} : {t}) {{"
        )
        self.out.emit(f"^bb0(%x_{c}: {a.element}, %o_{c}: {a.element}):")
        self.out.emit(f"  linalg.yield %x_{c} : {a.element}")
        self.out.emit(f"}} -> {t}")
        self.add("moved", result, shape, a.element, a)
        return self.values[-1]

    def product(self, a: Value, b: Value, spec: str, *, onto: bool = False) -> Value:
        """A contraction as a generic, by letters: `bmk,bkn,bmn`. `onto`: added to a constant, not to zeros."""
        left, right, result = spec.split(",")
        letters = [*result, *dict.fromkeys(c for c in left + right if c not in result)]
        size = dict(zip(left, a.shape, strict=True)) | dict(zip(right, b.shape, strict=True))
        shape = tuple(size[c] for c in result)
        at = {c: f"d{k}" for k, c in enumerate(letters)}
        maps = [affine(len(letters), [at[c] for c in s]) for s in (left, right, result)]
        kinds = ", ".join('"parallel"' if c in result else '"reduction"' for c in letters)
        e, t, c = a.element, tensor(shape, a.element), self.out.counter
        init = self.weight(shape, e).name if onto else self.fill(shape, e)
        name = self.out.name()
        self.out.emit(
            f"{name} = linalg.generic {{indexing_maps = [{', '.join(maps)}], iterator_types = [{kinds}]}}"
            f" ins({a.name}, {b.name} : {a.type}, {b.type}) outs({init} : {t}) {{"
        )
        add, mul = ("addf", "mulf") if e.startswith("f") else ("addi", "muli")
        self.out.emit(f"^bb0(%a_{c}: {e}, %b_{c}: {e}, %o_{c}: {e}):")
        self.out.emit(f"  %p_{c} = arith.{mul} %a_{c}, %b_{c} : {e}")
        self.out.emit(f"  %s_{c} = arith.{add} %o_{c}, %p_{c} : {e}")
        self.out.emit(f"  linalg.yield %s_{c} : {e}")
        self.out.emit(f"}} -> {t}")
        self.add("product", name, shape, e, a, b)
        return self.values[-1]

    # --- packed products

    def transposed_weight(self) -> None:
        """A product with the transpose of a constant; near misses: a computed one, a transpose that is none."""
        a = self.matrix()
        k, n = a.shape[1], self.tape.pick((16, 17, 32, 8, 4, 3))
        order = [1, 0]
        if self.tape.chance(15):
            n, order = k, [0, 1]
        w = self.weight((n, k) if order == [1, 0] else (k, n), a.element)
        if self.tape.chance(15):
            w = self.computed(w)
        t = tensor((k, n), a.element)
        init = self.empty((k, n), a.element)
        name = self.out.value(f"linalg.transpose ins({w.name}:{w.type}) outs({init}:{t}) permutation = {order}")
        self.named("linalg.matmul", "matmul", [a, Value(name, (k, n), a.element, w.constant)], (a.shape[0], n))
        if self.tape.chance(70):
            self.follow(self.values[-1])

    def biased_product(self) -> None:
        """A product with a constant, and what follows it."""
        a = self.matrix()
        n = self.tape.pick((16, 17, 32, 8, 4, 3))
        self.named("linalg.matmul", "matmul", [a, self.weight((a.shape[1], n), a.element)], (a.shape[0], n))
        for _ in range(self.tape.between(1, 2)):
            self.follow(self.values[-1])

    # --- blocked images

    def blocked(self) -> Value:
        """A convolution whose channels fill whole blocks, or miss them by little."""
        x = self.matrix(4)
        f, size = self.tape.pick((16, 32, 8, 16, 17)), self.tape.pick((1, 3))
        if min(x.shape[2:]) < size:
            size = 1
        w = self.weight((f, x.shape[1], size, size), x.element)
        shape = (x.shape[0], f, *(n - size + 1 for n in x.shape[2:]))
        one = "dense<1> : tensor<2xi64>"
        attrs = f"{{dilations = {one}, strides = {one}}} "
        self.named("linalg.conv_2d_nchw_fchw", "convolution", [x, w], shape, attrs)
        return self.values[-1]

    def blocked_elementwise(self) -> None:
        """An elementwise op of a blocked value."""
        self.follow(self.blocked(), extra=False)

    def blocked_reduction(self) -> None:
        """A sum over space, or over channels."""
        a = self.blocked()
        dropped = self.tape.pick(((2, 3), (3,), (1,), (1, 2, 3)))
        kept = [k for k in range(4) if k not in dropped]
        shape = tuple(a.shape[k] for k in kept)
        maps = [affine(4, [f"d{k}" for k in range(4)]), affine(4, [f"d{k}" for k in kept])]
        kinds = ["reduction" if k in dropped else "parallel" for k in range(4)]
        combine = self.tape.pick(("addf", "maximumf") if a.element.startswith("f") else ("addi", "maxsi"))
        start = {"maximumf": float("-inf"), "maxsi": -100}.get(combine, 0.0)
        init = self.fill(shape, a.element, start)
        self.generic(maps, kinds, [a], [f"%x{self.out.counter}"], init, shape, a.element, combine)
        self.add("reduction", self.last, shape, a.element, a)

    def blocked_pad(self) -> None:
        """Padding of space, sometimes of channels too."""
        a = self.blocked()
        channels = self.tape.pick((0, 0, 0, 1))
        low, high = ([0, channels, self.tape.below(3), self.tape.below(2)] for _ in range(2))
        self.follow(self.padded(a, low, high), extra=False)

    def blocked_concat(self) -> None:
        """Blocked values side by side, along channels or space, and a plain one among them in some."""
        a = self.blocked()
        axis = self.tape.pick((1, 1, 2))
        b = self.follow(a, extra=False) if self.tape.chance(85) else self.weight(a.shape, a.element)
        shape = tuple(2 * d if k == axis else d for k, d in enumerate(a.shape))
        t = tensor(shape, a.element)
        name = self.out.value(f"tensor.concat dim({axis}) {a.name}, {b.name} : ({a.type}, {b.type}) -> {t}")
        self.add("concat", name, shape, a.element, a, b)
        self.follow(self.values[-1], extra=False)

    def blocked_slice(self) -> None:
        """Some of the channels: whole blocks, or not."""
        a = self.blocked()
        at = self.tape.pick((0, a.shape[1] // 2, 0, 4))
        n = self.tape.pick((a.shape[1] // 2, a.shape[1] // 2, a.shape[1] // 2, 3))
        shape = (a.shape[0], min(n, a.shape[1] - at), *a.shape[2:])
        window = f"[0, {at}, 0, 0] {list(shape)} [1, 1, 1, 1]"
        name = self.out.value(f"tensor.extract_slice {a.name}{window} : {a.type} to {tensor(shape, a.element)}")
        self.add("extract_slice", name, shape, a.element, a)
        self.follow(self.values[-1], extra=False)

    def blocked_depthwise(self) -> None:
        """A depthwise convolution of a blocked value."""
        a = self.blocked()
        kernel = (1, self.tape.pick((1, min(2, a.shape[3]))))
        w = self.weight((a.shape[1], *kernel), a.element)
        shape = (*a.shape[:3], a.shape[3] - kernel[1] + 1)
        one = "dense<1> : tensor<2xi64>"
        attrs = f"{{dilations = {one}, strides = {one}}} "
        self.named("linalg.depthwise_conv_2d_nchw_chw", "depthwise", [a, w], shape, attrs)

    # --- named ops

    def pack(self) -> None:
        """A pack with or without padding, and its unpack in half."""
        a = self.matrix()
        axis, tile = self.tape.below(2), self.tape.pick((2, 4, 3))
        d = a.shape[axis]
        blocks = -(-d // tile)
        shape = (*(blocks if k == axis else n for k, n in enumerate(a.shape)), tile)
        t = tensor(shape, a.element)
        dest = self.empty(shape, a.element)
        padding = ""
        if d % tile or self.tape.chance(20):
            zero = "0.0" if a.element.startswith("f") else "0"
            z = self.out.value(f"arith.constant {zero} : {a.element}")
            padding = f"padding_value({z} : {a.element}) "
        how = f"inner_dims_pos = [{axis}] inner_tiles = [{tile}]"
        name = self.out.value(f"linalg.pack {a.name} {padding}{how} into {dest} : {a.type} -> {t}")
        self.add("pack", name, shape, a.element, a)
        if self.tape.chance(60):
            back = self.empty(a.shape, a.element)
            name = self.out.value(f"linalg.unpack {name} {how} into {back} : {t} -> {a.type}")
            self.add("unpack", name, a.shape, a.element, a)

    def broadcast(self) -> None:
        """linalg.broadcast along a new dimension."""
        a = self.matrix()
        axis, size = self.tape.below(3), self.tape.pick((2, 1, 3))
        shape = (*a.shape[:axis], size, *a.shape[axis:])
        init, t = self.empty(shape, a.element), tensor(shape, a.element)
        name = self.out.value(f"linalg.broadcast ins({a.name}:{a.type}) outs({init}:{t}) dimensions = [{axis}]")
        self.add("broadcast", name, shape, a.element, a)

    def reduce(self) -> None:
        """linalg.reduce over one dimension."""
        a = self.matrix()
        axis = self.tape.below(2)
        shape = (a.shape[1 - axis],)
        op, start = ("addf", 0.0) if a.element.startswith("f") else ("addi", 0.0)
        init, t, c = self.fill(shape, a.element, start), tensor(shape, a.element), self.out.counter
        e, name = a.element, self.out.name()
        self.out.emit(f"{name} = linalg.reduce ins({a.name}:{a.type}) outs({init}:{t}) dimensions = [{axis}]")
        self.out.emit(f"(%x_{c}: {e}, %acc_{c}: {e}) {{")
        self.out.emit(f"  %r_{c} = arith.{op} %x_{c}, %acc_{c} : {e}")
        self.out.emit(f"  linalg.yield %r_{c} : {e}")
        self.out.emit("}")
        self.add("reduce", name, shape, e, a)

    def reshape(self) -> None:
        """tensor.reshape by a shape tensor made of index or i64 elements."""
        a = self.matrix()
        n = a.shape[0] * a.shape[1]
        shape = self.tape.pick(((n,), (a.shape[1], a.shape[0]), (1, n), (a.shape[0], 1, a.shape[1])))
        kind = self.tape.pick(("index", "i64"))
        sizes = [self.out.value(f"arith.constant {d} : {kind}") for d in shape]
        held = f"tensor<{len(shape)}x{kind}>"
        elements = self.out.value(f"tensor.from_elements {', '.join(sizes)} : {held}")
        t = tensor(shape, a.element)
        name = self.out.value(f"tensor.reshape {a.name}({elements}) : ({a.type}, {held}) -> {t}")
        self.add("reshape", name, shape, a.element, a)

    # --- constants

    def same_constant_twice(self) -> None:
        """The same arithmetic on one weight in two places; near miss: in another order."""
        n = self.tape.pick((4, 3, 8))
        w = self.weight((n, n), self.element)
        orders = [[1, 0], self.tape.pick(([1, 0], [1, 0], [0, 1]))]
        parts: list[Value] = []
        for order in orders:
            init = self.empty(w.shape, w.element)
            name = self.out.value(
                f"linalg.transpose ins({w.name}:{w.type}) outs({init}:{w.type}) permutation = {order}"
            )
            part = Value(name, w.shape, w.element, True)
            x = self.computed(self.values[0]) if self.values[0].shape == w.shape else None
            args = [x, part] if x is not None else [part]
            same = affine(2, ["d0", "d1"])
            names = [f"%x{k}_{self.out.counter}" for k in range(len(args))]
            init = self.empty(w.shape, w.element)
            self.generic([same] * (len(args) + 1), ["parallel"] * 2, args, names, init, w.shape, w.element)
            parts.append(Value(self.last, w.shape, w.element))
        a = self.product(self.matrix_of(n), parts[0], "mk,kn,mn")
        b = self.product(a, parts[1], "mk,kn,mn")
        self.follow(b)

    def matrix_of(self, columns: int) -> Value:
        """A computed matrix with so many columns."""
        found = [v for v in self.values if len(v.shape) == 2 and v.shape[1] == columns and not v.constant]
        found = [v for v in found if v.element == self.element and v.shape[0] > 0]
        return found[-1] if found else self.sliced(columns)

    def sliced(self, columns: int) -> Value:
        """The first argument's first element along rows of a new matrix: depends on the input for sure."""
        w = self.weight((2, columns), self.element)
        a = next((v for v in self.values if v.shape and not v.constant and v.element == self.element), None)
        if a is None or DYN in a.shape or 0 in a.shape:
            return self.computed(w)
        window = f"{[0] * len(a.shape)} {[1] * len(a.shape)} {[1] * len(a.shape)}"
        one = tensor((1,) * len(a.shape), a.element)
        cut = self.out.value(f"tensor.extract_slice {a.name}{window} : {a.type} to {one}")
        read = (Value(cut, (1,) * len(a.shape), a.element), ["0"] * len(a.shape))
        maps = [affine(2, ["d0", "d1"]), affine(2, read[1]), affine(2, ["d0", "d1"])]
        names = [f"%x{k}_{self.out.counter}" for k in range(2)]
        init = self.empty(w.shape, w.element)
        self.generic(maps, ["parallel"] * 2, [w, read[0]], names, init, w.shape, w.element)
        self.values.append(Value(self.last, w.shape, w.element))
        return self.values[-1]

    # --- reshapes

    def collapsed(self, a: Value) -> Value:
        """The first two dimensions as one."""
        shape = (a.shape[0] * a.shape[1], *a.shape[2:])
        groups = [[0, 1], *([k] for k in range(2, len(a.shape)))]
        name = self.out.value(f"tensor.collapse_shape {a.name} {groups} : {a.type} into {tensor(shape, a.element)}")
        self.add("collapse", name, shape, a.element, a)
        return self.values[-1]

    def expanded(self, a: Value) -> Value:
        """The first dimension as two."""
        d = a.shape[0]
        factor = self.tape.pick([f for f in (2, 1, 4, 3, d) if d % f == 0])
        shape = (factor, d // factor, *a.shape[1:])
        groups = [[0, 1], *([k + 1] for k in range(1, len(a.shape)))]
        t = tensor(shape, a.element)
        name = self.out.value(f"tensor.expand_shape {a.name} {groups} output_shape {list(shape)} : {a.type} into {t}")
        self.add("expand", name, shape, a.element, a)
        return self.values[-1]

    def there_and_back(self) -> None:
        """Reshapes that come back; near miss: two dimensions swapped in between."""
        a = self.matrix()
        x = self.expanded(a)
        if self.tape.chance(20):
            x = self.moved(x, [1, 0, 2])
        self.follow(self.collapsed(x))

    def op_behind_collapse(self) -> None:
        """An op, a collapse, an op; near misses: broadcasts of part of the merged dimension, two readers."""
        x = self.follow(self.matrix(3))
        y = self.collapsed(x)
        if self.tape.chance(15):
            self.follow(x)
        last = self.follow(y)
        if self.tape.chance(50):
            self.values.append(last)

    def op_behind_expand(self) -> None:
        """An op, an expand, an op."""
        x = self.follow(self.matrix())
        y = self.expanded(x)
        n = len(y.shape)
        if self.tape.chance(30):  # reads only one of the split dimensions
            w = self.weight((y.shape[0],), y.element)
            same = [f"d{k}" for k in range(n)]
            names = [f"%x{k}_{self.out.counter}" for k in range(2)]
            maps = [affine(n, same), affine(n, ["d0"]), affine(n, same)]
            init = self.empty(y.shape, y.element)
            self.generic(maps, ["parallel"] * n, [y, w], names, init, y.shape, y.element)
            self.add("split_read", self.last, y.shape, y.element, y)
            return
        self.follow(y)

    # --- transposes

    def transposed_operand(self) -> None:
        """A contraction that reads a transposing copy, on either side."""
        a = self.matrix()
        if self.tape.chance(50):
            t = self.moved(a, [1, 0])
            self.product(t, self.weight((t.shape[1], self.tape.pick((4, 3, 8))), a.element), "mk,kn,mn")
        else:
            t = self.moved(self.computed(self.weight((self.tape.pick((4, 3)), a.shape[1]), a.element)), [1, 0])
            self.product(a, t, self.tape.pick(("mk,kn,mn", "mk,kn,nm")))

    def heads(self) -> None:
        """Attention's heads: split, moved forward, multiplied, moved back."""
        a = self.matrix(3)
        t = self.moved(a, self.tape.pick(([1, 0, 2], [0, 2, 1], [2, 1, 0])))
        w = self.weight((t.shape[0], t.shape[2], self.tape.pick((4, 3, 8))), a.element)
        self.product(t, w, "bmk,bkn,bmn")

    def transposed_result(self) -> None:
        """A contraction that a transposing copy alone reads; near misses: another start, two readers."""
        a = self.matrix(3)
        w = self.weight((a.shape[0], a.shape[2], self.tape.pick((4, 3, 8))), a.element)
        p = self.product(a, w, "bmk,bkn,bmn", onto=self.tape.chance(20))
        if self.tape.chance(15):
            self.follow(p)
        self.moved(p, self.tape.pick(([1, 0, 2], [1, 0, 2], [0, 2, 1])))

    # --- fusion

    def cheap_with_readers(self) -> None:
        """A cheap op read twice; near misses: bodies that are not cheap."""
        a = self.matrix()
        cheap = self.follow(a, extra=False) if self.tape.chance(30) else self.doubled(a)
        first, second = self.follow(cheap), self.follow(cheap)
        n = len(a.shape)
        maps = [affine(n, [f"d{k}" for k in range(n)])] * 3
        names = [f"%x{k}_{self.out.counter}" for k in range(2)]
        r = self.product(first, self.weight((a.shape[1], 3), a.element), "mk,kn,mn")
        init = self.empty(a.shape, a.element)
        self.generic(maps, ["parallel"] * n, [first, second], names, init, a.shape, a.element)
        self.add("joined", self.last, a.shape, a.element, first, second)
        if self.tape.chance(50):
            self.values.append(r)

    def doubled(self, a: Value) -> Value:
        """`a + a`."""
        same, t, c, e = affine(2, ["d0", "d1"]), a.type, self.out.counter, a.element
        init, name = self.empty(a.shape, e), self.out.name()
        self.out.emit(
            f'{name} = linalg.generic {{indexing_maps = [{same}, {same}], iterator_types = ["parallel", "parallel"]}}'
            f" ins({a.name} : {t}) outs({init} : {t}) {{"
        )
        self.out.emit(f"^bb0(%x_{c}: {e}, %o_{c}: {e}):")
        self.out.emit(f"  %d_{c} = arith.{'addf' if e.startswith('f') else 'addi'} %x_{c}, %x_{c} : {e}")
        self.out.emit(f"  linalg.yield %d_{c} : {e}")
        self.out.emit(f"}} -> {t}")
        self.add("doubled", name, a.shape, e, a)
        return self.values[-1]

    def summed(self) -> None:
        """An elementwise op that a reduction reads."""
        a = self.follow(self.matrix())
        op, start = self.tape.pick((("add", 0.0), ("max", float("-inf"))))
        floats = a.element.startswith("f")
        combine = {"add": "addf", "max": "maximumf"}[op] if floats else {"add": "addi", "max": "maxsi"}[op]
        shape = a.shape[:1]
        init = self.fill(shape, a.element, start if floats else max(start, -100.0))
        maps = [affine(2, ["d0", "d1"]), affine(2, ["d0"])]
        names = [f"%x{self.out.counter}"]
        self.generic(maps, ["parallel", "reduction"], [a], names, init, shape, a.element, combine)
        self.add("reduction", self.last, shape, a.element, a)

    # --- destinations

    def splat(self) -> None:
        """tensor.splat, then an op that reads it."""
        shape = tuple(self.tape.pick((2, 3, 1)) for _ in range(2))
        c = self.out.value(f"arith.constant {'2.5' if self.element.startswith('f') else '2'} : {self.element}")
        name = self.out.value(f"tensor.splat {c} : {tensor(shape, self.element)}")
        self.add("splat", name, shape, self.element)
        self.follow(self.values[-1])

    def elements(self) -> None:
        """tensor.from_elements of extracted scalars."""
        a = self.matrix()
        at = [self.out.value(f"arith.constant {self.tape.below(d)} : index") for d in a.shape]
        x = self.out.value(f"tensor.extract {a.name}[{', '.join(at)}] : {a.type}")
        c = self.out.value(f"arith.constant {'1.5' if a.element.startswith('f') else '3'} : {a.element}")
        count = self.tape.pick((2, 3, 1))
        parts = [self.tape.pick((x, c)) for _ in range(count)]
        t = tensor((count,), a.element)
        name = self.out.value(f"tensor.from_elements {', '.join(parts)} : {t}")
        self.add("elements", name, (count,), a.element)
        self.follow(self.values[-1])

    def scalar_loop(self) -> None:
        """Loops over single elements that carry tensors: a running sum of each row, and the same written elsewhere; one
        starts from an empty tensor, the other from a value that may be read again."""
        a, k = self.matrix(), self.out.counter
        element, kind = a.element, a.type
        start = self.tape.pick((a, self.matrix()))
        if start.shape != a.shape:
            start = a
        empty, zero, one = self.empty(a.shape, element), f"%zero_{k}", f"%one_{k}"
        self.out.emit(f"{zero} = arith.constant 0 : index")
        self.out.emit(f"{one} = arith.constant 1 : index")
        for d in (0, 1):
            self.out.emit(f"%n{d}_{k} = arith.constant {a.shape[d]} : index")
        add = "addf" if element.startswith("f") else "addi"
        carried = f"-> ({kind}, {kind})"
        self.out.emit(
            f"%sums_{k}:2 = scf.for %i_{k} = {zero} to %n0_{k} step {one}"
            f" iter_args(%s_{k} = {empty}, %m_{k} = {start.name}) {carried} {{"
        )
        self.out.emit(f"  %z_{k} = arith.constant {'0.0' if element.startswith('f') else '0'} : {element}")
        self.out.emit(
            f"  %inner_{k}:3 = scf.for %j_{k} = {zero} to %n1_{k} step {one}"
            f" iter_args(%t_{k} = %s_{k}, %u_{k} = %m_{k}, %acc_{k} = %z_{k}) -> ({kind}, {kind}, {element}) {{"
        )
        self.out.emit(f"    %x_{k} = tensor.extract {a.name}[%i_{k}, %j_{k}] : {kind}")
        self.out.emit(f"    %sum_{k} = arith.{add} %acc_{k}, %x_{k} : {element}")
        self.out.emit(f"    %t2_{k} = tensor.insert %sum_{k} into %t_{k}[%i_{k}, %j_{k}] : {kind}")
        self.out.emit(f"    %back_{k} = arith.subi %n1_{k}, %j_{k} : index")
        self.out.emit(f"    %last_{k} = arith.subi %back_{k}, {one} : index")
        place = self.tape.pick((f"%last_{k}", f"%j_{k}", zero, zero))  # what is not written keeps its start
        self.out.emit(f"    %u2_{k} = tensor.insert %sum_{k} into %u_{k}[%i_{k}, {place}] : {kind}")
        self.out.emit(f"    scf.yield %t2_{k}, %u2_{k}, %sum_{k} : {kind}, {kind}, {element}")
        self.out.emit("  }")
        self.out.emit(f"  scf.yield %inner_{k}#0, %inner_{k}#1 : {kind}, {kind}")
        self.out.emit("}")
        for result in self.tape.pick((("0",), ("1",), ("0", "1"))):
            self.add("scalar_loop", f"%sums_{k}#{result}", a.shape, element, a, start)
            if self.tape.chance(50):
                self.follow(self.values[-1])


BLOCKED = (
    *("blocked_elementwise", "blocked_reduction", "blocked_reduction", "blocked_pad", "blocked_concat"),
    *("blocked_concat", "blocked_slice", "blocked_slice", "blocked_depthwise"),
)
WITNESSES: dict[str, tuple[str, ...]] = {
    "linalg-pack-matmul": ("transposed_weight", "biased_product"),
    "linalg-block-layouts": BLOCKED,
    "linalg-decompose-named-ops": ("pack", "broadcast", "reduce", "reshape"),
    "linalg-hoist-constants": ("same_constant_twice",),
    "linalg-propagate-reshapes": ("there_and_back", "op_behind_collapse", "op_behind_expand"),
    "linalg-fold-transposes": ("transposed_operand", "heads", "transposed_result", "transposed_result"),
    "linalg-fuse-elementwise": ("cheap_with_readers", "cheap_with_readers", "summed"),
    "linalg-form-kernels": ("splat", "elements", "scalar_loop", "scalar_loop"),
}
"""By the pass whose rules they exercise."""


def witnessed(pass_name: str, steps: dict[str, int]) -> Generator:
    """Programs of `steps`, half of them with witnesses of the pass."""

    def generate(tape: Tape) -> Program:
        return WitnessGenerator(tape, steps, WITNESSES[pass_name]).program()

    return generate
