"""What ops do to IEEE numbers, by names that stand in data.

    function("float2")("add", "f32", a, b)  -->  a + b, rounded to f32

A step's attributes come first, its operands after them. The registered meanings of ops say which step they are
(`mlc.ir.semantics.Step`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache, partial
from typing import Any

_FUNCTIONS = {
    "bf16_bits": "bfloat16",
    "elementwise": "elementwise",
    "as_dtype": "integers",
    "int2": "integers",
    "reduce": "reduction",
    "float1": "floats",
    "float2": "floats",
    "round_to": "floats",
    "to_int": "floats",
    "literal": "stored",
    "pack": "packing",
    "paired_weights": "scaled_weights",
    "split_weights": "scaled_weights",
    "reshape": "shapes",
    "transpose": "shapes",
    "transform_filters": "winograd_filters",
}
"""The module of each."""


@cache
def function(kind: str) -> Callable[..., Any]:
    """What a step of this kind calls; KeyError where there is none."""
    found = getattr(importlib.import_module(f"mlc.arrays.{_FUNCTIONS[kind]}"), kind)
    return partial(found, function) if kind in ("elementwise", "reduce") else found
