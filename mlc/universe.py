"""What mlc contributes to xDSL's universe: its dialects and passes, by name, imported on first use.

`mlc-opt`, `mlc.compile` and every third-party package find dialects and passes through the same entry points
(`xdsl.universe`); ours have no private door.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from xdsl.universe import Universe

# dialect name -> "module:attribute" of its xdsl.ir.Dialect
DIALECTS: dict[str, str] = {
    "torch": "mlc.dialects.torch:TORCH",
    "torch_c": "mlc.dialects.torch:TORCH_C",
    "linalg_ext": "mlc.dialects.linalg_ext:LINALG_EXT",
    "tm_tensor": "mlc.dialects.tm_tensor:TM_TENSOR",
    "x86vector": "mlc.dialects.x86vector:X86VECTOR",
    "amx": "mlc.dialects.amx:AMX",
}

# pass name -> "module:Class"
PASSES: dict[str, str] = {
    "convert-tm-tensor-to-linalg": "mlc.lowering.linalg.convert_tm_tensor_to_linalg:ConvertTMTensorToLinalg",
    "convert-torch-to-linalg": "mlc.lowering.torch.convert_torch_to_linalg:ConvertTorchToLinalg",
    "torch-canonicalize": "mlc.lowering.torch.torch_canonicalize:TorchCanonicalize",
    "torch-roll-loops": "mlc.lowering.torch.torch_roll_loops:TorchRollLoops",
    "torch-batch-projections": "mlc.lowering.torch.torch_batch_projections:TorchBatchProjections",
    "torch-fold-batch-norm": "mlc.lowering.torch.torch_fold_batch_norm:TorchFoldBatchNorm",
    "convert-to-llvm": "mlc.lowering.llvm.convert_to_llvm:ConvertToLLVM",
    "linalg-winograd-matmul": "mlc.lowering.linalg.linalg_winograd_matmul:LinalgWinogradMatmul",
    "linalg-winograd-pointwise": "mlc.lowering.linalg.linalg_winograd_pointwise:LinalgWinogradPointwise",
    "linalg-split-matmul": "mlc.lowering.linalg.linalg_split_matmul:LinalgSplitMatmul",
    "linalg-winograd-conv2d": "mlc.lowering.linalg.linalg_winograd_conv2d:LinalgWinogradConv2D",
    "linalg-demote-contraction-inputs": (
        "mlc.lowering.linalg.linalg_demote_contraction_inputs:LinalgDemoteContractionInputs"
    ),
    "linalg-demote-convolution-inputs": (
        "mlc.lowering.linalg.linalg_demote_convolution_inputs:LinalgDemoteConvolutionInputs"
    ),
    "linalg-fold-arith-extension": "mlc.lowering.linalg.linalg_fold_arith_extension:LinalgFoldArithExtension",
    "linalg-quantize-contraction-inputs": (
        "mlc.lowering.linalg.linalg_quantize_contraction_inputs:LinalgQuantizeContractionInputs"
    ),
    "linalg-narrow-integral-contractions": (
        "mlc.lowering.linalg.linalg_narrow_integral_contractions:LinalgNarrowIntegralContractions"
    ),
    "linalg-accumulate-products": "mlc.lowering.linalg.linalg_accumulate_products:LinalgAccumulateProducts",
    "linalg-pack-matmul": "mlc.lowering.linalg.linalg_pack_matmul:LinalgPackMatmul",
    "linalg-block-layouts": "mlc.lowering.linalg.linalg_block_layouts:LinalgBlockLayouts",
    "linalg-decompose-named-ops": "mlc.lowering.linalg.linalg_decompose_named_ops:LinalgDecomposeNamedOps",
    "linalg-hoist-constants": "mlc.lowering.linalg.linalg_hoist_constants:LinalgHoistConstants",
    "linalg-propagate-reshapes": "mlc.lowering.linalg.linalg_propagate_reshapes:LinalgPropagateReshapes",
    "linalg-fold-transposes": "mlc.lowering.linalg.linalg_fold_transposes:LinalgFoldTransposes",
    "linalg-fuse-elementwise": "mlc.lowering.linalg.linalg_fuse_elementwise:LinalgFuseElementwise",
    "linalg-form-kernels": "mlc.lowering.linalg.linalg_form_kernels:LinalgFormKernels",
    "bufferize": "mlc.lowering.buffers.bufferize:Bufferize",
    "linalg-to-loops": "mlc.lowering.loops.linalg_to_loops:LinalgToLoops",
    "scf-parallel-outline": "mlc.lowering.loops.scf_parallel_outline:ScfParallelOutline",
    "check-bounds": "mlc.lowering.loops.check_bounds:CheckBounds",
    "scf-parallel-to-for": "mlc.lowering.loops.scf_parallel_to_for:ScfParallelToFor",
    "plan-memory": "mlc.lowering.buffers.plan_memory:PlanMemory",
    "share-kernels": "mlc.lowering.buffers.share_kernels:ShareKernels",
    "expand-attention": "mlc.lowering.vector.expand_attention:ExpandAttention",
    "expand-split-matmul": "mlc.lowering.vector.expand_split_matmul:ExpandSplitMatmul",
    "expand-winograd-matmul": "mlc.lowering.vector.expand_winograd_matmul:ExpandWinogradMatmul",
    "expand-winograd": "mlc.lowering.vector.expand_winograd:ExpandWinograd",
    "expand-math": "mlc.lowering.vector.expand_math:ExpandMath",
    "vectorize-structured": "mlc.lowering.vector.vectorize_structured:VectorizeStructured",
}


def _lazy(target: str) -> Callable[[], Any]:
    module, _, attribute = target.partition(":")

    def load() -> Any:
        return getattr(importlib.import_module(module), attribute)

    return load


MLC_UNIVERSE = Universe(
    all_dialects={name: _lazy(target) for name, target in DIALECTS.items()},
    all_passes={name: _lazy(target) for name, target in PASSES.items()},
)
