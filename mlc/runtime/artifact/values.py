"""Python values in a saved model: as JSON, and what equals them at a call.

    to_json((-0.0, torch.int8))   -->   {"tuple": [{"float": "-0x0.0p+0"}, {"other": ["torch.dtype", "torch.int8"]}]}
    same_value(from_json(…), (-0.0, torch.int8))   -->   True

Values whose class is not Python's own (torch's dtypes and devices, enums) are told apart by class and text; their
classes are never imported.
Tests: tests/runtime/artifact/test_values.py
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

_TORCH = ("torch.dtype", "torch.device", "torch.layout", "torch.memory_format", "torch.Size")
_DEPTH = 50


@dataclass(frozen=True)
class Other:
    """A value known by the name of its class and its text alone."""

    type: str
    text: str

    def __repr__(self) -> str:
        return self.text


def class_name(value: object) -> str:
    """`torch.dtype`, with the module."""
    cls = type(value)
    return f"{cls.__module__}.{cls.__qualname__}"


def other(value: object) -> Other | None:
    """What a value is known by where its class is not Python's own; None for a value that has no such text."""
    name = class_name(value)
    if isinstance(value, Enum):
        return Other(name, f"{type(value).__name__}.{value.name}")
    if name in _TORCH:
        return Other(name, str(value))
    if isinstance(value, np.generic):
        return Other(name, value.tobytes().hex())
    return None


def to_json(value: Any) -> Any:
    """Plain JSON data; TypeError for what cannot be kept."""
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return {"float": value.hex()}
    if type(value) is complex:
        return {"complex": [value.real.hex(), value.imag.hex()]}
    if type(value) is bytes:
        return {"bytes": value.hex()}
    if type(value) is tuple:
        return {"tuple": [to_json(v) for v in value]}
    if type(value) in (range, slice):
        return {type(value).__name__: [to_json(v) for v in (value.start, value.stop, value.step)]}
    if value is ...:
        return {"ellipsis": True}
    known = other(value)
    if known is None:
        raise TypeError(f"a value of {class_name(value)}")
    return {"other": [known.type, known.text]}


def from_json(data: Any, depth: int = 0) -> Any:
    """The value, with `Other` for those of other classes; ValueError for anything else."""
    if data is None or type(data) in (bool, int, str):
        return data
    if type(data) is not dict or len(data) != 1 or depth > _DEPTH:
        raise ValueError("a value that is none")
    ((kind, inner),) = data.items()
    if kind in ("float", "bytes") and type(inner) is str:
        return float.fromhex(inner) if kind == "float" else bytes.fromhex(inner)
    if kind == "ellipsis":
        return ...
    if type(inner) is not list:
        raise ValueError(f"a value of kind {kind}")
    if kind == "tuple":
        return tuple(from_json(v, depth + 1) for v in inner)
    if kind == "complex":
        real, imag = map(float.fromhex, inner)
        return complex(real, imag)
    if kind in ("range", "slice") and len(inner) == 3:
        parts = [from_json(v, depth + 1) for v in inner]
        return range(*parts) if kind == "range" else slice(*parts)
    if kind == "other":
        name, text = map(str, inner)
        return Other(name, text)
    raise ValueError(f"a value of kind {kind}")


def same_value(wanted: Any, got: Any) -> bool:
    """Equal and of one class; NaN is itself, -0.0 is not 0.0."""
    if isinstance(wanted, Other):
        return other(got) == wanted
    if type(wanted) is not type(got):
        return False
    if isinstance(got, float | complex):
        return repr(wanted) == repr(got)
    if isinstance(got, tuple):
        return len(wanted) == len(got) and all(map(same_value, wanted, got))
    return bool(wanted == got)
