"""`linalg.reduce` as upstream writes it: the short form, and the locations of the body's arguments.

linalg.reduce { arith.addf } ins(…) outs(…) dimensions = [1]
linalg.reduce ins(…) outs(…) dimensions = [1] (%in: f32 loc("m.py":3:0), %init: f32 loc("m.py":3:0)) {…}
"""

from __future__ import annotations

from typing import Any, Self

from xdsl.dialects.builtin import LocationAttr
from xdsl.dialects.linalg import ops
from xdsl.ir import Attribute, Block, Operation, Region
from xdsl.irdl import IRDLOperation
from xdsl.parser import Parser


class ReduceOp(ops.ReduceOp):
    """`linalg.reduce`; `{ op }` in front stands for a body of that op and a yield."""

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        payload = _parse_payload(parser) if parser.parse_optional_punctuation("{") else None
        reader = _Reader(parser, short=payload is not None)
        op = super().parse(reader)  # pyright: ignore[reportArgumentType]
        block = op.region.block
        if payload is not None:
            kind, attributes = payload
            init, element = (v.type.get_element_type() for v in (op.init, op.input))  # pyright: ignore
            block.insert_arg(element, 0)
            block.insert_arg(init, 1)
            combined = _build(kind, block, attributes, init)
            block.add_ops([combined, ops.YieldOp(combined.results[0])])
        for arg, location in zip(block.args, reader.locations, strict=False):
            arg.location = location
        return op


def _parse_payload(parser: Parser) -> tuple[type[Operation], dict[str, Attribute]]:
    """`arith.addf {…} }`, after the opening brace."""
    at = parser.pos
    name = parser.parse_identifier()
    kind = parser._get_op_by_name(name)
    attributes = parser.parse_optional_attr_dict()
    parser.parse_punctuation("}")
    if not issubclass(kind, IRDLOperation) or len(kind.get_irdl_definition().operands) != 2:
        parser.raise_error(f"'{name}' does not combine two values", at)
    return kind, attributes


def _build(kind: type[Operation], block: Block, attributes: dict[str, Attribute], result: Attribute) -> Operation:
    """The op of the short form: on what is reduced so far, then the element, as upstream."""
    assert issubclass(kind, IRDLOperation)
    known = kind.get_irdl_definition().properties
    return kind.build(
        operands=[block.args[1], block.args[0]],
        result_types=[result],
        properties={k: v for k, v in attributes.items() if k in known},
        attributes={k: v for k, v in attributes.items() if k not in known},
    )


class _Reader:
    """The parser, for xDSL's `linalg.reduce`: arguments may have locations; the short form has neither them nor a
    body."""

    def __init__(self, parser: Parser, *, short: bool) -> None:
        self._parser, self._short = parser, short
        self.locations: list[LocationAttr] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def parse_argument(self) -> Any:
        """An argument with its type, then its location."""
        argument = self._parser.parse_argument()
        location = self._parser.parse_optional_location()
        if location is not None:
            self.locations.append(location)
        return argument

    def parse_comma_separated_list(self, delimiter: Any, parse: Any) -> Any:
        """As the parser's; the short form has no list of arguments."""
        if self._short and parse == self.parse_argument:
            return []
        return self._parser.parse_comma_separated_list(delimiter, parse)

    def parse_region(self, arguments: Any) -> Region:
        """As the parser's; the short form has no region."""
        return Region(Block()) if self._short else self._parser.parse_region(arguments)


OPS = (ReduceOp,)
