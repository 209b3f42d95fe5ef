"""Sizes of kernels: integers times products of symbols, a symbol being a dimension or stride known at run time.

memref<?x8xf32>   -->   sizes d0 and 8, strides 8 and 1; the rows of two operands of one loop: one symbol
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from xdsl.ir import SSAValue


class Symbol(NamedTuple):
    """A size known at run time: dimension or stride `position` of `value`."""

    kind: str  # "dim" or "stride"
    value: SSAValue
    position: int


@dataclass(frozen=True)
class Size:
    """`factor` times the product of `symbols` (numbers of a `Symbols` table, sorted)."""

    factor: int
    symbols: tuple[int, ...] = ()

    def __mul__(self, other: Size) -> Size:
        factor = self.factor * other.factor
        return Size(factor, tuple(sorted(self.symbols + other.symbols)) if factor else ())

    @property
    def static(self) -> int | None:
        return None if self.symbols else self.factor

    def divide(self, by: Size) -> Size | None:
        """The exact quotient, when there is one."""
        rest = list(self.symbols)
        for symbol in by.symbols:
            if symbol not in rest:
                return None
            rest.remove(symbol)
        if by.factor == 0 or self.factor % by.factor:
            return None
        return Size(self.factor // by.factor, tuple(rest))


ZERO = Size(0)
ONE = Size(1)


class Symbols:
    """Run-time sizes of a kernel; sizes that an op ties together become one symbol, or a number."""

    def __init__(self) -> None:
        self.entries: list[Symbol] = []
        self._numbers: dict[Symbol, int] = {}
        self._most: dict[int, int] = {}
        self._parent: dict[int, int | Size] = {}

    def size(self, symbol: Symbol, most: int | None = None) -> Size:
        """The size that `symbol` stands for. `most`: it is never larger."""
        number = self._numbers.setdefault(symbol, len(self.entries))
        if number == len(self.entries):
            self.entries.append(symbol)
        if most is not None:
            self._most[number] = most
        return self._find(number)

    def at_most(self, size: Size) -> int | None:
        """A number that `size` never goes beyond, where one is known."""
        size, most = self.canonical(size), 1
        for symbol in size.symbols:
            bounds = [n for number, n in self._most.items() if self._find(number) == Size(1, (symbol,))]
            if not bounds:
                return None
            most *= min(bounds)
        return size.factor * most

    def _find(self, number: int) -> Size:
        while number in self._parent:
            parent = self._parent[number]
            if isinstance(parent, Size):
                return parent
            number = parent
        return Size(1, (number,))

    def canonical(self, size: Size) -> Size:
        """`size` with every tied symbol replaced by what it is tied to."""
        out = Size(size.factor)
        for symbol in size.symbols:
            out *= self._find(symbol)
        return out

    def tie(self, a: Size, b: Size) -> None:
        """Record that `a` and `b` are equal (from two operands indexed by one loop)."""
        a, b = self.canonical(a), self.canonical(b)
        if a == b:
            return
        if b.factor == 1 and len(b.symbols) == 1 and (a.static is not None or b.symbols[0] > min(a.symbols)):
            a, b = b, a
        if a.factor == 1 and len(a.symbols) == 1 and a.symbols[0] not in b.symbols:
            self._parent[a.symbols[0]] = b.symbols[0] if b.factor == 1 and len(b.symbols) == 1 else b
