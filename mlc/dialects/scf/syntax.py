"""Upstream's custom syntax for scf ops where xDSL reads or prints another one.

    scf.parallel (%i, %j) = (%a, %b) to (%c, %d) step (%e, %f) init (%x) -> f32 {
      …
      scf.reduce(%y : f32) {…}
    }
    scf.for %i = %a to %b step %c iter_args(%k = %x) -> index {
    scf.if %p -> index {

The classes derive from xDSL's, so code that looks for those finds these.
"""

from __future__ import annotations

from typing import Self

from xdsl.dialects import scf
from xdsl.dialects.builtin import IndexType
from xdsl.ir import SSAValue
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import SingleBlockImplicitTerminator, ensure_terminator

from mlc.dialects.optional_parens import OptionalParens

DIVIDED = "mlc.divided"
"""On an `scf.parallel`: the number of the loop that threads divide between them, an i64; those before it run whole."""


class ForOp(scf.ForOp):
    """`scf.for`; the type of a single loop-carried value needs no parentheses."""

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        return super().parse(OptionalParens(parser))  # pyright: ignore[reportArgumentType]


class IfOp(scf.IfOp):
    """`scf.if`; the type of a single result needs no parentheses."""

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        return super().parse(OptionalParens(parser))  # pyright: ignore[reportArgumentType]


class ParallelOp(scf.ParallelOp):
    """`scf.parallel` in upstream's syntax; xDSL has the generic form only."""

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        paren = parser.Delimiter.PAREN
        ivs = parser.parse_comma_separated_list(paren, lambda: parser.parse_argument(expect_type=False))

        def operands(word: str) -> list[SSAValue]:
            parser.parse_characters(word)
            at = parser.pos
            names = parser.parse_comma_separated_list(paren, parser.parse_unresolved_operand)
            if len(names) != len(ivs):
                parser.raise_error(f"{len(ivs)} induction variables, but {len(names)} operands", at)
            return [parser.resolve_operand(name, IndexType()) for name in names]

        low, high, step = operands("="), operands("to"), operands("step")
        at = parser.pos
        inits = []
        if parser.parse_optional_keyword("init"):
            inits = parser.parse_comma_separated_list(paren, parser.parse_unresolved_operand)
        types = []
        if parser.parse_optional_punctuation("->"):
            types = OptionalParens(parser).parse_comma_separated_list(paren, parser.parse_attribute)
        carried = parser.resolve_operands(inits, types, at)
        body = parser.parse_region([iv.resolve(IndexType()) for iv in ivs])
        op = cls(low, high, step, body, carried)
        op.attributes |= parser.parse_optional_attr_dict()
        for trait in op.get_traits_of_type(SingleBlockImplicitTerminator):
            ensure_terminator(op, trait)
        return op

    def print(self, printer: Printer) -> None:
        groups = (self.body.block.args, self.lowerBound, self.upperBound, self.step)
        for word, values in zip(("", " =", " to", " step"), groups, strict=True):
            printer.print_string(f"{word} ")
            with printer.in_parens():
                printer.print_list(values, printer.print_ssa_value)
        if self.initVals:
            printer.print_string(" init ")
            with printer.in_parens():
                printer.print_list(self.initVals, printer.print_ssa_value)
        if self.res:
            printer.print_string(" -> ")
            if len(self.res) == 1:
                printer.print_attribute(self.res[0].type)
            else:
                with printer.in_parens():
                    printer.print_list(self.res.types, printer.print_attribute)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False)
        printer.print_op_attributes(self.attributes)


class ReduceOp(scf.ReduceOp):
    """`scf.reduce`; a comma stands between the regions of several values."""

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        comma, args, regions = parser.Delimiter.NONE, [], []
        if parser.parse_optional_punctuation("("):
            at = parser.pos
            names = parser.parse_comma_separated_list(comma, parser.parse_unresolved_operand)
            parser.parse_punctuation(":")
            types = parser.parse_comma_separated_list(comma, parser.parse_type)
            parser.parse_punctuation(")")
            args = parser.resolve_operands(names, types, at)
            regions = parser.parse_comma_separated_list(comma, parser.parse_region)
        op = cls(args, regions)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        if self.args:
            with printer.in_parens():
                printer.print_list(self.args, printer.print_ssa_value)
                printer.print_string(" : ")
                printer.print_list(self.args.types, printer.print_attribute)
            printer.print_string(" ")
            printer.print_list(self.reductions, printer.print_region)
        printer.print_op_attributes(self.attributes)


OPS = (ForOp, IfOp, ParallelOp, ReduceOp)
