"""Tiles compiled and run, against the reference semantics of the loops level and of the llvm level."""

from __future__ import annotations

import numpy as np
import pytest

from mlc.backends.llvm.target import missing_features
from mlc.backends.machine import PRESETS
from mlc.errors import UnsupportedError
from mlc.interp import run_function
from mlc.interp.run_llvm import run_kernel
from mlc.lowering.llvm.convert_to_llvm import ConvertToLLVM

needs_tiles = pytest.mark.skipif(
    bool(missing_features(PRESETS["x86-64-amx"])), reason="this machine has no matrix unit, or no leave to use it"
)


def product(rows: int, groups: int, group: int, kinds: tuple[str, str, str], signs: tuple[str, str] = ("", "")) -> str:
    narrow, wide, op = kinds
    a, b, s = (f"!amx.tile<{rows}x{group * groups}x{narrow}>", f"!amx.tile<{groups}x{16 * group}x{narrow}>",
               f"!amx.tile<{rows}x16x{wide}>")  # fmt: skip
    x, w = f"memref<{rows + 2}x80x{narrow}>", f"memref<{groups + 1}x{16 * group}x{narrow}>"
    o = f"memref<{rows}x20x{wide}>"
    return f"""
func.func @f(%x: {x}, %w: {w}, %o: {o}) {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %a = amx.tile_load %x[%c2, %c1] : {x} into {a}
  %b = amx.tile_load %w[%c1, %c0] : {w} into {b}
  %s = amx.tile_load %o[%c0, %c2] : {o} into {s}
  %r:1 = scf.for %i = %c0 to %c2 step %c1 iter_args(%acc = %s) -> ({s}) {{
    %t = amx.{op} %a{signs[0]}, %b{signs[1]}, %acc : {a}, {b}, {s}
    scf.yield %t : {s}
  }}
  amx.tile_store %o[%c0, %c2], %r#0 : {o}, {s}
  func.return
}}
"""


