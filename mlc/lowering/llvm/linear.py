"""Index values as linear forms, so that addresses come apart into what is hoisted and what is a displacement.

%i2 = arith.addi %i, %c2            address of %m[%i2, %j] of memref<?x64xf32>:
vector.load %m[%i2, %j]      -->    64*%i (computed once outside the %j loop) + %j + 128 (in the instruction)
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.ir import SSAValue


@dataclass(frozen=True, slots=True)
class Linear:
    """`const + sum(coefficient * value)` over i64 values, modulo 2^64."""

    const: int = 0
    terms: dict[SSAValue, int] = field(default_factory=dict)

    def plus(self, other: Linear) -> Linear:
        """Sum of two forms."""
        if not other.terms:
            return self if other.const == 0 else Linear(self.const + other.const, self.terms)
        terms = dict(self.terms)
        for value, coefficient in other.terms.items():
            total = terms.get(value, 0) + coefficient
            if total:
                terms[value] = total
            else:
                terms.pop(value, None)
        return Linear(self.const + other.const, terms)

    def times(self, factor: int) -> Linear:
        """The form scaled by a constant."""
        if factor == 1:
            return self
        if factor == 0:
            return ZERO
        return Linear(self.const * factor, {v: c * factor for v, c in self.terms.items()})


ZERO = Linear()
