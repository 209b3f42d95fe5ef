"""Elementwise kernels: collapsed loops, broadcasts, relayouts, ints and bools; always the same bits."""

from __future__ import annotations

import pytest

from tests.lowering.vector.programs import Kernel, check

NEG = ["%r = arith.negf %a0 : f32"]


@pytest.mark.parametrize("shape", ["1", "15", "16", "17", "100", "3x5", "4x16", "2x3x7"])
def test_contiguous(shape: str):
    dims = ",".join("abcd"[: len(shape.split("x"))])
    body = ["%s = arith.addf %a0, %a1 : f32", "%r = arith.mulf %s, %a0 : f32"]
    check(
        Kernel(f"x={shape} y={shape} out={shape}").generic(f"{dims}|{dims}->{dims}", ["x", "y", "out"], body), bits=True
    )


def test_loops_that_never_run_are_left_alone():
    check(Kernel("x=0x4 out=0x4").generic("i,j->i,j", ["x", "out"], NEG), bits=True, complete=False, native=False)


def test_broadcasts_of_rows_columns_and_scalars():
    body = ["%s = arith.addf %a0, %a1 : f32", "%u = arith.mulf %s, %a2 : f32", "%r = arith.subf %u, %a3 : f32"]
    kernel = Kernel("x=6x20 r=20 c=6 s=1 out=6x20")
    check(kernel.generic("i,j|j|i|0->i,j", ["x", "r", "c", "s", "out"], body), bits=True)


@pytest.mark.parametrize(("a", "b"), [(4, 4), (16, 16), (20, 37), (1, 5), (33, 16)])
def test_transpose(a: int, b: int):
    check(Kernel(f"x={a}x{b} out={b}x{a}").generic("j,i->i,j", ["x", "out"], NEG), bits=True)


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_square_tiles_are_turned_in_registers(bits: int):
    body = ["%s = arith.addf %a0, %a1 : f32", "%r = arith.mulf %s, %a2 : f32"]
    kernel = Kernel("x=3x40x37 y=3x37x40 r=40 out=3x37x40")
    kernel.generic("n,j,i|n,i,j|j->n,i,j", ["x", "y", "r", "out"], body)
    module = check(kernel, bits=True, vector_bits=bits)
    assert any(op.name == "vector.shuffle" for op in module.walk())


def test_turned_tiles_of_dynamic_size():
    kernel = Kernel("x=?x? out=?x?").generic("j,i->i,j", ["x", "out"], NEG)
    for a, b in [(16, 16), (35, 20), (3, 50), (0, 4)]:
        check(kernel, kernel.arrays([a, b, b, a]), bits=True, native=a == 35)


def test_permuted_heads():
    check(Kernel("x=2x5x3x8 out=2x3x5x8").generic("a,c,b,d->a,b,c,d", ["x", "out"], NEG), bits=True)


def test_blocking_channels_and_back():
    check(Kernel("x=1x32x5x7 out=1x2x5x7x16").generic("n,c*16+b,h,w->n,c,h,w,b", ["x", "out"], NEG), bits=True)
    back = Kernel("x=1x2x5x7x16 out=1x32x5x7")
    check(back.generic("n,c_floordiv_16,h,w,c_mod_16->n,c,h,w", ["x", "out"], NEG), bits=True)


def test_writing_into_a_slice():
    check(Kernel("x=4x6 out=4x6@20,1").generic("i,j->i,j", ["x", "out"], NEG), bits=True)
    check(Kernel("x=4x6@30,2 out=4x6@20,1").generic("i,j->i,j", ["x", "out"], NEG), bits=True)


def test_in_place_after_another_op():
    kernel = Kernel("x=3x20 out=3x20").generic("i,j->i,j", ["x", "out"], NEG)
    check(kernel.generic("i,j->i,j", ["x", "out"], ["%r = arith.mulf %acc, %a0 : f32"]), bits=True)


def test_comparisons_give_bools():
    kernel = Kernel("x=5x20:i64 y=5x20:i64 out=5x20:i1")
    check(kernel.generic("i,j|i,j->i,j", ["x", "y", "out"], ["%r = arith.cmpi slt, %a0, %a1 : i64"]), bits=True)


def test_bools_select():
    body = ["%z = arith.constant 1.0 : f32", "%r = arith.select %a0, %a1, %z : f32"]
    check(Kernel("c=5x20:i1 x=5x20 out=5x20").generic("i,j|i,j->i,j", ["c", "x", "out"], body), bits=True)


def test_indices_and_casts():
    body = [
        "%i = linalg.index 0 : index",
        "%j = linalg.index 1 : index",
        "%n = arith.muli %i, %j : index",
        "%k = arith.index_cast %n : index to i64",
        "%r = arith.sitofp %k : i64 to f32",
    ]
    check(Kernel("out=5x20").generic("->i,j", ["out"], body), bits=True)


def test_widths_of_other_targets():
    kernel = Kernel("x=7x21 r=21 out=7x21").generic("i,j|j->i,j", ["x", "r", "out"], ["%r = arith.addf %a0, %a1 : f32"])
    for bits in (128, 256, 512):
        check(kernel, bits=True, vector_bits=bits)


def test_fill_alone():
    check(Kernel("out=3x33").fill("out", "2.5"), bits=True)


def _embedding(*, checked: bool, order: str) -> Kernel:
    """Rows of a table picked by an index operand; `order` names the loops of the table's position."""
    body = ["%n = arith.index_cast %a0 : i64 to index", "%j = linalg.index 1 : index"]
    if checked:
        body += ["%c40 = arith.constant 40 : index", "%ok = arith.cmpi ult, %n, %c40 : index"]
        body += ['cf.assert %ok, "index out of range"']
    body += [f"%r = memref.load @table[{order}] : memref<40x40xf32>"]
    kernel = Kernel("i=6:i64 table=40x40 out=6x33").generic("i->i,j", ["i", "out"], body)
    kernel.lines = [line.replace("@table", "%table") for line in kernel.lines]
    return kernel


@pytest.mark.parametrize(("checked", "order"), [(False, "%n, %j"), (True, "%n, %j"), (False, "%j, %n")])
def test_embedding(checked: bool, order: str):
    kernel = _embedding(checked=checked, order=order)
    arrays = kernel.arrays()
    arrays[0][:] = [3, 0, 39, 7, 7, 12]
    module = check(kernel, arrays, bits=True)
    contiguous = any(op.name == "vector.load" for op in module.walk())
    assert contiguous == (order == "%n, %j")
