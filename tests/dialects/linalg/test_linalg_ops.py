"""The ops added to linalg read and print upstream's text, and reject what upstream rejects."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from xdsl.parser import Parser
from xdsl.utils.exceptions import VerifyException

from mlc.ir.context import make_context

OPS = Path(__file__).with_name("ops.mlir").read_text()
HEADER = "func.func @f(%x: tensor<1x20x4x4xf32>, %z: f32, %d: {dest}) -> {dest} {{\n"
FOOTER = "\n  func.return %p : {dest}\n}}"


def _parse(text: str) -> object:
    module = Parser(make_context(), text).parse_module()
    module.verify()
    return module


def _upstream(text: str, *flags: str) -> str:
    done = subprocess.run(["torch-mlir-opt", *flags], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_prints_what_it_reads() -> None:
    once = str(_parse(OPS))
    assert str(_parse(once)) == once


@pytest.mark.upstream
@pytest.mark.skipif(shutil.which("torch-mlir-opt") is None, reason="needs torch-mlir-opt")
@pytest.mark.parametrize("flags", [(), ("--mlir-print-op-generic",)])
def test_exchange_with_upstream(flags: tuple[str, ...]) -> None:
    ours = str(_parse(OPS))
    theirs = _upstream(ours, *flags)
    back = str(_parse(theirs))
    assert _upstream(back) == _upstream(ours)


@pytest.mark.parametrize(
    ("dest", "op", "complaint"),
    [
        ("tensor<1x2x4x4x16xf32>", "inner_dims_pos = [1] inner_tiles = [16]", "needs a padding_value"),
        ("tensor<1x3x4x4x16xf32>", "padding_value(%z : f32) inner_dims_pos = [1] inner_tiles = [16]", "does not fit"),
        ("tensor<1x2x4x4x16xf32>", "padding_value(%z : f32) inner_dims_pos = [4] inner_tiles = [16]", "do not name"),
        ("tensor<1x2x4x4x16xf32>", "padding_value(%z : f32) inner_dims_pos = [1] inner_tiles = [0]", "positive"),
        (
            "tensor<1x2x4x4x16xf32>",
            "padding_value(%z : f32) outer_dims_perm = [0, 0, 1, 2] inner_dims_pos = [1] inner_tiles = [16]",
            "no permutation",
        ),
    ],
)
def test_pack_is_checked(dest: str, op: str, complaint: str) -> None:
    text = (
        HEADER.format(dest=dest)
        + f"  %p = linalg.pack %x {op} into %d : tensor<1x20x4x4xf32> -> {dest}"
        + FOOTER.format(dest=dest)
    )
    with pytest.raises(VerifyException, match=complaint):
        _parse(text)


def test_softmax_dimension_is_checked() -> None:
    text = """func.func @f(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %p = linalg.softmax dimension(2) ins(%x : tensor<2x3xf32>) outs(%x : tensor<2x3xf32>) -> tensor<2x3xf32>
  func.return %p : tensor<2x3xf32>
}"""
    with pytest.raises(VerifyException, match="out of range"):
        _parse(text)
