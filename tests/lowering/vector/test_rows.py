"""Reductions and what surrounds them along rows: softmax, layer norm, sums; any axis."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import SSAValue

from tests.lowering.vector.programs import Kernel, check, lowered

ADD = ["%r = arith.addf %acc, %a0 : f32"]
MAX = ["%r = arith.maximumf %acc, %a0 : f32"]
EXP = ["%d = arith.subf %a0, %a1 : f32", "%r = math.exp %d : f32"]
DIV = ["%r = arith.divf %acc, %a0 : f32"]


def _constant(value: SSAValue) -> int:
    assert isinstance(value.owner, arith.ConstantOp) and isinstance(value.owner.value, IntegerAttr)
    return value.owner.value.value.data


def softmax(rows: str, columns: str, *, local: bool) -> Kernel:
    """max, exp of the difference, sum, division, with the rows' values in local buffers or arguments."""
    if local:
        kernel = Kernel(f"x={rows}x{columns} out={rows}x{columns}").local("m", f"{rows}xf32").local("t", f"{rows}xf32")
    else:
        kernel = Kernel(f"x={rows}x{columns} m={rows} t={rows} out={rows}x{columns}")
    kernel.fill("m", "0xFF800000").generic("i,j->i", ["x", "m"], MAX).generic("i,j|i->i,j", ["x", "m", "out"], EXP)
    return kernel.fill("t").generic("i,j->i", ["out", "t"], ADD).generic("i->i,j", ["t", "out"], DIV)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 16), (4, 17), (2, 200), (7, 5)])
def test_softmax(rows: int, columns: int):
    check(softmax(str(rows), str(columns), local=True))


@pytest.mark.parametrize(("rows", "at_once"), [(6, 2), (7, 1)])
def test_an_even_number_of_rows_goes_by_twos(rows: int, at_once: int):
    kernel = softmax(str(rows), "64", local=True)
    check(kernel)
    loops = [op for op in lowered(kernel)[1].walk() if isinstance(op, scf.ForOp | scf.ParallelOp)]
    outer = loops[0]
    step = outer.step if isinstance(outer, scf.ForOp) else outer.step[0]
    assert _constant(step) == at_once


def test_softmax_of_masked_rows():
    kernel = softmax("3", "20", local=True)
    arrays = kernel.arrays()
    arrays[0][1, 4:] = -np.inf
    arrays[0][2, 3] = np.nan
    check(kernel, arrays)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 20), (2, 0), (2, 200)])
def test_softmax_of_dynamic_size(rows: int, columns: int):
    kernel = softmax("?", "?", local=False)
    check(kernel, kernel.arrays([rows, columns, rows, rows, rows, columns]))


def test_softmax_over_channels():
    kernel = Kernel("x=2x5x20 out=2x5x20").local("m", "2x20xf32").local("t", "2x20xf32")
    kernel.fill("m", "0xFF800000").generic("n,c,w->n,w", ["x", "m"], MAX)
    kernel.generic("n,c,w|n,w->n,c,w", ["x", "m", "out"], EXP)
    check(kernel.fill("t").generic("n,c,w->n,w", ["out", "t"], ADD).generic("n,w->n,c,w", ["t", "out"], DIV))


def test_layer_norm():
    mean = ["%n = arith.constant 40.0 : f32", "%r = arith.divf %acc, %n : f32"]
    square = ["%d = arith.subf %a0, %a1 : f32", "%q = arith.mulf %d, %d : f32", "%r = arith.addf %acc, %q : f32"]
    final = [
        "%n = arith.constant 40.0 : f32",
        "%vv = arith.divf %a2, %n : f32",
        "%e = arith.constant 1.0e-5 : f32",
        "%w = arith.addf %vv, %e : f32",
        "%s = math.sqrt %w : f32",
        "%d = arith.subf %a0, %a1 : f32",
        "%q = arith.divf %d, %s : f32",
        "%u = arith.mulf %q, %a3 : f32",
        "%r = arith.addf %u, %a4 : f32",
    ]
    kernel = Kernel("x=5x40 g=40 b=40 out=5x40").local("m", "5xf32").local("v", "5xf32")
    kernel.fill("m").generic("i,j->i", ["x", "m"], ADD).generic("->i", ["m"], mean)
    kernel.fill("v").generic("i,j|i->i", ["x", "m", "v"], square)
    check(kernel.generic("i,j|i|i|j|j->i,j", ["x", "m", "v", "g", "b", "out"], final))


