"""Programs at the torch level that PyTorch could not have made are refused by op and line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from mlc.tools.mlc_opt import main

TYPES = {"%x": "vtensor<[2,3],f32>", "%v": "vtensor<[3],f32>", "%s": "vtensor<[],f32>", "%i": "vtensor<[2,3],si64>"}
TYPES |= {"%five": "int", "%three": "int", "%none": "none", "%eps": "float", "%false": "bool", "%two_of": "list<int>"}
CONSTANTS = """  %five = torch.constant.int 5
  %three = torch.constant.int -3
  %none = torch.constant.none
  %eps = torch.constant.float 1.0e-05
  %false = torch.constant.bool false
  %two_of = torch.prim.ListConstruct %five, %three : (!torch.int, !torch.int) -> !torch.list<int>
"""

# op, operands, the type that its result states: what is said
REFUSED = [
    ("relu", "%x", "[2,3],si64", "dtype: torch.aten.relu: the result has elements of f32"),
    ("relu", "%x", "[2,3],f16", "dtype: torch.aten.relu: the result has elements of f32"),
    ("argmax", "%x, %none, %false", "[],f32", "dtype: torch.aten.argmax: the result has elements of si64"),
    ("mm", "%v, %x", "[3],f32", "shape: torch.aten.mm: factors of rank 1 and 2"),
    ("bmm", "%x, %x", "[2,3],f32", "shape: torch.aten.bmm: factors of rank 2 and 2"),
    ("dot", "%x, %v", "[],f32", "shape: torch.aten.dot: factors of rank 2 and 1"),
    ("matmul", "%x, %s", "[2],f32", "shape: torch.aten.matmul: factors of rank 2 and 0"),
    (
        "softmax.int",
        "%x, %five, %none",
        "[2,3],f32",
        "shape: torch.aten.softmax.int: dimension 5 of a tensor",
    ),
    ("cumsum", "%x, %three, %none", "[2,3],f32", "shape: torch.aten.cumsum: dimension -3 of a tensor of rank 2"),
    ("flip", "%x, %two_of", "[2,3],f32", "shape: torch.aten.flip: dimension 5 of a tensor of rank 2"),
    ("gather", "%x, %five, %i, %false", "[2,3],f32", "shape: torch.aten.gather: dimension 5 of a tensor of rank 2"),
    ("tril", "%v, %five", "[3],f32", "shape: torch.aten.tril: a tensor of rank 1"),
    ("layer_norm", "%x, %two_of, %none, %none, %eps, %false", "[2,3],f32", "shape: torch.aten.layer_norm: normalized"),
    ("repeat", "%x, %two_of", "[10,9],f32", "shape: torch.aten.repeat: the result would be impossible"),
    ("linear", "%s, %x, %none", "[2],f32", "shape: torch.aten.linear: an input of rank 0, a weight of rank 2"),
    ("pixel_shuffle", "%v, %five", "[3],f32", "shape: torch.aten.pixel_shuffle: it does not take operands"),
]


def convert(op: str, operands: str, result: str, tmp_path: Path) -> tuple[int, str]:
    out = f"!torch.vtensor<{result}>"
    names = operands.split(", ")
    arguments = ", ".join(f"{n}: !torch.{TYPES[n]}" for n in ("%x", "%v", "%s", "%i"))
    text = f"func.func @forward({arguments}) -> {out} {{\n{CONSTANTS}"
    text += f"  %r = torch.aten.{op} {operands} : {', '.join(f'!torch.{TYPES[n]}' for n in names)} -> {out}\n"
    file, err = tmp_path / "in.mlir", io.StringIO()
    file.write_text(text + f"  func.return %r : {out}\n}}\n")
    return main([str(file), "--convert-torch-to-linalg"], stdout=io.StringIO(), stderr=err), err.getvalue()


@pytest.mark.parametrize(("op", "operands", "result", "told"), REFUSED)
def test_refused_by_op_and_line(op: str, operands: str, result: str, told: str, tmp_path: Path):
    code, err = convert(op, operands, result, tmp_path)
    assert code == 1 and f"in.mlir:8: {told}" in err, err


TAKEN = [
    ("relu", "%x", "[?,3],f32"),
    ("div.Tensor", "%i, %i", "[2,3],f64"),  # captured under torch.set_default_dtype(torch.float64)
]


@pytest.mark.parametrize(("op", "operands", "result"), TAKEN)
def test_taken(op: str, operands: str, result: str, tmp_path: Path):
    assert convert(op, operands, result, tmp_path) == (0, "")
