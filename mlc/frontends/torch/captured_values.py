"""Python values that become part of a captured program, and when two of them are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

PLAIN = (type(None), bool, int, float, complex, str, bytes, tuple, torch.dtype, torch.Size)
_OTHERS = (np.generic, torch.device, torch.layout, torch.memory_format)


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
