"""IEEE 754: each op rounded once to its type, as the IR says. bf16 is float32 rounded to bf16 after each op."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.builtin import BFloat16Type, Float64Type
from xdsl.ir import Attribute

from mlc.arrays import floats
from mlc.interp.domains.rounding import fma_f64, fma_narrow
from mlc.ir.values import dtype_of, element_type, float_kind

Value = Any

_INLINE = {
    "add": "({0} + {1})",
    "sub": "({0} - {1})",
    "mul": "({0} * {1})",
    "div": "np.divide({0}, {1})",
    "neg": "(-{0})",
}


class IeeeDomain:
    """Floats are numpy floats of the type's own dtype."""

    name = "ieee"

    def dtype(self, t: Attribute) -> np.dtype[Any]:
        return dtype_of(t)

    def constant(self, value: Any, t: Attribute) -> Value:
        return value

    def to_ieee(self, value: Value, t: Attribute) -> np.ndarray:
        return np.asarray(value)

    def looked_at(self, value: Value) -> np.ndarray:
        return np.asarray(value)

    def float1(self, name: str, a: Value, t: Attribute) -> Value:
        return floats.float1(name, float_kind(t), a)

    def float2(self, name: str, a: Value, b: Value, t: Attribute) -> Value:
        return floats.float2(name, float_kind(t), a, b)

    def fma(self, a: Value, b: Value, c: Value, t: Attribute) -> Value:
        e = element_type(t)
        if isinstance(e, Float64Type):
            return fma_f64(a, b, c)
        return fma_narrow(a, b, c, dtype_of(e), bf16=isinstance(e, BFloat16Type))

    def compare(self, predicate: str, a: Value, b: Value, t: Attribute) -> Value:
        return floats.compare(predicate, a, b)

    def convert(self, a: Value, source: Attribute, target: Attribute) -> Value:
        return floats.round_to(float_kind(target), a)

    def from_int(self, a: Value, target: Attribute) -> Value:
        return floats.from_int(float_kind(target), a)

    def to_int(self, a: Value, source: Attribute, target: np.dtype[Any]) -> tuple[Value, Value]:
        return floats.to_int_checked(a, target)

    def sum(self, a: Value, axes: tuple[int, ...], t: Attribute, init: Value | None = None) -> Value:
        return floats.add_up(float_kind(t), a, axes, init)

    def inline(self, name: str, t: Attribute) -> str | None:
        return None if isinstance(element_type(t), BFloat16Type) else _INLINE.get(name)
