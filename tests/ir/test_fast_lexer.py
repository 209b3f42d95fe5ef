"""`mlc.ir.fast_lexer`: the tokens of xDSL's lexer, where they stand, and its errors."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.utils.exceptions import ParseError
from xdsl.utils.lexer import Input
from xdsl.utils.mlir_lexer import MLIRLexer, MLIRTokenKind

from mlc.ir.fast_lexer import FastLexer

SPACES = [" ", "  ", "\n", "\t", "\r\n", "\v", "\x1c", "\u00a0", "// a comment\n", "// the last", '@"f g"', "\u0663"]
WORDS = r"""
/ a _b arith.addf f32 é xf32 % %0 %12a %a$.-b %- @f ^bb0 #map #-} {-# !torch.int "text" "\n" "open
0 7 10 0x1F 0xi32 4x5xf32 1. 1.5e-3 12.5 - -> ... . .. ² { } ( ) [ ] < > = + * ? | , : :: ' \ ~
"""
PIECES = [*SPACES, *WORDS.split()]


class Plain(MLIRLexer):
    """xDSL's lexer, which would never be done with some strings that are wrong."""

    _unescaped_characters_regex = FastLexer._unescaped_characters_regex


def tokens(lexer: MLIRLexer) -> list[object]:
    """Kind, place and text of every token, or the error."""
    found: list[object] = []
    try:
        while True:
            token = lexer.lex()
            found.append((token.kind, token.span.start, token.span.end, token.text, token.span.get_location()))
            if token.kind == MLIRTokenKind.EOF:
                return found
    except ParseError as e:
        return [*found, str(e)]


@settings(max_examples=1000, derandomize=True, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=2)), max_size=30))
def test_tokens_are_those_of_xdsl(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert tokens(FastLexer(Input(text, "t.mlir"))) == tokens(Plain(Input(text, "t.mlir")))


STRINGS = ["a", "bc", " ", "\\n", "\\\\", '\\"', "\\0A", "\\q", "\\", "\n", "\v", '"', "é"]


@settings(max_examples=500, derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(STRINGS), max_size=12))
def test_strings_are_those_of_xdsl(pieces: list[str]) -> None:
    text = '"' + "".join(pieces) + '" x'
    assert tokens(FastLexer(Input(text, "t.mlir"))) == tokens(MLIRLexer(Input(text, "t.mlir")))


def test_a_long_string_with_a_wrong_escape_is_refused_at_once() -> None:
    with pytest.raises(ParseError, match="string literal"):
        FastLexer(Input('"' + "a" * 5000 + '\\q"', "t.mlir")).lex()


def test_spans_are_equal() -> None:
    fast, plain = (lexer(Input("%a 17 x", "t.mlir")) for lexer in (FastLexer, MLIRLexer))
    for _ in range(3):
        assert fast.lex() == plain.lex()
