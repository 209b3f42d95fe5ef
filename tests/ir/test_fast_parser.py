"""`mlc.ir.fast_parser`: the types, maps and errors of xDSL's parser, wherever in a text they are."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, IntegerType
from xdsl.parser import Parser

from fuzz.profiles import PROFILES
from fuzz.tape import Tape
from mlc.errors import LimitError
from mlc.ir.context import make_context
from mlc.ir.fast_parser import FastParser
from mlc.ir.parsing import Limits, parse_text, print_text
from mlc.testing.program import Discard

WRITTEN = [
    *("f32", "index", "i8", "!alias", "tensor<4xf32>", "tensor<4x8xf32>", "tensor< 4 x f32 >", "tensor<*xf32>"),
    *("tensor<?x3xf32>", "tensor<f32>", "memref<4xf32>", "memref<4xf32, strided<[2], offset: ?>>", "vector<[4]xf32>"),
    *("memref<4xf32, strided<[-2], offset: 1>>", "memref<4xf32, affine_map<(d0) -> (d0)>>", "memref<4xf32, 2 : i64>"),
    *("memref<4xf32, affine_map<(d0) -> (d0 + 1)>>", "tensor<4x!alias>", "tensor<4 // a comment >\n x f32>"),
    *("!llvm.ptr", "!llvm.ptr<3>", "!llvm.ptr <3>", "!llvm.ptr // a comment\n<3>", "!llvm.struct<(f32, i64)>"),
    *("!torch.int", "!torch.vtensor<[2,?],f32>", "!torch.vtensor<[2,4],f32>", "!torch.list<vtensor<*,f32>>"),
    *("!torch.list<int>", "!torch.none", "!torch.vtensor", "!torch.unheard", "!torch", "tensor<"),
    *("vector<4xf32", "tensor"),
    *("affine_map<(d0, d1) -> (d0)>", "affine_map<(d0, d1)[s0] -> (d0 + s0)>", "affine_map<(d0) -> (d0 - 1)>"),
    *("affine_map<(d0) -> ((d0 + 1) * 2)>", "affine_map<(d0) -> ()>", "affine_map<(d0)->(d0)>", "affine_map"),
    *("!csl.dsd mem1d_dsd", "!csl.dsd", "!wasmssa.limit[1:2]", "!wasmssa.limit[3:4]", "!wasmssa.limit"),
    *("!wasmssa.local ref to i32", "!wasmssa.local", "!transform.failures propagate", "!transform.failures"),
    *(
        "dense<1.5> : tensor<3x4xf32>",
        "dense<true> : tensor<9xi1>",
        "dense<-1> : vector<2x2xindex>",
        "dense<3> : tensor<i32>",
    ),
    *(
        "dense<(1,2)> : tensor<2xcomplex<i32>>",
        "dense<[]> : tensor<0xf32>",
        "dense<2> : tensor<0xi32>",
        "dense<1> : f32",
    ),
    *("dense<[[1,2],[3,4]]> : tensor<2x2xi16>", 'dense<"0x0000803F"> : tensor<3xf32>', "dense<300> : tensor<4xi8>"),
    *("dense<[1]> : tensor<3xi8>", "dense<1.5> : tensor<3xi8>", "dense<[[1.0],2.0]> : tensor<2xf32>", "dense<>"),
    *("array<i64: 1, 2>", "dense<1.0> : tensor<4xf32>", '"text"', "7 : i32", "[f32, tensor<4xf32>]", "strided<[1]>"),
]


CONTEXT = make_context()
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def read(kind: type[Parser], text: str) -> list[str]:
    """What a list of types and attributes is, and the error."""
    found: list[str] = []
    try:
        parser = kind(CONTEXT, text, "t.mlir")
        while True:
            attribute = parser.parse_attribute()
            found.append(f"{type(attribute).__name__} {attribute} {hash(attribute)}")
            if parser.parse_optional_punctuation(",") is None:
                return [*found, f"then {parser.pos}"]
    except Exception as e:  # what is wrong raises what it likes in xDSL
        return [*found, f"{type(e).__name__}: {e}"]


@settings(max_examples=400, derandomize=True, deadline=None, database=None)
@given(st.lists(st.sampled_from(WRITTEN), min_size=1, max_size=8))
def test_types_and_attributes_are_those_of_xdsl(written: list[str]) -> None:
    text = ", ".join(written)
    assert read(FastParser, text) == read(Parser, text)


RESOURCE = re.compile(r"dense_resource<[\w.]+>")  # numbered anew by each parser
ENDS = (" <3>", "<3>", ">", " // a\n <3>", "$x", "-x", ".x", "x", " x", ", affine_map<(d0) -> (d0)>")


@pytest.mark.parametrize("end", ENDS)
def test_what_follows_counts(end: str) -> None:
    for known in WRITTEN:
        text = f"{known}, {known}{end}"
        assert read(FastParser, text) == read(Parser, text)


ONCE = ("tensor<4x8xf32>", "!torch.int", "!torch.vtensor<[2,?],f32>", "affine_map<(d0, d1)[s0] -> (d0 + s0, d1)>")


@pytest.mark.parametrize("written", [*ONCE, "affine_map<() -> ()>", "memref<4xf32, strided<[2], offset: ?>>"])
def test_it_is_read_once(written: str) -> None:
    parser = FastParser(CONTEXT, f"[{written}, {written}]", "t.mlir")
    first, second = parser.parse_attribute()  # pyright: ignore[reportGeneralTypeIssues]
    assert first is second


def test_elements_of_literals_in_types_count() -> None:
    literal = "tensor<4xf32, dense<1> : tensor<900xi32>>"
    text = f'"test.op"() {{a = {literal}, b = {literal}}} : () -> ()'
    with pytest.raises(LimitError, match="splats of 1800 elements"):
        parse_text(text, make_context(), limits=Limits(splat_elements=1000))


def test_a_splat_is_packed_once() -> None:
    packed = 0
    pack = IntegerType.pack

    def counted(self: IntegerType, ints: Sequence[int]) -> bytes:
        nonlocal packed
        packed += len(ints)
        return pack(self, ints)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IntegerType, "pack", counted)
        literal = FastParser(CONTEXT, "dense<7> : tensor<300x10000xi8>", "t.mlir").parse_attribute()
    assert packed == 1
    assert isinstance(literal, DenseIntOrFPElementsAttr) and literal.data.data == b"\x07" * 3_000_000


@pytest.mark.parametrize("profile", ["linalg-products", "torch-steps", "kernels", "loops", "tm-tensor"])
def test_programs_are_those_of_xdsl(profile: str) -> None:
    @settings(max_examples=5, derandomize=True, deadline=None, database=None, suppress_health_check=CHECKS)
    @given(st.binary(min_size=80, max_size=240))
    def check(data: bytes) -> None:
        try:
            text = print_text(PROFILES[profile](Tape(data)).module)
        except Discard:
            return
        modules = [kind(make_context(), text).parse_module() for kind in (FastParser, Parser)]
        fast, plain = (RESOURCE.sub("dense_resource", print_text(module, debuginfo=True)) for module in modules)
        assert fast == plain

    check()
