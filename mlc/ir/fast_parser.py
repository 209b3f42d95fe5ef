"""The same IR as xDSL's parser reads, sooner: types and maps that a text holds again are read once, splats packed once.

    %2 = linalg.add ins(%0, %1 : tensor<8x16xf32>, tensor<8x16xf32>) outs(%i : tensor<8x16xf32>) -> tensor<8x16xf32>
                                 read               found             found                      found

A type takes ten tokens and as many calls for each, and most of a text is types. They are found by how they are written:
what a name of the text stands for (`!alias`, `#alias`), strings and comments in them go the long way, as do errors.
Test: `tests/ir/test_fast_parser.py` compares with xDSL's parser.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from xdsl.dialects.builtin import AffineMapAttr, BytesAttr, DenseIntOrFPElementsAttr, TensorType
from xdsl.ir import Attribute, TypeAttribute
from xdsl.parser import Parser
from xdsl.utils.lexer import Token
from xdsl.utils.mlir_lexer import KIND_BY_PUNCTUATION_SPELLING, MLIRTokenKind, PunctuationSpelling

_INSIDE = r"""[^<>"'#!/-]"""
_LIST = r"""[^()\[\]<>"'#!/-]*+"""
_PARAMETERS = rf"<(?:{_INSIDE}|<{_INSIDE}*+>)*+>"
_BUILTIN = re.compile(rf"(?:tensor|memref|vector){_PARAMETERS}")
# Without `<`, what follows may belong to the type: `!csl.dsd mem1d_dsd`.
_DIALECT = re.compile(rf"!\w+\.[\w.]++(?:{_PARAMETERS}|(?=\s*+[,)>}}\]]))")
_MAP = re.compile(rf"affine_map<\({_LIST}\)(?:\[{_LIST}\])? -> \({_INSIDE}*?\)>")


class FastParser(Parser):
    """`Parser`, for text; the context must not change meanwhile."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._known: dict[str, Any] = {}
        self._is_splat, self._splat_type = False, None

    def _read_once(self, written: re.Pattern[str], read: Callable[[], Any]) -> Any:
        """What `read` makes of the text here; what it made of the same text before, if that is `written` so."""
        content = self._parser_state.lexer.input.content
        found = written.match(content, self._parser_state.current_token.span.start)
        if found is None or "dense" in found[0]:  # whose elements count against a limit
            return read()
        text = found[0]
        if text in self._known:
            self._resume_from(found.end())
            return self._known[text]
        made = read()
        if not content[found.end() : self._parser_state.current_token.span.start].strip():  # it ends where it seemed to
            self._known[text] = made
        return made

    def parse_dense_int_or_fp_elements_attr(self, type: Any) -> Any:
        """As xDSL's, which packs a splat element by element."""
        self._is_splat, self._splat_type = False, None
        attr = super().parse_dense_int_or_fp_elements_attr(type)
        if self._splat_type is None:
            return attr
        return DenseIntOrFPElementsAttr(
            self._splat_type, BytesAttr(attr.data.data * math.prod(self._splat_type.get_shape()))
        )

    def _parse_tensor_literal(self) -> Any:
        values, shape = super()._parse_tensor_literal()
        self._is_splat = not shape
        return values, shape

    def _parse_dense_literal_type(self) -> Any:
        return self._of_one_value(super()._parse_dense_literal_type())

    def _of_one_value(self, type: Any) -> Any:
        """The type of a dense literal; where that is a splat, the one to read its value by."""
        if not self._is_splat or 0 in type.get_shape():
            return type
        self._splat_type = type
        return TensorType(type.element_type, [1])

    def parse_optional_type(self) -> TypeAttribute | None:
        """As xDSL's."""
        if self._parser_state.current_token.kind is MLIRTokenKind.EXCLAMATION_IDENT:
            return self._read_once(_DIALECT, super().parse_optional_type)
        return self._parse_optional_builtin_type()

    def _parse_optional_builtin_parametrized_type(self) -> TypeAttribute | None:
        if self._parser_state.current_token.kind is not MLIRTokenKind.BARE_IDENT:
            return None
        return self._read_once(_BUILTIN, super()._parse_optional_builtin_parametrized_type)

    def _parse_optional_builtin_attr(self) -> Attribute | None:
        token = self._parser_state.current_token
        if token.kind is MLIRTokenKind.BARE_IDENT and token.text == AffineMapAttr.name:
            return self._read_once(_MAP, super()._parse_optional_builtin_attr)
        return super()._parse_optional_builtin_attr()

    def _consume_token(self, expected_kind: MLIRTokenKind | None = None) -> Token[MLIRTokenKind, str]:
        state = self._parser_state
        token = state.current_token
        assert expected_kind is None or token.kind is expected_kind
        state.current_token = state.lexer.lex()
        return token

    def parse_optional_punctuation(self, punctuation: PunctuationSpelling) -> PunctuationSpelling | None:
        """As xDSL's."""
        if self._parser_state.current_token.kind is not KIND_BY_PUNCTUATION_SPELLING[punctuation]:
            return None
        self._consume_token()
        return punctuation

    def parse_punctuation(self, punctuation: PunctuationSpelling, context_msg: str = "") -> PunctuationSpelling:
        """As xDSL's."""
        return self.parse_optional_punctuation(punctuation) or super().parse_punctuation(punctuation, context_msg)

    def parse_optional_characters(self, text: str) -> str | None:
        """As xDSL's."""
        token = self._parser_state.current_token
        kind = KIND_BY_PUNCTUATION_SPELLING.get(text)
        if token.text != text if kind is None else token.kind is not kind:
            return None
        self._consume_token()
        return text
