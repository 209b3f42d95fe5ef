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
    padding,
    pooling,
    recurrent,
    reduction,
    resampling,
    scalars,
    scatter,
    sorting,
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
    padding,
    pooling,
    recurrent,
    reduction,
    resampling,
    scalars,
    scatter,
    sorting,
    view,
)

__all__ = ["FAMILIES", "LOWERINGS"]
