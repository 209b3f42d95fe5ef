"""Products over panels of rows: accumulators across rows, turned into vectors along the results."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import SSAValue

from mlc.backends.machine import PRESETS, preset
from tests.lowering.vector.programs import Kernel, check, lowered

BIAS_RELU = [
    "%s = arith.addf %acc, %a0 : f32",
    "%z = arith.constant 0.0 : f32",
    "%r = arith.maximumf %s, %z : f32",
]
GELU = ["%e = math.erf %acc : f32", "%p = arith.mulf %e, %acc : f32", "%r = arith.addf %p, %a0 : f32"]


def product(blocks: int, lanes: int, k: int, n: int) -> Kernel:
    """`blocks` panels of `lanes` rows, times the rows of weights."""
    kernel = Kernel(f"x={blocks}x{k}x{lanes} w={n}x{k} b={n} r={blocks}x{lanes}x{n} out={blocks}x{lanes}x{n}")
    return kernel.fill("out").contract("a,k,b|n,k->a,b,n", "x", "w", "out")


def turned(kernel: Kernel, **options: int) -> int:
    """Shuffles: none but those that turn accumulators."""
    return sum(op.name == "vector.shuffle" for op in lowered(kernel, **options)[1].walk())


@pytest.mark.parametrize(("blocks", "lanes"), [(1, 16), (3, 16), (2, 32)])
@pytest.mark.parametrize(("k", "n"), [(2, 16), (7, 33), (20, 17), (5, 40)])
def test_panels(blocks: int, lanes: int, k: int, n: int):
    kernel = product(blocks, lanes, k, n)
    assert turned(kernel) >= 64
    check(kernel, domain="field")


@pytest.mark.parametrize(("bits", "registers"), [(128, 8), (128, 16), (256, 16), (512, 32)])
def test_panels_on_other_targets(bits: int, registers: int):
    kernel = product(3, 16, 9, 21)
    assert turned(kernel, vector_bits=bits, vector_registers=registers) > 0
    check(kernel, domain="field", vector_bits=bits, vector_registers=registers)


@pytest.mark.parametrize("body", [BIAS_RELU, GELU])
def test_what_follows_runs_along_results(body: list[str]):
    kernel = product(2, 16, 9, 40).generic("n->a,b,n", ["b", "out"], body)
    check(kernel.generic("a,b,n->a,b,n", ["r", "out"], ["%r = arith.addf %acc, %a0 : f32"]))


def test_products_add_to_what_is_there():
    kernel = Kernel("x=2x9x16 w=20x9 out=2x16x20").contract("a,k,b|n,k->a,b,n", "x", "w", "out")
    check(kernel, domain="field")


def test_not_a_number_stays_in_its_row_and_column():
    kernel = product(2, 16, 9, 40)
    arrays = kernel.arrays()
    arrays[0][1, 3, 5], arrays[1][7, 2] = np.nan, np.inf
    check(kernel, arrays)


def test_rows_of_weights_in_one_cache_set_come_in_groups():
    """Sixteen rows 4096 bytes apart would evict each other: eight at a time."""
    kernel = product(2, 16, 1024, 32)
    loops = [op for op in lowered(kernel)[1].walk() if isinstance(op, scf.ForOp) and op.iter_args]
    loops = [op for op in loops if not any(isinstance(inner, scf.ForOp) for inner in op.body.block.ops)]
    assert len(loops) == 2 and all(len(op.iter_args) == 8 for op in loops)
    check(kernel, domain="field")


def _constant(value: SSAValue) -> int:
    assert isinstance(value.owner, arith.ConstantOp) and isinstance(value.owner.value, IntegerAttr)
    return value.owner.value.value.data


def test_large_weights_are_prefetched_a_tile_ahead():
    def ahead(n: int) -> set[int]:
        kernel = product(2, 16, 768, n)
        return {_constant(op.operands[1]) for op in lowered(kernel)[1].walk() if op.name == "memref.prefetch"}

    assert min(ahead(1024)) == 16 * 768
    assert not ahead(64)


def test_results_that_lie_along_rows_need_no_turning():
    kernel = Kernel("x=3x9x16 w=20x9 out=3x20x16").fill("out").contract("a,k,b|n,k->a,n,b", "x", "w", "out")
    assert turned(kernel) == 0
    check(kernel, domain="field")


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_register_tiles_fit(name: str):
    machine = preset(name)
    lanes = machine.lanes(32)
    kernel = product(6, lanes, 40, 64)
    options = {"vector_bits": machine.vector_bits, "vector_registers": machine.vector_registers}
    for op in lowered(kernel, **options)[1].walk():
        if isinstance(op, scf.ForOp):
            assert len(op.iter_args) < machine.vector_registers
