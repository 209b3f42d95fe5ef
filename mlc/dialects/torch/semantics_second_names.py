"""Meaning of ops that are others under a second name."""

from __future__ import annotations

from mlc.dialects.torch import (
    semantics_binary,
    semantics_elementwise,
    semantics_nn,
    semantics_reduce,
    semantics_special,
)
from mlc.dialects.torch.numpy_values import MEANINGS, torch_semantics
from mlc.dialects.torch.second_names import SECOND_NAMES

FIRST_NAMES_IN = (semantics_binary, semantics_elementwise, semantics_nn, semantics_reduce, semantics_special)

for _second, _first in SECOND_NAMES.items():
    if _first in MEANINGS and _second not in MEANINGS:
        torch_semantics(_second)(MEANINGS[_first])
