"""Python values that become part of a captured program, and when two of them are the same."""

from __future__ import annotations

from enum import Enum
from types import EllipsisType
from typing import Any

import numpy as np
import torch

PLAIN = (type(None), bool, int, float, complex, str, bytes, tuple, torch.dtype, torch.Size)
_OTHERS = (np.generic, torch.device, torch.layout, torch.memory_format, Enum, range, slice, EllipsisType)


def is_constant(value: object) -> bool:
    """Whether an argument can be part of the program: immutable, and comparable with that of another call."""
    if isinstance(value, slice):
        return all(is_constant(v) for v in (value.start, value.stop, value.step))
    if isinstance(value, tuple):
        return all(map(is_constant, value))
    return isinstance(value, (*PLAIN, *_OTHERS))


def same_value(wanted: Any, got: Any) -> bool:
    """Equal and of one type; NaN is itself, -0.0 is not 0.0."""
    if wanted is got:
        return True
    if type(wanted) is not type(got):
        return False
    if isinstance(got, float | complex):
        return repr(wanted) == repr(got)
    if isinstance(got, tuple):
        return len(wanted) == len(got) and all(map(same_value, wanted, got))
    return isinstance(got, (*PLAIN, *_OTHERS)) and bool(wanted == got)
