"""Ops that are recorded as what they are made of, by PyTorch's own definitions; nothing gains by seeing them whole.

torch.einsum("bij,bjk->bik", x, y)   -->   permute, view, bmm
F.mse_loss(x, y)                     -->   sub, pow, mean
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from mlc.frontends.torch.emit import op_name

_NAMES = frozenset(
    {
        "aten._weight_norm",
        "aten._weight_norm_interface",
        "aten.binary_cross_entropy_with_logits",
        "aten.col2im",
        "aten.cosine_similarity",
        "aten.cross_entropy_loss",
        "aten.diag",
        "aten.diag_embed",
        "aten.diff",
        "aten.einsum",
        "aten.glu",
        "aten.grid_sampler",
        "aten.grid_sampler_2d",
        "aten.huber_loss",
        "aten.im2col",
        "aten.kron",
        "aten.meshgrid",
        "aten.meshgrid.indexing",
        "aten.mse_loss",
        "aten.nanmean",
        "aten.nansum",
        "aten.nll_loss",
        "aten.nll_loss_nd",
        "aten.nll_loss_forward",
        "aten.one_hot",
        "aten.rot90",
        "aten.tile",
        "aten.trapezoid.dx",
        "aten.trapezoid.x",
        "aten.upsample_bicubic2d.vec",
    }
)


@cache
def decomposition(func: torch._ops.OpOverload) -> Callable[..., Any] | None:
    """PyTorch's definition of an op that is not recorded whole; None for the others."""
    if op_name(func) not in _NAMES:
        return None
    if func._can_decompose():
        return func.decompose
    from torch._decomp import decomposition_table  # noqa: PLC0415 - half a second, and rarely needed

    return decomposition_table[func]
