"""Dynamic sizes: whole tiles, smaller tiles, leftovers, and nothing at all."""

from __future__ import annotations

import pytest

from tests.lowering.vector.programs import Kernel, check

ADD = ["%r = arith.addf %a0, %a1 : f32"]


@pytest.mark.parametrize("rows", [0, 1, 2, 31, 67])
def test_linear_of_dynamic_batch(rows: int):
    kernel = Kernel("x=?x24 w=2x24x16 b=2x16 out=?x2x16").fill("out")
    kernel.contract("m,k|n,k,o->m,n,o", "x", "w", "out")
    kernel.generic("n,o->m,n,o", ["b", "out"], ["%r = arith.addf %acc, %a0 : f32"])
    check(kernel, kernel.arrays([rows, rows]), domain="field", native=rows != 31)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (0, 5), (3, 7), (5, 64), (1, 100)])
def test_elementwise(m: int, n: int):
    kernel = Kernel("x=?x? y=?x? out=?x?").generic("i,j|i,j->i,j", ["x", "y", "out"], ADD)
    check(kernel, kernel.arrays([m, n] * 3), bits=True, native=n == 7)
    kernel = Kernel("x=?x? r=? out=?x?").generic("i,j|j->i,j", ["x", "r", "out"], ADD)
    check(kernel, kernel.arrays([m, n, n, m, n]), bits=True, native=n == 100)


@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (3, 7, 20), (9, 16, 70), (2, 0, 5), (5, 100, 6)])
def test_matmul(m: int, k: int, n: int):
    kernel = Kernel("x=?x? w=?x? out=?x?").fill("out").contract("m,k|k,n->m,n", "x", "w", "out")
    check(kernel, kernel.arrays([m, k, k, n, m, n]), domain="field", native=n == 20)
    kernel = Kernel("x=?x? w=?x? out=?x?").fill("out").contract("m,k|n,k->m,n", "x", "w", "out")
    check(kernel, kernel.arrays([m, k, n, k, m, n]), domain="field", native=n == 6)
