"""What witnesses are made of: values that a rule can match, and the program they are put into."""

from __future__ import annotations

from fuzz.generators.linalg import LinalgGenerator
from fuzz.generators.linalg_base import DYN, Value
from fuzz.generators.text import affine, tensor
from fuzz.tape import Tape


class WitnessPieces(LinalgGenerator):
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
        """`a` through an elementwise op: no constant itself, an expression of constants where `a` is one."""
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

    def product(self, a: Value, b: Value, spec: str, *, onto: bool | Value = False) -> Value:
        """A contraction as a generic, by letters: `bmk,bkn,bmn`. `onto`: added to that value or to a constant, not to
        zeros."""
        left, right, result = spec.split(",")
        letters = [*result, *dict.fromkeys(c for c in left + right if c not in result)]
        size = dict(zip(left, a.shape, strict=True)) | dict(zip(right, b.shape, strict=True))
        shape = tuple(size[c] for c in result)
        at = {c: f"d{k}" for k, c in enumerate(letters)}
        maps = [affine(len(letters), [at[c] for c in s]) for s in (left, right, result)]
        kinds = ", ".join('"parallel"' if c in result else '"reduction"' for c in letters)
        e, t, c = a.element, tensor(shape, a.element), self.out.counter
        start = self.weight(shape, e) if onto is True else onto
        init = start.name if start else self.fill(shape, e)
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
