"""Imports every family, so that `LOWERINGS` is complete."""

from mlc.lowering.torch.to_linalg import (
    attention,
    binary,
    convolution,
    creation,
    elementwise,
    indexing,
    matmul,
    normalization,
    pooling,
    reduction,
    scalars,
    view,
)
from mlc.lowering.torch.to_linalg.registry import LOWERINGS

FAMILIES = (
    attention,
    binary,
    convolution,
    creation,
    elementwise,
    indexing,
    matmul,
    normalization,
    pooling,
    reduction,
    scalars,
    view,
)

__all__ = ["FAMILIES", "LOWERINGS"]
