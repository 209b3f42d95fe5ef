"""The profiles that contracts name, and the generator behind each."""

from __future__ import annotations

from fuzz.generators.aliasing import aliasing_kernels
from fuzz.generators.arith import scalar_function
from fuzz.generators.attention import attention, attention_groups, attention_kernels
from fuzz.generators.buffers import memref_kernel
from fuzz.generators.demoted_convolutions import (
    demoted_convolution_groups,
    demoted_convolution_kernels,
    demoted_convolutions,
    linalg_demote_convolutions,
)
from fuzz.generators.dot_products import (
    demoted_products,
    memref_dot_kernel,
    memref_matrix_kernel,
    narrowed_products,
    quantised_products,
    tile_loops,
)
from fuzz.generators.extensions import extended_convolutions, extended_products, folded_products
from fuzz.generators.functions import function_kernel
from fuzz.generators.kernel_families import kernel_families
from fuzz.generators.kernel_witnesses import kernel_witnesses, memref_copies
from fuzz.generators.linalg import ALL_STEPS, CONSTANT_STEPS, ELEMENTWISE_STEPS, NAMED_STEPS, linalg, linalg_elementwise
from fuzz.generators.linalg_witnesses import witnessed
from fuzz.generators.loops import loop_kernel
from fuzz.generators.row_products import memref_rows_kernel
from fuzz.generators.split_matmul import (
    linalg_split_matmul,
    split_matmul,
    split_matmul_groups,
    split_matmul_kernels,
)
from fuzz.generators.staged import (
    aliasing_buffers,
    buffers,
    kernels,
    loops,
    parallel_loops,
    planned,
    rare_buffers,
    recurrent_kernels,
    torch_loops,
)
from fuzz.generators.tiled_rows import tiled_rows
from fuzz.generators.tm_tensor import tm_tensor_op
from fuzz.generators.torch_steps import torch_steps
from fuzz.generators.torch_witnesses import torch_witnessed
from fuzz.generators.winograd import linalg_winograd, winograd, winograd_kernels
from fuzz.generators.winograd_matmul import (
    linalg_winograd_matmul,
    winograd_matmul,
    winograd_matmul_groups,
    winograd_matmul_kernels,
)
from fuzz.generators.winograd_pointwise import (
    linalg_winograd_pointwise,
    winograd_pointwise,
    winograd_pointwise_groups,
    winograd_pointwise_kernels,
)
from fuzz.tape import Generator, Tape
from mlc.testing.program import Program


def mixed(*choices: tuple[int, Generator]) -> Generator:
    """One of several generators, by weight; the first is what a tape of zeros takes."""

    def generate(tape: Tape) -> Program:
        at = tape.below(sum(weight for weight, _ in choices))
        for weight, generator in choices:
            if at < weight:
                return generator(tape)
            at -= weight
        raise AssertionError("weights add up")

    return generate


LEVELS = mixed(
    *((3, scalar_function), (2, loop_kernel), (2, linalg), (1, kernel_witnesses), (1, aliasing_kernels)),
    *((2, memref_kernel), (1, aliasing_buffers), (1, loops), (1, torch_witnessed("torch-canonicalize"))),
)

PROFILES: dict[str, Generator] = {
    "any": LEVELS,
    "arith": mixed((3, scalar_function), (1, loop_kernel)),
    "torch-forms": torch_witnessed("torch-canonicalize"),
    "torch-conv-bn": torch_witnessed("torch-fold-batch-norm"),
    "torch-steps": torch_steps,
    "torch-loops": torch_loops,
    "torch-lowering": mixed((7, torch_witnessed("convert-torch-to-linalg")), (1, torch_loops)),
    "linalg": linalg,
    "linalg-elementwise": linalg_elementwise,
    "tm-tensor": tm_tensor_op,
    "linalg-winograd": linalg_winograd,
    "winograd": winograd,
    "linalg-winograd-matmul": linalg_winograd_matmul,
    "linalg-winograd-pointwise": linalg_winograd_pointwise,
    "linalg-split-matmul": linalg_split_matmul,
    "linalg-demote-convolutions": linalg_demote_convolutions,
    "attention": attention,
    "winograd-matmul": mixed((1, winograd_matmul), (1, winograd_pointwise)),
    "split-matmul": split_matmul,
    "linalg-products": witnessed("linalg-pack-matmul", ALL_STEPS),
    "linalg-packing": mixed(
        *((7, witnessed("linalg-pack-matmul", ALL_STEPS)), (4, demoted_products), (8, narrowed_products)),
        (5, folded_products),
    ),
    "linalg-extensions": mixed((3, extended_products), (2, extended_convolutions)),
    "linalg-sums": witnessed("linalg-accumulate-products", ALL_STEPS),
    "linalg-quantized": quantised_products,
    "linalg-images": witnessed("linalg-block-layouts", ALL_STEPS),
    "linalg-named": witnessed("linalg-decompose-named-ops", NAMED_STEPS),
    "linalg-constants": witnessed("linalg-hoist-constants", CONSTANT_STEPS),
    "linalg-reshapes": witnessed("linalg-propagate-reshapes", ALL_STEPS),
    "linalg-transposes": witnessed("linalg-fold-transposes", ALL_STEPS),
    "linalg-fusion": witnessed("linalg-fuse-elementwise", ELEMENTWISE_STEPS),
    "linalg-groups": mixed(
        (4, witnessed("linalg-form-kernels", ALL_STEPS)),
        (1, mixed((1, winograd_matmul_groups), (1, split_matmul_groups))),
        (1, mixed((1, winograd_pointwise_groups), (1, demoted_convolution_groups))),
        (1, attention_groups),
    ),
    "kernels": mixed(
        *((1, kernels), (1, recurrent_kernels), (3, aliasing_kernels), (6, kernel_witnesses), (4, winograd_kernels)),
        *(
            (4, mixed((1, winograd_matmul_kernels), (1, attention_kernels), (1, split_matmul_kernels))),
            (1, mixed((1, winograd_pointwise_kernels), (1, demoted_convolution_kernels))),
        ),
    ),
    "memref-kernels": memref_kernel,
    "buffers": mixed((3, memref_kernel), (2, buffers), (4, rare_buffers), (1, memref_copies)),
    "allocations": mixed((1, buffers), (2, aliasing_buffers)),
    "kernel-families": kernel_families,
    "memref-structured": mixed(
        (22, memref_kernel),
        (7, memref_rows_kernel),
        (1, planned),
        (14, mixed((9, memref_dot_kernel), (1, demoted_convolutions))),
        (8, tiled_rows),
    ),
    "memref-matrix": memref_matrix_kernel,
    "vector-math": mixed((4, function_kernel), (1, loop_kernel)),
    "loops": mixed((10, loop_kernel), (4, loops), (3, tile_loops)),
    "parallel-loops": mixed((2, loop_kernel), (3, parallel_loops)),
}