def test_rows_columns_and_everything():
    check(Kernel("x=2x20x7x7 out=2x20").fill("out").generic("n,c,h,w->n,c", ["x", "out"], ADD), domain="field")
    check(Kernel("x=50x33 out=33").fill("out").generic("i,j->j", ["x", "out"], ADD), domain="field")
    kernel = Kernel("x=2x20x7x7 out=1").fill("out").generic("n,c,h,w->0", ["x", "out"], ADD)
    check(kernel, domain="field")


def test_integer_and_bool_reductions():
    kernel = Kernel("x=5x20:i64 out=5:i64").fill("out", "0")
    check(kernel.generic("i,j->i", ["x", "out"], ["%r = arith.addi %acc, %a0 : i64"]), bits=True)
    kernel = Kernel("x=5x20:i1 out=5:i1").fill("out", "false")
    check(kernel.generic("i,j->i", ["x", "out"], ["%r = arith.ori %acc, %a0 : i1"]), bits=True)


@pytest.mark.parametrize("kind", ["mulf", "minimumf", "maximumf"])
def test_other_combinations(kind: str):
    start = {"mulf": "1.0", "minimumf": "0x7F800000", "maximumf": "0xFF800000"}[kind]
    kernel = Kernel("x=3x37 out=3").fill("out", start)
    check(kernel.generic("i,j->i", ["x", "out"], [f"%r = arith.{kind} %acc, %a0 : f32"]))


def test_a_body_that_is_no_plain_combination_runs_lane_by_lane():
    """argmax-like: vectors across rows are still fine."""
    body = ["%c = arith.cmpf ogt, %a0, %acc : f32", "%r = arith.select %c, %a0, %acc : f32"]
    check(Kernel("x=9x20 out=20").fill("out").generic("i,j->j", ["x", "out"], body), bits=True)
    check(Kernel("x=20x9 out=20").fill("out").generic("i,j->i", ["x", "out"], body), bits=True)


@pytest.mark.parametrize("n", [8, 10, 11, 3, 16])
@pytest.mark.parametrize("k", [16, 17, 31, 40, 200, 7])
def test_one_row_times_many(n: int, k: int):
    """A linear layer of one row: sums of several rows become one vector, which bias and activation work on."""
    kernel = Kernel(f"x={k} w={n}x{k} b={n} out={n}").fill("out").contract("k|n,k->n", "x", "w", "out")
    kernel.generic("n->n", ["b", "out"], ["%s = arith.addf %acc, %a0 : f32", "%r = arith.maximumf %s, %a0 : f32"])
    check(kernel, vector_bits=512)
    check(kernel, vector_bits=128, native=False)
    plain = Kernel(f"x={k} w={n}x{k} out={n}").fill("out").contract("k|n,k->n", "x", "w", "out")
    check(plain, domain="field", vector_bits=256, vector_registers=16)


def test_rows_of_both_factors_and_other_elements():
    check(Kernel("x=5x33 w=9x33 out=5x9").fill("out").contract("m,k|n,k->m,n", "x", "w", "out"), domain="field")
    double = ["%p = arith.mulf %a0, %a1 : f64", "%r = arith.addf %acc, %p : f64"]
    check(Kernel("x=19:f64 w=12x19:f64 out=12:f64").fill("out").generic("k|n,k->n", ["x", "w", "out"], double))
    whole = ["%p = arith.muli %a0, %a1 : i32", "%r = arith.addi %acc, %p : i32"]
    check(Kernel("x=19:i32 w=12x19:i32 out=12:i32").generic("k|n,k->n", ["x", "w", "out"], whole), bits=True)


def test_large_weights_of_one_row_are_prefetched_a_tile_ahead():
    kernel = Kernel("x=4096 w=1024x4096 out=1024").fill("out").contract("k|n,k->n", "x", "w", "out")
    _, after, _ = lowered(kernel)
    ahead = {_constant(op.operands[1]) for op in after.walk() if op.name == "memref.prefetch"}
    assert {8 * 4096 + row * 4096 for row in range(8)} <= ahead
    small = Kernel("x=512 w=512x512 out=512").fill("out").contract("k|n,k->n", "x", "w", "out")
    assert not any(op.name == "memref.prefetch" for op in lowered(small)[1].walk())
