"""Ops that are recorded as what they are made of, by PyTorch's own definitions; nothing gains by seeing them whole.

torch.einsum("bij,bjk->bik", x, y)   -->   permute, view, bmm
F.mse_loss(x, y)                     -->   sub, pow, mean
torch.column_stack((x, y))           -->   view, cat

These are the ops named here, and all those with a definition whose result types the torch dialect cannot infer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from mlc.dialects.torch.inference import inferable
from mlc.frontends.torch.emit import op_name

RECORDED_IN_PARTS = frozenset(
    {
        "aten._weight_norm",
        "aten._weight_norm_interface",
        "aten.argsort.stable",
        "aten.argwhere",
        "aten.as_strided_scatter",
        "aten.binary_cross_entropy_with_logits",
        "aten.broadcast_tensors",
        "aten.col2im",
        "aten.cosine_similarity",
        "aten.cross_entropy_loss",
        "aten.diag",
        "aten.diag_embed",
        "aten.diff",
        "aten.einsum",
        "aten.fliplr",
        "aten.flipud",
        "aten.glu",
        "aten.grid_sampler",
        "aten.grid_sampler_2d",
        "aten.huber_loss",
        "aten.im2col",
        "aten.index_fill.int_Tensor",
        "aten.kron",
        "aten.meshgrid",
        "aten.meshgrid.indexing",
        "aten.mse_loss",
        "aten.nanmean",
        "aten.nansum",
        "aten.nll_loss",
        "aten.nll_loss_forward",
        "aten.nll_loss_nd",
        "aten.one_hot",
        "aten.repeat_interleave.self_Tensor",
        "aten.rot90",
        "aten.split_with_sizes_copy",
        "aten.squeeze_copy.dims",
        "aten.take",
        "aten.tile",
        "aten.trapezoid.dx",
        "aten.trapezoid.x",
        "aten.unbind_copy.int",
        "aten.unfold_copy",
        "aten.unsafe_chunk",
        "aten.unsafe_split.Tensor",
        "aten.unsafe_split_with_sizes",
        "aten.upsample_bicubic2d.vec",
    }
)


# lowered whole, though the dialect infers no types for them
_WHOLE = frozenset(
    {
        "aten._fused_rms_norm",
        "aten._unsafe_index_put",
        "aten._upsample_nearest_exact1d",
        "aten._upsample_nearest_exact1d.vec",
        "aten._upsample_nearest_exact2d",
        "aten._upsample_nearest_exact2d.vec",
        "aten._upsample_nearest_exact3d",
        "aten._upsample_nearest_exact3d.vec",
        "aten.addr",
        "aten.adjoint",
        "aten.alias_copy",
        "aten.fake_quantize_per_tensor_affine",
        "aten.fix",
        "aten.log_sigmoid_forward",
        "aten.movedim.intlist",
        "aten.native_channel_shuffle",
        "aten.norm.ScalarOpt_dim_dtype",
        "aten.std_mean",
        "aten.upsample_trilinear3d",
        "aten.upsample_trilinear3d.vec",
        "aten.var_mean",
    }
)


@cache
def decomposition(func: torch._ops.OpOverload) -> Callable[..., Any] | None:
    """PyTorch's definition of an op that is not recorded whole; None for the others."""
    if op_name(func) not in RECORDED_IN_PARTS and not _is_unknown(func):
        return None
    if func._can_decompose():
        return func.decompose
    from torch._decomp import decomposition_table  # noqa: PLC0415 - half a second, and rarely needed

    return decomposition_table.get(func)


def _is_unknown(func: torch._ops.OpOverload) -> bool:
    """Whether the torch dialect does not know what the results look like, and a definition may say it instead.

    Ops that read values, draw random numbers or have data-dependent shapes stay whole: they are refused by name.
    """
    name = op_name(func)
    if func.namespace != "aten" or name in _WHOLE or name in inferable():
        return False
    told = {torch.Tag.nondeterministic_seeded, torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}
    makes_tensors = all("Tensor" in str(r.type) for r in func._schema.returns)
    return makes_tensors and bool(func._schema.returns) and not told & set(func.tags)
