"""Ops that are recorded as what they are made of, by PyTorch's own definitions; nothing gains by seeing them whole.

torch.einsum("bij,bjk->bik", x, y)   -->   permute, view, bmm
F.mse_loss(x, y)                     -->   sub, pow, mean
torch.hstack([x, y])                 -->   cat

These are the ops named here, and every composite op that the torch dialect knows nothing of.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from mlc.dialects.torch import inferable
from mlc.frontends.torch.emit import op_name

_NAMES = frozenset(
    {
        "aten._unsafe_masked_index",
        "aten._unsafe_masked_index_put_accumulate",
        "aten._weight_norm",
        "aten._weight_norm_interface",
        "aten.affine_grid_generator",
        "aten.binary_cross_entropy_with_logits",
        "aten.block_diag",
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
        "aten.isin.Scalar_Tensor",
        "aten.isin.Tensor_Scalar",
        "aten.isin.Tensor_Tensor",
        "aten.kron",
        "aten.logspace",
        "aten.max_unpool2d",
        "aten.max_unpool3d",
        "aten.meshgrid",
        "aten.meshgrid.indexing",
        "aten.mse_loss",
        "aten.nanmean",
        "aten.nansum",
        "aten.nll_loss",
        "aten.nll_loss_forward",
        "aten.nll_loss_nd",
        "aten.one_hot",
        "aten.rot90",
        "aten.select_backward",
        "aten.tile",
        "aten.trace",
        "aten.trapezoid.dx",
        "aten.trapezoid.x",
        "aten.upsample_bicubic2d.vec",
    }
)


@cache
def _known() -> frozenset[str]:
    """Ops whose result types the torch dialect can tell: worth seeing whole."""
    return frozenset(inferable())


def _is_composite(func: torch._ops.OpOverload) -> bool:
    """Whether ATen itself makes this op of others; those that read a number (item) are named as they are."""
    makes_tensors = any("Tensor" in str(r.type) for r in func._schema.returns)
    return func.namespace == "aten" and makes_tensors and not func._schema.is_mutable and func._can_decompose()


@cache
def decomposition(func: torch._ops.OpOverload) -> Callable[..., Any] | None:
    """PyTorch's definition of an op that is not recorded whole; None for the others."""
    name = op_name(func)
    if name not in _NAMES:
        return func.decompose if _is_composite(func) and name not in _known() else None
    if func._can_decompose():
        return func.decompose
    from torch._decomp import decomposition_table  # noqa: PLC0415 - half a second, and rarely needed

    return decomposition_table[func]
