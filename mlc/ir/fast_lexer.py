"""The same tokens as xDSL's lexer, sooner: the frequent ones by one regular expression.

    %0 = arith.addf %a, %b : f32        -->   %0  =  arith.addf  %a  ,  %b  :  f32

xDSL reads a token in several steps, each a call or two; together a fifth of the time that text takes to become IR.
Whatever is not among the frequent kinds (strings, floats, hexadecimals, `->`, what is wrong) is left to it, so that its
errors are too. Test: `tests/ir/test_fast_lexer.py` compares both on random text.
"""

from __future__ import annotations

import re

from xdsl.utils.lexer import Span, Token
from xdsl.utils.mlir_lexer import MLIRLexer, MLIRToken, MLIRTokenKind

_FREQUENT = re.compile(
    r"""(?:\s+|//[^\n]*\n?)*+
    (?: ([a-zA-Z_][a-zA-Z0-9_$.]*+)
      | ([:,()}\[\]<>=+/*?|])
      | (%(?:[0-9]++|[a-zA-Z$._-][a-zA-Z0-9$._-]*+))
      | ([1-9][0-9]*+(?!\.))
    )""",
    re.ASCII | re.VERBOSE,
)
_NAME, _PUNCTUATION, _VALUE, _NUMBER = 1, 2, 3, 4
_KINDS = {
    _NAME: MLIRTokenKind.BARE_IDENT,
    _VALUE: MLIRTokenKind.PERCENT_IDENT,
    _NUMBER: MLIRTokenKind.INTEGER_LIT,
}
_PUNCTUATIONS = {c: MLIRTokenKind(c) for c in ":,()}[]<>=+/*?|"}
_match, _new = _FREQUENT.match, object.__new__


class FastLexer(MLIRLexer):
    """`MLIRLexer`, for text."""

    # xDSL's pattern tries every way to cut a string that does not match (`"aaa…\\q"`): twice the ways per character.
    _unescaped_characters_regex = re.compile(r'"(?:[^"\\\n\v\f]++|\\(?:["nt\\]|[0-9A-Fa-f]{2}))*+"')

    def lex(self) -> MLIRToken:
        """The next token."""
        source = self.input
        found = _match(source.content, self.pos)
        if found is None:
            return super().lex()
        group = found.lastindex
        assert group is not None
        kind = _PUNCTUATIONS[found[group]] if group == _PUNCTUATION else _KINDS[group]
        start, end = found.span(group)
        self.pos = end
        span: Span[str] = _new(Span)
        span.__dict__.update(start=start, end=end, input=source)  # a frozen class: its constructor is slow
        return Token(kind, span)
