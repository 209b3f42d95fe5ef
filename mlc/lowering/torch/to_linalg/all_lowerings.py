"""Imports every family, so that `LOWERINGS` is complete."""

from mlc.lowering.torch.to_linalg import (
    attention,
    binary,
    convolution,
    creation,
    elementwise,
    embedding_bag,
    indexing,
    masks,
    matmul,
    miscellaneous,
    normalization,
    padding,
    pooling,
    quantized,
    recurrent,
    reduction,
    resampling,
    resampling_antialias,
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
    embedding_bag,
    indexing,
    masks,
    matmul,
    miscellaneous,
    normalization,
    padding,
    pooling,
    quantized,
    recurrent,
    reduction,
    resampling,
    resampling_antialias,
    scalars,
    scatter,
    sorting,
    view,
)

__all__ = ["FAMILIES", "LOWERINGS"]
