"""What upstream's verifier refuses and xDSL's does not: the strong verifier does, by op and line."""

from __future__ import annotations

import pytest

from mlc.errors import VerifyError
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text
from mlc.ir.verifier import verify_module


def verify(body: str, arguments: str = "") -> None:
    ctx = make_context()
    text = f"func.func @f({arguments}) {{\n{body}\n  func.return\n}}"
    verify_module(parse_text(text, ctx, name="f.mlir"), ctx)


BRANCHES = [
    ("cf.br ^a(%x : f32)\n^a:", "gives (f32) to a block that takes ()"),
    ("cf.br ^a\n^a(%y: f32):", "gives () to a block that takes (f32)"),
    ("cf.br ^a(%x : f32)\n^a(%y: i32):", "gives (f32) to a block that takes (i32)"),
    ("cf.cond_br %p, ^a(%x : f32), ^b\n^a(%y: f32):\n  cf.br ^b\n^b:", None),
    ("cf.cond_br %p, ^a, ^b\n^a(%y: f32):\n  cf.br ^b\n^b:", "gives () to a block that takes (f32)"),
]

REGIONS = [
    ("%0 = scf.if %p -> (f32) { scf.yield %x : f32 } else { scf.yield %x : f32 }", None),
    ("%0 = scf.if %p -> (f32) { scf.yield } else { scf.yield %x : f32 }", "yields (), but it returns (f32)"),
    ("%0 = scf.if %p -> (i1) { scf.yield %p : i1 } else { scf.yield %x : f32 }", "yields (f32), but it returns (i1)"),
    (
        "%0 = scf.while (%a = %x) : (f32) -> f32 { scf.condition(%p) %a : f32 } do {\n"
        "^bb0(%b: f32): scf.yield %p : i1 }",
        "yields (i1) for (f32)",
    ),
    (
        "%0 = scf.while (%a = %x) : (f32) -> f32 { scf.condition(%p) %a : f32 } do {\n"
        "^bb0(%b: f32): scf.yield %b : f32 }",
        None,
    ),
]

SHAPES = [
    ("%0 = tensor.collapse_shape %t [[0, 1]] : tensor<2x3xf32> into tensor<6xf32>", None),
    ("%0 = tensor.collapse_shape %t [[0, 1]] : tensor<2x3xf32> into tensor<7xf32>", "different numbers of elements"),
    ("%0 = tensor.collapse_shape %t [[0]] : tensor<2x3xf32> into tensor<6xf32>", "groups"),
    ("%0 = tensor.extract_slice %t[0, 0] [2, 1] [1, 1] : tensor<2x3xf32> to tensor<2xf32>", None),
    ("%0 = tensor.extract_slice %t[0, 0] [1, 1] [1, 1] : tensor<2x3xf32> to tensor<f32>", None),
    (
        "%0 = tensor.extract_slice %t[0, 0] [2, 2] [1, 1] : tensor<2x3xf32> to tensor<2x3xf32>",
        "sizes [2, 2] do not fit",
    ),
    ("%0 = tensor.extract_slice %t[0, 0] [2, 2] [1, 1] : tensor<2x3xf32> to tensor<2xf32>", "sizes [2, 2] do not fit"),
    (
        "%0 = tensor.expand_shape %t [[0, 1], [2]] output_shape [2, 2, 3] : tensor<2x3xf32> into tensor<2x2x3xf32>",
        "dimension 0",
    ),
    ("%0 = tensor.extract_slice %t[1, 0] [1, 3] [1, 1] : tensor<2x3xf32> to tensor<1x3xf32>", None),
    ("%0 = tensor.extract_slice %t[1, 0] [2, 3] [1, 1] : tensor<2x3xf32> to tensor<2x3xf32>", "element 2 of 2"),
    ("%0 = tensor.extract_slice %t[%i, 0] [3, 3] [1, 1] : tensor<2x3xf32> to tensor<3x3xf32>", "element 2 of 2"),
    ("%0 = tensor.extract_slice %t[0, 0] [1, 2] [1, 3] : tensor<2x3xf32> to tensor<1x2xf32>", "element 3 of 3"),
    (
        "%0 = tensor.insert_slice %t into %t[0, 1] [2, 3] [1, 1] : tensor<2x3xf32> into tensor<2x3xf32>",
        "element 3 of 3",
    ),
    ("%0 = memref.subview %m[2] [3] [1] : memref<4xf32> to memref<3xf32, strided<[1], offset: 2>>", "element 4 of 4"),
    ("%0 = tensor.extract %t[%i] : tensor<2x3xf32>", "1 indices"),
    ("%0 = tensor.extract %t[%i, %i, %i] : tensor<2x3xf32>", "3 indices"),
    ("%0 = memref.load %m[%i, %i] : memref<4xf32>", "ind"),
    ("memref.store %x, %m[] : memref<4xf32>", "ind"),
    ("%0 = vector.load %m[%i] : memref<4xf32>, vector<2x2xf32>", "fewer dimensions"),
    ("%0 = tensor.cast %t : tensor<2x3xf32> to tensor<?x3xf32>", None),
    ("%0 = tensor.cast %t : tensor<2x3xf32> to tensor<3x3xf32>", "dimensions should match"),
    ("%0 = memref.cast %m : memref<4xf32> to memref<5xf32>", "can never be"),
]

