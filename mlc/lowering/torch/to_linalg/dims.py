"""Sizes of tensors while a function is converted: Python ints, or SSA index values for dynamic ones.

Every dynamic size remembers which product of unknowns it is, so that `view(batch * 12, 64)` of a tensor that came
from `batch` folds back to the sizes it was made of, no size is computed twice, and two equal sizes are one value:

    mul(batch, 128) / 128 -> batch      add(batch, 0) -> batch      min(length, 512) -> length, where it is at most that
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf, prod

from xdsl.dialects import arith
from xdsl.dialects.builtin import DYNAMIC_INDEX
from xdsl.ir import Operation, SSAValue

Dim = int | SSAValue
Monomial = tuple[int, tuple[int, ...]]
Range = tuple[float, float]
Snapshot = tuple[
    dict[Monomial, SSAValue], dict[tuple[str, "int | SSAValue", "int | SSAValue"], SSAValue], dict[SSAValue, SSAValue]
]
_UNKNOWN: Range = (-inf, inf)


def static(dims: Sequence[Dim]) -> bool:
    """Whether all of `dims` are known at compile time."""
    return all(isinstance(d, int) for d in dims)


def mlir_shape(dims: Sequence[Dim]) -> tuple[int, ...]:
    """Shape for a builtin tensor type or a static size list."""
    return tuple(d if isinstance(d, int) else DYNAMIC_INDEX for d in dims)


class DimTable:
    """Arithmetic on sizes, value-numbered. `emit` puts an op at the current place; `constant` makes an index."""

    def __init__(self, emit: Callable[[Operation], Operation], constant: Callable[[int], SSAValue]) -> None:
        self._emit = emit
        self._constant = constant
        self._atoms: list[SSAValue] = []
        self._monomials: dict[SSAValue, Monomial] = {}
        self._products: dict[Monomial, SSAValue] = {}
        self.known: dict[tuple[str, Dim, Dim], SSAValue] = {}
        self._ranges: dict[SSAValue, Range] = {}
        self._equals: dict[SSAValue, SSAValue] = {}

    def equate(self, a: SSAValue, b: SSAValue) -> None:
        """State that `a` is `b`: a check has made sure."""
        self._equals[a] = b

    def limit(self, d: SSAValue, low: float, high: float) -> None:
        """State that `d` lies in low..high."""
        old = self.range(d)
        self._ranges[d] = (max(old[0], low), min(old[1], high))

    def range(self, d: Dim) -> Range:
        """Smallest and largest value that `d` can have."""
        return (d, d) if isinstance(d, int) else self._ranges.get(d, _UNKNOWN)

    def snapshot(self) -> Snapshot:
        """What is computed so far, to be restored when a nested block ends."""
        return dict(self._products), dict(self.known), dict(self._equals)

    def restore(self, state: Snapshot) -> None:
        """Forget sizes computed since `snapshot` (they live in a block that has ended)."""
        self._products, self.known, self._equals = state

    def value(self, d: Dim) -> SSAValue:
        """`d` as an index value."""
        return self._constant(d) if isinstance(d, int) else d

    def monomial(self, d: Dim) -> Monomial:
        """`d` as coefficient times unknowns."""
        if isinstance(d, int):
            return (d, ())
        while d in self._equals:
            d = self._equals[d]
        known = self._monomials.get(d)
        if known is None:
            known = (1, (len(self._atoms),))
            self._atoms.append(d)
            self._monomials[d] = known
            self._products[known] = d
        return known

    def _of_monomial(self, m: Monomial) -> Dim:
        coefficient, atoms = m
        if not atoms or coefficient == 0:
            return coefficient
        found = self._products.get(m)
        if found is None:
            if coefficient != 1:
                rest = self._of_monomial((1, atoms))
                found = self._binary(arith.MuliOp, rest, coefficient)
            else:
                found = self._binary(arith.MuliOp, self._of_monomial((1, atoms[:-1])), self._atoms[atoms[-1]])
            self._products[m] = found
            self._monomials[found] = m
            ranges = [self.range(self._atoms[a]) for a in atoms]
            if coefficient >= 0 and all(low >= 0 for low, _ in ranges):
                low, high = prod(r[0] for r in ranges), prod(r[1] for r in ranges)
                self._ranges[found] = (coefficient * low, coefficient * high)
        return found

    def _binary(self, op: type[Operation], a: Dim, b: Dim) -> SSAValue:
        return self._emit(op(self.value(a), self.value(b))).results[0]  # pyright: ignore[reportCallIssue]

    def _numbered(self, name: str, op: type[Operation], a: Dim, b: Dim, range: Range) -> SSAValue:
        key = (name, a, b)
        if key not in self.known:
            self.known[key] = self._binary(op, a, b)
            self._ranges[self.known[key]] = range
        return self.known[key]

    def same(self, a: Dim, b: Dim) -> bool:
        """Whether the two are equal in every run."""
        return a is b or (not isinstance(a, SSAValue) and a == b) or self.monomial(a) == self.monomial(b)

    def product(self, dims: Iterable[Dim]) -> Dim:
        coefficient, atoms = 1, []
        for d in dims:
            c, more = self.monomial(d)
            coefficient *= c
            atoms += more
        return self._of_monomial((coefficient, tuple(sorted(atoms))))

    def exact_quotient(self, a: Dim, b: Dim) -> Dim | None:
        """a / b when it divides in every run, else None."""
        (ca, xs), (cb, ys) = self.monomial(a), self.monomial(b)
        rest = list(xs)
        for y in ys:
            if y not in rest:
                return None
            rest.remove(y)
        if cb == 0 or ca % cb:
            return None
        return self._of_monomial((ca // cb, tuple(rest)))

    def mul(self, a: Dim, b: Dim) -> Dim:
        return self.product((a, b))

    def add(self, a: Dim, b: Dim) -> Dim:
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0:
            return b
        if b == 0:
            return a
        if isinstance(a, int):
            a, b = b, a
        (la, ha), (lb, hb) = self.range(a), self.range(b)
        return self._numbered("add", arith.AddiOp, a, b, (la + lb, ha + hb))

    def sub(self, a: Dim, b: Dim) -> Dim:
        if isinstance(a, int) and isinstance(b, int):
            return a - b
        if self.same(a, b):
            return 0
        if b == 0:
            return a
        (la, ha), (lb, hb) = self.range(a), self.range(b)
        return self._numbered("sub", arith.SubiOp, a, b, (la - hb, ha - lb))

    def floordiv(self, a: Dim, b: Dim) -> Dim:
        """Floor division of a size by a positive size."""
        if isinstance(a, int) and isinstance(b, int):
            return a // b
        exact = self.exact_quotient(a, b)
        if exact is not None:
            return exact
        low, high = self.range(a)
        return self._numbered("div", arith.FloorDivSIOp, a, b, (0, high) if low >= 0 else (low, max(high, 0)))

    def minimum(self, a: Dim, b: Dim) -> Dim:
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        (la, ha), (lb, hb) = self.range(a), self.range(b)
        if self.same(a, b) or ha <= lb:
            return a
        return b if hb <= la else self._numbered("min", arith.MinSIOp, a, b, (min(la, lb), min(ha, hb)))

    def maximum(self, a: Dim, b: Dim) -> Dim:
        if isinstance(a, int) and isinstance(b, int):
            return max(a, b)
        (la, ha), (lb, hb) = self.range(a), self.range(b)
        if self.same(a, b) or la >= hb:
            return a
        return b if lb >= ha else self._numbered("max", arith.MaxSIOp, a, b, (max(la, lb), max(ha, hb)))
