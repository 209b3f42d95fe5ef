"""Witnesses of the passes that move constants, reshapes and transposes out of the way and fuse."""

from __future__ import annotations

from fuzz.generators.linalg_base import DYN, Value
from fuzz.generators.linalg_witness_pieces import WitnessPieces
from fuzz.generators.text import affine, tensor


class FusionWitnesses(WitnessPieces):
    """Constants, reshapes, transposes, fusion, destinations."""

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

    # --- kernels

    def continued_product(self) -> None:
        """A product whose sums go on from those of another, which may have a reader of its own before or behind."""
        a = self.matrix()
        other = self.tape.pick((a, self.computed(a)))
        columns = self.tape.pick((3, 8, 17))
        first, then = (self.weight((a.shape[1], columns), a.element) for _ in range(2))
        started = self.product(a, first, "mk,kn,mn")
        if self.tape.chance(15):
            self.follow(started)
        self.product(other, then, "mk,kn,mn", onto=started)
        self.follow(self.values[-1])
        if self.tape.chance(15):
            self.follow(started)

    def added_products(self) -> None:
        """The sum of two products, the first one sometimes with something added; each may have another reader."""
        a = self.matrix()
        other = self.tape.pick((a, self.computed(a)))
        shape = (a.shape[0], self.tape.pick((8, 16, 17, 3)))
        products: list[Value] = []
        for x in (a, other):
            self.named("linalg.matmul", "matmul", [x, self.weight((a.shape[1], shape[1]), a.element)], shape)
            products.append(self.values[-1])
        if self.tape.chance(40):
            products[0] = self.follow(products[0])
        if self.tape.chance(10):
            self.follow(self.tape.pick(products))
        left, right = self.tape.pick((products, products[::-1]))
        self.sum_of(left, right)
        self.follow(self.values[-1])

    def sum_of(self, left: Value, right: Value) -> None:
        """left + right, element by element."""
        n, e, t, c = len(left.shape), left.element, left.type, self.out.counter
        same, kinds = affine(n, [f"d{k}" for k in range(n)]), ", ".join(['"parallel"'] * n)
        init, result = self.empty(left.shape, e), self.out.name()
        self.out.emit(
            f"{result} = linalg.generic {{indexing_maps = [{', '.join([same] * 3)}], iterator_types = [{kinds}]}} "
            f"ins({left.name}, {right.name} : {t}, {t}) outs({init} : {t}) {{"
        )
        self.out.emit(f"^bb0(%l_{c}: {e}, %r_{c}: {e}, %o_{c}: {e}):")
        self.out.emit(f"  %s_{c} = arith.{'addf' if e.startswith('f') else 'addi'} %l_{c}, %r_{c} : {e}")
        self.out.emit(f"  linalg.yield %s_{c} : {e}")
        self.out.emit(f"}} -> {t}")
        self.add("sum", result, left.shape, e, left, right)

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
