"""Ops on tensors and buffers for which MLIR has no word: Winograd convolution in a blocked layout,
matrix products by Winograd's inner product, or of three bf16 numbers for each of f32, attention kept whole, buffers
private to the iterations of a parallel loop. No passes.

In: nothing but xDSL's IRDL. Out: `LINALG_EXT`, the points and programs of the transforms (`winograd.py`), semantics.
"""

from __future__ import annotations

from xdsl.ir import Dialect

from mlc.dialects.linalg_ext.attention_op import AttentionOp
from mlc.dialects.linalg_ext.private_op import PrivateOp
from mlc.dialects.linalg_ext.split_matmul_ops import BF16PartsOp, SplitMatmulOp, SplitMatmulWeightsOp
from mlc.dialects.linalg_ext.winograd_matmul_ops import WinogradMatmulOp, WinogradMatmulWeightsOp
from mlc.dialects.linalg_ext.winograd_ops import WinogradConv2DOp, WinogradFilterTransformOp

LINALG_EXT = Dialect(
    "linalg_ext",
    [
        AttentionOp,
        BF16PartsOp,
        PrivateOp,
        SplitMatmulOp,
        SplitMatmulWeightsOp,
        WinogradConv2DOp,
        WinogradFilterTransformOp,
        WinogradMatmulOp,
        WinogradMatmulWeightsOp,
    ],
    [],
)

__all__ = ["LINALG_EXT"]
