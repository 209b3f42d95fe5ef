"""Sizes that an op takes to be equal and that a file leaves open are compared when the function runs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlc.tools.mlc_opt import main

Shape = tuple[int, ...]
CONSTANTS = """  %none = torch.constant.none
  %false = torch.constant.bool false
  %i0 = torch.constant.int 0
  %i1 = torch.constant.int 1
  %i2 = torch.constant.int 2
  %eps = torch.constant.float 1.000000e-05
  %ones = torch.prim.ListConstruct %i1, %i1 : (!torch.int, !torch.int) -> !torch.list<int>
  %zeros = torch.prim.ListConstruct %i0, %i0 : (!torch.int, !torch.int) -> !torch.list<int>
  %pair = torch.prim.ListConstruct %a0, %a1 : (TYPE0, TYPE1) -> !torch.list<vtensor>
"""
TYPES = {"%none": "none", "%false": "bool", "%eps": "float", "%ones": "list<int>", "%zeros": "list<int>"}
CASES: dict[str, tuple[str, tuple[Shape, Shape], str, str, int, str]] = {
    "mm": ("mm", ((2, 3), (4, 5)), "?,?", "%a0, %a1", 2, "inner sizes"),
    "bmm": ("bmm", ((3, 2, 3), (2, 3, 5)), "?,?,?", "%a0, %a1", 3, "the batches"),
    "linear": ("linear", ((2, 3), (4, 5)), "?,?", "%a0, %a1, %none", 2, "inner sizes"),
    "addbmm": ("addbmm", ((2, 2, 3), (3, 3, 5)), "?,?,?", "%eps2, %a0, %a1, %i1, %i1", 2, "batches or inner sizes"),
    "cat": ("cat", ((2, 3), (3, 4)), "?,?", "%pair, %i1", 2, "differ in dimension 0"),
    "stack": ("stack", ((3,), (4,)), "?", "%pair, %i0", 2, "differ in dimension 1"),
    "conv2d": (
        *("conv2d", ((1, 3, 8, 8), (4, 5, 3, 3)), "1,?,8,8|4,?,3,3"),
        *("%a0, %a1, %none, %ones, %zeros, %ones, %i1", 4, "other channels"),
    ),
    "group_norm": (
        *(
            "group_norm",
            ((2, 6, 4), (3,)),
            "?,?,?|?",
            "%a0, %i2, %a1, %none, %eps, %false",
            3,
            "per channel",
        ),
    ),
    "select_scatter": ("select_scatter", ((5, 3), (4,)), "?,?|?", "%a0, %a1, %i0, %i1", 2, "the slice's sizes"),
    "searchsorted": (
        *("searchsorted.Tensor", ((2, 4), (3, 4)), "?,?", "%a0, %a1, %false, %false, %none, %none", 2, "rows of edges"),
    ),
    "grid_sampler": (
        *("grid_sampler", ((2, 1, 4, 4), (3, 2, 2, 2)), "?,?,?,?", "%a0, %a1, %i0, %i0, %false", 4, "than grids"),
    ),
    "view_as": ("view_as", ((3,), (2, 4)), "?|?,?", "%a0, %a1", 2, "number of elements"),
    "glu": ("glu", ((5, 3), (1, 1)), "?,?", "%a0, %i0", 2, "must be even"),
    "pixel_shuffle": ("pixel_shuffle", ((1, 7, 2, 2), (1,)), "?,?,?,?|?", "%a0, %i2", 4, "square of pixels"),
    "pixel_unshuffle": ("pixel_unshuffle", ((1, 1, 5, 4), (1,)), "?,?,?,?|?", "%a0, %i2", 4, "multiples of the factor"),
    "channel_shuffle": ("channel_shuffle", ((1, 7, 2, 2), (1,)), "?,?,?,?|?", "%a0, %i2", 4, "multiple of the groups"),
}


def program(op: str, given: str, operands: str, rank: int) -> str:
    """One op on two arguments."""
    first, _, second = given.partition("|")
    types = [f"!torch.vtensor<[{sizes}],f32>" for sizes in (first, second or first)]
    out = f"!torch.vtensor<[{','.join('?' * rank)}],{'si64' if 'sorted' in op else 'f32'}>"
    names = operands.replace("%eps2", "%bias").split(", ")
    known = {**TYPES, "%pair": "list<vtensor>", "%i0": "int", "%i1": "int", "%i2": "int"}
    of = {"%a0": types[0], "%a1": types[1], "%bias": "!torch.vtensor<[2,5],f32>"}
    kinds = ", ".join(of.get(n) or f"!torch.{known[n]}" for n in names)
    constants = CONSTANTS.replace("TYPE0", types[0]).replace("TYPE1", types[1])
    if "%bias" in names:
        constants += "  %bias = torch.vtensor.literal(dense<1.0> : tensor<2x5xf32>) : !torch.vtensor<[2,5],f32>\n"
    return (
        f"func.func @forward(%a0: {types[0]}, %a1: {types[1]}) -> {out} {{\n{constants}"
        f"  %r = torch.aten.{op} {', '.join(names)} : {kinds} -> {out}\n  func.return %r : {out}\n}}\n"
    )


@pytest.mark.parametrize("case", CASES)
def test_sizes_that_do_not_fit_are_an_error_not_other_memory(case: str, tmp_path: Path):
    op, shapes, given, operands, rank, told = CASES[case]
    file, arrays = tmp_path / "in.mlir", tmp_path / "in.npz"
    file.write_text(program(op, given, operands, rank))
    inputs: dict[str, Any] = {f"arg{i}": np.ones(shape, np.float32) for i, shape in enumerate(shapes)}
    np.savez(arrays, **inputs)
    out, err = io.StringIO(), io.StringIO()
    code = main([str(file), "--run", "--native", f"--inputs={arrays}"], stdout=out, stderr=err)
    assert code == 1 and told in err.getvalue() and f"aten.{op}" in err.getvalue(), (out.getvalue(), err.getvalue())


MM = """func.func @forward(%x: !torch.vtensor<[2,3],f32>, %y: !torch.vtensor<[4,5],f32>) -> !torch.vtensor<[2,5],f32> {
  %0 = torch.aten.mm %x, %y : !torch.vtensor<[2,3],f32>, !torch.vtensor<[4,5],f32> -> !torch.vtensor<[2,5],f32>
  func.return %0 : !torch.vtensor<[2,5],f32>
}
"""
RELU = """func.func @forward(%x: !torch.vtensor<[2,3],f32>) -> !torch.vtensor<[2,1],f32> {
  %0 = torch.aten.relu %x : !torch.vtensor<[2,3],f32> -> !torch.vtensor<[2,1],f32>
  func.return %0 : !torch.vtensor<[2,1],f32>
}
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (MM, ":2: unsupported: torch.aten.mm: the inner sizes of a product do not match"),
        (MM.replace("aten.mm", "aten.maximum"), ":2: shape: torch.aten.maximum: sizes 2 and 4 of broadcast operands"),
        (RELU, ":2: shape: torch.aten.relu: the result has sizes [2,3], its type is !torch.vtensor<[2,1],f32>"),
    ],
)
def test_known_sizes_that_do_not_fit_are_refused_with_the_place(text: str, told: str, tmp_path: Path):
    file, err = tmp_path / "in.mlir", io.StringIO()
    file.write_text(text)
    assert main([str(file), "--convert-torch-to-linalg"], stdout=io.StringIO(), stderr=err) == 1
    assert told in err.getvalue()