def _bits(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random bf16 of ordinary size, as bits."""
    return (rng.standard_normal(shape).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


@needs_tiles
@pytest.mark.parametrize(("rows", "groups"), [(16, 16), (7, 16), (14, 8), (1, 1), (16, 5)])
def test_floats(parse, native, rows: int, groups: int) -> None:
    rng = np.random.default_rng(0)
    arrays = [
        _bits(rng, rows + 2, 80),
        _bits(rng, groups + 1, 32),
        rng.standard_normal((rows, 20)).astype(np.float32),
    ]
    module = parse(product(rows, groups, 2, ("bf16", "f32", "tile_mulf")))
    _, after = run_function(module, "f", [a.copy() for a in arrays])
    native(module, "f")(*arrays)
    assert np.array_equal(arrays[-1].view(np.uint32), after[-1].view(np.uint32))


@needs_tiles
@pytest.mark.parametrize("signs", [("", ""), (" zext", ""), ("", " zext"), (" zext", " zext")])
@pytest.mark.parametrize(("rows", "groups"), [(16, 16), (5, 9)])
def test_integers(check, rows: int, groups: int, signs: tuple[str, str]) -> None:
    rng = np.random.default_rng(1)
    arrays = [
        rng.integers(-128, 128, (rows + 2, 80), dtype=np.int8),
        rng.integers(-128, 128, (groups + 1, 64), dtype=np.int8),
        rng.integers(-(1 << 31), 1 << 31, (rows, 20), dtype=np.int32),
    ]
    check(product(rows, groups, 4, ("i8", "i32", "tile_muli"), signs), "f", arrays)


SAME = """
func.func @f(%x: memref<16x64xi8>, %o: memref<16x16xi32>) {
  %c0 = arith.constant 0 : index
  %z = amx.tile_zero : !amx.tile<16x16xi32>
  %y = amx.tile_zero : !amx.tile<16x64xi8>
  %a = amx.tile_load %x[%c0, %c0] : memref<16x64xi8> into !amx.tile<16x64xi8>
  %s = amx.tile_muli %a, %a zext, %z : !amx.tile<16x64xi8>, !amx.tile<16x64xi8>, !amx.tile<16x16xi32>
  %t = amx.tile_muli %y, %y, %s : !amx.tile<16x64xi8>, !amx.tile<16x64xi8>, !amx.tile<16x16xi32>
  amx.tile_store %o[%c0, %c0], %t : memref<16x16xi32>, !amx.tile<16x16xi32>
  func.return
}
"""


@needs_tiles
def test_a_tile_times_itself(check) -> None:
    """The processor takes no register twice; code that does so ends the process."""
    rng = np.random.default_rng(2)
    check(SAME, "f", [rng.integers(-128, 128, (16, 64), dtype=np.int8), np.zeros((16, 16), np.int32)])


@pytest.mark.parametrize("text", [product(7, 3, 2, ("bf16", "f32", "tile_mulf")), SAME])
def test_the_llvm_level_means_the_same(ctx, parse, text: str) -> None:
    rng = np.random.default_rng(3)
    module = parse(text)
    bf16 = "bf16" in text
    arrays = [
        *([_bits(rng, 9, 80), _bits(rng, 4, 32)] if bf16 else [rng.integers(-128, 128, (16, 64), dtype=np.int8)]),
        rng.standard_normal((7, 20)).astype(np.float32) if bf16 else np.zeros((16, 16), np.int32),
    ]
    _, want = run_function(module, "f", [a.copy() for a in arrays])
    lowered = module.clone()
    ConvertToLLVM().apply(ctx, lowered)
    _, got = run_kernel(lowered, "f", arrays)
    assert np.array_equal(got[-1], want[-1])


ZERO = "%z = amx.tile_zero : !amx.tile<16x16xf32>"
LOADED = "%y = amx.tile_load %o[%c, %c] : memref<16x16xf32> into !amx.tile<16x16xf32>"
STORED = "amx.tile_store %o[%c, %c], %s : memref<16x16xf32>, !amx.tile<16x16xf32>"
MANY = "\n".join(f"%t{n} = amx.tile_zero : !amx.tile<{n}x16xf32>" for n in range(1, 10))
REFUSED = {
    "chooses between": f"{ZERO}\n{LOADED}\n%s = arith.select %p, %y, %z : !amx.tile<16x16xf32>\n{STORED}",
    "'scf.if' chooses": f"""{ZERO}\n{LOADED}
        %s = scf.if %p -> (!amx.tile<16x16xf32>) {{ scf.yield %z : !amx.tile<16x16xf32> }}
        else {{ scf.yield %y : !amx.tile<16x16xf32> }}\n{STORED}""",
    "blocks of @f take tiles": f"""{ZERO}\n{LOADED}
        cf.cond_br %p, ^bb1(%z : !amx.tile<16x16xf32>), ^bb1(%y : !amx.tile<16x16xf32>)
        ^bb1(%s: !amx.tile<16x16xf32>):\n{STORED}""",
    "tiles of 9 shapes": MANY,
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_llvm_cannot_compile_is_refused(ctx, parse, message: str) -> None:
    arguments = "%o: memref<16x16xf32>, %p: i1, %c: index"
    module = parse(f"func.func @f({arguments}) {{\n{REFUSED[message]}\nfunc.return\n}}")
    with pytest.raises(UnsupportedError, match=message) as raised:
        ConvertToLLVM().apply(ctx, module)
    assert raised.value.where and raised.value.hint


@pytest.mark.parametrize("signature", ["func.func private @g() -> !amx.tile<16x16xf32>",
                                       "func.func private @g(!amx.tile<16x16xf32>)"])  # fmt: skip
def test_tiles_stay_in_their_function(ctx, parse, signature: str) -> None:
    with pytest.raises(UnsupportedError, match="takes or returns tiles"):
        ConvertToLLVM().apply(ctx, parse(signature))
