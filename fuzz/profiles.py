"""The profiles that contracts name, and the generator behind each."""

from __future__ import annotations

from collections.abc import Callable

from fuzz.generators.arith import scalar_function
from fuzz.generators.buffers import memref_kernel
from fuzz.generators.functions import function_kernel
from fuzz.generators.linalg import linalg, linalg_constants, linalg_elementwise, linalg_named
from fuzz.generators.loops import loop_kernel
from fuzz.generators.staged import buffers, kernels, loops, planned
from fuzz.generators.tm_tensor import tm_tensor_op
from fuzz.generators.torch import torch_conv_bn, torch_ops
from fuzz.tape import Tape
from mlc.testing.program import Program

Generator = Callable[[Tape], Program]


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


PROFILES: dict[str, Generator] = {
    "arith": mixed((3, scalar_function), (1, loop_kernel)),
    "torch-ops": torch_ops,
    "torch-conv-bn": torch_conv_bn,
    "linalg": linalg,
    "linalg-named": linalg_named,
    "linalg-elementwise": linalg_elementwise,
    "linalg-constants": linalg_constants,
    "tm-tensor": tm_tensor_op,
    "kernels": kernels,
    "buffers": mixed((2, memref_kernel), (3, buffers)),
    "memref-structured": mixed((3, memref_kernel), (1, planned)),
    "vector-math": mixed((4, function_kernel), (1, loop_kernel)),
    "loops": mixed((5, loop_kernel), (2, loops)),
}
