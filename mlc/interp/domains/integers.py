"""IEEE floats that happen to be integers small enough for every order of additions to be exact.

Inputs must be integers. `exact` says afterwards whether every float met was an integer within the type's exact range;
if so, two programs that differ only in the order of their additions must agree bit for bit, comparisons and min and max
included.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.builtin import BFloat16Type
from xdsl.ir import Attribute

from mlc.interp.domains.ieee import IeeeDomain
from mlc.ir.values import dtype_of, element_type

Value = Any

_EXACT_BITS = {np.dtype(np.float16): 11, np.dtype(np.float32): 24, np.dtype(np.float64): 53}


class IntegersDomain(IeeeDomain):
    """`IeeeDomain` that watches whether all floats are exact integers."""

    name = "integers"

    def __init__(self) -> None:
        self.exact = True

    def _watch(self, value: Value, t: Attribute) -> Value:
        if self.exact:
            e = element_type(t)
            limit = 2.0 ** (8 if isinstance(e, BFloat16Type) else _EXACT_BITS[dtype_of(e)])
            x = np.asarray(value)
            if not np.all(np.isinf(x) | ((np.abs(x) <= limit) & (np.trunc(x) == x))):
                self.exact = False
        return value

    def float1(self, name: str, a: Value, t: Attribute) -> Value:
        return self._watch(super().float1(name, a, t), t)

    def float2(self, name: str, a: Value, b: Value, t: Attribute) -> Value:
        return self._watch(super().float2(name, a, b, t), t)

    def fma(self, a: Value, b: Value, c: Value, t: Attribute) -> Value:
        self._watch(super().float2("mul", a, b, t), t)
        return self._watch(super().fma(a, b, c, t), t)

    def convert(self, a: Value, source: Attribute, target: Attribute) -> Value:
        return self._watch(super().convert(a, source, target), target)

    def from_int(self, a: Value, target: Attribute) -> Value:
        return self._watch(super().from_int(a, target), target)

    def sum(self, a: Value, axes: tuple[int, ...], t: Attribute, init: Value | None = None) -> Value:
        self._watch(np.sum(np.abs(np.asarray(a, dtype=np.float64)), axis=axes), t)
        return self._watch(super().sum(a, axes, t, init), t)

    def inline(self, name: str, t: Attribute) -> str | None:
        return None
