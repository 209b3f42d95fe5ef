"""Modules stored as compact data come back the same."""

from __future__ import annotations

import json
import random

import pytest
from xdsl.dialects.builtin import ModuleOp

from fuzz.profiles import PROFILES
from fuzz.tape import Tape
from mlc.errors import ArtifactError, InternalError
from mlc.ir.compact import from_compact, to_compact
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text, print_text
from mlc.testing.program import Discard


def _forget_names(module: ModuleOp) -> None:
    for op in module.walk():
        for value in (*op.results, *(a for r in op.regions for b in r.blocks for a in b.args)):
            value.name_hint = None


@pytest.mark.parametrize("profile", ["linalg", "linalg-constants", "linalg-named", "kernels"])
def test_random_modules_come_back(profile: str):
    rng = random.Random(0)
    same = 0
    for _ in range(40):
        try:
            program = PROFILES[profile](Tape(rng.randbytes(80)))
        except Discard:
            continue
        _forget_names(program.module)
        text = print_text(program.module, generic=True)
        again = from_compact(to_compact(program.module), make_context())
        assert print_text(again, generic=True) == text
        same += 1
    assert same >= 30


def test_weights_keep_their_names():
    text = """func.func @f() -> tensor<2xf32> {
      %0 = arith.constant dense_resource<a.b> : tensor<2xf32>
      func.return %0 : tensor<2xf32>
    }"""
    ctx = make_context()
    module = parse_text(text, ctx)
    for _ in range(2):  # a second reading in the same process must not rename the handle
        assert "dense_resource<a.b>" in print_text(from_compact(to_compact(module), make_context()))


@pytest.mark.parametrize("kind", ["f16", "bf16", "f32", "f64"])
def test_numbers_without_decimal_text_come_back(kind: str):
    inf, nan = {"f16": ("7C00", "7E01"), "bf16": ("7F80", "7FC1")}.get(kind, ("7F800000", "7FC00001"))
    if kind == "f64":
        inf, nan = "7FF0000000000000", "7FF8000000000001"
    text = f"""func.func @f() -> tensor<3x{kind}> {{
      %0 = arith.constant dense<0x{inf}> : tensor<3x{kind}>
      %1 = arith.constant dense<[0x{inf}, 0x{nan}, -0.0]> : tensor<3x{kind}>
      %2 = arith.constant 0x{inf} : {kind}
      func.return %1 : tensor<3x{kind}>
    }}"""
    module = parse_text(text, make_context())
    _forget_names(module)
    again = from_compact(to_compact(module), make_context())
    assert print_text(again, generic=True) == print_text(module, generic=True)
    assert f"0x{inf}".lower() in print_text(again).lower()


def test_what_cannot_be_read_or_stored_is_refused():
    for text in ("", "{", "{}", "[]", json.dumps({"attributes": ["f32"], "names": [], "block": [[3], []]})):
        with pytest.raises(ArtifactError, match="not a stored module"):
            from_compact(text, make_context())
    branches = "func.func @f() {\n cf.br ^bb1\n^bb1:\n func.return\n}"
    with pytest.raises(InternalError, match="several blocks"):
        to_compact(parse_text(branches, make_context()))
