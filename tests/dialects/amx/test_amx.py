"""Tiles: syntax both ways, what the verifier refuses, what upstream reads."""

from __future__ import annotations

import pytest

from mlc.errors import MlcError
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text
from mlc.ir.verifier import verify_module

PROGRAM = """
func.func @f(%x: memref<?x64xbf16>, %w: memref<16x32xbf16>, %o: memref<?x16xf32, strided<[40, 1], offset: 3>>,
             %q: memref<16x64xi8>, %r: memref<16x16xi32>, %i: index) {
  %z = amx.tile_zero : !amx.tile<7x16xf32>
  %a = amx.tile_load %x[%i, %i] : memref<?x64xbf16> into !amx.tile<7x32xbf16>
  %b = amx.tile_load %w[%i, %i] : memref<16x32xbf16> into !amx.tile<16x32xbf16>
  %s = amx.tile_mulf %a, %b, %z : !amx.tile<7x32xbf16>, !amx.tile<16x32xbf16>, !amx.tile<7x16xf32>
  amx.tile_store %o[%i, %i], %s : memref<?x16xf32, strided<[40, 1], offset: 3>>, !amx.tile<7x16xf32>
  %c = amx.tile_load %q[%i, %i] : memref<16x64xi8> into !amx.tile<16x64xi8>
  %n = amx.tile_load %r[%i, %i] : memref<16x16xi32> into !amx.tile<16x16xi32>
  %t = amx.tile_muli %c zext, %c, %n : !amx.tile<16x64xi8>, !amx.tile<16x64xi8>, !amx.tile<16x16xi32>
  %u = amx.tile_muli %c, %c zext, %t : !amx.tile<16x64xi8>, !amx.tile<16x64xi8>, !amx.tile<16x16xi32>
  func.return
}
"""


def test_printed_as_written() -> None:
    printed = print_text(parse_text(PROGRAM, make_context()))
    for line in PROGRAM.splitlines():
        if "amx." in line:
            assert line.strip() in printed
    assert print_text(parse_text(printed, make_context())) == printed


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%t = amx.tile_zero : !amx.tile<17x16xf32>", "up to 16 rows"),
        ("%t = amx.tile_zero : !amx.tile<16x17xf32>", "4 to 64 bytes"),
        ("%t = amx.tile_zero : !amx.tile<16x3xi8>", "a multiple of 4"),
        ("%t = amx.tile_zero : !amx.tile<16x8xf64>", "bf16, f32, i8 or i32"),
        ("%t = amx.tile_zero : !amx.tile<16xf32>", "two sizes"),
        ("%t = amx.tile_zero : !amx.tile<?x16xf32>", "two sizes"),
        ("%t = amx.tile_load %m[%i] : memref<16x16xf32> into !amx.tile<16x16xf32>", "two indices"),
        ("%t = amx.tile_load %m[%i, %i] : memref<16x16xf32> into !amx.tile<16x16xi32>", "memref of i32"),
        ("%t = amx.tile_load %v[%i] : memref<16xf32> into !amx.tile<16x16xf32>", "2-D memref"),
        ("%t = amx.tile_load %c[%i, %i] : memref<16x16xf32, strided<[1, 16]>> into !amx.tile<16x16xf32>", "contigu"),
        ("%t = amx.tile_mulf %a, %a, %s : !amx.tile<8x32xbf16>, !amx.tile<8x32xbf16>, !amx.tile<8x16xf32>", "match"),
        ("%t = amx.tile_mulf %s, %s, %s : !amx.tile<8x16xf32>, !amx.tile<8x16xf32>, !amx.tile<8x16xf32>", "of bf16"),
        ("%t = amx.tile_muli %a, %a, %s : !amx.tile<8x32xbf16>, !amx.tile<8x32xbf16>, !amx.tile<8x16xf32>", "of i8"),
    ],
)  # fmt: skip
def test_refused(line: str, message: str) -> None:
    arguments = (
        "%m: memref<16x16xf32>, %v: memref<16xf32>, %c: memref<16x16xf32, strided<[1, 16]>>, %i: index, "
        "%a: !amx.tile<8x32xbf16>, %s: !amx.tile<8x16xf32>"
    )
    with pytest.raises(MlcError) as raised:
        verify_module(parse_text(f"func.func @f({arguments}) {{\n  {line}\n  func.return\n}}", make_context()))
    assert message in str(raised.value)


@pytest.mark.upstream
def test_upstream_reads_them_under_their_new_name() -> None:
    """The dialect is a part of `x86` there now; nothing else differs."""
    from torch_mlir import ir

    text = print_text(parse_text(PROGRAM, make_context())).replace("amx.", "x86.amx.")
    with ir.Context():
        assert ir.Module.parse(text).operation.verify()
