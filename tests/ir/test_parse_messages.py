"""What a parse error says: the op and its place, and the name that was probably meant."""

from __future__ import annotations

import pytest

from mlc.errors import MlcError
from mlc.ir.context import make_context
from mlc.ir.parsing import parse_text
from mlc.ir.verifier import verify_module
from mlc.lowering.buffers.bufferize import Bufferize
from mlc.lowering.buffers.plan_memory import PlanMemory
from mlc.lowering.llvm.convert_to_llvm import ConvertToLLVM


def message(text: str) -> str:
    with pytest.raises(MlcError) as info:
        parse_text(text, make_context(), name="f.mlir")
    return str(info.value)


# a body: what is said of it
PLACED = {
    "  %0 = arith.addi %x, %x : f32": "f.mlir:2:3: verify: 'arith.addi': does not work on f32",
    "  %0 = arith.cmpi lt, %i, %i : i32": "f.mlir:2:3: verify: 'arith.cmpi': unknown comparison 'lt', expected one of",
    "  %c:2, %0 = arith.constant 300 : i8": "f.mlir:2:3: verify: 'arith.constant': Integer value 300 is out of range",
    "  %0 = scf.if %b -> i8 {\n    %1 = arith.constant 300 : i8\n  }": "f.mlir:3:5: verify: 'arith.constant'",
    "  %0 = linalg.add ins(%e, %e : tensor<4xindex>, tensor<4xindex>) outs(%e : tensor<4xindex>) -> tensor<4xindex>": (
        "f.mlir:2:3: parse: 'linalg.add' is not valid IR: its operands are not of a kind that it takes"
    ),
    "  %0 = linalg.fill ins(%e : tensor<4xindex>) outs(%s : tensor<4x!torch.int>) -> tensor<4xindex>": (
        "f.mlir:2:3: verify: 'linalg.fill': works on ints, floats and index, not on !torch.int"
    ),
    "  return\n  %0 = arith.constant 3 : i8": "f.mlir:3:6: parse: Expected ':'\n  hint: 'return' ends its block",
    "  cf.br ^a\n^a:\n  cf.br ^b\n^a:\n  return\n^b:": "f.mlir:5:1: parse: a second block of the name ^a",
    "  cf.br ^b\n^a:\n  cf.br ^a\n^b:\n  cf.br ^a\n^a:": "f.mlir:7:1: parse: a second block of the name ^a",
    "  scf.parallel (%k, %l) = (%n) to (%n, %n) step (%n, %n) {\n  }": (
        "f.mlir:2:27: parse: 2 induction variables, but 1 operands"
    ),
    "  %0 = linalg.reduce { arith.negf } ins(%e : tensor<4xindex>) outs(%e : tensor<4xindex>) dimensions = [0]": (
        "f.mlir:2:24: parse: 'arith.negf' does not combine two values"
    ),
}


@pytest.mark.parametrize("body", PLACED)
def test_op_and_place(body: str) -> None:
    arguments = "%x: f32, %i: i32, %b: i1, %n: index, %e: tensor<4xindex>, %s: tensor<4x!torch.int>"
    assert message(f"func.func @f({arguments}) {{\n{body}\n  return\n}}").startswith(PLACED[body])


# a text: where what it lacks is asked for
ELSEWHERE = {
    "func.func @f(%x: f32) {\n  %0 = arith.addf %x, %y : f32\n}\n": "2:23: parse: values used but not defined: %y",
    "func.func @f() {\n  cf.br ^a\n}\n": "2:9: parse: region ends with missing block declarations for block(s) a",
    "func.func @f() {\n  cf.br ^a\n^a:\n": "4:1: parse: the text ends inside a region, expected '}'",
}


@pytest.mark.parametrize("text", ELSEWHERE)
def test_what_is_missing_is_reported_where_it_is_used(text: str) -> None:
    assert message(text) == f"f.mlir:{ELSEWHERE[text]}"


def test_a_second_symbol_is_reported_where_it_stands() -> None:
    ctx = make_context()
    module = parse_text("func.func @g() {\n  return\n}\n\nfunc.func @g() {\n  return\n}\n", ctx, name="f.mlir")
    with pytest.raises(MlcError, match=r"f.mlir:5: verify: 'func.func': a second @g, the first is at f.mlir:1"):
        verify_module(module, ctx)


# a text: the name that is meant
NEAR = {
    '"torch.aten.convolutoin"() : () -> ()': "torch.aten.convolution or",
    '"torch.aten.rleu"() : () -> ()': "torch.aten.relu or",
    "arit.addf": "arith.addf?",
    "func.func @f() { retrun }": "return?",
    "return": "func.return?",
    "func.fnc": "func.func?",
    "arith.adddi": "arith.addi",
    "func.func @f(%x: tensr<4xf32>)": "tensor?",
    "func.func @f(%x: f33)": "f32?",
    "func.func @f(%x: !torch.vtensr<[4],f32>)": "!torch.vtensor or",
    "func.func @f(%x: !torhc.vtensor<[4],f32>)": "!torch.vtensor?",
    "func.func @f() attributes {a.b = #arith.fastmth<none>}": "#arith.fastmath?",
}


@pytest.mark.parametrize("text", NEAR)
def test_near_name(text: str) -> None:
    assert f"  hint: did you mean {NEAR[text]}" in message(text)


@pytest.mark.parametrize("text", ["arith.foo", "qqqqq.zzz", "func.func @f(%x: !qqqqq.zzz)"])
def test_no_name_is_near(text: str) -> None:
    assert "hint: mlc-opt --show-dialects" in message(text)


def test_an_op_without_a_conversion_names_the_dialects_that_have_some() -> None:
    ctx = make_context()
    module = parse_text("func.func @f(%x: f32) {\n  %0 = linalg.index 0 : index\n  return\n}", ctx, name="f.mlir")
    with pytest.raises(MlcError, match=r"lower it first, to ops of amx, arith, .*memref") as info:
        ConvertToLLVM().apply(ctx, module)
    assert "f.mlir:2" in str(info.value)


def test_memory_is_planned_for_one_entry() -> None:
    ctx = make_context()
    text = "".join(
        f"func.func @{n}(%x: tensor<2xf32>) -> tensor<2xf32> {{ return %x : tensor<2xf32> }}\n" for n in "ab"
    )
    module = parse_text(text, ctx, name="f.mlir")
    with pytest.raises(MlcError, match="one entry function, here are 2: @a, @b") as info:
        for each in (Bufferize(), PlanMemory()):
            each.apply(ctx, module)
    assert "f.mlir:2" in str(info.value) and "file of its own" in str(info.value)
