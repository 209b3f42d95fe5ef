"""Assembly format that torch-mlir uses for nearly all torch ops.

%r = torch.aten.add.Tensor %a, %b, %c {attr = 1 : i64} : T0, T1, T2 -> R
torch.prim.RaiseException %msg, %cls : !torch.str, !torch.none
%r = torch.prim.tolist(%a) : T -> R          (ops with a variable number of operands)
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.parser import Parser, UnresolvedOperand
from xdsl.printer import Printer


def parse_type_list(parser: Parser) -> list[Attribute]:
    """Types separated by commas; possibly none."""
    return list(
        parser.parse_optional_undelimited_comma_separated_list(parser.parse_optional_type, parser.parse_type) or ()
    )


def parse_operand_list(parser: Parser) -> list[UnresolvedOperand]:
    """Operands separated by commas; possibly none."""
    return list(
        parser.parse_optional_undelimited_comma_separated_list(
            parser.parse_optional_unresolved_operand, parser.parse_unresolved_operand
        )
        or ()
    )


def parse_default(
    parser: Parser, *, parenthesized: bool = False
) -> tuple[Sequence[SSAValue], list[Attribute], dict[str, Attribute]]:
    """Operands, result types and attributes of an op in the default format."""
    position = parser.pos
    if parenthesized:
        unresolved = parser.parse_comma_separated_list(parser.Delimiter.PAREN, parser.parse_unresolved_operand)
    else:
        unresolved = parse_operand_list(parser)
    attributes = parser.parse_optional_attr_dict()
    operand_types: list[Attribute] = []
    if parser.parse_optional_punctuation(":") is not None:
        operand_types = parse_type_list(parser)
    result_types = parse_type_list(parser) if parser.parse_optional_punctuation("->") is not None else []
    return parser.resolve_operands(unresolved, operand_types, position), result_types, attributes


def print_default(printer: Printer, op: Operation, *, parenthesized: bool = False, arrow_always: bool = False) -> None:
    """Print what `parse_default` reads."""
    if parenthesized:
        printer.print_operands(op.operands)
    else:
        printer.print_string(" ")
        printer.print_list(op.operands, printer.print_ssa_value)
    printer.print_op_attributes(op.attributes)
    printer.print_string(" : ")
    printer.print_list(op.operand_types, printer.print_attribute)
    if op.results or arrow_always:
        printer.print_string(" -> ")
        printer.print_list(op.result_types, printer.print_attribute)
