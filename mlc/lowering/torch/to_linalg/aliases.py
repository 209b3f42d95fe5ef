"""Ops that are others under a second name (`mlc/dialects/torch/second_names.py`)."""

from __future__ import annotations

from mlc.dialects.torch.second_names import SECOND_NAMES
from mlc.lowering.torch.to_linalg import binary, division, elementwise, matmul, normalization, reduction, scans, special
from mlc.lowering.torch.to_linalg.registry import LOWERINGS, lowers

FIRST_NAMES_IN = (binary, division, elementwise, matmul, normalization, reduction, scans, special)

for _second, _first in SECOND_NAMES.items():
    lowers(_second)(LOWERINGS[f"torch.{_first}"])
