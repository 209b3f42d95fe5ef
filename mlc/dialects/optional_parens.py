"""Result types as upstream prints them, read by xDSL's custom syntax, which wants a list of one fixed form.

    linalg.generic … -> (tensor<2xf32>, tensor<2xi64>)     xDSL reads bare types only
    scf.for … iter_args(%k = %l) -> index {                xDSL reads types in parentheses only

`OptionalParens(parser)` is the parser, but where a list of types is asked for it takes either form.
"""

from __future__ import annotations

from typing import Any

from xdsl.parser import Parser


class OptionalParens:
    """Stands in for the parser in xDSL's `parse` of an op."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def parse_comma_separated_list(self, delimiter: Any, parse: Any) -> Any:
        """As the parser's; attributes are types, one or a list in parentheses."""
        parser = self._parser
        if parse not in (parser.parse_attribute, parser.parse_type):
            return parser.parse_comma_separated_list(delimiter, parse)
        types = parser.parse_optional_comma_separated_list(parser.Delimiter.PAREN, parser.parse_type)
        return types if types is not None else [parser.parse_type()]
