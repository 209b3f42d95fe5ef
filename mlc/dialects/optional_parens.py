"""Result types as upstream prints them, read by xDSL's custom syntax, which wants a list of one fixed form.

    linalg.generic … -> (tensor<2xf32>, tensor<2xi64>)     xDSL reads bare types only
    scf.for … iter_args(%k = %l) -> index {                xDSL reads types in parentheses only

`OptionalParens(parser)` is the parser, but where result types are asked for it takes either form.
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
        """As the parser's; result types are one, or a list in parentheses. (`ins(%a, %b : …)` has a list of types
        too.)"""
        parser = self._parser
        in_parens = parse == parser.parse_type and delimiter is parser.Delimiter.PAREN
        if parse != parser.parse_attribute and not in_parens:
            return parser.parse_comma_separated_list(delimiter, parse)
        types = parser.parse_optional_comma_separated_list(parser.Delimiter.PAREN, parser.parse_type)
        return types if types is not None else [parser.parse_type()]