MADE = [
    ("%0 = tensor.empty() : tensor<?x3xf32>", "given 0 sizes for the 1 that tensor<?x3xf32> leaves open"),
    ("%0 = tensor.empty(%i) : tensor<?x3xf32>", None),
    ("%0 = tensor.empty(%i) : tensor<2x3xf32>", "given 1 sizes for the 0"),
]

PADS = [
    ("[1, 1]", "[1, 1]", "4x5", None),
    ("[1, 1]", "[1, 1]", "9x9", "not 9"),
    ("[-1, 0]", "[0, 0]", "1x3", "negative"),
]

BODIES = [
    ("%r = arith.addf %a, %o : f32", "%r : f32", None),
    ("%r = arith.fptosi %a : f32 to i32", "%r : i32", "yields (i32), but it writes elements of (f32)"),
    ("", "%a, %a : f32, f32", "yields (f32, f32), but it writes elements of (f32)"),
    ("%l = linalg.index 3 : index", "%a : f32", "linalg.index 3 in 2 loops"),
]

ARGUMENTS = "%x: f32, %p: i1, %i: index, %t: tensor<2x3xf32>, %m: memref<4xf32>"


def check(body: str, message: str | None) -> None:
    if message is None:
        verify(body, ARGUMENTS)
        return
    with pytest.raises(VerifyError) as told:
        verify(body, ARGUMENTS)
    assert message in str(told.value) and "f.mlir:" in str(told.value)


@pytest.mark.parametrize(("body", "message"), [*BRANCHES, *REGIONS, *SHAPES, *MADE])
def test_ops(body: str, message: str | None):
    check(body, message)


@pytest.mark.parametrize(("low", "high", "shape", "message"), PADS)
def test_pads(low: str, high: str, shape: str, message: str | None):
    body = f"""%0 = tensor.pad %t low{low} high{high} {{
    ^bb0(%j: index, %k: index):
      tensor.yield %x : f32
    }} : tensor<2x3xf32> to tensor<{shape}xf32>"""
    check(body, message)


@pytest.mark.parametrize(("inner", "yielded", "message"), BODIES)
def test_bodies(inner: str, yielded: str, message: str | None):
    same = "affine_map<(d0, d1) -> (d0, d1)>"
    body = f"""%0 = linalg.generic {{indexing_maps = [{same}, {same}], iterator_types = ["parallel", "parallel"]}}
      ins(%t : tensor<2x3xf32>) outs(%t : tensor<2x3xf32>) {{
    ^bb0(%a: f32, %o: f32):
      {inner}
      linalg.yield {yielded}
    }} -> tensor<2x3xf32>"""
    check(body, message)
